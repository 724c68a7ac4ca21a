"""What becomes of an invocation under way where the fix is deployed in place of the don't."""

from __future__ import annotations

import dataclasses

import pytest

from restate_guide.lab import (
    LATE_REPLAY,
    REPLAY_EVERY_AWAIT,
    Stimulus,
    crash_after_effect,
    crash_after_step,
    crash_before_journal,
)
from tests.conftest import Lab
from tests.fixes import SNIPPETS, in_place

MISMATCH = "journal-mismatch"
MAILED = dataclasses.replace(REPLAY_EVERY_AWAIT, workers=2, crash_at={"after_step": "mail"})
"""The attempt ends at every await; once the mail is in the journal, the worker is killed."""


@pytest.mark.server
@pytest.mark.parametrize(
    ("rule", "stimulus", "outcome"),
    [
        ("determinism/side-effect-outside-run", crash_after_effect("POST /emails"), MISMATCH),
        (
            "determinism/run-action-not-idempotent",
            crash_after_effect("POST /charges"),
            "effect-repeated",
        ),
        ("determinism/context-inside-run", LATE_REPLAY, "holds"),
        (
            "determinism/context-inside-run",
            crash_after_effect("POST /reservations"),
            "effect-repeated",
        ),
        ("determinism/random-value-drifts", crash_after_step("book"), "wrong-value"),
        ("determinism/ctx-uuid-as-secret", crash_after_step("mail token"), "secret-exposed"),
        ("determinism/helpers-drawn-inside-run", MAILED, MISMATCH),
        ("determinism/wall-clock", crash_after_step("ask"), MISMATCH),
        ("determinism/unordered-iteration", LATE_REPLAY, MISMATCH),
        ("determinism/global-decides-a-step", crash_after_step("fetch tax"), "holds"),
        ("determinism/closure-written-in-run", crash_after_step("look up"), "wrong-value"),
        ("determinism/step-not-awaited", crash_after_step("charge"), MISMATCH),
        ("determinism/work-before-its-step", crash_after_step("complete"), "holds"),
        ("determinism/one-giant-step", crash_after_effect("POST /charges"), MISMATCH),
        ("state/default-hides-zero", LATE_REPLAY, "holds"),
        ("state/get-without-type-hint", LATE_REPLAY, "holds"),
        ("state/module-variable-as-state", crash_after_step("mail bob"), MISMATCH),
        ("communication/ingress-client-in-handler", crash_after_step("delete"), MISMATCH),
        ("communication/wrong-call-kind", LATE_REPLAY, MISMATCH),
        ("communication/key-inside-a-handler", LATE_REPLAY, MISMATCH),
        ("communication/context-outside-a-handler", LATE_REPLAY, "holds"),
        (
            "communication/awakeable-id-sent-outside-run",
            crash_after_effect("POST /emails"),
            "effect-repeated",
        ),
        ("concurrency/gather-of-coroutines", LATE_REPLAY, MISMATCH),
        ("concurrency/first-completed", LATE_REPLAY, "holds"),
        ("concurrency/wait-for", crash_after_step("mail"), MISMATCH),
        ("concurrency/offset-by-hand", LATE_REPLAY, MISMATCH),
        ("concurrency/loser-keeps-running", LATE_REPLAY, "holds"),
        # Answered rightly; late, for it was the old code that asked one agency after the other.
        ("concurrency/one-after-another", crash_after_step("ask income"), "answered-late"),
        ("concurrency/one-after-another", LATE_REPLAY, "answered-late"),
        ("concurrency/fan-out-ignores-failure", LATE_REPLAY, "holds"),
        ("errors/no-compensation", crash_after_step("reserve"), "holds"),
        ("errors/no-compensation", crash_after_step("deposit"), "holds"),
        ("errors/compensation-registered-late", crash_before_journal("reserve"), "holds"),
        ("errors/compensation-not-idempotent", crash_after_step("unlock"), "holds"),
        (
            "errors/compensation-not-idempotent",
            crash_after_effect("POST /credits"),
            "effect-repeated",
        ),
        ("errors/bare-except", crash_after_step("charge"), "holds"),
        ("errors/finally-runs-on-suspension", LATE_REPLAY, "holds"),
        ("services/workflow-run-twice", crash_after_effect("POST /accounts"), MISMATCH),
        ("services/control-in-the-data-plane", crash_after_effect("PUT /books/dune"), MISMATCH),
    ],
)
def test_fixed_code_in_place(lab: Lab, rule: str, stimulus: Stimulus, outcome: str) -> None:
    """The worker that takes over has the fixed code: does the invocation get through?"""
    result = in_place(lab, SNIPPETS / rule, stimulus)
    assert result.outcome.kind == outcome, result.outcome
