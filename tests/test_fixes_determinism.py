"""What the pages of the chapter determinism tell operators to do, done on a real server."""

from __future__ import annotations

import pytest

from restate_guide.lab import (
    LATE_REPLAY,
)
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab
from tests.fixes import SNIPPETS, afterwards, resume_on, until_status

CHAPTER = SNIPPETS / "determinism"

pytestmark = pytest.mark.server


def test_paused_by_a_mismatch_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD103: deploy the fix, then resume what was paused."""
    target = "Cart/cart-1/add"

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, target)

    trace = afterwards(lab, CHAPTER / "context-inside-run", fix).trace
    assert trace.effect_counts() == {"POST /reservations": 1}
    assert [(state.name, state.value) for state in trace.state] == [("tea", 420)]


def test_late_mismatch_of_a_draw_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD106: the fixed code makes the same draws in the same order."""
    target = "Order/order-1/pay"

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, target)

    trace = afterwards(lab, CHAPTER / "helpers-drawn-inside-run", fix, LATE_REPLAY).trace
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

    trace = afterwards(lab, CHAPTER / "random-decides-a-step", free).trace
    stuck = next(i for i in trace.invocations if i.target == target)
    assert {failure.code for failure in stuck.failures} == {"RT0016"}


def test_what_a_lambda_paused_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD116."""
    target = "Accounts/welcome"

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, target)

    trace = afterwards(lab, CHAPTER / "coroutine-from-lambda", fix).trace
    assert trace.effect_counts() == {"POST /emails": 1}
