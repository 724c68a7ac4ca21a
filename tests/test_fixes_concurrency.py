"""What the pages of the chapter concurrency say of invocations under way, done on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import time
from pathlib import Path

import httpx
import pytest

from restate_guide import catalogue
from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    JournalMismatch,
    Result,
    RetriedUntilPaused,
    Stimulus,
    crash_after_effect,
    crash_after_step,
    crash_before_journal,
    load,
)
from restate_guide.lab import Lab as LabInProof
from tests.bare import run
from tests.conftest import Lab
from tests.fixes import (
    SNIPPETS,
    afterwards,
    as_on_lambda,
    changed,
    deployment,
    in_place,
    instead,
    pause_at_work,
    queries,
    resume_on,
    resume_on_one_before_the_latest,
    until_status,
)

CHAPTER = SNIPPETS / "concurrency"
DESK = {
    "GET /bookings/ann": {"booking": "ann-1"},
    "GET /bookings/bob": {"booking": "bob-1"},
    "POST /seats/ann": {"seat": "2A"},
    "POST /seats/bob": {"seat": "31F"},
}
"""What the other system of RDD402 has of both passengers."""

pytestmark = pytest.mark.server


def test_what_slept_in_the_process_begins_a_durable_sleep(lab: Lab) -> None:
    """RDD405: the fixed code gets through, and what a given-up attempt did is done again."""
    trace = in_place(lab, CHAPTER / "sleep-not-durable", crash_before_journal("charge")).trace
    assert [call.answer for call in trace.calls] == ["ann is charged"]
    assert len(trace.rows["charges"]) == 2
    journal = [entry.type for entry in trace.invocations[0].journal]
    assert journal[:2] == ["Command: Input", "Command: Sleep"]


def test_what_was_given_up_is_resumed_on_the_fixed_code_and_charges_again(lab: Lab) -> None:
    """RDD405: what is paused goes on when it is resumed, on top of what its attempts have charged."""
    trace = resumed(lab, "sleep-not-durable", "Trials/start", "do").trace
    assert trace.invocations[0].result == "ann is charged"
    assert len(trace.rows["charges"]) == 4


@pytest.mark.parametrize(
    ("how", "accepted", "heard", "failure"),
    [
        ("kill", 200, "select id from sys_invocation where status = 'completed'", "[409] killed"),
        (
            "cancel",
            202,
            "select id from sys_journal where entry_type = 'Notification: Signal'",
            "[409] cancelled",
        ),
    ],
    ids=["kill", "cancel"],
)
def test_what_sleeps_in_the_old_worker_charges_after_a_kill_or_a_cancel(
    lab: Lab, tmp_path: Path, how: str, accepted: int, heard: str, failure: str
) -> None:
    """RDD405: killed, the invocation is over; cancelled, it ends so. The worker goes on either way."""
    target, charged, asked = "Trials/start", "POST /charges", "GET /trials"
    api = 'os.environ["API_URL"]'
    charging = "def charge(customer: str) -> None:\n"
    sleeping = "    await asyncio.sleep(TRIAL.total_seconds())\n"
    snippet = changed(
        tmp_path,
        "concurrency/sleep-not-durable/dont",
        ("timedelta(seconds=1.5)", "timedelta(seconds=0.1)"),
        ("import restate\n", "import httpx\nimport restate\n"),
        (charging, f'{charging}    httpx.post({api} + "/charges")\n'),
        (sleeping, f'    while httpx.get({api} + "/trials").json() != "over":\n    {sleeping}'),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[asked] = "under way"
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_effect(asked)
        assert await in_proof.operate(how, target) == accepted
        await in_proof.until_row(heard)
        assert charged not in [each.effect for each in in_proof.outside.ledger]
        in_proof.outside.answers[asked] = "over"
        await in_proof.until_effect(charged)
        ended = f"select id from sys_invocation where completion_failure = '{failure}'"
        await in_proof.until_row(ended)

    instead(lab, CHAPTER / "sleep-not-durable", prove, PLAIN, snippet)


@pytest.mark.parametrize("fails", ["before", "after"])
def test_trip_that_is_suspended_is_found_and_resumed(lab: Lab, fails: str) -> None:
    """RDD411: no registration moves it, and no failure; resumed on the fix, it cancels its other part."""
    flight, room, target = "POST /flights", "POST /rooms", "Trips/plan"
    waiting = queries("RDD411")[0]

    async def prove(in_proof: LabInProof) -> None:
        asked = in_proof.outside.hold(flight, at_most=20.0)
        in_proof.outside.fail(flight, times=1, status=409)
        planning = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_effect(flight)
        await in_proof.until_result("Run ask")
        await until_status(in_proof, target, "suspended")
        await in_proof.deploy("do")
        failed = (
            "select j.id from sys_journal j join sys_invocation i on i.id = j.id "
            f"where i.target = '{target}' and j.entry_json like '%sold out%'"
        )
        if fails == "before":
            asked.set()
            await in_proof.until_row(failed)
            await in_proof.until_still(0.3)
        (found,) = await in_proof.query(waiting)
        assert found["status"] == "suspended"
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        if fails == "after":
            fixed = await deployment(in_proof, "Trips")
            await in_proof.until_row(
                f"select id from sys_invocation where id = '{found['id']}' "
                f"and status = 'suspended' and pinned_deployment_id = '{fixed}'"
            )
            asked.set()
        assert (await planning)["message"] == "sold out"
        await in_proof.until_all_completed()
        assert not await in_proof.query(waiting)

    trace = instead(lab, CHAPTER / "fan-out-ignores-failure", prove, REPLAY_EVERY_AWAIT).trace
    assert room not in trace.effect_counts()


@pytest.mark.parametrize(
    ("how", "status", "failure"), [("kill", 200, "[409] killed"), ("cancel", 202, None)]
)
def test_message_goes_on_however_its_sender_ends_unless_by_a_kill(
    lab: Lab, tmp_path: Path, how: str, status: int, failure: str | None
) -> None:
    """RDD409."""
    mail, answer = "POST /emails", "    return number\n"
    snippet = changed(
        tmp_path,
        "concurrency/task-outlives-handler/do",
        (answer, f"    await ctx.awakeable()[1]\n{answer}"),
        ('json={"order": order})', 'json={"order": order}, timeout=30)'),
    )
    ends: list[str | None] = []

    async def prove(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold(mail, at_most=20.0)
        buying = asyncio.create_task(in_proof.call("Shop/buy", "order-1"))
        await in_proof.until_effect(mail)
        assert await in_proof.operate(how, "Shop/buy") == status
        await buying
        if failure:
            await until_status(in_proof, "Shop/confirm", "completed")
        mailed.set()
        await in_proof.until_all_completed()
        confirm = "select completion_failure from sys_invocation where target = 'Shop/confirm'"
        ends.extend(row.get("completion_failure") for row in await in_proof.query(confirm))

    instead(lab, CHAPTER / "task-outlives-handler", prove, PLAIN, snippet)
    assert ends == [failure]


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


def test_a_url_that_the_server_knows_is_not_asked_again(lab: Lab) -> None:
    """RDD409: registered there once more, the fixed code's new handler is still unknown."""
    fixed = dataclasses.replace(crash_after_step("book"), successor="do")

    async def prove(in_proof: LabInProof) -> None:
        buying = asyncio.create_task(in_proof.call("Shop/buy", "order-1"))
        await until_status(in_proof, "Shop/buy", "paused")
        (old,) = (await in_proof.admin("GET", "/deployments"))["deployments"]
        again = await in_proof.admin("POST", "/deployments", {"uri": old["uri"]})
        assert [each["name"] for each in again["services"][0]["handlers"]] == ["buy"]
        buying.cancel()

    instead(lab, CHAPTER / "task-outlives-handler", prove, fixed)


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


def test_resumed_by_its_id_on_a_deployment_that_is_not_the_latest(lab: Lab) -> None:
    """RDD406: where the fix was registered after the version that always sleeps."""

    async def fix(in_proof: LabInProof) -> None:
        await resume_on_one_before_the_latest(in_proof, "Reminders/remind", "clamped")

    trace = afterwards(lab, CHAPTER / "offset-by-hand", fix).trace
    assert trace.effect_counts() == {"POST /emails": 1}


def test_suspended_in_its_sleep_is_resumed_on_a_version_that_always_sleeps(lab: Lab) -> None:
    """RDD406: by that deployment's id, before the deadline; so it never fails."""
    target = "Reminders/remind"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.deploy("clamped")
        always_sleeps = await deployment(in_proof, "Reminders")
        await in_proof.deploy("dont")  # last, so that the call goes there
        reminding = asyncio.create_task(in_proof.call(target, time.time() + 3.0))
        await until_status(in_proof, target, "suspended")
        assert await in_proof.operate("resume", target, deployment=always_sleeps) == 200
        await reminding

    result = instead(lab, CHAPTER / "offset-by-hand", prove, REPLAY_EVERY_AWAIT)
    assert result.outcome == load(CHAPTER / "offset-by-hand").promise
    assert not result.trace.failures()


def test_a_delayed_message_may_not_be_late_either(lab: Lab, tmp_path: Path) -> None:
    """RDD406: a delay below zero fails like such a sleep."""
    sends = changed(
        tmp_path,
        "concurrency/offset-by-hand/negative",
        ("await ctx.sleep(", "ctx.service_send(remind, due, send_delay="),
    )
    proof = load(CHAPTER / "offset-by-hand")
    past, negative = proof.asides["past"].prove, proof.asides["negative"].outcome
    assert past
    assert isinstance(negative, RetriedUntilPaused)
    outcome = instead(lab, proof.folder, past, PLAIN, sends).outcome
    assert outcome == RetriedUntilPaused(negative.error, attempts=3)


def test_steps_in_asyncio_gather_replay_in_place(lab: Lab) -> None:
    """RDD401: the commands and their order are the same."""
    outcome = in_place(lab, CHAPTER / "gather-of-steps", LATE_REPLAY).outcome
    assert outcome == load(CHAPTER / "gather-of-steps").promise


def test_a_restart_for_the_fix_repeats_the_step_at_work(lab: Lab) -> None:
    """RDD401: the first worker is killed while it ships; the next one has the fixed code."""
    rule = CHAPTER / "gather-of-steps"
    fixed = dataclasses.replace(crash_after_effect("POST /shipments"), successor="do")
    trace = instead(lab, rule, load(rule).prove, fixed).trace
    assert trace.effect_counts()["POST /shipments"] == 2
    assert trace.calls[0].answer == ["charge-1", "shipment-2"]


def test_gather_raises_a_cancel(lab: Lab, tmp_path: Path) -> None:
    """RDD407: not what its futures raised, but what befalls the invocation itself."""
    waiting = "    await restate.gather(charged, shipped)\n"
    caught = changed(
        tmp_path,
        "concurrency/gather-of-steps/do",
        (
            waiting,
            f"    try:\n    {waiting}    except restate.TerminalError as error:\n"
            '        return ["gather", error.message]\n',
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        shipped = in_proof.outside.hold("POST /shipments", at_most=20.0)
        fulfilling = asyncio.create_task(in_proof.call("Orders/fulfil", "order-1"))
        await in_proof.until_effect("POST /shipments")
        assert await in_proof.operate("cancel", "Orders/fulfil") == 202
        await fulfilling
        shipped.set()

    trace = instead(lab, CHAPTER / "gather-of-steps", prove, PLAIN, caught).trace
    assert trace.calls[0].answer == ["gather", "cancelled"]


@pytest.mark.parametrize(("aside", "unseen"), [("unseen", 1), ("failed", 0)])
def test_errors_that_nobody_has_seen_are_found(lab: Lab, aside: str, unseen: int) -> None:
    """RDD407: the query of RDD510, for what succeeded."""
    rule = CHAPTER / "gather-returns-futures"
    proof = load(rule).judging(load(rule).asides[aside])
    stuck = "i.status IN ('backing-off', 'paused')"
    query = queries("RDD510")[0]
    assert stuck in query

    async def look(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        found = await in_proof.query(query.replace(stuck, "i.completion_result = 'success'"))
        assert len(found) == unseen

    snippet = rule / f"{load(rule).asides[aside].snippet}.py"
    instead(lab, rule, look, snippet=snippet, promise=proof.promise)


@pytest.mark.parametrize(("kind", "ends"), [("def", True), ("async def", False)])
def test_a_step_that_lost_when_its_handler_has_ended(
    lab: Lab, tmp_path: Path, kind: str, ends: bool
) -> None:
    """RDD403, RDD408: a plain function goes on; a coroutine is broken off. Neither is journaled."""
    asking = '    response = httpx.get(f"{API_URL}/offers/{carrier}", timeout=30)\n'
    then = '    httpx.post(f"{API_URL}/answers/{carrier}")\n'
    awaiting = (
        "    async with httpx.AsyncClient(timeout=30) as client:\n"
        '        response = await client.get(f"{API_URL}/offers/{carrier}")\n'
    )
    snippet = changed(
        tmp_path,
        "concurrency/first-completed/do",
        ("def ask(", f"{kind} ask("),
        (asking, (asking if ends else awaiting) + then),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /offers/road"] = {"carrier": "road"}
        in_proof.outside.answers["GET /offers/rail"] = {"carrier": "rail"}
        in_proof.outside.in_order("GET /offers/road", "GET /offers/rail")
        road = in_proof.outside.hold("GET /offers/road", at_most=20.0)
        assert await in_proof.call("Parcels/send") == "shipment-1 goes by rail"
        if not ends:
            await in_proof.until_still(0.3)  # the answer can come before the attempt's end does
        road.set()
        if ends:
            await in_proof.until_effect("POST /answers/road")
        else:
            await in_proof.until_still(0.5)

    trace = instead(lab, CHAPTER / "first-completed", prove, PLAIN, snippet).trace
    assert ("POST /answers/road" in trace.effect_counts()) == ends
    results = [e for e in trace.invocations[0].journal if e.type == "Notification: Run"]
    assert len(results) == 2  # the railway's offer, and the shipment


def test_a_step_that_is_tried_again_has_the_one_beside_it_repeated(lab: Lab) -> None:
    """RDD401: by `restate.gather`, too; a worker needn't die for it."""
    rule = CHAPTER / "gather-of-steps"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /charges", times=1)
        in_proof.outside.in_order("POST /shipments", "POST /charges")
        shipped = in_proof.outside.hold("POST /shipments", at_most=20.0)
        fulfilling = asyncio.create_task(in_proof.call("Orders/fulfil", "order-1"))
        await in_proof.until_effect("POST /shipments", times=2)
        shipped.set()
        assert await fulfilling == ["charge-1", "shipment-2"]

    instead(lab, rule, prove, PLAIN, rule / "do.py")


def test_calls_that_were_returned_as_futures_are_found(lab: Lab, tmp_path: Path) -> None:
    """RDD407: their class has another name than that of a step's."""
    handler = "@trips.handler()\nasync def plan("
    snippet = changed(
        tmp_path,
        "concurrency/gather-returns-futures/dont",
        (
            handler,
            "@trips.handler()\nasync def one(ctx: restate.Context, kind: str) -> str:\n"
            f'    return await ctx.run_typed("book", book, kind=kind)\n\n\n{handler}',
        ),
        ('ctx.run_typed("book flight", book, kind="flight")', 'ctx.service_call(one, "flight")'),
        ('ctx.run_typed("book room", book, kind="room")', 'ctx.service_call(one, "room")'),
    )
    found = []

    async def look(in_proof: LabInProof) -> None:
        await in_proof.call("Trips/plan", "ann")
        found.extend(await in_proof.query(queries("RDD407")[0]))

    instead(lab, CHAPTER / "gather-returns-futures", look, PLAIN, snippet)
    assert [row["target"] for row in found] == ["Trips/plan"]


def test_a_short_sleep_that_is_over_can_not_become_a_durable_one_in_place(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD405: the command behind it stands where the new code sleeps."""
    rule = CHAPTER / "sleep-not-durable"
    anew = (rule / "anew.py").read_text()
    durable = anew.replace("await pause()", "await ctx.sleep(timedelta(seconds=0.3))").replace(
        "import asyncio\n", "import asyncio\nfrom datetime import timedelta\n"
    )
    (tmp_path / "dont.py").write_text(anew)
    (tmp_path / "do.py").write_text(durable)
    stimulus = dataclasses.replace(crash_before_journal("mail advice"), successor="do")
    result = instead(lab, rule, load(rule).prove, stimulus, tmp_path / "dont.py")
    assert isinstance(result.outcome, JournalMismatch)
    assert (result.outcome.was, result.outcome.now) == ("run", "sleep")


SENDING = "@parcels.handler()\nasync def send"
OFFERING = (
    "@parcels.handler()\n"
    "async def offer(ctx: restate.Context, carrier: str) -> str:\n"
    f'    return await ctx.run_typed("ask", ask, carrier=carrier)\n\n\n{SENDING}'
)
OFFERS_ARE_CALLS = (
    ('ctx.run_typed("ask road", ask, carrier="road")', 'ctx.service_call(offer, "road")'),
    ('ctx.run_typed("ask rail", ask, carrier="rail")', 'ctx.service_call(offer, "rail")'),
)


def test_a_call_that_lost_goes_on_after_its_caller_has_returned(lab: Lab, tmp_path: Path) -> None:
    """RDD403, RDD408: and ends well."""
    offer = (SENDING, OFFERING)
    calls = changed(tmp_path, "concurrency/first-completed/do", offer, *OFFERS_ARE_CALLS)

    async def prove(in_proof: LabInProof) -> None:
        for carrier in ("road", "rail"):
            in_proof.outside.answers[f"GET /offers/{carrier}"] = {"carrier": carrier}
        road = in_proof.outside.hold("GET /offers/road", at_most=20.0)
        sending = asyncio.create_task(in_proof.call("Parcels/send"))
        await in_proof.until_effect("GET /offers/road")
        assert await sending == "shipment-1 goes by rail"
        await until_status(in_proof, "Parcels/send", "completed")
        await until_status(in_proof, "Parcels/offer", "running")
        road.set()
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "first-completed", prove, PLAIN, calls).trace
    assert not trace.failures()
    assert sorted(each.result for each in trace.invocations) == [
        "rail",
        "road",
        "shipment-1 goes by rail",
    ]


@pytest.mark.parametrize(
    ("weighing", "winner"),
    [
        ('ctx.run_typed("weigh", weigh)', "road"),
        ("asyncio.to_thread(weigh)", "rail"),
    ],
    ids=["durable wait", "busy"],
)
def test_the_one_named_first_wins_only_of_those_that_ended_during_a_durable_wait(
    lab: Lab, tmp_path: Path, weighing: str, winner: str
) -> None:
    """RDD403: where the handler was busy with something else, the one that ended first wins."""
    selecting = "    _, first = await restate.select"
    snippet = changed(
        tmp_path,
        "concurrency/first-completed/do",
        ("import os\n", "import asyncio\nimport os\n"),
        (
            SENDING,
            "def weigh() -> None:\n"
            '    httpx.post(f"{API_URL}/weighings", timeout=30).raise_for_status()\n\n\n'
            f"{OFFERING}",
        ),
        *OFFERS_ARE_CALLS,
        (
            selecting,
            "    await rail.invocation_id()\n"  # both are called
            f"    await {weighing}\n{selecting}",
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        offers = []
        for carrier in ("rail", "road"):
            in_proof.outside.answers[f"GET /offers/{carrier}"] = {"carrier": carrier}
            offers.append(in_proof.outside.hold(f"GET /offers/{carrier}", at_most=20.0))
        weighed = in_proof.outside.hold("POST /weighings", at_most=20.0)
        sending = asyncio.create_task(in_proof.call("Parcels/send"))
        await in_proof.until_effect("POST /weighings")
        for ended, offer in enumerate(offers, 1):
            offer.set()
            await in_proof.until_row(
                "select id from sys_journal where entry_type = 'Notification: Call' "
                f"group by id having count(*) >= {ended}"
            )
        weighed.set()
        assert await sending == f"shipment-1 goes by {winner}"

    instead(lab, CHAPTER / "first-completed", prove, PLAIN, snippet)


@pytest.mark.parametrize(
    ("status", "shipments"), [(503, 2), (404, 1)], ids=["tried again", "terminal"]
)
def test_a_loser_that_fails_ends_the_attempt(
    lab: Lab, tmp_path: Path, status: int, shipments: int
) -> None:
    """RDD403: the step that is under way is executed again; but not by a `TerminalError`."""
    answer = '    return str(response.raise_for_status().json()["carrier"])\n'
    terminal = '    if response.status_code == 404:\n        raise restate.TerminalError("no")\n'
    snippet = changed(tmp_path, "concurrency/first-completed/do", (answer, terminal + answer))

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /offers/rail"] = {"carrier": "rail"}
        in_proof.outside.in_order("GET /offers/road", "GET /offers/rail")
        in_proof.outside.fail("GET /offers/road", times=1, status=status)
        road = in_proof.outside.hold("GET /offers/road", at_most=20.0)
        shipped = in_proof.outside.hold("POST /shipments", at_most=20.0)
        sending = asyncio.create_task(in_proof.call("Parcels/send"))
        await in_proof.until_effect("POST /shipments")
        road.set()
        if status == 404:
            await in_proof.until_row("select id from sys_journal where entry_json like '%\"no\"%'")
        await in_proof.until_effect("POST /shipments", times=shipments)
        shipped.set()
        assert await sending == f"shipment-{shipments} goes by rail"

    trace = instead(lab, CHAPTER / "first-completed", prove, PLAIN, snippet).trace
    assert ("RT0007" in {failure.code for failure in trace.failures()}) == (status == 503)
    assert trace.effect_counts()["POST /shipments"] == shipments


RACING = "    winner, ride = await restate.select(red=red, blue=blue)\n"
CANCELLING = """except restate.TerminalError:
            await red.cancel_invocation()
            await blue.cancel_invocation()
            raise
"""
BOTH_COMPANIES_ASKED = (
    "select count(*) as steps from sys_journal "
    "where entry_type = 'Notification: Run' having count(*) >= 2"
)
LOOPING = f"""    async for first in restate.as_completed(red, blue):
        try:
            ride = await first
            break
        {CANCELLING}    winner = "red" if first is red else "blue"
"""
"""RDD408: what its page advises where one of the calls may fail."""
AROUND = f"    if True:\n        try:\n        {RACING}        {CANCELLING}"
"""RDD408: what it advises against."""
WAITING = '    ride = {"company": company, "driver": await driver}\n'
UNDOING = (
    WAITING,
    f"""    try:
    {WAITING}    except restate.TerminalError:
        await ctx.run_typed("undo", post, path=f"undone/{{company}}", body={{}})
        await ctx.run_typed("tell", post, path="told", body={{}})
        raise
""",
)


@pytest.mark.parametrize("caught", [False, True])
def test_a_race_whose_first_to_end_has_failed(lab: Lab, tmp_path: Path, caught: bool) -> None:
    """RDD408: `restate.select` raises, and the other call goes on; a loop like RDD411's cancels it."""
    snippet = changed(
        tmp_path,
        "concurrency/loser-keeps-running/do",
        (
            '    ride = {"company": company, "driver": await driver}\n',
            '    ride = {"company": company, "driver": await driver}\n'
            '    if ride["driver"] == "none":\n'
            '        raise restate.TerminalError("no car")\n',
        ),
        (RACING, LOOPING if caught else RACING),
    )

    async def prove(in_proof: LabInProof) -> None:
        call = asyncio.create_task(in_proof.call("Travel/home"))
        await in_proof.until_row(BOTH_COMPANIES_ASKED)
        asked = {each.effect: each.body["reply_to"] for each in in_proof.outside.ledger}
        await in_proof.resolve_awakeable(asked["POST /offers/red"], "none")
        assert (await call)["message"] == "no car"
        if caught:
            await in_proof.until_all_completed()  # the answer can come before the cancel does
        await in_proof.resolve_awakeable(asked["POST /offers/blue"], "bob")
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "loser-keeps-running", prove, PLAIN, snippet).trace
    assert ("POST /rides" in trace.effect_counts()) == (not caught)


@pytest.mark.parametrize(("race", "told"), [(LOOPING, 2), (AROUND, 0)], ids=["loop", "except"])
def test_a_race_whose_caller_is_cancelled(lab: Lab, tmp_path: Path, race: str, told: int) -> None:
    """RDD408: an `except` round the race cancels once more, which breaks off what the calls undo."""
    snippet = changed(tmp_path, "concurrency/loser-keeps-running/do", (RACING, race), UNDOING)

    async def prove(in_proof: LabInProof) -> None:
        begun = ("POST /undone/red", "POST /undone/blue")
        undone = [in_proof.outside.hold(each, at_most=20.0) for each in begun]
        call = asyncio.create_task(in_proof.call("Travel/home"))
        await in_proof.until_row(BOTH_COMPANIES_ASKED)
        assert await in_proof.operate("cancel", "Travel/home") == 202
        for each in begun if told else ():  # the second cancel may come before what it breaks off
            await in_proof.until_effect(each)
        assert (await call)["message"] == "cancelled"
        await in_proof.until_still(0.3)
        for held in undone:
            held.set()
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "loser-keeps-running", prove, PLAIN, snippet).trace
    assert trace.effect_counts().get("POST /told", 0) == told


def test_a_loser_that_undoes_after_its_cancel_is_not_listed(lab: Lab, tmp_path: Path) -> None:
    """RDD408: its caller has ended; one more cancel would break it off."""
    snippet = changed(tmp_path, "concurrency/loser-keeps-running/do", UNDOING)
    found: list[object] = []

    async def prove(in_proof: LabInProof) -> None:
        undone = in_proof.outside.hold("POST /undone/blue", at_most=20.0)
        call = asyncio.create_task(in_proof.call("Travel/home"))
        await in_proof.until_row(BOTH_COMPANIES_ASKED)
        asked = {each.effect: each.body["reply_to"] for each in in_proof.outside.ledger}
        await in_proof.resolve_awakeable(asked["POST /offers/red"], "ann")
        assert await call == "red: ride-1"
        await in_proof.until_effect("POST /undone/blue")
        await until_status(in_proof, "Travel/home", "completed")
        found.extend(await in_proof.query(queries("RDD408")[0]))
        undone.set()
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "loser-keeps-running", prove, PLAIN, snippet).trace
    assert found == []
    assert trace.effect_counts()["POST /told"] == 1


def test_calls_go_on_where_the_retry_policy_kills_their_caller(lab: Lab, tmp_path: Path) -> None:
    """RDD408: unlike a kill by the admin API; the page's query lists them."""
    kills = 'restate.InvocationRetryPolicy(max_attempts=1, on_max_attempts="kill")'
    snippet = changed(
        tmp_path,
        "concurrency/loser-keeps-running/dont",
        (
            "@travel.handler()\nasync def home",
            f"@travel.handler(invocation_retry_policy={kills})\nasync def home",
        ),
        (RACING, f'    await blue.invocation_id()\n    raise ValueError("a bug")\n{RACING}'),
    )

    async def prove(in_proof: LabInProof) -> None:
        assert (await in_proof.call("Travel/home"))["code"] == 500
        await in_proof.until_row(BOTH_COMPANIES_ASKED)
        assert len(await in_proof.query(queries("RDD408")[0])) == 2
        for asked in [each.body for each in in_proof.outside.ledger]:
            await in_proof.resolve_awakeable(asked["reply_to"], "ann")
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "loser-keeps-running", prove, PLAIN, snippet).trace
    assert trace.effect_counts()["POST /rides"] == 2


@pytest.mark.parametrize("how", ["own failure", "cancel", "kill"])
def test_a_loser_that_acts_and_fails_is_found(lab: Lab, tmp_path: Path, how: str) -> None:
    """RDD408: not one that was ended with its caller, or since."""
    order = '    return await ctx.run_typed("order", post, path="rides", body=ride)\n'
    fails = '    if company == "blue":\n        raise restate.TerminalError("no car")\n'
    snippet = changed(
        tmp_path,
        "concurrency/loser-keeps-running/dont",
        (order, order.replace("return", "id =") + fails + "    return id\n"),
    )
    found: list[object] = []

    async def prove(in_proof: LabInProof) -> None:
        call = asyncio.create_task(in_proof.call("Travel/home"))
        await in_proof.until_row(BOTH_COMPANIES_ASKED)
        asked = {each.effect: each.body["reply_to"] for each in in_proof.outside.ledger}
        if how != "own failure":
            await in_proof.operate(how, "Travel/home")
            taxis = "select id from sys_invocation where target = 'Travel/taxi'"
            await in_proof.until_no_row(f"{taxis} and status != 'completed'")
        await in_proof.resolve_awakeable(asked["POST /offers/red"], "ann")
        await call
        await until_status(in_proof, "Travel/home", "completed")
        await in_proof.resolve_awakeable(asked["POST /offers/blue"], "bob")
        await in_proof.until_all_completed()
        found.extend(row["target"] for row in await in_proof.query(queries("RDD408")[0]))

    trace = instead(lab, CHAPTER / "loser-keeps-running", prove, PLAIN, snippet).trace
    assert found == (["Travel/taxi"] if how == "own failure" else [])
    assert trace.effect_counts().get("POST /rides", 0) == (2 if found else 0)


def test_a_caller_that_has_asked_for_more_since_the_race_meets_a_mismatch(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD408: on the fixed code in place, its journal has that step where the cancel now is."""
    rule = CHAPTER / "loser-keeps-running"
    answer = '    return f"{winner}: {ride}"'
    telling = f'    await ctx.run_typed("tell", ride.upper)\n{answer}'
    for name in ("dont", "do"):
        changed(tmp_path, f"concurrency/loser-keeps-running/{name}", (answer, telling))

    async def prove(in_proof: LabInProof) -> None:
        call = asyncio.create_task(in_proof.call("Travel/home"))
        await in_proof.until_effect("POST /offers/red")
        await in_proof.until_effect("POST /offers/blue")
        asked = {each.effect: each.body["reply_to"] for each in in_proof.outside.ledger}
        await in_proof.resolve_awakeable(asked["POST /offers/red"], "ann")
        await call

    in_its_place = dataclasses.replace(crash_after_step("tell"), successor="do")
    outcome = instead(lab, rule, prove, in_its_place, tmp_path / "dont.py").outcome
    assert outcome == JournalMismatch(command=3, was="run", now="send signal")


def test_a_ride_that_the_fixed_code_in_place_cuts_off_is_ordered_again(lab: Lab) -> None:
    """RDD408: the caller that waits in the race goes on there, and cancels the loser."""
    rule = CHAPTER / "loser-keeps-running"

    async def prove(in_proof: LabInProof) -> None:
        call = asyncio.create_task(in_proof.call("Travel/home"))
        await in_proof.until_row(BOTH_COMPANIES_ASKED)
        asked = {each.effect: each.body["reply_to"] for each in in_proof.outside.ledger}
        await in_proof.resolve_awakeable(asked["POST /offers/red"], "ann")
        await call
        await in_proof.until_all_completed()

    in_its_place = dataclasses.replace(crash_after_effect("POST /rides"), successor="do")
    trace = instead(lab, rule, prove, in_its_place).trace
    assert trace.calls[0].answer == "red: ride-2"
    assert trace.effect_counts()["POST /rides"] == 2


@pytest.mark.parametrize(
    ("how", "status", "failure"),
    [("kill", 200, "[409] killed"), ("cancel", 202, "[409] cancelled")],
)
def test_calls_end_with_a_caller_that_is_ended(
    lab: Lab, how: str, status: int, failure: str
) -> None:
    """RDD408: a kill or a cancel of the caller reaches both, though nobody cancels them one by one."""
    failures: list[str] = []

    async def prove(in_proof: LabInProof) -> None:
        call = asyncio.create_task(in_proof.call("Travel/home"))
        await in_proof.until_effect("POST /offers/red")
        await in_proof.until_effect("POST /offers/blue")
        assert await in_proof.operate(how, "Travel/home") == status
        await call
        await in_proof.until_all_completed()
        calls = "select completion_failure from sys_invocation where target = 'Travel/taxi'"
        failures.extend(row["completion_failure"] for row in await in_proof.query(calls))

    trace = instead(lab, CHAPTER / "loser-keeps-running", prove, PLAIN).trace
    assert failures == [failure, failure]
    assert trace.effect_counts() == {"POST /offers/red": 1, "POST /offers/blue": 1}


def test_what_waits_on_the_old_timer_fits_the_code_with_the_limit(lab: Lab) -> None:
    """RDD404: it is found by the sleep that it hasn't, and resumed; its limit begins then."""
    hanging = queries("RDD404")[0]

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/buy/send", "pot")
        await in_proof.until_row(hanging)
        journal = await in_proof.query(
            "select entry_type, name from sys_journal where entry_type like 'Command: %' order by index"
        )
        assert journal[-1] == {"entry_type": "Command: Run", "name": "ask"}
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", "Orders/buy", deployment="latest") == 200
        await in_proof.until_row("select id from sys_journal where entry_type = 'Command: Sleep'")
        assert not await in_proof.query(hanging)
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "wait-for", prove, REPLAY_EVERY_AWAIT).trace
    assert trace.invocations[0].result == "no offer"


def test_what_runs_on_the_old_timer_is_listed_when_it_hangs(lab: Lab, tmp_path: Path) -> None:
    """RDD404: another handler that waits without a limit is not; what is listed can be cancelled."""
    listed = queries("RDD404")[0]
    handler = "\n\n@orders.handler()\nasync def confirm(ctx: restate.Context) -> str:\n"
    waits = "    _, confirmed = ctx.awakeable(type_hint=str)\n    return await confirmed\n"
    snippet = changed(
        tmp_path,
        "concurrency/wait-for/dont",
        ("seconds=0.3", "seconds=30"),
        ("\n\napp =", f"{handler}{waits}\n\napp ="),
    )

    async def prove(in_proof: LabInProof) -> None:
        asked = in_proof.outside.hold("POST /requests", at_most=20.0)
        await in_proof.call("Orders/confirm/send")
        await in_proof.call("Orders/buy/send", "pot")
        await in_proof.until_effect("POST /requests")
        await until_status(in_proof, "Orders/confirm", "suspended")
        assert await in_proof.query(listed) == []
        asked.set()
        await until_status(in_proof, "Orders/buy", "suspended")
        assert [row["target"] for row in await in_proof.query(listed)] == ["Orders/buy"]
        assert await in_proof.operate("cancel", "Orders/buy") == 202
        await in_proof.until_row(
            "select id from sys_invocation where completion_failure = '[409] cancelled'"
        )

    short = {"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "100ms"}
    trace = instead(lab, CHAPTER / "wait-for", prove, PLAIN, snippet, server=short).trace
    assert trace.effect_counts() == {"POST /requests": 1}


@pytest.mark.parametrize("what", ["asyncio.timeout", "a call"])
def test_other_waits_on_the_clock_of_a_process(lab: Lab, tmp_path: Path, what: str) -> None:
    """RDD404: none of them ever ends once its attempt is suspended."""
    waiting = "        return await asyncio.wait_for(offer, LIMIT.total_seconds())\n"
    changes = {
        "asyncio.timeout": [
            (
                waiting,
                "        async with asyncio.timeout(LIMIT.total_seconds()):\n"
                "            return await offer\n",
            )
        ],
        "a call": [
            ("(offer, LIMIT", "(ctx.service_call(wait, None), LIMIT"),
            (
                "\n\napp =",
                "\n\n@orders.handler()\nasync def wait(ctx: restate.Context) -> str:\n"
                "    _, never = ctx.awakeable(type_hint=str)\n    return await never\n\n\napp =",
            ),
        ],
    }[what]
    snippet = changed(tmp_path, "concurrency/wait-for/dont", *changes)

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/buy/send", "pot")
        await until_status(in_proof, "Orders/buy", "suspended")
        await in_proof.until_still(0.6)  # twice the limit

    trace = instead(lab, CHAPTER / "wait-for", prove, REPLAY_EVERY_AWAIT, snippet).trace
    assert {invocation.status for invocation in trace.invocations} == {"suspended"}
    assert trace.effect_counts() == {"POST /requests": 1}


SLOW_OFFER = (
    "\n\ndef mail(",
    "\n\ndef offers(item: str) -> str:\n"
    '    return str(httpx.get(f"{API_URL}/offers/{item}", timeout=30).json())\n\n\ndef mail(',
)
"""A step for the handler of RDD404, which takes as long as the outside holds it."""


def test_a_step_past_its_limit_is_found_there_by_the_replay(lab: Lab, tmp_path: Path) -> None:
    """RDD404: the timer round a step fires; then the step's own result is in the journal."""
    snippet = changed(
        tmp_path,
        "concurrency/wait-for/dont",
        ("(offer, LIMIT", '(ctx.run_typed("offer", offers, item=item), LIMIT'),
        SLOW_OFFER,
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /offers/pot"] = "4 pots"
        offered = in_proof.outside.hold("GET /offers/pot", at_most=20.0)
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        buying = asyncio.create_task(in_proof.call("Orders/buy", "pot"))
        await in_proof.until_effect("POST /emails")
        offered.set()
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Run' "
            "group by id having count(*) >= 2"
        )
        mailed.set()
        await buying

    result = instead(lab, CHAPTER / "wait-for", prove, crash_after_step("mail"), snippet)
    assert result.outcome == JournalMismatch(command=3, was="run", now="handler return")


def test_first_by_asyncios_as_completed_is_the_one_named_first_in_a_replay(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD403: like `asyncio.wait`."""
    rule = CHAPTER / "first-completed"
    snippet = changed(
        tmp_path,
        "concurrency/first-completed/dont",
        (
            "    await asyncio.wait([road, rail], return_when=asyncio.FIRST_COMPLETED)\n"
            "    first = (road if road.done() else rail).result()\n",
            "    first = await next(iter(asyncio.as_completed([road, rail])))\n",
        ),
    )
    for stimulus in (LATE_REPLAY, REPLAY_EVERY_AWAIT):
        result = instead(lab, rule, load(rule).prove, stimulus, snippet)
        assert result.outcome == load(rule).symptom


@pytest.mark.parametrize("stimulus", [LATE_REPLAY, REPLAY_EVERY_AWAIT], ids=["late", "always"])
def test_first_by_wait_completed_is_the_same_one_in_a_replay(
    lab: Lab, tmp_path: Path, stimulus: Stimulus
) -> None:
    """RDD403: one future is over, where the journal has two results."""
    rule = CHAPTER / "first-completed"
    snippet = changed(
        tmp_path,
        "concurrency/first-completed/do",
        (
            "    _, first = await restate.select(road=road, rail=rail)\n",
            "    (offer,), _ = await restate.wait_completed(road, rail)\n    first = await offer\n",
        ),
    )
    outcome = instead(lab, rule, load(rule).prove, stimulus, snippet).outcome
    assert outcome == load(rule).promise


def test_the_first_that_succeeds(lab: Lab, tmp_path: Path) -> None:
    """RDD403: `restate.as_completed`, whose loop passes by what has failed."""
    snippet = changed(
        tmp_path,
        "concurrency/first-completed/do",
        (
            "    _, first = await restate.select(road=road, rail=rail)\n",
            "    async for offer in restate.as_completed(road, rail):\n"
            "        try:\n            first = await offer\n            break\n"
            "        except restate.TerminalError:\n            continue\n",
        ),
        (
            "    response = httpx.get(",
            '    if carrier == "rail":\n'
            '        raise restate.TerminalError("no train")\n    response = httpx.get(',
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /offers/road"] = {"carrier": "road"}
        road = in_proof.outside.hold("GET /offers/road", at_most=20.0)
        sending = asyncio.create_task(in_proof.call("Parcels/send"))
        await in_proof.until_row("select id from sys_journal where entry_json like '%no train%'")
        road.set()
        await sending

    trace = instead(lab, CHAPTER / "first-completed", prove, PLAIN, snippet).trace
    assert trace.calls[0].answer == "shipment-1 goes by road"


@pytest.mark.parametrize(("variant", "unmailed"), [("dont", 1), ("early", 0)])
def test_orders_without_a_confirmation_are_found(lab: Lab, variant: str, unmailed: int) -> None:
    """RDD409: not those whose task got through; and still after a first one is made up for."""
    found = []

    async def make_up_for(in_proof: LabInProof) -> None:
        found.append(len(await in_proof.query(queries("RDD409")[0])))
        await in_proof.deploy("do")
        await in_proof.call("Shop/confirm", "order-9", idempotency_key="order-9")
        found.append(len(await in_proof.query(queries("RDD409")[0])))

    rule = CHAPTER / "task-outlives-handler"
    proof = load(rule)
    proof = proof if variant == "dont" else proof.judging(proof.asides["early"])

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await make_up_for(in_proof)

    answers = dataclasses.replace(proof.promise, answers=["order-1", ""])
    instead(lab, rule, prove, snippet=proof.snippet(variant), promise=answers)
    assert found == [unmailed, unmailed]


@pytest.mark.parametrize(
    ("variant", "dropped", "target"),
    [("early", "purge-journal", "Shop/buy"), ("do", "purge", "Shop/confirm")],
)
def test_an_order_that_is_out_of_date_does_not_count_as_unconfirmed(
    lab: Lab, tmp_path: Path, variant: str, dropped: str, target: str
) -> None:
    """RDD409: the order's record may be kept for longer than its journal, or its message."""
    rule = CHAPTER / "task-outlives-handler"
    kept = "idempotency_retention=timedelta(days=7), journal_retention=timedelta(seconds=0.5)"
    snippet = changed(
        tmp_path,
        f"concurrency/task-outlives-handler/{variant}",
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ('Service("Shop")', f'Service("Shop", {kept})'),
    )
    proof = load(rule)
    proof = proof.judging(proof.asides["early"]) if variant == "early" else proof
    left = f"select id from sys_invocation where target = '{target}' and journal_size > 0"

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await in_proof.until_all_completed()
        assert await in_proof.operate(dropped, target) == 200
        await in_proof.until_no_row(left)
        await in_proof.until_no_row(queries("RDD409")[0])

    instead(lab, rule, prove, PLAIN, snippet, promise=proof.promise)


def test_order_is_read_from_the_journal(lab: Lab) -> None:
    """RDD409: of an order that the query has found."""
    text = catalogue.find("RDD409", catalogue.rules()).text
    (first_entry,) = re.findall(r"`(SELECT entry_json .*?)`", text)
    orders = []

    async def look(in_proof: LabInProof) -> None:
        (found,) = await in_proof.query(queries("RDD409")[0])
        (entry,) = await in_proof.query(first_entry.replace("inv_…", found["id"]))
        payload = json.loads(entry["entry_json"])["Command"]["Input"]["payload"]
        orders.append(bytes(payload).decode())

    afterwards(lab, CHAPTER / "task-outlives-handler", look)
    assert orders == ['"order-1"']


def test_an_order_waits_for_a_mail_that_it_does_not_await(lab: Lab) -> None:
    """RDD409: where the task that began before the step is the slower one."""
    rule = CHAPTER / "task-outlives-handler"

    async def book_first(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        buying = asyncio.create_task(in_proof.call("Shop/buy", "order-1"))
        await in_proof.until_effect("POST /emails")
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Run'"  # the booking
        )
        await in_proof.until_still(0.5)
        assert not buying.done()
        mailed.set()
        assert await buying == "order-1"

    instead(lab, rule, book_first, PLAIN, rule / "early.py")


OUTAGE = """\
    begun.append(due)
    if len(begun) == 1:
        raise OSError("an outage")
"""
PAUSE = """\
begun: list[float] = []
pause = restate.InvocationRetryPolicy(initial_interval=timedelta(seconds=1))
reminders = restate.Service("Reminders", invocation_retry_policy=pause)
"""


@pytest.mark.parametrize("snippet", ["concurrency/offset-by-hand/do", "recipes/reminders"])
def test_outage_between_the_clock_and_the_sleep(lab: Lab, tmp_path: Path, snippet: str) -> None:
    """RDD406: the reading that is journaled is old by then; the recipe reads the clock where it sleeps."""
    recipe = snippet.startswith("recipes")
    for name in ("race_with_timeout", "sleep_until") if recipe else ():
        changed(tmp_path, f"recipes/{name}")
    sleeps = "    await sleep_until(ctx, datetime.fromtimestamp(at, UTC))\n"
    reads = "    left = due - await ctx.time()\n"
    outage = OUTAGE.replace("due", "at") + sleeps if recipe else reads + OUTAGE
    service = ('reminders = restate.Service("Reminders")\n', PAUSE)
    copy = changed(tmp_path, snippet, service, (sleeps if recipe else reads, outage))
    late: list[float] = []

    async def prove(in_proof: LabInProof) -> None:
        due = time.time() + 1.5
        await in_proof.call("Reminders/remind", due)
        late.append(time.time() - due)

    trace = run(lab, copy, prove).trace
    [asked] = [each.value for each in trace.invocations[0].journal if each.type == "Command: Sleep"]
    assert isinstance(asked, str)
    if recipe:
        assert float(asked.removesuffix(" s")) <= 0.5
    else:
        assert float(asked.removesuffix(" s")) > 0.5
        assert late[0] >= 0.9


DECLINED = """    raise restate.TerminalError("declined", status_code=402)
"""
CAUGHT = """    try:
    {}        return [await charged, await shipped]
    except restate.TerminalError:
        await ctx.run_typed("tell", tell)
        raise
"""
AT_LAST = """    try:
    {}    finally:
        await ctx.run_typed("tell", tell)
    return [await charged, await shipped]
"""
TELL = """def tell() -> None:
    httpx.post(f"{API_URL}/tells")


@orders.handler()"""


@pytest.mark.parametrize("block", [CAUGHT, AT_LAST], ids=["except", "finally"])
def test_what_is_asked_for_while_a_step_is_at_work_is_no_journal_of_the_fixed_code(
    lab: Lab, tmp_path: Path, block: str
) -> None:
    """RDD401: `asyncio.gather` raised, and the worker was killed before the other step's result."""
    rule = "concurrency/gather-of-steps"
    for variant, gather in (("do", "restate"), ("dont", "asyncio")):
        waiting = f"    await {gather}.gather(charged, shipped)\n"
        changed(
            tmp_path,
            f"{rule}/{variant}",
            (f"{waiting}    return [await charged, await shipped]\n", block.format(waiting)),
            ("@orders.handler()", TELL),
            (
                '    response = httpx.post(f"{API_URL}/charges"',
                f'{DECLINED}    response = httpx.post(f"{{API_URL}}/charges"',
            ),
        )

    async def fulfil(in_proof: LabInProof) -> None:
        in_proof.outside.hold("POST /shipments", at_most=2.0)
        await in_proof.call("Orders/fulfil", "order-1")

    stimulus = dataclasses.replace(
        REPLAY_EVERY_AWAIT, workers=2, crash_on_effect="POST /tells", successor="do"
    )
    outcome = instead(lab, SNIPPETS / rule, fulfil, stimulus, tmp_path / "dont.py").outcome
    assert outcome == JournalMismatch(command=2, was="something else", now="Cancellation")


def test_a_step_past_the_abort_timeout_has_the_others_repeated(lab: Lab) -> None:
    """RDD401: by `restate.gather`, too."""
    rule = CHAPTER / "gather-of-steps"
    limits = {
        "RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "200ms",
        "RESTATE_WORKER__INVOKER__ABORT_TIMEOUT": "300ms",
    }

    async def fulfil(in_proof: LabInProof) -> None:
        in_proof.outside.hold("POST /shipments", at_most=1.2)
        await in_proof.call("Orders/fulfil", "order-1")

    trace = instead(lab, rule, fulfil, PLAIN, rule / "do.py", server=limits).trace
    assert trace.effect_counts()["POST /shipments"] > 1


def test_restate_gather_outlasts_the_inactivity_timeout(lab: Lab, tmp_path: Path) -> None:
    """RDD401: where the server streams; by `asyncio.gather` the same ships twice, as the page shows."""
    proof = load(CHAPTER / "gather-of-steps")
    gathers = ("await asyncio.gather", "await restate.gather")
    snippet = changed(tmp_path, "concurrency/gather-of-steps/inactive", gathers)
    slowly = proof.asides["inactive"].prove
    assert slowly
    assert instead(lab, proof.folder, slowly, PLAIN, snippet).outcome == proof.promise


@pytest.mark.parametrize(("variant", "times"), [("dont", 2), ("do", 1)])
def test_on_lambda_asyncios_gather_ships_again(
    lab: Lab, tmp_path: Path, variant: str, times: int
) -> None:
    """RDD401."""
    rule = "concurrency/gather-of-steps"
    proof = load(SNIPPETS / rule)
    snippet = changed(tmp_path, f"{rule}/{variant}", as_on_lambda("orders"))
    trace = instead(lab, SNIPPETS / rule, proof.prove, snippet=snippet).trace
    assert trace.effect_counts()["POST /shipments"] == times


def test_the_limit_of_a_step_is_heard_over_http_1_1_when_the_step_has_ended(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD404: the right branch, but late."""
    snippet = changed(
        tmp_path,
        "concurrency/wait-for/do",
        ("offer=offer", 'offer=ctx.run_typed("offer", offers, item=item)'),
        SLOW_OFFER,
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /offers/pot"] = "4 pots"
        in_proof.outside.hold("GET /offers/pot", at_most=1.5)
        assert await in_proof.call("Orders/buy", "pot") == "no offer"

    for stimulus, late in ((PLAIN, False), (REPLAY_EVERY_AWAIT, True)):
        trace = instead(lab, CHAPTER / "wait-for", prove, stimulus, snippet).trace
        journal = trace.invocations[0].journal
        mailed = next(each.index for each in journal if each.name == "mail")
        ended = [each.index for each in journal if each.type == "Notification: Run"]
        assert (len([index for index in ended if index < mailed]) == 2) == late


CALLED = (
    "\n\napp =",
    "\n\n@orders.handler()\nasync def wait(ctx: restate.Context) -> str:\n"
    "    _, never = ctx.awakeable(type_hint=str)\n    return await never\n\n\napp =",
)


@pytest.mark.parametrize(
    ("future", "fits"), [("offer", True), ("ctx.service_call(wait, None)", False)]
)
def test_limit_that_is_named_first_in_place(
    lab: Lab, tmp_path: Path, future: str, fits: bool
) -> None:
    """RDD404: the sleep comes before the call then; an awakeable is no command."""
    rule, race = CHAPTER / "wait-for", "offer=offer, limit=ctx.sleep(LIMIT)"
    for name, order in {"before": "{0}, {1}", "do": "{1}, {0}"}.items():
        written = order.format(f"offer={future}", "limit=ctx.sleep(LIMIT)")
        source = changed(tmp_path, "concurrency/wait-for/do", CALLED, (race, written))
        source.rename(tmp_path / f"{name}.py")

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/buy", "pot")

    swapped = dataclasses.replace(LATE_REPLAY, successor="do")
    result = instead(lab, rule, prove, swapped, tmp_path / "before.py")
    if fits:
        assert result.trace.calls[0].answer == "no offer"
    else:
        assert result.outcome == JournalMismatch(command=2, was="call", now="sleep")


def test_an_awakeable_that_is_rejected_is_raised_by_select(lab: Lab, tmp_path: Path) -> None:
    """RDD404."""
    app = "app = restate.app([orders])"
    refuses = """supplier = restate.Service("Supplier")


@supplier.handler()
async def refuse(ctx: restate.Context, id: str) -> None:
    ctx.reject_awakeable(id, "no pots")


app = restate.app([orders, supplier])"""
    snippet = changed(tmp_path, "concurrency/wait-for/do", (app, refuses))

    async def prove(in_proof: LabInProof) -> None:
        buying = asyncio.create_task(in_proof.call("Orders/buy", "pot"))
        await in_proof.until_effect("POST /requests")
        await in_proof.call("Supplier/refuse", in_proof.outside.ledger[0].body["reply_to"])
        await buying

    trace = instead(lab, CHAPTER / "wait-for", prove, PLAIN, snippet).trace
    assert trace.calls[0].answer["message"] == "no pots"
    assert trace.effect_counts() == {"POST /requests": 1}


def test_a_worker_that_streams_is_suspended_after_the_inactivity_timeout(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD404: its timer is gone as well."""
    longer = changed(tmp_path, "concurrency/wait-for/dont", ("seconds=0.3", "seconds=2"))

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/buy/send", "pot")
        await until_status(in_proof, "Orders/buy", "suspended")
        await in_proof.until_still(2.5)

    short = {"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "100ms"}
    trace = instead(lab, CHAPTER / "wait-for", prove, PLAIN, longer, server=short).trace
    assert trace.invocations[0].status == "suspended"
    assert trace.effect_counts() == {"POST /requests": 1}


def test_what_has_mailed_on_the_old_timer_fits_no_code(lab: Lab) -> None:
    """RDD404: nor is it in the page's list; it can be killed."""

    async def fix(in_proof: LabInProof) -> None:
        await until_status(in_proof, "Orders/buy", "paused")
        assert await in_proof.query(queries("RDD404")[0]) == []
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", "Orders/buy", deployment="latest") == 200
        await in_proof.until_effect("POST /emails")
        await until_status(in_proof, "Orders/buy", "paused")
        assert await in_proof.operate("kill", "Orders/buy") == 200

    trace = afterwards(lab, CHAPTER / "wait-for", fix, crash_after_step("mail")).trace
    assert {failure.code for failure in trace.failures()} >= {"RT0016"}


@pytest.mark.parametrize(("refused", "stimulus"), [(1, PLAIN), (0, crash_after_step("mail"))])
def test_each_replay_after_the_mail_on_the_old_timer_is_a_mismatch(
    lab: Lab, refused: int, stimulus: Stimulus
) -> None:
    """RDD404: though no offer has come; a mail that failed isn't sent. It fits the fixed code no better."""

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=refused)
        await in_proof.call("Orders/buy/send", "pot")
        await until_status(in_proof, "Orders/buy", "paused")
        assert await in_proof.query(queries("RDD404")[0]) == []
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", "Orders/buy", deployment="latest") == 200
        await in_proof.until_row(
            "select id from sys_journal_events where event_type = 'Paused' "
            "group by id having count(*) >= 2"
        )
        assert await in_proof.operate("kill", "Orders/buy") == 200

    trace = instead(lab, CHAPTER / "wait-for", prove, stimulus).trace
    assert {failure.code for failure in trace.failures()[1:]} == {"RT0016"}
    assert trace.effect_counts().get("POST /emails", 0) == 1 - refused


def test_what_backs_off_on_the_old_timer_hangs_later(lab: Lab, tmp_path: Path) -> None:
    """RDD404: its request failed, so it isn't listed before it has been made again."""
    listed, target = queries("RDD404")[0], "Orders/buy"
    retried = "invocation_retry_policy=restate.InvocationRetryPolicy("
    hour = f'("Orders", {retried}initial_interval=timedelta(hours=1)))'
    snippet = changed(tmp_path, "concurrency/wait-for/dont", ('("Orders")', hour))
    changed(tmp_path, "concurrency/wait-for/do")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /requests", times=1)
        await in_proof.call(f"{target}/send", "pot")
        await until_status(in_proof, target, "backing-off")
        await in_proof.deploy("do")
        assert await in_proof.query(listed) == []
        assert await in_proof.operate("resume", target) == 200
        await in_proof.until_row(listed)
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "wait-for", prove, REPLAY_EVERY_AWAIT, snippet).trace
    assert trace.invocations[0].result == "no offer"
    assert trace.effect_counts() == {"POST /requests": 1, "POST /emails": 1}


@pytest.mark.parametrize(
    "used", ['booked[0]["id"]', '"".join(booked)', "booked[0].upper()"], ids=["[]", "join", "upper"]
)
def test_futures_that_are_used_as_values_are_found(lab: Lab, tmp_path: Path, used: str) -> None:
    """RDD407: whatever Python says of it."""
    slug = "concurrency/gather-returns-futures"
    snippet = changed(tmp_path, f"{slug}/dont", ('"booked": booked}', f'"booked": {used}}}'))

    async def look(in_proof: LabInProof) -> None:
        flown = in_proof.outside.hold("POST /flights", at_most=20.0)
        await in_proof.call("Trips/plan/send", "ann")
        await in_proof.until_effect("POST /flights")
        assert await in_proof.query(queries("RDD407")[0]) == []
        flown.set()
        await until_status(in_proof, "Trips/plan", "paused")
        assert len(await in_proof.query(queries("RDD407")[0])) == 1

    instead(lab, SNIPPETS / slug, look, PLAIN, snippet)


def test_what_has_passed_a_failed_future_does_not_get_on_in_place(lab: Lab, tmp_path: Path) -> None:
    """RDD407: the fixed code ends where the journal has the charge."""
    rule, waiting = CHAPTER / "gather-returns-futures", "await restate.gather(flight, room)"
    unseen = (rule / "unseen.py").read_text()
    assert waiting in unseen
    seen = f"booked = {waiting}\n    [await each for each in booked]"
    (tmp_path / "dont.py").write_text(unseen)
    (tmp_path / "do.py").write_text(unseen.replace(waiting, seen))
    prove = load(rule).asides["unseen"].prove
    assert prove
    stimulus = dataclasses.replace(crash_after_step("charge"), successor="do")
    outcome = instead(lab, rule, prove, stimulus, tmp_path / "dont.py").outcome
    assert outcome == JournalMismatch(command=3, was="run", now="handler return")


def test_what_is_paused_past_a_failed_future_meets_a_mismatch_on_the_fix(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD407: the query lists it; resumed on the fix, it is paused again. Killed, it is over."""
    rule, waiting = CHAPTER / "gather-returns-futures", "await restate.gather(flight, room)"
    slug, target = "concurrency/gather-returns-futures", "Trips/plan"
    paid = ('"paid": paid}', '"paid": paid, "booked": booked}')
    snippet = changed(tmp_path, f"{slug}/unseen", (waiting, f"booked = {waiting}"), paid)
    seen = snippet.read_text().replace(waiting, f"[(await e, e)[1] for e in {waiting}]")
    (tmp_path / "fixed.py").write_text(seen)
    sold_out = load(rule).asides["unseen"].prove
    assert sold_out

    async def plan(in_proof: LabInProof) -> None:
        await sold_out(in_proof)
        await until_status(in_proof, target, "paused")
        assert [row["target"] for row in await in_proof.query(queries("RDD407")[0])] == [target]
        await in_proof.deploy("fixed")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_row(
            "select id from sys_journal_events where event_type = 'Paused' "
            "and event_json like '%\"RT0016\"%'"
        )
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("kill", target) == 200
        await in_proof.until_all_completed()

    trace = instead(lab, rule, plan, PLAIN, snippet).trace
    assert trace.effect_counts()["POST /charges"] == 1


@pytest.mark.parametrize(
    "given", ['ctx.service_send(note, f"{booked[0]}")', 'ctx.set("note", f"{booked[0]}")']
)
def test_the_text_of_a_future_in_a_command_is_another_at_each_replay(
    lab: Lab, tmp_path: Path, given: str
) -> None:
    """RDD407: the query lists such an invocation, and the fix doesn't get it on; killed, it is over."""
    slug, keyed = "concurrency/gather-returns-futures", "ctx.set" in given
    objects = (("restate.Service(", "restate.VirtualObject("), (": restate.C", ": restate.ObjectC"))
    snippet = changed(
        tmp_path,
        f"{slug}/dont",
        *(objects if keyed else ()),
        (
            '    return {"customer": customer, "booked": booked}',
            f"    {given}\n"
            '    await ctx.run_typed("mark", "marked".upper)\n'
            '    return {"customer": customer}',
        ),
        (
            "app = ",
            'notes = restate.Service("Notes")\n\n\n'
            "@notes.handler()\nasync def note(ctx: restate.Context, text: str) -> None:\n    pass"
            "\n\n\napp = ",
        ),
        ("[trips]", "[trips, notes]"),
    )
    fixed = snippet.read_text().replace("{booked[0]}", "{await booked[0]}")
    (tmp_path / "fixed.py").write_text(fixed)
    target = f"Trips{'/t-1' * keyed}/plan"
    (query, *_) = queries("RDD407")
    at: list[object] = []

    async def plan(in_proof: LabInProof) -> None:
        await in_proof.call(target, "ann")
        await until_status(in_proof, target, "paused")
        assert [row["target"] for row in await in_proof.query(query)] == [target]
        await in_proof.deploy("fixed")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_row(
            "select id from sys_journal_events where event_type = 'Paused' "
            "and event_json like '%RT0016%' group by id having count(*) = 2"
        )
        await until_status(in_proof, target, "paused")
        rows = "select pinned_deployment_id as at from sys_invocation"
        (row,) = await in_proof.query(f"{rows} where target = '{target}'")
        at.extend((row["at"], await deployment(in_proof, "Trips")))
        assert await in_proof.operate("kill", target) == 200
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / slug, plan, crash_after_step("mark"), snippet).trace
    assert at[0] == at[1]
    (planned,) = (each for each in trace.invocations if each.target == target)
    mismatches = [each.message for each in planned.failures if each.code == "RT0016"]
    assert len(mismatches) > 2
    assert "Future object at" in mismatches[0]


def test_a_future_is_true(lab: Lab, tmp_path: Path) -> None:
    """RDD407: also one whose result isn't."""
    slug = "concurrency/gather-returns-futures"
    snippet = changed(
        tmp_path,
        f"{slug}/dont",
        ('return str(response.raise_for_status().json()["id"])', 'return ""'),
        ('"booked": booked}', '"booked": [bool(booked[0]), bool(await booked[0])]}'),
    )

    async def plan(in_proof: LabInProof) -> None:
        assert (await in_proof.call("Trips/plan", "ann"))["booked"] == [True, False]

    instead(lab, SNIPPETS / slug, plan, PLAIN, snippet)


def test_wait_completed_gives_two_lists(lab: Lab, tmp_path: Path) -> None:
    """RDD407: those that are over, and those that aren't."""
    slug = "concurrency/gather-returns-futures"
    snippet = changed(
        tmp_path,
        f"{slug}/dont",
        ("restate.gather(flight, room)", "restate.wait_completed(flight, room)"),
        ('"booked": booked}', '"booked": [len(each) for each in booked]}'),
    )

    async def plan(in_proof: LabInProof) -> None:
        in_proof.outside.hold("POST /flights", at_most=1.5)
        assert (await in_proof.call("Trips/plan", "ann"))["booked"] == [1, 1]

    instead(lab, SNIPPETS / slug, plan, PLAIN, snippet)


def test_a_message_goes_on_where_the_retry_policy_kills_its_sender(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD409."""
    answer = "    return number\n"
    kills = 'restate.InvocationRetryPolicy(max_attempts=1, on_max_attempts="kill")'
    snippet = changed(
        tmp_path,
        "concurrency/task-outlives-handler/do",
        (answer, '    raise ValueError("a bug")\n'),
        ('Service("Shop")', f'Service("Shop", invocation_retry_policy={kills})'),
    )

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Shop/buy", "order-1")
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "task-outlives-handler", prove, PLAIN, snippet).trace
    assert trace.calls[0].status == 500
    assert trace.effect_counts()["POST /emails"] == 1


@pytest.mark.parametrize("mailed", [False, True])
def test_an_order_is_answered_without_the_mail_that_failed(lab: Lab, mailed: bool) -> None:
    """RDD409: the page's second query finds it, and the first one doesn't."""
    rule = CHAPTER / "task-outlives-handler"

    async def buy(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=0 if mailed else 9)
        sent = in_proof.outside.hold("POST /emails", at_most=20.0)
        buying = asyncio.create_task(in_proof.call("Shop/buy", "order-1"))
        await in_proof.until_effect("POST /emails")
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Run'"
        )
        sent.set()
        assert await buying == "order-1"
        found = [len(await in_proof.query(sql)) for sql in queries("RDD409")]
        assert found == [0, 0 if mailed else 1]

    instead(lab, rule, buy, PLAIN, rule / "early.py")


def test_an_order_whose_mail_has_failed_for_good_is_found(lab: Lab, tmp_path: Path) -> None:
    """RDD409: by the page's second query; nobody has heard of that error."""
    slug = "concurrency/task-outlives-handler"
    limited = ('"mail", mail,', '"mail", mail, restate.RunOptions(max_attempts=1),')
    snippet = changed(tmp_path, f"{slug}/early", limited)

    async def buy(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=1)
        booked = in_proof.outside.hold("POST /orders", at_most=20.0)
        buying = asyncio.create_task(in_proof.call("Shop/buy", "order-1"))
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Run'"  # the mail's failure
        )
        booked.set()
        assert await buying == "order-1"
        found = [len(await in_proof.query(sql)) for sql in queries("RDD409")]
        assert found == [0, 1]

    trace = instead(lab, SNIPPETS / slug, buy, PLAIN, snippet).trace
    assert not trace.failures()


def test_an_order_whose_task_has_mailed_meets_a_mismatch_on_the_fixed_code(lab: Lab) -> None:
    """RDD409: it ends on the old code only."""
    rule = CHAPTER / "task-outlives-handler"
    fixed = dataclasses.replace(crash_after_step("mail"), successor="do")

    async def buy(in_proof: LabInProof) -> None:
        in_proof.outside.hold("POST /orders", at_most=1.0)
        await in_proof.call("Shop/buy", "order-1")

    trace = instead(lab, rule, buy, fixed, rule / "early.py").trace
    assert "RT0016" in {failure.code for failure in trace.failures()}


@pytest.mark.parametrize("chain", ["of the object", "of a service"])
def test_a_chain_does_not_get_the_key_that_its_caller_holds(
    lab: Lab, tmp_path: Path, chain: str
) -> None:
    """RDD402: in the same object, an exclusive handler waits for ever."""
    slug = "gather-of-coroutines"
    gate = "@desk.handler()\nasync def check_in_all(ctx: restate.Context"
    own = [
        (
            "@desk.handler()\nasync def check_in(ctx: restate.Context",
            "@gate.handler()\nasync def check_in(ctx: restate.ObjectContext",
        ),
        ("ctx.service_call(check_in, name)", "ctx.object_call(check_in, ctx.key(), name)"),
    ]
    snippet = changed(
        tmp_path,
        f"concurrency/{slug}/do",
        (
            'restate.Service("Desk")\n',
            'restate.Service("Desk")\ngate = restate.VirtualObject("Gate")\n',
        ),
        (gate, gate.replace("desk", "gate").replace("Context", "ObjectContext")),
        ("app([desk])", "app([gate])" if chain == "of the object" else "app([desk, gate])"),
        *(own if chain == "of the object" else []),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers |= {
            "GET /bookings/ann": {"booking": "ann-1"},
            "POST /seats/ann": {"seat": "2A"},
        }
        checking_in = asyncio.create_task(in_proof.call("Gate/7/check_in_all", ["ann"]))
        if chain == "of the object":
            await until_status(in_proof, "Gate/7/check_in", "pending")
            await in_proof.until_still(0.5)
            await until_status(in_proof, "Gate/7/check_in", "pending")
            assert not in_proof.outside.ledger
            assert await in_proof.operate("kill", "Gate/7/check_in_all") == 200
        answer = await checking_in
        assert (answer == {"ann": "2A"}) == (chain == "of a service")

    instead(lab, CHAPTER / slug, prove, PLAIN, snippet)


def test_a_new_deployment_does_not_keep_the_old_code_from_a_mix_up(lab: Lab) -> None:
    """RDD402: what is left there replays there."""
    rule = CHAPTER / "gather-of-coroutines"
    proof = load(rule)

    async def prove(in_proof: LabInProof) -> None:
        seat = in_proof.outside.hold("POST /seats/bob", at_most=20.0)
        checking_in = asyncio.create_task(proof.prove(in_proof))
        await in_proof.until_effect("POST /seats/bob")
        await in_proof.deploy("do")
        seat.set()
        await checking_in

    assert instead(lab, rule, prove).outcome == proof.symptom


def test_rounds_in_place_mix_up_without_an_error(lab: Lab) -> None:
    """RDD402: their steps have the names of the don't's."""
    rule = CHAPTER / "gather-of-coroutines"
    proof = load(rule)
    rounds = dataclasses.replace(LATE_REPLAY, successor="rounds")
    result = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), rounds))
    assert result.outcome == proof.symptom
    assert result.trace.invocations[0].attempts[-1].file == "rounds.py"


def test_coroutines_within_one_step_are_gathered(lab: Lab, tmp_path: Path) -> None:
    """RDD402: Bob's is done first, and the replay takes the step from the journal."""
    rule = CHAPTER / "gather-of-coroutines"
    calls = """\
    legs = [ctx.service_call(check_in, name) for name in names]
    await restate.gather(*legs)
    seats = [await leg for leg in legs]
"""
    step = """\
    async def leg(name: str) -> str:
        booking = await asyncio.to_thread(find_booking, name)
        return await asyncio.to_thread(give_seat, name, booking)

    async def gather() -> list[str]:
        return await asyncio.gather(*(leg(name) for name in names))

    seats = await ctx.run_typed("give seats", gather)
"""
    snippet = changed(
        tmp_path,
        "concurrency/gather-of-coroutines/do",
        ("import os\n", "import asyncio\nimport os\n"),
        (calls, step),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers |= DESK
        found = in_proof.outside.hold("GET /bookings/ann", at_most=20.0)
        checking_in = asyncio.create_task(in_proof.call("Desk/check_in_all", ["ann", "bob"]))
        await in_proof.until_effect("POST /seats/bob")
        found.set()
        await checking_in

    result = instead(lab, rule, prove, LATE_REPLAY, snippet)
    assert result.outcome.kind == "holds", result.outcome
    assert len(result.trace.invocations[0].attempts) == 2


def test_a_mix_up_that_was_noticed_gets_through_on_neither_code(lab: Lab) -> None:
    """RDD402: both meet RT0016; it is killed, and its key gives that failure."""
    rule = CHAPTER / "gather-of-coroutines"
    target = "Desk/check_in_all"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers |= DESK
        in_proof.outside.in_order("GET /bookings/ann", "GET /bookings/bob")
        found = in_proof.outside.hold("GET /bookings/ann", at_most=20.0)
        calling = in_proof.call(target, ["ann", "bob"], idempotency_key="first")
        checking_in = asyncio.create_task(calling)
        await in_proof.until_result("Run seat bob")
        found.set()
        await until_paused(in_proof, 1)
        assert await in_proof.operate("resume", target) == 200
        await until_paused(in_proof, 2)
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await until_paused(in_proof, 3)
        assert await in_proof.operate("kill", target) == 200
        await checking_in
        again = await in_proof.call(target, ["ann", "bob"], idempotency_key="first")
        assert (again["code"], again["message"]) == (409, "killed")
        assert await in_proof.call(target, ["ann"], idempotency_key="second") == {"ann": "2A"}

    async def until_paused(in_proof: LabInProof, times: int) -> None:
        await in_proof.until_row(
            "select count(*) as times from sys_journal_events "
            f"where event_type = 'Paused' having count(*) = {times}"
        )

    trace = instead(lab, rule, prove, LATE_REPLAY, rule / "named.py").trace
    told = [failure.message for failure in trace.failures() if failure.event == "Paused"]
    assert ["seat bob != seat ann" in message for message in told] == [True, True, False]
    assert "attempts to perform the following: 'call'" in told[2]
    assert trace.effect_counts() == {"POST /seats/ann": 2, "POST /seats/bob": 1}


def test_who_has_a_seat_is_not_in_the_journal_of_a_mix_up_that_was_noticed(lab: Lab) -> None:
    """RDD402: the worker dies when the other system has seated Ann; called again, she is seated twice."""
    rule, target = CHAPTER / "gather-of-coroutines", "Desk/check_in_all"
    seats = "select name from sys_journal where entry_type = 'Command: Run' and name like 'seat%'"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers |= DESK
        in_proof.outside.in_order("GET /bookings/ann", "GET /bookings/bob")
        found = in_proof.outside.hold("GET /bookings/ann", at_most=20.0)
        checking_in = asyncio.create_task(in_proof.call(target, ["ann", "bob"]))
        await in_proof.until_result("Run seat bob")
        found.set()
        await until_status(in_proof, target, "paused")
        results = "select count(*) as n from sys_journal where entry_type = 'Notification: Run'"
        assert await in_proof.query(results) == [{"n": 3}]
        assert {row["name"] for row in await in_proof.query(seats)} == {"seat ann", "seat bob"}
        assert await in_proof.operate("kill", target) == 200
        await checking_in
        await in_proof.call(target, ["ann"])

    stimulus = crash_after_effect("POST /seats/ann")
    trace = instead(lab, rule, prove, stimulus, rule / "named.py").trace
    assert "RT0016" in {failure.code for failure in trace.failures()}
    assert trace.effect_counts() == {"POST /seats/ann": 2, "POST /seats/bob": 1}


def test_failure_after_the_fix_wakes_a_trip_on_the_old_code(lab: Lab) -> None:
    """RDD411: where it goes on waiting for both parts, as it did."""
    flight, target = "POST /flights", "Trips/plan"

    async def prove(in_proof: LabInProof) -> None:
        asked = in_proof.outside.hold(flight, at_most=20.0)
        in_proof.outside.fail(flight, times=1, status=409)
        planning = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_effect(flight)
        await in_proof.until_result("Run ask")
        await until_status(in_proof, target, "suspended")
        await in_proof.deploy("do")
        asked.set()
        await until_status(in_proof, "Trips/fly", "completed")
        await in_proof.until_still(0.5)
        (row,) = await in_proof.query(
            f"select status from sys_invocation where target = '{target}'"
        )
        assert row["status"] == "suspended"
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await planning
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "fan-out-ignores-failure", prove, REPLAY_EVERY_AWAIT).trace
    assert [each.file for each in trace.invocations[0].attempts] == ["", "", "do.py"]


REPLACED = dataclasses.replace(
    REPLAY_EVERY_AWAIT, workers=2, successor="do", crash_on_effect="POST /replaced"
)
"""The fix takes the worker's place when the test says so: see `replace_worker`."""


async def replace_worker(in_proof: LabInProof) -> None:
    """Ends the worker, by a request to the outside, for the next one to take its place."""
    async with httpx.AsyncClient() as operator:
        await operator.post(f"{in_proof.outside.url}/replaced")


@pytest.mark.parametrize("fails", ["before", "after"])
def test_failure_before_the_fix_in_place_does_not_wake_a_suspended_trip(
    lab: Lab, fails: str
) -> None:
    """RDD411: one after it does, and the trip cancels its other part."""
    flight, target = "POST /flights", "Trips/plan"

    async def prove(in_proof: LabInProof) -> None:
        asked = in_proof.outside.hold(flight, at_most=20.0)
        in_proof.outside.fail(flight, times=2, status=409)
        planning = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_effect(flight)
        await in_proof.until_result("Run ask")
        await until_status(in_proof, target, "suspended")
        if fails == "before":
            asked.set()
            await until_status(in_proof, "Trips/fly", "completed")
            await in_proof.until_still(0.5)
        await replace_worker(in_proof)
        if fails == "before":
            await in_proof.until_still(0.5)
            await until_status(in_proof, target, "suspended")
            assert await in_proof.operate("resume", target, deployment="latest") == 200
        else:
            await in_proof.until_effect(flight, times=2)
            asked.set()
        assert (await planning)["message"] == "sold out"
        await in_proof.until_all_completed()
        cancelled = "select target from sys_invocation where completion_failure = '[409] cancelled'"
        assert await in_proof.query(cancelled) == [{"target": "Trips/stay"}]

    instead(lab, CHAPTER / "fan-out-ignores-failure", prove, REPLACED)


def test_trip_that_runs_on_the_old_code_is_paused_and_resumed_on_the_fix(lab: Lab) -> None:
    """RDD411: at a new URL; it knows of the failure, and waits."""
    flight, target = "POST /flights", "Trips/plan"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail(flight, times=1, status=409)
        planning = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_result("Run ask")
        await until_status(in_proof, "Trips/fly", "completed")
        await in_proof.deploy("do")
        await in_proof.until_still(0.3)
        (found,) = await in_proof.query(queries("RDD411")[0])
        assert found["status"] == "running"
        assert await in_proof.operate("resume", target, deployment="latest") == 409
        assert await in_proof.operate("pause", target) in (200, 202)
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await planning
        await in_proof.until_all_completed()
        ends = await in_proof.query("select target, completion_failure as end from sys_invocation")
        assert {row["target"]: row["end"] for row in ends} == {
            target: "[409] sold out",
            "Trips/fly": "[409] sold out",
            "Trips/stay": "[409] cancelled",
        }

    instead(lab, CHAPTER / "fan-out-ignores-failure", prove, PLAIN)


def test_trip_that_is_cancelled_cancels_each_part_once(lab: Lab, tmp_path: Path) -> None:
    """RDD411: a second cancel would break off what a part does to undo its work."""
    begun, target = "POST /undone", "Trips/plan"
    book = '    return await ctx.run_typed("book", post, path="rooms", body={"room": await free})\n'
    undo = """    try:
        return await free
    except restate.TerminalError:
        await ctx.run_typed("undo", post, path="undone", body={})
        await ctx.run_typed("tell", post, path="told", body={})
        raise
"""
    snippet = changed(tmp_path, "concurrency/fan-out-ignores-failure/do", (book, undo))

    async def prove(in_proof: LabInProof) -> None:
        undone = in_proof.outside.hold(begun, at_most=20.0)
        planning = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_result("Run ask")
        assert await in_proof.operate("cancel", target) == 202
        await in_proof.until_effect(begun)
        await planning
        await in_proof.until_still(0.3)
        undone.set()
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "fan-out-ignores-failure", prove, PLAIN, snippet).trace
    assert trace.effect_counts()["POST /told"] == 1


@pytest.mark.parametrize(("variant", "parts"), [("dont", ["Trips/stay"]), ("do", [])])
def test_part_that_succeeded_for_a_trip_that_failed_is_found(
    lab: Lab, variant: str, parts: list[str]
) -> None:
    """RDD411: the room, and not the flight that was sold out."""
    found: list[object] = []

    async def look(in_proof: LabInProof) -> None:
        found.extend(row["target"] for row in await in_proof.query(queries("RDD411")[1]))

    afterwards(lab, CHAPTER / "fan-out-ignores-failure", look, variant=variant)
    assert found == parts


def test_room_that_is_being_booked_at_the_cancel_stays_and_is_not_found(lab: Lab) -> None:
    """RDD411: its part has failed then; the second query lists what succeeded."""
    flight, room, rule = "POST /flights", "POST /rooms", CHAPTER / "fan-out-ignores-failure"

    async def plan(in_proof: LabInProof) -> None:
        flown, booked = (in_proof.outside.hold(each, at_most=20.0) for each in (flight, room))
        in_proof.outside.fail(flight, times=1, status=409)
        planning = asyncio.create_task(in_proof.call("Trips/plan", "ann"))
        await in_proof.until_effect(flight)
        await in_proof.until_result("Run ask")
        (asked,) = (each.body for each in in_proof.outside.ledger if "requests" in each.effect)
        await in_proof.resolve_awakeable(asked["reply_to"], "12")
        await in_proof.until_effect(room)
        flown.set()
        assert (await planning)["message"] == "sold out"
        await in_proof.until_all_completed()
        booked.set()
        assert not await in_proof.query(queries("RDD411")[1])

    trace = instead(lab, rule, plan, PLAIN, rule / "do.py").trace
    assert trace.effect_counts() == {"POST /requests": 1, room: 1}


def test_a_loser_whose_caller_has_left_the_tables_is_found(lab: Lab) -> None:
    """RDD408: a day after its end, unless set otherwise; here it is purged. A call at work is not listed."""
    (query,) = queries("RDD408")
    found: list[list[object]] = []

    async def prove(in_proof: LabInProof) -> None:
        async def ask() -> None:
            found.append([row["target"] for row in await in_proof.query(query)])

        call = asyncio.create_task(in_proof.call("Travel/home"))
        await in_proof.until_effect("POST /offers/red")
        await in_proof.until_effect("POST /offers/blue")
        asked = {each.effect: each.body["reply_to"] for each in in_proof.outside.ledger}
        await ask()
        await in_proof.deploy("do")  # the caller stays in the race on the old code
        await in_proof.resolve_awakeable(asked["POST /offers/red"], "ann")
        await call
        await until_status(in_proof, "Travel/home", "completed")
        await ask()
        assert await in_proof.operate("purge", "Travel/home") == 200
        await in_proof.until_no_row("select id from sys_invocation where target = 'Travel/home'")
        await ask()
        await in_proof.resolve_awakeable(asked["POST /offers/blue"], "bob")
        await in_proof.until_all_completed()

    instead(lab, CHAPTER / "loser-keeps-running", prove, PLAIN)
    assert found == [[], ["Travel/taxi"], ["Travel/taxi"]]


def test_a_cancel_of_a_call_that_is_shared_ends_it_for_its_other_caller(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD408: both have called it with the same idempotency key."""
    snippet = changed(
        tmp_path,
        "concurrency/loser-keeps-running/do",
        ('ctx.service_call(taxi, "blue")', 'ctx.service_call(taxi, "blue", idempotency_key="b-1")'),
    )
    results = "select count(*) from sys_journal where entry_type = 'Notification: CallInvocationId'"

    async def prove(in_proof: LabInProof) -> None:
        one = asyncio.create_task(in_proof.call("Travel/home"))
        await in_proof.until_effect("POST /offers/red")
        await in_proof.until_effect("POST /offers/blue")
        two = asyncio.create_task(in_proof.call("Travel/home"))
        await in_proof.until_effect("POST /offers/red", times=2)
        await in_proof.until_row(f"{results} having count(*) = 4")
        reds = [e.body["reply_to"] for e in in_proof.outside.ledger if e.effect.endswith("red")]
        await in_proof.resolve_awakeable(reds[0], "ann")
        assert await one == "red: ride-1"
        assert (await two)["message"] == "cancelled"
        await in_proof.resolve_awakeable(reds[1], "cid")
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "loser-keeps-running", prove, PLAIN, snippet).trace
    assert trace.effect_counts()["POST /offers/blue"] == 1


@pytest.mark.parametrize("stimulus", [PLAIN, REPLAY_EVERY_AWAIT], ids=["running", "suspended"])
def test_what_sleeps_on_the_old_code_is_found_and_moved(lab: Lab, stimulus: Stimulus) -> None:
    """RDD406: by the query, which finds neither what mailed at once, nor what sleeps on the fixed code.

    Another attempt on the old code does no harm before the deadline.
    """
    target = "Reminders/remind"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=9)
        await in_proof.call(target, time.time() - 60)
        await until_status(in_proof, target, "paused")
        in_proof.outside.fail("POST /emails", times=0)
        due = time.time() + 6
        await in_proof.call(f"{target}/send", due)
        status = "running" if stimulus is PLAIN else "suspended"
        sleeping = "select id from sys_journal where entry_type = 'Command: Sleep'"
        await in_proof.until_row(sleeping)
        await until_status(in_proof, target, status)
        await in_proof.deploy("clamped")
        always_sleeps = await deployment(in_proof, "Reminders")
        await in_proof.deploy("do")
        await in_proof.call(f"{target}/send", due)
        await in_proof.until_row("select id from sys_journal where name = 'timestamp'")
        (found,) = await in_proof.query(queries("RDD406")[0])
        assert found["status"] == status
        invocation = f"/invocations/{found['id']}"
        running, paused = (
            f"select id from sys_invocation where id = '{found['id']}' and status = '{each}'"
            for each in ("running", "paused")
        )
        if status == "running":
            await in_proof.admin("PATCH", f"{invocation}/pause")
            await in_proof.until_row(paused)
            await in_proof.admin("PATCH", f"{invocation}/resume")
            await in_proof.until_row(running)
            with pytest.raises(httpx.HTTPStatusError, match="409"):
                await in_proof.admin("PATCH", f"{invocation}/resume?deployment={always_sleeps}")
            await in_proof.admin("PATCH", f"{invocation}/pause")
            await in_proof.until_row(paused)
        assert time.time() < due, "it has not been moved before the sleep is over"
        await in_proof.admin("PATCH", f"{invocation}/resume?deployment={always_sleeps}")
        completed = "select id from sys_invocation where status = 'completed'"
        await in_proof.until_row(f"{completed} and id = '{found['id']}'")
        await in_proof.until_effect("POST /emails", times=5)

    trace = instead(lab, CHAPTER / "offset-by-hand", prove, stimulus).trace
    assert "RT0016" not in {failure.code for failure in trace.failures()}
    ends = [[attempt.ends for attempt in each.attempts] for each in trace.invocations]
    assert stimulus is not PLAIN or ["suspended", "suspended", "output"] in ends


def test_failed_try_of_one_step_repeats_the_one_beside_it(lab: Lab) -> None:
    """RDD410: the second agency is asked again while its first answer is still to come."""
    income, debts = "GET /income/ann", "GET /debts/ann"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers.update({income: 5000, debts: 2000})
        in_proof.outside.in_order(income, debts)
        in_proof.outside.fail(income, times=1)
        answered = in_proof.outside.hold(debts, at_most=20.0)
        rating = asyncio.create_task(in_proof.call("Loans/rate", "ann"))
        await in_proof.until_effect(debts, times=2)
        answered.set()
        assert await rating == 3000

    rule = CHAPTER / "one-after-another"
    trace = instead(lab, rule, prove, PLAIN, rule / "do.py").trace
    assert [effect.attempt for effect in trace.effects if effect.effect == debts] == [1, 2]


def test_restart_for_the_fix_repeats_the_question_that_it_cuts_off(lab: Lab) -> None:
    """RDD410: the first agency has it twice, the second one, which the fixed code asks, once."""
    income, debts = "GET /income/ann", "GET /debts/ann"
    trace = in_place(lab, CHAPTER / "one-after-another", crash_after_effect(income)).trace
    assert sorted(effect.effect for effect in trace.effects) == [debts, income, income]
    assert not any(failure.code == "RT0016" for failure in trace.failures())


@pytest.mark.parametrize(("limit", "answered"), [(2, False), (3, True)])
def test_failed_try_of_one_step_counts_for_the_one_beside_it(
    lab: Lab, tmp_path: Path, limit: int, answered: bool
) -> None:
    """RDD410: the second agency refuses once, after a try of the first has failed."""
    income, debts = "GET /income/ann", "GET /debts/ann"
    rule = CHAPTER / "one-after-another"
    snippet = changed(
        tmp_path,
        "concurrency/one-after-another/do",
        ('"ask debts", ask,', f'"ask debts", ask, restate.RunOptions[int](max_attempts={limit}),'),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers.update({income: 5000, debts: 2000})
        in_proof.outside.fail(income, times=1)
        in_proof.outside.fail(debts, times=1, after=1)
        refused, first = (in_proof.outside.hold(each, at_most=20.0) for each in (income, debts))
        rating = asyncio.create_task(in_proof.call("Loans/rate", "ann"))
        await in_proof.until_effect(debts)
        refused.set()
        await in_proof.until_effect(debts, times=2)
        first.set()
        assert (await rating == 3000) == answered

    trace = instead(lab, rule, prove, PLAIN, snippet).trace
    assert [each.failed for each in trace.effects if each.effect == debts][:2] == [False, True]


def test_step_that_came_between_the_two_comes_after_both_in_place(lab: Lab, tmp_path: Path) -> None:
    """RDD410: the journal has it where the fixed code asks the second agency."""
    rule = CHAPTER / "one-after-another"
    handler = "@loans.handler()"
    note = (handler, f"def note(income: int) -> None:\n    print(income)\n\n\n{handler}")
    between = '    await ctx.run_typed("note", note, income={})\n'
    wait, debts = "    await restate.gather(income, debts)\n", "    debts = await"
    dont, _ = (
        changed(tmp_path, f"concurrency/one-after-another/{variant}", note, change)
        for variant, change in (
            ("dont", (debts, between.format("income") + debts)),
            ("do", (wait, wait + between.format("await income"))),
        )
    )
    in_place = dataclasses.replace(crash_after_step("note"), successor="do")

    async def rate(in_proof: LabInProof) -> None:
        in_proof.outside.answers.update({"GET /income/ann": 5000, "GET /debts/ann": 2000})
        await in_proof.call("Loans/rate", "ann")

    result = instead(lab, rule, rate, in_place, dont)
    assert isinstance(result.outcome, JournalMismatch)
    assert (result.outcome.was, result.outcome.now) == ("name note", "name ask debts")


def test_only_the_sleeper_is_found_to_be_paused(lab: Lab, tmp_path: Path) -> None:
    """RDD405: another handler was given up too, in a long step; Bob's error only speaks of it."""
    served, slept = "app = restate.app", "    await asyncio.sleep("
    refusing = """    if customer == "bob":
        raise ValueError('see "RT0001"')
"""
    working = f"""@trials.handler()
async def work(ctx: restate.Context) -> None:
    async def step() -> None:
        await asyncio.sleep(TRIAL.total_seconds())

    await ctx.run_typed("step", step)


{served}"""
    changes = (slept, f"{refusing}{slept}"), (served, working)
    snippet = changed(tmp_path, "concurrency/sleep-not-durable/dont", *changes)
    paused = "select id from sys_invocation where status = 'paused'"
    found: list[list[object]] = []

    async def look(in_proof: LabInProof) -> None:
        for handler, body in (("start", "bob"), ("work", None), ("start", "ann")):
            others = [row["id"] for row in await in_proof.query(paused)]
            await in_proof.call(f"Trials/{handler}/send", body)
            await in_proof.until_row(f"{paused} limit 1 offset {len(others)}")
            found.append([row["id"] for row in await in_proof.query(queries("RDD405")[0])])
        (ann,) = (row["id"] for row in await in_proof.query(paused) if row["id"] not in others)
        assert found == [[], [], [ann]]

    trace = instead(lab, CHAPTER / "sleep-not-durable", look, REPLAY_EVERY_AWAIT, snippet).trace
    codes = [{failure.code for failure in each.failures} for each in trace.invocations]
    assert codes == [{"RT0007"}, {"RT0001"}, {"RT0001"}]


def test_what_has_come_past_a_short_sleep_ends_on_a_fix_that_keeps_it(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD405: it is asleep in a long one then; the old worker only charges it again, and is given up."""
    slug, target, mail = "concurrency/sleep-not-durable", "Trials/start", "POST /emails"
    mailing = """    await asyncio.sleep(0.05)
    await ctx.run_typed("mail", mail)
"""
    changes = (
        ("import restate\n", "import httpx\nimport restate\n"),
        (
            "@trials",
            """def mail() -> None:
    httpx.post(os.environ["API_URL"] + "/emails")


@trials""",
        ),
    )
    slept, sleeps = "    await asyncio.sleep(TRIAL", "    await ctx.sleep(TRIAL"
    dont = changed(tmp_path, f"{slug}/dont", *changes, (slept, f"{mailing}{slept}"))
    do = changed(tmp_path, f"{slug}/do", *changes, (sleeps, f"{mailing}{sleeps}"))
    do.write_text(do.read_text().replace("import os\n", "import asyncio\nimport os\n"))
    given_up = "select id from sys_journal_events where event_type = 'Paused' group by id having count(*) ="

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.call(target, "ann")
        await in_proof.until_row(f"{given_up} 1")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_row(f"{given_up} 2")
        assert len(await in_proof.query(queries("RDD405")[0])) == 1
        await resume_on(in_proof, target)

    trace = instead(lab, CHAPTER / "sleep-not-durable", fix, PLAIN, dont).trace
    assert trace.invocations[0].result == "ann is charged"
    assert trace.effect_counts() == {mail: 1}
    assert len(trace.rows["charges"]) > 3 + 1
    assert {failure.code for failure in trace.failures()} == {"RT0001"}


def test_what_was_given_up_is_paused_once_its_worker_is_stopped(lab: Lab, tmp_path: Path) -> None:
    """RDD405: it is found then, and goes on when it is resumed on the fix, and not before."""
    slug, target, charged = "concurrency/sleep-not-durable", "Trials/start", "POST /charges"
    charging = "def charge(customer: str) -> None:\n"
    posting = (
        ("import restate\n", "import httpx\nimport restate\n"),
        (charging, f'{charging}    httpx.post(os.environ["API_URL"] + "/charges")\n'),
    )
    changed(tmp_path, f"{slug}/do", *posting, ("timedelta(seconds=1.5)", "timedelta(seconds=0.1)"))
    limits = "    inactivity_timeout=timedelta(seconds=0.5),\n    abort_timeout=timedelta(seconds=0.5),\n"
    patient = "    invocation_retry_policy=restate.InvocationRetryPolicy(timedelta(minutes=1)),\n"
    shorter = (limits, limits.replace("0.5", "0.1") + patient)
    trial = ("timedelta(seconds=1.5)", "timedelta(seconds=0.6)")
    snippet = changed(tmp_path, f"{slug}/dont", *posting, shorter, trial)

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_effect(charged)
        await until_status(in_proof, target, "backing-off")
        assert len(await in_proof.query(queries("RDD405")[0])) == 1
        assert await in_proof.operate("pause", target) == 202
        await resume_on(in_proof, target)

    trace = instead(lab, SNIPPETS / slug, prove, crash_after_effect(charged), snippet).trace
    assert trace.effect_counts() == {charged: 2}


SHIPPED_ON_REPLAY = dataclasses.replace(
    REPLAY_EVERY_AWAIT, workers=2, crash_at={"after_step": "ship"}
)


def test_replay_that_took_the_road_and_ordered_it_answers_rail_on_the_fixed_code(lab: Lab) -> None:
    """RDD403: it shipped by what it told, until the fix was deployed in place."""
    rule = CHAPTER / "first-completed"
    for code, told in (("dont", "road"), ("do", "rail")):
        stimulus = dataclasses.replace(SHIPPED_ON_REPLAY, successor=code)
        result = instead(lab, rule, load(rule).prove, stimulus)
        assert result.trace.calls[0].answer == f"shipment-1 goes by {told}"
        assert ordered(result) == [{"carrier": "road"}]


def ordered(result: Result) -> list[object]:
    """RDD403: what the carriers were sent."""
    return [each.body for each in result.trace.effects if each.effect == "POST /shipments"]


@pytest.mark.parametrize(
    ("stimulus", "winner"), [(PLAIN, "rail"), (REPLAY_EVERY_AWAIT, "road")], ids=["first", "replay"]
)
def test_what_took_the_road_ends_on_the_old_code(lab: Lab, stimulus: Stimulus, winner: str) -> None:
    """RDD403: the page's query finds it, and not what took the rail before the road answered."""
    rule, target = CHAPTER / "first-completed", "Parcels/send"
    (query,) = queries("RDD403")

    async def move(in_proof: LabInProof) -> None:
        for carrier in ("road", "rail"):
            in_proof.outside.answers[f"GET /offers/{carrier}"] = {"carrier": carrier}
        in_proof.outside.in_order("GET /offers/road", "GET /offers/rail")
        road = in_proof.outside.hold("GET /offers/road", at_most=20.0)
        shipped = in_proof.outside.hold("POST /shipments", at_most=20.0)
        sending = asyncio.create_task(in_proof.call(target))
        if winner == "rail":
            await in_proof.until_effect("POST /shipments")
        else:
            await in_proof.until_still(0.5)
            assert not await in_proof.query(query)  # nothing is shipped
        road.set()
        await in_proof.until_effect("POST /shipments")
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Run' "
            "group by id having count(*) >= 2"
        )
        await pause_at_work(in_proof, target)
        shipped.set()
        await until_status(in_proof, target, "paused")
        found = await in_proof.query(query)
        assert len(found) == (winner == "road")
        await in_proof.deploy("do")
        moved = {} if found else {"deployment": "latest"}
        assert await in_proof.operate("resume", target, **moved) == 200
        await until_status(in_proof, target, "completed")
        await sending

    result = instead(lab, rule, move, stimulus)
    assert result.trace.invocations[0].result == f"shipment-1 goes by {winner}"
    assert ordered(result) == [{"carrier": winner}]


def test_what_took_the_road_is_found_on_lambda_once_it_is_paused(lab: Lab, tmp_path: Path) -> None:
    """RDD403: its order is in the journal when the attempt has ended, and not before."""
    rule, target = "concurrency/first-completed", "Parcels/send"
    snippet = changed(tmp_path, f"{rule}/dont", as_on_lambda("parcels"))
    (query,) = queries("RDD403")

    async def move(in_proof: LabInProof) -> None:
        for carrier in ("road", "rail"):
            in_proof.outside.answers[f"GET /offers/{carrier}"] = {"carrier": carrier}
        in_proof.outside.in_order("GET /offers/road", "GET /offers/rail")
        road = in_proof.outside.hold("GET /offers/road", at_most=20.0)
        shipped = in_proof.outside.hold("POST /shipments", at_most=20.0)
        sending = asyncio.create_task(in_proof.call(target))
        await in_proof.until_still(0.5)  # the railway has answered
        road.set()
        await in_proof.until_effect("POST /shipments")
        await pause_at_work(in_proof, target)
        assert not await in_proof.query(query)
        shipped.set()
        await until_status(in_proof, target, "paused")
        assert len(await in_proof.query(query)) == 1
        assert await in_proof.operate("resume", target) == 200
        await until_status(in_proof, target, "completed")
        await sending

    result = instead(lab, SNIPPETS / rule, move, REPLAY_EVERY_AWAIT, snippet)
    assert result.trace.invocations[0].result == "shipment-1 goes by road"
    assert ordered(result) == [{"carrier": "road"}]


def test_order_that_the_road_answered_just_before_is_told_by_road(lab: Lab, tmp_path: Path) -> None:
    """RDD403: its journal is that of a replay that took the road, and the page's query finds it."""
    target, shipment = "Parcels/send", "POST /shipments"
    (query,) = queries("RDD403")
    line = "    shipment = await"
    snippet = changed(
        tmp_path,
        "concurrency/first-completed/dont",
        (
            line,
            f'    await asyncio.to_thread(httpx.post, f"{{API_URL}}/picks", timeout=30)\n{line}',
        ),
    )

    async def move(in_proof: LabInProof) -> None:
        for carrier in ("road", "rail"):
            in_proof.outside.answers[f"GET /offers/{carrier}"] = {"carrier": carrier}
        road = in_proof.outside.hold("GET /offers/road", at_most=20.0)
        picked = in_proof.outside.hold("POST /picks", at_most=20.0)
        shipped = in_proof.outside.hold(shipment, at_most=20.0)
        sending = asyncio.create_task(in_proof.call(target))
        await in_proof.until_effect("POST /picks")
        road.set()
        await in_proof.until_row(BOTH_COMPANIES_ASKED)
        picked.set()
        await in_proof.until_effect(shipment)
        await pause_at_work(in_proof, target)
        shipped.set()
        await until_status(in_proof, target, "paused")
        assert len(await in_proof.query(query)) == 1
        assert await in_proof.operate("resume", target) == 200
        await until_status(in_proof, target, "completed")
        await sending

    result = instead(lab, CHAPTER / "first-completed", move, PLAIN, snippet)
    assert result.trace.invocations[0].result == "shipment-1 goes by road"
    assert ordered(result) == [{"carrier": "rail"}]


def test_a_shipment_that_was_repeated_is_not_told_by_whom(lab: Lab) -> None:
    """RDD403: the old code ordered by rail, then by road; neither is in what the page's query sees."""
    rule, target, shipment = CHAPTER / "first-completed", "Parcels/send", "POST /shipments"
    (query,) = queries("RDD403")

    async def move(in_proof: LabInProof) -> None:
        for carrier in ("road", "rail"):
            in_proof.outside.answers[f"GET /offers/{carrier}"] = {"carrier": carrier}
        in_proof.outside.in_order("GET /offers/road", "GET /offers/rail")
        road = in_proof.outside.hold("GET /offers/road", at_most=20.0)
        shipped = in_proof.outside.hold(shipment, at_most=20.0)
        sending = asyncio.create_task(in_proof.call(target))
        await in_proof.until_effect(shipment)
        road.set()
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Run' "
            "group by id having count(*) >= 2"
        )
        await replace_worker(in_proof)
        await in_proof.until_effect(shipment, times=2)
        await pause_at_work(in_proof, target)
        shipped.set()
        await until_status(in_proof, target, "paused")
        assert not await in_proof.query(query)
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await until_status(in_proof, target, "completed")
        sending.cancel()

    stimulus = dataclasses.replace(REPLACED, request_response=False, successor=None)
    result = instead(lab, rule, move, stimulus)
    assert result.trace.invocations[0].result == "shipment-2 goes by rail"
    assert ordered(result) == [{"carrier": "rail"}, {"carrier": "road"}]
