"""What the pages of the chapter on state tell operators and developers to do, done on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    Holds,
    LabError,
    Result,
    Stimulus,
    crash_after_step,
    load,
)
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab

CHAPTER = ROOT / "snippets" / "state"


def run(
    lab: Lab,
    slug: str,
    prove: Callable[[LabInProof], Coroutine[None, None, None]],
    stimulus: Stimulus = PLAIN,
    server: Mapping[str, str] | None = None,
) -> Result:
    """Runs a rule's don't, with calls of the test's own."""
    promise = Holds(answers=["nothing that these tests look at"])
    proof = dataclasses.replace(load(CHAPTER / slug), prove=prove, promise=promise)
    if server is not None:
        proof = dataclasses.replace(proof, server=server)
    return lab.run(lab.laboratory.result(proof, proof.snippet("dont"), stimulus))


async def after_fix(in_proof: LabInProof, target: str) -> None:
    """Resumes what is paused on the fixed code, which stands at an address of its own."""
    await in_proof.until_row("select id from sys_invocation where status = 'paused'")
    await in_proof.deploy("do")
    assert await in_proof.operate("resume", target, deployment="latest") == 200
    await in_proof.until_all_completed()


@pytest.mark.parametrize(
    ("slug", "lie", "truth", "error"),
    [
        ("state-in-a-service", "ObjectContext", "Context", '"Context" has no attribute "get"'),
        (
            "write-in-shared-handler",
            "ObjectContext",
            "ObjectSharedContext",
            '"ObjectSharedContext" has no attribute "set"',
        ),
    ],
)
def test_mypy_finds_it_once_the_context_is_annotated_as_what_it_is(
    tmp_path: Path, slug: str, lie: str, truth: str, error: str
) -> None:
    """RDD201, RDD202: that it finds nothing as they stand, test_snippets tells."""
    text = (CHAPTER / slug / "dont.py").read_text()
    (tmp_path / "honest.py").write_text(text.replace(f"restate.{lie}", f"restate.{truth}"))
    command = [sys.executable, "-m", "mypy", "--strict", "honest.py"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert error in checked.stdout, checked.stdout


@pytest.mark.server
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


@pytest.mark.server
def test_vote_that_came_in_as_shared_stays_shared(lab: Lab) -> None:
    """RDD202: on the fixed code it is refused again, also as a new invocation; a new call is served."""
    target = "Polls/lunch/vote"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(target, "tea")
        await in_proof.deploy("do")
        await kill_what_pauses_again(in_proof, target, deployment="latest")
        killed = await in_proof.query("select id from sys_invocation")
        path = f"/invocations/{killed[0]['id']}/restart-as-new"
        answer = await in_proof._server.admin.patch(path, params={"deployment": "latest"})
        assert answer.is_success
        await in_proof.until_row("select id from sys_invocation where status = 'paused'")
        assert await in_proof.operate("kill", target) == 200
        await in_proof.until_all_completed()
        assert await in_proof.call(target, "tea") == 1

    trace = run(lab, "write-in-shared-handler", prove).trace
    assert [state.value for state in trace.state] == [1]


@pytest.mark.server
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
            service = (await in_proof._server.admin.get("/services/Parcels")).json()
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


@pytest.mark.server
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
            await in_proof._server.admin.patch(f"/invocations/{holder[0]['id']}/cancel")
        else:
            reply_to = in_proof.outside.ledger[0].body["reply_to"]
            await in_proof.resolve_awakeable(reply_to, "yes")
        await asyncio.gather(ann, bob)

    calls = run(lab, "awakeable-in-exclusive-handler", prove).trace.calls
    expected = [(409, 20)] if way == "cancel" else [(200, 920)]
    assert [(calls[0].status, calls[1].answer)] == expected


@pytest.mark.server
def test_operator_clears_what_a_session_left(lab: Lab) -> None:
    """RDD206: state outlives the invocations that wrote it, and the admin API clears it."""

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / "state-never-cleared").prove(in_proof)
        admin = in_proof._server.admin
        writers = "select id from sys_invocation where target_handler_name != 'logout'"
        for row in await in_proof.query(writers):
            assert (await admin.patch(f"/invocations/{row['id']}/purge")).is_success
        await in_proof.until_no_row(writers)
        assert await in_proof.query("select key from state")
        answer = await admin.post(
            "/services/Sessions/state", json={"object_key": "s-1", "new_state": {}}
        )
        assert answer.status_code == 202
        await in_proof.until_no_row("select key from state")

    run(lab, "state-never-cleared", prove)


@pytest.mark.server
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


@pytest.mark.server
def test_workflow_that_was_removed_is_as_one_that_never_ran(lab: Lab) -> None:
    """RDD207: it answers, with nothing, and can be run again."""

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / "workflow-state-forever").prove(in_proof)
        await in_proof.call("Claims/c-1/outcome")
        await in_proof.call("Claims/c-2/outcome")
        assert await in_proof.call("Claims/c-1/settle", "ann") == "paid"

    calls = run(lab, "workflow-state-forever", prove).trace.calls
    assert [(call.status, call.answer) for call in calls[2:4]] == [(200, ""), (200, "")]


@pytest.mark.server
def test_read_of_a_dict_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD209: until then, the key is locked."""

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / "get-without-type-hint").prove(in_proof)
        address = {"street": "Mill Lane 2", "city": "Ely"}
        moving = asyncio.create_task(in_proof.call("Customers/ann/move", address))
        await in_proof.until_row("select id from sys_invocation where status = 'pending'")
        await after_fix(in_proof, "Customers/ann/label")
        assert await moving == "moved"

    trace = run(lab, "get-without-type-hint", prove).trace
    assert {invocation.status for invocation in trace.invocations} == {"completed"}


@pytest.mark.server
@pytest.mark.parametrize(
    ("slug", "stimulus", "outcome"),
    [
        ("default-hides-zero", LATE_REPLAY, "holds"),
        ("get-without-type-hint", LATE_REPLAY, "holds"),
        ("module-variable-as-state", crash_after_step("mail bob"), "journal-mismatch"),
    ],
)
def test_fixed_code_in_place(lab: Lab, slug: str, stimulus: Stimulus, outcome: str) -> None:
    """The worker that takes over has the fixed code: does an invocation under way get through?"""
    proof = load(CHAPTER / slug)
    in_place = dataclasses.replace(stimulus, successor="do")
    result = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), in_place))
    assert result.outcome.kind == outcome, result.outcome
