"""What the pages of the chapter concurrency say of invocations under way, done on a real server."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from restate_guide.lab import Lab as LabInProof
from restate_guide.lab import (
    Result,
    crash_after_step,
    crash_before_journal,
)
from tests.conftest import Lab
from tests.fixes import SNIPPETS, afterwards, in_place, instead, resume_on, until_status

CHAPTER = SNIPPETS / "concurrency"

pytestmark = pytest.mark.server


def test_what_slept_in_the_process_begins_a_durable_sleep(lab: Lab) -> None:
    """RDD405: the fixed code gets through, and what a given-up attempt did is done again."""
    trace = in_place(lab, CHAPTER / "sleep-not-durable", crash_before_journal("charge")).trace
    assert [call.answer for call in trace.calls] == ["ann is charged"]
    assert len(trace.rows["charges"]) == 2
    journal = [entry.type for entry in trace.invocations[0].journal]
    assert journal[:2] == ["Command: Input", "Command: Sleep"]


@pytest.mark.parametrize("registered", [False, True])
def test_fixed_code_sends_to_a_handler_that_the_server_must_know(
    lab: Lab, registered: bool
) -> None:
    """RDD409: in place, the new handler is unknown; resumed on a new deployment, it is called."""
    fixed = dataclasses.replace(crash_after_step("book"), successor="do")

    async def prove(in_proof: LabInProof) -> None:
        buying = asyncio.create_task(in_proof.call("Shop/buy", "order-1"))
        await until_status(in_proof, "Shop/buy", "paused")
        if registered:
            await resume_on(in_proof, "Shop/buy")
            await in_proof.until_all_completed()
            await buying
        buying.cancel()

    trace = instead(lab, CHAPTER / "task-outlives-handler", prove, fixed).trace
    assert "RT0018" in {failure.code for failure in trace.failures()}
    assert trace.effect_counts() == {"POST /orders": 1} | (
        {"POST /emails": 1} if registered else {}
    )


def resumed(lab: Lab, slug: str, target: str, deployment: str) -> Result:
    """A don't that ended paused, then was resumed on another snippet of its rule."""

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, target, deployment)
        await in_proof.until_all_completed()

    return afterwards(lab, CHAPTER / slug, fix)


def test_paused_with_futures_completes_on_the_fixed_code(lab: Lab) -> None:
    """RDD407: nothing is booked again."""
    trace = resumed(lab, "gather-returns-futures", "Trips/plan", "do").trace
    assert trace.effect_counts() == {"POST /flights": 1, "POST /rooms": 1}
    assert {invocation.status for invocation in trace.invocations} == {"completed"}


def test_mismatch_after_a_deadline_completes_without_the_branch(lab: Lab) -> None:
    """RDD406: on a version that always sleeps."""
    trace = resumed(lab, "offset-by-hand", "Reminders/remind", "clamped").trace
    assert trace.effect_counts() == {"POST /emails": 1}
    assert {invocation.status for invocation in trace.invocations} == {"completed"}
