"""What pages of the chapters errors and operations tell operators to do, done on a real server."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import LATE_REPLAY, PLAIN, Result, Stimulus, crash_after_step, load
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab

CHAPTER = ROOT / "snippets" / "errors"

pytestmark = pytest.mark.server


async def until_status(lab: LabInProof, target: str, status: str) -> None:
    """Waits until an invocation has a status."""
    await lab.until_row(
        f"select id from sys_invocation where target = '{target}' and status = '{status}'"
    )


async def resume_on(lab: LabInProof, target: str, snippet: str) -> None:
    """Registers a snippet as a new deployment, and resumes on it what is paused, to its end."""
    await until_status(lab, target, "paused")
    await lab.deploy(snippet)
    assert await lab.operate("resume", target, deployment="latest") == 200
    await until_status(lab, target, "completed")


def run(lab: Lab, slug: str, then: Callable[[LabInProof], Awaitable[None]]) -> Result:
    """Runs a don't as its proof does, and does something about it afterwards."""
    proof = load(CHAPTER / slug)

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await then(in_proof)

    mended = dataclasses.replace(proof, prove=prove)
    return lab.run(lab.laboratory.result(mended, proof.snippet("dont")))


def test_what_was_raised_without_from_ends_on_the_fixed_code(lab: Lab) -> None:
    """RDD510: a cancel does not end it, a resume on the fixed code does."""
    target = "Trips/plan"
    ended: list[dict[str, object]] = []

    async def fix(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("cancel", target) == 202
        assert await in_proof.operate("resume", target) in (200, 409)
        await until_status(in_proof, target, "paused")
        await resume_on(in_proof, target, "do")
        sql = f"select completion_failure from sys_invocation where target = '{target}'"
        ended.extend(await in_proof.query(sql))

    trace = run(lab, "raise-without-from", fix).trace
    assert "the hotel is full" in str(ended)
    attempts = next(i.attempts for i in trace.invocations if i.target == target)
    assert [a.ends for a in attempts] == ["error"] * (len(attempts) - 1) + ["output"]
    assert len(attempts) > 4, "the resumed one was tried with the cancel in its journal"


def test_step_without_a_limit_is_resumed_on_the_fixed_code(lab: Lab) -> None:
    """RDD511: the step is tried anew."""

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, "Quotes/price", "do")

    (quote,) = run(lab, "dead-retry-option", fix).trace.invocations
    assert [attempt.ends for attempt in quote.attempts] == ["error"] * 3 + ["output"]


def test_argument_taken_for_options_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD512."""

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, "Parcels/pack", "do")

    trace = run(lab, "options-in-the-wrong-slot", fix).trace
    assert trace.effect_counts() == {"POST /labels": 1}


def test_mypy_finds_the_argument_taken_for_options(tmp_path: Path) -> None:
    """RDD512: the don't without the comment that silences it."""
    for variant, found in (("dont", True), ("do", False)):
        text = (CHAPTER / "options-in-the-wrong-slot" / f"{variant}.py").read_text()
        (tmp_path / f"{variant}.py").write_text(text.replace("  # type: ignore", ""))
        command = [sys.executable, "-m", "mypy", f"{variant}.py"]
        checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert ("[call-overload]" in checked.stdout) == found, checked.stdout


def test_ruff_finds_the_loop_variable_in_a_lambda() -> None:
    """RDD513: by the rule that its page names."""
    for variant, found in (("dont", True), ("do", False), ("default", False)):
        path = CHAPTER / "late-binding-compensation" / f"{variant}.py"
        command = [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--isolated",
            "--ignore-noqa",
            "--select",
            "B023",
            str(path),
        ]
        checked = subprocess.run(command, capture_output=True, text=True)
        assert ("B023" in checked.stdout) == found, checked.stdout


@pytest.mark.parametrize(
    ("stimulus", "outcome"),
    [(crash_after_step("reserve cups"), "holds"), (LATE_REPLAY, "journal-mismatch")],
    ids=["not failed yet", "undone already"],
)
def test_late_binding_is_fixed_in_place(lab: Lab, stimulus: Stimulus, outcome: str) -> None:
    """RDD513: the worker that takes over has the fixed code."""
    proof = load(CHAPTER / "late-binding-compensation")
    in_place = dataclasses.replace(stimulus, successor="do")
    result = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), in_place))
    assert result.outcome.kind == outcome, result.outcome


def test_step_with_a_loop_is_fixed_in_place(lab: Lab) -> None:
    """RDD514: the worker that takes over has the fixed code, and one try is counted already."""
    proof = load(CHAPTER / "retry-loop-by-hand")
    in_place = dataclasses.replace(proof.stimulus, successor="do")
    result = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), in_place))
    assert result.outcome == proof.promise, result.outcome


@pytest.mark.parametrize(("action", "left"), [("resume", 1200), ("cancel", 700)])
def test_paused_holder_of_a_key_is_resumed_or_ended(lab: Lab, action: str, left: int) -> None:
    """RDD515: and then the call behind it is served."""

    async def free(in_proof: LabInProof) -> None:
        assert await in_proof.operate(action, "Wallets/ann/top_up") in (200, 202)
        await in_proof.until_all_completed()

    trace = run(lab, "paused-nobody-told", free).trace
    assert [state.value for state in trace.state] == [left]


@pytest.mark.parametrize(("snippet", "found"), [("cached", True), ("dont", False)])
def test_server_without_patience_replays_at_every_await(
    lab: Lab, snippet: str, found: bool
) -> None:
    """RDD607: as the SDK's harness does it; it finds the one mistake, and not the other."""
    proof = load(ROOT / "snippets" / "operations" / "test-without-replay")
    server = {"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "0s"}
    impatient = dataclasses.replace(proof, server=server)
    result = lab.run(lab.laboratory.result(impatient, proof.snippet(snippet), PLAIN))
    assert (result.outcome.kind == "journal-mismatch") == found, result.outcome


def test_number_of_a_dead_process_is_ended_by_kill(lab: Lab) -> None:
    """RDD607: on the fixed code the journal doesn't replay, either."""
    target = "Tickets/t-1/open"

    async def end(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_row(
            "select id from sys_journal_events where event_json like '%set state%run%'"
        )
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("kill", target) == 200
        await until_status(in_proof, target, "completed")

    run(lab, str(ROOT / "snippets/operations/test-without-replay"), end)
