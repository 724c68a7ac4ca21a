"""What the pages of the chapter state tell operators and developers to do, done on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from restate_guide.lab import (
    PLAIN,
    Holds,
    LabError,
    Result,
    load,
)
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab
from tests.fixes import SNIPPETS, instead, resume_on

CHAPTER = SNIPPETS / "state"

pytestmark = pytest.mark.server


def run(
    lab: Lab,
    slug: str,
    prove: Callable[[LabInProof], Awaitable[None]],
    **changes: Any,
) -> Result:
    """Runs a rule's don't undisturbed, with calls of the test's own."""
    promise = Holds(answers=["nothing that these tests look at"])
    return instead(lab, CHAPTER / slug, prove, PLAIN, promise=promise, **changes)


def test_a_service_can_not_become_an_object_of_the_same_name(lab: Lab) -> None:
    """RDD201: the server refuses it, and what is paused gets no further: it is killed."""
    target = "SignIns/check"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(target, "phone")
        with pytest.raises(LabError, match="META0006"):
            await in_proof.deploy("do")
        assert await in_proof.operate("cancel", target) == 202
        await kill_what_pauses_again(in_proof, target)

    run(lab, "state-in-a-service", prove)


async def kill_what_pauses_again(in_proof: LabInProof, target: str, **resume: str) -> None:
    """Resumes what is paused, waits until it is paused anew, and kills it."""
    assert await in_proof.operate("resume", target, **resume) == 200
    again = "select id from sys_journal_events where event_type = 'Paused' group by id having count(*) > 1"
    await in_proof.until_row(again)
    await in_proof.until_row("select id from sys_invocation where status = 'paused'")
    assert await in_proof.operate("kill", target) == 200
    await in_proof.until_all_completed()


def test_vote_that_came_in_as_shared_stays_shared(lab: Lab) -> None:
    """RDD202: on the fixed code it is refused again, also as a new invocation; a new call is served."""
    target = "Polls/lunch/vote"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(target, "tea")
        await in_proof.deploy("do")
        await kill_what_pauses_again(in_proof, target, deployment="latest")
        killed = await in_proof.query("select id from sys_invocation")
        path = f"/invocations/{killed[0]['id']}/restart-as-new"
        await in_proof.admin("PATCH", f"{path}?deployment=latest")
        await in_proof.until_row("select id from sys_invocation where status = 'paused'")
        assert await in_proof.operate("kill", target) == 200
        await in_proof.until_all_completed()
        assert await in_proof.call(target, "tea") == 1

    trace = run(lab, "write-in-shared-handler", prove).trace
    assert [state.value for state in trace.state] == [1]


def test_reader_that_is_deployed_as_shared_passes_the_queue(lab: Lab) -> None:
    """RDD203: new questions are answered at once, those in the queue stay there."""
    kinds = []

    async def prove(in_proof: LabInProof) -> None:
        answer = in_proof.outside.hold("POST /pickups", at_most=20.0)
        dispatching = asyncio.create_task(in_proof.call("Parcels/p-7/dispatch"))
        await in_proof.until_effect("POST /pickups")
        await in_proof.until_row("select key from state")
        queued = asyncio.create_task(in_proof.call("Parcels/p-7/status"))
        await in_proof.until_row("select id from sys_invocation where status = 'pending'")
        for _ in range(2):
            service = await in_proof.admin("GET", "/services/Parcels")
            kinds.append({handler["name"]: handler["ty"] for handler in service["handlers"]})
            if len(kinds) == 1:
                await in_proof.deploy("do")
        assert await in_proof.call("Parcels/p-7/status") == "waiting for a courier"
        assert not queued.done()
        answer.set()
        await asyncio.gather(dispatching, queued)

    calls = run(lab, "context-type-lies", prove).trace.calls
    assert [call.answer for call in calls] == ["pickup-1", "on its way", "waiting for a courier"]
    assert [kind["status"] for kind in kinds] == ["Exclusive", "Shared"]


@pytest.mark.parametrize("way", ["cancel", "resolve"])
def test_key_that_waits_for_an_approval_is_freed(lab: Lab, way: str) -> None:
    """RDD205: by a cancel of whoever holds it, or by the answer; a deployment alone frees nothing."""

    async def prove(in_proof: LabInProof) -> None:
        ann = asyncio.create_task(in_proof.call("Purchases/buy", 900))
        await in_proof.until_effect("POST /approvals")
        await in_proof.deploy("do")
        bob = asyncio.create_task(in_proof.call("Purchases/buy", 20))
        await in_proof.until_row("select id from sys_invocation where status = 'pending'")
        if way == "cancel":
            holder = await in_proof.query(
                "select id from sys_invocation where target = 'Budgets/sales/spend' "
                "and status != 'pending'"
            )
            await in_proof.admin("PATCH", f"/invocations/{holder[0]['id']}/cancel")
        else:
            reply_to = in_proof.outside.ledger[0].body["reply_to"]
            await in_proof.resolve_awakeable(reply_to, "yes")
        await asyncio.gather(ann, bob)

    calls = run(lab, "awakeable-in-exclusive-handler", prove).trace.calls
    expected = [(409, 20)] if way == "cancel" else [(200, 920)]
    assert [(calls[0].status, calls[1].answer)] == expected


def test_operator_clears_what_a_session_left(lab: Lab) -> None:
    """RDD206: state outlives the invocations that wrote it, and the admin API clears it."""

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / "state-never-cleared").prove(in_proof)
        writers = "select id from sys_invocation where target_handler_name != 'logout'"
        for row in await in_proof.query(writers):
            await in_proof.admin("PATCH", f"/invocations/{row['id']}/purge")
        await in_proof.until_no_row(writers)
        assert await in_proof.query("select key from state")
        cleared = {"object_key": "s-1", "new_state": {}}
        await in_proof.admin("POST", "/services/Sessions/state", cleared)
        await in_proof.until_no_row("select key from state")

    run(lab, "state-never-cleared", prove)


def test_claims_that_are_still_there_can_be_copied(lab: Lab) -> None:
    """RDD207: by the fixed code, while the id can't be run again."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Claims/c-1/settle", "ann")
        assert (await in_proof.call("Claims/c-1/settle", "ann"))["code"] == 409
        await in_proof.deploy("do")
        await in_proof.call("Customers/ann/add", "c-1")

    trace = run(lab, "workflow-state-forever", prove, server={}).trace
    kept = [(state.service, state.value) for state in trace.state]
    assert kept == [("Claims", "paid"), ("Customers", "paid")]


def test_workflow_that_was_removed_is_as_one_that_never_ran(lab: Lab) -> None:
    """RDD207: it answers, with nothing, and can be run again."""

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / "workflow-state-forever").prove(in_proof)
        await in_proof.call("Claims/c-1/outcome")
        await in_proof.call("Claims/c-2/outcome")
        assert await in_proof.call("Claims/c-1/settle", "ann") == "paid"

    calls = run(lab, "workflow-state-forever", prove).trace.calls
    assert [(call.status, call.answer) for call in calls[2:4]] == [(200, ""), (200, "")]


def test_read_of_a_dict_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD209: until then, the key is locked."""

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / "get-without-type-hint").prove(in_proof)
        address = {"street": "Mill Lane 2", "city": "Ely"}
        moving = asyncio.create_task(in_proof.call("Customers/ann/move", address))
        await in_proof.until_row("select id from sys_invocation where status = 'pending'")
        await resume_on(in_proof, "Customers/ann/label")
        assert await moving == "moved"

    trace = run(lab, "get-without-type-hint", prove).trace
    assert {invocation.status for invocation in trace.invocations} == {"completed"}
