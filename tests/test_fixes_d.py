"""What the pages on concurrency say of invocations under way, done on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import (
    LATE_REPLAY,
    Result,
    Stimulus,
    crash_after_step,
    crash_before_journal,
    load,
)
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab

CHAPTER = ROOT / "snippets" / "concurrency"


@pytest.mark.server
@pytest.mark.parametrize(
    ("slug", "stimulus", "outcome"),
    [
        ("gather-of-coroutines", LATE_REPLAY, "journal-mismatch"),
        ("first-completed", LATE_REPLAY, "holds"),
        ("offset-by-hand", LATE_REPLAY, "journal-mismatch"),
        ("loser-keeps-running", LATE_REPLAY, "holds"),
        # Answered rightly; late, for it was the old code that asked one agency after the other.
        ("one-after-another", crash_after_step("ask income"), "answered-late"),
        ("one-after-another", LATE_REPLAY, "answered-late"),
        ("fan-out-ignores-failure", LATE_REPLAY, "holds"),
    ],
)
def test_fixed_code_in_place(lab: Lab, slug: str, stimulus: Stimulus, outcome: str) -> None:
    """The worker that takes over has the fixed code: does an invocation under way get through?"""
    proof = load(CHAPTER / slug)
    in_place = dataclasses.replace(stimulus, successor="do")
    result = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), in_place))
    assert result.outcome.kind == outcome, result.outcome


@pytest.mark.server
def test_what_slept_in_the_process_begins_a_durable_sleep(lab: Lab) -> None:
    """RDD405: the fixed code gets through, and what a given-up attempt did is done again."""
    proof = load(CHAPTER / "sleep-not-durable")
    in_place = dataclasses.replace(crash_before_journal("charge"), successor="do")
    trace = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), in_place)).trace
    assert [call.answer for call in trace.calls] == ["ann is charged"]
    assert len(trace.rows["charges"]) == 2
    journal = [entry.type for entry in trace.invocations[0].journal]
    assert journal[:2] == ["Command: Input", "Command: Sleep"]


@pytest.mark.server
@pytest.mark.parametrize("registered", [False, True])
def test_fixed_code_sends_to_a_handler_that_the_server_must_know(
    lab: Lab, registered: bool
) -> None:
    """RDD409: in place, the new handler is unknown; resumed on a new deployment, it is called."""
    proof = load(CHAPTER / "task-outlives-handler")
    in_place = dataclasses.replace(crash_after_step("book"), successor="do")

    async def prove(in_proof: LabInProof) -> None:
        buying = asyncio.create_task(in_proof.call("Shop/buy", "order-1"))
        await in_proof.until_row(f"select id from sys_invocation where {PAUSED % 'Shop/buy'}")
        if registered:
            await in_proof.deploy("do")
            await in_proof.operate("resume", "Shop/buy", deployment="latest")
            await in_proof.until_all_completed()
            await buying
        buying.cancel()

    mended = dataclasses.replace(proof, prove=prove)
    trace = lab.run(lab.laboratory.result(mended, proof.snippet("dont"), in_place)).trace
    assert "RT0018" in {failure.code for failure in trace.failures()}
    assert trace.effect_counts() == {"POST /orders": 1} | (
        {"POST /emails": 1} if registered else {}
    )


def resumed(lab: Lab, slug: str, target: str, deployment: str) -> Result:
    """A don't that ended paused, then was resumed on another snippet of its rule."""
    proof = load(CHAPTER / slug)

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await in_proof.until_row(f"select id from sys_invocation where {PAUSED % target}")
        await in_proof.deploy(deployment)
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()

    mended = dataclasses.replace(proof, prove=prove)
    return lab.run(lab.laboratory.result(mended, proof.snippet("dont")))


PAUSED = "target = '%s' and status = 'paused'"


@pytest.mark.server
def test_paused_with_futures_completes_on_the_fixed_code(lab: Lab) -> None:
    """RDD407: nothing is booked again."""
    trace = resumed(lab, "gather-returns-futures", "Trips/plan", "do").trace
    assert trace.effect_counts() == {"POST /flights": 1, "POST /rooms": 1}
    assert {invocation.status for invocation in trace.invocations} == {"completed"}


@pytest.mark.server
def test_mismatch_after_a_deadline_completes_without_the_branch(lab: Lab) -> None:
    """RDD406: on a version that always sleeps."""
    trace = resumed(lab, "offset-by-hand", "Reminders/remind", "clamped").trace
    assert trace.effect_counts() == {"POST /emails": 1}
    assert {invocation.status for invocation in trace.invocations} == {"completed"}


def test_mypy_finds_futures_where_the_result_has_types(tmp_path: Path) -> None:
    """RDD407: with types in place of Any, the don't is found, and the do is not."""
    for variant, found in (("dont", True), ("do", False)):
        text = (CHAPTER / "gather-returns-futures" / f"{variant}.py").read_text()
        path = tmp_path / f"{variant}.py"
        path.write_text(text.replace("dict[str, Any]", "dict[str, str | list[str]]"))
        command = [sys.executable, "-m", "mypy", "--strict", str(path)]
        checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert ("[dict-item]" in checked.stdout) == found, checked.stdout
