"""What pages say of waiting, polling and secrets: done to invocations that a don't has left."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Holds,
    JournalMismatch,
    Result,
    Stimulus,
    crash_after_effect,
    crash_after_step,
    load,
)
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab

pytestmark = pytest.mark.server


def run(lab: Lab, folder: str, then: Callable[[LabInProof], Awaitable[None]]) -> Result:
    """Runs a don't as its proof does, and does something about it afterwards."""
    proof = load(ROOT / "snippets" / folder)

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await then(in_proof)

    mended = dataclasses.replace(proof, prove=prove)
    return lab.run(lab.laboratory.result(mended, proof.snippet("dont")))


def test_a_purged_journal_holds_no_token_and_the_outcome_stays(lab: Lab) -> None:
    """RDD311."""
    tokens = "select id from sys_journal where entry_json like '%for-this-proof-only%'"
    over = (
        "select id from sys_invocation where status = 'completed' and completion_result = 'success'"
    )

    async def purge(in_proof: LabInProof) -> None:
        assert len(await in_proof.query(tokens)) == 1
        assert await in_proof.operate("purge-journal", "Claims/file") == 200
        await in_proof.until_no_row(tokens)
        assert len(await in_proof.query(over)) == 1

    run(lab, "communication/secrets-in-headers", purge)


@pytest.mark.parametrize(
    ("folder", "stimulus", "outcome"),
    [
        ("communication/context-outside-a-handler", LATE_REPLAY, "holds"),
        (
            "communication/awakeable-id-sent-outside-run",
            crash_after_effect("POST /emails"),
            "effect-repeated",
        ),
    ],
)
def test_fixed_code_in_place(lab: Lab, folder: str, stimulus: Stimulus, outcome: str) -> None:
    """The worker that takes over has the fixed code: does an invocation under way get through?"""
    proof = load(ROOT / "snippets" / folder)
    in_place = dataclasses.replace(stimulus, successor="do")
    result = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), in_place))
    assert result.outcome.kind == outcome, result.outcome


def test_the_second_answer_to_an_awakeable_is_accepted_and_ignored(lab: Lab) -> None:
    """RDD313: both mails have the same link."""
    proof = load(ROOT / "snippets/communication/awakeable-id-sent-outside-run")

    async def prove(in_proof: LabInProof) -> None:
        approving = asyncio.create_task(in_proof.call("Trips/approve", "Rome"))
        await in_proof.until_effect("POST /emails")
        approval = in_proof.outside.ledger[0].body["link"].rpartition("/")[2]
        await in_proof.resolve_awakeable(approval, "approved")
        await in_proof.resolve_awakeable(approval, "refused")
        await approving

    twice = dataclasses.replace(proof, prove=prove)
    result = lab.run(lab.laboratory.result(twice, proof.snippet("dont"), REPLAY_EVERY_AWAIT))
    assert result.trace.calls[0].answer == "Rome: approved"


def test_who_confirms_just_before_a_promise_is_closed_is_heard(lab: Lab, tmp_path: Path) -> None:
    """RDD314: the rejection comes too late then, and the workflow takes the guest."""
    proof = load(ROOT / "snippets/communication/wait-without-a-limit")
    closing = "        await confirmed.reject"
    slow = '        await ctx.run_typed("slow", mark, room="13", as_what="slow")\n'
    snippet = tmp_path / "closed.py"
    snippet.write_text(proof.snippet("closed").read_text().replace(closing, slow + closing))

    async def prove(in_proof: LabInProof) -> None:
        closed = in_proof.outside.hold("PUT /rooms/13", at_most=30.0)
        waiting = asyncio.create_task(in_proof.call("Booking/b-1/run", "12"))
        await in_proof.until_effect("PUT /rooms/13")
        assert await in_proof.call("Booking/b-1/confirm", "ann") == "thank you"
        closed.set()
        await waiting

    between = dataclasses.replace(proof, prove=prove)
    result = lab.run(lab.laboratory.result(between, snippet, PLAIN))
    assert result.trace.calls[0].answer == "room 12 for ann"


async def confirm(in_proof: LabInProof) -> None:
    await in_proof.call("Booking/b-1/confirm", "ann")


async def cancel(in_proof: LabInProof) -> None:
    assert await in_proof.operate("cancel", "Booking/b-1/run") == 202


async def move(in_proof: LabInProof) -> None:
    """On to the code that has a limit; one that is suspended needs no pause for that, and gets none."""
    await in_proof.deploy("do")
    if not await in_proof.query("select id from sys_invocation where status = 'suspended'"):
        assert await in_proof.operate("pause", "Booking/b-1/run") == 202
        await in_proof.until_row("select id from sys_invocation where status = 'paused'")
    assert await in_proof.operate("resume", "Booking/b-1/run", deployment="latest") == 200


@pytest.mark.parametrize("stimulus", [PLAIN, REPLAY_EVERY_AWAIT], ids=["running", "suspended"])
@pytest.mark.parametrize(
    ("free", "ends"),
    [
        (confirm, "room 12 for ann"),
        (cancel, {"failure": "cancelled", "code": 409}),
        (move, "room 12 was not confirmed"),
    ],
)
def test_a_workflow_that_waits_for_ever_is_freed(
    lab: Lab, stimulus: Stimulus, free: Callable[[LabInProof], Awaitable[None]], ends: object
) -> None:
    """RDD314: by what it waits for, by a cancel, or by the code with the limit."""
    proof = load(ROOT / "snippets/communication/wait-without-a-limit")

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Booking/b-1/run/send", "12")
        await in_proof.until_row("select key from sys_promise")
        if stimulus is REPLAY_EVERY_AWAIT:
            await in_proof.until_row("select id from sys_invocation where status = 'suspended'")
        await free(in_proof)
        await in_proof.until_all_completed()

    freed = dataclasses.replace(proof, prove=prove, promise=Holds(answers=[]))
    trace = lab.run(lab.laboratory.result(freed, proof.snippet("dont"), stimulus)).trace
    stuck = next(i for i in trace.invocations if i.target == "Booking/b-1/run")
    assert stuck.journal[-1].value == ends


def test_a_handler_that_went_on_after_the_answer_meets_a_mismatch(lab: Lab, tmp_path: Path) -> None:
    """RDD313: on the fixed code in place, its journal has the next step where the mail's now is."""
    proof = load(ROOT / "snippets/communication/awakeable-id-sent-outside-run")
    returning = '    return f"{trip}: {await decision}"'
    going_on = '    await decision\n    await ctx.run_typed("book", trip.upper)\n' + returning
    for name in ("do", "dont"):
        fuller = proof.snippet(name).read_text().replace(returning, going_on)
        (tmp_path / f"{name}.py").write_text(fuller)
    in_place = dataclasses.replace(crash_after_step("book"), successor="do")
    result = lab.run(lab.laboratory.result(proof, tmp_path / "dont.py", in_place))
    assert result.outcome == JournalMismatch(command=1, was="name book", now="name mail")


def test_a_polling_loop_meets_a_mismatch_on_the_fixed_code_in_place(lab: Lab) -> None:
    """RDD315."""
    proof = load(ROOT / "snippets/communication/polling-with-sleep")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /deliveries/p-1", times=8, status=404)
        await in_proof.call("Orders/track", "p-1")

    in_place = dataclasses.replace(crash_after_step("ask"), successor="do")
    unjudged = dataclasses.replace(proof, prove=prove)
    result = lab.run(lab.laboratory.result(unjudged, proof.snippet("dont"), in_place))
    assert result.outcome == JournalMismatch(command=1, was="name ask", now="name subscribe")


def test_a_polling_loop_goes_on_with_the_old_code_until_cancelled(lab: Lab) -> None:
    """RDD315: also when the fixed code is deployed."""
    proof = load(ROOT / "snippets/communication/polling-with-sleep")
    asked = "GET /deliveries/p-1"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail(asked, times=1000, status=404)
        await in_proof.call("Orders/track/send", "p-1")
        await in_proof.until_effect(asked, times=3)
        await in_proof.deploy("do")
        already = len(in_proof.outside.ledger)
        await in_proof.until_effect(asked, times=already + 3)
        assert await in_proof.operate("cancel", "Orders/track") == 202
        await in_proof.until_all_completed()

    sent = Holds(answers=[{"invocationId": "inv-1", "status": "Accepted"}])
    cancelled = dataclasses.replace(proof, prove=prove, promise=sent)
    trace = lab.run(lab.laboratory.result(cancelled, proof.snippet("dont"))).trace
    assert trace.invocations[0].journal[-1].value == {"failure": "cancelled", "code": 409}


def test_an_endless_loop_meets_a_mismatch_on_the_fixed_code_in_place(lab: Lab) -> None:
    """RDD704."""
    proof = load(ROOT / "snippets/services/endless-handler")

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Digests/send", "ann")

    in_place = dataclasses.replace(LATE_REPLAY, successor="do")
    unjudged = dataclasses.replace(proof, prove=prove)
    outcome = lab.run(lab.laboratory.result(unjudged, proof.snippet("dont"), in_place)).outcome
    assert isinstance(outcome, JournalMismatch) and outcome.command == 2, outcome


def test_an_endless_loop_is_cancelled_and_goes_on_as_messages(lab: Lab) -> None:
    """RDD704: on a new deployment."""
    proof = load(ROOT / "snippets/services/endless-handler")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /letters", times=1, status=410, after=2)
        await in_proof.call("Digests/send/send", "ann")
        await in_proof.until_effect("POST /digests", times=2)
        await in_proof.deploy("newer")
        assert await in_proof.operate("cancel", "Digests/send") == 202
        await in_proof.until_all_completed()
        await in_proof.call("Digests/send/send", "ann")
        await in_proof.until_effect("POST /letters", times=3)  # the third is refused
        await in_proof.until_all_completed()

    unjudged = dataclasses.replace(proof, prove=prove)
    trace = lab.run(lab.laboratory.result(unjudged, proof.snippet("dont"))).trace
    assert trace.invocations[0].journal[-1].value == {"failure": "cancelled", "code": 409}
    assert trace.effect_counts()["POST /letters"] == 2


def test_a_workflow_past_the_new_state_meets_a_mismatch_in_place(lab: Lab) -> None:
    """RDD703."""
    proof = load(ROOT / "snippets/services/status-by-waiting")

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Claim/c-1/run", "flood")

    in_place = dataclasses.replace(crash_after_effect("GET /assessments/claim-1"), successor="do")
    unjudged = dataclasses.replace(proof, prove=prove)
    outcome = lab.run(lab.laboratory.result(unjudged, proof.snippet("dont"), in_place)).outcome
    assert isinstance(outcome, JournalMismatch) and outcome.command == 2, outcome


def test_a_workflow_that_began_before_has_nothing_to_tell(lab: Lab) -> None:
    """RDD703: the handler is the new deployment's, the workflow the old one's."""
    proof = load(ROOT / "snippets/services/status-by-waiting")
    assessment = "GET /assessments/claim-1"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[assessment] = "covered"
        assessed = in_proof.outside.hold(assessment, at_most=30.0)
        running = asyncio.create_task(in_proof.call("Claim/c-1/run", "flood"))
        await in_proof.until_effect(assessment)
        await in_proof.deploy("do")
        await in_proof.call("Claim/c-1/tell")
        assessed.set()
        await running
        await in_proof.call("Claim/c-1/tell")

    right = Holds(answers=[["claim-1", "covered"], "", ""], effects={"POST /claims": 1})
    asked = dataclasses.replace(proof, prove=prove, promise=right)
    outcome = lab.run(lab.laboratory.result(asked, proof.snippet("dont"))).outcome
    assert outcome == right
