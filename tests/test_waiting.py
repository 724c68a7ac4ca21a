"""The table on the page Awakeable, signal or promise, measured on a real server."""

from __future__ import annotations

import asyncio
import base64
import functools
from pathlib import Path
from typing import Any

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import Lab as LabInProof
from restate_guide.lab import Result, crash_after_effect
from tests.bare import run
from tests.conftest import Lab
from tests.fixes import changed, until_status

pytestmark = pytest.mark.server

FOLDER = ROOT / "snippets" / "waiting"


def answers(result: Result) -> list[tuple[int | None, Any]]:
    """Status and answer of each call, those that somebody waited for first."""
    return [(call.status, call.answer) for call in result.trace.calls]


SERVICE, COLLECT = "restate.Service(", "@orders.handler()\nasync def collect"
AS_OBJECT = (SERVICE, "restate.VirtualObject(")
SEEN = """@orders.handler(kind="shared")
async def seen(ctx: restate.ObjectSharedContext) -> None:
    pass"""


@pytest.mark.parametrize(
    ("changes", "target", "teller"),
    [
        ((), "Orders", "Orders"),
        ((AS_OBJECT,), "Orders/a", "Orders/b"),
        ((AS_OBJECT, (COLLECT, COLLECT.replace("()", '(kind="shared")'))), "Orders/a", "Orders/a"),
        (
            ((SERVICE, "restate.Workflow("), (COLLECT, COLLECT.replace("handler", "main"))),
            "Orders/a",
            "Orders/a",
        ),
    ],
    ids=["service", "object", "shared", "workflow"],
)
def test_signals_are_kept_before_the_wait_and_each_is_taken_once(
    lab: Lab, tmp_path: Path, changes: tuple[tuple[str, str], ...], target: str, teller: str
) -> None:
    async def prove(lab: LabInProof) -> None:
        billed = lab.outside.hold("POST /bills", at_most=20.0)
        collecting = asyncio.create_task(lab.call(f"{target}/collect", "order-1"))
        await lab.until_effect("POST /bills")
        invocation = lab.outside.ledger[0].body["answer to"]
        await lab.call(f"{teller}/paid", [invocation, "by card"])
        await lab.call(f"{teller}/paid", [invocation, "by invoice"])
        billed.set()
        await collecting

    snippet = changed(tmp_path, "waiting/signals", *changes)
    collected, *told = answers(run(lab, snippet, prove))
    assert collected == (200, ["by card", "by invoice"])
    assert [status for status, _ in told] == [200, 200]


@pytest.mark.parametrize(("delay", "status"), [("", "pending"), ("?delay=1s", "scheduled")])
def test_signal_before_the_invocation_has_begun_is_lost(
    lab: Lab, tmp_path: Path, delay: str, status: str
) -> None:
    """Without an error; those that are sent after it has begun arrive."""
    # A call to the same key, once the signal is sent: when it is answered, the signal has arrived.
    seen = "    await ctx.object_call(seen, key='a', arg=None)\n"
    snippet = changed(
        tmp_path,
        "waiting/signals",
        AS_OBJECT,
        ("\n\napp = ", f"{seen}\n\n{SEEN}\n\napp = "),
    )

    async def prove(lab: LabInProof) -> None:
        async def pay(invocation: str, *by: str) -> None:
            for each in by:
                await lab.call("Orders/b/paid", [invocation, each])

        first = await lab.call("Orders/a/collect/send", "order-1")  # holds the key
        await lab.until_effect("POST /bills")
        second = (await lab.call(f"Orders/a/collect/send{delay}", "order-2"))["invocationId"]
        await pay(second, "too early")
        (row,) = await lab.query(f"select status from sys_invocation where id = '{second}'")
        assert row["status"] in {status, "pending"}  # on a slow machine the delay may be over
        await pay(first["invocationId"], "by card", "by invoice")
        await lab.until_effect("POST /bills", times=2)
        await pay(second, "by card", "by invoice")
        await lab.until_all_completed()

    trace = run(lab, snippet, prove).trace
    assert {call.status for call in trace.calls} <= {200, 202}
    collected = [each.result for each in trace.invocations if each.target == "Orders/a/collect"]
    assert collected == [["by card", "by invoice"]] * 2


@pytest.mark.parametrize("effect", ["POST /first", "POST /bills"])
def test_signals_are_kept_while_the_invocation_is_paused(
    lab: Lab, tmp_path: Path, effect: str
) -> None:
    """Also with nothing but its input in the journal."""
    step = '    await ctx.run_typed("bill"'
    first = f'    httpx.post(f"{{API_URL}}/first").raise_for_status()\n{step}'
    snippet = changed(tmp_path, "waiting/signals", (step, first))

    async def prove(lab: LabInProof) -> None:
        lab.outside.fail(effect, times=3)
        sent = await lab.call("Orders/collect/send", "order-1")
        await until_status(lab, "Orders/collect", "paused")
        for by in ("card", "invoice"):
            await lab.call("Orders/paid", [sent["invocationId"], by])
        await lab.operate("resume", "Orders/collect")
        await lab.until_all_completed()

    trace = run(lab, snippet, prove).trace
    assert ["card", "invoice"] in [each.result for each in trace.invocations]


def test_signal_after_the_invocation_has_ended_is_lost(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        await lab.call("Orders/collect/send", "order-1")
        await lab.until_effect("POST /bills")
        invocation = lab.outside.ledger[0].body["answer to"]
        for by in ("card", "invoice"):
            await lab.call("Orders/paid", [invocation, by])
        await lab.until_all_completed()
        await lab.call("Orders/paid", [invocation, "too late"])
        await lab.until_all_completed()

    trace = run(lab, FOLDER / "signals.py", prove).trace
    assert [call.status for call in trace.calls[1:]] == [200] * 3
    assert [each.result for each in trace.invocations if each.target == "Orders/collect"] == [
        ["card", "invoice"]
    ]


def test_a_bill_is_sent_once_also_if_the_worker_dies_behind_it(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        collecting = asyncio.create_task(lab.call("Orders/collect", "order-1"))
        await lab.until_result("Run bill")
        invocation = lab.outside.ledger[0].body["answer to"]
        for by in ("card", "invoice"):
            await lab.call("Orders/paid", [invocation, by])
        await collecting

    result = run(lab, FOLDER / "signals.py", prove, crash_after_effect("POST /bills"))
    assert answers(result)[0] == (200, ["card", "invoice"])
    assert result.trace.effect_counts() == {"POST /bills": 1}


def test_a_promise_is_kept_before_the_wait_and_refuses_a_second_answer(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        mailed = lab.outside.hold("POST /mails", at_most=20.0)
        running = asyncio.create_task(lab.call("Signup/ann/run"))
        await lab.until_effect("POST /mails")
        await lab.call("Signup/ann/approve", "Bea")
        await lab.call("Signup/ann/approve", "Carl")
        mailed.set()
        await running

    ran, first, second = answers(run(lab, FOLDER / "answers.py", prove))
    assert ran == (200, "Bea")
    assert first[0] == 200
    assert second[0] == 409


def test_an_answer_to_a_workflow_that_was_removed_is_for_the_next_of_its_id(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        await lab.call("Signup/ann/run/send")
        await lab.until_effect("POST /mails")
        await lab.call("Signup/ann/approve", "Bea")
        await lab.until_all_completed()
        assert await lab.operate("purge", "Signup/ann/run") == 200
        await lab.until_no_row("select id from sys_invocation where target = 'Signup/ann/run'")
        await lab.call("Signup/ann/approve", "Carl")
        await lab.call("Signup/ann/run")

    *_, first, late, second = answers(run(lab, FOLDER / "answers.py", prove))
    assert [first[0], late[0], second] == [200, 200, (200, "Carl")]


def test_a_second_answer_to_an_awakeable_is_taken_and_changes_nothing(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        mailed = lab.outside.hold("POST /mails", at_most=20.0)
        asking = asyncio.create_task(lab.call("Desk/ask"))
        await lab.until_effect("POST /mails")
        id = lab.outside.ledger[0].body["answer to"]
        await lab.resolve_awakeable(id, "yes")
        await lab.resolve_awakeable(id, "no")
        mailed.set()
        await asking

    assert answers(run(lab, FOLDER / "answers.py", prove)) == [(200, "yes")]


DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
FIRST = 17
"""The number of an invocation's first awakeable; those before are the server's own signals."""


def first_awakeable(invocation: str) -> str:
    """The id of an invocation's first awakeable, from its public id alone: its 24 bytes, and a number."""
    digits = invocation.removeprefix("inv_1")
    parts = ((digits[:11], 8), (digits[11:], 16))
    key = b"".join(
        functools.reduce(lambda number, digit: 62 * number + DIGITS.index(digit), part, 0).to_bytes(
            size, "little"
        )
        for part, size in parts
    )
    return "sign_1" + base64.urlsafe_b64encode(key + FIRST.to_bytes(4, "big")).decode().rstrip("=")


def test_an_awakeables_id_follows_from_its_invocations(lab: Lab) -> None:
    """RDD404, too: whoever knows the one can answer by the other."""

    async def prove(lab: LabInProof) -> None:
        buying = asyncio.create_task(lab.call("Orders/buy", "pot"))
        await lab.until_effect("POST /requests")
        (row,) = await lab.query("select id from sys_invocation")
        assert first_awakeable(row["id"]) == lab.outside.ledger[0].body["reply_to"]
        await lab.resolve_awakeable(first_awakeable(row["id"]), "4 pots")
        assert await buying == "4 pots"

    run(lab, ROOT / "snippets" / "concurrency" / "wait-for" / "dont.py", prove)


@pytest.mark.parametrize("how", ["cancel", "kill"])
def test_a_run_that_ended_before_it_began_has_left_its_id(lab: Lab, how: str) -> None:
    """On the page Which service type."""

    async def prove(lab: LabInProof) -> None:
        await lab.call("Signup/ann/run/send?delay=60s")
        assert await lab.operate(how, "Signup/ann/run") == 200
        await lab.until_no_row("select id from sys_invocation")
        running = asyncio.create_task(lab.call("Signup/ann/run"))
        await lab.until_effect("POST /mails")
        await lab.call("Signup/ann/approve", "Bea")
        await running

    ran, _ = answers(run(lab, FOLDER / "answers.py", prove))[-2:]
    assert ran == (200, "Bea")


@pytest.mark.parametrize("how", ["cancel", "kill", "fail"])
def test_a_run_that_ended_without_a_result_has_used_up_its_id(
    lab: Lab, tmp_path: Path, how: str
) -> None:
    """On the page Which service type."""
    waits = '    return await ctx.promise("approved", type_hint=str).value()'
    fails = '    raise restate.TerminalError("no", status_code=422)'
    snippet = changed(tmp_path, "waiting/answers", *([(waits, fails)] if how == "fail" else []))

    async def prove(lab: LabInProof) -> None:
        await lab.call("Signup/ann/run/send")
        await lab.until_effect("POST /mails")
        if how != "fail":
            await lab.operate(how, "Signup/ann/run")
        await lab.until_all_completed()
        await lab.call("Signup/ann/run")

    _, (status, answer) = answers(run(lab, snippet, prove))
    assert (status, "already" in answer["message"]) == (409, True)
