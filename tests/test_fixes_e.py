"""What the pages of the chapter errors say about invocations under way, done on a real server."""

from __future__ import annotations

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

CHAPTER = ROOT / "snippets" / "errors"

pytestmark = pytest.mark.server


def run(
    lab: Lab, slug: str, then: Callable[[LabInProof], Awaitable[None]], snippet: str = "dont"
) -> Result:
    """Runs a snippet as its proof does, and does something about it afterwards."""
    proof = load(CHAPTER / slug)

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await then(in_proof)

    mended = dataclasses.replace(proof, prove=prove)
    return lab.run(lab.laboratory.result(mended, proof.snippet(snippet)))


@pytest.mark.parametrize(
    ("slug", "stimulus", "outcome"),
    [
        ("no-compensation", crash_after_step("reserve"), "holds"),
        ("compensation-not-idempotent", crash_after_step("unlock"), "holds"),
        ("compensation-not-idempotent", crash_after_effect("POST /credits"), "effect-repeated"),
        ("bare-except", crash_after_step("charge"), "holds"),
        ("finally-runs-on-suspension", LATE_REPLAY, "holds"),
    ],
)
def test_fixed_code_in_place(lab: Lab, slug: str, stimulus: Stimulus, outcome: str) -> None:
    """The worker that takes over has the fixed code: does an invocation under way get through?"""
    proof = load(CHAPTER / slug)
    in_place = dataclasses.replace(stimulus, successor="do")
    result = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), in_place))
    assert result.outcome.kind == outcome, result.outcome


def test_what_a_final_answer_paused_ends_on_the_fixed_code(lab: Lab) -> None:
    """RDD501."""
    ended: list[str] = []

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", "GiftCards/pay", deployment="latest") == 200
        await in_proof.until_all_completed()
        rows = await in_proof.query("select completion_failure from sys_invocation")
        ended.extend(row["completion_failure"] for row in rows)

    run(lab, "business-failure-retried", fix)
    assert ended == ["[402] the card is used up"]


def test_what_has_failed_is_started_again_on_the_fixed_code(lab: Lab) -> None:
    """RDD502."""
    ended: list[str] = []

    async def again(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        failed = await in_proof.query("select id from sys_invocation")
        path = f"/invocations/{failed[0]['id']}/restart-as-new"
        response = await in_proof._server.admin.patch(path, params={"deployment": "latest"})
        response.raise_for_status()
        await in_proof.until_all_completed()
        in_order = "select completion_result from sys_invocation order by created_at"
        ended.extend(row["completion_result"] for row in await in_proof.query(in_order))

    trace = run(lab, "transient-made-terminal", again).trace
    assert ended == ["failure", "success"]
    assert trace.invocations[1].attempts[0].known_entries == 1


@pytest.mark.parametrize(("action", "places"), [("cancel", 0), ("kill", 1)])
def test_paused_is_undone_by_cancel_and_not_by_kill(lab: Lab, action: str, places: int) -> None:
    """RDD504."""

    async def end(in_proof: LabInProof) -> None:
        assert await in_proof.operate(action, "Courses/enrol") in (200, 202)
        await in_proof.until_all_completed()

    trace = run(lab, "kill-skips-compensation", end, "paused").trace
    assert len(trace.rows["places"]) == places


def test_paused_is_resumed_on_the_fixed_code_and_undone(lab: Lab) -> None:
    """RDD504: its three tries begin anew."""

    async def resume(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", "Courses/enrol", deployment="latest") == 200
        await in_proof.until_all_completed()

    trace = run(lab, "kill-skips-compensation", resume, "paused").trace
    assert trace.rows["places"] == []
    assert sum(effect.failed for effect in trace.effects) == 6
