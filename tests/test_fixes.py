"""What the pages tell operators to do about invocations that are stuck, done on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import (
    LATE_REPLAY,
    Result,
    Stimulus,
    crash_after_effect,
    crash_after_step,
    load,
)
from restate_guide.lab import (
    Lab as LabInProof,
)
from tests.conftest import Lab

CHAPTER = ROOT / "snippets" / "determinism"

pytestmark = pytest.mark.server


async def until_status(lab: LabInProof, target: str, status: str) -> None:
    """Waits until an invocation has a status; a status that never comes is ended by the test's timeout."""
    sql = f"select id from sys_invocation where target = '{target}' and status = '{status}'"
    while not await lab.query(sql):
        await asyncio.sleep(0.02)


def run(
    lab: Lab,
    slug: str,
    then: Callable[[LabInProof], Awaitable[None]],
    stimulus: Stimulus | None = None,
) -> Result:
    """Runs a don't as its proof does, and does something about it afterwards."""
    proof = load(CHAPTER / slug)

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await then(in_proof)

    mended = dataclasses.replace(proof, prove=prove)
    return lab.run(lab.laboratory.result(mended, proof.snippet("dont"), stimulus))


def test_paused_by_a_mismatch_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD103: deploy the fix, then resume what was paused."""
    target = "Cart/cart-1/add"

    async def fix(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await until_status(in_proof, target, "completed")

    trace = run(lab, "context-inside-run", fix).trace
    assert trace.effect_counts() == {"POST /reservations": 1}
    assert [(state.name, state.value) for state in trace.state] == [("tea", 420)]


def test_late_mismatch_of_a_draw_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD106: the fixed code makes the same draws in the same order."""
    target = "Order/order-1/pay"

    async def fix(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await until_status(in_proof, target, "completed")

    trace = run(lab, "helpers-drawn-inside-run", fix, LATE_REPLAY).trace
    assert trace.effect_counts() == {"POST /charges": 1, "POST /emails": 1}


def test_mismatch_is_freed_by_kill_and_not_by_cancel(lab: Lab) -> None:
    """RDD104: the cancelled attempt replays too, and meets the same mismatch."""
    target = "Shop/buy"

    async def free(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("cancel", target) == 202
        assert await in_proof.operate("resume", target) in (200, 409)
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("kill", target) == 200
        await until_status(in_proof, target, "completed")

    trace = run(lab, "random-decides-a-step", free).trace
    stuck = next(i for i in trace.invocations if i.target == target)
    assert {failure.code for failure in stuck.failures} == {"RT0016"}


MISMATCH = "journal-mismatch"


@pytest.mark.parametrize(
    ("slug", "stimulus", "outcome"),
    [
        ("side-effect-outside-run", crash_after_effect("POST /emails"), MISMATCH),
        ("run-action-not-idempotent", crash_after_effect("POST /charges"), "effect-repeated"),
        ("random-value-drifts", crash_after_step("book"), "wrong-value"),
        ("ctx-uuid-as-secret", crash_after_step("mail token"), "secret-exposed"),
        ("unordered-iteration", LATE_REPLAY, MISMATCH),
        ("global-decides-a-step", crash_after_step("fetch tax"), "holds"),
        ("step-not-awaited", crash_after_step("charge"), MISMATCH),
        ("work-before-its-step", crash_after_step("complete"), "holds"),
        ("one-giant-step", crash_after_effect("POST /charges"), MISMATCH),
        ("../communication/ingress-client-in-handler", crash_after_step("delete"), MISMATCH),
        ("../communication/wrong-call-kind", LATE_REPLAY, MISMATCH),
        ("../communication/key-inside-a-handler", LATE_REPLAY, MISMATCH),
    ],
)
def test_fixed_code_in_place(lab: Lab, slug: str, stimulus: Stimulus, outcome: str) -> None:
    """The worker that takes over has the fixed code: does an invocation under way get through?"""
    proof = load(CHAPTER / slug)
    in_place = dataclasses.replace(stimulus, successor="do")
    result = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), in_place))
    assert result.outcome.kind == outcome, result.outcome


def test_what_a_lambda_paused_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD116."""
    target = "Accounts/welcome"

    async def fix(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await until_status(in_proof, target, "completed")

    assert run(lab, "coroutine-from-lambda", fix).trace.effect_counts() == {"POST /emails": 1}


@pytest.mark.parametrize(
    ("slug", "target"),
    [
        ("same-key-cycle", "Orders/order-1/place"),  # RDD303
        ("self-call-same-key", "Cart/ann/check_out"),  # RDD304
    ],
)
def test_cancel_of_the_first_frees_the_keys_of_a_cycle(lab: Lab, slug: str, target: str) -> None:
    """The cancellation reaches what the cancelled invocation waits for."""

    async def free(in_proof: LabInProof) -> None:
        assert await in_proof.operate("cancel", target) == 202
        await in_proof.until_all_completed()

    trace = run(lab, str(ROOT / "snippets" / "communication" / slug), free).trace
    assert {invocation.status for invocation in trace.invocations} == {"completed"}
