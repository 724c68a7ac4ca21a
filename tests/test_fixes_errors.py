"""What the pages of the chapter errors say of invocations under way, done on a real server."""

from __future__ import annotations

import pytest

from restate_guide.lab import (
    LATE_REPLAY,
    Stimulus,
    crash_after_step,
    load,
)
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab
from tests.fixes import SNIPPETS, afterwards, in_place, resume_on, until_status

CHAPTER = SNIPPETS / "errors"

pytestmark = pytest.mark.server


def test_what_a_final_answer_paused_ends_on_the_fixed_code(lab: Lab) -> None:
    """RDD501."""
    ended: list[str] = []

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", "GiftCards/pay", deployment="latest") == 200
        await in_proof.until_all_completed()
        rows = await in_proof.query("select completion_failure from sys_invocation")
        ended.extend(row["completion_failure"] for row in rows)

    afterwards(lab, CHAPTER / "business-failure-retried", fix)
    assert ended == ["[402] the card is used up"]


def test_what_has_failed_is_started_again_on_the_fixed_code(lab: Lab) -> None:
    """RDD502."""
    ended: list[str] = []

    async def again(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        failed = await in_proof.query("select id from sys_invocation")
        path = f"/invocations/{failed[0]['id']}/restart-as-new"
        await in_proof.admin("PATCH", f"{path}?deployment=latest")
        await in_proof.until_all_completed()
        in_order = "select completion_result from sys_invocation order by created_at"
        ended.extend(row["completion_result"] for row in await in_proof.query(in_order))

    trace = afterwards(lab, CHAPTER / "transient-made-terminal", again).trace
    assert ended == ["failure", "success"]
    assert trace.invocations[1].attempts[0].known_entries == 1


@pytest.mark.parametrize(("action", "places"), [("cancel", 0), ("kill", 1)])
def test_paused_is_undone_by_cancel_and_not_by_kill(lab: Lab, action: str, places: int) -> None:
    """RDD504."""

    async def end(in_proof: LabInProof) -> None:
        assert await in_proof.operate(action, "Courses/enrol") in (200, 202)
        await in_proof.until_all_completed()

    trace = afterwards(lab, CHAPTER / "kill-skips-compensation", end, variant="paused").trace
    assert len(trace.rows["places"]) == places


def test_paused_is_resumed_on_the_fixed_code_and_undone(lab: Lab) -> None:
    """RDD504: its three tries begin anew."""

    async def resume(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", "Courses/enrol", deployment="latest") == 200
        await in_proof.until_all_completed()

    trace = afterwards(lab, CHAPTER / "kill-skips-compensation", resume, variant="paused").trace
    assert trace.rows["places"] == []
    assert sum(effect.failed for effect in trace.effects) == 6


def test_what_was_raised_without_from_ends_on_the_fixed_code(lab: Lab) -> None:
    """RDD510: a cancel does not end it, a resume on the fixed code does."""
    target = "Trips/plan"
    ended: list[dict[str, object]] = []

    async def fix(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("cancel", target) == 202
        assert await in_proof.operate("resume", target) in (200, 409)
        await until_status(in_proof, target, "paused")
        await resume_on(in_proof, target)
        sql = f"select completion_failure from sys_invocation where target = '{target}'"
        ended.extend(await in_proof.query(sql))

    trace = afterwards(lab, CHAPTER / "raise-without-from", fix).trace
    assert "the hotel is full" in str(ended)
    attempts = next(i.attempts for i in trace.invocations if i.target == target)
    assert [a.ends for a in attempts] == ["error"] * (len(attempts) - 1) + ["output"]
    assert len(attempts) > 4, "the resumed one was tried with the cancel in its journal"


def test_step_without_a_limit_is_resumed_on_the_fixed_code(lab: Lab) -> None:
    """RDD511: the step is tried anew."""

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, "Quotes/price")

    (quote,) = afterwards(lab, CHAPTER / "dead-retry-option", fix).trace.invocations
    assert [attempt.ends for attempt in quote.attempts] == ["error"] * 3 + ["output"]


def test_argument_taken_for_options_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD512."""

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, "Parcels/pack")

    trace = afterwards(lab, CHAPTER / "options-in-the-wrong-slot", fix).trace
    assert trace.effect_counts() == {"POST /labels": 1}


@pytest.mark.parametrize(
    ("stimulus", "outcome"),
    [(crash_after_step("reserve cups"), "holds"), (LATE_REPLAY, "journal-mismatch")],
    ids=["not failed yet", "undone already"],
)
def test_late_binding_is_fixed_in_place(lab: Lab, stimulus: Stimulus, outcome: str) -> None:
    """RDD513: the worker that takes over has the fixed code."""
    result = in_place(lab, CHAPTER / "late-binding-compensation", stimulus)
    assert result.outcome.kind == outcome, result.outcome


def test_step_with_a_loop_is_fixed_in_place(lab: Lab) -> None:
    """RDD514: the worker that takes over has the fixed code, and one try is counted already."""
    rule = CHAPTER / "retry-loop-by-hand"
    outcome = in_place(lab, rule).outcome
    assert outcome == load(rule).promise


@pytest.mark.parametrize(("action", "left"), [("resume", 1200), ("cancel", 700)])
def test_paused_holder_of_a_key_is_resumed_or_ended(lab: Lab, action: str, left: int) -> None:
    """RDD515: and then the call behind it is served."""

    async def free(in_proof: LabInProof) -> None:
        assert await in_proof.operate(action, "Wallets/ann/top_up") in (200, 202)
        await in_proof.until_all_completed()

    trace = afterwards(lab, CHAPTER / "paused-nobody-told", free).trace
    assert [state.value for state in trace.state] == [left]
