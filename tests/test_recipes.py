"""The recipes on a real server, replayed and crashed; and the mistakes that they must not make.

Those of the original's framework are listed with the facts: compensations that are never
registered or run on a hiccup, results by order of completion, a clock read in the handler, a code
that is lost, a guard that never fires.
"""

from __future__ import annotations

import asyncio
import importlib
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import pytest
import restate

from restate_guide.catalogue import ROOT
from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    REPLAYS,
    Result,
    Stimulus,
    crash_after_effect,
    crash_after_step,
    crash_before_journal,
)
from restate_guide.lab import Lab as LabInProof
from tests.bare import run
from tests.conftest import Lab, apart
from tests.fixes import changed, resume_on

FOLDER = ROOT / "snippets" / "recipes"
Prove = Callable[[LabInProof], Coroutine[None, None, None]]

server = pytest.mark.server
replayed = pytest.mark.parametrize("stimulus", [PLAIN, *REPLAYS], ids=lambda s: s.mode)


def calling(target: str, body: Any = None, count: int = 1) -> Prove:
    async def prove(lab: LabInProof) -> None:
        for _ in range(count):
            await lab.call(target, body)

    return prove


def answer(result: Result) -> Any:
    (call,) = result.trace.calls
    return call.answer


def message(result: Result) -> str:
    return str(answer(result)["message"])


def beside(folder: Path, *recipes: str) -> None:
    """Puts files to copy where a test's own snippet finds them."""
    for name in recipes:
        shutil.copy(FOLDER / f"{name}.py", folder)


# Saga

BOUGHT_AND_UNDONE = {"POST /charges": 1, "POST /refunds": 1}
STEPS = ("reserve", "charge", "undo charge", "undo reserve")


@server
@pytest.mark.parametrize(
    "stimulus",
    [
        PLAIN,
        *REPLAYS,
        *(crash_before_journal(step) for step in STEPS),
        *(crash_after_step(step) for step in STEPS),
        crash_after_effect("POST /charges"),
        crash_after_effect("POST /refunds"),
    ],
    ids=lambda s: s.title.replace(" ", "-"),
)
def test_saga_undoes_all_wherever_the_worker_dies(lab: Lab, stimulus: Stimulus) -> None:
    result = run(lab, FOLDER / "tickets.py", calling("Tickets/buy", "ann"), stimulus)
    assert answer(result)["code"] == 410, "the failure's own code"
    assert message(result) == "the printer is gone"
    assert result.trace.rows["seats"] == []
    assert result.trace.effect_counts() == BOUGHT_AND_UNDONE
    journal = result.trace.invocations[0].journal
    steps = [entry.name for entry in journal if entry.type == "Command: Run"]
    assert steps == ["reserve", "charge", "send", "undo charge", "undo reserve"]


@server
def test_saga_does_not_undo_on_a_hiccup(lab: Lab) -> None:
    """A bank that is unwell for a moment: the charge is tried again, and nothing is undone for it."""

    async def prove(lab: LabInProof) -> None:
        lab.outside.fail("POST /charges", times=1)
        await lab.call("Tickets/buy", "ann")

    result = run(lab, FOLDER / "tickets.py", prove)
    first, *_ = result.trace.invocations[0].attempts
    assert first.ends == "error"
    assert not any("undo" in moment.text for moment in first.moments)
    assert result.trace.effect_counts() == BOUGHT_AND_UNDONE


@server
def test_saga_undoes_for_a_declined_card(lab: Lab) -> None:
    """At once: the bank is asked once, and the caller is told."""

    async def prove(lab: LabInProof) -> None:
        lab.outside.fail("POST /charges", times=1, status=402)
        lab.outside.fail("POST /refunds", times=1, status=404)  # no such charge
        await lab.call("Tickets/buy", "ann")

    result = run(lab, FOLDER / "tickets.py", prove)
    assert (answer(result)["code"], message(result)) == (402, "the card was declined")
    assert result.trace.rows["seats"] == []


@server
def test_saga_undoes_a_step_that_failed_for_good(lab: Lab, tmp_path: Path) -> None:
    """It may have acted before: so it was registered first."""
    beside(tmp_path, "saga")
    limited = ("Saga(ctx)", "Saga(ctx, restate.RunOptions(max_attempts=2))")
    snippet = changed(tmp_path, "recipes/tickets", limited)

    async def prove(lab: LabInProof) -> None:
        lab.outside.fail("POST /charges", times=2)
        lab.outside.fail("POST /refunds", times=1, status=404)  # no such charge
        await lab.call("Tickets/buy", "ann")

    result = run(lab, snippet, prove)
    journal = result.trace.invocations[0].journal
    steps = [entry.name for entry in journal if entry.type == "Command: Run"]
    assert steps == ["reserve", "charge", "undo charge", "undo reserve"]
    assert result.trace.rows["seats"] == []
    assert result.trace.effect_counts() == {}


@server
def test_saga_is_undone_if_it_is_cancelled_while_paused(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        lab.outside.fail("POST /charges", times=99)
        lab.outside.fail("POST /refunds", times=1, status=404)  # no such charge
        calling = asyncio.create_task(lab.call("Tickets/buy", "ann"))
        await lab.until_row("select id from sys_invocation where status = 'paused'")
        await lab.operate("cancel", "Tickets/buy")
        await lab.operate("resume", "Tickets/buy")
        await lab.until_all_completed()
        await calling

    result = run(lab, FOLDER / "tickets.py", prove)
    assert result.trace.invocations[0].result == {"failure": "cancelled", "code": 409}
    assert result.trace.rows["seats"] == []
    assert result.trace.effect_counts() == {}


@server
def test_saga_names_what_is_left_to_do_by_hand(lab: Lab, tmp_path: Path) -> None:
    """The refund fails for good: the seat is freed all the same."""
    beside(tmp_path, "saga")
    gone = (
        "    if response.status_code != 404:",
        "    if response.status_code == 404:\n"
        '        raise restate.TerminalError("no such charge")\n    if True:',
    )
    told = (
        '"the printer is gone", status_code=410',
        '"the printer is gone", 410, {"printer": "7"}',
    )
    snippet = changed(tmp_path, "recipes/tickets", gone, told)

    async def prove(lab: LabInProof) -> None:
        lab.outside.fail("POST /refunds", times=1, status=404)
        await lab.call("Tickets/buy", "ann")

    result = run(lab, snippet, prove)
    left = "the printer is gone; not undone: charge (no such charge)"
    assert (answer(result)["code"], message(result)) == (410, left)
    assert answer(result)["metadata"] == {"printer": "7"}
    assert result.trace.rows["seats"] == []


@server
def test_saga_whose_key_is_used_again_after_its_retention_pays_with_what_was_paid_back(
    lab: Lab,
) -> None:
    """It draws the same key, and the bank answers with the charge that it knows."""

    async def prove(lab: LabInProof) -> None:
        for _ in range(2):
            await lab.call("Tickets/buy", "ann", idempotency_key="order-1")
            assert await lab.operate("purge", "Tickets/buy") == 200
            await lab.until_no_row("select id from sys_invocation")

    trace = run(lab, FOLDER / "tickets.py", prove).trace
    assert [effect.effect for effect in trace.effects] == ["POST /charges", "POST /refunds"] * 2
    assert [effect.duplicate for effect in trace.effects] == [False, False, True, True]


SEAT = "PUT /seats/12A"
RESERVE = "def reserve(buyer: str, key: str) -> None:\n"
SLOWLY = (RESERVE, f'{RESERVE}    httpx.put(f"{{API_URL}}/seats/12A", json=buyer, timeout=60)\n')
CANCELLED = "select id from sys_journal where entry_type = 'Notification: Signal'"


async def cancel_while_reserving(lab: LabInProof, *done: str, times: int = 1) -> None:
    """Cancels while the seat is being reserved, once other steps are done."""
    seat = lab.outside.hold(SEAT, at_most=20.0)
    calling = asyncio.create_task(lab.call("Tickets/buy", "ann"))
    await lab.until_effect(SEAT)
    for step in done:
        await lab.until_result(f"Run {step}")
    for each in range(1, times + 1):
        await lab.operate("cancel", "Tickets/buy")
        await lab.until_row(f"{CANCELLED} group by id having count(*) = {each}")
    # Time enough for the undoing to overtake it.
    undone = lab.until_row("select id from sys_journal where name = 'undo reserve'")
    await lab.until_any(undone, asyncio.sleep(0.5))
    seat.set()
    await calling


@server
def test_saga_waits_for_all_that_is_under_way(lab: Lab, tmp_path: Path) -> None:
    """Two steps of one saga, as tasks: the slower one began first."""
    beside(tmp_path, "saga")
    one = '        await saga.step("reserve", reserve, release, buyer=buyer, key=key)\n'
    two = '        await saga.step("charge", charge, refund, buyer=buyer, key=key)\n'
    both = (
        '        slow = saga.step("reserve", reserve, release, buyer=buyer, key=key)\n'
        '        quick = saga.step("charge", charge, refund, buyer=buyer, key=key)\n'
        "        await asyncio.gather(slow, quick)\n"
    )
    imported = ("import os\n", "import asyncio\nimport os\n")
    snippet = changed(tmp_path, "recipes/tickets", (one + two, both), SLOWLY, imported)

    async def prove(lab: LabInProof) -> None:
        await cancel_while_reserving(lab, "charge")

    result = run(lab, snippet, prove)
    assert message(result) == "cancelled"
    assert result.trace.rows["seats"] == []


@server
@pytest.mark.parametrize(
    "stimulus",
    [
        PLAIN,
        *REPLAYS,
        crash_before_journal("reserve"),
        crash_before_journal("undo reserve"),
        crash_after_step("undo reserve"),
    ],
    ids=lambda s: s.title.replace(" ", "-"),
)
def test_saga_undoes_what_is_under_way_once_it_is_over(
    lab: Lab, tmp_path: Path, stimulus: Stimulus
) -> None:
    """The cancel is raised while the seat is being reserved; RDD505: and a second one after it."""
    beside(tmp_path, "saga")
    snippet = changed(tmp_path, "recipes/tickets", SLOWLY)
    result = run(lab, snippet, partial(cancel_while_reserving, times=2), stimulus)
    assert message(result) == "cancelled"
    assert result.trace.rows["seats"] == []
    ended = [m.text for a in result.trace.invocations[0].attempts for m in a.moments]
    assert ended.index("INSERT OR IGNORE INTO seats VALUES ('12A', 'ann', 'uuid-1')") < ended.index(
        "DELETE FROM seats WHERE key = 'uuid-1'"
    )


@server
def test_saga_does_not_take_calls_as_steps(lab: Lab, tmp_path: Path) -> None:
    """It is made at each attempt, its future is no result, and nothing undoes what it did."""
    beside(tmp_path, "saga")
    step = 'await saga.step("reserve", reserve, release, buyer=buyer, key=key)'
    call = """await saga.step(
            "reserve",
            lambda: ctx.service_call(take, {"buyer": buyer, "key": key}),
            lambda: ctx.service_call(free, {"buyer": buyer, "key": key}),
        )"""
    handlers = """\
@tickets.handler()
async def take(ctx: restate.Context, seat: dict[str, str]) -> None:
    await ctx.run_typed("reserve", reserve, **seat)


@tickets.handler()
async def free(ctx: restate.Context, seat: dict[str, str]) -> None:
    await ctx.run_typed("release", release, **seat)


app = restate.app"""
    snippet = changed(tmp_path, "recipes/tickets", (step, call), ("app = restate.app", handlers))
    result = run(lab, snippet, calling("Tickets/buy", "ann"))
    (stuck,) = (each for each in result.trace.invocations if each.target == "Tickets/buy")
    assert stuck.status == "paused"
    assert "ServerCallDurableFuture is not JSON serializable" in stuck.failures[0].message
    assert [seat["buyer"] for seat in result.trace.rows["seats"]] == ["ann"]
    assert not any("undo" in moment.text for each in stuck.attempts for moment in each.moments)


@server
@pytest.mark.parametrize("ends", ["", "        raise OSError\n"], ids=["acts", "fails"])
@pytest.mark.parametrize("stimulus", [PLAIN, REPLAY_EVERY_AWAIT], ids=lambda s: s.mode)
def test_saga_undoes_an_async_action_that_is_under_way_once_it_is_over(
    lab: Lab, tmp_path: Path, ends: str, stimulus: Stimulus
) -> None:
    beside(tmp_path, "saga")
    slowly = (
        f"{RESERVE}    with sqlite3.connect(DATABASE) as db:\n",
        f"async {RESERVE}    async with httpx.AsyncClient(base_url=API_URL) as client:\n"
        f'        await client.put("/seats/12A", json=buyer, timeout=60)\n{ends}'
        "    with sqlite3.connect(DATABASE) as db:\n",
    )
    snippet = changed(tmp_path, "recipes/tickets", slowly)
    result = run(lab, snippet, cancel_while_reserving, stimulus)
    assert message(result) == "cancelled"
    assert result.trace.rows.get("seats", []) == []
    (buy,) = result.trace.invocations
    steps = [entry.name for entry in buy.journal if entry.type == "Command: Run"]
    assert steps == ["reserve", "undo reserve"]
    acts = [moment.text for each in buy.attempts for moment in each.moments]
    reserved = acts.count("INSERT OR IGNORE INTO seats VALUES ('12A', 'ann', 'uuid-1')")
    freed = acts.count("DELETE FROM seats WHERE key = 'uuid-1'")
    assert (reserved, freed) == ((0, 0) if ends else (1, 1))


@server
def test_saga_whose_attempt_is_lost_is_undone_at_once(lab: Lab, tmp_path: Path) -> None:
    """By the next attempt, while the action of the lost one is at work."""
    beside(tmp_path, "saga")
    snippet = changed(tmp_path, "recipes/tickets", SLOWLY)
    undone: list[bool] = []

    async def prove(lab: LabInProof) -> None:
        seat = lab.outside.hold(SEAT, at_most=20.0)
        await lab.call("Tickets/buy/send", "ann")
        await lab.until_effect(SEAT)
        await lab.operate("cancel", "Tickets/buy")
        await lab.until_row(CANCELLED)
        await lab.restart_server()
        await lab.until_result("Run undo reserve")
        undone.append(not seat.is_set())
        seat.set()
        await lab.until_all_completed()

    result = run(lab, snippet, prove)
    assert undone == [True]
    assert result.trace.invocations[0].result == {"failure": "cancelled", "code": 409}
    assert [(seat["seat"], seat["buyer"]) for seat in result.trace.rows["seats"]] == [
        ("12A", "ann")
    ]


@server
@pytest.mark.parametrize("unwell", [False, True], ids=["slow", "paused"])
def test_saga_is_undone_to_its_end_also_if_it_is_cancelled(lab: Lab, unwell: bool) -> None:
    """Cancelled while the refund is slow, or while its bank is unwell and the saga is paused."""
    refund = "POST /refunds"

    async def prove(lab: LabInProof) -> None:
        slow = lab.outside.hold(refund, at_most=20.0)
        if unwell:
            lab.outside.fail(refund, times=3)
            slow.set()
        calling = asyncio.create_task(lab.call("Tickets/buy", "ann"))
        await lab.until_effect(refund, times=3 if unwell else 1)
        if unwell:
            await lab.until_row("select id from sys_invocation where status = 'paused'")
        await lab.operate("cancel", "Tickets/buy")
        await lab.until_row("select id from sys_journal where entry_type = 'Notification: Signal'")
        slow.set()
        if unwell:
            await lab.operate("resume", "Tickets/buy")
        await lab.until_all_completed()
        await calling

    result = run(lab, FOLDER / "tickets.py", prove)
    assert result.trace.invocations[0].result == {"code": 410, "failure": "the printer is gone"}
    assert result.trace.rows["seats"] == []
    assert result.trace.effect_counts() == BOUGHT_AND_UNDONE


@server
@pytest.mark.parametrize("where", ["POST /charges", "POST /refunds"])
def test_saga_that_is_killed_undoes_nothing_any_more(lab: Lab, where: str) -> None:
    async def prove(lab: LabInProof) -> None:
        slow = lab.outside.hold(where, at_most=20.0)
        calling = asyncio.create_task(lab.call("Tickets/buy", "ann"))
        await lab.until_effect(where)
        assert await lab.operate("kill", "Tickets/buy") == 200
        await calling
        slow.set()
        await lab.until_still(1.0)

    trace = run(lab, FOLDER / "tickets.py", prove).trace
    under_way = {"POST /refunds": 1} if where == "POST /refunds" else {}
    assert trace.effect_counts() == {"POST /charges": 1, **under_way}
    assert len(trace.rows["seats"]) == 1


@server
@pytest.mark.parametrize("error", ["LookupError", "RetryableError"])
def test_saga_undoes_for_an_own_error_if_it_ends_the_invocation(
    lab: Lab, tmp_path: Path, error: str
) -> None:
    """Raised from a TerminalError it does; a RetryableError is retried, whatever it was raised from."""
    beside(tmp_path, "saga")
    send = '        await ctx.run_typed("send", send, buyer=buyer)\n'
    own = (
        f"        try:\n    {send}        except restate.TerminalError as error:\n"
        f'            raise {error}("no ticket") from error\n'
    )
    known = ("from saga", "from restate.exceptions import RetryableError\nfrom saga")
    snippet = changed(tmp_path, "recipes/tickets", (send, own), known)
    result = run(lab, snippet, calling("Tickets/buy", "ann"))
    final = error == "LookupError"
    assert result.trace.effect_counts() == (BOUGHT_AND_UNDONE if final else {"POST /charges": 1})
    assert len(result.trace.rows["seats"]) == (0 if final else 1)
    assert result.trace.invocations[0].status == ("completed" if final else "paused")


@server
def test_tickets_sell_one_seat_to_one_buyer(lab: Lab) -> None:
    """The second asks while the first is paying; she isn't charged, and frees nobody else's seat."""
    rows = []

    async def prove(lab: LabInProof) -> None:
        charged = lab.outside.hold("POST /charges", at_most=20.0)
        first = asyncio.create_task(lab.call("Tickets/buy", "ann"))
        await lab.until_effect("POST /charges")
        rows.append(await lab.call("Tickets/buy", "bea"))
        charged.set()
        await first

    result = run(lab, FOLDER / "tickets.py", prove)
    assert [said["message"] for said in rows] == ["the seat is taken"]
    assert result.trace.effect_counts() == BOUGHT_AND_UNDONE


# Fan out


def priced(prices: dict[str, int], target: str) -> Prove:
    async def prove(lab: LabInProof) -> None:
        for carrier, price in prices.items():
            lab.outside.answers[f"GET /prices/{carrier}"] = price
        *first, last = (f"GET /prices/{carrier}" for carrier in prices)
        lab.outside.in_order(last, *first)
        await lab.call(target, list(prices))
        await lab.until_all_completed()

    return prove


@server
@replayed
@pytest.mark.parametrize("target", ["Quotes/compare", "Quotes/compare_all"])
def test_fan_out_gives_results_in_order(lab: Lab, target: str, stimulus: Stimulus) -> None:
    """The last is answered first."""
    prices = {"sea": 40, "road": 60, "air": 90}
    result = run(lab, FOLDER / "quotes.py", priced(prices, target), stimulus)
    assert answer(result) == [40, 60, 90]


@server
@pytest.mark.parametrize("target", ["Quotes/compare", "Quotes/compare_all"])
def test_fan_out_takes_a_generator(lab: Lab, tmp_path: Path, target: str) -> None:
    """The types forbid it; whoever has no checker loses no result."""
    beside(tmp_path, "fan_out")
    name = "fan_out" if target == "Quotes/compare" else "fan_out_fail_fast"
    calls = "ctx.service_call(quote, name) for name in names"
    snippet = changed(tmp_path, "recipes/quotes", (f"{name}([{calls}])", f"{name}({calls})"))
    assert answer(run(lab, snippet, priced({"sea": 40, "road": 60}, target))) == [40, 60]


@server
@pytest.mark.parametrize("stimulus", [PLAIN, REPLAY_EVERY_AWAIT], ids=lambda s: s.mode)
def test_fan_out_fail_fast_cancels_the_rest(lab: Lab, stimulus: Stimulus) -> None:
    """Air would sleep for 30 seconds, and then book."""
    prices = {"air": 200, "sea": 40, "road": -1}
    began = time.monotonic()
    result = run(lab, FOLDER / "quotes.py", priced(prices, "Quotes/compare_all"), stimulus)
    assert time.monotonic() - began < 25, "nobody waited for the rest"
    assert answer(result)["code"] == 409
    assert message(result) == "road is on strike"
    assert "POST /bookings" not in result.trace.effect_counts()
    assert {i.status for i in result.trace.invocations} == {"completed"}


@server
def test_fan_out_raises_the_first_failure_of_its_order_once_all_have_ended(
    lab: Lab, tmp_path: Path
) -> None:
    """Road fails before sea does; air books all the same."""
    beside(tmp_path, "fan_out")
    quick = ("timedelta(seconds=30)", "timedelta(seconds=0.1)")
    snippet = changed(tmp_path, "recipes/quotes", quick)
    result = run(lab, snippet, priced({"sea": -1, "air": 200, "road": -1}, "Quotes/compare"))
    assert message(result) == "sea is on strike"
    assert result.trace.effect_counts() == {"POST /bookings": 1}


@server
def test_fan_out_fail_fast_leaves_what_was_done_before(lab: Lab, tmp_path: Path) -> None:
    """Air has booked when road fails: that booking stays. The first failure is told, not sea's."""
    beside(tmp_path, "fan_out")
    quick = ("timedelta(seconds=30)", "timedelta(seconds=0.1)")
    snippet = changed(tmp_path, "recipes/quotes", quick)

    async def prove(lab: LabInProof) -> None:
        lab.outside.answers |= {f"GET /prices/{name}": -1 for name in ("sea", "road")}
        lab.outside.answers["GET /prices/air"] = 200
        sea, road = (
            lab.outside.hold(f"GET /prices/{name}", at_most=20.0) for name in ("sea", "road")
        )
        calling = asyncio.create_task(lab.call("Quotes/compare_all", ["sea", "air", "road"]))
        await lab.until_effect("POST /bookings")
        road.set()
        await calling
        sea.set()
        await lab.until_all_completed()

    result = run(lab, snippet, prove)
    assert message(result) == "road is on strike"
    assert result.trace.effect_counts() == {"POST /bookings": 1}


ORDERS = """\
def order(carrier: str) -> int:
    httpx.post(f"{API_URL}/orders/{carrier}", timeout=60).raise_for_status()
    return 1


@quotes.handler()
async def compare(ctx: restate.Context, names: list[str]) -> list[int]:
    return await fan_out([ctx.run_typed(name, order, carrier=name) for name in names])
"""


@server
def test_fan_out_does_steps_again_that_are_under_way_when_one_fails(
    lab: Lab, tmp_path: Path
) -> None:
    """Air is slow, and road unwell for a moment."""
    beside(tmp_path, "fan_out")
    calls = """\
@quotes.handler()
async def compare(ctx: restate.Context, names: list[str]) -> list[int]:
    return await fan_out([ctx.service_call(quote, name) for name in names])
"""
    snippet = changed(tmp_path, "recipes/quotes", (calls, ORDERS))

    async def prove(lab: LabInProof) -> None:
        air = lab.outside.hold("POST /orders/air", at_most=20.0)
        lab.outside.fail("POST /orders/road", times=1)
        calling = asyncio.create_task(lab.call("Quotes/compare", ["air", "road"]))
        await lab.until_effect("POST /orders/air", times=2)
        air.set()
        await calling

    result = run(lab, snippet, prove)
    assert answer(result) == [1, 1]
    assert result.trace.effect_counts() == {"POST /orders/air": 2, "POST /orders/road": 1}


@server
def test_fan_out_fail_fast_leaves_a_step_that_is_under_way_to_act(lab: Lab, tmp_path: Path) -> None:
    """Air orders and confirms; road is on strike meanwhile."""
    beside(tmp_path, "fan_out")
    calls = "fan_out_fail_fast([ctx.service_call(quote, name) for name in names])"
    steps = "fan_out_fail_fast([ctx.run_typed(name, order, carrier=name) for name in names])"
    order = """\
def order(carrier: str) -> int:
    if carrier == "road":
        raise restate.TerminalError("road is on strike", status_code=409)
    httpx.post(f"{API_URL}/orders/{carrier}", timeout=60).raise_for_status()
    httpx.post(f"{API_URL}/confirmations/{carrier}").raise_for_status()
    return 1


@carriers.handler()
"""
    snippet = changed(tmp_path, "recipes/quotes", (calls, steps), ("@carriers.handler()\n", order))

    async def prove(lab: LabInProof) -> None:
        air = lab.outside.hold("POST /orders/air", at_most=20.0)
        calling = asyncio.create_task(lab.call("Quotes/compare_all", ["air", "road"]))
        await lab.until_effect("POST /orders/air")
        await calling
        lab.measure("confirmed before the answer", len(lab.outside.ledger) - 1)
        air.set()
        await lab.until_effect("POST /confirmations/air")

    result = run(lab, snippet, prove)
    assert message(result) == "road is on strike"
    assert result.trace.measured == {"confirmed before the answer": 0}


@server
def test_a_booking_is_made_once_also_if_the_worker_dies_behind_it(lab: Lab, tmp_path: Path) -> None:
    beside(tmp_path, "fan_out")
    quick = ("timedelta(seconds=30)", "timedelta(seconds=0.1)")
    snippet = changed(tmp_path, "recipes/quotes", quick)
    stimulus = crash_after_effect("POST /bookings")
    result = run(lab, snippet, priced({"air": 200}, "Quotes/compare"), stimulus)
    assert answer(result) == [200]
    assert result.trace.effect_counts() == {"POST /bookings": 1}


# Timers


@server
@pytest.mark.parametrize(
    "stimulus",
    [PLAIN, *REPLAYS, crash_after_effect("POST /mails")],
    ids=lambda s: s.title.replace(" ", "-"),
)
def test_sleep_until_wakes_then_and_not_before(lab: Lab, stimulus: Stimulus) -> None:
    due = 0.0

    async def prove(lab: LabInProof) -> None:
        nonlocal due
        due = time.time() + 1.5
        woke = await lab.call("Reminders/remind", due)
        lab.measure("in time", due <= woke + 0.002 and woke < due + 10.0)

    result = run(lab, FOLDER / "reminders.py", prove, stimulus)
    assert result.trace.measured == {"in time": True}
    assert result.trace.effect_counts() == {"POST /mails": 1}
    assert result.trace.failures() == [] or stimulus.crash_at or stimulus.crash_on_effect
    asked, *_ = result.trace.invocations[0].journal[1:]
    assert asked.type == "Command: Sleep", "an outage between clock and sleep makes it late"


@server
def test_sleep_until_a_past_time_does_not_sleep(lab: Lab) -> None:
    result = run(lab, FOLDER / "reminders.py", calling("Reminders/remind", 1000.0))
    (sleep,) = (
        entry for entry in result.trace.invocations[0].journal if entry.type == "Command: Sleep"
    )
    assert sleep.value == "0 s"


@server
@pytest.mark.parametrize(
    "stimulus",
    [PLAIN, REPLAY_EVERY_AWAIT, crash_after_step("reply"), crash_after_effect("POST /replies")],
    ids=lambda s: s.title.replace(" ", "-"),
)
def test_race_with_timeout_gives_what_comes_in_time(lab: Lab, stimulus: Stimulus) -> None:
    result = run(lab, FOLDER / "reminders.py", calling("Reminders/ask", [0.1, 20.0]), stimulus)
    assert answer(result) == "yes"


@server
@pytest.mark.parametrize("limit", [0.3, -1.0])
@pytest.mark.parametrize("stimulus", [PLAIN, REPLAY_EVERY_AWAIT], ids=lambda s: s.mode)
def test_race_with_timeout_cancels_who_is_late(lab: Lab, stimulus: Stimulus, limit: float) -> None:
    async def prove(lab: LabInProof) -> None:
        await lab.call("Reminders/ask", [20.0, limit])
        await lab.until_all_completed()

    result = run(lab, FOLDER / "reminders.py", prove, stimulus)
    assert answer(result)["code"] == 408
    assert result.trace.effect_counts() == {}


@server
@replayed
def test_race_with_timeout_is_lost_in_each_replay(
    lab: Lab, tmp_path: Path, stimulus: Stimulus
) -> None:
    """The journal has the cancelled call's own end, too, when the handler goes on.

    What was called may undo what it has done.
    """
    beside(tmp_path, "race_with_timeout", "sleep_until")
    sleep = "    await ctx.sleep(timedelta(seconds=seconds))\n"
    undone = (
        f"    try:\n    {sleep}    except restate.TerminalError:\n"
        '        await ctx.run_typed("undo", post, what="undone", key=str(ctx.uuid()))\n'
        "        raise\n"
    )
    race = "    return await race_with_timeout(ctx, reply, timedelta(seconds=limit))\n"
    caught = (
        f"    try:\n    {race}    except restate.TerminalError as error:\n"
        "        await ctx.sleep(timedelta(seconds=1.5))\n"
        '        await ctx.run_typed("mail", post, what="mails", key=str(ctx.uuid()))\n'
        "        return error.message\n"
    )
    snippet = changed(tmp_path, "recipes/reminders", (race, caught), (sleep, undone))

    async def prove(lab: LabInProof) -> None:
        await lab.call("Reminders/ask", [20.0, 0.3])
        await lab.until_all_completed()

    result = run(lab, snippet, prove, stimulus)
    assert answer(result) == "no result within 0:00:00.300000"
    assert result.trace.effect_counts() == {"POST /mails": 1, "POST /undone": 1}
    assert [i.result for i in result.trace.invocations if i.target == "People/answer"] == [
        {"failure": "cancelled", "code": 409}
    ]


@server
def test_race_with_timeout_leaves_a_step_that_is_late_to_act(lab: Lab, tmp_path: Path) -> None:
    beside(tmp_path, "race_with_timeout", "sleep_until")
    called = "    reply = ctx.service_call(answer, thinks)\n"
    step = '    reply = ctx.run_typed("reply", slowly, seconds=thinks)\n'
    acts = (
        "app = restate.app",
        "def slowly(seconds: float) -> str:\n    time.sleep(seconds)\n"
        '    post("replies", "key")\n    return "yes"\n\n\napp = restate.app',
    )
    imported = ("import os\n", "import os\nimport time\n")
    snippet = changed(tmp_path, "recipes/reminders", (called, step), acts, imported)

    async def prove(lab: LabInProof) -> None:
        await lab.call("Reminders/ask", [1.0, 0.2])
        lab.measure("replies before the answer", len(lab.outside.ledger))
        await lab.until_effect("POST /replies")

    result = run(lab, snippet, prove)
    assert answer(result)["code"] == 408
    assert result.trace.measured == {"replies before the answer": 0}
    assert result.trace.effect_counts() == {"POST /replies": 1}


@server
@pytest.mark.parametrize(
    ("snippet", "call", "waited_for", "target", "body", "failure"),
    [
        (
            "reminders",
            "ctx.service_call(answer, thinks",
            ("People/answer", 20.0),
            "Reminders/ask",
            [20.0, 0.3],
            "no result within 0:00:00.300000",
        ),
        (
            "quotes",
            "fan_out_fail_fast([ctx.service_call(quote, name",
            ("Carriers/quote", "air"),
            "Quotes/compare_all",
            ["air", "road"],
            "road is on strike",
        ),
    ],
    ids=["race_with_timeout", "fan_out_fail_fast"],
)
def test_a_call_under_a_key_is_cancelled_for_others_who_wait_or_come_later(
    lab: Lab,
    tmp_path: Path,
    snippet: str,
    call: str,
    waited_for: tuple[str, Any],
    target: str,
    body: Any,
    failure: str,
) -> None:
    beside(tmp_path, "race_with_timeout", "sleep_until", "fan_out")
    key = call.rpartition(" ")[2]
    keyed = (call, f"{call}, idempotency_key=str({key})")
    shared = changed(tmp_path, f"recipes/{snippet}", keyed)

    async def prove(lab: LabInProof) -> None:
        lab.outside.answers |= {"GET /prices/air": 200, "GET /prices/road": -1}
        called, with_what = waited_for
        waiting = asyncio.create_task(lab.call(called, with_what, idempotency_key=str(with_what)))
        await lab.until_row(f"select id from sys_invocation where target = '{called}'")
        await lab.call(target, body)
        await waiting
        await lab.call(called, with_what, idempotency_key=str(with_what))

    waits, own, later = run(lab, shared, prove).trace.calls
    for other in (waits, later):
        assert (other.status, other.answer["message"]) == (409, "cancelled")
    assert own.answer["message"] == failure


@server
def test_a_call_that_is_cancelled_in_the_queue_is_made_anew_under_its_key(
    lab: Lab, tmp_path: Path
) -> None:
    """The server keeps nothing of what has not begun."""
    beside(tmp_path, "race_with_timeout", "sleep_until")
    snippet = changed(
        tmp_path,
        "recipes/reminders",
        ('restate.Service("People")', 'restate.VirtualObject("People")'),
        ("answer(ctx: restate.Context", "answer(ctx: restate.ObjectContext"),
        (
            "ctx.service_call(answer, thinks)",
            'ctx.object_call(answer, "bob", thinks, idempotency_key="answer-1")',
        ),
    )

    async def prove(lab: LabInProof) -> None:
        await lab.call("People/bob/answer/send", 60.0)  # holds the key
        await lab.until_row("select id from sys_journal where entry_type = 'Command: Sleep'")
        await lab.call("Reminders/ask", [0.0, 0.3])
        await lab.until_no_row("select id from sys_invocation where status = 'pending'")
        await lab.operate("kill", "People/bob/answer")
        await lab.call("People/bob/answer", 0.0, idempotency_key="answer-1")

    _, own, later = run(lab, snippet, prove).trace.calls
    assert own.answer["code"] == 408
    assert later.answer == "yes"


# Guards

STRICT = {"RESTATE_GUARDS": "strict"}


@server
@pytest.mark.parametrize(
    ("target", "body", "refused"),
    [
        ("Account/ann/add_twice", "ann", "calls its own handler 'add'"),
        ("Account/ann/note", "tea", "ctx.set is called inside the step 'note'"),
    ],
)
def test_guards_refuse_at_once_and_the_invocation_lives(
    lab: Lab, target: str, body: str, refused: str
) -> None:
    result = run(lab, FOLDER / "accounts.py", calling(target, body), env=STRICT)
    (stuck,) = result.trace.invocations
    assert stuck.status == "paused", "to be resumed on the mended code"
    assert refused in stuck.failures[0].message
    assert result.trace.state == ()


@server
@pytest.mark.parametrize(
    ("action", "refused"),
    [
        ('ctx.run(name="note", action=lambda: ctx.set("note", what))', "ctx.set"),
        ('ctx.run_typed("note", lambda: str(ctx.scope(what)))', "ctx.scope"),
        ('ctx.run_typed("", lambda: ctx.set("note", what))', "ctx.set"),
    ],
    ids=["keywords", "scope", "no name"],
)
def test_run_guard_knows_steps_by_keywords_and_without_a_name_and_scopes(
    lab: Lab, tmp_path: Path, action: str, refused: str
) -> None:
    beside(tmp_path, "policy", "run_guard", "self_call_guard")
    written = ('ctx.run_typed("note", lambda: ctx.set("note", what))', action)
    snippet = changed(tmp_path, "recipes/accounts", written)
    result = run(lab, snippet, calling("Account/ann/note", "tea"), env=STRICT)
    said = result.trace.invocations[0].failures[0].message
    name = "" if 'run_typed(""' in action else "note"
    assert f"{refused} is called inside the step {name!r}" in said


@server
@replayed
def test_run_guard_lets_a_saga_go_its_way(lab: Lab, tmp_path: Path, stimulus: Stimulus) -> None:
    beside(tmp_path, "policy", "run_guard", "saga")
    guarded = ('Service("Tickets")', 'Service("Tickets", invocation_context_managers=[run_guard])')
    imported = ("from saga", "from run_guard import run_guard\nfrom saga")
    napping = (
        '        await ctx.run_typed("send"',
        '        await ctx.sleep(timedelta(seconds=1))\n        await ctx.run_typed("send"',
    )
    dated = ("import sqlite3\n", "import sqlite3\nfrom datetime import timedelta\n")
    snippet = changed(tmp_path, "recipes/tickets", guarded, imported, napping, dated)
    result = run(lab, snippet, calling("Tickets/buy", "ann"), stimulus, STRICT)
    assert message(result) == "the printer is gone"
    assert result.trace.rows["seats"] == []
    assert result.trace.effect_counts() == BOUGHT_AND_UNDONE


@server
@pytest.mark.parametrize("limit", ["max_attempts=2", "max_duration=timedelta(milliseconds=1)"])
def test_run_guard_lets_a_step_with_a_limit_fail_for_good(
    lab: Lab, tmp_path: Path, limit: str
) -> None:
    beside(tmp_path, "policy", "run_guard", "self_call_guard")
    sets = 'ctx.run_typed("note", lambda: ctx.set("note", what)'
    imported = (
        "import restate\nfrom run",
        "from datetime import timedelta\n\nimport restate\nfrom run",
    )
    snippet = changed(
        tmp_path, "recipes/accounts", (sets, f"{sets}, restate.RunOptions({limit})"), imported
    )
    result = run(lab, snippet, calling("Account/ann/note", "tea"), env=STRICT)
    assert answer(result)["code"] == 500
    assert "ctx.set is called inside the step 'note'" in message(result)
    (ended,) = result.trace.invocations
    assert ended.status == "completed" and result.trace.state == ()


IN_A_THREAD = """\
    def act() -> None:
        thread = threading.Thread(target=ctx.set, args=("note", what))
        thread.start()
        thread.join()

    await ctx.run_typed("note", act)
"""
SWALLOWED = """\
    def act() -> None:
        try:
            ctx.set("note", what)
        except Exception:
            pass

    await ctx.run_typed("note", act)
"""
DRAWN = """\
    chance = ctx.random()
    await ctx.run_typed("note", lambda: chance.random())
"""


@server
@pytest.mark.parametrize(
    ("acts", "kept"),
    [(IN_A_THREAD, ["tea"]), (SWALLOWED, []), (DRAWN, [])],
    ids=["in a thread of the step's", "swallowed in the step", "drawn from what was got before"],
)
def test_run_guard_misses_a_thread_and_what_the_step_catches_and_a_random(
    lab: Lab, tmp_path: Path, acts: str, kept: list[str]
) -> None:
    """Either is answered, as if nothing had been found."""
    beside(tmp_path, "policy", "run_guard", "self_call_guard")
    written = '    await ctx.run_typed("note", lambda: ctx.set("note", what))\n'
    imported = ("import restate\nfrom run", "import threading\n\nimport restate\nfrom run")
    snippet = changed(tmp_path, "recipes/accounts", (written, acts), imported)
    trace = run(lab, snippet, calling("Account/ann/note", "tea"), env=STRICT).trace
    assert [call.status for call in trace.calls] == [200]
    assert [state.value for state in trace.state] == kept


@server
@pytest.mark.parametrize(
    ("target", "body", "change"),
    [
        (
            "Account/ann/note",
            "tea",
            (
                '    await ctx.run_typed("note", lambda: ctx.set("note", what))\n',
                "    nap = ctx.sleep(timedelta(0))\n\n"
                "    async def wait() -> None:\n        await nap\n\n"
                '    await ctx.run_typed("note", wait)\n',
            ),
        ),
        (
            "Account/ann/look",
            None,
            (
                "    return await ctx.object_call(total, key=ctx.key(), arg=None)\n",
                "    sent = ctx.object_send(add, key=ctx.key(), arg=1)\n"
                "    return await ctx.attach_invocation(await sent.invocation_id(), int)\n",
            ),
        ),
        (
            "Account/ann/look",
            None,
            (
                '    return await ctx.get("total", type_hint=int) or 0\n',
                "    return await ctx.object_call(add, key=ctx.key(), arg=1)\n",
            ),
        ),
    ],
    ids=[
        "a future that was started before",
        "a send that one attaches to",
        "a circle through a shared handler of its own",
    ],
)
def test_what_the_guards_do_not_see_hangs(
    lab: Lab, tmp_path: Path, target: str, body: Any, change: tuple[str, str]
) -> None:
    beside(tmp_path, "policy", "run_guard", "self_call_guard")
    imported = (
        "import restate\nfrom run_guard",
        "from datetime import timedelta\n\nimport restate\nfrom run_guard",
    )
    snippet = changed(tmp_path, "recipes/accounts", change, imported)

    async def prove(lab: LabInProof) -> None:
        calling = asyncio.create_task(lab.call(target, body))
        await lab.until_row(f"select id from sys_invocation where target = '{target}'")
        await lab.until_still(1.0)
        assert not calling.done()
        await lab.operate("kill", target)
        await lab.until_all_completed()
        await calling

    result = run(lab, snippet, prove, env=STRICT)
    assert result.trace.failures() == []
    (called,) = (each for each in result.trace.invocations if each.target == target)
    assert called.result is None or called.result["failure"] == "killed"


@server
@pytest.mark.parametrize(
    ("target", "body", "written", "instead", "right"),
    [
        (
            "Account/ann/note",
            "tea",
            'ctx.run_typed("note", lambda: ctx.set("note", what))',
            'ctx.run_typed("note", lambda options: None, options=what)',
            "",
        ),
        (
            "Account/ann/look",
            None,
            "return await ctx.object_call(total, key=ctx.key(), arg=None)",
            'return int(await ctx.generic_call("Account", "add", b"5", "bob", "key-1"))',
            5,
        ),
    ],
    ids=["a step's argument called options", "a key by position"],
)
def test_guards_pass_on_what_they_are_given(
    lab: Lab, tmp_path: Path, target: str, body: Any, written: str, instead: str, right: Any
) -> None:
    beside(tmp_path, "policy", "run_guard", "self_call_guard")
    snippet = changed(tmp_path, "recipes/accounts", (written, instead))
    assert answer(run(lab, snippet, calling(target, body), env=STRICT)) == right


@server
def test_a_refused_self_call_goes_on_where_the_code_is_mended(lab: Lab, tmp_path: Path) -> None:
    beside(tmp_path, "policy", "run_guard", "self_call_guard")
    shutil.copy(FOLDER / "accounts.py", tmp_path / "refused.py")
    twice = "await ctx.object_call(add, key=key, arg=1)\n"
    mended = changed(tmp_path, "recipes/accounts", (f"    {twice}    return {twice}", SENDS))

    async def prove(lab: LabInProof) -> None:
        await lab.call("Account/ann/add_twice", "ann")
        await resume_on(lab, "Account/ann/add_twice", mended.stem)
        await lab.until_all_completed()

    result = run(lab, tmp_path / "refused.py", prove, env=STRICT)
    assert [state.value for state in result.trace.state] == [2]


@server
@pytest.mark.parametrize("before", [False, True], ids=["after the step", "before the step"])
def test_a_refused_step_goes_on_where_the_mended_code_asks_for_nothing_new_before_it(
    lab: Lab, tmp_path: Path, before: bool
) -> None:
    """The step's command is in the journal, and its result isn't."""
    beside(tmp_path, "policy", "run_guard", "self_call_guard")
    shutil.copy(FOLDER / "accounts.py", tmp_path / "refused.py")
    step = '    await ctx.run_typed("note", lambda: what)\n'
    sets = '    ctx.set("note", what)\n'
    written = '    await ctx.run_typed("note", lambda: ctx.set("note", what))\n'
    mended = changed(
        tmp_path, "recipes/accounts", (written, sets + step if before else step + sets)
    )

    async def prove(lab: LabInProof) -> None:
        await lab.call("Account/ann/note", "tea")
        await lab.deploy(mended.stem)
        assert await lab.operate("resume", "Account/ann/note", deployment="latest") == 200
        await lab.until_row(PAUSED_AGAIN if before else COMPLETED)

    (note,) = run(lab, tmp_path / "refused.py", prove, env=STRICT).trace.invocations
    assert any(failure.code == "RT0016" for failure in note.failures) is before


COMPLETED = "select id from sys_invocation where status = 'completed'"


@server
@pytest.mark.parametrize(
    ("target", "body", "waits"),
    [("Account/ann/add_twice", "ann", True), ("Strict/ann/again", None, False)],
)
def test_a_refused_self_call_holds_its_key_unless_it_ends(
    lab: Lab, target: str, body: Any, waits: bool
) -> None:
    async def prove(lab: LabInProof) -> None:
        await lab.call(target, body)
        service = target.partition("/")[0]
        other = f"{service}/ann/{'add' if waits else 'elsewhere'}"
        await lab.call(f"{other}/send", 1 if waits else None)
        status = "pending" if waits else "completed"
        await lab.until_row(
            f"select id from sys_invocation where target = '{other}' and status = '{status}'"
        )
        if waits:
            await lab.until_row("select id from sys_invocation where status = 'paused'")
            assert await lab.operate("cancel", target) == 202
            await lab.until_row(PAUSED_AGAIN)
            (other_one,) = await lab.query(
                f"select status from sys_invocation where target = '{other}'"
            )
            assert other_one["status"] == "pending", "a cancel is raised where one waits"
            await lab.operate("kill", target)
        await lab.until_all_completed()

    result = run(lab, FOLDER / "accounts.py", prove, env=STRICT)
    assert [state.value for state in result.trace.state] == [1 if waits else 5]


PAUSED_AGAIN = """select id from sys_invocation where status = 'paused' and id in (
    select id from sys_journal_events where event_type = 'Paused' group by id having count(*) > 1)"""


SENDS = """\
    ctx.object_send(add, key=key, arg=1)
    ctx.object_send(add, key=key, arg=1)
    return 0
"""


@server
@pytest.mark.parametrize("handler", ["add", "total"])
def test_self_call_guard_refuses_generic_calls_to_its_key(
    lab: Lab, tmp_path: Path, handler: str
) -> None:
    """Also to a shared handler, which it can't tell from others there."""
    beside(tmp_path, "policy", "run_guard", "self_call_guard")
    called = "return await ctx.object_call(total, key=ctx.key(), arg=None)"
    generic = f'return int(await ctx.generic_call("Account", "{handler}", b"1", ctx.key()))'
    snippet = changed(tmp_path, "recipes/accounts", (called, generic))
    (stuck,) = run(lab, snippet, calling("Account/ann/look"), env=STRICT).trace.invocations
    assert stuck.status == "paused"
    assert f"calls its own handler {handler!r}" in stuck.failures[0].message


@server
def test_self_call_guard_ends_the_invocation_if_asked(lab: Lab) -> None:
    result = run(lab, FOLDER / "accounts.py", calling("Strict/ann/again"), env=STRICT)
    assert answer(result)["code"] == 508
    assert "calls its own handler 'again'" in message(result)


@server
@pytest.mark.parametrize(
    ("target", "body", "right"),
    [
        ("Account/ann/add_twice", "bob", 2),  # another key
        ("Account/ann/look", None, 0),  # a shared handler
        ("Strict/ann/elsewhere", None, 5),  # another object with the same key
    ],
)
def test_self_call_guard_lets_other_calls_through(
    lab: Lab, target: str, body: Any, right: int
) -> None:
    result = run(lab, FOLDER / "accounts.py", calling(target, body), REPLAY_EVERY_AWAIT, STRICT)
    assert answer(result) == right


@server
@pytest.mark.parametrize("retries", [True, False])
@pytest.mark.parametrize(("target", "body"), [("add_twice", "ann"), ("note", "tea")])
def test_guards_fail_a_test_if_retries_are_off(
    lab: Lab, tmp_path: Path, target: str, body: str, retries: bool
) -> None:
    """Else it waits for an answer until the invocation is paused, and after that."""
    beside(tmp_path, "policy", "run_guard", "self_call_guard")
    guarded = '    "Account", invocation_context_managers=[run_guard, self_call_guard]\n'
    once = 'restate.InvocationRetryPolicy(max_attempts=1, on_max_attempts="kill")'
    off = f"{guarded[:-1]},\n    invocation_retry_policy={once},\n"
    snippet = changed(tmp_path, "recipes/accounts", *([] if retries else [(guarded, off)]))
    (call,) = run(lab, snippet, calling(f"Account/ann/{target}", body), env=STRICT).trace.calls
    assert call.status == (None if retries else 500)


@server
@pytest.mark.parametrize("policy", ["warn", "off"])
def test_guards_that_warn_or_are_off_let_it_go_on(lab: Lab, policy: str) -> None:
    env = {"RESTATE_GUARDS": policy}
    result = run(lab, FOLDER / "accounts.py", calling("Account/ann/note", "tea"), env=env)
    assert [call.status for call in result.trace.calls] == [200]
    assert [state.value for state in result.trace.state] == ["tea"]


# Policy and keys, without a server


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a recipe, as a worker of this policy would."""
    names = {path.stem for path in FOLDER.glob("*.py")}
    monkeypatch.syspath_prepend(str(FOLDER))
    # A `mkdocs serve` of another test follows this folder, and would reload its pages.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def fresh(name: str, **environment: str) -> ModuleType:
        for variable in ("CI", "RESTATE_GUARDS"):
            monkeypatch.delenv(variable, raising=False)
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        for loaded in names:
            sys.modules.pop(loaded, None)
        return importlib.import_module(name)

    yield fresh
    for loaded in names:
        sys.modules.pop(loaded, None)


@pytest.mark.parametrize(
    ("environment", "policy"),
    [
        ({}, "warn"),
        ({"CI": "true"}, "strict"),
        ({"CI": "true", "RESTATE_GUARDS": "off"}, "off"),
    ],
)
def test_policy_is_strict_in_ci(
    recipes: Callable[..., ModuleType], environment: dict[str, str], policy: str
) -> None:
    assert recipes("policy", **environment).POLICY.value == policy


@pytest.mark.parametrize(("policy", "logged"), [("warn", 1), ("off", 0)])
def test_guards_that_do_not_raise_log_under_warn(
    recipes: Callable[..., ModuleType],
    caplog: pytest.LogCaptureFixture,
    policy: str,
    logged: int,
) -> None:
    keys = recipes("idempotency_key", RESTATE_GUARDS=policy)
    assert keys.idempotency_key("charge", at=1764000000) == "charge:at=1764000000"
    assert [(said.name, said.levelname) for said in caplog.records] == [
        ("restate.guards", "WARNING")
    ] * logged
    assert caplog.text.count("charge: at=1764000000 looks like a time") == logged


def test_recipes_work_in_a_package_once_their_neighbour_is_imported_from_it(
    tmp_path: Path,
) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    beside(package, "policy", "run_guard", "self_call_guard", "idempotency_key")
    beside(package, "saga", "fan_out", "race_with_timeout", "sleep_until")
    names = sorted(path.stem for path in package.glob("*.py"))
    importing = [sys.executable, "-c", f"from shop import {', '.join(names)}"]

    def imported() -> subprocess.CompletedProcess[str]:
        return subprocess.run(importing, cwd=tmp_path, capture_output=True, text=True)

    assert "No module named 'policy'" in imported().stderr
    for path in package.glob("*.py"):
        text = path.read_text()
        path.write_text(text.replace("\nimport policy\n", "\nfrom . import policy\n"))
    assert imported().returncode == 0


def test_policy_refuses_what_it_does_not_know(recipes: Callable[..., ModuleType]) -> None:
    with pytest.raises(ValueError, match="lax"):
        recipes("policy", RESTATE_GUARDS="lax")


def test_run_guard_guards_all_that_a_context_has(recipes: Callable[..., ModuleType]) -> None:
    """But for what only tells of the invocation."""
    offered = {
        name
        for kind in (restate.ObjectContext, restate.WorkflowContext)
        for name in dir(kind)
        if not name.startswith("_")
    }
    assert offered - set(recipes("run_guard").GUARDED) == {"key", "request"}


@pytest.mark.parametrize(
    "value",
    [
        1764000000,
        1764000000123,
        1764000000123456,
        1764000000123456789,
        "1764000000.25",
        "2026-11-24T14:00:00Z",
        "2026-11-24 14:00",
        "3f2b8c1e-9a4d-4c7b-8f6e-2d1a0b9c8e7f",
        "3F2B8C1E9A4D4C7B8F6E2D1A0B9C8E7F",
        "c232ab00-9414-11ec-b3c8-9f6bdeced846",
        "019abcde-9a4d-7c7b-8f6e-2d1a0b9c8e7f",
    ],
)
def test_idempotency_key_refuses_time_and_chance(
    recipes: Callable[..., ModuleType], value: str | int
) -> None:
    keys = recipes("idempotency_key", RESTATE_GUARDS="strict")
    with pytest.raises(keys.UnstableKey, match="order="):
        keys.idempotency_key("charge", order=value)
    for known in (["order"], "order"):
        key = keys.idempotency_key("charge", known=known, order=value)
        assert quote(str(value), safe="") in key
    with pytest.raises(keys.UnstableKey):
        keys.idempotency_key("charge", known="order_number", order=value)


@pytest.mark.parametrize(
    "value",
    [
        "order-1764000000",
        4711,
        "0000012345",
        "2026-11",
        "2026-11-24",
        "ann",
        str(uuid.uuid5(uuid.NAMESPACE_URL, "order-7")),
    ],
)
def test_idempotency_key_takes_what_names_the_event(
    recipes: Callable[..., ModuleType], value: str | int
) -> None:
    keys = recipes("idempotency_key", RESTATE_GUARDS="strict")
    key = keys.idempotency_key("charge", order=value, part=1)
    assert key == f"charge:order={value}:part=1"


@pytest.mark.parametrize(
    "value",
    [
        "8f1c0de5a9b34c7796e2d81f0a5b6c3d2e4f60718293a4b5c6d7e8f901234567",  # secrets.token_hex()
        "Tue, 24 Nov 2026 14:00:00 +0000",
        "{3f2b8c1e-9a4d-4c7b-8f6e-2d1a0b9c8e7f}",
    ],
)
def test_idempotency_key_does_not_know_other_times_and_tokens(
    recipes: Callable[..., ModuleType], value: str
) -> None:
    """What is refused is a time in seconds or as ISO writes it, and a random UUID."""
    keys = recipes("idempotency_key", RESTATE_GUARDS="strict")
    assert keys.idempotency_key("charge", order=value) == f"charge:order={quote(value, safe='')}"


def test_idempotency_keys_of_two_events_differ_whatever_is_in_their_fields(
    recipes: Callable[..., ModuleType],
) -> None:
    key = recipes("idempotency_key", RESTATE_GUARDS="strict").idempotency_key
    assert key("charge", a="x:b=y") != key("charge", a="x", b="y")
    assert key("charge", a="x%3Ab") != key("charge", a="x:b")
    assert key("charge:a=x", b="y") != key("charge", a="x", b="y")
    assert key("gebühr", order="ä").isascii(), "it goes into a header"


def test_idempotency_key_without_fields_is_refused(recipes: Callable[..., ModuleType]) -> None:
    keys = recipes("idempotency_key", RESTATE_GUARDS="off")
    for fields in ({}, {"order": ""}, {"order": None}):
        with pytest.raises(ValueError, match="the same for all"):
            keys.idempotency_key("charge", **fields)


def test_sleep_until_refuses_a_time_without_a_zone(recipes: Callable[..., ModuleType]) -> None:
    from datetime import datetime

    sleeps = recipes("sleep_until")
    with pytest.raises(ValueError, match="no time zone"):
        apart(asyncio.run, sleeps.sleep_until(None, datetime(2026, 11, 24)))
