"""What the pages of the chapter errors say of invocations under way, done on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Stimulus,
    crash_after_effect,
    crash_after_step,
    crash_before_journal,
    load,
)
from restate_guide.lab import Lab as LabInProof
from restate_guide.lab.outside import Received
from restate_guide.lab.server import find_binary
from tests.conftest import Lab
from tests.fixes import (
    LATER,
    PAGES,
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
    until_status,
)
from tests.ports import free_port

CHAPTER = SNIPPETS / "errors"

pytestmark = pytest.mark.server


def test_what_a_final_answer_paused_ends_on_the_fixed_code(lab: Lab) -> None:
    """RDD501."""
    ended: list[str] = []

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", "GiftCards/pay", deployment="latest") == 200
        await in_proof.until_all_completed()
        rows = await in_proof.query("select completion_failure from sys_invocation")
        ended.extend(row["completion_failure"] for row in rows)

    afterwards(lab, CHAPTER / "business-failure-retried", fix)
    assert ended == ["[402] the card is used up"]


def test_what_has_failed_is_started_again_on_the_fixed_code(lab: Lab, tmp_path: Path) -> None:
    """RDD502: of a call and its caller only the caller; its old key gives the old failure.

    The page's query goes on listing both.
    """
    app, target = "app = restate.app([quotes])", "Quotes/offer"
    caller = f"""@quotes.handler()
async def offer(ctx: restate.Context, currency: str) -> float:
    return await ctx.service_call(price, arg=currency)


{app}"""
    dont, _ = (
        changed(tmp_path, f"errors/transient-made-terminal/{variant}", (app, caller))
        for variant in ("dont", "do")
    )
    ended: list[tuple[str, str]] = []

    async def again(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /rates/usd"] = 1.25
        in_proof.outside.fail("GET /rates/usd", times=1)
        await in_proof.call(target, "usd", idempotency_key="first")
        found = await in_proof.query(queries("RDD502")[0])
        failed = {row["target"]: row["id"] for row in found}
        callers = {row["target"]: row.get("invoked_by_id") for row in found}
        assert callers == {target: None, "Quotes/price": failed[target]}
        await in_proof.deploy("do")
        await in_proof.admin("PATCH", f"/invocations/{failed[target]}/restart-as-new")
        await in_proof.until_all_completed()
        still = await in_proof.query(queries("RDD502")[0])
        assert {row["id"] for row in still} == {row["id"] for row in found}
        await in_proof.call(target, "usd", idempotency_key="first")
        rows = await in_proof.query("select target, completion_result from sys_invocation")
        ended.extend((row["target"], row["completion_result"]) for row in rows)

    trace = instead(lab, CHAPTER / "transient-made-terminal", again, snippet=dont).trace
    assert sorted(ended) == [
        (each, result) for each in (target, "Quotes/price") for result in ("failure", "success")
    ]
    assert trace.invocations[2].attempts[0].known_entries == 1
    first, old = trace.calls
    assert (old.status, old.answer) == (first.status, first.answer)
    assert first.status == 503


@pytest.mark.parametrize(
    ("limit", "times", "outcome"),
    [
        ("HOUR, ", 6, "holds"),
        ("", 6, "holds"),
        ("restate.RunOptions(max_duration=timedelta(seconds=2)), ", 9999, "call-failed"),
    ],
    ids=["an hour", "none", "two seconds"],
)
def test_pause_of_its_own_puts_the_policys_limit_aside(
    lab: Lab, tmp_path: Path, limit: str, times: int, outcome: str
) -> None:
    """RDD502: `retry_after`; the policy has three attempts. The step's own limit holds."""
    later = changed(
        tmp_path,
        "errors/transient-made-terminal/later",
        ("0.5", "0.01"),
        ("rate, HOUR, ", f"rate, {limit}"),
    )

    async def busy(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /rates/usd"] = 1.25
        in_proof.outside.fail("GET /rates/usd", times=times)
        await in_proof.call("Quotes/price", "usd")

    result = instead(lab, CHAPTER / "transient-made-terminal", busy, snippet=later)
    assert result.outcome.kind == outcome
    refused = sum(effect.failed for effect in result.trace.effects)
    assert refused == 6 if outcome == "holds" else refused > 3


@pytest.mark.parametrize("variant", ["do", "later"])
def test_currency_that_is_unknown_is_asked_for_once(lab: Lab, variant: str) -> None:
    """RDD502: with a pause of its own, too."""
    rule = CHAPTER / "transient-made-terminal"

    async def unknown(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /rates/usd", times=2, status=404)
        await in_proof.call("Quotes/price", "usd")

    trace = instead(lab, rule, unknown, snippet=rule / f"{variant}.py").trace
    assert len(trace.effects) == 1
    assert trace.calls[0].status == 404


@pytest.mark.parametrize(("status", "found"), [(503, 1), (429, 1), (408, 1), (404, 0)])
def test_quotes_that_should_have_been_asked_for_again_are_found(
    lab: Lab, status: int, found: int
) -> None:
    """RDD502: a currency that the bank doesn't know is none of them; no journal, no new start."""

    async def refused(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /rates/usd", times=1, status=status)
        await in_proof.call("Quotes/price", "usd")
        assert len(await in_proof.query(queries("RDD502")[0])) == found
        assert await in_proof.operate("purge-journal", "Quotes/price") == 200
        assert await in_proof.operate("restart-as-new", "Quotes/price") == 410

    instead(lab, CHAPTER / "transient-made-terminal", refused)


@pytest.mark.parametrize(("variant", "found"), [("dont", [1, 0]), ("do", [0, 0])])
@pytest.mark.parametrize(
    ("slug", "target"),
    [
        ("no-compensation", "Hotel/book"),
        ("kill-skips-compensation", "Courses/enrol"),
        ("compensation-registered-late", "Tickets/buy"),
    ],
)
def test_what_nobody_undid_is_found(
    lab: Lab, slug: str, target: str, variant: str, found: list[int]
) -> None:
    """RDD503, RDD504, RDD505: by the don't's journals, while they are kept; none of the do's."""
    proof, counts = load(CHAPTER / slug), []
    (query,) = queries(proof.rule)

    async def purge(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /deposits", times=1, status=402)
        in_proof.outside.fail("PUT /invoices/ann", times=3)
        await in_proof.call(target, "ann", idempotency_key="ann-1")
        counts.append(len(await in_proof.query(query)))
        assert await in_proof.operate("purge-journal", target) == 200
        counts.append(len(await in_proof.query(query)))
        failed = "select id from sys_invocation where completion_result = 'failure'"
        assert await in_proof.query(failed)

    instead(lab, proof.folder, purge, snippet=proof.snippet(variant))
    assert counts == found


def swallowed(deployment: str, handler: str = "") -> str:
    """RDD509's query for what is under way: with the last line that the page gives in its text."""
    (query,) = queries("RDD509")
    text = " ".join(PAGES["RDD509"].split())
    told = re.search(
        r"`(AND status [^`]*)…( IN \([^`]*\))( AND target_handler_name = )…` .* in place of its last line",
        text,
    )
    assert told
    under_way, on_it, named = told.groups()
    on = f"{query.rpartition('AND ')[0]}{under_way}'{deployment}'{on_it}"
    return on + (f"{named}'{handler}'" if handler else "")


def test_cancel_is_undone_like_a_failure(lab: Lab, tmp_path: Path) -> None:
    """RDD503: the room is freed; the deposit that was under way is paid.

    RDD509: it has swallowed nothing, and only the handler's name keeps it out of the list.
    """
    act = "def release(booking: str) -> None:\n"
    slow = (act, f'{act}    httpx.put(f"{{API_URL}}/released", timeout=60)\n')
    snippet = changed(tmp_path, "errors/no-compensation/do", slow)
    found: list[object] = []

    async def cancel(in_proof: LabInProof) -> None:
        paying, released = (
            in_proof.outside.hold(each, at_most=20.0)
            for each in ("POST /deposits", "PUT /released")
        )
        booking = asyncio.create_task(in_proof.call("Hotel/book", "ann"))
        await in_proof.until_effect("POST /deposits")
        assert await in_proof.operate("cancel", "Hotel/book") == 202
        await in_proof.until_effect("PUT /released")
        old = await deployment(in_proof, "Hotel")
        assert await in_proof.query(swallowed(old, "renew")) == []
        assert await in_proof.query(swallowed("dp_other")) == []
        found.extend(row["target"] for row in await in_proof.query(swallowed(old)))
        released.set()
        await booking
        paying.set()

    trace = instead(lab, CHAPTER / "no-compensation", cancel, snippet=snippet).trace
    assert found == ["Hotel/book"]
    assert trace.calls[0].answer["message"] == "cancelled"
    assert trace.rows["rooms"] == []
    assert trace.effect_counts() == {"POST /deposits": 1, "PUT /released": 1}


def pauses(lab: Lab, snippet: Path) -> list[float]:
    """Seconds between the tries of the invoice, which are all refused."""
    asked: list[float] = []

    async def ask(in_proof: LabInProof) -> None:
        in_proof.outside.fail("PUT /invoices/ann", times=9)
        witness = in_proof.outside.on_received

        async def note(received: Received) -> None:
            asked.append(time.monotonic())
            await witness(received)

        in_proof.outside.on_received = note
        await in_proof.call("Courses/enrol", "ann")

    instead(lab, CHAPTER / "kill-skips-compensation", ask, snippet=snippet)
    return [after - before for before, after in itertools.pairwise(asked)]


def test_pauses_of_a_step_with_a_limit_begin_at_50_milliseconds_and_double(lab: Lab) -> None:
    """RDD504: whatever those of the deployment are; the lab's are 20 milliseconds."""
    hurried = CHAPTER / "kill-skips-compensation" / "hurried.py"
    # A pause can only be prolonged by what else the machine does: once in ten it leaves them alone.
    measured = [(0.0, 0.0)]
    while len(measured) <= 10 and not measured[-1][0] < measured[-1][1]:
        first, second = pauses(lab, hurried)
        assert first >= 0.05 and second >= 0.1
        measured.append((first, second))
    assert measured[-1][0] < measured[-1][1], measured


def test_first_pause_is_cut_to_the_longest(lab: Lab, tmp_path: Path) -> None:
    """RDD504: by default to ten seconds; here to far less than the proof would wait."""
    long = "initial_retry_interval=timedelta(minutes=1)"
    snippet = changed(
        tmp_path,
        "errors/kill-skips-compensation/do",
        ("initial_retry_interval=PAUSE", f"{long}, max_retry_interval=PAUSE"),
    )
    first, second = pauses(lab, snippet)
    assert max(first, second) < 10


@pytest.mark.parametrize("pause", [0.2, 4.0])
def test_longer_pauses_outlast_an_outage(lab: Lab, tmp_path: Path, pause: float) -> None:
    """RDD504: the do's three tries are over within a second, those of some seconds are not."""
    change = ("PAUSE = timedelta(seconds=0.2)", f"PAUSE = timedelta(seconds={pause})")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("PUT /invoices/ann", times=999)
        enrolling = asyncio.create_task(in_proof.call("Courses/enrol", "ann"))
        await asyncio.wait([enrolling], timeout=3.0)
        in_proof.outside.unwell.clear()
        await enrolling

    do = changed(tmp_path, "errors/kill-skips-compensation/do", change)
    trace = instead(lab, CHAPTER / "kill-skips-compensation", prove, snippet=do).trace
    assert trace.calls[0].status == (503 if pause < 1 else 200)


def test_the_stack_trace_goes_to_the_ingress_and_the_text_to_a_service(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD504: of an invocation that was killed."""
    caller = """school = restate.Service("School")


@school.handler()
async def admit(ctx: restate.Context, student: str) -> str:
    try:
        await ctx.service_call(enrol, student)
    except restate.TerminalError as error:
        return f"{error.status_code} {error.message} {error.metadata}"
    return "admitted"


app = restate.app([courses, school])"""
    answers = []

    async def prove(in_proof: LabInProof) -> None:
        for target in ("School/admit", "Courses/enrol"):
            in_proof.outside.fail("PUT /invoices/ann", times=9)
            answers.append(await in_proof.call(target, "ann"))

    change = ("app = restate.app([courses])", caller)
    dont = changed(tmp_path, "errors/kill-skips-compensation/dont", change)
    instead(lab, CHAPTER / "kill-skips-compensation", prove, snippet=dont)
    told, answer = answers
    assert told.startswith("500 ") and "/invoices/ann" in told and 'File "' not in told
    assert 'File "' in answer["stacktrace"] and "/invoices/ann" in answer["message"]


def test_what_is_under_way_when_the_fix_is_registered_is_killed_on_the_old_code(lab: Lab) -> None:
    """RDD504: so it is to be paused; it can't be resumed on the fixed code as long as its try lasts."""
    target = "Courses/enrol"

    async def register(in_proof: LabInProof) -> None:
        in_proof.outside.fail("PUT /invoices/ann", times=9)
        first = in_proof.outside.hold("PUT /invoices/ann", at_most=20.0)
        enrolling = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_effect("PUT /invoices/ann")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 409
        first.set()
        await enrolling

    trace = instead(lab, CHAPTER / "kill-skips-compensation", register).trace
    assert trace.calls[0].status == 500
    assert len(trace.rows["places"]) == 1


def test_invocation_under_way_is_paused_and_resumed_before_it_is_killed(lab: Lab) -> None:
    """RDD504: even in its last try. Paused when that has failed, it undoes on the fixed code."""
    target, invoice = "Courses/enrol", "PUT /invoices/ann"

    async def rescue(in_proof: LabInProof) -> None:
        in_proof.outside.fail(invoice, times=9)
        last = in_proof.outside.hold(invoice, at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        for before in (1, 2):
            await in_proof.until_effect(invoice, times=before)
            ended, last = last, in_proof.outside.hold(invoice, at_most=20.0)
            ended.set()
        await in_proof.until_effect(invoice, times=3)
        await in_proof.deploy("do")
        assert await in_proof.operate("pause", target) == 202
        await in_proof.until_still(0.3)
        (row,) = await in_proof.query("select status from sys_invocation")
        assert row["status"] == "running"
        assert await in_proof.operate("resume", target, deployment="latest") == 409
        last.set()
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "kill-skips-compensation", rescue).trace
    assert trace.rows["places"] == []


def test_what_was_killed_may_have_sent_its_invoice(lab: Lab, tmp_path: Path) -> None:
    """RDD504: the query finds it, and its journal holds the student, and not the place."""
    invoice = "PUT /invoices/ann"
    hasty = changed(
        tmp_path,
        "errors/kill-skips-compensation/dont",
        ("json=9000", "json=9000, timeout=0.1"),
        ("str(ctx.uuid())", 'f"place-{ctx.uuid()}"'),
    )

    async def enrol(in_proof: LabInProof) -> None:
        answered = in_proof.outside.hold(invoice, at_most=20.0)
        await in_proof.call("Courses/enrol", "ann")
        answered.set()
        (query,) = queries("RDD504")
        assert len(await in_proof.query(query)) == 1
        rows = await in_proof.query("select raw from sys_journal")
        raw = "".join(str(row["raw"]) for row in rows)
        assert b'"ann"'.hex() in raw and b"place-".hex() not in raw

    trace = instead(lab, CHAPTER / "kill-skips-compensation", enrol, snippet=hasty).trace
    assert trace.effect_counts()[invoice] == 3
    assert str(trace.rows["places"][0]["place"]).startswith("place-")


@pytest.mark.parametrize(("refused", "rows"), [("PUT /places", 1), ("PUT /invoices/ann", 2)])
def test_student_whose_call_was_killed_may_have_been_enrolled_by_another(
    lab: Lab, tmp_path: Path, refused: str, rows: int
) -> None:
    """RDD504: so one place is left; all the student has, if the killed one took none."""
    act = "def take_place(place: str, student: str) -> None:\n"
    asks = f'{act}    httpx.put(f"{{API_URL}}/places").raise_for_status()\n'
    snippet = changed(tmp_path, "errors/kill-skips-compensation/dont", (act, asks))
    found: list[object] = []

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail(refused, times=3)
        for _ in range(2):
            await in_proof.call("Courses/enrol", "ann")
        found.extend(await in_proof.query(queries("RDD504")[0]))

    trace = instead(lab, CHAPTER / "kill-skips-compensation", prove, PLAIN, snippet).trace
    assert [call.status for call in trace.calls] == [500, 200]
    assert len(found) == 1
    assert [place["student"] for place in trace.rows["places"]] == ["ann"] * rows


@pytest.mark.parametrize("how", ["call", "send"])
@pytest.mark.parametrize(("by", "rows"), [("operator", 1), ("policy", 0)])
def test_kill_by_an_operator_kills_calls_and_sends_too(
    lab: Lab, tmp_path: Path, by: str, rows: int, how: str
) -> None:
    """RDD504: the place that it has taken is not freed; after the policy's kill it goes on."""
    attempts = {"operator": 99, "policy": 1}[by]
    caller = f"""KILLS = restate.InvocationRetryPolicy(max_attempts={attempts}, on_max_attempts="kill")
school = restate.Service("School", invocation_retry_policy=KILLS)


def note(student: str) -> None:
    httpx.put(f"{{API_URL}}/notes/{{student}}").raise_for_status()


@school.handler()
async def admit(ctx: restate.Context, student: str) -> None:
    enrolled = ctx.service_{how}(enrol, student)
    await ctx.run_typed("note", note, student=student)
    {"await enrolled" if how == "call" else ""}


app = restate.app([courses, school])"""
    snippet = changed(
        tmp_path,
        "errors/kill-skips-compensation/do",
        ("app = restate.app([courses])", caller),
    )

    async def prove(in_proof: LabInProof) -> None:
        for each in ("PUT /notes/ann", "PUT /invoices/ann"):
            in_proof.outside.fail(each, times=9)
        noted, invoiced = (
            in_proof.outside.hold(each, at_most=20.0)
            for each in ("PUT /notes/ann", "PUT /invoices/ann")
        )
        admitting = asyncio.create_task(in_proof.call("School/admit", "ann"))
        await in_proof.until_effect("PUT /invoices/ann")
        await in_proof.until_effect("PUT /notes/ann")
        if by == "operator":
            assert await in_proof.operate("kill", "School/admit") == 200
        noted.set()
        await admitting
        invoiced.set()
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "kill-skips-compensation", prove, snippet=snippet).trace
    assert len(trace.rows["places"]) == rows


@pytest.mark.parametrize(("action", "places"), [("cancel", 0), ("kill", 1)])
def test_paused_is_undone_by_cancel_and_not_by_kill(lab: Lab, action: str, places: int) -> None:
    """RDD504."""

    async def end(in_proof: LabInProof) -> None:
        assert await in_proof.operate(action, "Courses/enrol") in (200, 202)
        await in_proof.until_all_completed()

    trace = afterwards(lab, CHAPTER / "kill-skips-compensation", end, variant="paused").trace
    assert len(trace.rows["places"]) == places


@pytest.mark.parametrize(("well", "places", "refused"), [(False, 0, 6), (True, 1, 3)])
def test_paused_is_resumed_on_the_fixed_code_and_undone_if_its_tries_fail(
    lab: Lab, well: bool, places: int, refused: int
) -> None:
    """RDD504: its three tries begin anew."""

    async def resume(in_proof: LabInProof) -> None:
        if well:
            in_proof.outside.unwell.clear()
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", "Courses/enrol", deployment="latest") == 200
        await in_proof.until_all_completed()

    trace = afterwards(lab, CHAPTER / "kill-skips-compensation", resume, variant="paused").trace
    assert len(trace.rows["places"]) == places
    assert sum(effect.failed for effect in trace.effects) == refused


def test_cancel_of_what_is_paused_in_its_undo_ends_that(lab: Lab, tmp_path: Path) -> None:
    """RDD504: the do's; the place stays taken."""
    act, target = "def free_place(place: str) -> None:\n", "Courses/enrol"
    refused = f'{act}    httpx.delete(f"{{API_URL}}/places").raise_for_status()\n'
    snippet = changed(tmp_path, "errors/kill-skips-compensation/do", (act, refused))

    async def end(in_proof: LabInProof) -> None:
        in_proof.outside.fail("PUT /invoices/ann", times=3)
        in_proof.outside.fail("DELETE /places", times=99)
        await in_proof.call(f"{target}/send", "ann")
        await until_status(in_proof, target, "paused")
        in_proof.outside.unwell.clear()
        assert await in_proof.operate("cancel", target) == 202
        await in_proof.until_all_completed()
        (ended,) = await in_proof.query("select completion_failure from sys_invocation")
        assert ended["completion_failure"] == "[409] cancelled"

    trace = instead(lab, CHAPTER / "kill-skips-compensation", end, PLAIN, snippet).trace
    assert "DELETE /places" not in trace.effect_counts()
    assert len(trace.rows["places"]) == 1


def test_seat_of_a_purchase_before_is_not_released(lab: Lab, tmp_path: Path) -> None:
    """RDD505: the second purchase of the same buyer fails, and undoes nothing of the first."""
    declined = 'raise restate.TerminalError("the card is declined")  # the bank\'s answer today'
    snippet = changed(
        tmp_path, "errors/compensation-registered-late/do", (declined, 'print("charged")')
    )
    proof = load(CHAPTER / "compensation-registered-late")
    twice = proof.asides["buyer"].prove
    assert twice is not None
    result = instead(lab, proof.folder, twice, PLAIN, snippet)
    assert [call.status for call in result.trace.calls] == [200, 500]
    assert len(result.trace.rows["seats"]) == 1


@pytest.mark.parametrize(("key", "left"), [("k-1", 0), ("k-2", 1)])
def test_a_key_used_again_after_its_retention_releases_the_old_seat(
    lab: Lab, tmp_path: Path, key: str, left: int
) -> None:
    """RDD505: it draws the same booking; here the first purchase is purged."""
    declined = 'raise restate.TerminalError("the card is declined")  # the bank\'s answer today'
    rule, target = CHAPTER / "compensation-registered-late", "Tickets/buy"
    snippet = changed(
        tmp_path, "errors/compensation-registered-late/do", (declined, 'print("charged")')
    )

    async def buy_again(in_proof: LabInProof) -> None:
        await in_proof.call(target, "ann", idempotency_key="k-1")
        assert await in_proof.operate("purge", target) == 200
        await in_proof.call(target, "ann", idempotency_key=key)

    trace = instead(lab, rule, buy_again, PLAIN, snippet).trace
    assert [call.status for call in trace.calls] == [200, 500]
    assert len(trace.rows["seats"]) == left


@pytest.mark.parametrize(
    "stimulus",
    [
        PLAIN,
        REPLAY_EVERY_AWAIT,
        LATE_REPLAY,
        crash_before_journal("reserve"),
        crash_before_journal("undo reserve"),
        crash_after_step("undo reserve"),
    ],
    ids=lambda s: s.title.replace(" ", "-"),
)
def test_cancel_waits_for_the_action(lab: Lab, stimulus: Stimulus) -> None:
    """RDD505: however it is replayed."""
    proof = load(CHAPTER / "compensation-registered-late")
    cancel = proof.asides["cancelled"].prove
    assert cancel is not None
    snippet = proof.snippet("cancelled")
    trace = instead(lab, proof.folder, cancel, stimulus, snippet).trace
    assert trace.calls[0].answer["message"] == "no ticket was sold"
    assert trace.rows["seats"] == []


RESERVES = "def reserve(booking: str) -> None:\n"
SLOWLY = (
    (RESERVES, f'{RESERVES}    httpx.get(f"{{API_URL}}/halls/1", timeout=30)\n'),
    ("import restate\n\n", 'import httpx\nimport restate\n\nAPI_URL = os.environ["API_URL"]\n'),
)
AT_ONCE = ("        await restate.gather(seat)  # not `await seat`: it would keep a cancel\n", "")


@pytest.mark.parametrize(
    ("snippet", "changes"),
    [("do", SLOWLY), ("cancelled", (AT_ONCE,))],
    ids=["the do, which doesn't wait", "the step is awaited, and keeps the cancel"],
)
def test_undoing_overtakes_an_action_at_work(
    lab: Lab, tmp_path: Path, snippet: str, changes: tuple[tuple[str, str], ...]
) -> None:
    """RDD505: the release is done first; then the seat is taken, and stays so."""

    async def cancel(in_proof: LabInProof) -> None:
        hall = in_proof.outside.hold("GET /halls/1", at_most=20.0)
        buying = asyncio.create_task(in_proof.call("Tickets/buy", "ann"))
        await in_proof.until_effect("GET /halls/1")
        await in_proof.operate("cancel", "Tickets/buy")
        assert (await buying)["message"] == "no ticket was sold"
        hall.set()
        await in_proof.until_still(0.5)

    copy = changed(tmp_path, f"errors/compensation-registered-late/{snippet}", *changes)
    trace = instead(lab, CHAPTER / "compensation-registered-late", cancel, PLAIN, copy).trace
    assert len(trace.rows["seats"]) == 1


def test_undoing_does_not_wait_for_the_action_of_an_attempt_that_is_lost(lab: Lab) -> None:
    """RDD505: a server restarts, and the seat stays taken."""
    proof, target, halls = (
        load(CHAPTER / "compensation-registered-late"),
        "Tickets/buy",
        "GET /halls/1",
    )

    async def cancel(in_proof: LabInProof) -> None:
        lost = in_proof.outside.hold(halls, at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_effect(halls)
        await in_proof.operate("cancel", target)
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Signal'"
        )
        in_proof.outside.hold(halls, at_most=0.0)
        await in_proof.restart_server()
        await until_status(in_proof, target, "completed")
        lost.set()
        await in_proof.until_still(0.7)

    trace = instead(lab, proof.folder, cancel, PLAIN, proof.snippet("cancelled")).trace
    assert trace.invocations[0].result == {"failure": "no ticket was sold", "code": 500}
    assert len(trace.rows["seats"]) == 1


@pytest.mark.parametrize(
    ("name", "outcome"),
    [('f"release {item}"', "journal-mismatch"), ('"undo"', "not-compensated")],
    ids=["each its own name", "all the same name"],
)
def test_list_gets_longer_while_it_is_undone(
    lab: Lab, tmp_path: Path, name: str, outcome: str
) -> None:
    """RDD505: in place; with one name for all, what acted and failed stays, and no error says so."""
    registers = "            undo.append(partial(release, ctx, item))\n"
    acts = (
        '            await ctx.run_typed(f"reserve {item}", reserve, order=ctx.key(), item=item)\n'
    )
    refuses = """    if item == "tray":  # sold out today
        raise restate.TerminalError(f"no {item} in stock", status_code=409)
"""
    inserts = """(f"{order} {item}",))


def delete"""
    for variant, order in (("early", registers + acts), ("late", acts + registers)):
        changed(
            tmp_path,
            "errors/late-binding-compensation/do",
            (registers + acts, order),
            ('f"release {item}"', name),
            (refuses, ""),
            (inserts, inserts.replace("\n", f"\n{refuses}", 1)),
        ).rename(tmp_path / f"{variant}.py")
    killed = crash_after_step("undo" if name == '"undo"' else "release cups")
    stimulus = dataclasses.replace(killed, successor="early")
    proof = load(CHAPTER / "late-binding-compensation")
    result = instead(lab, proof.folder, proof.prove, stimulus, tmp_path / "late.py")
    assert result.outcome.kind == outcome, result.outcome
    if outcome == "not-compensated":
        (left,) = result.trace.rows["reserved"]
        assert left["id"].endswith("tray")


@pytest.mark.parametrize(
    ("rule", "target", "body", "action"),
    [
        ("compensation-not-idempotent", "Bikes/7/rent", "ann", "POST /debits"),
        ("bare-except", "Meals/buy", "order-1", "POST /charges"),
        ("finally-runs-on-suspension", "Shops/7/take_stock", None, "POST /closings"),
    ],
)
def test_cancelled_in_the_step_before_the_try_it_undoes_nothing(
    lab: Lab, rule: str, target: str, body: str | None, action: str
) -> None:
    """RDD506, RDD507, RDD508: the first step is at work; what it has done stays."""

    async def cancel(in_proof: LabInProof) -> None:
        acting = in_proof.outside.hold(action, at_most=20.0)
        calling = asyncio.create_task(in_proof.call(target, body))
        await in_proof.until_effect(action)
        await in_proof.operate("cancel", target)
        assert (await calling)["message"] == "cancelled"
        acting.set()
        await in_proof.until_still(0.5)

    trace = instead(lab, CHAPTER / rule, cancel, PLAIN, CHAPTER / rule / "do.py").trace
    assert trace.effect_counts() == {action: 1}


def test_swallowed_cancel_contradicts_the_fixed_code(lab: Lab) -> None:
    """RDD509: it asked for the charge where the fixed code ends."""
    target = "Subscriptions/renew"
    found: list[dict[str, object]] = []

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /charges", times=3)
        renewing = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_row(
            "select index from sys_journal where entry_type = 'Command: Sleep'"
        )
        await in_proof.operate("cancel", target)
        await until_status(in_proof, target, "paused")
        assert await in_proof.query(queries("RDD509")[0]) == []
        old = await deployment(in_proof, "Subscriptions")
        found.extend(await in_proof.query(swallowed(old, "renew")))
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_row(
            "select id from sys_journal_events where event_json like '%RT0016%'"
        )
        await renewing

    result = instead(lab, CHAPTER / "except-exception-eats-cancel", fix)
    assert [row["target"] for row in found] == [target]
    assert result.outcome.kind == "journal-mismatch"


ASLEEP = "select index from sys_journal where entry_type = 'Command: Sleep'"


def test_bare_except_refunds_when_the_connection_is_lost(lab: Lab) -> None:
    """RDD507: the refund is a step, and is not refused; the next attempt gets the courier."""
    rule = CHAPTER / "bare-except"

    async def restart(in_proof: LabInProof) -> None:
        courier = in_proof.outside.hold("POST /couriers", at_most=20.0)
        await in_proof.call("Meals/buy/send", "order-1")
        await in_proof.until_effect("POST /couriers")
        await in_proof.restart_server()
        await in_proof.until_effect("POST /refunds")
        courier.set()
        await in_proof.until_row("select id from sys_invocation where status = 'completed'")

    trace = instead(lab, rule, restart, PLAIN, rule / "step.py").trace
    (meal,) = trace.invocations
    assert meal.result == "courier-1"
    assert trace.effect_counts()["POST /refunds"] == 1
    assert "refund" not in {entry.name for entry in meal.journal if "Run" in entry.type}


def test_attempt_that_ends_cancels_an_async_step(lab: Lab, tmp_path: Path) -> None:
    """RDD507: a bare except in the step catches that, and the next attempt executes it again."""
    snippet = changed(
        tmp_path,
        "errors/bare-except/do",
        ("import os\n", "import asyncio\nimport os\n"),
        (
            "@meals.handler()\n",
            "async def courier(order: str, key: str) -> str:\n"
            "    try:\n"
            '        return await asyncio.to_thread(post, "couriers", order, key)\n'
            "    except BaseException as ended:\n"
            '        post("seen", type(ended).__name__, key)\n'
            "        raise\n\n\n"
            "@meals.handler()\n",
        ),
        (
            '"courier", post, what="couriers", order=order, key=f"{key}-courier"\n',
            '"courier", courier, order=order, key=f"{key}-courier"\n',
        ),
    )

    async def restart(in_proof: LabInProof) -> None:
        answer = in_proof.outside.hold("POST /couriers", at_most=20.0)
        await in_proof.call("Meals/buy/send", "order-1")
        await in_proof.until_effect("POST /couriers")
        await in_proof.restart_server()
        await in_proof.until_effect("POST /seen")
        await in_proof.until_effect("POST /couriers", times=2)
        answer.set()
        await in_proof.until_row("select id from sys_invocation where status = 'completed'")
        seen = [each.body["order"] for each in in_proof.outside.ledger if "/seen" in each.effect]
        assert seen == ["CancelledError"]

    instead(lab, CHAPTER / "bare-except", restart, PLAIN, snippet)


def test_lost_connection_is_an_exception(lab: Lab) -> None:
    """RDD509: the server restarts during the sleep, nobody cancels, and the don't charges at once."""

    async def restart(in_proof: LabInProof) -> None:
        await in_proof.call("Subscriptions/renew/send", "ann")
        await in_proof.until_row(ASLEEP)
        await in_proof.restart_server()
        await in_proof.until_effect("POST /charges")
        # A server that has just started may list nothing for a moment.
        await in_proof.until_row(ASLEEP)

    trace = instead(lab, CHAPTER / "except-exception-eats-cancel", restart).trace
    assert trace.effect_counts() == {"POST /charges": 1}
    (renewal,) = trace.invocations
    assert [entry.type for entry in renewal.journal] == ["Command: Input", "Command: Sleep"]


def test_lost_connection_is_no_terminal_error(lab: Lab, tmp_path: Path) -> None:
    """RDD509: the do, with a shorter sleep, gives notice and charges, once each."""
    shorter = ("hours=1", "seconds=3")
    snippet = changed(tmp_path, "errors/except-exception-eats-cancel/do", shorter)

    async def restart(in_proof: LabInProof) -> None:
        await in_proof.call("Subscriptions/renew/send", "ann")
        await in_proof.until_row(ASLEEP)
        await in_proof.restart_server()
        await in_proof.until_effect("POST /charges")
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "except-exception-eats-cancel", restart, snippet=snippet).trace
    assert [effect.effect for effect in trace.effects] == ["POST /emails", "POST /charges"]
    first, second = trace.invocations[0].attempts
    assert (first.ends, second.ends) == ("cut off", "output")


def test_step_past_its_limits_is_taken_for_a_mail_that_failed(lab: Lab, tmp_path: Path) -> None:
    """RDD509: no restart; the server gives the attempt up, and the don't charges in it."""
    limits = "inactivity_timeout=timedelta(seconds=0.2), abort_timeout=timedelta(seconds=0.2)"
    snippet = changed(
        tmp_path,
        "errors/except-exception-eats-cancel/dont",
        ("        await ctx.sleep(timedelta(hours=1))\n", ""),
        ('Service("Subscriptions")', f'Service("Subscriptions", {limits})'),
        ('json={"to": customer})', 'json={"to": customer}, timeout=30)'),
    )

    async def slow(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        renewing = asyncio.create_task(in_proof.call("Subscriptions/renew", "ann"))
        await in_proof.until_effect("POST /charges")
        mailed.set()
        await renewing

    trace = instead(lab, CHAPTER / "except-exception-eats-cancel", slow, snippet=snippet).trace
    assert {failure.code for failure in trace.failures()} == {"RT0001"}
    first = next(effect for effect in trace.effects if effect.effect == "POST /charges")
    assert first.attempt == 1
    assert trace.invocations[0].attempts[0].ends == "cut off"


@pytest.mark.parametrize(
    ("at_work", "opened"), [("POST /counts", 1), ("POST /openings", 0)], ids=["count", "opening"]
)
def test_cancel_opens_the_shop_too_early_or_not_at_all(lab: Lab, at_work: str, opened: int) -> None:
    """RDD508: while the do counts, or while it opens and the first try fails."""
    rule, target = CHAPTER / "finally-runs-on-suspension", "Shops/7/take_stock"
    early: list[int] = []

    async def cancel(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /openings", times=1 - opened)
        working = in_proof.outside.hold(at_work, at_most=20.0)
        counting = asyncio.create_task(in_proof.call(target))
        await in_proof.until_effect(at_work)
        assert await in_proof.operate("cancel", target) == 202
        assert (await counting)["message"] == "cancelled"
        early.append(in_proof.outside.ledger[-1].effect == "POST /openings")
        working.set()

    trace = instead(lab, rule, cancel, PLAIN, rule / "do.py").trace
    assert early == [True], "either has arrived, and neither count nor opening is done"
    assert trace.effect_counts().get("POST /openings", 0) == opened


def test_finally_acts_when_the_connection_is_lost(lab: Lab, tmp_path: Path) -> None:
    """RDD508: with a step in it, and a server that restarts during the sleep."""
    longer = ("seconds=0.3", "seconds=5")
    snippet = changed(tmp_path, "errors/finally-runs-on-suspension/step", longer)
    closing, opening, counting = "POST /closings", "POST /openings", "POST /counts"

    async def restart(in_proof: LabInProof) -> None:
        await in_proof.call("Shops/7/take_stock/send")
        await in_proof.until_row(ASLEEP)
        # Another shop keeps the worker's first thread. An idle one might be told to leave the step alone
        # before it has begun; a new one begins at once.
        closed = in_proof.outside.hold(closing, at_most=20.0)
        await in_proof.call("Shops/8/take_stock/send")
        await in_proof.until_effect(closing, times=2)
        await in_proof.restart_server()
        await in_proof.until_effect(opening)
        assert counting not in {received.effect for received in in_proof.outside.ledger}
        closed.set()
        await in_proof.until_effect(counting, times=2)
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "finally-runs-on-suspension", restart, PLAIN, snippet).trace
    of_seven = [each.effect for each in trace.effects if each.body == {"shop": "7"}]
    assert of_seven == [closing, opening, counting, opening]


def test_what_was_raised_without_from_ends_on_the_fixed_code(lab: Lab) -> None:
    """RDD510: a cancel does not end it, a resume on the fixed code does."""
    target = "Trips/plan"
    ended: list[dict[str, object]] = []

    async def fix(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("cancel", target) == 202
        assert await in_proof.operate("resume", target) in (200, 409)
        await until_status(in_proof, target, "paused")
        await resume_on(in_proof, target)
        sql = f"select completion_failure from sys_invocation where target = '{target}'"
        ended.extend(await in_proof.query(sql))

    trace = afterwards(lab, CHAPTER / "raise-without-from", fix).trace
    assert "the hotel is full" in str(ended)
    attempts = next(i.attempts for i in trace.invocations if i.target == target)
    assert [a.ends for a in attempts] == ["error"] * (len(attempts) - 1) + ["output"]
    assert len(attempts) > 4, "the resumed one was tried with the cancel in its journal"


def test_what_backs_off_without_from_is_paused_before_it_is_resumed(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD510: the fixed code ends it with the answer of the hotel."""
    target, slug = "Trips/plan", "errors/raise-without-from"
    changed(tmp_path, f"{slug}/do")
    snippet = changed(
        tmp_path,
        f"{slug}/dont",
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ('("Trips")', f'("Trips", {LATER})'),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("PUT /rooms/ann", times=1, status=409)
        await in_proof.call(f"{target}/send", "ann")
        await until_status(in_proof, target, "backing-off")
        assert len(await in_proof.query(queries("RDD510")[0])) == 1
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 409
        assert await in_proof.operate("pause", target) in (200, 202)
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()
        sql = f"select completion_failure from sys_invocation where target = '{target}'"
        (ended,) = await in_proof.query(sql)
        assert ended["completion_failure"] == "[409] the hotel is full"

    instead(lab, CHAPTER / "raise-without-from", prove, PLAIN, snippet)


def test_step_without_a_limit_is_resumed_on_the_fixed_code(lab: Lab) -> None:
    """RDD511: the step is tried anew."""

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, "Quotes/price")

    (quote,) = afterwards(lab, CHAPTER / "dead-retry-option", fix).trace.invocations
    assert [attempt.ends for attempt in quote.attempts] == ["error"] * 3 + ["output"]


def test_step_without_a_limit_is_paused_while_it_is_tried(lab: Lab) -> None:
    """RDD511: the page's query finds it until it is resumed on the fix, and finds no new quote there."""
    rate, target = "GET /rates/eur", "Quotes/price"
    (query,) = re.findall(r"^```sql\n(.*?)^```", PAGES["RDD511"], re.M | re.S)
    found: list[list[str]] = []

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.fail(rate, times=99)
        first = in_proof.outside.hold(rate, at_most=20.0)
        await in_proof.call(f"{target}/send", 200)
        await in_proof.until_effect(rate)
        await in_proof.deploy("do")
        fixed = await deployment(in_proof, "Quotes")

        async def look() -> None:
            rows = await in_proof.query(query.replace("dp_…", fixed))
            found.append([str(row["status"]) for row in rows])

        await look()
        assert await in_proof.operate("resume", target, deployment="latest") == 409
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        await in_proof.call(f"{target}/send", 200)
        await in_proof.until_row(
            f"select id from sys_invocation where status = 'running' and pinned_deployment_id = '{fixed}'"
        )
        await look()
        (paused,) = await in_proof.query(
            f"select id from sys_invocation where target = '{target}' and status = 'paused'"
        )
        await in_proof.admin("PATCH", f"/invocations/{paused['id']}/resume?deployment=latest")
        await in_proof.until_row(
            f"select id from sys_invocation where id = '{paused['id']}' and status = 'running'"
        )
        await look()
        first.set()
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "dead-retry-option", fix).trace
    assert found == [["running"], ["paused"], []]
    assert [quote.result for quote in trace.invocations] == [180.0, 180.0]


def test_argument_taken_for_options_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD512."""

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, "Parcels/pack")

    trace = afterwards(lab, CHAPTER / "options-in-the-wrong-slot", fix).trace
    assert trace.effect_counts() == {"PUT /labels/parcel-1": 1}


@pytest.mark.parametrize(
    ("stimulus", "outcome"),
    [
        (crash_after_step("reserve cups"), "holds"),
        # The last item's: it is right in the don't, too.
        (crash_after_step("release tray"), "holds"),
        (LATE_REPLAY, "journal-mismatch"),
    ],
    ids=["not failed yet", "released once", "undone already"],
)
def test_late_binding_is_fixed_in_place(lab: Lab, stimulus: Stimulus, outcome: str) -> None:
    """RDD513: the worker that takes over has the fixed code."""
    result = in_place(lab, CHAPTER / "late-binding-compensation", stimulus)
    assert result.outcome.kind == outcome, result.outcome


def test_compensation_does_no_harm_where_nothing_was_done(lab: Lab) -> None:
    """RDD513: the first item is out of stock; there is no reservation yet, and no table of them."""
    rule = CHAPTER / "late-binding-compensation"

    async def refuse(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/order-1/place", ["tray"])

    trace = instead(lab, rule, refuse, snippet=rule / "do.py").trace
    assert trace.calls[0].answer["message"] == "no tray in stock"
    assert not trace.failures()


def test_step_with_a_loop_is_fixed_in_place(lab: Lab) -> None:
    """RDD514: the worker that takes over has the fixed code, and one try is counted already."""
    rule = CHAPTER / "retry-loop-by-hand"
    outcome = in_place(lab, rule).outcome
    assert outcome == load(rule).promise


@pytest.mark.parametrize(
    ("slug", "changes", "asked", "target", "body", "answer"),
    [
        # The step's own limit is not reached: the try that it is looked at after doesn't end.
        (
            "dead-retry-option",
            (("timeout=1)", "timeout=60)"),),
            "GET /rates/eur",
            "Quotes/price",
            200,
            180.0,
        ),
        (
            "retry-loop-by-hand",
            (),
            "POST /debits",
            "Members/collect",
            "ann",
            "ann has not paid",
        ),
    ],
    ids=["last week's rate", "whatever the bank has done"],
)
def test_cancel_comes_to_the_except_block(
    lab: Lab,
    tmp_path: Path,
    slug: str,
    changes: tuple[tuple[str, str], ...],
    asked: str,
    target: str,
    body: object,
    answer: object,
) -> None:
    """RDD511, RDD514: the price is last week's, and Ann is said not to have paid; with status 200."""
    do = changed(tmp_path, f"errors/{slug}/do", *changes)

    async def cancel(in_proof: LabInProof) -> None:
        answered = in_proof.outside.hold(asked, at_most=20.0)
        calling = asyncio.create_task(in_proof.call(target, body))
        await in_proof.until_effect(asked)
        assert await in_proof.operate("cancel", target) == 202
        await calling
        answered.set()

    trace = instead(lab, CHAPTER / slug, cancel, PLAIN, do).trace
    assert [(call.status, call.answer) for call in trace.calls] == [(200, answer)]


def test_attempt_that_finds_no_worker_counts_as_a_try(lab: Lab, tmp_path: Path) -> None:
    """RDD514: of three, one was cut off by the worker's death, one found nobody, and one is left."""
    debit = "POST /debits"
    changed(tmp_path, "errors/retry-loop-by-hand/do")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[debit] = {"status": "returned"}
        first = in_proof.outside.hold(debit, at_most=30.0)
        port = free_port()
        argv = [sys.executable, "-m", "hypercorn", "--workers", "0", "do:app"]
        argv += ["--bind", f"127.0.0.1:{port}"]
        how: dict[str, Any] = {"cwd": tmp_path, "stderr": subprocess.DEVNULL}
        how["env"] = {**os.environ, "API_URL": in_proof.outside.url}
        worker = subprocess.Popen(argv, **how)
        try:
            await until_registered(in_proof, port)
            await in_proof.call("Members/collect/send", "ann")
            await in_proof.until_effect(debit)
            worker.kill()
            first.set()
            refused = (
                "select id from sys_journal_events where event_json like '%onnection refused%'"
            )
            await in_proof.until_row(refused)
            worker.wait()
            worker = subprocess.Popen(argv, **how)
            await in_proof.until_all_completed()
        finally:
            worker.kill()
            worker.wait()

    trace = instead(lab, CHAPTER / "retry-loop-by-hand", prove, PLAIN).trace
    assert trace.effect_counts() == {debit: 2}
    assert trace.invocations[0].result == "ann has not paid"


@pytest.mark.parametrize(("where", "debits"), [("in place", 4), ("at a new URL", 3)])
def test_loop_that_is_running_is_cut_off_in_place(
    lab: Lab, tmp_path: Path, where: str, debits: int
) -> None:
    """RDD514: two debits before it, and two after; beside the fix, the loop comes to its end."""
    rule, first, later = "errors/retry-loop-by-hand", "POST /debits/first", "POST /debits"
    changed(tmp_path, f"{rule}/do")
    dont = changed(
        tmp_path,
        f"{rule}/dont",
        ("for _ in range(3)", 'for path in ("debits/first", "debits", "debits")'),
        ("{API_URL}/debits", "{API_URL}/{path}"),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers |= {each: {"status": "returned"} for each in (first, later)}
        second = in_proof.outside.hold(later, at_most=20.0)
        await in_proof.call("Members/collect/send", "ann")
        await in_proof.until_effect(later)
        if where == "at a new URL":
            await in_proof.deploy("do")
        second.set()
        await in_proof.until_all_completed()

    over = dataclasses.replace(crash_after_effect(later), successor="do")
    stimulus = over if where == "in place" else PLAIN
    trace = instead(lab, SNIPPETS / rule, prove, stimulus, dont).trace
    assert trace.effect_counts() == {first: 1, later: debits - 1}
    assert trace.invocations[0].result == "ann has not paid"


def test_what_a_loop_in_the_handler_left_paused_gets_three_tries(lab: Lab) -> None:
    """RDD514: when it is resumed on the fix, on top of what it has had."""

    async def fix(in_proof: LabInProof) -> None:
        before = len(in_proof.outside.ledger)
        await resume_on(in_proof, "Members/collect")
        assert len(in_proof.outside.ledger) == before + 3

    rule, stimulus = CHAPTER / "retry-loop-by-hand", PLAIN
    trace = afterwards(lab, rule, fix, stimulus, "handler").trace
    assert trace.invocations[0].result == "ann has not paid"


def test_what_backed_off_in_a_loop_gets_three_tries_once_it_was_paused(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD514: the attempt that failed on the old code isn't counted, unlike in place."""
    slug, debit, target = "errors/retry-loop-by-hand", "POST /debits", "Members/collect"
    changed(tmp_path, f"{slug}/do")
    dont = changed(
        tmp_path,
        f"{slug}/dont",
        ("import time\n", "import time\nfrom datetime import timedelta\n"),
        ('("Members")', f'("Members", {LATER})'),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[debit] = {"status": "returned"}
        in_proof.outside.fail(debit, times=1)
        await in_proof.call(f"{target}/send", "ann")
        await until_status(in_proof, target, "backing-off")
        await in_proof.operate("pause", target)
        await resume_on(in_proof, target)

    trace = instead(lab, SNIPPETS / slug, prove, PLAIN, dont).trace
    assert trace.effect_counts() == {debit: 3}  # beside the one that was refused
    assert trace.invocations[0].result == "ann has not paid"


async def until_registered(in_proof: LabInProof, port: int) -> None:
    """Registers a worker that is starting."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(httpx.HTTPStatusError):
                await in_proof.admin("POST", "/deployments", {"uri": f"http://127.0.0.1:{port}"})
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["the server restarts", "an operator pauses and resumes"])
def test_count_of_the_tries_begins_anew(lab: Lab, how: str) -> None:
    """RDD514: one try, and then three more."""
    debit = "POST /debits"

    async def begin_anew(in_proof: LabInProof) -> None:
        in_proof.outside.answers[debit] = {"status": "returned"}
        first = in_proof.outside.hold(debit, at_most=20.0)
        await in_proof.call("Members/collect/send", "ann")
        await in_proof.until_effect(debit)
        if how == "the server restarts":
            await in_proof.restart_server()
            first.set()
        else:
            await pause_at_work(in_proof, "Members/collect")
            first.set()
            await until_status(in_proof, "Members/collect", "paused")
            assert await in_proof.operate("resume", "Members/collect") == 200
        # A server that has just started may list no invocation for a moment.
        await in_proof.until_effect(debit, times=4)
        await in_proof.until_all_completed()

    rule = CHAPTER / "retry-loop-by-hand"
    trace = instead(lab, rule, begin_anew, PLAIN, rule / "do.py").trace
    assert trace.effect_counts() == {debit: 4}


@pytest.mark.parametrize(("action", "left"), [("resume", 1050), ("cancel", 600)])
def test_paused_holder_of_a_key_is_resumed_or_ended(lab: Lab, action: str, left: int) -> None:
    """RDD515: and then the call behind it is served."""

    async def free(in_proof: LabInProof) -> None:
        assert await in_proof.operate(action, "Wallets/ann/top_up") in (200, 202)
        await in_proof.until_all_completed()

    trace = afterwards(lab, CHAPTER / "paused-nobody-told", free).trace
    assert [state.value for state in trace.state] == [left]


def test_shared_handler_answers_while_a_paused_one_keeps_the_key(lab: Lab, tmp_path: Path) -> None:
    """RDD515: an exclusive one waits."""
    line = "app = restate.app([wallets])"
    shared = f"""@wallets.handler(kind="shared")
async def balance(ctx: restate.ObjectSharedContext) -> int:
    return await ctx.get("balance", type_hint=int) or 0


{line}"""
    rule, spending = CHAPTER / "paused-nobody-told", "Wallets/ann/spend"
    snippet = changed(tmp_path, "errors/paused-nobody-told/dont", (line, shared))

    async def ask(in_proof: LabInProof) -> None:
        await load(rule).prove(in_proof)
        assert await in_proof.call("Wallets/ann/balance") == 900
        await until_status(in_proof, spending, "pending")

    instead(lab, rule, ask, snippet=snippet)


def test_an_error_beside_the_step_has_the_invocation_paused(lab: Lab, tmp_path: Path) -> None:
    """RDD515: the bound is the step's."""
    rate = '    rate = await ctx.run_typed("rate", fetch_rate, TWICE)\n'
    beside = f'{rate}    raise ConnectionError("beside")\n'
    snippet = changed(tmp_path, "errors/paused-nobody-told/do", (rate, beside))

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /rates/usd"] = 90
        await in_proof.call("Wallets/ann/top_up/send", 10)
        await until_status(in_proof, "Wallets/ann/top_up", "paused")

    trace = instead(lab, CHAPTER / "paused-nobody-told", prove, snippet=snippet).trace
    assert [failure.message for failure in trace.failures()][-1:] == ["ConnectionError('beside')"]


RATES = """rates = restate.Service("Rates")


@rates.handler()
async def fetch(ctx: restate.Context, dollars: int) -> int:
    rate = await ctx.run_typed("rate", fetch_rate)
    return FETCHED


@wallets.handler()
async def top_up"""
FETCHES = '    rate = await ctx.run_typed("rate", fetch_rate)\n'
CALLS = 'await ctx.object_call(top_up, key="ann", arg=dollars * rate)'


@pytest.mark.parametrize(
    ("begun", "fetched", "asks", "spend"),
    [
        ("Wallets/ann/top_up", "rate", "await ctx.service_call(fetch, arg=dollars)", "pending"),
        ("Rates/fetch", CALLS, "1", "completed"),
    ],
    ids=["the handler waits for the Service", "the Service calls the object when it is done"],
)
def test_key_is_held_while_a_handler_waits_for_a_service(
    lab: Lab, tmp_path: Path, begun: str, fetched: str, asks: str, spend: str
) -> None:
    """RDD515: of a paused Service, until that is resumed."""
    snippet = changed(
        tmp_path,
        "errors/paused-nobody-told/dont",
        (FETCHES, f"    rate = {asks}\n"),
        ("@wallets.handler()\nasync def top_up", RATES.replace("FETCHED", fetched)),
        ("restate.app([wallets])", "restate.app([wallets, rates])"),
    )
    spending = "Wallets/ann/spend"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /rates/usd"] = 90
        in_proof.outside.fail("GET /rates/usd", times=3)
        await in_proof.call(f"{begun}/send", 5)
        await until_status(in_proof, "Rates/fetch", "paused")
        await in_proof.call(f"{spending}/send", 300)
        await until_status(in_proof, spending, spend)
        await in_proof.until_still(0.3)
        await until_status(in_proof, spending, spend)
        assert await in_proof.operate("resume", "Rates/fetch") == 200
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "paused-nobody-told", prove, snippet=snippet).trace
    assert [state.value for state in trace.state] == [150]


def test_cancel_ends_the_undoing_in_a_plain_loop(lab: Lab, tmp_path: Path) -> None:
    """RDD503, Sagas: what comes after the release that is under way stays reserved."""
    act = "def release(table: str, id: str) -> None:\n"
    slow = (act, f'{act}    httpx.put(f"{{API_URL}}/released/{{table}}", timeout=60)\n')
    imported = (
        "import restate\n",
        'import httpx\nimport restate\n\nAPI_URL = os.environ.get("API_URL", "")\n',
    )
    snippet = changed(tmp_path, "errors/no-compensation/several", slow, imported)
    asked = "PUT /released/dinners"

    async def prove(in_proof: LabInProof) -> None:
        released = in_proof.outside.hold(asked, at_most=20.0)
        booking = asyncio.create_task(in_proof.call("Hotel/book", "ann"))
        await in_proof.until_effect(asked)
        assert await in_proof.operate("cancel", "Hotel/book") == 202
        await in_proof.until_all_completed()
        released.set()
        await booking

    trace = instead(lab, CHAPTER / "no-compensation", prove, snippet=snippet).trace
    assert len(trace.rows["rooms"]) == 1


@pytest.mark.parametrize(("place", "times"), [("before", 2), ("after", 1)])
def test_key_of_the_refund_is_drawn_after_the_debits(
    lab: Lab, tmp_path: Path, place: str, times: int
) -> None:
    """RDD506: in place, drawn before it, Ann is debited twice, and no error says so."""
    first, second = "    key = str(ctx.uuid())\n", "    back = str(ctx.uuid())\n"
    drawn = second + first if place == "before" else first + second
    rule = "errors/compensation-not-idempotent"
    fixed = changed(tmp_path, f"{rule}/do", (first, drawn), ('key=f"{key}-back"', "key=back"))
    dont = changed(tmp_path, f"{rule}/dont")
    debit, credit = "POST /debits", "POST /credits"

    async def rent(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /unlocks", times=1, status=409)
        assert (await in_proof.call("Bikes/7/rent", "ann"))["message"] == "the bike is broken"

    in_place = dataclasses.replace(crash_after_effect(debit), successor=fixed.stem)
    trace = instead(lab, SNIPPETS / rule, rent, in_place, dont).trace
    assert trace.effect_counts() == {debit: times, credit: 1}
    assert "RT0016" not in {failure.code for failure in trace.failures()}


def test_cancel_refunds_a_meal_that_a_courier_fetches(lab: Lab) -> None:
    """RDD507: the courier is being asked meanwhile."""
    courier, rule = "POST /couriers", CHAPTER / "bare-except"

    async def prove(in_proof: LabInProof) -> None:
        answer = in_proof.outside.hold(courier, at_most=20.0)
        buying = asyncio.create_task(in_proof.call("Meals/buy", "order-1"))
        await in_proof.until_effect(courier)
        assert await in_proof.operate("cancel", "Meals/buy") == 202
        await in_proof.until_all_completed()
        answer.set()
        await buying

    trace = instead(lab, rule, prove, snippet=rule / "do.py").trace
    assert trace.effect_counts() == {"POST /charges": 1, courier: 1, "POST /refunds": 1}


def test_a_value_that_somebody_sets_in_between_is_set_back(lab: Lab, tmp_path: Path) -> None:
    """RDD506: an undoing that may be done twice, where the value isn't the invocation's own."""
    credit = 'httpx.post(f"{API_URL}/credits", json=[rider, 50])'
    snippet = changed(
        tmp_path,
        "errors/compensation-not-idempotent/dont",
        (credit, 'httpx.put(f"{API_URL}/bikes/7", json="free", timeout=60)'),
    )
    freed = "PUT /bikes/7"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /unlocks", times=1, status=409)
        answer = in_proof.outside.hold(freed, at_most=20.0)
        await in_proof.call("Bikes/7/rent/send", "ann")
        await in_proof.until_effect(freed)
        answer.set()
        del in_proof.outside.held[freed]
        await in_proof.outside.receive(freed, "in repair", None, {})
        await in_proof.until_all_completed()
        put = [each.body for each in in_proof.outside.ledger if each.effect == freed]
        assert put == ["free", "in repair", "free"]

    rule = CHAPTER / "compensation-not-idempotent"
    instead(lab, rule, prove, crash_after_effect(freed), snippet)


async def refuse_unlock(in_proof: LabInProof) -> asyncio.Task[Any]:
    """RDD506: begins a rent whose refund is held."""
    in_proof.outside.fail("POST /unlocks", times=1, status=409)
    renting = asyncio.create_task(in_proof.call("Bikes/7/rent", "ann"))
    await in_proof.until_effect("POST /credits")
    return renting


def test_cancel_while_the_lock_is_asked_pays_back_and_it_opens(lab: Lab) -> None:
    """RDD506."""
    rule = CHAPTER / "compensation-not-idempotent"

    async def cancel(in_proof: LabInProof) -> None:
        opened = in_proof.outside.hold("POST /unlocks", at_most=20.0)
        renting = asyncio.create_task(in_proof.call("Bikes/7/rent", "ann"))
        await in_proof.until_effect("POST /unlocks")
        await in_proof.operate("cancel", "Bikes/7/rent")
        assert (await renting)["message"] == "cancelled"
        opened.set()
        await in_proof.until_still(0.5)

    trace = instead(lab, rule, cancel, PLAIN, rule / "do.py").trace
    assert trace.effect_counts() == {"POST /debits": 1, "POST /unlocks": 1, "POST /credits": 1}


def test_cancel_while_the_refund_fails_ends_the_undoing(lab: Lab) -> None:
    """RDD506."""
    rule = CHAPTER / "compensation-not-idempotent"

    async def cancel(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /credits", times=1)
        paid = in_proof.outside.hold("POST /credits", at_most=20.0)
        renting = await refuse_unlock(in_proof)
        await in_proof.operate("cancel", "Bikes/7/rent")
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Signal'"
        )
        paid.set()
        assert (await renting)["message"] == "cancelled"
        await in_proof.until_still(0.5)

    trace = instead(lab, rule, cancel, PLAIN, rule / "do.py").trace
    assert trace.effect_counts() == {"POST /debits": 1}


@pytest.mark.parametrize("action", ["cancel", "resume"])
def test_a_refund_that_was_sent_is_found_and_its_rent_cancelled_or_resumed(
    lab: Lab, tmp_path: Path, action: str
) -> None:
    """RDD506: backing off, and paused; resumed on the fix, it is paid back again, with a key."""
    target, (query,) = "Bikes/7/rent", queries("RDD506")
    rule = "errors/compensation-not-idempotent"
    dont = changed(
        tmp_path,
        f"{rule}/dont",
        ("import httpx\n", "from datetime import timedelta\n\nimport httpx\n"),
        ('VirtualObject("Bikes")', f'VirtualObject("Bikes", {LATER})'),
    )

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /unlocks", times=1, status=409)
        await in_proof.call(f"{target}/send", "ann")
        await until_status(in_proof, target, "backing-off")
        assert [row["status"] for row in await in_proof.query(query)] == ["backing-off"]
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate(action, target) in (200, 202)
        await in_proof.until_all_completed()

    resumed = action == "resume"
    successor = changed(tmp_path, f"{rule}/do").stem if resumed else None
    stimulus = dataclasses.replace(crash_after_effect("POST /credits"), successor=successor)
    trace = instead(lab, SNIPPETS / rule, fix, stimulus, dont).trace
    assert trace.effect_counts() == {"POST /debits": 1, "POST /credits": 1 + resumed}
    keys = [each.idempotency_key for each in trace.effects if each.effect == "POST /credits"]
    assert [bool(key) for key in keys] == [False] + [True] * resumed
    ended = "the bike is broken" if resumed else "cancelled"
    assert trace.invocations[0].result == {"failure": ended, "code": 409}


def test_what_is_under_way_pays_back_without_a_key_where_the_fix_has_a_url_of_its_own(
    lab: Lab,
) -> None:
    """RDD506."""

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /credits", times=1)
        paid = in_proof.outside.hold("POST /credits", at_most=20.0)
        renting = await refuse_unlock(in_proof)
        await in_proof.deploy("do")
        paid.set()
        await renting

    trace = instead(lab, CHAPTER / "compensation-not-idempotent", fix, PLAIN).trace
    credits = [each for each in trace.effects if each.effect == "POST /credits"]
    assert [each.idempotency_key for each in credits] == [None, None]


@pytest.mark.parametrize("stimulus", [PLAIN, REPLAY_EVERY_AWAIT], ids=["running", "suspended"])
def test_a_renewal_that_sleeps_is_moved_to_the_fix_and_obeys_its_cancel(
    lab: Lab, stimulus: Stimulus
) -> None:
    """RDD509: what is suspended needs no pause."""
    target, status = "Subscriptions/renew", "running" if stimulus == PLAIN else "suspended"

    async def move(in_proof: LabInProof) -> None:
        renewing = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_row(ASLEEP)
        await until_status(in_proof, target, status)
        await in_proof.deploy("do")
        if status == "running":
            assert await in_proof.operate("pause", target) == 202
            await until_status(in_proof, target, "paused")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.operate("cancel", target)
        await renewing
        await until_status(in_proof, target, "completed")

    trace = instead(lab, CHAPTER / "except-exception-eats-cancel", move, stimulus).trace
    assert trace.invocations[0].result == {"failure": "cancelled", "code": 409}
    assert not trace.effects


def test_a_second_cancel_holds_back_the_charge(lab: Lab, tmp_path: Path) -> None:
    """RDD509: where nothing swallows it."""
    charge = "    return await ctx.run_typed("
    snippet = changed(
        tmp_path,
        "errors/except-exception-eats-cancel/dont",
        (charge, f"    await ctx.sleep(timedelta(hours=1))\n{charge}"),
    )
    target = "Subscriptions/renew"

    async def cancel_twice(in_proof: LabInProof) -> None:
        renewing = asyncio.create_task(in_proof.call(target, "ann"))
        for times in (1, 2):
            await in_proof.until_row(
                "select count(*) from sys_journal where entry_type = 'Command: Sleep'"
                f" having count(*) = {times}"
            )
            await in_proof.operate("cancel", target)
        assert (await renewing)["message"] == "cancelled"

    rule = CHAPTER / "except-exception-eats-cancel"
    assert not instead(lab, rule, cancel_twice, PLAIN, snippet).trace.effects


SHORT = ("hours=1", "milliseconds=10")


def test_a_failed_mail_never_comes_to_the_block(lab: Lab, tmp_path: Path) -> None:
    """RDD509: the step has no limit."""
    snippet = changed(tmp_path, "errors/except-exception-eats-cancel/dont", SHORT)

    async def fail(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=9)
        await in_proof.call("Subscriptions/renew", "ann")

    trace = instead(lab, CHAPTER / "except-exception-eats-cancel", fail, PLAIN, snippet).trace
    assert trace.invocations[0].status == "paused"
    assert not trace.line_counts() and not trace.effect_counts()


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_step_with_a_limit_lets_a_failed_mail_pass_and_a_cancel_not(
    lab: Lab, tmp_path: Path, cancelled: bool
) -> None:
    """RDD509."""
    mail, block = "mail, customer=customer)", '"no notice for %s", customer)\n        raise'
    limit = "mail, restate.RunOptions(max_attempts=2), customer=customer)"
    snippet = changed(
        tmp_path,
        "errors/except-exception-eats-cancel/do",
        SHORT,
        (mail, limit),
        ("except restate.TerminalError:", "except restate.TerminalError as error:"),
        (block, block.replace("raise", "if error.status_code == 409:\n            raise")),
    )

    async def renew(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=2)
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        renewing = asyncio.create_task(in_proof.call("Subscriptions/renew", "ann"))
        await in_proof.until_effect("POST /emails")
        if cancelled:
            await in_proof.operate("cancel", "Subscriptions/renew")
        else:
            mailed.set()
        await renewing
        mailed.set()

    trace = instead(lab, CHAPTER / "except-exception-eats-cancel", renew, PLAIN, snippet).trace
    assert trace.calls[0].status == (409 if cancelled else 200)
    assert trace.effect_counts() == ({} if cancelled else {"POST /charges": 1})


def test_a_card_that_was_filled_meanwhile_is_charged(lab: Lab, tmp_path: Path) -> None:
    """RDD501: resumed on the fixed code; cancelled, it isn't, though it is listed until its next attempt."""
    target, redeem, rule = "GiftCards/pay", "POST /redemptions", "errors/business-failure-retried"
    (query,) = queries("RDD501")
    dont = changed(
        tmp_path,
        f"{rule}/dont",
        ("import restate\n", "from datetime import timedelta\n\nimport restate\n"),
        ('Service("GiftCards")', f'Service("GiftCards", {LATER})'),
    )
    changed(tmp_path, f"{rule}/do")

    async def fix(in_proof: LabInProof) -> None:
        async def until(status: str, count: int) -> None:
            counted = f"select count(*) from sys_invocation where status = '{status}'"
            await in_proof.until_row(f"{counted} having count(*) = {count}")

        in_proof.outside.fail(redeem, times=3, status=402)
        sent = [await in_proof.call(f"{target}/send", f"card-{n}") for n in (1, 2, 3)]
        first, second, third = (f"/invocations/{answer['invocationId']}" for answer in sent)
        await until("backing-off", 3)
        await in_proof.admin("PATCH", f"{third}/pause")
        await until("paused", 1)
        await in_proof.deploy("do")
        for each in (second, third):
            await in_proof.admin("PATCH", f"{each}/cancel")
        await until("completed", 1)
        assert {row["status"] for row in await in_proof.query(query)} == {"backing-off"}
        for each in (first, second):
            await in_proof.admin("PATCH", f"{each}/pause")
        await until("paused", 2)
        for each in (first, second):
            await in_proof.admin("PATCH", f"{each}/resume?deployment=latest")
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / rule, fix, PLAIN, dont).trace
    cancelled = {"failure": "cancelled", "code": 409}
    assert [each.result for each in trace.invocations] == ["redemption-1", cancelled, cancelled]
    assert trace.effect_counts() == {redeem: 1}


def test_what_backs_off_has_its_two_tries_on_the_fixed_code(lab: Lab, tmp_path: Path) -> None:
    """RDD515: while the bank is still down; by a new idempotency key, the call is made anew."""
    target, rule = "Wallets/ann/top_up", "errors/paused-nobody-told"
    dont = changed(
        tmp_path,
        f"{rule}/dont",
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ('VirtualObject("Wallets")', f'VirtualObject("Wallets", {LATER})'),
    )
    changed(tmp_path, f"{rule}/do")

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /rates/usd", times=9)
        await in_proof.call(f"{target}/send", 10, idempotency_key="k-1")
        await until_status(in_proof, target, "backing-off")
        await in_proof.deploy("do")
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await until_status(in_proof, target, "completed")
        in_proof.outside.unwell.clear()
        in_proof.outside.answers["GET /rates/usd"] = 90
        for key in ("k-1", "k-2"):
            await in_proof.call(target, 10, idempotency_key=key)

    trace = instead(lab, SNIPPETS / rule, fix, PLAIN, dont).trace
    assert [call.status for call in trace.calls[1:]] == [500, 200]
    assert len(trace.effects) == 4  # one try of the old code, two of the fixed, and the new call's


def test_what_was_paused_has_its_two_tries_on_the_fixed_code(lab: Lab) -> None:
    """RDD515: all attempts of the old code count for nothing."""
    target = "Wallets/ann/top_up"

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /rates/usd", times=9)
        await in_proof.call(f"{target}/send", 10)
        await resume_on(in_proof, target)

    trace = instead(lab, CHAPTER / "paused-nobody-told", fix).trace
    assert len(trace.effects) == 3 + 2


def test_top_up_that_runs_is_paused_before_it_is_resumed_on_the_fixed_code(lab: Lab) -> None:
    """RDD515: till then a resume is refused."""
    target, rate = "Wallets/ann/top_up", "GET /rates/usd"

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.answers[rate] = 90
        asked = in_proof.outside.hold(rate, at_most=20.0)
        await in_proof.call(f"{target}/send", 10)
        await in_proof.until_effect(rate)
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 409
        await pause_at_work(in_proof, target)
        asked.set()
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "paused-nobody-told", fix, PLAIN).trace
    assert [state.value for state in trace.state] == [900]


def test_cancel_ends_what_is_paused_while_its_cause_lasts(lab: Lab) -> None:
    """RDD515: the step is not tried again."""
    target = "Wallets/ann/top_up"

    async def give_up(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /rates/usd", times=9)
        await in_proof.call(f"{target}/send", 10)
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("cancel", target) == 202
        await until_status(in_proof, target, "completed")

    trace = instead(lab, CHAPTER / "paused-nobody-told", give_up).trace
    assert trace.invocations[0].result == {"failure": "cancelled", "code": 409}
    assert len(trace.effects) == 3


def test_seventy_attempts_bridge_an_hour() -> None:
    """RDD515: by what the server sets unless it is told otherwise."""
    said = subprocess.run([str(find_binary()), "--dump-config"], env={}, capture_output=True)
    policy = tomllib.loads(said.stdout.decode())["default-retry-policy"]
    assert policy == {
        "initial-interval": "500ms",
        "exponentiation-factor": 2.0,
        "max-attempts": 70,
        "on-max-attempts": "pause",
        "max-interval": "1m",
    }
    pauses = [min(0.5 * 2.0**n, 60.0) for n in range(70 - 1)]
    assert 60 <= sum(pauses) / 60 <= 65  # minutes; the attempts themselves take their time, too


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        ('raise restate.RetryableError("again") from error', "paused"),
        ('raise ExceptionGroup("both", [error])', "paused"),
        ('raise TripNotBooked("no trip") from error', "completed"),
    ],
    ids=["RetryableError", "ExceptionGroup", "own"],
)
@pytest.mark.parametrize("cancelled", [False, True], ids=["refused", "cancelled"])
def test_causes_that_the_sdk_follows(
    lab: Lab, tmp_path: Path, raised: str, status: str, cancelled: bool
) -> None:
    """RDD510."""
    snippet = changed(
        tmp_path,
        "errors/raise-without-from/dont",
        ("    except restate.TerminalError:\n", "    except restate.TerminalError as error:\n"),
        ('raise TripNotBooked(f"no trip for {guest}") from None', raised),
    )
    target = "Trips/plan"

    async def plan(in_proof: LabInProof) -> None:
        in_proof.outside.fail("PUT /rooms/ann", times=3, status=409)
        room = in_proof.outside.hold("PUT /rooms/ann", at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_effect("PUT /rooms/ann")
        if cancelled:
            assert await in_proof.operate("cancel", target) == 202
        else:
            room.set()
        await until_status(in_proof, target, status)
        room.set()

    instead(lab, CHAPTER / "raise-without-from", plan, PLAIN, snippet)


def test_who_waits_at_the_fix_gets_there_later(lab: Lab) -> None:
    """RDD510: on the old code; the page's query finds it then."""
    target, (query,) = "Trips/plan", queries("RDD510")

    async def plan(in_proof: LabInProof) -> None:
        in_proof.outside.fail("PUT /rooms/ann", times=3, status=409)
        room = in_proof.outside.hold("PUT /rooms/ann", at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_effect("PUT /rooms/ann")
        await in_proof.deploy("do")
        assert await in_proof.query(query) == []
        room.set()
        await until_status(in_proof, target, "paused")
        assert [row["target"] for row in await in_proof.query(query)] == [target]

    instead(lab, CHAPTER / "raise-without-from", plan, PLAIN)


STEP = 'ctx.run_typed("reserve", reserve, guest=guest)'
SLEEP = 'ctx.sleep(__import__("datetime").timedelta(hours=1))'


@pytest.mark.parametrize(
    ("waits", "found"),
    [("ctx.service_call(book, guest)", 1), (STEP, 0), (SLEEP, 0), ("ctx.awakeable()[1]", 0)],
)
def test_who_met_a_cancel_is_listed_if_it_met_it_at_a_call(
    lab: Lab, tmp_path: Path, waits: str, found: int
) -> None:
    """RDD510: the call is cancelled as well, and its failure journaled."""
    target, (query,) = "Trips/plan", queries("RDD510")
    call = "return await ctx.service_call(book, guest)"
    snippet = changed(tmp_path, "errors/raise-without-from/dont", (call, f"return await {waits}"))

    async def plan(in_proof: LabInProof) -> None:
        room = in_proof.outside.hold("PUT /rooms/ann", at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_row(
            f"select i.id from sys_invocation i join sys_journal j on i.id = j.id "
            f"where i.target = '{target}' and j.entry_type in ('Command: Call', 'Command: Sleep') "
            "or j.entry_type = 'Command: Run'"
            if "awakeable" not in waits
            else f"select id from sys_invocation where target = '{target}' and status = 'running'"
        )
        assert await in_proof.operate("cancel", target) == 202
        await until_status(in_proof, target, "paused")
        assert len(await in_proof.query(query)) == found
        room.set()

    instead(lab, CHAPTER / "raise-without-from", plan, PLAIN, snippet)


@pytest.mark.parametrize(
    ("handler", "found"),
    [
        ("        error = None\n    raise ZeroDivisionError", 1),
        ("        raise TripNotBooked('no trip') from None", 0),
    ],
    ids=["dealt with", "its own"],
)
def test_whom_the_query_for_hidden_errors_lists(
    lab: Lab, tmp_path: Path, handler: str, found: int
) -> None:
    """RDD510: who has dealt with the error; and not who raised the TerminalError itself.

    The page that it links shows the last error of either.
    """
    (link,) = re.findall(r"\[the last error\]\(../../(.*?)\)", PAGES["RDD510"])
    linked = (ROOT / "docs" / link).read_text()
    error = "ZeroDivisionError" if found else "TripNotBooked"
    call = "        return await ctx.service_call(book, guest)\n"
    own = '        raise restate.TerminalError("no")\n'
    snippet = changed(
        tmp_path,
        "errors/raise-without-from/dont",
        (call, call.replace("return ", "") if found else own),
        ('        raise TripNotBooked(f"no trip for {guest}") from None', handler),
    )

    async def plan(in_proof: LabInProof) -> None:
        in_proof.outside.fail("PUT /rooms/ann", times=3, status=409)
        await in_proof.call("Trips/plan/send", "ann")
        await until_status(in_proof, "Trips/plan", "paused")
        assert len(await in_proof.query(queries("RDD510")[0])) == found
        (errors,) = (
            sql for sql in re.findall(r"^```sql\n(.*?)^```", linked, re.M | re.S) if "event" in sql
        )
        (last,) = {
            row["target"] for row in await in_proof.query(errors) if error in row["event_json"]
        }
        assert last == "Trips/plan"

    instead(lab, CHAPTER / "raise-without-from", plan, PLAIN, snippet)


def test_cancel_while_the_room_is_taken_leaves_it_taken(lab: Lab, tmp_path: Path) -> None:
    """RDD503: released first; then the room is taken, and the query doesn't find it."""
    act = "def reserve(booking: str, guest: str) -> None:\n"
    slow = (act, f'{act}    httpx.get(f"{{API_URL}}/hotels/1", timeout=30)\n')
    snippet = changed(tmp_path, "errors/no-compensation/do", slow)

    async def cancel(in_proof: LabInProof) -> None:
        asked = in_proof.outside.hold("GET /hotels/1", at_most=20.0)
        booking = asyncio.create_task(in_proof.call("Hotel/book", "ann"))
        await in_proof.until_effect("GET /hotels/1")
        assert await in_proof.operate("cancel", "Hotel/book") == 202
        await in_proof.until_all_completed()
        released = "select id from sys_journal where name = 'release'"
        assert await in_proof.query(released)
        assert await in_proof.query(queries("RDD503")[0]) == []
        asked.set()
        await booking
        await in_proof.until_still(0.5)

    trace = instead(lab, CHAPTER / "no-compensation", cancel, snippet=snippet).trace
    assert len(trace.rows["rooms"]) == 1


@pytest.mark.parametrize("step", ["reserve", "deposit"])
def test_what_was_cancelled_may_be_paid_or_have_no_room(
    lab: Lab, tmp_path: Path, step: str
) -> None:
    """RDD503: the query finds both, and their journals hold the guest, and not the booking."""
    act = "def reserve(booking: str, guest: str) -> None:\n"
    fails = (act, f'{act}    httpx.get(f"{{API_URL}}/hotels/1").raise_for_status()\n')
    snippet = changed(tmp_path, "errors/no-compensation/dont", fails)
    effect = {"reserve": "GET /hotels/1", "deposit": "POST /deposits"}[step]
    keys: set[str] = set()

    async def cancel(in_proof: LabInProof) -> None:
        if step == "reserve":
            in_proof.outside.fail(effect, times=9)
        asked = in_proof.outside.hold(effect, at_most=20.0)
        booking = asyncio.create_task(in_proof.call("Hotel/book", "ann"))
        await in_proof.until_effect(effect)
        assert await in_proof.operate("cancel", "Hotel/book") == 202
        await in_proof.until_all_completed()
        asked.set()
        await booking
        (query,) = queries("RDD503")
        assert len(await in_proof.query(query)) == 1
        raw = "".join(
            str(row["raw"]) for row in await in_proof.query("select raw from sys_journal")
        )
        assert b'"ann"'.hex() in raw
        keys.update(
            each.idempotency_key for each in in_proof.outside.ledger if each.idempotency_key
        )
        assert not any(key.encode().hex() in raw for key in keys)

    trace = instead(lab, CHAPTER / "no-compensation", cancel, snippet=snippet).trace
    paid = step == "deposit"
    assert len(keys) == paid
    assert len(trace.rows.get("rooms", [])) == paid
    assert trace.effect_counts() == ({"POST /deposits": 1} if paid else {})


def test_guest_whose_booking_failed_may_have_another_under_way(lab: Lab) -> None:
    """RDD503: two rooms of one guest's and no deposit yet; the query finds the one that failed."""
    found: list[object] = []

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.unwell["POST /deposits"] = [402, 503]
        await in_proof.call("Hotel/book", "ann")
        paid = in_proof.outside.hold("POST /deposits", at_most=20.0)
        booking = asyncio.create_task(in_proof.call("Hotel/book", "ann"))
        await in_proof.until_effect("POST /deposits", times=2)
        found.extend(await in_proof.query(queries("RDD503")[0]))
        under_way = "select id from sys_invocation where status != 'completed'"
        assert len(await in_proof.query(under_way)) == 1
        paid.set()
        await booking

    trace = instead(lab, CHAPTER / "no-compensation", prove, PLAIN).trace
    assert [call.status for call in trace.calls] == [402, 200]
    assert len(found) == 1
    assert [room["guest"] for room in trace.rows["rooms"]] == ["ann", "ann"]
    assert trace.effect_counts() == {"POST /deposits": 1}


@pytest.mark.parametrize("action", ["cancel", "kill"])
def test_what_is_ended_in_its_release_keeps_the_room_and_is_not_found(
    lab: Lab, tmp_path: Path, action: str
) -> None:
    """RDD503: its journal has a `release` without a result."""
    act = "def release(booking: str) -> None:\n"
    fails = (act, f'{act}    httpx.put(f"{{API_URL}}/released").raise_for_status()\n')
    snippet = changed(tmp_path, "errors/no-compensation/do", fails)
    found: list[object] = []

    async def end(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /deposits", times=1, status=402)
        in_proof.outside.fail("PUT /released", times=99)
        await in_proof.call("Hotel/book/send", "ann")
        await until_status(in_proof, "Hotel/book", "paused")
        assert await in_proof.operate(action, "Hotel/book") in (200, 202)
        await in_proof.until_all_completed()
        failed = "select id from sys_invocation where completion_result = 'failure'"
        assert await in_proof.query(failed)
        found.extend(await in_proof.query(queries("RDD503")[0]))

    trace = instead(lab, CHAPTER / "no-compensation", end, snippet=snippet).trace
    assert len(trace.rows["rooms"]) == 1
    assert found == []


def test_cancel_finds_nothing_registered_while_the_action_is_at_work(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD505: a second try that knows its own seat is no help."""
    snippet = changed(tmp_path, "errors/compensation-registered-late/own", *SLOWLY)

    async def cancel(in_proof: LabInProof) -> None:
        hall = in_proof.outside.hold("GET /halls/1", at_most=20.0)
        buying = asyncio.create_task(in_proof.call("Tickets/buy", "ann"))
        await in_proof.until_effect("GET /halls/1")
        assert await in_proof.operate("cancel", "Tickets/buy") == 202
        assert (await buying)["message"] == "no ticket was sold"
        assert not await in_proof.query("select id from sys_journal where name like 'undo%'")
        hall.set()
        await in_proof.until_still(0.5)

    rule = CHAPTER / "compensation-registered-late"
    assert len(instead(lab, rule, cancel, PLAIN, snippet).trace.rows["seats"]) == 1


@pytest.mark.parametrize(
    ("resumed", "left"),
    [(None, 1), ({}, 1), ({"deployment": "latest"}, 0)],
    ids=["left alone", "resumed", "resumed on the latest"],
)
def test_what_has_not_failed_yet_is_protected_once_it_is_moved(
    lab: Lab, tmp_path: Path, resumed: dict[str, str] | None, left: int
) -> None:
    """RDD505: the fix at a new URL is no help to what stays on the old one."""
    taken = '        raise restate.TerminalError("the seat is taken")\n'
    tells = (taken, f'{taken}    httpx.put(f"{{API_URL}}/told", timeout=30).raise_for_status()\n')
    for variant in ("do", "dont"):
        changed(tmp_path, f"errors/compensation-registered-late/{variant}", SLOWLY[1], tells)

    async def move(in_proof: LabInProof) -> None:
        in_proof.outside.fail("PUT /told", times=1)
        told = in_proof.outside.hold("PUT /told", at_most=20.0)
        await in_proof.call("Tickets/buy/send", "ann")
        await in_proof.until_effect("PUT /told")
        if resumed is not None:
            assert await in_proof.operate("pause", "Tickets/buy") == 202
        await in_proof.deploy("do")
        told.set()
        if resumed is not None:
            await until_status(in_proof, "Tickets/buy", "paused")
            assert await in_proof.operate("resume", "Tickets/buy", **resumed) == 200
        await until_status(in_proof, "Tickets/buy", "completed")

    rule = CHAPTER / "compensation-registered-late"
    trace = instead(lab, rule, move, PLAIN, tmp_path / "dont.py").trace
    assert len(trace.rows["seats"]) == left


def test_a_charge_at_work_is_repeated_when_its_release_is_registered_first_in_place(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD505: the restart cuts it off; the purchase gets through, and is paid twice."""
    rule, charge = "errors/compensation-registered-late", "POST /charges"
    declined = 'raise restate.TerminalError("the card is declined")  # the bank\'s answer today'
    pays = (declined, 'httpx.post(f"{API_URL}/charges", timeout=30).raise_for_status()')
    for variant in ("do", "dont"):
        changed(tmp_path, f"{rule}/{variant}", SLOWLY[1], pays)
    proof = load(SNIPPETS / rule)
    over = dataclasses.replace(crash_after_effect(charge), successor="do")
    trace = instead(lab, proof.folder, proof.prove, over, tmp_path / "dont.py").trace
    assert trace.calls[0].status == 200
    assert trace.effect_counts() == {charge: 2}
    assert len(trace.rows["seats"]) == 1


def test_what_another_step_undid_hides_what_nobody_undid(lab: Lab, tmp_path: Path) -> None:
    """RDD505: of several steps, each is asked for by the name of its own undo."""
    charge = '        await ctx.run_typed("charge", charge, buyer=buyer)\n'
    undo = '        undo.append(("undo print", partial(print, "unprinted")))\n'
    acts = """def prints() -> None:
    print("printed")
    raise restate.TerminalError("no answer")


def charge("""
    snippet = changed(
        tmp_path,
        "errors/compensation-registered-late/dont",
        ("def charge(", acts),
        (charge, f'        await ctx.run_typed("print", prints)\n{undo}{charge}'),
    )
    found: list[int] = []

    async def ask(in_proof: LabInProof) -> None:
        await in_proof.call("Tickets/buy", "ann")
        (query,) = queries("RDD505")
        own = query.replace("'reserve'", "'print'").replace("undo%", "undo print")
        found.extend([len(await in_proof.query(each)) for each in (query, own)])

    rule = CHAPTER / "compensation-registered-late"
    result = instead(lab, rule, ask, PLAIN, snippet)
    assert found == [0, 1]
    assert result.trace.line_counts() == {"printed": 1}


def test_argument_for_options_with_nothing_but_its_input_goes_to_the_fix(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD512: what is backing off then; it is bound to no deployment."""
    slug, target = "errors/options-in-the-wrong-slot", "Parcels/pack"
    soon = "initial_interval=timedelta(seconds=0.3), max_attempts=99"
    dont = changed(
        tmp_path,
        f"{slug}/dont",
        ("import restate\n", "from datetime import timedelta\n\nimport restate\n"),
        (
            '("Parcels")',
            f'("Parcels", invocation_retry_policy=restate.InvocationRetryPolicy({soon}))',
        ),
    )
    changed(tmp_path, f"{slug}/do")

    async def pack(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "parcel-1")
        await until_status(in_proof, target, "backing-off")
        await in_proof.deploy("do")
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / slug, pack, PLAIN, dont).trace
    assert trace.effect_counts() == {"PUT /labels/parcel-1": 1}


@pytest.mark.parametrize(("killed", "acts"), [(False, 2), (True, 1)])
@pytest.mark.parametrize(
    ("rule", "slug", "target", "effect"),
    [
        ("RDD512", "errors/options-in-the-wrong-slot", "Parcels/pack", "PUT /labels/parcel-1"),
        ("RDD116", "determinism/coroutine-from-lambda", "Accounts/welcome", "POST /emails"),
    ],
)
def test_who_asked_again_has_it_done_twice_unless_one_is_killed_before_the_fix_serves(
    lab: Lab,
    tmp_path: Path,
    rule: str,
    slug: str,
    target: str,
    effect: str,
    killed: bool,
    acts: int,
) -> None:
    """RDD116, RDD512: without an idempotency key. In place, what backs off acts with no resume."""
    (query,) = queries(rule)
    steps = re.search(r"^1\. .*kill one.*\n2\. (Register|Deploy) the fix", PAGES[rule], re.M)
    assert steps, "the page has them in this order"
    service = target.partition("/")[0]
    tries = "initial_interval=timedelta(seconds=1), exponentiation_factor=1, max_attempts=99"
    policy = f"invocation_retry_policy=restate.InvocationRetryPolicy({tries})"
    dont = changed(
        tmp_path,
        f"{slug}/dont",
        ("import restate\n", "from datetime import timedelta\n\nimport restate\n"),
        (f'("{service}")', f'("{service}", {policy})'),
    )
    changed(tmp_path, f"{slug}/do")

    async def ask(in_proof: LabInProof) -> None:
        for _ in range(2):
            await in_proof.call(f"{target}/send", "parcel-1")
        both = "sys_invocation where status = 'backing-off' having count(*) = 2"
        await in_proof.until_row(f"select count(*) from {both}")
        found = [str(row["id"]) for row in await in_proof.query(query)]
        assert len(found) == 2
        if killed:
            await in_proof.admin("PATCH", f"/invocations/{found.pop()}/kill")
        async with httpx.AsyncClient() as operator:
            await operator.post(f"{in_proof.outside.url}/replaced")
        await in_proof.until_all_completed()

    replaced = dataclasses.replace(
        PLAIN, workers=2, successor="do", crash_on_effect="POST /replaced"
    )
    trace = instead(lab, SNIPPETS / slug, ask, replaced, dont).trace
    assert trace.effect_counts()[effect] == acts


def test_what_waits_before_the_wrong_slot_is_found_later(lab: Lab, tmp_path: Path) -> None:
    """RDD512: in an earlier step, when the fix is registered; and there it is bound to the old code.

    The page's query doesn't list it any more while the fixed code is at work.
    """
    slug, target = "errors/options-in-the-wrong-slot", "Parcels/pack"
    (query,) = queries("RDD512")
    weighing = (
        (
            "@parcels",
            "def weigh() -> str:\n    return httpx.post(f'{API_URL}/weights').text\n\n\n@parcels",
        ),
        ("    await", "    await ctx.run_typed('weigh', weigh)\n    await"),
    )
    changed(tmp_path, f"{slug}/do", *weighing)
    dont = changed(tmp_path, f"{slug}/dont", *weighing)

    async def pack(in_proof: LabInProof) -> None:
        weight = in_proof.outside.hold("POST /weights", at_most=20.0)
        await in_proof.call(f"{target}/send", "parcel-1")
        await in_proof.until_effect("POST /weights")
        await in_proof.deploy("do")
        assert await in_proof.query(query) == []
        weight.set()
        await until_status(in_proof, target, "paused")
        assert [row["target"] for row in await in_proof.query(query)] == [target]
        printed = in_proof.outside.hold("PUT /labels/parcel-1", at_most=20.0)
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_effect("PUT /labels/parcel-1")
        assert await in_proof.query(query) == []
        printed.set()
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / slug, pack, PLAIN, dont).trace
    assert trace.effect_counts() == {"POST /weights": 1, "PUT /labels/parcel-1": 1}


def test_pause_of_a_count_that_backs_off_opens_nothing(lab: Lab, tmp_path: Path) -> None:
    """RDD508: its attempt has ended, and opened the shop then."""
    rule, target = "errors/finally-runs-on-suspension", "Shops/7/take_stock"
    snippet = changed(
        tmp_path,
        f"{rule}/dont",
        ('VirtualObject("Shops")', f'VirtualObject("Shops", {LATER})'),
    )

    async def pause(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /counts", times=1)
        await in_proof.call(f"{target}/send")
        await until_status(in_proof, target, "backing-off")
        await in_proof.until_effect("POST /openings")
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        await in_proof.until_still(0.5)

    trace = instead(lab, SNIPPETS / rule, pause, PLAIN, snippet).trace
    assert trace.effect_counts() == {"POST /closings": 1, "POST /openings": 1}


@pytest.mark.parametrize(
    ("stimulus", "status", "opened"), [(PLAIN, "running", 1), (REPLAY_EVERY_AWAIT, "suspended", 0)]
)
def test_count_that_is_paused_to_be_moved_opens_the_shop(
    lab: Lab, tmp_path: Path, stimulus: Stimulus, status: str, opened: int
) -> None:
    """RDD508: one that is suspended is resumed on the fixed code without a pause, and without that."""
    rule, target = "errors/finally-runs-on-suspension", "Shops/7/take_stock"
    snippet = changed(tmp_path, f"{rule}/dont", ("seconds=0.3", "seconds=5"))
    changed(tmp_path, f"{rule}/do")
    moved: list[int] = []

    async def move(in_proof: LabInProof) -> None:
        def openings() -> int:
            return sum(each.effect == "POST /openings" for each in in_proof.outside.ledger)

        await in_proof.call(f"{target}/send")
        await in_proof.until_row(ASLEEP)
        await until_status(in_proof, target, status)
        await in_proof.deploy("do")
        before = openings()
        if status == "running":
            assert await in_proof.operate("resume", target, deployment="latest") == 409
            assert await in_proof.operate("pause", target) in (200, 202)
            await until_status(in_proof, target, "paused")
            await in_proof.until_effect("POST /openings")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_result("Run close")
        moved.append(openings() - before)
        await in_proof.until_all_completed()
        moved.append(openings() - before)

    trace = instead(lab, SNIPPETS / rule, move, stimulus, snippet).trace
    assert moved == [opened, opened + 1], "and the fixed code opens the shop, too"
    assert not [failure for failure in trace.failures() if failure.code]


@pytest.mark.parametrize(("successor", "kind"), [("dont", "call-failed"), ("do", "holds")])
def test_the_fix_in_place_reaches_what_has_not_failed_yet(
    lab: Lab, tmp_path: Path, successor: str, kind: str
) -> None:
    """RDD502: a worker with the fixed code takes over before the bank is asked."""
    slug = "transient-made-terminal"
    step = "    return 40 * await ctx.run_typed("
    menu = 'lambda: httpx.get(f"{API_URL}/menu").text'
    looks = (step, f'    await ctx.run_typed("menu", {menu})\n{step}')
    dont, _ = (changed(tmp_path, f"errors/{slug}/{each}", looks) for each in ("dont", "do"))
    stimulus = dataclasses.replace(crash_after_step("menu"), successor=successor)

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / slug).prove(in_proof)

    result = instead(lab, CHAPTER / slug, prove, stimulus, dont)
    assert result.outcome.kind == kind, result.outcome
    assert [each.effect for each in result.trace.effects].count("GET /menu") == 1


def test_a_workflow_that_failed_is_not_started_again(lab: Lab, tmp_path: Path) -> None:
    """RDD502: the server refuses it, with or without a deployment."""
    dont = changed(
        tmp_path,
        "errors/transient-made-terminal/dont",
        ('restate.Service("Quotes")', 'restate.Workflow("Quotes")'),
        ("@quotes.handler()", "@quotes.main()"),
        ("price(ctx: restate.Context,", "price(ctx: restate.WorkflowContext,"),
    )
    target = "Quotes/offer-1/price"

    async def again(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /rates/usd", times=1)
        await in_proof.call(target, "usd")
        (found,) = await in_proof.query(queries("RDD502")[0])
        assert found["target"] == target
        assert await in_proof.operate("restart-as-new", target) == 422
        assert await in_proof.operate("restart-as-new", target, deployment="latest") == 422

    instead(lab, CHAPTER / "transient-made-terminal", again, snippet=dont)


@pytest.mark.parametrize("limit", ["max_duration=timedelta(seconds=0.1)", "max_attempts=1"])
def test_a_limit_breaks_off_no_try(lab: Lab, tmp_path: Path, limit: str) -> None:
    """RDD502: the bank answers late, and its answer counts."""
    limited = changed(
        tmp_path,
        "errors/transient-made-terminal/do",
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ('"rate", rate, ', f'"rate", rate, restate.RunOptions({limit}), '),
    )

    async def late(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /rates/usd"] = 1.25
        answer = in_proof.outside.hold("GET /rates/usd", at_most=20.0)
        asking = asyncio.create_task(in_proof.call("Quotes/price", "usd"))
        await in_proof.until_effect("GET /rates/usd")
        await in_proof.until_still(0.4)
        answer.set()
        assert await asking == 50.0

    trace = instead(lab, CHAPTER / "transient-made-terminal", late, snippet=limited).trace
    assert [each.effect for each in trace.effects] == ["GET /rates/usd"]


def test_attempts_on_the_old_code_are_counted_in_place(lab: Lab, tmp_path: Path) -> None:
    """RDD514: once they are as many as the limit, the next failure is final, also one without a debit."""
    debit, fixed = "POST /debits", tmp_path / "fixed"
    limit = f"max_attempts=2 if os.path.exists({str(fixed)!r}) else None)"
    in_time = changed(tmp_path, "errors/retry-loop-by-hand/do", ("max_attempts=3)", limit))

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail(debit, times=1000)
        await in_proof.call("Members/collect/send", "ann")
        await in_proof.until_effect(debit)
        held = in_proof.outside.hold(debit, at_most=20.0)
        await in_proof.until_effect(debit, times=2)
        fixed.touch()
        held.set()
        await in_proof.until_all_completed()
        assert len(in_proof.outside.ledger) == 3

    trace = instead(lab, CHAPTER / "retry-loop-by-hand", prove, PLAIN, in_time).trace
    assert trace.invocations[0].result == "ann has not paid"


@pytest.mark.parametrize("passes", [False, True])
def test_cancel_in_a_loop_over_cards_leads_to_the_next(
    lab: Lab, tmp_path: Path, passes: bool
) -> None:
    """RDD514: unless the block lets it through."""
    debit = "POST /debits"
    source = (CHAPTER / "retry-loop-by-hand/do.py").read_text()
    body = source[source.index("    try:\n") : source.index("\n\napp =")]
    loop = f"""    for card in ("old", "new"):
        try:
            limit = restate.RunOptions(max_attempts=3)
            await ctx.run_typed("debit", debit, limit, who=card)
            return f"{{who}} has paid"
        except restate.TerminalError as error:
            if {passes} and error.status_code == 409:
                raise
    return f"{{who}} has not paid"
"""
    cards = changed(tmp_path, "errors/retry-loop-by-hand/do", (body, loop))

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[debit] = {"status": "paid"}
        answered = in_proof.outside.hold(debit, at_most=20.0)
        await in_proof.call("Members/collect/send", "ann")
        await in_proof.until_effect(debit)
        assert await in_proof.operate("cancel", "Members/collect") == 202
        if passes:
            await in_proof.until_all_completed()
        else:
            await in_proof.until_effect(debit, times=2)
        answered.set()
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "retry-loop-by-hand", prove, PLAIN, cards).trace
    assert [effect.body["member"] for effect in trace.effects] == ["old", "new"][: 2 - passes]


def test_what_was_killed_while_it_undid_is_found(lab: Lab, tmp_path: Path) -> None:
    """RDD504: its `undo` stands in the journal, and has freed nothing."""
    act = "def free_place(place: str) -> None:\n"
    refused = f'{act}    httpx.delete(f"{{API_URL}}/places").raise_for_status()\n'
    snippet = changed(tmp_path, "errors/kill-skips-compensation/dont", (act, refused))
    found: list[object] = []

    async def prove(in_proof: LabInProof) -> None:
        invoiced = in_proof.outside.hold("PUT /invoices/ann", at_most=20.0)
        in_proof.outside.fail("DELETE /places", times=9)
        enrolling = asyncio.create_task(in_proof.call("Courses/enrol", "ann"))
        await in_proof.until_effect("PUT /invoices/ann")
        assert await in_proof.operate("cancel", "Courses/enrol") == 202
        await enrolling
        invoiced.set()
        found.extend(await in_proof.query(queries("RDD504")[0]))

    trace = instead(lab, CHAPTER / "kill-skips-compensation", prove, snippet=snippet).trace
    assert len(trace.rows["places"]) == len(found) == 1


@pytest.mark.parametrize(
    ("paused_at", "releases", "latest", "left"),
    [
        ("", 1, False, ["order-1 cups", "order-1 teapot"]),
        ("GET /stock/cups", 0, True, []),
        ("release 1", 1, True, []),
        ("release 2", 2, False, ["order-1 cups", "order-1 teapot"]),
    ],
    ids=["left alone", "not failed yet", "released once", "released twice"],
)
def test_late_binding_is_fixed_at_a_new_url(
    lab: Lab, tmp_path: Path, paused_at: str, releases: int, latest: bool, left: list[str]
) -> None:
    """RDD513: what is under way undoes the wrong item there, unless it is paused and moved.

    The page's second query finds only those that left something behind.
    """
    rule, target = CHAPTER / "late-binding-compensation", "Orders/order-1/place"
    asks = "    httpx.get(f\"{os.environ['API_URL']}/stock/{item}\").raise_for_status()\n"
    reserve, delete = (
        f"def {name}(order: str, item: str) -> None:\n" for name in ("reserve", "delete")
    )
    for variant in ("do", "dont"):
        changed(
            tmp_path,
            f"errors/late-binding-compensation/{variant}",
            ("import restate\n", "import httpx\nimport restate\n"),
            (reserve, reserve + asks),
            (delete, delete + asks.replace("/stock/", "/back/")),
        )
    back, found, undone = "GET /back/tray", [], []
    held = paused_at if paused_at.startswith("GET") else back

    async def place(in_proof: LabInProof) -> None:
        for item in ("teapot", "cups", "tray"):
            in_proof.outside.answers |= {f"GET /stock/{item}": 1, f"GET /back/{item}": 1}
        goes_on = in_proof.outside.hold(held, at_most=20.0)
        placing = asyncio.create_task(in_proof.call(target, ["teapot", "cups", "tray"]))
        await in_proof.until_effect(held)
        await in_proof.deploy("do")
        found.extend(await in_proof.query(queries("RDD513")[0]))
        if paused_at == "release 2":
            goes_on.set()
            goes_on = in_proof.outside.hold(back, at_most=20.0)
            await in_proof.until_effect(back, times=2)
        if paused_at:
            await pause_at_work(in_proof, target)
            goes_on.set()
            await until_status(in_proof, target, "paused")
            found.extend(await in_proof.query(queries("RDD513")[0]))
            moved = {"deployment": "latest"} if latest else {}
            assert await in_proof.operate("resume", target, **moved) == 200
        goes_on.set()
        await until_status(in_proof, target, "completed")
        await placing
        undone.extend(await in_proof.query(queries("RDD513")[1]))

    trace = instead(lab, rule, place, PLAIN, tmp_path / "dont.py").trace
    at_first = min(releases, 1)  # and more by the time that it is paused
    assert [row["releases"] for row in found] == [at_first, *([releases] if paused_at else [])]
    assert [row["name"] for row in undone] == (["release tray"] if left else [])
    assert not {failure.code for failure in trace.failures()} - {None}
    assert sorted(row["id"] for row in trace.rows["reserved"]) == left


@pytest.mark.parametrize("action", ["kill", "cancel"])
def test_a_loop_that_is_running_is_not_stopped(lab: Lab, action: str) -> None:
    """RDD514."""
    debit, target, over = (
        "POST /debits",
        "Members/collect",
        {"kill": "failure", "cancel": "success"},
    )

    async def end(in_proof: LabInProof) -> None:
        in_proof.outside.answers[debit] = {"status": "returned"}
        first = in_proof.outside.hold(debit, at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_effect(debit)
        assert await in_proof.operate(action, target) in (200, 202)
        await in_proof.until_all_completed()
        (row,) = await in_proof.query("select completion_result from sys_invocation")
        assert row["completion_result"] == over[action]
        first.set()
        await in_proof.until_effect(debit, times=3)

    trace = instead(lab, CHAPTER / "retry-loop-by-hand", end, PLAIN).trace
    assert trace.effect_counts() == {debit: 3}


def test_meal_whose_courier_is_asked_is_refunded_when_it_is_killed(lab: Lab) -> None:
    """RDD507: the courier comes as well."""
    courier, refund = "POST /couriers", "POST /refunds"

    async def kill(in_proof: LabInProof) -> None:
        asked = in_proof.outside.hold(courier, at_most=20.0)
        buying = asyncio.create_task(in_proof.call("Meals/buy", "order-1"))
        await in_proof.until_effect(courier)
        assert await in_proof.operate("kill", "Meals/buy") == 200
        assert (await buying)["message"] == "killed"
        await in_proof.until_effect(refund)
        asked.set()

    trace = instead(lab, CHAPTER / "bare-except", kill, PLAIN).trace
    assert trace.effect_counts() == {"POST /charges": 1, courier: 1, refund: 1}


@pytest.mark.parametrize("pauses", [False, True])
def test_meal_whose_courier_is_asked_is_refunded_when_it_is_paused(lab: Lab, pauses: bool) -> None:
    """RDD507: the courier comes, and the next attempt tells so on the fixed code."""
    courier, target = "POST /couriers", "Meals/buy"

    async def move(in_proof: LabInProof) -> None:
        asked = in_proof.outside.hold(courier, at_most=20.0)
        buying = asyncio.create_task(in_proof.call(target, "order-1"))
        await in_proof.until_effect(courier)
        if pauses:
            await pause_at_work(in_proof, target)
        asked.set()
        if pauses:
            await resume_on(in_proof, target)
        await buying

    trace = instead(lab, CHAPTER / "bare-except", move).trace
    assert trace.invocations[0].result == "courier-1"
    assert trace.effect_counts().get("POST /refunds", 0) == pauses


@contextlib.asynccontextmanager
async def commanded(in_proof: LabInProof, snippet: Path, port: int) -> AsyncIterator[int]:
    """Serves a snippet by Hypercorn's command; its process group, which is killed at the end."""
    argv = [str(Path(sys.executable).with_name("hypercorn")), "--bind", f"127.0.0.1:{port}"]
    argv += ["--graceful-timeout", "1", f"{snippet.stem}:app"]
    env = {**os.environ, "API_URL": in_proof.outside.url}
    worker = subprocess.Popen(argv, cwd=snippet.parent, env=env, start_new_session=True)
    try:
        async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await client.get(f"http://127.0.0.1:{port}/")
                    break
                await asyncio.sleep(0.05)
        yield worker.pid
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def test_sigterm_refunds_a_meal_whose_courier_is_asked(lab: Lab, tmp_path: Path) -> None:
    """RDD507: to a worker that Hypercorn's command serves."""
    courier, rule, port = "POST /couriers", "errors/bare-except", free_port()
    dont = changed(tmp_path, f"{rule}/dont")

    async def stop(in_proof: LabInProof) -> None:
        asked = in_proof.outside.hold(courier, at_most=20.0)
        async with commanded(in_proof, dont, port) as group:
            await until_registered(in_proof, port)
            buying = asyncio.create_task(in_proof.call("Meals/buy", "order-1"))
            await in_proof.until_effect(courier)
            os.killpg(group, signal.SIGTERM)
            await in_proof.until_effect("POST /refunds")
            assert await in_proof.operate("kill", "Meals/buy") == 200
            asked.set()
            await buying

    trace = instead(lab, SNIPPETS / rule, stop, PLAIN).trace
    assert trace.effect_counts()["POST /refunds"] == 1


def test_sigterm_opens_a_shop_that_is_being_counted(lab: Lab, tmp_path: Path) -> None:
    """RDD508: on a worker that Hypercorn's command serves."""
    rule, target, port = "errors/finally-runs-on-suspension", "Shops/7/take_stock", free_port()
    dont = changed(tmp_path, f"{rule}/dont")

    async def stop(in_proof: LabInProof) -> None:
        counted = in_proof.outside.hold("POST /counts", at_most=20.0)
        async with commanded(in_proof, dont, port) as group:
            await until_registered(in_proof, port)
            counting = asyncio.create_task(in_proof.call(target))
            await in_proof.until_effect("POST /counts")
            os.killpg(group, signal.SIGTERM)
            await in_proof.until_effect("POST /openings")
            assert await in_proof.operate("kill", target) == 200
            counted.set()
            await counting

    instead(lab, SNIPPETS / rule, stop, PLAIN)


@pytest.mark.parametrize(
    ("asks", "credits"), [("before", 2), ("after", 1)], ids=["old worker serves", "and is stopped"]
)
def test_rent_that_comes_to_its_refund_after_the_query_is_paid_back_twice(
    lab: Lab, tmp_path: Path, asks: str, credits: int
) -> None:
    """RDD506: so the old worker is stopped first; then nothing comes there any more."""
    target, rule, port = "Bikes/7/rent", "errors/compensation-not-idempotent", free_port()
    do, dont = (changed(tmp_path, f"{rule}/{variant}") for variant in ("do", "dont"))
    unlock, credit = "POST /unlocks", "POST /credits"
    (query,) = queries("RDD506")

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.fail(unlock, times=1, status=409)
        unlocked, paid = (in_proof.outside.hold(each, at_most=20.0) for each in (unlock, credit))
        async with commanded(in_proof, dont, port):
            await until_registered(in_proof, port)
            await in_proof.call(f"{target}/send", "ann")
            await in_proof.until_effect(unlock)
            if asks == "before":
                assert await in_proof.query(query) == []
            unlocked.set()
            await in_proof.until_effect(credit)
        paid.set()
        if asks == "after":
            await until_status(in_proof, target, "backing-off")
            assert [row["target"] for row in await in_proof.query(query)] == [target]
            assert await in_proof.operate("pause", target) == 202
            await until_status(in_proof, target, "paused")
        async with commanded(in_proof, do, port):
            if asks == "after":
                assert await in_proof.operate("cancel", target) == 202
            await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / rule, fix, PLAIN).trace
    paid = [each for each in trace.effects if each.effect == credit]
    assert [bool(each.idempotency_key) for each in paid] == [False, True][:credits]


def test_sigkill_refunds_no_meal_whose_courier_is_asked(lab: Lab) -> None:
    """RDD507: the fixed code takes the worker's place."""
    courier, rule = "POST /couriers", CHAPTER / "bare-except"

    async def buy(in_proof: LabInProof) -> None:
        assert await in_proof.call("Meals/buy", "order-1") == "courier-1"

    stimulus = dataclasses.replace(crash_after_effect(courier), successor="do")
    trace = instead(lab, rule, buy, stimulus).trace
    assert trace.effect_counts() == {"POST /charges": 1, courier: 1}


@pytest.mark.parametrize(("action", "couriers"), [("cancel", 0), ("resume", 1)])
def test_meal_that_was_refunded_is_cancelled_or_gets_its_courier(
    lab: Lab, tmp_path: Path, action: str, couriers: int
) -> None:
    """RDD507: paused when no worker serves; on the fixed code, in place, it refunds by the same key."""
    target, rule, refund = "Meals/buy", "errors/bare-except", "POST /refunds"
    port, (query,) = free_port(), queries("RDD507")
    do = changed(tmp_path, f"{rule}/do")
    dont = changed(
        tmp_path,
        f"{rule}/dont",
        ("import httpx\n", "from datetime import timedelta\n\nimport httpx\n"),
        ('Service("Meals")', f'Service("Meals", {LATER})'),
    )

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /couriers", times=1)
        async with commanded(in_proof, dont, port):
            await until_registered(in_proof, port)
            await in_proof.call(f"{target}/send", "order-1")
            await in_proof.until_effect(refund)
            await until_status(in_proof, target, "backing-off")
        assert [row["status"] for row in await in_proof.query(query)] == ["backing-off"]
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        async with commanded(in_proof, do, port):
            assert await in_proof.operate(action, target) in (200, 202)
            await in_proof.until_all_completed()
        assert not await in_proof.query(query)

    trace = instead(lab, SNIPPETS / rule, fix, PLAIN).trace
    counts = trace.effect_counts()
    assert (counts[refund], counts.get("POST /couriers", 0)) == (1, couriers)
    refunds = [each.idempotency_key for each in trace.effects if each.effect == refund]
    assert len(refunds) == 2 - couriers and len(set(refunds)) == 1


def test_a_payment_in_its_first_try_gets_stuck_on_the_old_code(lab: Lab) -> None:
    """RDD501: and is listed then. Resumed, it is charged beside the one that was made meanwhile."""
    target, redeem, (query,) = "GiftCards/pay", "POST /redemptions", queries("RDD501")

    async def pay(in_proof: LabInProof) -> None:
        in_proof.outside.fail(redeem, times=3, status=402)
        refused = in_proof.outside.hold(redeem, at_most=20.0)
        await in_proof.call(f"{target}/send", "card-1")
        await in_proof.until_effect(redeem)
        await in_proof.deploy("do")
        assert await in_proof.query(query) == []
        refused.set()
        await until_status(in_proof, target, "paused")
        found = await in_proof.query(query)
        assert {row["target"] for row in found} == {target}
        assert any("the card is used up" in str(row["event_json"]) for row in found)
        await in_proof.call(f"{target}/send", "card-1")
        await until_status(in_proof, target, "completed")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "business-failure-retried", pay, PLAIN).trace
    assert trace.effect_counts() == {redeem: 2}


def test_a_second_cancel_ends_the_wait_for_the_action(lab: Lab) -> None:
    """RDD505: and the undoing with it."""
    rule, target = CHAPTER / "compensation-registered-late", "Tickets/buy"
    signals = "select count(*) from sys_journal where entry_type = 'Notification: Signal'"

    async def cancel_twice(in_proof: LabInProof) -> None:
        hall = in_proof.outside.hold("GET /halls/1", at_most=20.0)
        buying = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_effect("GET /halls/1")
        for times in (1, 2):
            assert await in_proof.operate("cancel", target) == 202
            await in_proof.until_row(f"{signals} having count(*) = {times}")
            if times == 1:
                await in_proof.until_still(0.3)  # until the handler has it, too
        assert (await buying)["message"] == "cancelled"
        hall.set()
        await in_proof.until_still(0.5)

    trace = instead(lab, rule, cancel_twice, PLAIN, rule / "cancelled.py").trace
    assert len(trace.rows["seats"]) == 1


@pytest.mark.parametrize("action", ["cancel", "kill"])
def test_what_is_ended_in_its_undo_keeps_the_seat_and_is_not_found(
    lab: Lab, tmp_path: Path, action: str
) -> None:
    """RDD505: its journal has an `undo reserve` without a result."""
    act, target = "def release(booking: str) -> None:\n", "Tickets/buy"
    fails = (act, f'{act}    httpx.put(f"{{API_URL}}/released").raise_for_status()\n')
    snippet = changed(tmp_path, "errors/compensation-registered-late/dont", SLOWLY[1], fails)
    found: list[object] = []

    async def end(in_proof: LabInProof) -> None:
        in_proof.outside.fail("PUT /released", times=99)
        await in_proof.call(f"{target}/send", "ann")
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate(action, target) in (200, 202)
        await in_proof.until_all_completed()
        failed = "select id from sys_invocation where completion_result = 'failure'"
        assert await in_proof.query(failed)
        found.extend(await in_proof.query(queries("RDD505")[0]))

    trace = instead(lab, CHAPTER / "compensation-registered-late", end, PLAIN, snippet).trace
    assert len(trace.rows["seats"]) == 1
    assert found == []


def test_count_that_the_restart_cuts_off_is_made_again(lab: Lab) -> None:
    """RDD508: on the fixed code, in place."""
    rule = load(CHAPTER / "finally-runs-on-suspension")
    stimulus = dataclasses.replace(crash_after_effect("POST /counts"), successor="do")
    trace = instead(lab, rule.folder, rule.prove, stimulus).trace
    assert trace.invocations[0].result == "counted"
    assert trace.effect_counts() == {"POST /closings": 1, "POST /counts": 2, "POST /openings": 1}


def test_a_count_that_is_paused_leaves_the_shop_closed(lab: Lab) -> None:
    """RDD508: the do's, which has no limit."""
    rule = CHAPTER / "finally-runs-on-suspension"

    async def count(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /counts", times=99)
        await in_proof.call("Shops/7/take_stock/send")
        await until_status(in_proof, "Shops/7/take_stock", "paused")

    trace = instead(lab, rule, count, PLAIN, rule / "do.py").trace
    assert trace.effect_counts() == {"POST /closings": 1}


def test_a_renewal_that_mails_is_moved_to_the_fix_and_obeys_its_cancel(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD509: it would swallow its cancel as well."""
    target, rule = "Subscriptions/renew", "errors/except-exception-eats-cancel"
    unpatient = ('json={"to": customer})', 'json={"to": customer}, timeout=30)')
    for variant in ("do", "dont"):
        changed(tmp_path, f"{rule}/{variant}", SHORT, unpatient)

    async def move(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=1)
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        renewing = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_effect("POST /emails")
        await in_proof.deploy("do")
        await pause_at_work(in_proof, target)
        mailed.set()
        await until_status(in_proof, target, "paused")
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_effect("POST /emails", times=2)
        assert await in_proof.operate("cancel", target) == 202
        await renewing
        mailed.set()

    trace = instead(lab, SNIPPETS / rule, move, PLAIN, tmp_path / "dont.py").trace
    assert trace.invocations[0].result == {"failure": "cancelled", "code": 409}
    assert "POST /charges" not in trace.effect_counts()


def test_a_cancel_after_the_last_await_is_listed(lab: Lab, tmp_path: Path) -> None:
    """RDD509: it was not swallowed: nothing has raised it."""
    target, charge = "Subscriptions/renew", "    return await ctx.run_typed("
    snippet = changed(
        tmp_path,
        "errors/except-exception-eats-cancel/do",
        SHORT,
        (charge, charge.replace("return", "paid =")),
        ("\n\napp =", '\n    httpx.put(f"{API_URL}/told", timeout=30)\n    return paid\n\n\napp ='),
    )
    found: list[list[dict[str, Any]]] = []

    async def late(in_proof: LabInProof) -> None:
        told = in_proof.outside.hold("PUT /told", at_most=20.0)
        renewing = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_effect("PUT /told")
        assert await in_proof.operate("cancel", target) == 202
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Signal'"
        )
        old = await deployment(in_proof, "Subscriptions")
        found.append(await in_proof.query(swallowed(old, "renew")))
        told.set()
        assert await renewing == "charge-1"
        found.append(await in_proof.query(queries("RDD509")[0]))

    instead(lab, CHAPTER / "except-exception-eats-cancel", late, PLAIN, snippet)
    assert [[row["target"] for row in rows] for rows in found] == [[target], [target]]


@pytest.mark.parametrize("waits", ["sleeps", "mails"])
@pytest.mark.parametrize(("variant", "charges"), [("dont", 1), ("do", 0)])
def test_a_kill_in_the_try_block_is_a_lost_connection(
    lab: Lab, tmp_path: Path, waits: str, variant: str, charges: int
) -> None:
    """RDD509: the don't charges, and its caller is told that it was killed."""
    target = "Subscriptions/renew"
    snippet = changed(
        tmp_path,
        f"errors/except-exception-eats-cancel/{variant}",
        SHORT if waits == "mails" else ("hours=1", "hours=2"),
        ('json={"to": customer})', 'json={"to": customer}, timeout=30)'),
    )

    async def kill(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        renewing = asyncio.create_task(in_proof.call(target, "ann"))
        if waits == "mails":
            await in_proof.until_effect("POST /emails")
        else:
            await in_proof.until_row(ASLEEP)
        assert await in_proof.operate("kill", target) == 200
        if charges:
            await in_proof.until_effect("POST /charges")
        assert (await renewing)["message"] == "killed"
        mailed.set()
        await in_proof.until_still(0.5)

    trace = instead(lab, CHAPTER / "except-exception-eats-cancel", kill, PLAIN, snippet).trace
    assert trace.effect_counts().get("POST /charges", 0) == charges


def test_what_swallows_its_cancel_on_lambda_is_listed_before_it_is_bound(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD509: cancelled with only its input in the journal; the attempt that goes on is not over."""
    target, well = "Subscriptions/renew", tmp_path / "well"
    policy = "initial_interval=timedelta(seconds=0.2), max_interval=timedelta(seconds=0.2)"
    old, served = as_on_lambda("subscriptions")
    unwell = f'    assert "invoke" not in scope["path"] or os.path.exists({str(well)!r})\n    said'
    snippet = changed(
        tmp_path,
        "errors/except-exception-eats-cancel/dont",
        (
            '("Subscriptions")',
            f'("Subscriptions", invocation_retry_policy=restate.InvocationRetryPolicy({policy}))',
        ),
        (old, served.replace("    said", unwell, 1)),
    )
    found: list[dict[str, Any]] = []

    async def cancel(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        await until_status(in_proof, target, "backing-off")
        assert await in_proof.operate("cancel", target) == 202
        well.touch()
        await in_proof.until_effect("POST /charges")
        (row,) = await in_proof.query("select status, pinned_deployment_id from sys_invocation")
        assert row == {"status": "running"}
        on = await deployment(in_proof, "Subscriptions")
        found.extend(await in_proof.query(swallowed(on, "renew")))
        assert await in_proof.operate("kill", target) == 200
        charged.set()
        await in_proof.until_all_completed()

    instead(lab, CHAPTER / "except-exception-eats-cancel", cancel, PLAIN, snippet)
    assert [row["target"] for row in found] == [target]
