"""What the pages of the chapter state tell operators and developers to do, done on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    Holds,
    LabError,
    Result,
    crash_after_step,
    load,
)
from restate_guide.lab import Lab as LabInProof
from restate_guide.lab.trace import Trace
from tests.conftest import Lab
from tests.fixes import (
    LATER,
    SNIPPETS,
    as_on_lambda,
    changed,
    deployment,
    instead,
    queries,
    resume_on,
    until_status,
)

CHAPTER = SNIPPETS / "state"

pytestmark = pytest.mark.server


def run(
    lab: Lab,
    slug: str,
    prove: Callable[[LabInProof], Awaitable[None]],
    snippet: Path | None = None,
    **changes: Any,
) -> Result:
    """Runs a rule's don't, or another snippet, undisturbed, with calls of the test's own."""
    promise = Holds(answers=["nothing that these tests look at"])
    return instead(lab, CHAPTER / slug, prove, PLAIN, snippet, promise=promise, **changes)


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


@pytest.mark.parametrize("left", ["a caller without a key", "what is paused"])
def test_a_service_that_is_broken_becomes_an_object(lab: Lab, left: str, tmp_path: Path) -> None:
    """RDD201, RDD701: with `breaking`; who called the Service is left behind."""
    moved = """
sign_ins_of = restate.VirtualObject("SignIns")
sign_ins_of.handler("check")(check.__wrapped__)
moved = restate.app([sign_ins_of])
"""
    dont = changed(tmp_path, "state/state-in-a-service/dont")
    dont.write_text(dont.read_text() + moved)
    target = "SignIns/check"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(target, "phone")
        await until_status(in_proof, target, "paused")
        uri = await in_proof.serve("moved")
        with pytest.raises(httpx.HTTPStatusError, match="409"):
            await in_proof.admin("POST", "/deployments", {"uri": uri})
        await in_proof.admin("POST", "/deployments", {"uri": uri, "breaking": True})
        assert (await in_proof.admin("GET", "/services/SignIns"))["ty"] == "VirtualObject"
        assert await in_proof.call("SignIns/ann/check", "phone") == "another device"
        if left == "what is paused":
            await kill_what_pauses_again(in_proof, target, deployment="latest")
        else:
            assert "bad path" in (await in_proof.call(target, "phone"))["message"]

    run(lab, "state-in-a-service", prove, snippet=dont)


def moved(step: str = "") -> str:
    """RDD201's object under another name, and a version of its Service that calls it, after a step."""
    do = (SNIPPETS / "state/state-in-a-service/do.py").read_text()
    do = do.replace("sign_ins", "devices").replace("SignIns", "Devices")
    handler = f"""
sign_ins = restate.Service("SignIns")


@sign_ins.handler("check")
async def ask(ctx: restate.Context, device: str) -> str:
{step}    return await ctx.object_call(check, key="ann", arg=device)


app = restate.app([devices, sign_ins])
"""
    return do.replace("app = restate.app([devices])\n", handler)


def test_a_service_that_calls_the_object_takes_over(lab: Lab, tmp_path: Path) -> None:
    """RDD201: the journal of what is paused holds nothing but its input."""
    changed(tmp_path, "state/state-in-a-service/dont")
    (tmp_path / "moved.py").write_text(moved())

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("SignIns/check", "phone")
        await resume_on(in_proof, "SignIns/check", "moved")
        kept = await in_proof.query("select service_name, value_utf8 from state")
        assert kept == [{"service_name": "Devices", "value_utf8": '"phone"'}]

    run(lab, "state-in-a-service", prove, snippet=tmp_path / "dont.py")


def test_a_late_sign_in_that_is_taken_over_replaces_a_newer_device(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD201: what is paused writes when it is resumed, whatever the object has heard since."""
    changed(tmp_path, "state/state-in-a-service/dont")
    (tmp_path / "moved.py").write_text(moved())
    newer = "Devices/ann/check"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("SignIns/check", "phone")
        await until_status(in_proof, "SignIns/check", "paused")
        await in_proof.deploy("moved")
        assert await in_proof.call(newer, "laptop") == "another device"
        assert await in_proof.call(newer, "laptop") == "same device"
        assert await in_proof.operate("resume", "SignIns/check", deployment="latest") == 200
        await in_proof.until_all_completed()
        assert await in_proof.call(newer, "laptop") == "another device"

    run(lab, "state-in-a-service", prove, snippet=tmp_path / "dont.py")


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


COUNT = """@polls.handler()
async def count(ctx: restate.ObjectContext, choice: str) -> None:
    votes = await ctx.get(choice, type_hint=int)
    ctx.set(choice, 1 if votes is None else votes + 1)


"""


@pytest.mark.parametrize(
    ("has_count", "reads"),
    [(True, True), (False, True), (True, False)],
    ids=["count", "no count", "no read"],
)
def test_paused_vote_resumes_on_one_that_sends_it_on(
    lab: Lab, has_count: bool, reads: bool, tmp_path: Path
) -> None:
    """RDD202: still shared, it reads as before; what it sends goes to the fix, which was registered last."""
    changed(tmp_path, "state/write-in-shared-handler/dont")
    send = "    ctx.object_send("
    read = (send, f"    await ctx.get(choice, type_hint=int)\n{send}")
    changed(tmp_path, "state/write-in-shared-handler/send", *([read] if reads else []))
    vote = "@polls.handler()\nasync def vote"
    counting = [(vote, f"{COUNT}{vote}")] if has_count else []
    changed(tmp_path, "state/write-in-shared-handler/do", *counting)
    target = "Polls/lunch/vote"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(target, "tea")
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("send")
        rescue = await deployment(in_proof, "Polls")
        await in_proof.deploy("do")
        if has_count and reads:
            await in_proof.call(f"{target}/send", "tea")  # by who waits for the paused one
            await in_proof.until_row("select key from state")
            (paused,) = await in_proof.query(
                "select id from sys_invocation where status = 'paused'"
            )
            resume = f"/invocations/{paused['id']}/resume?deployment={rescue}"
            await in_proof.admin("PATCH", resume)
            await in_proof.until_all_completed()
        else:
            await kill_what_pauses_again(in_proof, target, deployment=rescue)

    trace = run(lab, "write-in-shared-handler", prove, snippet=tmp_path / "dont.py").trace
    assert [state.value for state in trace.state] == ([2] if has_count and reads else [])
    mismatched = any(failure.code == "RT0016" for failure in trace.failures())
    assert mismatched == (not reads)


def test_version_that_sends_votes_on_serves_the_new_ones_too(lab: Lab) -> None:
    """RDD202: as long as it was registered last, nobody is told how many votes there are."""
    target = "Polls/lunch/vote"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        await in_proof.deploy("send")
        assert await in_proof.call(target, "tea") == "thank you for tea"
        await in_proof.until_all_completed()

    run(lab, "write-in-shared-handler", prove)


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


def test_seat_is_freed_by_a_cancel_and_by_clearing_its_state(lab: Lab, tmp_path: Path) -> None:
    """RDD204: the cancel frees the key, and skips the clear behind the sleep.

    The page's query tells whom to cancel; the message of the fixed code holds no key, and isn't listed.
    """
    limit = ("timedelta(seconds=1)", "timedelta(hours=1)")
    dont, _ = (
        changed(tmp_path, f"state/sleep-in-exclusive-handler/{name}", limit)
        for name in ("dont", "do")
    )
    (holders,) = queries("RDD204")

    async def prove(in_proof: LabInProof) -> None:
        holding = asyncio.create_task(in_proof.call("Seats/7a/hold", "ann"))
        await in_proof.until_row("select id from sys_journal where entry_type = 'Command: Sleep'")
        await in_proof.deploy("do")
        await in_proof.call("Seats/8a/hold", "cem")
        await until_status(in_proof, "Seats/8a/free", "scheduled")
        booking = asyncio.create_task(in_proof.call("Seats/7a/book", "bob"))
        await until_status(in_proof, "Seats/7a/book", "pending")
        found = {row["target"]: row for row in await in_proof.query(holders)}
        assert found.keys() == {"Seats/7a/hold", "Seats/7a/book"}
        assert found["Seats/7a/book"]["status"] == "pending"
        await in_proof.admin("PATCH", f"/invocations/{found['Seats/7a/hold']['id']}/cancel")
        await asyncio.gather(holding, booking)
        cleared = {"object_key": "7a", "new_state": {}}
        await in_proof.admin("POST", "/services/Seats/state", cleared)
        await in_proof.until_no_row("select key from state where service_key = '7a'")
        await in_proof.call("Seats/7a/book", "bob")

    calls = run(lab, "sleep-in-exclusive-handler", prove, snippet=dont).trace.calls
    answers = [call.answer for call in calls if call.target == "Seats/7a/book"]
    assert answers == ["held for ann", "booked for bob"]


def test_hold_that_is_cancelled_in_the_queue_has_no_seat(lab: Lab, tmp_path: Path) -> None:
    """RDD204: it ends with 409, too, and the seat is another's."""
    limit = ("timedelta(seconds=1)", "timedelta(hours=1)")
    dont = changed(tmp_path, "state/sleep-in-exclusive-handler/dont", limit)
    target = "Seats/7a/hold"

    async def prove(in_proof: LabInProof) -> None:
        (ann, bob) = (asyncio.create_task(in_proof.call(target, name)) for name in ("ann", "bob"))
        await until_status(in_proof, target, "pending")
        await in_proof.until_row("select key from state")
        ids = f"select id from sys_invocation where target = '{target}' and status "
        (queued,) = await in_proof.query(f"{ids} = 'pending'")
        await in_proof.admin("PATCH", f"/invocations/{queued['id']}/cancel")
        await in_proof.until_no_row(f"{ids} = 'pending'")
        ended, _ = await asyncio.wait({ann, bob}, return_when=asyncio.FIRST_COMPLETED)
        told = [(each.result()["code"], each.result()["message"]) for each in ended]
        assert told == [(409, "canceled")], "told apart by a letter only"
        assert len(await in_proof.query("select key from state where key = 'holder'")) == 1
        (holder,) = await in_proof.query(f"{ids} != 'completed'")
        await in_proof.admin("PATCH", f"/invocations/{holder['id']}/cancel")
        await asyncio.gather(ann, bob)

    run(lab, "sleep-in-exclusive-handler", prove, snippet=dont)


def test_a_late_cancel_ends_no_hold(lab: Lab) -> None:
    """RDD204: the seat is held by the fixed code by then."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Seats/7a/hold", "ann")
        await in_proof.deploy("do")
        await in_proof.call("Seats/7a/hold", "cem")
        (old,) = await in_proof.query(
            "select id from sys_invocation where target = 'Seats/7a/hold' order by created_at limit 1"
        )
        with pytest.raises(httpx.HTTPStatusError, match="409"):
            await in_proof.admin("PATCH", f"/invocations/{old['id']}/cancel")
        await in_proof.call("Seats/7a/book", "bob")

    calls = run(lab, "sleep-in-exclusive-handler", prove).trace.calls
    assert calls[-1].answer == "held for cem"


def test_a_sleep_in_a_workflows_main_handler_blocks_nobody(lab: Lab, tmp_path: Path) -> None:
    """RDD204."""
    snippet = tmp_path / "stays.py"
    snippet.write_text(
        '''"""Sleeps in a workflow's main handler."""

from datetime import timedelta

import restate

stays = restate.Workflow("Stays")


@stays.main()
async def run(ctx: restate.WorkflowContext, guest: str) -> None:
    ctx.set("guest", guest)
    await ctx.sleep(timedelta(hours=1))


@stays.handler()
async def who(ctx: restate.WorkflowSharedContext) -> str | None:
    return await ctx.get("guest", type_hint=str)


app = restate.app([stays])
'''
    )

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Stays/7/run/send", "ann")
        await in_proof.until_row("select id from sys_journal where entry_type = 'Command: Sleep'")
        assert await in_proof.call("Stays/7/who") == "ann"

    instead(lab, CHAPTER / "sleep-in-exclusive-handler", prove, PLAIN, snippet)


def test_sleep_is_not_found_by_the_fixed_code(lab: Lab) -> None:
    """RDD204: in place of the old one it meets RT0016."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Seats/7a/hold", "ann")

    stimulus = dataclasses.replace(LATE_REPLAY, successor="do")
    result = instead(lab, CHAPTER / "sleep-in-exclusive-handler", prove, stimulus)
    assert result.outcome.kind == "journal-mismatch"


def test_message_of_an_earlier_hold_frees_nothing(lab: Lab) -> None:
    """RDD204: it carries the number of its own hold."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Seats/7a/hold", "ann")
        await in_proof.call("Seats/7a/hold", "bob")
        await in_proof.call("Seats/7a/free", "the number of an earlier hold")
        await in_proof.call("Seats/7a/book", "bob")

    do = CHAPTER / "sleep-in-exclusive-handler" / "do.py"
    calls = run(lab, "sleep-in-exclusive-handler", prove, snippet=do).trace.calls
    assert [call.answer for call in calls if call.answer] == ["held for ann"] * 3


@pytest.mark.parametrize("way", ["cancel", "yes", "no"])
def test_key_that_waits_for_an_approval_is_freed(lab: Lab, way: str) -> None:
    """RDD205: by a cancel of whoever holds it, or by the answer; a deployment alone frees nothing."""
    locked, answered = queries("RDD205")

    async def prove(in_proof: LabInProof) -> None:
        ann = asyncio.create_task(in_proof.call("Purchases/buy", 900))
        await in_proof.until_effect("POST /approvals")
        await in_proof.deploy("do")
        bob = asyncio.create_task(in_proof.call("Purchases/buy", 20))
        await in_proof.until_row(locked)
        if way == "cancel":
            holder = await in_proof.query(
                "select id from sys_invocation where target = 'Budgets/sales/spend' "
                "and status != 'pending'"
            )
            await in_proof.admin("PATCH", f"/invocations/{holder[0]['id']}/cancel")
        else:
            reply_to = in_proof.outside.ledger[0].body["reply_to"]
            await in_proof.resolve_awakeable(reply_to, way)
        await asyncio.gather(ann, bob)
        found = [row["target"] for row in await in_proof.query(answered)]
        assert found == ([] if way == "cancel" else ["Budgets/sales/spend"])

    calls = run(lab, "awakeable-in-exclusive-handler", prove).trace.calls
    expected = {"cancel": (409, 20), "yes": (200, 920), "no": (403, 20)}
    assert (calls[0].status, calls[1].answer) == expected[way]


def with_the_old_spend(folder: Path, *changes: tuple[str, str]) -> Path:
    """RDD205's don't, and as kept.py its do, whose `spend` has another name and the old one beside it."""
    page = "state/awakeable-in-exclusive-handler"
    dont = changed(folder, f"{page}/dont", *changes)
    text = dont.read_text()
    old = text[text.index("@budgets.handler(") : text.index("@purchases.handler()")]
    kept = (SNIPPETS / f"{page}/do.py").read_text()
    for now, then in (
        ("def spend(", "def add("),
        ("object_call(spend", "object_call(add"),
        ("@purchases.handler()", f"{old}@purchases.handler()"),
        ("import os", "import datetime\nimport os"),
    ):
        assert kept.count(now) == 1
        kept = kept.replace(now, then)
    (folder / "kept.py").write_text(kept)
    changed(folder, f"{page}/do")
    return dont


@pytest.mark.parametrize("fix", ["do", "kept"])
def test_spend_that_queued_before_the_fix_asks_if_the_old_one_is_kept(
    lab: Lab, tmp_path: Path, fix: str
) -> None:
    """RDD205: else it begins on the fixed one, and asks nobody; a new purchase is asked for once."""
    asked = "POST /approvals"
    queued = "select id from sys_invocation where status = 'pending'"

    async def prove(in_proof: LabInProof) -> None:
        ann = asyncio.create_task(in_proof.call("Purchases/buy", 900))
        await in_proof.until_effect(asked)
        carl = asyncio.create_task(in_proof.call("Purchases/buy", 800))
        await in_proof.until_row(queued)
        await in_proof.deploy(fix)
        for nth, answer in enumerate(("yes", "no") if fix == "kept" else ("yes",)):
            await in_proof.until_effect(asked, times=nth + 1)
            reply_to = in_proof.outside.ledger[nth].body["reply_to"]
            await in_proof.resolve_awakeable(reply_to, answer)
        await asyncio.gather(ann, carl)
        assert await in_proof.call("Purchases/buy", 20)
        new = asyncio.create_task(in_proof.call("Purchases/buy", 700))
        times = 3 if fix == "kept" else 2
        await in_proof.until_effect(asked, times=times)
        await in_proof.resolve_awakeable(in_proof.outside.ledger[-1].body["reply_to"], "yes")
        await new

    dont = with_the_old_spend(tmp_path)
    trace = run(lab, "awakeable-in-exclusive-handler", prove, snippet=dont).trace
    carls = 403 if fix == "kept" else 200
    assert [call.status for call in trace.calls] == [200, carls, 200, 200]
    assert trace.effect_counts() == {asked: 3 if fix == "kept" else 2}
    assert [state.value for state in trace.state] == [1620 if fix == "kept" else 2420]


@pytest.mark.parametrize("fix", ["do", "kept"])
@pytest.mark.parametrize("status", ["backing-off", "paused"])
def test_spend_that_failed_before_it_asked_asks_if_the_old_one_is_kept(
    lab: Lab, tmp_path: Path, status: str, fix: str
) -> None:
    """RDD205: it is on the fixed code, too; but for the old one there, it asks nobody."""
    policy = {
        "backing-off": "initial_interval=datetime.timedelta(hours=1)",
        "paused": 'max_attempts=1, on_max_attempts="pause"',
    }[status]
    spend, asked = "Budgets/sales/spend", "POST /approvals"
    dont = with_the_old_spend(
        tmp_path,
        (
            "@budgets.handler()",
            f"@budgets.handler(invocation_retry_policy=restate.InvocationRetryPolicy({policy}))",
        ),
        ("import os", "import datetime\nimport os"),
        ("    if euros", '    httpx.get(f"{API_URL}/team").raise_for_status()\n    if euros'),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /team", times=1)
        await in_proof.call("Purchases/buy/send", 900)
        await until_status(in_proof, spend, status)
        await in_proof.deploy(fix)
        assert await in_proof.operate("resume", spend) == 200
        if fix == "kept":
            await in_proof.until_effect(asked)
            await in_proof.resolve_awakeable(in_proof.outside.ledger[-1].body["reply_to"], "no")
        await in_proof.until_all_completed()

    trace = run(lab, "awakeable-in-exclusive-handler", prove, snippet=dont).trace
    assert trace.effect_counts().get(asked, 0) == (1 if fix == "kept" else 0)
    assert [state.value for state in trace.state] == ([] if fix == "kept" else [900])
    (resumed,) = [each for each in trace.invocations if each.target == spend]
    assert resumed.attempts[-1].file == f"{fix}.py"


@pytest.mark.parametrize("fix", ["do", "kept"])
def test_spend_that_was_delayed_asks_if_the_old_one_is_kept(
    lab: Lab, tmp_path: Path, fix: str
) -> None:
    """RDD205: so does one that is called at the ingress."""
    spend, asked = "Budgets/sales/spend", "POST /approvals"

    async def prove(in_proof: LabInProof) -> None:
        ann = asyncio.create_task(in_proof.call(spend, 900))
        await in_proof.until_effect("POST /approvals")  # so the key isn't free before the fix
        sent = await in_proof.call(f"{spend}/send?delay=1s", 800)
        delayed = await in_proof.query(
            f"select status from sys_invocation where id = '{sent['invocationId']}'"
        )
        assert delayed[0]["status"] in {
            "scheduled",
            "pending",
        }  # on a slow machine the delay may be over
        await in_proof.deploy(fix)
        await in_proof.resolve_awakeable(in_proof.outside.ledger[0].body["reply_to"], "yes")
        await ann
        asking = asyncio.create_task(in_proof.call(spend, 700))
        for times in (2, 3) if fix == "kept" else ():
            await in_proof.until_effect(asked, times=times)
            reply_to = in_proof.outside.ledger[-1].body["reply_to"]
            await in_proof.resolve_awakeable(reply_to, "no")
        await asking
        await in_proof.until_all_completed()

    dont = with_the_old_spend(tmp_path)
    trace = run(lab, "awakeable-in-exclusive-handler", prove, snippet=dont).trace
    assert trace.effect_counts() == {asked: 3 if fix == "kept" else 1}
    assert [state.value for state in trace.state] == [900 if fix == "kept" else 2400]


@pytest.mark.parametrize("way", ["cancel", "yes"])
@pytest.mark.parametrize("status", ["backing-off", "paused"])
def test_holder_that_makes_no_attempt_is_resumed(
    lab: Lab, tmp_path: Path, status: str, way: str
) -> None:
    """RDD205: it heeds no answer, and while it backs off no cancel; a cancel wakes what is paused."""
    policy = {
        "backing-off": "initial_interval=datetime.timedelta(hours=1)",
        "paused": 'max_attempts=1, on_max_attempts="pause"',
    }[status]
    dont = changed(
        tmp_path,
        "state/awakeable-in-exclusive-handler/dont",
        (
            "@budgets.handler()",
            f"@budgets.handler(invocation_retry_policy=restate.InvocationRetryPolicy({policy}))",
        ),
        ("import os", "import datetime\nimport os"),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /approvals", times=1)
        ann = asyncio.create_task(in_proof.call("Purchases/buy", 900))
        await until_status(in_proof, "Budgets/sales/spend", status)
        if way == "cancel":
            assert await in_proof.operate("cancel", "Budgets/sales/spend") == 202
        else:
            reply_to = in_proof.outside.ledger[0].body["reply_to"]
            await in_proof.resolve_awakeable(reply_to, way)
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Signal'"
        )
        if (status, way) != ("paused", "cancel"):
            await asyncio.wait({ann}, timeout=0.4)
            (held,) = await in_proof.query(
                "select status from sys_invocation where target = 'Budgets/sales/spend'"
            )
            assert held["status"] == status
            assert await in_proof.operate("resume", "Budgets/sales/spend") == 200
        await ann

    calls = run(lab, "awakeable-in-exclusive-handler", prove, snippet=dont).trace.calls
    assert [call.status for call in calls] == [409 if way == "cancel" else 200]


def test_shared_handler_that_got_its_answer_is_found(lab: Lab, tmp_path: Path) -> None:
    """RDD205: though it held no key."""
    dont = changed(
        tmp_path,
        "state/awakeable-in-exclusive-handler/dont",
        ("@budgets.handler()", '@budgets.handler(kind="shared")'),
        ("restate.ObjectContext", "restate.ObjectSharedContext"),
        ('    ctx.set("spent", spent + euros if spent else euros)\n', ""),
    )

    async def prove(in_proof: LabInProof) -> None:
        ann = asyncio.create_task(in_proof.call("Purchases/buy", 900))
        await in_proof.until_effect("POST /approvals")
        await in_proof.resolve_awakeable(in_proof.outside.ledger[0].body["reply_to"], "yes")
        await ann
        found = await in_proof.query(queries("RDD205")[1])
        assert [row["target"] for row in found] == ["Budgets/sales/spend"]

    run(lab, "awakeable-in-exclusive-handler", prove, snippet=dont)


def test_holder_that_backs_off_is_found(lab: Lab, tmp_path: Path) -> None:
    """RDD205: and so is a shared handler on the key, which holds nothing."""
    locked, _ = queries("RDD205")
    policy = "restate.InvocationRetryPolicy(initial_interval=HOUR)"
    look = "    await ctx.sleep(HOUR)\n\n\n@purchases.handler()"
    dont = changed(
        tmp_path,
        "state/awakeable-in-exclusive-handler/dont",
        ("@budgets.handler()", f"@budgets.handler(invocation_retry_policy={policy})"),
        (
            "@purchases.handler()",
            '@budgets.handler(kind="shared")\n'
            f"async def look(ctx: restate.ObjectSharedContext) -> None:\n{look}",
        ),
        ("import os", "import datetime\nimport os"),
        ("budgets = ", "HOUR = datetime.timedelta(hours=1)\nbudgets = "),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /approvals", times=1)
        ann = asyncio.create_task(in_proof.call("Purchases/buy", 900))
        await until_status(in_proof, "Budgets/sales/spend", "backing-off")
        bob = asyncio.create_task(in_proof.call("Purchases/buy", 20))
        await until_status(in_proof, "Budgets/sales/spend", "pending")
        found = await in_proof.query(locked)
        assert [(row["status"], row["waiting"]) for row in found] == [("backing-off", 1)]
        looking = asyncio.create_task(in_proof.call("Budgets/sales/look"))
        await in_proof.until_row("select id from sys_journal where entry_type = 'Command: Sleep'")
        found = await in_proof.query(locked)
        targets = ["Budgets/sales/look", "Budgets/sales/spend"]
        assert sorted(row["target"] for row in found) == targets
        assert await in_proof.operate("kill", "Budgets/sales/look") == 200
        await looking
        assert not bob.done()
        holder = next(row["id"] for row in found if row["status"] == "backing-off")
        await in_proof.admin("PATCH", f"/invocations/{holder}/kill")
        await asyncio.gather(ann, bob)

    calls = run(lab, "awakeable-in-exclusive-handler", prove, snippet=dont).trace.calls
    assert calls[1].answer == 20


def test_bookings_are_put_into_the_state_by_hand(lab: Lab) -> None:
    """RDD210: before the new code is registered; so it knows that there is one place left."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Workshops/yoga/book", "ann")
        booked = {"booked": list(json.dumps(["ann"]).encode())}
        state = {"object_key": "yoga", "new_state": booked}
        await in_proof.admin("POST", "/services/Workshops/state", state)
        await in_proof.until_row("select key from state where value_utf8 = '[\"ann\"]'")
        await in_proof.deploy("do")
        for name in ("bob", "cem"):
            await in_proof.call("Workshops/yoga/book", name)

    calls = run(lab, "module-variable-as-state", prove).trace.calls
    assert [call.answer for call in calls] == ["booked", "booked", "full"]


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


def test_a_claim_that_was_removed_stays_as_it_was_kept(lab: Lab) -> None:
    """RDD207: `add` writes nothing over it; the page's query leaves out such claims."""
    (still_there,) = queries("RDD207")
    told: list[Any] = []

    async def prove(in_proof: LabInProof) -> None:
        for claim in ("c-1", "c-2"):
            await in_proof.call(f"Claims/{claim}/settle", "ann")
        await in_proof.until_all_completed()
        assert await in_proof.operate("purge", "Claims/c-1/settle") == 200
        await in_proof.until_no_row("select key from state where service_key = 'c-1'")
        found = await in_proof.query(still_there)
        assert [row["key"] for row in found] == ["c-2"]
        await in_proof.deploy("do")
        told.append(await in_proof.call("Customers/ann/history"))
        for claim in ("c-1", "c-2"):
            await in_proof.call("Customers/ann/add", claim)
        told.append(await in_proof.call("Customers/ann/history"))

    run(lab, "workflow-state-forever", prove, server={})
    assert told == [{"c-1": "settled", "c-2": "settled"}, {"c-1": "settled", "c-2": "paid"}]


def test_cancel_of_a_claim_ends_what_keeps_it(lab: Lab, tmp_path: Path) -> None:
    """RDD207: the call goes down with its caller."""
    answer = '    return await ctx.get("outcome", type_hint=str)'
    slow = changed(
        tmp_path,
        "state/workflow-state-forever/do",
        (answer, f"    await ctx.sleep(timedelta(minutes=1))\n{answer}"),
    )

    async def prove(in_proof: LabInProof) -> None:
        settling = asyncio.create_task(in_proof.call("Claims/c-1/settle", "ann"))
        await in_proof.until_row("select id from sys_journal where entry_type = 'Command: Sleep'")
        assert await in_proof.operate("cancel", "Claims/c-1/settle") == 202
        await settling

    rule = CHAPTER / "workflow-state-forever"
    trace = instead(lab, rule, prove, PLAIN, slow, server={}).trace
    assert [(each.service, each.value) for each in trace.state] == [("Claims", "paid")]


@pytest.mark.parametrize("resolves", ["Claims/c-1/settle", "Claims/c-1/pay"])
def test_a_promise_of_a_workflow_that_was_removed_waits_until_it_is_resolved_anew(
    lab: Lab, tmp_path: Path, resolves: str
) -> None:
    """RDD207: by a run of the same id, or by a shared handler, which needs none."""
    promise = 'ctx.promise("paid", type_hint=str)'
    asked = changed(
        tmp_path,
        "state/workflow-state-forever/do",
        (
            '    return await ctx.get("outcome", type_hint=str)',
            f"    return await {promise}.value()",
        ),
        ('    ctx.set("outcome", "paid")\n', f'    await {promise}.resolve("paid")\n'),
        (
            "@claims.handler()\n",
            "@claims.handler()\nasync def pay(ctx: restate.WorkflowSharedContext, _: str) -> None:\n"
            f'    await {promise}.resolve("paid")\n\n\n@claims.handler()\n',
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Claims/c-1/settle", "ann")
        assert await in_proof.operate("purge", "Claims/c-1/settle") == 200
        await in_proof.until_no_row(
            "select id from sys_invocation where target = 'Claims/c-1/settle'"
        )
        await in_proof.call("Claims/c-1/outcome/send")
        await in_proof.until_still(0.5)
        unended = "select id from sys_invocation where status != 'completed'"
        (waits,) = await in_proof.query(unended)
        await in_proof.call(resolves, "ann")
        await in_proof.until_all_completed()
        ended = f"select completion_result as end from sys_invocation where id = '{waits['id']}'"
        assert await in_proof.query(ended) == [{"end": "success"}]

    rule = CHAPTER / "workflow-state-forever"
    instead(lab, rule, prove, PLAIN, asked, server={})


def test_history_under_way_meets_a_mismatch_in_place(lab: Lab, tmp_path: Path) -> None:
    """RDD207: it has called where the fixed code reads state."""
    for variant in ("do", "dont"):
        changed(
            tmp_path,
            f"state/workflow-state-forever/{variant}",
            (
                "    names = await ctx.state_keys()\n    return {",
                "    names = await ctx.state_keys()\n    told = {",
            ),
            (
                "for n in names}",
                'for n in names}\n    await ctx.run_typed("note", "noted".upper)\n    return told',
            ),
        )
    fixed = dataclasses.replace(crash_after_step("note"), successor="do")

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Claims/c-1/settle", "ann")
        await in_proof.call("Customers/ann/history")

    rule = CHAPTER / "workflow-state-forever"
    outcome = instead(lab, rule, prove, fixed, tmp_path / "dont.py", server={}).outcome
    assert outcome.kind == "journal-mismatch"


def test_workflows_called_before_keep_the_old_retention(lab: Lab, tmp_path: Path) -> None:
    """RDD207."""
    rule = "state/workflow-state-forever"
    changed(tmp_path, f"{rule}/dont", ("timedelta(seconds=1)", "timedelta(hours=1)"))
    changed(tmp_path, f"{rule}/do", ("timedelta(seconds=1)", "timedelta(days=30)"))
    kept: dict[str, str] = {}

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Claims/c-1/settle", "ann")
        await in_proof.call("Claims/c-2/settle/send?delay=1s", "ann")
        await in_proof.deploy("do")
        await in_proof.call("Claims/c-3/settle", "ann")
        await in_proof.until_all_completed()
        rows = "select target_service_key, completion_retention from sys_invocation"
        for row in await in_proof.query(f"{rows} where target_handler_name = 'settle'"):
            kept[row["target_service_key"]] = row["completion_retention"]

    instead(lab, SNIPPETS / rule, prove, PLAIN, tmp_path / "dont.py", server={})
    assert kept == {"c-1": "PT3600S", "c-2": "PT3600S", "c-3": "PT2592000S"}


def test_workflow_that_was_removed_is_as_one_that_never_ran(lab: Lab) -> None:
    """RDD207: it answers, with nothing, and can be run again."""

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / "workflow-state-forever").prove(in_proof)
        await in_proof.call("Claims/c-1/outcome")
        await in_proof.call("Claims/c-2/outcome")
        assert await in_proof.call("Claims/c-1/settle", "ann") == "paid"

    calls = run(lab, "workflow-state-forever", prove).trace.calls
    assert [(call.status, call.answer) for call in calls[2:4]] == [(200, ""), (200, "")]


def test_step_that_a_comparison_led_to_is_not_asked_for_any_more(lab: Lab, tmp_path: Path) -> None:
    """RDD209: with the type named, the addresses are the same; in place, that meets RT0016."""
    slug = "get-without-type-hint"
    compare = changed(tmp_path, f"state/{slug}/compare")
    fixed = compare.read_text().replace('get("address")', 'get("address", type_hint=Address)')
    (tmp_path / "fixed.py").write_text(fixed)
    stimulus = dataclasses.replace(crash_after_step("tell"), successor="fixed")

    async def prove(in_proof: LabInProof) -> None:
        for _ in range(2):
            await in_proof.call("Customers/ann/move", {"street": "Mill Lane 1", "city": "Ely"})

    outcome = instead(lab, CHAPTER / slug, prove, stimulus, compare).outcome
    assert outcome.kind == "journal-mismatch"


AS_DICT = "'dict' object has no attribute 'city'"
NOT_WRITTEN = "Object of type Address is not JSON serializable"


def has_failed_with(trace: Trace, error: str) -> bool:
    failures = [failure for i in trace.invocations for failure in i.failures]
    return any(error in failure.message for failure in failures)


@pytest.mark.parametrize(
    ("kept", "hint", "city", "error"),
    [
        ("[address.model_dump()]", "list[Address]", "address[0].city", AS_DICT),
        ("dict(x=address.model_dump())", "dict[str, Address]", "address['x'].city", AS_DICT),
        ("address", "Address | None", "address.city", AS_DICT),
        ("[address]", "list[Address]", "address[0].city", NOT_WRITTEN),
        ("Book(all=[address])", "Book", "address.all[0].city", None),
    ],
    ids=["list", "dict", "optional", "list of models", "model"],
)
def test_hint_is_the_class_itself(
    lab: Lab, kept: str, hint: str, city: str, error: str | None, tmp_path: Path
) -> None:
    """RDD209: of what is in a list or a dict, no models are made; of what is in a model, they are."""
    do = changed(
        tmp_path,
        "state/get-without-type-hint/do",
        ("customers = ", "class Book(BaseModel):\n    all: list[Address]\n\n\ncustomers = "),
        ('ctx.set("address", address)', f'ctx.set("address", {kept})'),
        ("type_hint=Address", f"type_hint={hint}"),
        ("{address.city}", f"{{{city}}}"),
    )
    proof = load(CHAPTER / "get-without-type-hint")

    async def move(in_proof: LabInProof) -> None:  # a call behind it would wait in vain
        await in_proof.call("Customers/ann/move", {"street": "Mill Lane 1", "city": "Ely"})

    prove = move if error == NOT_WRITTEN else proof.prove
    trace = run(lab, "get-without-type-hint", prove, snippet=do).trace
    if error is None:
        assert trace.calls[-1].answer == "ann, Ely"
    else:
        assert has_failed_with(trace, error)


@pytest.mark.parametrize(
    ("annotation", "city", "is_built"),
    [
        ("Address", "address.city", True),
        ("Address | None", "address.city", True),
        ("list[Address]", "address[0].city", False),
        ("Plain", "address.city", False),
    ],
    ids=["model", "optional", "list", "dataclass"],
)
def test_parameter_is_built_if_it_is_a_model(
    lab: Lab, annotation: str, city: str, is_built: bool, tmp_path: Path
) -> None:
    """RDD209: not what is in a list, and no dataclass."""
    plain = "@dataclass\nclass Plain:\n    city: str\n\n\ncustomers = "
    do = changed(
        tmp_path,
        "state/get-without-type-hint/do",
        ("import restate\n", "from dataclasses import dataclass\n\nimport restate\n"),
        ("customers = ", plain),
        ("address: Address) -> str", f"address: {annotation}) -> str"),
        ('ctx.set("address", address)', f"city = {city}"),
        ('return "moved"', "return city"),
    )
    address = {"street": "Mill Lane 1", "city": "Ely"}

    async def prove(in_proof: LabInProof) -> None:
        sent = [address] if annotation.startswith("list") else address
        await in_proof.call("Customers/ann/move", sent)

    trace = run(lab, "get-without-type-hint", prove, snippet=do).trace
    assert (trace.calls[0].answer == "Ely") == is_built
    assert has_failed_with(trace, AS_DICT) == (not is_built)


def test_enum_comes_back_as_its_value(lab: Lab, tmp_path: Path) -> None:
    """RDD209: whatever the hint says."""
    do = changed(
        tmp_path,
        "state/get-without-type-hint/do",
        ("import restate\n", "from enum import StrEnum\n\nimport restate\n"),
        ("customers = ", 'class Size(StrEnum):\n    BIG = "big"\n\n\ncustomers = '),
        ('ctx.set("address", address)', 'ctx.set("address", Size.BIG)'),
        ("type_hint=Address", "type_hint=Size"),
        ("{address.city}", "{type(address).__name__} {address}"),
    )
    proof = load(CHAPTER / "get-without-type-hint")
    trace = run(lab, "get-without-type-hint", proof.prove, snippet=do).trace
    assert trace.calls[-1].answer == "ann, str big"


def test_zero_that_was_loaded_lazily_is_not_found(lab: Lab, tmp_path: Path) -> None:
    """RDD208: the command of such a read doesn't hold the value."""
    lazily = ("@vouchers.handler()", "@vouchers.handler(state_preload=False)")
    dont = changed(tmp_path, "state/default-hides-zero/dont", lazily)
    (query,) = queries("RDD208")

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / "default-hides-zero").prove(in_proof)
        assert await in_proof.query(
            "select id from sys_journal where entry_type = 'Command: GetLazyState'"
        )
        assert not await in_proof.query(query)

    calls = run(lab, "default-hides-zero", prove, snippet=dont).trace.calls
    assert calls[-1].answer == "redeemed, 1 left"


def test_what_a_voucher_gave_after_a_zero_was_written_over_is_not_found(lab: Lab) -> None:
    """RDD208: the fourth redemption is as wrong as the third and the fifth, which read the 0."""
    (query,) = queries("RDD208")
    found: list[int] = []

    async def prove(in_proof: LabInProof) -> None:
        for _ in range(5):
            await in_proof.call("Vouchers/v-1/redeem")
        of = {id: place + 1 for place, id in in_proof.invocation_ids.items()}
        found.extend(of[row["id"]] for row in await in_proof.query(query))

    calls = run(lab, "default-hides-zero", prove).trace.calls
    assert [call.answer for call in calls[2:]] == [f"redeemed, {left} left" for left in (1, 0, 1)]
    assert sorted(found) == [3, 5]


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


@pytest.mark.parametrize(
    ("lazily", "later"),
    [("", "waiting for a courier"), (", state_preload=False", "on its way")],
    ids=["preloaded", "not preloaded"],
)
def test_what_a_shared_handler_reads_of_a_change_under_way(
    lab: Lab, tmp_path: Path, lazily: str, later: str
) -> None:
    """RDD203: the state of its attempt's beginning, or, without a preload, what is there by then."""
    once = '    return "unknown" if now is None else now\n'
    shared = '@parcels.handler(kind="shared"{})\n'
    twice = '    await ctx.run_typed("look", look)\n'
    twice += '    later = await ctx.get("status", type_hint=str)\n    return f"{now} / {later}"\n'
    look = 'def look() -> None:\n    httpx.get(f"{API_URL}/look", timeout=30).raise_for_status()\n'
    snippet = changed(
        tmp_path,
        "state/context-type-lies/do",
        (once, twice),
        (shared.format(""), f"{look}\n\n{shared.format(lazily)}"),
    )

    async def prove(in_proof: LabInProof) -> None:
        booked, looked = (
            in_proof.outside.hold(each, at_most=20.0) for each in ("POST /pickups", "GET /look")
        )
        dispatching = asyncio.create_task(in_proof.call("Parcels/p-7/dispatch"))
        await in_proof.until_effect("POST /pickups")
        await in_proof.until_row("select key from state")
        asking = asyncio.create_task(in_proof.call("Parcels/p-7/status"))
        await in_proof.until_effect("GET /look")
        booked.set()
        await dispatching
        looked.set()
        assert await asking == f"waiting for a courier / {later}"

    state = run(lab, "context-type-lies", prove, snippet=snippet).trace.state
    assert [each.value for each in state] == ["on its way"]


def test_on_lambda_nothing_is_read_of_an_attempt_under_way(lab: Lab, tmp_path: Path) -> None:
    """RDD203: what it writes comes when it ends. The do's proof shows it otherwise for a stream."""
    snippet = changed(tmp_path, "state/context-type-lies/do", as_on_lambda("parcels"))

    async def prove(in_proof: LabInProof) -> None:
        booked = in_proof.outside.hold("POST /pickups", at_most=20.0)
        dispatching = asyncio.create_task(in_proof.call("Parcels/p-7/dispatch"))
        await in_proof.until_effect("POST /pickups")
        assert await in_proof.call("Parcels/p-7/status") == "unknown"
        booked.set()
        await dispatching

    stimulus = dataclasses.replace(PLAIN, request_response=True)
    trace = instead(lab, CHAPTER / "context-type-lies", prove, stimulus, snippet).trace
    assert [each.value for each in trace.state] == ["on its way"]


@pytest.mark.parametrize(
    ("field", "config", "stored", "fits"),
    [
        ("city: str\n    zip: str", "", '{"street": "Mill Lane 1", "city": "Ely"}', False),
        ("city: str\n    zip: str = ''", "", '{"street": "Mill Lane 1", "city": "Ely"}', True),
        ("city: str = Field(alias='town')", "", "address", False),
        ("city: str = Field(alias='town')", "validate_by_name=True", "address", True),
    ],
    ids=["no default", "default", "alias", "alias and name"],
)
def test_what_is_stored_has_to_fit_the_class(
    lab: Lab, tmp_path: Path, field: str, config: str, stored: str, fits: bool
) -> None:
    """RDD209: else each attempt ends with a `ValidationError`; a dict took it."""
    do = changed(
        tmp_path,
        "state/get-without-type-hint/do",
        ("import BaseModel", "import BaseModel, ConfigDict, Field"),
        ("city: str", f"{field}\n    model_config = ConfigDict({config})"),
        ('ctx.set("address", address)', f'ctx.set("address", {stored})'),
    )

    async def prove(in_proof: LabInProof) -> None:
        moved = {"street": "Mill Lane 1", "city": "Ely", "town": "Ely", "zip": "CB7"}
        await in_proof.call("Customers/ann/move", moved)
        await in_proof.call("Customers/ann/label")
        if not fits:
            await until_status(in_proof, "Customers/ann/label", "paused")

    trace = run(lab, "get-without-type-hint", prove, snippet=do).trace
    assert trace.calls[-1].answer == ("ann, Ely" if fits else None)
    assert has_failed_with(trace, "1 validation error for Address") == (not fits)


@pytest.mark.parametrize("used", ["[*address.items]", "len(address.items)", "address.items[0]"])
def test_field_that_is_named_like_a_method_of_dict(lab: Lab, tmp_path: Path, used: str) -> None:
    """RDD209: it is that method, which Python calls a builtin; the query finds that, too."""
    dont = changed(
        tmp_path,
        "state/get-without-type-hint/dont",
        ("city: str\n", "city: str\n    items: list[str] = ['a label']\n"),
        ("{address.city}", f"{{{used}}}"),
    )
    (query,) = queries("RDD209")

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / "get-without-type-hint").prove(in_proof)
        await until_status(in_proof, "Customers/ann/label", "paused")
        assert [row["target"] for row in await in_proof.query(query)] == ["Customers/ann/label"]

    trace = run(lab, "get-without-type-hint", prove, snippet=dont).trace
    assert not has_failed_with(trace, "has no attribute")


def test_only_what_took_a_dict_for_a_model_is_found(lab: Lab, tmp_path: Path) -> None:
    """RDD209: what lacks an attribute of something else is no matter of the hint."""
    answer = 'if address else "no address"'
    dont = changed(tmp_path, "state/get-without-type-hint/dont", (f" {answer}", ""))
    (query,) = queries("RDD209")

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Customers/ann/move", {"street": "Mill Lane 1", "city": "Ely"})
        for name in ("ann", "ben"):
            await in_proof.call(f"Customers/{name}/label")
        failed = await in_proof.query("select event_json from sys_journal_events")
        assert any("'NoneType' object has no" in row["event_json"] for row in failed)
        (found,) = await in_proof.query(query)
        (ann,) = await in_proof.query(
            "select id from sys_invocation where status = 'paused' and target_service_key = 'ann'"
        )
        assert found["id"] == ann["id"]

    run(lab, "get-without-type-hint", prove, snippet=dont)


def test_a_voucher_that_was_renewed_stays_valid_until_it_is_set_to_nought(lab: Lab) -> None:
    """RDD208: the fixed code goes on from the 1 that the third redemption has written."""
    (query,) = queries("RDD208")

    async def prove(in_proof: LabInProof) -> None:
        for voucher, times in (("v-1", 3), ("v-2", 3), ("v-3", 4)):
            for _ in range(times):
                await in_proof.call(f"Vouchers/{voucher}/redeem")
        found = await in_proof.query(query)
        assert sorted(str(row["target_service_key"]) for row in found) == ["v-1", "v-2", "v-3"]
        await in_proof.deploy("do")
        owner, left = (list(json.dumps(value).encode()) for value in ("ann", 0))
        for name, value, there in (("owner", owner, '"ann"'), ("left", left, "0")):
            state = {"object_key": "v-2", "new_state": {name: value}}
            await in_proof.admin("POST", "/services/Vouchers/state", state)
            await in_proof.until_row(f"select key from state where value_utf8 = '{there}'")
            held = await in_proof.query("select key from state where service_key = 'v-2'")
            assert held == [{"key": name}]  # and nothing of what was there
        for voucher in ("v-1", "v-2", "v-3"):
            await in_proof.call(f"Vouchers/{voucher}/redeem")

    calls = run(lab, "default-hides-zero", prove).trace.calls
    assert [call.answer for call in calls[-3:]] == ["redeemed, 0 left", "used up", "used up"]


@pytest.mark.parametrize("step", [False, True])
def test_third_redemption_under_way_is_replayed_on_the_fixed_code(
    lab: Lab, tmp_path: Path, step: bool
) -> None:
    """RDD208: in place; its write is in no journal before its answer, unless a step follows."""
    answers = '    return f"redeemed'
    noted = [(answers, f'    await ctx.run_typed("note", lambda: "")\n{answers}')] if step else []
    dont, _ = (
        changed(tmp_path, f"state/default-hides-zero/{name}", *noted) for name in ("dont", "do")
    )
    used_up = {"object_key": "v-1", "new_state": {"left": list(b"0")}}

    async def redeem(in_proof: LabInProof) -> None:
        await in_proof.admin("POST", "/services/Vouchers/state", used_up)
        await in_proof.until_row("select key from state where value_utf8 = '0'")
        await in_proof.call("Vouchers/v-1/redeem")

    cut_off = crash_after_step("note") if step else LATE_REPLAY
    result = instead(
        lab,
        CHAPTER / "default-hides-zero",
        redeem,
        dataclasses.replace(cut_off, successor="do"),
        dont,
        promise=Holds(["used up"]),
    )
    assert result.outcome.kind == ("journal-mismatch" if step else "holds")
    assert {attempt.worker for attempt in result.trace.invocations[0].attempts} == {1, 2}


def test_a_mail_in_spite_of_a_false_is_not_replayed_on_the_fixed_code(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD208: in place; nothing was written, but the step in the journal is one that the fix omits."""
    dont = changed(tmp_path, "state/default-hides-zero/flag").rename(tmp_path / "dont.py")
    read = 'await ctx.get("wants_mail", type_hint=bool)'
    fixed = (f"not ({read} or True)", f"{read} is False")
    changed(tmp_path, "state/default-hides-zero/flag", fixed).rename(tmp_path / "do.py")

    async def mail(in_proof: LabInProof) -> None:
        await in_proof.call("Readers/ann/cancel")
        await in_proof.call("Readers/ann/mail")

    cut_off = dataclasses.replace(crash_after_step("send"), successor="do")
    promise = Holds(["cancelled", "no mail"])
    result = instead(lab, CHAPTER / "default-hides-zero", mail, cut_off, dont, promise=promise)
    assert result.outcome.kind == "journal-mismatch"


def test_another_handler_that_rightly_writes_over_a_zero_is_not_found(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD208: of the same object; its journal has the same read and a write."""
    refill = (
        "@vouchers.handler()\nasync def refill(ctx: restate.ObjectContext) -> None:\n"
        '    left = await ctx.get("left", type_hint=int)\n    ctx.set("left", (left or 0) + 2)\n\n\napp ='
    )
    dont = changed(tmp_path, "state/default-hides-zero/dont", ("app =", refill))
    (query,) = queries("RDD208")
    found: list[list[dict[str, object]]] = []

    async def prove(in_proof: LabInProof) -> None:
        for handler in ("redeem", "redeem", "refill"):
            await in_proof.call(f"Vouchers/v-1/{handler}")
        found.append(await in_proof.query(query))
        found.append(await in_proof.query(query.replace("/redeem'", "/refill'")))

    run(lab, "default-hides-zero", prove, snippet=dont)
    redeemed, refilled = found
    assert not redeemed
    assert len(refilled) == 1


def test_state_put_in_by_hand_replaces_what_the_key_had(lab: Lab, tmp_path: Path) -> None:
    """RDD210: all of it, also what stands under another name; the query finds such an object too."""
    books = "    booked = BOOKED.get(ctx.key(), [])\n"
    room = f'{books}    ctx.set("room", 7)\n'
    snippet = changed(tmp_path, "state/module-variable-as-state/dont", (books, room))
    found: list[list[dict[str, object]]] = []

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Workshops/yoga/book", "ann")
        assert await in_proof.query("select key from state") == [{"key": "room"}]
        found.append(await in_proof.query(queries("RDD210")[0]))
        state = {"object_key": "yoga", "new_state": {"booked": list(b'["ann"]')}}
        await in_proof.admin("POST", "/services/Workshops/state", state)
        await in_proof.until_row("select key from state where key = 'booked'")
        assert await in_proof.query("select key from state") == [{"key": "booked"}]
        found.append(await in_proof.query(queries("RDD210")[0]))

    run(lab, "module-variable-as-state", prove, snippet=snippet)
    assert found == [[{"target_service_key": "yoga"}], []]


def test_state_put_in_by_hand_waits_for_what_is_under_way(lab: Lab) -> None:
    """RDD206, RDD210: and replaces what that has written; so nothing may be under way."""

    async def prove(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        booking = asyncio.create_task(in_proof.call("Workshops/yoga/book", "bob"))
        await in_proof.until_effect("POST /emails")
        state = {"object_key": "yoga", "new_state": {"booked": list(b'["ann"]')}}
        await in_proof.admin("POST", "/services/Workshops/state", state)
        values = "select value_utf8 as names from state"
        assert await in_proof.query(values) == [{"names": '["bob"]'}]
        mailed.set()
        assert await booking == "booked"
        await in_proof.until_row(f"{values} where value_utf8 = '[\"ann\"]'")

    rule = CHAPTER / "module-variable-as-state"
    run(lab, rule.name, prove, snippet=rule / "do.py")


@pytest.mark.parametrize(("variant", "bob"), [("dont", "full"), ("do", "booked")])
def test_a_retry_in_the_same_process_enters_a_name_again(lab: Lab, variant: str, bob: str) -> None:
    """RDD210: in the module's dict, not in the state."""

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=1)
        assert await in_proof.call("Workshops/yoga/book", "ann") == "booked"
        assert await in_proof.call("Workshops/yoga/book", "bob") == bob

    rule = CHAPTER / "module-variable-as-state"
    run(lab, rule.name, prove, snippet=rule / f"{variant}.py")


def test_booking_that_is_cancelled_while_it_mails_keeps_its_place(lab: Lab) -> None:
    """RDD210: what the handler has set stays, though the caller gets an error."""

    async def prove(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        booking = asyncio.create_task(in_proof.call("Workshops/yoga/book", "ann"))
        await in_proof.until_effect("POST /emails")
        assert await in_proof.operate("cancel", "Workshops/yoga/book") == 202
        assert (await booking)["message"] == "cancelled"
        mailed.set()
        assert await in_proof.query("select value_utf8 as names from state") == [
            {"names": '["ann"]'}
        ]

    rule = CHAPTER / "module-variable-as-state"
    run(lab, rule.name, prove, snippet=rule / "do.py")


@pytest.mark.parametrize("fix", ["do", "kept"])
def test_buy_on_the_old_code_is_asked_for_if_the_old_spend_is_kept(
    lab: Lab, tmp_path: Path, fix: str
) -> None:
    """RDD205: where it has done something before its call, and so is bound to the old code."""
    call, asked = "    return await ctx.object_call(", "POST /approvals"
    check = '    await ctx.run_typed("check", check)\n'
    before = (
        "@purchases.handler()",
        "def check() -> None:\n"
        '    httpx.put(f"{API_URL}/checks", timeout=30).raise_for_status()\n\n\n'
        "@purchases.handler()",
    )
    snippet = with_the_old_spend(tmp_path, before, (call, check + call))

    async def prove(in_proof: LabInProof) -> None:
        checked = in_proof.outside.hold("PUT /checks", at_most=20.0)
        await in_proof.call("Purchases/buy/send", 900)
        await in_proof.until_effect("PUT /checks")
        await in_proof.deploy(fix)
        checked.set()
        if fix == "kept":
            await in_proof.until_effect(asked)
            await in_proof.resolve_awakeable(in_proof.outside.ledger[-1].body["reply_to"], "no")
        await in_proof.until_all_completed()

    trace = run(lab, "awakeable-in-exclusive-handler", prove, snippet).trace
    assert trace.effect_counts() == {"PUT /checks": 1, **({asked: 1} if fix == "kept" else {})}
    assert [state.value for state in trace.state] == ([] if fix == "kept" else [900])


def test_a_vote_is_shared_until_the_fix_is_registered(lab: Lab) -> None:
    """RDD202: the worker that takes over at the same address has the fixed code, and it is refused too."""
    target = "Polls/lunch/vote"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(target, "tea")
        await until_status(in_proof, target, "paused")
        await in_proof.call(target, "tea")
        paused = (
            "select count(*) as n from sys_invocation where status = 'paused' having count(*) = 2"
        )
        await in_proof.until_row(paused)
        await in_proof.deploy("do")
        assert await in_proof.call("Polls/dinner/vote", "tea") == 1

    in_place = dataclasses.replace(LATE_REPLAY, crash_at={"before": "answer"}, successor="do")
    trace = instead(lab, CHAPTER / "write-in-shared-handler", prove, in_place).trace
    assert [attempt.file for attempt in trace.invocations[1].attempts] == ["do.py"] * 3


def test_a_vote_with_a_delay_stays_shared(lab: Lab, tmp_path: Path) -> None:
    """RDD202: it is refused on the fix, and found then; the version that sends it on counts it."""
    changed(tmp_path, "state/write-in-shared-handler/dont")
    send, vote = "    ctx.object_send(", "@polls.handler()\nasync def vote"
    read = (send, f"    await ctx.get(choice, type_hint=int)\n{send}")
    changed(tmp_path, "state/write-in-shared-handler/send", read)
    changed(tmp_path, "state/write-in-shared-handler/do", (vote, f"{COUNT}{vote}"))
    target = "Polls/lunch/vote"
    (query,) = queries("RDD202")

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send?delay=2s", "tea")
        await in_proof.deploy("send")
        rescue = await deployment(in_proof, "Polls")
        await in_proof.deploy("do")
        assert await in_proof.query("select status from sys_invocation") == [
            {"status": "scheduled"}
        ]
        assert not await in_proof.query(query)
        await until_status(in_proof, target, "paused")
        assert [row["target"] for row in await in_proof.query(query)] == [target]
        assert await in_proof.operate("resume", target, deployment=rescue) == 200
        await in_proof.until_all_completed()

    trace = run(lab, "write-in-shared-handler", prove, snippet=tmp_path / "dont.py").trace
    assert [state.value for state in trace.state] == [1]
    assert trace.failures()


@pytest.mark.parametrize(
    ("asks", "told"),
    [
        ('ctx.set("device", device)', True),
        ('ctx.clear("device")', True),
        ("ctx.clear_all()", True),
        ('await ctx.get("device", type_hint=str)', False),
        ("await ctx.state_keys()", False),
    ],
)
def test_nothing_waits_for_a_write_that_is_refused(
    lab: Lab, tmp_path: Path, asks: str, told: bool
) -> None:
    """RDD201: the step behind it is carried out in each attempt, and is in no journal."""
    target, (query,) = "SignIns/check", queries("RDD201")
    imports = "import os\n\nimport httpx\nimport restate\n"
    tell = """

def tell() -> None:
    httpx.post(os.environ["API_URL"] + "/mails")


sign_ins ="""
    body = f"""    {asks}
    await ctx.run_typed("tell", tell)
    return "told"
"""
    dont = changed(tmp_path, "state/state-in-a-service/dont", ("import restate\n", imports))
    text = dont.read_text().replace("\nsign_ins =", tell, 1)
    start, end = text.index("    last = "), text.index("\n\napp =")
    dont.write_text(text[:start] + body + text[end:])

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(target, "phone")
        await until_status(in_proof, target, "paused")
        assert [row["target"] for row in await in_proof.query(query)] == [target]

    trace = run(lab, "state-in-a-service", prove, snippet=dont).trace
    mails = trace.effect_counts().get("POST /mails", 0)
    assert mails > 1 if told else mails == 0
    (entry,) = trace.invocations[0].journal
    assert entry.type == "Command: Input"


@pytest.mark.parametrize("kept", [True, False])
def test_a_service_that_takes_over_keeps_its_steps(lab: Lab, tmp_path: Path, kept: bool) -> None:
    """RDD201: those before the `ctx.get`, which are in the journal."""
    target, step = "SignIns/check", '    await ctx.run_typed("trim", lambda: device.strip())\n'
    get = '    last = await ctx.get("device", type_hint=str)\n'
    changed(tmp_path, "state/state-in-a-service/dont", (get, step + get))
    (tmp_path / "moved.py").write_text(moved(step if kept else ""))

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(target, "phone")
        if kept:
            await resume_on(in_proof, target, "moved")
            return
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("moved")
        await kill_what_pauses_again(in_proof, target, deployment="latest")
        told = "select id from sys_journal_events where event_json like '%RT0016%'"
        assert await in_proof.query(told)

    run(lab, "state-in-a-service", prove, snippet=tmp_path / "dont.py")


def test_a_service_that_takes_over_repeats_what_came_after_a_write(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD201: the journal holds no such step."""
    target, mail = "SignIns/check", "POST /mails"
    imports = "import os\n\nimport httpx\nimport restate\n"
    posts = 'lambda: httpx.post(os.environ["API_URL"] + "/mails").status_code'
    step = f'    await ctx.run_typed("mail", {posts})\n'
    get = '    last = await ctx.get("device", type_hint=str)\n'
    write = f'    ctx.set("device", device)\n{step}'
    changed(
        tmp_path, "state/state-in-a-service/dont", ("import restate\n", imports), (get, write + get)
    )
    (tmp_path / "moved.py").write_text(moved(step).replace("import restate\n", imports, 1))

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(target, "phone")
        await until_status(in_proof, target, "paused")
        before = [each.effect for each in in_proof.outside.ledger].count(mail)
        await resume_on(in_proof, target, "moved")
        after = [each.effect for each in in_proof.outside.ledger].count(mail)
        assert before and after == before + 1

    run(lab, "state-in-a-service", prove, snippet=tmp_path / "dont.py")


@pytest.mark.parametrize("status", ["running", "backing-off", "paused"])
def test_what_was_taken_over_is_not_found_any_more(lab: Lab, tmp_path: Path, status: str) -> None:
    """RDD201: the query leads to a kill, and it waits for the object, or for something else."""
    target, (query,) = "SignIns/check", queries("RDD201")
    imports = """import os

import httpx
import restate


def ask_user() -> str:
    asked = httpx.put(os.environ["API_URL"] + "/asked", timeout=30)
    return asked.raise_for_status().text
"""
    asks = '    await ctx.run_typed("ask", ask_user)\n    last ='
    changed(tmp_path, "state/state-in-a-service/dont")
    step = "" if status == "running" else '    await ctx.run_typed("ask", ask_user)\n'
    slow = moved(step).replace("import restate\n", imports, 1).replace("    last =", asks, 1)
    if status == "backing-off":
        served = 'restate.Service("SignIns"'
        slow = slow.replace(f"{served})", f"{served}, {LATER})")
        slow = slow.replace("import os\n", "import os\nfrom datetime import timedelta\n", 1)
    (tmp_path / "moved.py").write_text(slow)

    async def prove(in_proof: LabInProof) -> None:
        if status == "running":
            asked = in_proof.outside.hold("PUT /asked", at_most=20.0)
        else:
            in_proof.outside.fail("PUT /asked", times=1 if status == "backing-off" else 3)
        await in_proof.call(target, "phone")
        await until_status(in_proof, target, "paused")
        assert len(await in_proof.query(query)) == 1
        await in_proof.deploy("moved")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_effect("PUT /asked", times=3 if status == "paused" else 1)
        await until_status(in_proof, target, status)
        assert await in_proof.query(query) == []
        if status == "running":
            asked.set()
        else:
            assert await in_proof.operate("resume", target) == 200
        await in_proof.until_all_completed()

    run(lab, "state-in-a-service", prove, snippet=tmp_path / "dont.py")


@pytest.mark.parametrize(("refuses", "left"), [(False, ["basket"]), (True, [])])
def test_put_after_the_logout_leaves_a_basket_again(
    lab: Lab, tmp_path: Path, refuses: bool, left: list[str]
) -> None:
    """RDD206: unless it is refused where there is no user."""
    sets = '    ctx.set("basket", item)\n'
    refuse = (
        '    if await ctx.get("user", type_hint=str) is None:\n'
        f'        raise restate.TerminalError("logged out", status_code=409)\n{sets}'
    )
    changes = [(sets, refuse)] if refuses else []
    snippet = changed(tmp_path, "state/state-never-cleared/do", *changes)
    found: list[object] = []

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / "state-never-cleared").prove(in_proof)
        await in_proof.call("Sessions/s-1/put", "cup")
        found.extend(row["key"] for row in await in_proof.query("select key from state"))

    trace = run(lab, "state-never-cleared", prove, snippet).trace
    answers = [call.answer for call in trace.calls]
    assert answers[:3] == ["hello ann", "pot is in the basket", "goodbye"]
    assert (answers[3] == "cup is in the basket") == (not refuses)
    assert found == left


@pytest.mark.parametrize(
    ("variant", "seen"), [("dont", "pickup-2"), ("do", "waiting for a courier")]
)
def test_shared_reader_does_not_wait_for_what_was_sent_before_it(
    lab: Lab, tmp_path: Path, variant: str, seen: str
) -> None:
    """RDD203: an exclusive one does, whoever sent it."""
    snippet = changed(
        tmp_path,
        f"state/context-type-lies/{variant}",
        ("headers=key, ", ""),
        ('ctx.set("status", "on its way")', 'ctx.set("status", pickup)'),
    )

    async def prove(in_proof: LabInProof) -> None:
        booked = in_proof.outside.hold("POST /pickups", at_most=20.0)
        await in_proof.call("Parcels/p-7/dispatch/send")
        await in_proof.until_effect("POST /pickups")
        await in_proof.until_row("select key from state")
        await in_proof.call("Parcels/p-7/dispatch/send")
        asking = asyncio.create_task(in_proof.call("Parcels/p-7/status"))
        in_the_queue = "select id from sys_invocation where status = 'pending' and target like "
        waits = "'%/status'" if variant == "dont" else "'%/dispatch'"
        await in_proof.until_row(in_the_queue + waits)
        if variant == "do":
            await asking
        booked.set()
        assert await asking == seen
        await in_proof.until_all_completed()

    trace = run(lab, "context-type-lies", prove, snippet=snippet).trace
    assert trace.effect_counts() == {"POST /pickups": 2}


def test_reader_sent_with_a_delay_before_the_fix_waits_in_the_queue(lab: Lab) -> None:
    """RDD203: and reads, once it has its turn, on the fixed code."""

    async def prove(in_proof: LabInProof) -> None:
        booked = in_proof.outside.hold("POST /pickups", at_most=20.0)
        await in_proof.call("Parcels/p-7/status/send?delay=500ms")
        await in_proof.deploy("do")
        await in_proof.call("Parcels/p-7/dispatch/send")
        await in_proof.until_effect("POST /pickups")
        await until_status(in_proof, "Parcels/p-7/status", "pending")
        booked.set()
        await in_proof.until_all_completed()

    trace = run(lab, "context-type-lies", prove).trace
    assert [each.result for each in trace.invocations if "status" in each.target] == ["on its way"]
