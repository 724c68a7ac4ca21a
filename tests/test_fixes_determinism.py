"""What the pages of the chapter determinism tell operators to do, done on a real server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import logging
import multiprocessing
import os
import random
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import SimpleQueue
from uuid import UUID

import httpx
import pytest
import restate
from restate.server_context import restate_context_is_replaying

from restate_guide import catalogue
from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Holds,
    JournalMismatch,
    RetriedUntilPaused,
    Stimulus,
    crash_after_effect,
    crash_after_step,
    crash_before_journal,
    load,
)
from restate_guide.lab import Lab as LabInProof
from restate_guide.lab.evidence import read
from restate_guide.lab.outside import Received
from tests.conftest import Lab, apart
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


@pytest.mark.parametrize("code", ["dont", "do"])
def test_failed_step_that_had_used_the_context_is_stuck_on_either_code(
    lab: Lab, code: str, tmp_path: Path
) -> None:
    """RDD103: the commands keep their order, but the step has no result; found, and killed."""
    slug = "determinism/context-inside-run"
    asks, sets = "        cents = await price(item)\n", "        ctx.set(item, cents)\n"
    asked = '        ctx.set("asked", item)\n        cents = await price(item)\n'
    dont = changed(tmp_path, f"{slug}/dont", (asks, asked), (sets, ""))
    changed(tmp_path, f"{slug}/do", ("ctx.set(item, cents)", 'ctx.set("asked", item)'))
    target, (query,) = "Cart/cart-1/add", queries("RDD103")
    pauses = "select id from sys_journal_events where event_type = 'Paused'"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /prices/tea", times=1)
        await in_proof.call(f"{target}/send", "tea")
        await until_status(in_proof, target, "paused")
        journal = await in_proof.query("select entry_type from sys_journal order by index")
        types = [row["entry_type"] for row in journal]
        assert types == ["Command: Input", "Command: Run", "Command: SetState"]
        (before,) = await in_proof.query(query)
        await in_proof.deploy(code)
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_row(f"{pauses} group by id having count(*) > 1")
        await until_status(in_proof, target, "paused")
        (again,) = await in_proof.query(query)
        assert again["target"] == target
        # As texts they don't compare: the one of a full second has no decimals.
        assert datetime.fromisoformat(again["last"]) > datetime.fromisoformat(before["last"])
        assert await in_proof.operate("kill", target) == 200
        await in_proof.until_all_completed()
        assert not await in_proof.query(query)

    trace = instead(lab, SNIPPETS / slug, prove, PLAIN, dont).trace
    codes = [failure.code for failure in trace.failures()]
    assert codes == ["RT0007"] + ["RT0016"] * 4
    assert "'await' could not be replayed" in trace.failures()[-1].message
    assert trace.effect_counts() == {}


def test_other_failure_on_the_fixed_code_is_told_from_a_mismatch_by_its_time(lab: Lab) -> None:
    """RDD103: the query still finds it, with the time of the RT0016 on the old code."""
    target, (query,) = "Cart/cart-1/add", queries("RDD103")
    pauses = "select id from sys_journal_events where event_type = 'Paused'"

    async def fix(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        before = await in_proof.query(query)
        in_proof.outside.fail("POST /reservations", times=9)
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_row(f"{pauses} group by id having count(*) > 1")
        await until_status(in_proof, target, "paused")
        assert len(before) == 1
        assert await in_proof.query(query) == before

    codes = [
        failure.code
        for failure in afterwards(lab, CHAPTER / "context-inside-run", fix).trace.failures()
    ]
    assert set(codes) == {"RT0016", "RT0007"}


@pytest.mark.parametrize("code", ["dont", "do"])
def test_failed_step_that_had_not_used_the_context_yet_gets_through_on_either_code(
    lab: Lab, code: str
) -> None:
    """RDD103: no result of the step, and no command from within it: nothing to kill."""
    target = "Cart/cart-1/add"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/tea"] = {"cents": 420}
        in_proof.outside.fail("GET /prices/tea", times=5)
        await in_proof.call(f"{target}/send", "tea")
        await until_status(in_proof, target, "paused")
        journal = await in_proof.query("select entry_type from sys_journal order by index")
        assert [row["entry_type"] for row in journal] == ["Command: Input", "Command: Run"]
        await resume_on(in_proof, target, code)

    trace = instead(lab, CHAPTER / "context-inside-run", prove, PLAIN).trace
    assert {failure.code for failure in trace.failures()} == {"RT0007"}
    assert trace.effect_counts() == {"POST /reservations": 1}
    assert [(state.name, state.value) for state in trace.state] == [("tea", 420)]


def test_late_mismatch_of_a_draw_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD106: the fixed code makes the same draws in the same order."""
    target = "Order/order-1/pay"

    async def fix(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        assert len(await in_proof.query(queries("RDD106")[0])) == 1
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


RAISES = "raise ValueError('\"RT0016\"'"


@pytest.mark.parametrize(
    ("rule", "snippet", "target", "body", "change"),
    [
        (
            "RDD104",
            "determinism/random-decides-a-step/dont",
            "Shop/sell",
            "DE",
            ("def buy(", "def sell("),
        ),
        (
            "RDD104",
            "determinism/random-decides-a-step/do",
            "Shop/buy",
            "DE",
            ("return await ctx.object_call(", f"{RAISES}, "),
        ),
        (
            "RDD112",
            "determinism/global-decides-a-step/do",
            "Billing/bill",
            "DE",
            ("return await ctx.run_typed(", f"{RAISES}, "),
        ),
        (
            "RDD103",
            "determinism/context-inside-run/do",
            "Cart/cart-1/add",
            "tea",
            ("cents = await ctx.run_typed(", f"{RAISES}, "),
        ),
        (
            "RDD106",
            "determinism/helpers-drawn-inside-run/do",
            "Order/order-1/pay",
            None,
            ('ctx.set("parcel", parcel)\n', f'ctx.set("parcel", parcel)\n    {RAISES})\n'),
        ),
        (
            "RDD111",
            "determinism/unordered-iteration/do",
            "Orders/fulfil",
            [],
            ("return len(unique)", f"{RAISES})"),
        ),
        (
            "RDD606",
            "operations/flag-read-in-flight/do",
            "Tickets/sell",
            "order-1",
            ("key = str(ctx.uuid())", f"{RAISES})"),
        ),
        (
            "RDD607",
            "operations/test-without-replay/do",
            "Tickets/t-1/open",
            None,
            ('return "open"', f"{RAISES})"),
        ),
    ],
    ids=[
        "another handler",
        "RDD104's",
        "RDD112's",
        "RDD103's",
        "RDD106's",
        "RDD111's",
        "RDD606's",
        "RDD607's",
    ],
)
def test_other_trouble_is_not_taken_for_the_mismatch(
    lab: Lab,
    tmp_path: Path,
    rule: str,
    snippet: str,
    target: str,
    body: object,
    change: tuple[str, str],
) -> None:
    """A mismatch of another handler (RDD104), and an exception whose text has RT0016 in it."""
    query = queries(rule)[0]
    found = []

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /taxes/DE"] = {"percent": 19}
        await in_proof.call(f"{target}/send", body)
        await until_status(in_proof, target, "paused")
        events = "select id from sys_journal_events where event_json like '%RT0016%'"
        found.extend([await in_proof.query(events), await in_proof.query(query)])

    code = changed(tmp_path, snippet, change)
    instead(lab, (SNIPPETS / snippet).parent, prove, REPLAY_EVERY_AWAIT, code)
    assert found[0]
    assert not found[1]


def test_key_that_is_used_again_leads_to_the_same_order(lab: Lab) -> None:
    """RDD104: drawn for another item; a purge stands for the end of the retention."""
    rule, called = CHAPTER / "random-decides-a-step", []

    async def prove(in_proof: LabInProof) -> None:
        for item in ("tea", "mug"):
            await in_proof.call("Shop/buy", item, idempotency_key="key-1")
            assert await in_proof.operate("purge", "Shop/buy") == 200
            await in_proof.until_no_row("select id from sys_invocation where target = 'Shop/buy'")
        called.extend(
            await in_proof.query(
                "select target_service_key from sys_invocation where target_service_name = 'Order'"
            )
        )

    promise = Holds(answers=["reservation-1", "reservation-2"], effects={"POST /reservations": 2})
    result = instead(lab, rule, prove, PLAIN, rule / "do.py", promise=promise)
    assert result.outcome.kind == "holds"
    assert len(called) == 2
    assert called[0] == called[1]


def test_kill_reaches_what_is_called_while_that_runs(lab: Lab) -> None:
    """RDD104: in the middle of its step."""

    async def prove(in_proof: LabInProof) -> None:
        answer = in_proof.outside.hold("POST /reservations", at_most=20.0)
        buying = asyncio.create_task(in_proof.call("Shop/buy", "tea"))
        await in_proof.until_effect("POST /reservations")
        assert await in_proof.operate("kill", "Shop/buy") == 200
        await in_proof.until_all_completed()
        ended = await in_proof.query("select completion_failure from sys_invocation")
        assert [row["completion_failure"] for row in ended] == ["[409] killed"] * 2
        answer.set()
        await buying

    instead(lab, CHAPTER / "random-decides-a-step", prove, PLAIN)


def test_what_a_lambda_paused_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD116."""
    target = "Accounts/welcome"

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, target)

    trace = afterwards(lab, CHAPTER / "coroutine-from-lambda", fix).trace
    assert trace.effect_counts() == {"POST /emails": 1}


RETURNS_A_MODEL = (
    ("import restate\n", "import pydantic\nimport restate\n"),
    ("def send_email(", "class Mail(pydantic.BaseModel):\n    id: str\n\n\ndef send_email("),
    ("(address: str) -> str:", "(address: str) -> Mail:"),
    ('return str(response.raise_for_status().json()["id"])', "return Mail(id='email-1')"),
)
LAMBDA = "determinism/coroutine-from-lambda/plain_function"


def test_model_that_a_lambda_returns_is_recognised_by_the_type_hint(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD116: before and after a replay."""
    hinted = (
        "lambda: send_email(address))",
        "lambda: send_email(address), restate.RunOptions(type_hint=Mail))",
    )
    returned = ("    return await ctx.run_typed", "    mail = await ctx.run_typed")
    used = ("\n\n\napp =", "\n    return mail.id\n\n\napp =")
    snippet = changed(tmp_path, LAMBDA, *RETURNS_A_MODEL, hinted, returned, used)

    async def prove(in_proof: LabInProof) -> None:
        assert await in_proof.call("Accounts/welcome", "ada@example.com") == "email-1"

    for stimulus in (PLAIN, REPLAY_EVERY_AWAIT):
        instead(lab, CHAPTER / "coroutine-from-lambda", prove, stimulus, snippet)


def test_model_that_a_lambda_returns_is_not_recognised(lab: Lab, tmp_path: Path) -> None:
    """RDD116: nor turned into JSON, whatever the plain function inside is said to return."""
    snippet = changed(tmp_path, LAMBDA, *RETURNS_A_MODEL)

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Accounts/welcome/send", "ada@example.com")
        await until_status(in_proof, "Accounts/welcome", "paused")

    outcome = instead(lab, CHAPTER / "coroutine-from-lambda", prove, PLAIN, snippet).outcome
    assert isinstance(outcome, RetriedUntilPaused), outcome
    assert "Object of type Mail is not JSON serializable" in outcome.error


def test_mismatch_of_a_cache_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD112: the journal of the first begins with the step that the cache then skipped."""

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, "Billing/bill")

    trace = afterwards(lab, CHAPTER / "global-decides-a-step", fix).trace
    assert trace.effect_counts() == {"POST /invoices": 1}


@pytest.mark.parametrize("process", ["the old one", "a new one"])
def test_who_found_the_cache_full_needs_it_full(lab: Lab, process: str) -> None:
    """RDD112: its journal lacks the step; a process with an empty cache asks for it, RT0016."""
    target = "Billing/bill"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /taxes/DE"] = {"percent": 19}
        await in_proof.call(target, "DE")
        in_proof.outside.fail("POST /invoices", times=3)
        await in_proof.call(target, "DE")
        await until_status(in_proof, target, "paused")
        if process == "the old one":
            assert await in_proof.operate("resume", target) == 200
            await in_proof.until_all_completed()
        else:
            await in_proof.deploy("dont")
            assert await in_proof.operate("resume", target, deployment="latest") == 200
            await in_proof.until_row(
                "select id from sys_journal_events where event_json like '%RT0016%' "
                "and event_type = 'Paused'"
            )

    trace = instead(lab, CHAPTER / "global-decides-a-step", prove, PLAIN).trace
    codes = [failure.code for i in trace.invocations for failure in i.failures]
    assert ("RT0016" in codes) == (process == "a new one")


def test_set_of_the_same_order_goes_on(lab: Lab) -> None:
    """RDD111: the old code, in a process whose hash seed gives the order that the journal holds."""

    async def fix(in_proof: LabInProof) -> None:
        # The third process has the seed of the first.
        await resume_on(in_proof, "Orders/fulfil", "dont")

    trace = afterwards(lab, CHAPTER / "unordered-iteration", fix).trace
    assert trace.effect_counts() == {"POST /reservations": 4}


def test_old_code_is_registered_before_the_fix(lab: Lab) -> None:
    """RDD111: what is stuck is resumed on it by its id, and new orders go to the fix."""
    target = "Orders/fulfil"

    async def fix(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        # The third process has the seed of the first.
        await in_proof.deploy("dont")
        old = await deployment(in_proof, "Orders")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment=old) == 200
        await until_status(in_proof, target, "completed")
        fixed = await deployment(in_proof, "Orders")
        assert fixed != old
        await in_proof.call(target, ["tea"])
        pinned = await in_proof.query("select pinned_deployment_id from sys_invocation")
        assert sorted(row["pinned_deployment_id"] for row in pinned) == sorted([old, fixed])

    trace = afterwards(lab, CHAPTER / "unordered-iteration", fix).trace
    assert trace.effect_counts() == {"POST /reservations": 5}


@pytest.mark.parametrize(("alone", "reserved"), [(True, ["mug"]), (False, None)])
def test_order_is_written_in_for_one_id_alone(
    lab: Lab, tmp_path: Path, alone: bool, reserved: list[str] | None
) -> None:
    """RDD111: else a new order that comes to the old code meanwhile has the stuck one's items reserved."""
    rule, target = CHAPTER / "unordered-iteration", "Orders/fulfil"
    dont = changed(tmp_path, "determinism/unordered-iteration/dont")
    stuck: list[str] = []

    async def prove(in_proof: LabInProof) -> None:
        await load(rule).prove(in_proof)
        await until_status(in_proof, target, "paused")
        steps = await in_proof.query(
            "select id, name from sys_journal where entry_type = 'Command: Run' order by index"
        )
        stuck.extend(str(step["name"]).removeprefix("reserve ") for step in steps)
        rest = f' if ctx.request().id == "{steps[0]["id"]}" else set(items)' if alone else ""
        written = dont.read_text().replace("set(items)", f"{stuck}{rest}")
        (tmp_path / "written.py").write_text(written)
        await resume_on(in_proof, target, "written")
        await in_proof.call(target, ["mug"])

    effects = instead(lab, rule, prove, snippet=dont).trace.effects
    assert len(stuck) == 4
    assert [effect.body["item"] for effect in effects] == stuck + (reserved or stuck)


def test_items_that_the_journal_has_not_come_to_stand_behind_it(lab: Lab, tmp_path: Path) -> None:
    """RDD111: the worker died after the first item; the fix was registered before the written order."""
    rule, target = CHAPTER / "unordered-iteration", "Orders/fulfil"
    dont = changed(tmp_path, "determinism/unordered-iteration/dont")
    changed(tmp_path, "determinism/unordered-iteration/do")

    async def prove(in_proof: LabInProof) -> None:
        await load(rule).prove(in_proof)
        await until_status(in_proof, target, "paused")
        (stuck,) = await in_proof.query(queries("RDD111")[0])
        (step,) = await in_proof.query(
            f"select name from sys_journal where id = '{stuck['id']}' and entry_type = 'Command: Run'"
        )
        first = str(step["name"]).removeprefix("reserve ")
        written = (
            f'[{first!r}, *(set(items) - {{{first!r}}})] if ctx.request().id == "{stuck["id"]}"'
        )
        text = dont.read_text().replace("set(items)", f"{written} else set(items)")
        (tmp_path / "written.py").write_text(text)
        await in_proof.deploy("do")
        fixed = await deployment(in_proof, "Orders")
        await in_proof.deploy("written")
        old = await deployment(in_proof, "Orders")
        uri = (await in_proof.admin("GET", f"/deployments/{fixed}"))["uri"]
        await in_proof.admin("POST", "/deployments", {"uri": uri, "force": True})
        assert await in_proof.operate("resume", target, deployment=old) == 200
        await in_proof.until_all_completed()

    trace = instead(lab, rule, prove, crash_after_step("reserve cup"), dont).trace
    assert trace.invocations[0].result == 4
    items = [effect.body["item"] for effect in trace.effects]
    assert items[0] == "cup" and sorted(items) == ["cup", "pot", "tea", "tray"]


def test_fix_that_was_registered_first_is_registered_once_more(lab: Lab) -> None:
    """RDD111: else new orders go to the old code; without `force` nothing changes."""

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        fixed = await deployment(in_proof, "Orders")
        await in_proof.deploy("dont")
        assert await deployment(in_proof, "Orders") != fixed
        uri = (await in_proof.admin("GET", f"/deployments/{fixed}"))["uri"]
        await in_proof.admin("POST", "/deployments", {"uri": uri})
        assert await deployment(in_proof, "Orders") != fixed
        await in_proof.admin("POST", "/deployments", {"uri": uri, "force": True})
        assert await deployment(in_proof, "Orders") == fixed

    instead(lab, CHAPTER / "unordered-iteration", fix, PLAIN)


def test_the_seeds_on_the_page_give_the_order_in_the_journal() -> None:
    """RDD111: and the one next to them doesn't."""
    rule = catalogue.find("RDD111", catalogue.rules())
    named = re.search(r"for the order above, ([\d, and]+) do\.", " ".join(rule.text.split()))
    assert named
    journal = read(rule.folder / "evidence.json").dont.trace.invocations[0].journal
    steps = [entry.name for entry in journal if entry.type == "Command: Run"]
    items = "['tea', 'cup', 'pot', 'tray', 'tea']"

    def order(seed: str) -> list[str]:
        command = [sys.executable, "-c", f"print(*set({items}))"]
        said = subprocess.check_output(command, env={"PYTHONHASHSEED": seed}, text=True)
        return [f"reserve {item}" for item in said.split()]

    for seed in re.findall(r"\d+", named[1]):
        assert order(seed) == steps, f"seed {seed}"
    assert order("2") != steps


def test_set_that_is_built_otherwise_is_in_another_order() -> None:
    """RDD111: in one process; built in the same way, it is in the same."""
    items = "['tea', 'cup', 'pot', 'tray', 'jar', 'can']"
    script = f"items = {items}; print([*set(items)] == [*set(items)], [*set(items)] == [*set(items[::-1])])"

    def compared(seed: int) -> str:
        command = [sys.executable, "-c", script]
        return subprocess.check_output(command, env={"PYTHONHASHSEED": str(seed)}, text=True)

    found = {compared(seed).strip() for seed in range(1, 9)}
    assert found <= {"True True", "True False"}
    assert "True False" in found


def test_sum_of_floats_depends_on_the_order_of_the_set() -> None:
    """RDD111: such as one of the prices of what is in it."""
    prices = "{'tea': 0.1, 'cup': 0.2, 'pot': 0.3, 'tray': 0.4}"
    script = f"prices, total = {prices}, 0.0\nfor item in set(prices): total += prices[item]\nprint(total)"

    def total(seed: int) -> str:
        command = [sys.executable, "-c", script]
        return subprocess.check_output(command, env={"PYTHONHASHSEED": str(seed)}, text=True)

    totals = {float(total(seed)) for seed in range(1, 9)}
    assert len(totals) > 1
    assert {round(each, 9) for each in totals} == {1.0}


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [("sorted(ask())", "journal-mismatch"), ('await ctx.run_typed("ask", ask)', "holds")],
    ids=["sorted", "in a step"],
)
def test_rows_that_have_come_meanwhile(lab: Lab, rows: str, outcome: str, tmp_path: Path) -> None:
    """RDD111: what comes from outside is read in a step; sorted alone it doesn't help."""
    ask = """def ask() -> list[str]:
    return list(httpx.get(f"{API_URL}/items").json())


"""
    snippet = changed(
        tmp_path,
        "determinism/unordered-iteration/do",
        ("@orders", f"{ask}@orders"),
        ("unique = set(items)", f"unique = {rows}"),
    )

    async def prove(in_proof: LabInProof) -> None:
        shop = in_proof.outside
        shop.answers["GET /items"] = ["pot", "tea"]
        receive = shop.on_received

        async def one_more(received: Received) -> None:
            if received.effect == "POST /reservations":
                shop.answers["GET /items"] = ["cup", "pot", "tea"]
            await receive(received)

        shop.on_received = one_more
        await in_proof.call("Orders/fulfil", [])

    promise = Holds([2], {"POST /reservations": 2})
    rule = CHAPTER / "unordered-iteration"
    result = instead(lab, rule, prove, snippet=snippet, promise=promise)
    assert result.outcome.kind == outcome, result.outcome


def test_time_that_is_sent_drifts(lab: Lab, tmp_path: Path) -> None:
    """RDD108: with the clock in the place of `uuid.uuid4()`, the mail tells another time than was booked."""
    snippet = changed(
        tmp_path,
        "determinism/random-value-drifts/dont",
        ("import uuid", "import time"),
        ("str(uuid.uuid4())", "str(time.time_ns())"),
    )

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / "random-value-drifts").prove(in_proof)
        booked, mailed = (received.body["number"] for received in in_proof.outside.ledger)
        assert booked != mailed

    instead(lab, CHAPTER / "random-value-drifts", prove, snippet=snippet)


@pytest.mark.parametrize(
    "line",
    ["ctx.clear(item)", "ctx.object_send(add, 'x', 'tea')", "ctx.object_call(add, 'x', 'tea')"],
)
def test_each_command_in_a_step_is_left_out_by_a_replay(
    lab: Lab, line: str, tmp_path: Path
) -> None:
    """RDD103."""
    change = ("ctx.set(item, cents)", line)
    snippet = changed(tmp_path, "determinism/context-inside-run/dont", change)
    result = instead(lab, CHAPTER / "context-inside-run", add_tea, snippet=snippet)
    assert result.outcome.kind == "journal-mismatch"


async def add_tea(in_proof: LabInProof) -> None:
    in_proof.outside.answers["GET /prices/tea"] = {"cents": 420}
    await in_proof.call("Cart/cart-1/add", "tea")


@pytest.mark.parametrize(("name", "stimulus"), [("sleep", PLAIN), ("nested", REPLAY_EVERY_AWAIT)])
def test_what_hangs_in_a_step_is_a_mismatch_in_the_end(
    lab: Lab, name: str, stimulus: Stimulus, tmp_path: Path
) -> None:
    """RDD103: when the server's limits are over, the next attempt meets RT0016."""
    limits = "inactivity_timeout=SHORT, abort_timeout=SHORT"
    changes = [
        ("@cart.handler()", f"@cart.handler({limits})"),
        ("import os", "import datetime\nimport os"),
        ("cart = ", "SHORT = datetime.timedelta(seconds=0.2)\ncart = "),
    ]
    snippet = changed(tmp_path, f"determinism/context-inside-run/{name}", *changes)
    result = instead(lab, CHAPTER / "context-inside-run", add_tea, stimulus, snippet)
    assert result.outcome.kind == "journal-mismatch"


@pytest.mark.parametrize(
    ("fixed", "outcome"),
    [
        ("key = str(ctx.uuid())\n    later = ctx.uuid()", "journal-mismatch"),
        ("later = ctx.uuid()\n    key = str(ctx.uuid())", "holds"),
    ],
    ids=["before", "after"],
)
def test_new_draw_shifts_those_that_come_after_it(
    lab: Lab, fixed: str, outcome: str, tmp_path: Path
) -> None:
    """RDD102, RDD105: drawn after all others, the key shifts none."""
    slug = "run-action-not-idempotent"
    charge = 'await ctx.run_typed("charge", charge, order=order'
    more = '\n    return await ctx.run_typed(f"note {later}", lambda: "")'
    dont = (f"return {charge})", f"later = ctx.uuid()\n    {charge}){more}")
    do = (f"return {charge}, key=key)", f"{charge}, key=key){more}")
    changed(tmp_path, f"determinism/{slug}/dont", dont)
    changed(tmp_path, f"determinism/{slug}/do", ("key = str(ctx.uuid())", fixed), do)
    assert replaced(lab, slug, tmp_path, Holds([""], {"POST /charges": 1})) == outcome


LOOK_UP = """def look_up(order: str) -> str:
    return str(httpx.get(f"{API_URL}/charges/{order}").json()["id"])


"""


def with_a_look_up(folder: Path, own_step: bool) -> Path:
    """The don't of RDD102, which asks the bank for a charge of the order before it charges."""
    step = 'return await ctx.run_typed("charge"'
    asks = '    found = await ctx.run_typed("look up", look_up, order=order)\n    if found:'
    changes = (
        [
            ("@checkout", f"{LOOK_UP}@checkout"),
            (f"    {step}", f"{asks}\n        return found\n    {step}"),
        ]
        if own_step
        else [
            ("def charge", f"{LOOK_UP}def charge"),
            (
                "    response = ",
                "    found = look_up(order)\n    if found:\n        return found\n    response = ",
            ),
        ]
    )
    return changed(folder, "determinism/run-action-not-idempotent/dont", *changes)


def let_the_bank_find_charges(in_proof: LabInProof) -> None:
    """Has the bank know a charge of order-1 from the moment at which it has taken the money."""
    bank = in_proof.outside
    bank.answers["GET /charges/order-1"] = {"id": ""}
    receive = bank.on_received

    async def remember(received: Received) -> None:
        if received.effect == "POST /charges":
            bank.answers["GET /charges/order-1"] = {"id": "charge-1"}
        await receive(received)

    bank.on_received = remember


@pytest.mark.parametrize(("own_step", "charges"), [(False, 1), (True, 2)])
def test_look_up_belongs_into_the_step_that_creates(
    lab: Lab, own_step: bool, charges: int, tmp_path: Path
) -> None:
    """RDD102: in a step of its own, the next attempt takes "nothing" from the journal."""

    async def prove(in_proof: LabInProof) -> None:
        let_the_bank_find_charges(in_proof)
        assert await in_proof.call("Checkout/pay", "order-1") == f"charge-{charges}"

    rule, snippet = CHAPTER / "run-action-not-idempotent", with_a_look_up(tmp_path, own_step)
    trace = instead(lab, rule, prove, snippet=snippet).trace
    assert trace.effect_counts()["POST /charges"] == charges


def test_look_up_does_not_keep_apart_what_runs_at_the_same_time(lab: Lab, tmp_path: Path) -> None:
    """RDD102: both look up before either of them charges."""

    async def prove(in_proof: LabInProof) -> None:
        let_the_bank_find_charges(in_proof)
        answer = in_proof.outside.hold("GET /charges/order-1", at_most=20.0)
        paying = [asyncio.create_task(in_proof.call("Checkout/pay", "order-1")) for _ in range(2)]
        await in_proof.until_effect("GET /charges/order-1", times=2)
        answer.set()
        await asyncio.gather(*paying)

    rule, snippet = CHAPTER / "run-action-not-idempotent", with_a_look_up(tmp_path, own_step=False)
    trace = instead(lab, rule, prove, PLAIN, snippet).trace
    assert trace.effect_counts()["POST /charges"] == 2


@pytest.mark.parametrize(
    ("draws", "outcome"),
    [
        ("", "journal-mismatch"),
        ("ctx.uuid()\n    ", "holds"),
        ("ctx.random().getrandbits(128)\n    ", "holds"),
    ],
    ids=["gone", "kept", "the same source"],
)
def test_draw_that_is_gone_shifts_those_that_come_after_it(
    lab: Lab, draws: str, outcome: str, tmp_path: Path
) -> None:
    """RDD107: an unused draw in its place keeps them where they were; RDD106: from one source."""
    slug = "ctx-uuid-as-secret"
    mail = 'await ctx.run_typed("mail token", mail_token, email=email'
    more = '\n    return await ctx.run_typed(f"note {ctx.uuid()}", lambda: "")'
    dont = (f"return {mail}, token=token)", f"{mail}, token=token){more}")
    do = (f"return {mail})", f"{draws}{mail}){more}")
    changed(tmp_path, f"determinism/{slug}/dont", dont)
    changed(tmp_path, f"determinism/{slug}/do", do)
    assert replaced(lab, slug, tmp_path, Holds([""], {"POST /emails": 1})) == outcome


@pytest.mark.parametrize(
    ("rule", "target", "rows"), [("RDD104", "Shop/buy", 1), ("RDD109", "Checkout/pay", 6)]
)
def test_query_about_one_invocation(lab: Lab, rule: str, target: str, rows: int) -> None:
    """RDD104: whom it has called; RDD109: what stands in its journal."""
    folder = catalogue.find(rule, catalogue.rules()).folder
    found = []

    async def ask(in_proof: LabInProof) -> None:
        asked = f"select id from sys_invocation where target = '{target}'"
        id = (await in_proof.query(asked))[0]["id"]
        found.extend(await in_proof.query(queries(rule, id)[-1]))

    afterwards(lab, folder, ask)
    assert len(found) == rows


@pytest.mark.parametrize(("drawn", "charges"), [("in the step", 2), ("before it", 1)])
def test_key_that_a_step_draws_itself_is_another_one_each_time(
    lab: Lab, drawn: str, charges: int, tmp_path: Path
) -> None:
    """RDD105, RDD102: the step is executed again, and acts again."""
    itself = [
        ("import os\n", "import os\nimport uuid\n"),
        ('"idempotency-key": key', '"idempotency-key": str(uuid.uuid4())'),
    ]
    snippet = changed(
        tmp_path,
        "determinism/run-action-not-idempotent/do",
        *(itself if drawn == "in the step" else []),
    )

    async def prove(in_proof: LabInProof) -> None:
        assert await in_proof.call("Checkout/pay", "order-1") == f"charge-{charges}"

    trace = instead(lab, CHAPTER / "run-action-not-idempotent", prove, snippet=snippet).trace
    assert len(trace.effects) == 2
    assert trace.effect_counts() == {"POST /charges": charges}


def test_worker_dies_before_it_asks_for_the_mail() -> None:
    """RDD105: both attempts ask for the same first command; only the second asks for another."""
    trace = read(CHAPTER / "random-value-drifts" / "evidence.json").dont.trace
    asked = [
        [moment.text for moment in attempt.moments if moment.what == "command"]
        for attempt in trace.invocations[0].attempts
    ]
    assert asked == [["Run book"], ["Run book", "Run mail", "Output"]]


def test_number_that_was_booked_is_mailed(lab: Lab, tmp_path: Path) -> None:
    """RDD105: what the first step returned is handed on, whatever the next attempt draws."""
    slug = "random-value-drifts"
    changed(tmp_path, f"determinism/{slug}/dont")
    handed_on = ("mail, to=to, number=number", "mail, to=to, number=booked")
    changed(tmp_path, f"determinism/{slug}/do", handed_on)
    stimulus = dataclasses.replace(crash_after_step("book"), successor="do")

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / slug).prove(in_proof)

    result = instead(lab, CHAPTER / slug, prove, stimulus, tmp_path / "dont.py")
    assert result.outcome.kind == "holds"


def test_step_in_a_thread_takes_the_place_of_one_in_the_loop(lab: Lab) -> None:
    """RDD117: the journal doesn't tell which it was."""

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /reports/2026-10"] = {"title": "October"}
        await in_proof.call("Reports/build", "2026-10")

    stimulus = dataclasses.replace(LATE_REPLAY, successor="do")
    promise = Holds(["October"])
    rule = CHAPTER / "blocking-the-event-loop"
    assert instead(lab, rule, prove, stimulus, promise=promise).outcome.kind == "holds"


def median(numbers: list[int]) -> int:
    return sorted(numbers)[len(numbers) // 2]


def length(numbers: list[int]) -> int:
    return len(json.dumps(numbers))


def timed(work: Callable[[list[int]], int], data: list[int]) -> tuple[float, float]:
    """When the work began and ended, by the clock that all processes share."""
    began = time.monotonic()
    work(data)
    return began, time.monotonic()


@pytest.mark.parametrize("work", [median, length], ids=["sorted", "json.dumps"])
def test_thread_is_no_cure_for_a_calculation(work: Callable[[list[int]], int]) -> None:
    """RDD117: the loop stands still for nearly all of it; with another process it goes on."""
    data = random.Random(1).choices(range(10**9), k=600_000)

    async def longest_stop(executor: Executor) -> float:
        """How much of the calculation the loop stood still at one go.

        Only the calculation counts: on a busy machine its thread may be long in coming to it.
        """
        working = asyncio.get_running_loop().run_in_executor(executor, timed, work, data)
        turns = []
        while not working.done():
            await asyncio.sleep(0.001)
            turns.append(time.monotonic())
        began, ended = await working
        moments = [began, *(turn for turn in turns if began < turn < ended), ended]
        return max(later - earlier for earlier, later in pairwise(moments)) / (ended - began)

    async def measure() -> None:
        processes = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        with ThreadPoolExecutor(1) as threads, processes:
            # Either may stand still for want of a CPU: the clearest of three.
            in_thread = max([await longest_stop(threads) for _ in range(3)])
            in_process = min([await longest_stop(processes) for _ in range(3)])
        assert in_thread > 0.5
        assert in_process < in_thread / 2

    apart(asyncio.run, measure())


@pytest.mark.parametrize(("on", "written"), [("queue handler", 0), ("listener's handler", 1)])
def test_filter_is_asked_in_the_task_that_logs(on: str, written: int) -> None:
    """RDD110: behind a queue it is asked in another thread, which replays nothing."""
    records: list[logging.LogRecord] = []
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()

    class Behind(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    behind = Behind()
    before = QueueHandler(queue)
    handler = before if on == "queue handler" else behind
    handler.addFilter(restate.RestateLoggingFilter())
    listener = QueueListener(queue, behind)
    listener.start()
    token = restate_context_is_replaying.set(True)
    before.handle(logging.makeLogRecord({"msg": "charging order-1"}))
    restate_context_is_replaying.reset(token)
    listener.stop()
    assert len(records) == written


def test_step_has_another_process_calculate(lab: Lab, tmp_path: Path) -> None:
    """RDD117: in an `async def`, as the page has it."""
    asks = 'return await ctx.run_typed("fetch", fetch, month=month)'
    calculates = """\
async def calculate(data: list[int]) -> list[int]:
    return await asyncio.get_running_loop().run_in_executor(process_pool, sorted, data)


@reports.handler()
async def build("""
    snippet = changed(
        tmp_path,
        "determinism/blocking-the-event-loop/do",
        ("@reports.handler()\nasync def build(", calculates),
        (asks, 'return str(await ctx.run_typed("calculate", calculate, data=[3, 1, 2]))'),
        (
            'reports = restate.Service("Reports")\n',
            'reports = restate.Service("Reports")\n'
            'process_pool = ProcessPoolExecutor(1, get_context("spawn"))\n',
        ),
        (
            "import os\n",
            "import asyncio\nimport os\nfrom concurrent.futures import ProcessPoolExecutor\n"
            "from multiprocessing import get_context\n",
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        assert await in_proof.call("Reports/build", "may") == "[1, 2, 3]"

    instead(lab, CHAPTER / "blocking-the-event-loop", prove, PLAIN, snippet)


def test_pool_with_a_process_that_died_is_of_no_use_any_more(lab: Lab, tmp_path: Path) -> None:
    """RDD117: each further step fails, until the pool is made anew."""
    pooled = "await asyncio.get_running_loop().run_in_executor(process_pool"
    steps = f"""\
async def calculate() -> int:
    return {pooled}, abs, -3)


async def die() -> None:
    return {pooled}, os._exit, 1)


@reports.handler()
async def ping("""
    snippet = changed(
        tmp_path,
        "determinism/blocking-the-event-loop/do",
        (
            "import os\n",
            "import asyncio\nimport os\nfrom concurrent.futures import ProcessPoolExecutor\n"
            "from multiprocessing import get_context\n",
        ),
        ("reports = ", 'process_pool = ProcessPoolExecutor(1, get_context("spawn"))\nreports = '),
        ("@reports.handler()\nasync def ping(", steps),
        (
            '    return await ctx.run_typed("fetch", fetch, month=month)',
            '    if month == "die":\n'
            '        await ctx.run_typed("die", die, restate.RunOptions(max_attempts=1))\n'
            '    return str(await ctx.run_typed("calculate", calculate))',
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        assert await in_proof.call("Reports/build", "may") == "3"
        await in_proof.call("Reports/build", "die")
        await in_proof.call("Reports/build", "june")

    promise = Holds(["3", None, "3"])
    rule = CHAPTER / "blocking-the-event-loop"
    outcome = instead(lab, rule, prove, PLAIN, snippet, promise=promise).outcome
    assert isinstance(outcome, RetriedUntilPaused)
    assert "BrokenProcessPool" in outcome.error


ASYNC_CLIENT = [
    ("def fetch(", "async def fetch("),
    ("    response = httpx.get(", "    response = await httpx.AsyncClient().get("),
]


@pytest.mark.parametrize(("client", "waits"), [("thread", 1), ("async client", 0)])
def test_step_waits_until_a_thread_is_free(
    lab: Lab, client: str, waits: int, tmp_path: Path
) -> None:
    """RDD117: Python's default pool has so many; an async client needs none."""
    cpus = getattr(os, "process_cpu_count", os.cpu_count)()  # the former from Python 3.13 on
    threads = min(32, (cpus or 1) + 4)
    slow = "GET /reports/2026-10"
    snippet = changed(
        tmp_path,
        "determinism/blocking-the-event-loop/do",
        *(ASYNC_CLIENT if client == "async client" else []),
    )
    begun = "select count(*) from sys_journal where entry_type = 'Command: Run'"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[slow] = {"title": "October"}
        release = in_proof.outside.hold(slow, at_most=20.0)
        async with asyncio.TaskGroup() as calls:
            for _ in range(threads + 1):
                calls.create_task(in_proof.call("Reports/build", "2026-10"))
            await in_proof.until_row(f"{begun} having count(*) = {threads + 1}")
            await in_proof.until_effect(slow, times=threads + 1 - waits)
            await in_proof.call("Reports/ping")
            arrived = sum(received.effect == slow for received in in_proof.outside.ledger)
            release.set()
        assert arrived == threads + 1 - waits

    promise = Holds(["October"] * (threads + 1) + ["pong"])
    rule = CHAPTER / "blocking-the-event-loop"
    instead(lab, rule, prove, PLAIN, snippet, promise=promise)


@pytest.mark.parametrize(("name", "repeated"), [("dont", True), ("do", False)], ids=["dont", "do"])
def test_worker_that_answers_no_ping_loses_all_its_attempts(
    lab: Lab, name: str, repeated: bool, tmp_path: Path
) -> None:
    """RDD117: also one whose step only waits; after a minute, unless the server is set otherwise."""
    slow, other = "GET /reports/2026-10", "POST /other"
    waits = """\
async def wait() -> None:
    await httpx.AsyncClient().post(f"{API_URL}/other", timeout=30)


@reports.handler()
async def ping("""
    snippet = changed(
        tmp_path,
        f"determinism/blocking-the-event-loop/{name}",
        ("@reports.handler()\nasync def ping(", waits),
        ('    return "pong"', '    await ctx.run_typed("wait", wait)\n    return "pong"'),
    )
    pings = "RESTATE_WORKER__INVOKER__HTTP2_KEEP_ALIVE"
    server = {f"{pings}_INTERVAL": "200ms", f"{pings}_TIMEOUT": "2s"}
    broken = (
        "select count(distinct id) broken from sys_journal_events where event_json like '%RT0010%'"
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[slow] = {"title": "October"}
        held = [in_proof.outside.hold(each, at_most=8.0) for each in (slow, other)]
        async with asyncio.TaskGroup() as calls:
            calls.create_task(in_proof.call("Reports/ping"))
            await in_proof.until_effect(other)
            calls.create_task(in_proof.call("Reports/build", "2026-10"))
            await in_proof.until_effect(slow)
            if name == "dont":
                await in_proof.until_row(f"{broken} having count(distinct id) = 2")
            else:
                await asyncio.sleep(2.6)  # longer than both limits
                assert await in_proof.query(broken) == [{"broken": 0}]
            for event in held:
                event.set()

    rule = CHAPTER / "blocking-the-event-loop"
    trace = instead(lab, rule, prove, PLAIN, snippet, server=server).trace
    assert (trace.effect_counts()[other] > 1) == repeated


@pytest.mark.parametrize(("blocks", "lost"), [(1.6, True), (0.4, False)])
def test_ping_that_waits_for_too_long_loses_attempts(
    lab: Lab, tmp_path: Path, blocks: float, lost: bool
) -> None:
    """RDD117: the loop is held for less than a ping's interval and its limit together.

    A ping comes sooner or later while it is held. By default it comes after some 40 seconds, and may
    wait for 20.
    """
    pings = "RESTATE_WORKER__INVOKER__HTTP2_KEEP_ALIVE"
    server = {f"{pings}_INTERVAL": "1s", f"{pings}_JITTER": "0.0", f"{pings}_TIMEOUT": "1s"}
    holds = "    import asyncio, time\n    for pause in range(5):\n"
    holds += f"        await asyncio.sleep(0.2 * pause)\n        time.sleep({blocks})\n"
    snippet = changed(
        tmp_path,
        "determinism/blocking-the-event-loop/dont",
        ("    response = ", f"{holds}    response = "),
    )
    broken = "select id from sys_journal_events where event_json like '%\"RT0010\"%'"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /reports/2026-10"] = {"title": "October"}
        await in_proof.call("Reports/build/send", "2026-10")
        ended = "select id from sys_invocation where status = 'completed'"
        await in_proof.until_row(broken if lost else ended)
        assert bool(await in_proof.query(broken)) == lost
        if lost:
            assert await in_proof.operate("kill", "Reports/build") == 200

    instead(lab, CHAPTER / "blocking-the-event-loop", prove, PLAIN, snippet, server=server)


@pytest.mark.parametrize(
    ("name", "codes"), [("dont", {"RT0010"}), ("do", set())], ids=["dont", "do"]
)
def test_step_that_blocks_for_longer_than_the_server_waits_never_ends(
    lab: Lab, name: str, codes: set[str]
) -> None:
    """RDD117: each try is given up, until it is paused and resumed on the fix; a thread may take as long."""
    slow, pings = "GET /reports/2026-10", "RESTATE_WORKER__INVOKER__HTTP2_KEEP_ALIVE"
    server = {f"{pings}_INTERVAL": "200ms", f"{pings}_TIMEOUT": "1s"}

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[slow] = {"title": "October"}
        in_proof.outside.hold(slow, at_most=3.0)
        await in_proof.call("Reports/build", "2026-10")
        if name == "dont":
            await resume_on(in_proof, "Reports/build")

    rule, promise = CHAPTER / "blocking-the-event-loop", Holds(["October"])
    snippet, changes = rule / f"{name}.py", {"server": server, "promise": promise}
    trace = instead(lab, rule, prove, PLAIN, snippet, **changes).trace
    assert {failure.code for failure in trace.failures()} == codes
    assert trace.invocations[0].status == "completed"


BLOCKS = """\
import asyncio, sys, time
import hypercorn.asyncio
from hypercorn.config import Config

async def app(scope, receive, send):
    if scope["type"] == "http":
        time.sleep(0.3)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

if __name__ == "__main__":
    config = Config()
    config.bind = [sys.argv[1]]
    asyncio.run(hypercorn.asyncio.serve(app, config))
"""


@pytest.mark.parametrize(
    ("command", "variable", "logged"),
    [
        (["-m", "hypercorn", "--workers", "0", "--debug", "blocks:app", "--bind"], "", True),
        (["-m", "hypercorn", "--workers", "0", "blocks:app", "--bind"], "1", False),
        (["blocks.py"], "1", True),
    ],
    ids=["hypercorn --debug", "hypercorn with the variable", "asyncio.run with the variable"],
)
def test_what_holds_the_loop_is_logged(
    tmp_path: Path, command: list[str], variable: str, logged: bool
) -> None:
    """RDD117: under hypercorn's command the variable does nothing."""
    (tmp_path / "blocks.py").write_text(BLOCKS)
    address = f"127.0.0.1:{free_port()}"
    env = {**os.environ, "PYTHONASYNCIODEBUG": variable}
    argv = [sys.executable, *command, address]
    with subprocess.Popen(argv, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as worker:
        for _ in range(300):
            try:
                assert httpx.get(f"http://{address}/", timeout=30).is_success
                break
            except httpx.TransportError:
                time.sleep(0.1)
        worker.terminate()
        assert worker.stderr
        said = worker.stderr.read()
    assert ("took 0." in said) == logged, said


def test_line_after_the_last_command_is_repeated_without_a_crash(lab: Lab, tmp_path: Path) -> None:
    """RDD109: with the filter, where the attempt ends there by a wait."""
    snippet = changed(
        tmp_path,
        "determinism/plain-logging/do",
        ("import logging\n", "import datetime\nimport logging\n"),
        (
            '    logger.info("charged %s", receipt)\n',
            "    sleeping = ctx.sleep(datetime.timedelta(seconds=0.1))\n"
            '    logger.info("waiting")\n'
            "    await sleeping\n"
            '    logger.info("charged %s", receipt)\n',
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Checkout/pay", "order-1")

    trace = instead(lab, CHAPTER / "plain-logging", prove, REPLAY_EVERY_AWAIT, snippet).trace
    assert not trace.failures()
    assert trace.line_counts() == {"charging order-1": 1, "waiting": 2, "charged charge-1": 1}


LOGGING = {
    "plain-logging": ("order-1", "charging order-1"),
    "child-logger-escapes-filter": (["tea"], "adding up tea"),
}


@pytest.mark.parametrize(("at", "times"), [("the old URL", 1), ("a new URL", 2)])
@pytest.mark.parametrize("slug", LOGGING)
def test_filter_helps_what_is_under_way_in_place_only(
    lab: Lab, slug: str, at: str, times: int
) -> None:
    """RDD109, RDD110: at a new URL, it ends on the code that repeats its lines."""
    order, line = LOGGING[slug]

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        paying = asyncio.create_task(in_proof.call("Checkout/pay", order))
        await in_proof.until_effect("POST /charges")
        if at == "a new URL":
            await in_proof.deploy("do")
        charged.set()
        assert await paying == "charge-1"

    in_place = at == "the old URL"
    stimulus = dataclasses.replace(LATE_REPLAY, successor="do") if in_place else LATE_REPLAY
    trace = instead(lab, CHAPTER / slug, prove, stimulus).trace
    assert len(trace.invocations[0].attempts) == 2
    assert trace.line_counts()[line] == times


@pytest.mark.parametrize("slug", LOGGING)
def test_restart_for_the_filter_repeats_the_charge_that_it_cuts_off(lab: Lab, slug: str) -> None:
    """RDD109, RDD110: the next worker has the filter."""
    trace = in_place(lab, CHAPTER / slug, crash_after_effect("POST /charges")).trace
    assert trace.effect_counts()["POST /charges"] == 2


def test_journal_has_one_step_where_the_bank_has_two_charges(lab: Lab) -> None:
    """RDD109: its query doesn't tell that the step was executed twice."""
    steps: list[object] = []

    async def ask(in_proof: LabInProof) -> None:
        asked = "select id from sys_invocation where target = 'Checkout/pay'"
        id = (await in_proof.query(asked))[0]["id"]
        steps.extend(row.get("name") for row in await in_proof.query(queries("RDD109", id)[-1]))

    killed = crash_after_effect("POST /charges")
    trace = afterwards(lab, CHAPTER / "plain-logging", ask, killed).trace
    assert trace.effect_counts()["POST /charges"] == 2
    assert steps.count("charge") == 1


def test_after_its_retention_the_journal_tells_of_no_step(lab: Lab, tmp_path: Path) -> None:
    """RDD109: not even of the charge that was made."""
    snippet = changed(
        tmp_path,
        "determinism/plain-logging/dont",
        BACKS_OFF,
        ('("Checkout")', '("Checkout", journal_retention=timedelta(0))'),
    )

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        await in_proof.call("Checkout/pay/send", "order-1")
        await in_proof.until_effect("POST /charges")
        (row,) = await in_proof.query("select id from sys_invocation")
        (query,) = queries("RDD109", str(row["id"]))
        assert await in_proof.query(query)
        charged.set()
        await in_proof.until_effect("POST /emails")
        await in_proof.until_no_row(query)

    trace = instead(lab, CHAPTER / "plain-logging", prove, PLAIN, snippet).trace
    assert trace.effect_counts() == {"POST /charges": 1, "POST /emails": 1}


@pytest.mark.parametrize(("how", "dropped"), [("run_in_executor", False), ("to_thread", True)])
def test_filter_lets_through_what_another_thread_logs(how: str, dropped: bool) -> None:
    """RDD110: `run_in_executor` takes no context variables along, `asyncio.to_thread` does."""
    record = logging.makeLogRecord({"msg": "charging order-1"})
    asked = restate.RestateLoggingFilter().filter

    async def replay() -> object:
        restate_context_is_replaying.set(True)
        if how == "to_thread":
            return await asyncio.to_thread(asked, record)
        return await asyncio.get_running_loop().run_in_executor(None, asked, record)

    assert bool(apart(asyncio.run, replay())) is not dropped


def test_filter_drops_what_a_task_from_the_replay_logs(lab: Lab, tmp_path: Path) -> None:
    """RDD110: also when the handler is past the replay, and logs again."""
    snippet = changed(
        tmp_path,
        "determinism/child-logger-escapes-filter/do",
        ("import logging\n", "import asyncio\nimport logging\n"),
        (
            "@checkout.handler()\n",
            "async def report(charged: asyncio.Event) -> None:\n"
            "    await charged.wait()\n"
            '    logger.info("the task")\n\n\n'
            "@checkout.handler()\n",
        ),
        (
            '    return await ctx.run_typed("charge", charge, cents=total(items))\n',
            "    charged = asyncio.Event()\n"
            "    task = asyncio.create_task(report(charged))\n"
            '    number = await ctx.run_typed("charge", charge, cents=total(items))\n'
            "    charged.set()\n"
            "    await task\n"
            '    logger.info("the handler")\n'
            "    return number\n",
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Checkout/pay", ["tea"])

    trace = instead(lab, CHAPTER / "child-logger-escapes-filter", prove, LATE_REPLAY, snippet).trace
    lines = trace.line_counts()
    assert (lines["the handler"], lines["the task"]) == (2, 1), lines


@pytest.mark.parametrize(
    ("named", "configured", "written"),
    [
        (False, "", ["ordered", "charging order-1"]),
        (False, "logger.hasHandlers() or ", ["WARNING:shop:ordered"]),
        (True, "logger.hasHandlers() or ", ["ordered"]),
        (True, "logger.hasHandlers() and ", ["ordered", "WARNING:shop:ordered"]),
    ],
    ids=["none", "root's", "its own", "both"],
)
def test_without_a_handler_there_is_none_to_filter(
    named: bool, configured: str, written: list[str]
) -> None:
    """RDD110: Python writes warnings all the same; with two on its way, a line is written twice."""
    script = (
        "import logging, restate\n"
        "from restate.server_context import restate_context_is_replaying as replaying\n"
        "root, logger = logging.getLogger(), logging.getLogger('shop')\n"
        f"{'logger.addHandler(logging.StreamHandler())' if named else ''}\n"
        f"{f'{configured}logging.basicConfig()' if configured else ''}\n"
        "for handler in (*root.handlers, *logger.handlers):\n"
        "    handler.addFilter(restate.RestateLoggingFilter())\n"
        "logger.warning('ordered')\n"
        "replaying.set(True)\n"
        "logger.warning('charging order-1')\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert told.stderr.splitlines() == written


def test_handler_of_a_named_logger_needs_the_filter_too() -> None:
    """RDD110: the one on the root logger's handler is not asked for it."""
    written: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(str(self.name))

    root, named = logging.getLogger(), logging.getLogger("framework")
    for logger, name in ((root, "root's"), (named, "its own")):
        handler = Collect()
        handler.name = name
        logger.addHandler(handler)
    root_handler, own_handler = root.handlers[-1], named.handlers[-1]
    root_handler.addFilter(restate.RestateLoggingFilter())
    token = restate_context_is_replaying.set(True)
    try:
        named.error("charging order-1")
        own_handler.addFilter(restate.RestateLoggingFilter())
        named.error("charging order-1")
    finally:
        restate_context_is_replaying.reset(token)
        root.removeHandler(root_handler)
        named.removeHandler(own_handler)
    assert written == ["its own"]


def replaced(lab: Lab, slug: str, folder: Path, promise: Holds) -> str:
    """What comes of a changed don't whose worker dies before the answer, the changed do in its place."""
    targets = {
        "run-action-not-idempotent": "Checkout/pay",
        "ctx-uuid-as-secret": "Accounts/reset_password",
    }

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(targets[slug], "ada")

    stimulus = dataclasses.replace(LATE_REPLAY, successor="do")
    rule, dont = CHAPTER / slug, folder / "dont.py"
    return instead(lab, rule, prove, stimulus, dont, promise=promise).outcome.kind


@pytest.mark.parametrize(
    ("fails", "found", "charged"),
    [("POST /charges", 1, [4200]), ("GET /prices/tea", 0, [4200]), (None, 0, [4200])],
    ids=["the charge", "the look-up", "nothing"],
)
def test_price_that_is_lost_is_not_charged(
    lab: Lab, tmp_path: Path, fails: str | None, found: int, charged: list[int]
) -> None:
    """RDD113: found and killed; what has no price yet, or is in its first attempt, ends well.

    What was refused is not charged by another attempt.
    """
    target, (query,) = "Checkout/pay", queries("RDD113")
    snippet = changed(
        tmp_path,
        "determinism/closure-written-in-run/dont",
        BACKS_OFF,
        ('("Checkout")', f'("Checkout", {LATER})'),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/tea"] = {"cents": 4200}
        if fails:
            in_proof.outside.fail(fails, times=1)
        answer = in_proof.outside.hold("POST /charges", at_most=20.0)
        await in_proof.call(f"{target}/send", "tea")
        if fails == "GET /prices/tea":
            await until_status(in_proof, target, "backing-off")
            assert not await in_proof.query(query)
            assert await in_proof.operate("resume", target) == 200
        await in_proof.until_effect("POST /charges")
        assert not await in_proof.query(query)
        answer.set()
        if found:
            await until_status(in_proof, target, "backing-off")
            assert [row["status"] for row in await in_proof.query(query)] == ["backing-off"]
            assert await in_proof.operate("kill", target) == 200
        await in_proof.until_all_completed()
        assert not await in_proof.query(query)

    trace = instead(lab, CHAPTER / "closure-written-in-run", prove, PLAIN, snippet).trace
    charges = [each.body["cents"] for each in trace.effects if each.effect == "POST /charges"]
    assert charges == charged


def test_charge_that_was_refused_is_tried_again_with_nothing(lab: Lab) -> None:
    """RDD113: the page's query finds it."""
    (query,) = queries("RDD113")
    charged: list[int] = []

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/tea"] = {"cents": 4200}
        in_proof.outside.fail("POST /charges", times=3)
        await in_proof.call("Checkout/pay", "tea")
        await until_status(in_proof, "Checkout/pay", "paused")
        assert len(await in_proof.query(query)) == 1
        sent = [each for each in in_proof.outside.ledger if each.effect == "POST /charges"]
        charged.extend(each.body["cents"] for each in sent)

    instead(lab, CHAPTER / "closure-written-in-run", prove, PLAIN)
    assert charged == [4200, 0, 0]


def test_a_charge_of_nothing_may_be_what_the_bank_has(lab: Lab) -> None:
    """RDD113: so it is asked for what it has charged."""
    (query,) = queries("RDD113")
    charge = "POST /charges"
    made: list[int] = []

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/tea"] = {"cents": 4200}
        in_proof.outside.fail(charge, times=1)
        refused = in_proof.outside.hold(charge, at_most=20.0)
        paying = asyncio.create_task(in_proof.call("Checkout/pay", "tea"))
        await in_proof.until_effect(charge)
        charged = in_proof.outside.hold(charge, at_most=20.0)
        refused.set()
        await in_proof.until_effect(charge, times=2)
        await pause_at_work(in_proof, "Checkout/pay")
        charged.set()
        await until_status(in_proof, "Checkout/pay", "paused")
        assert len(await in_proof.query(query)) == 1
        sent = [each for each in in_proof.outside.ledger if each.effect == charge]
        made.extend(each.body["cents"] for each in sent)
        assert await in_proof.operate("kill", "Checkout/pay") == 200
        await paying

    instead(lab, CHAPTER / "closure-written-in-run", prove, PLAIN)
    assert made == [4200, 0]  # the first is refused


def test_who_tries_again_while_the_query_is_asked_is_missed_by_it(lab: Lab) -> None:
    """RDD113: it is charged nothing, so the books are looked through at the end."""
    (query,) = queries("RDD113")
    charge = "POST /charges"
    made: list[int] = []

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/tea"] = {"cents": 4200}
        in_proof.outside.fail(charge, times=1)
        refused = in_proof.outside.hold(charge, at_most=20.0)
        paying = asyncio.create_task(in_proof.call("Checkout/pay", "tea"))
        await in_proof.until_effect(charge)
        charged = in_proof.outside.hold(charge, at_most=20.0)
        refused.set()
        await in_proof.until_effect(charge, times=2)
        assert await in_proof.query(query) == []
        charged.set()
        assert await paying == 0
        assert await in_proof.query(query) == []
        sent = [each for each in in_proof.outside.ledger if each.effect == charge]
        made.extend(each.body["cents"] for each in sent)

    instead(lab, CHAPTER / "closure-written-in-run", prove, PLAIN)
    assert made == [4200, 0]  # the first is refused


@pytest.mark.parametrize(
    ("begun", "written", "read"),
    [
        ("[0]", "cents.append(price)", "cents[-1]"),
        ('{"tea": 0}', 'cents["tea"] = price', 'cents["tea"]'),
        ('type("Price", (), {"cents": 0})()', "cents.cents = price", "cents.cents"),
    ],
)
def test_what_a_step_changes_besides_is_lost(
    lab: Lab, tmp_path: Path, begun: str, written: str, read: str
) -> None:
    """RDD113: an item appended to a list, a key in a dict, an attribute of an object."""
    proof = load(CHAPTER / "closure-written-in-run")
    snippet = changed(
        tmp_path,
        "determinism/closure-written-in-run/dont",
        ("    cents = 0\n", f"    cents = {begun}\n"),
        ("        nonlocal cents\n", ""),
        ("        cents = int(", "        price = int("),
        ('["cents"])\n', f'["cents"])\n        {written}\n'),
        ("cents=cents)", f"cents={read})"),
        ("    return cents\n", f"    return {read}\n"),
    )
    result = lab.run(lab.laboratory.result(proof, snippet, crash_after_step("look up")))
    assert result.outcome == proof.symptom


def test_what_a_step_changes_at_module_level_is_lost_in_another_process(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD113."""
    proof = load(CHAPTER / "closure-written-in-run")
    snippet = changed(
        tmp_path,
        "determinism/closure-written-in-run/dont",
        ("@checkout.handler()\n", 'cents = {"tea": 0}\n\n\n@checkout.handler()\n'),
        ("    cents = 0\n", ""),
        ("        nonlocal cents\n", ""),
        ("        cents = int(", '        cents["tea"] = int('),
        ("cents=cents)", 'cents=cents["tea"])'),
        ("    return cents\n", '    return cents["tea"]\n'),
    )
    stimuli = (REPLAY_EVERY_AWAIT, crash_after_step("look up"))
    seen = [lab.run(lab.laboratory.result(proof, snippet, each)).outcome for each in stimuli]
    assert seen == [proof.promise, proof.symptom]


def test_answer_of_nothing_stands_in_the_journal(lab: Lab) -> None:
    """RDD113: as the page writes it."""
    (output,) = re.findall(r"`(\[\d+\])` in a journal's `Command: Output`", PAGES["RDD113"])
    found = []

    async def look(in_proof: LabInProof) -> None:
        outputs = "select entry_json from sys_journal where entry_type = 'Command: Output'"
        found.extend(await in_proof.query(outputs))

    afterwards(lab, CHAPTER / "closure-written-in-run", look)
    assert [output in row["entry_json"] for row in found] == [True]


def test_fixed_code_in_place_charges_none(lab: Lab) -> None:
    """RDD113: under the old name."""
    trace = in_place(lab, CHAPTER / "closure-written-in-run", crash_after_step("look up")).trace
    assert [each.body for each in trace.effects if each.effect == "POST /charges"] == [
        {"cents": None}
    ]


def test_step_of_another_name_stops_the_old_journal(lab: Lab, tmp_path: Path) -> None:
    """RDD113."""
    slug = "closure-written-in-run"
    dont = changed(tmp_path, f"determinism/{slug}/dont")
    changed(tmp_path, f"determinism/{slug}/do", ('"look up"', '"look up the price"'))
    stimulus = dataclasses.replace(crash_after_step("look up"), successor="do")

    async def prove(in_proof: LabInProof) -> None:
        await load(CHAPTER / slug).prove(in_proof)

    result = instead(lab, CHAPTER / slug, prove, stimulus, dont)
    assert result.outcome.kind == "journal-mismatch"
    assert "POST /charges" not in result.trace.effect_counts()


def test_cancelled_sale_is_not_taken_for_one_that_left_out_a_step(lab: Lab) -> None:
    """RDD114: the page's query asks for those that ended well."""
    (query,) = queries("RDD114")

    async def prove(in_proof: LabInProof) -> None:
        answer = in_proof.outside.hold("POST /charges", at_most=20.0)
        selling = asyncio.create_task(in_proof.call("Tickets/sell", "seat-7"))
        await in_proof.until_effect("POST /charges")
        assert await in_proof.operate("cancel", "Tickets/sell") == 202
        await until_status(in_proof, "Tickets/sell", "completed")
        steps = await in_proof.query("select entry_type from sys_journal")
        counts = Counter(row["entry_type"] for row in steps)
        assert (counts["Command: Run"], counts["Notification: Run"]) == (2, 1)
        assert not await in_proof.query(query)
        answer.set()
        await selling

    instead(lab, CHAPTER / "step-not-awaited", prove, snippet=CHAPTER / "step-not-awaited/do.py")


def test_step_that_lost_a_race_has_acted(lab: Lab, tmp_path: Path) -> None:
    """RDD114: and the page's query finds it."""
    (query,) = queries("RDD114")
    each = "    await reserving\n    return await charging\n"
    race = '    await restate.select(reserved=reserving, charged=charging)\n    return "sold"\n'
    snippet = changed(tmp_path, "determinism/step-not-awaited/later", (each, race))

    async def prove(in_proof: LabInProof) -> None:
        both = ["POST /charges", "POST /reservations"]
        answers = [in_proof.outside.hold(effect, at_most=20.0) for effect in both]
        selling = asyncio.create_task(in_proof.call("Tickets/sell", "seat-7"))
        for effect in both:
            await in_proof.until_effect(effect)
        answers[1].set()
        assert await selling == "sold"
        assert len(await in_proof.query(query)) == 1
        answers[0].set()

    trace = instead(lab, CHAPTER / "step-not-awaited", prove, snippet=snippet).trace
    assert trace.effect_counts() == {"POST /reservations": 1, "POST /charges": 1}


@pytest.mark.parametrize(
    ("forgotten", "warned"), [("", {}), ("    asyncio.sleep(0)\n", {"POST /warned": 1})]
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_python_warns_of_no_step_that_nobody_awaits(
    lab: Lab, tmp_path: Path, kind: str, forgotten: str, warned: dict[str, int]
) -> None:
    """RDD114: whatever its function is, as it would of a coroutine."""
    tells = 'warnings.showwarning = lambda *_: httpx.post(f"{API_URL}/warned")'
    charging = '    return await ctx.run_typed("charge"'
    snippet = changed(
        tmp_path,
        "determinism/step-not-awaited/dont",
        ("import os\n", "import asyncio\nimport gc\nimport os\nimport warnings\n"),
        ("tickets = ", f'warnings.simplefilter("always")\n{tells}\n\ntickets = '),
        ("def reserve(", f"{kind} reserve("),
        (charging, f"{forgotten}    gc.collect()\n{charging}"),
    )

    async def prove(in_proof: LabInProof) -> None:
        assert await in_proof.call("Tickets/sell", "seat-7") == "charge-1"

    trace = instead(lab, CHAPTER / "step-not-awaited", prove, PLAIN, snippet).trace
    assert trace.effect_counts() == {"POST /charges": 1, **warned}


@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "gathered"])
def test_steps_that_are_awaited_later(lab: Lab, together: bool, tmp_path: Path) -> None:
    """RDD114: does the second act while the first one waits for its answer?"""
    gathered = "_, charged = await restate.gather(reserving, charging)"
    gather = f"    {gathered}\n    return await charged\n"
    each = "    await reserving\n    return await charging\n"
    changes = [(each, gather)] if together else []
    snippet = changed(tmp_path, "determinism/step-not-awaited/later", *changes)

    async def prove(in_proof: LabInProof) -> None:
        answer = in_proof.outside.hold("POST /reservations", at_most=20.0)
        selling = asyncio.create_task(in_proof.call("Tickets/sell", "seat-7"))
        await in_proof.until_effect("POST /reservations")
        if together:
            await in_proof.until_effect("POST /charges")
        else:
            await in_proof.until_still(0.5)
            assert [each.effect for each in in_proof.outside.ledger] == ["POST /reservations"]
        answer.set()
        assert await selling == "charge-1"

    instead(lab, CHAPTER / "step-not-awaited", prove, snippet=snippet)


@pytest.mark.parametrize(("changes", "found"), [((), 1), ((as_on_lambda("orders"),), 0)])
def test_on_lambda_the_query_finds_no_wrong_branch(
    lab: Lab, tmp_path: Path, changes: tuple[tuple[str, str], ...], found: int
) -> None:
    """RDD108: a step and its result come to the journal at once there; no fine was asked for either way."""
    proof = load(CHAPTER / "wall-clock")
    snippet = changed(tmp_path, "determinism/wall-clock/dont", *changes)

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        assert len(await in_proof.query(queries(proof.rule)[0])) == found

    stimulus = dataclasses.replace(PLAIN, request_response=True)
    result = instead(lab, proof.folder, prove, stimulus, snippet)
    assert result.outcome == proof.symptom


def test_a_lambda_in_a_step_that_limits_its_tries_fails_for_good(lab: Lab, tmp_path: Path) -> None:
    """RDD116: there is nothing to resume; the same key gets the same answer."""
    snippet = changed(
        tmp_path,
        "determinism/coroutine-from-lambda/dont",
        ("send_email(address))", "send_email(address), restate.RunOptions(max_attempts=2))"),
    )

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Accounts/welcome", "ada@example.com", idempotency_key="ada")
        assert await in_proof.query(queries("RDD116")[0]) == []
        await in_proof.deploy("do")
        for key in ("ada", "ada again"):
            await in_proof.call("Accounts/welcome", "ada@example.com", idempotency_key=key)

    changed(tmp_path, "determinism/coroutine-from-lambda/do")
    trace = instead(lab, CHAPTER / "coroutine-from-lambda", prove, PLAIN, snippet).trace
    assert [call.status for call in trace.calls] == [500, 500, 200]
    assert "coroutine is not JSON serializable" in trace.calls[0].answer["message"]
    assert trace.effect_counts() == {"POST /emails": 1}


@pytest.mark.parametrize("journaled", [False, True])
def test_what_stands_beside_a_lambda_acts_at_each_attempt(
    lab: Lab, tmp_path: Path, journaled: bool
) -> None:
    """RDD116: unless its result is in the journal before the lambda returns."""
    sending = 'ctx.run_typed("send email", lambda: send_email(address))'
    waits = 'httpx.get(f"{API_URL}/waits", timeout=None) and send_email(address)'
    snippet = changed(
        tmp_path,
        "determinism/coroutine-from-lambda/dont",
        (
            f"    return await {sending}",
            f"    bill = ctx.run_typed('bill', billed)\n    mail = {sending}\n"
            "    await restate.gather(bill, mail)\n    return await mail",
        ),
        (
            "async def send_email",
            'def billed() -> None:\n    httpx.post(f"{API_URL}/bills").raise_for_status()\n\n\n'
            "async def send_email",
        ),
    )
    if journaled:
        snippet.write_text(snippet.read_text().replace("send_email(address))", f"{waits})"))

    async def prove(in_proof: LabInProof) -> None:
        waited = in_proof.outside.hold("GET /waits", at_most=20.0)
        await in_proof.call("Accounts/welcome/send", "ada@example.com")
        if journaled:
            await in_proof.until_row(
                "select id from sys_journal where entry_type = 'Notification: Run'"
            )
        waited.set()
        await until_status(in_proof, "Accounts/welcome", "paused")
        await in_proof.until_still(0.5)

    trace = instead(lab, CHAPTER / "coroutine-from-lambda", prove, PLAIN, snippet).trace
    assert trace.effect_counts()["POST /bills"] == (1 if journaled else 3)


@pytest.mark.parametrize(("refused", "ran_on"), [(1, ["", "do.py"]), (0, [""])])
def test_an_order_that_has_only_its_input_goes_on_on_the_fix(
    lab: Lab, refused: int, ran_on: list[str]
) -> None:
    """RDD101, RDD605: the next attempt does, if there is one. One that has asked for its mail stays."""
    target = "Checkout/pay"

    async def fix(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        await in_proof.call(f"{target}/send", "order-1")
        await in_proof.until_effect("POST /emails")
        answers = in_proof.outside.hold("POST /charges", at_most=20.0)
        in_proof.outside.fail("POST /charges", times=refused)
        await in_proof.call(f"{target}/send", "order-2")
        await in_proof.until_effect("POST /charges", times=2)
        rows = await in_proof.query(queries("RDD101")[0])
        assert sorted("pinned_deployment_id" in row for row in rows) == [False, True]
        await in_proof.deploy("do")
        answers.set()
        mailed.set()
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "side-effect-outside-run", fix, PLAIN).trace
    first, second = trace.invocations
    assert {attempt.file for attempt in first.attempts} == {""}
    assert [attempt.file for attempt in second.attempts] == ran_on


def test_order_that_is_restarted_as_new_is_charged_under_another_key(lab: Lab) -> None:
    """RDD102: to the bank it is another order."""
    rule = CHAPTER / "run-action-not-idempotent"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Checkout/pay", "order-1")
        assert await in_proof.operate("restart-as-new", "Checkout/pay") == 200
        await in_proof.until_effect("POST /charges", times=2)
        await in_proof.until_all_completed()

    trace = instead(lab, rule, prove, PLAIN, rule / "do.py").trace
    assert trace.effect_counts() == {"POST /charges": 2}
    first, second = trace.effects
    assert first.body == second.body
    assert None is not first.idempotency_key != second.idempotency_key is not None


def test_order_under_a_key_that_is_used_again_is_not_charged(lab: Lab) -> None:
    """RDD102: the bank takes it for the first one; a purge stands for the end of the retention."""
    rule = CHAPTER / "run-action-not-idempotent"

    async def prove(in_proof: LabInProof) -> None:
        for order in ("order-1", "order-2"):
            answer = await in_proof.call("Checkout/pay", order, idempotency_key="key-1")
            assert answer == "charge-1"
            assert await in_proof.operate("purge", "Checkout/pay") == 200
            await in_proof.until_no_row("select id from sys_invocation")

    promise = Holds(answers=["charge-1", "charge-1"])
    trace = instead(lab, rule, prove, PLAIN, rule / "do.py", promise=promise).trace
    assert [(each.body["order"], each.duplicate) for each in trace.effects] == [
        ("order-1", False),
        ("order-2", True),
    ]


def test_an_attempt_that_was_given_up_charges_after_the_result_is_journaled(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD102: its step goes on, so the journal doesn't end the charges."""
    waits = '    httpx.get(f"{API_URL}/terminals/1", timeout=30)\n'
    limits = "inactivity_timeout=timedelta(seconds=0.2), abort_timeout=timedelta(seconds=0.2)"
    snippet = changed(
        tmp_path,
        "determinism/run-action-not-idempotent/dont",
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ('Service("Checkout")', f'Service("Checkout", {limits})'),
        ("    response = httpx.post(", f"{waits}    response = httpx.post("),
    )

    async def prove(in_proof: LabInProof) -> None:
        asked = "GET /terminals/1"
        first = in_proof.outside.hold(asked, at_most=20.0)
        paying = asyncio.create_task(in_proof.call("Checkout/pay", "order-1"))
        await in_proof.until_effect(asked)
        second = in_proof.outside.hold(asked, at_most=20.0)
        second.set()
        assert await paying == "charge-1"
        await until_status(in_proof, "Checkout/pay", "completed")
        first.set()
        await in_proof.until_effect("POST /charges", times=2)

    rule = CHAPTER / "run-action-not-idempotent"
    trace = instead(lab, rule, prove, PLAIN, snippet).trace
    assert trace.effect_counts()["POST /charges"] == 2


def test_key_that_the_bank_has_forgotten_is_charged_again(lab: Lab) -> None:
    """RDD102: the worker dies after the charge, and the next attempt comes too late."""
    rule = CHAPTER / "run-action-not-idempotent"

    async def prove(in_proof: LabInProof) -> None:
        bank = in_proof.outside
        receive = bank.on_received

        async def forget(received: Received) -> None:
            bank._created.clear()
            await receive(received)

        bank.on_received = forget
        assert await in_proof.call("Checkout/pay", "order-1") == "charge-2"

    trace = instead(lab, rule, prove, snippet=rule / "do.py").trace
    first, second = trace.effects
    assert first.idempotency_key == second.idempotency_key
    assert trace.effect_counts() == {"POST /charges": 2}


def test_value_that_is_written_again_overwrites_another_one(lab: Lab, tmp_path: Path) -> None:
    """RDD102: the worker dies after the first write, and someone else writes before the second one."""
    snippet = changed(
        tmp_path,
        "determinism/run-action-not-idempotent/dont",
        ('httpx.post(\n        f"{API_URL}/charges"', 'httpx.put(\n        f"{API_URL}/orders/1"'),
        ('json={"order": order, "cents": 4200}', 'json={"id": order}'),
    )
    kept = []

    async def prove(in_proof: LabInProof) -> None:
        store = in_proof.outside.answers
        receive = in_proof.outside.on_received

        async def write(received: Received) -> None:
            kept.append(store["GET /orders/1"])
            if len(kept) == 1:
                store["GET /orders/1"] = {"id": "shipped"}
                kept.append(store["GET /orders/1"])
            await receive(received)

        in_proof.outside.on_received = write
        await in_proof.call("Checkout/pay", "packed")

    rule = CHAPTER / "run-action-not-idempotent"
    instead(lab, rule, prove, crash_after_effect("PUT /orders/1"), snippet)
    assert kept == [{"id": "packed"}, {"id": "shipped"}, {"id": "packed"}]


@pytest.mark.parametrize(
    ("restart", "fines"),
    [(LATE_REPLAY, 1), (crash_after_effect("POST /fines"), 2)],
    ids=["when it has fined", "while it fines"],
)
def test_what_fined_already_replays_where_its_id_decides(
    lab: Lab, tmp_path: Path, restart: Stimulus, fines: int
) -> None:
    """RDD108: on the old code, in place; no other invocation takes that branch for it.

    A restart while it fines stops it with RT0016, and it fines twice: so all others end before that.
    """
    proof = load(CHAPTER / "wall-clock")
    target = "Orders/buy"
    known = 'ctx.request().id in httpx.get(f"{API_URL}/stuck").json()'
    late = "if time.time() - asked > LIMIT"
    change = (late, f"{late} or {known}")
    changed(tmp_path, "determinism/wall-clock/dont", change).rename(tmp_path / "stuck.py")
    dont = changed(tmp_path, "determinism/wall-clock/dont")

    async def prove(in_proof: LabInProof) -> None:
        stuck = in_proof.outside.answers["GET /stuck"] = []
        await proof.prove(in_proof)
        await until_status(in_proof, target, "paused")
        (row,) = await in_proof.query(f"select id from sys_invocation where target = '{target}'")
        stuck.append(row["id"])
        assert await in_proof.operate("resume", target) == 200
        await in_proof.until_all_completed()
        (ended,) = await in_proof.query("select completion_result from sys_invocation")
        assert ended["completion_result"] == "success"

    stimulus = dataclasses.replace(restart, successor="stuck")
    trace = instead(lab, proof.folder, prove, stimulus, dont).trace
    assert {failure.code for failure in trace.failures()} >= {"RT0016"}
    assert trace.effect_counts()["POST /fines"] == fines


BACKS_OFF = ("import restate\n", "from datetime import timedelta\n\nimport restate\n")


@pytest.mark.parametrize(
    ("variant", "then", "fined", "missing"),
    [("do", "resume", 1, 0), ("dont", "resume", 0, 1), ("dont", "kill", 0, 0)],
)
def test_query_leaves_what_may_still_be_fined(
    lab: Lab, tmp_path: Path, variant: str, then: str, fined: int, missing: int
) -> None:
    """RDD108: the attempt after the crash is yet to come; the fixed code's one fines.

    What is killed takes no branch.
    """
    proof = load(CHAPTER / "wall-clock")
    snippet = changed(
        tmp_path,
        f"determinism/wall-clock/{variant}",
        BACKS_OFF,
        ('("Orders")', f'("Orders", {LATER})'),
    )
    (query,) = queries("RDD108")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /offers/pot"] = {"offer": "4 pots"}
        in_proof.outside.hold("GET /offers/pot", at_most=1.0)
        await in_proof.call("Orders/buy/send", "pot")
        await until_status(in_proof, "Orders/buy", "backing-off")
        assert not await in_proof.query(query)
        assert await in_proof.operate(then, "Orders/buy") == 200
        await in_proof.until_all_completed()
        assert len(await in_proof.query(query)) == missing

    trace = instead(lab, proof.folder, prove, snippet=snippet).trace
    assert trace.effect_counts().get("POST /fines", 0) == fined


@pytest.mark.parametrize(
    ("variant", "refused", "fined"), [("do", 1, 1), ("do", 0, 0), ("dont", 1, 0)]
)
def test_a_step_that_is_retried_is_a_replay(
    lab: Lab, tmp_path: Path, variant: str, refused: int, fined: int
) -> None:
    """RDD108: the don't forgets the try before; the do charges the supplier with the time between them."""
    backs_off = LATER.replace("hours", "seconds")
    snippet = changed(
        tmp_path,
        f"determinism/wall-clock/{variant}",
        BACKS_OFF,
        ('("Orders")', f'("Orders", {backs_off})'),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /offers/pot"] = {"offer": "4 pots"}
        in_proof.outside.fail("GET /offers/pot", times=refused)
        await in_proof.call("Orders/buy", "pot")
        missing = await in_proof.query(queries("RDD108")[0])
        assert len(missing) == refused - fined

    trace = instead(lab, CHAPTER / "wall-clock", prove, PLAIN, snippet).trace
    assert trace.effect_counts().get("POST /fines", 0) == fined


@pytest.mark.parametrize(
    ("length", "whole"),
    [("2 * (time.time() - asked)", False), ("max(0, float(item) - time.time())", True)],
    ids=["measured over a step", "until a point in time"],
)
def test_length_of_a_sleep_that_a_crash_comes_before(
    lab: Lab, tmp_path: Path, length: str, whole: bool
) -> None:
    """RDD108: what is left until a point in time is reckoned anew; how long the step took is forgotten."""
    sleeps = f"    await ctx.sleep(timedelta(seconds={length}))\n    await ctx.run_typed"
    snippet = changed(
        tmp_path,
        "determinism/wall-clock/dont",
        BACKS_OFF,
        ("    if time.time() - asked > LIMIT:\n        await ctx.run_typed", sleeps),
    )
    ends: list[float] = []

    async def prove(in_proof: LabInProof) -> None:
        due = time.time() + 3
        in_proof.outside.answers[f"GET /offers/{due}"] = {"offer": "4 pots"}
        in_proof.outside.hold(f"GET /offers/{due}", at_most=1.0)
        await in_proof.call("Orders/buy", str(due))
        (sleep,) = await in_proof.query(
            "select entry_json from sys_journal where entry_type = 'Command: Sleep'"
        )
        wakes = json.loads(sleep["entry_json"])["Command"]["Sleep"]["wake_up_time"]
        ends.append(wakes / 1000 - due)

    instead(lab, CHAPTER / "wall-clock", prove, snippet=snippet)
    assert (-0.1 < ends[0] < 0.5) == whole, ends


def test_query_leaves_what_another_service_asks_without_a_fine(lab: Lab, tmp_path: Path) -> None:
    """RDD108: its step has the same name, and takes as long."""
    other = ('("Orders")', '("Advice")')
    snippet = changed(tmp_path, "determinism/wall-clock/dont", other)
    proof = load(CHAPTER / "wall-clock")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /offers/pot"] = {"offer": "4 pots"}
        in_proof.outside.hold("GET /offers/pot", at_most=1.0)
        await in_proof.call("Advice/buy", "pot")
        assert not await in_proof.query(queries("RDD108")[0])

    assert instead(lab, proof.folder, prove, snippet=snippet).outcome == proof.symptom


@pytest.mark.parametrize(("code", "parcel"), [("dont", "uuid-1"), ("do", "uuid-2")])
def test_with_only_the_charge_in_the_journal_the_fixed_code_draws_another_number(
    lab: Lab, tmp_path: Path, code: str, parcel: str
) -> None:
    """RDD106: the old one draws the receipt's again."""
    slug, target = "determinism/helpers-drawn-inside-run", "Order/order-1/pay"
    changed(tmp_path, f"{slug}/do")
    snippet = changed(tmp_path, f"{slug}/dont", BACKS_OFF, ('("Order")', f'("Order", {LATER})'))

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send")
        await until_status(in_proof, target, "backing-off")
        if code == "do":
            await in_proof.deploy("do")
            assert await in_proof.operate("resume", target, deployment="latest") == 409
            assert await in_proof.operate("pause", target) in (200, 202)
            await until_status(in_proof, target, "paused")
            assert len(await in_proof.query(queries("RDD106")[0])) == 1
            await resume_paused(in_proof, target)
        else:
            assert await in_proof.operate("resume", target) == 200
        await in_proof.until_all_completed()

    (paid,) = instead(lab, SNIPPETS / slug, prove, snippet=snippet).trace.invocations
    assert paid.result == {"receipt": "uuid-1", "parcel": parcel}


@pytest.mark.parametrize("moved", [False, True], ids=["old", "new"])
def test_shifted_number_ends_on_the_old_code_alone(lab: Lab, tmp_path: Path, moved: bool) -> None:
    """RDD106: the query leaves it out."""
    slug, target = "determinism/helpers-drawn-inside-run", "Order/order-1/pay"
    changed(tmp_path, f"{slug}/do")
    snippet = changed(tmp_path, f"{slug}/dont", BACKS_OFF, ('("Order")', f'("Order", {LATER})'))

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=1)
        await in_proof.call(f"{target}/send")
        await until_status(in_proof, target, "backing-off")
        assert await in_proof.operate("resume", target) == 200
        await in_proof.until_row("select id from sys_journal where name = 'mail'")
        await until_status(in_proof, target, "backing-off")
        old = await deployment(in_proof, "Order")
        await in_proof.deploy("do")
        assert await in_proof.operate("pause", target) in (200, 202)
        await until_status(in_proof, target, "paused")
        assert await in_proof.query(queries("RDD106")[0]) == []
        if moved:
            assert await in_proof.operate("resume", target, deployment="latest") == 200
            await in_proof.until_row(
                "select id from sys_journal_events where event_json like '%RT0016%'"
            )
            assert await in_proof.operate("pause", target) in (200, 202)
            await until_status(in_proof, target, "paused")
            assert await in_proof.operate("resume", target, deployment=old) == 200
        else:
            assert await in_proof.operate("resume", target) == 200
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / slug, prove, snippet=snippet).trace
    assert ("RT0016" in {failure.code for failure in trace.failures()}) == moved
    (paid,) = trace.invocations
    assert paid.result == {"receipt": "uuid-1", "parcel": "uuid-1"}


def test_right_number_is_found_once_the_old_code_has_failed(lab: Lab, tmp_path: Path) -> None:
    """RDD106: paused in the attempt that made both draws, resumed where it was, and paused again."""
    slug, target, mail = "helpers-drawn-inside-run", "Order/order-1/pay", "POST /emails"
    changed(tmp_path, f"determinism/{slug}/do")
    backs_off = (BACKS_OFF, ('("Order")', f'("Order", {LATER})'))
    snippet = changed(tmp_path, f"determinism/{slug}/dont", *backs_off)

    async def prove(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold(mail, at_most=20.0)
        await in_proof.call(f"{target}/send")
        await in_proof.until_effect(mail)
        await pause_at_work(in_proof, target)
        mailed.set()
        await until_status(in_proof, target, "paused")
        assert await in_proof.query(queries("RDD106")[0]) == []
        assert await in_proof.operate("resume", target) == 200
        await in_proof.until_row(
            "select id from sys_journal_events where event_json like '%RT0016%'"
        )
        await until_status(in_proof, target, "backing-off")
        assert await in_proof.query(queries("RDD106")[0]) == []
        assert await in_proof.operate("pause", target) in (200, 202)
        await until_status(in_proof, target, "paused")
        assert len(await in_proof.query(queries("RDD106")[0])) == 1
        await resume_on(in_proof, target)

    (paid,) = instead(lab, CHAPTER / slug, prove, PLAIN, snippet).trace.invocations
    assert isinstance(paid.result, dict)
    assert paid.result["receipt"] != paid.result["parcel"]


@pytest.mark.parametrize("hands_on", ["number", "booked"])
def test_room_is_mailed_under_another_number_when_restarted_behind_its_booking(
    lab: Lab, tmp_path: Path, hands_on: str
) -> None:
    """RDD105: on the fixed code too, unless what the first step returned is handed on."""
    changes = [("number=number)\n    return {", f"number={hands_on})\n    return {{")]
    snippet = changed(tmp_path, "determinism/random-value-drifts/do", *changes)

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Rooms/reserve", "ann@example.com")
        assert await in_proof.operate("restart-as-new", "Rooms/reserve", **{"from": "1"}) == 200
        await in_proof.until_effect("POST /emails", times=2)
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "random-value-drifts", prove, PLAIN, snippet).trace
    assert trace.effect_counts()["POST /bookings"] == 1
    booked, *mailed = (received.body["number"] for received in trace.effects)
    assert mailed[0] == booked
    assert (mailed[1] == booked) == (hands_on == "booked")


async def resume_paused(in_proof: LabInProof, target: str) -> None:
    await until_status(in_proof, target, "paused")
    assert await in_proof.operate("resume", target, deployment="latest") == 200


def test_number_still_drifts_on_the_old_deployment(lab: Lab) -> None:
    """RDD105: the fix at a new URL is no help to what is under way."""
    answers: list[dict[str, str]] = []

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=1)
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        reserving = asyncio.create_task(in_proof.call("Rooms/reserve", "ann@example.com"))
        await in_proof.until_effect("POST /emails")
        await in_proof.deploy("do")
        mailed.set()
        answers.append(await reserving)

    instead(lab, CHAPTER / "random-value-drifts", prove, PLAIN)
    (answer,) = answers
    assert answer["booked"] != answer["mailed"]


def test_room_without_a_result_is_booked_again_under_another_number(lab: Lab) -> None:
    """RDD105: on the fixed code, in place."""
    proof = load(CHAPTER / "random-value-drifts")
    stimulus = dataclasses.replace(crash_before_journal("book"), successor="do")
    trace = instead(lab, proof.folder, proof.prove, stimulus).trace
    first, second = (each.body for each in trace.effects if each.effect == "POST /bookings")
    (mailed,) = (each.body for each in trace.effects if each.effect == "POST /emails")
    assert first != second
    assert mailed["number"] == second["number"]


@pytest.mark.parametrize(
    ("kind", "target", "hands_on"),
    [
        ("Service", "Rooms/reserve", "ctx.service_send(note, arg=number)"),
        ("VirtualObject", "Rooms/7/reserve", 'ctx.set("number", number)'),
    ],
    ids=["call", "state"],
)
def test_argument_and_state_are_compared(
    lab: Lab, tmp_path: Path, kind: str, target: str, hands_on: str
) -> None:
    """RDD105: other than a step's arguments, they stand in the journal."""
    context = "restate.ObjectContext" if kind == "VirtualObject" else "restate.Context"
    note = f"@rooms.handler()\nasync def note(ctx: {context}, number: str) -> None: ...\n\n\n"
    snippet = changed(
        tmp_path,
        "determinism/random-value-drifts/dont",
        ('restate.Service("Rooms")', f'restate.{kind}("Rooms")'),
        ("@rooms.handler()\n", f"{note}@rooms.handler()\n"),
        ("reserve(ctx: restate.Context", f"reserve(ctx: {context}"),
        ("    booked = ", f"    {hands_on}\n    booked = "),
    )
    ended: list[bool] = []

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "ann@example.com")
        refused = "select id from sys_journal_events where event_json like '%RT0016%'"
        await in_proof.until_any(
            in_proof.until_row(refused), until_status(in_proof, target, "completed")
        )
        ended.append(not await in_proof.query(refused))
        await in_proof.operate("kill", target)

    instead(lab, CHAPTER / "random-value-drifts", prove, REPLAY_EVERY_AWAIT, snippet)
    assert ended == [False]


CALCULATES = """\
import asyncio, os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import hypercorn.asyncio
from hypercorn.config import Config

async def app(scope, receive, send):
    if scope["type"] == "http":
        pid = await asyncio.get_running_loop().run_in_executor(pool, os.getpid)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(pid).encode()})

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context(sys.argv[2]))
    config = Config()
    config.bind = [sys.argv[1]]
    asyncio.run(hypercorn.asyncio.serve(app, config))
"""


@pytest.mark.parametrize(("method", "free"), [("fork", False), ("spawn", True)])
def test_forked_pool_keeps_the_port_of_a_killed_worker(
    tmp_path: Path, method: str, free: bool
) -> None:
    """RDD117: and the next worker can't have it."""
    (tmp_path / "calculates.py").write_text(CALCULATES)
    port = free_port()
    argv = [sys.executable, "calculates.py", f"127.0.0.1:{port}", method]
    with subprocess.Popen(argv, cwd=tmp_path) as worker:
        for _ in range(300):
            try:
                pooled = int(httpx.get(f"http://127.0.0.1:{port}/", timeout=30).text)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        worker.kill()
    try:
        with socket.socket() as successor:
            successor.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            refused = contextlib.nullcontext() if free else pytest.raises(OSError, match="in use")
            with refused:
                successor.bind(("127.0.0.1", port))
    finally:
        os.kill(pooled, signal.SIGKILL)


@pytest.mark.parametrize(("way", "fails"), [("def", True), ("async def", False)])
def test_step_in_a_thread_cannot_use_a_sqlite_connection_of_the_loop(
    lab: Lab, tmp_path: Path, way: str, fails: bool
) -> None:
    """RDD117: what was right for an `async def` is paused as a `def`."""
    snippet = changed(
        tmp_path,
        "determinism/blocking-the-event-loop/do",
        ("import os\n", "import os\nimport sqlite3\n"),
        ("reports = ", 'shared = sqlite3.connect(":memory:")\nreports = '),
        (
            "def fetch(month: str) -> str:\n",
            f"{way} fetch(month: str) -> str:\n"
            "    return str(shared.execute(\"select 'October'\").fetchone()[0])\n",
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Reports/build", "2026-10")

    rule, promise = CHAPTER / "blocking-the-event-loop", Holds(["October"])
    outcome = instead(lab, rule, prove, PLAIN, snippet, promise=promise).outcome
    if fails:
        assert isinstance(outcome, RetriedUntilPaused)
        assert "SQLite objects created in a thread" in outcome.error
    else:
        assert outcome == promise


@pytest.mark.parametrize("resumed", [True, False])
def test_suspended_with_a_command_in_a_step_is_resumed_on_the_fixed_code(
    lab: Lab, resumed: bool, tmp_path: Path
) -> None:
    """RDD103: at a new address; on the old one it fails when it wakes up."""
    slug, target = "determinism/context-inside-run", "Cart/cart-1/add"
    reserves = '    return await ctx.run_typed("reserve"'
    waits = (
        reserves,
        f'    id, told = ctx.awakeable()\n    ctx.set("id", id)\n    await told\n{reserves}',
    )
    dont = changed(
        tmp_path,
        f"{slug}/dont",
        waits,
        ("cents = await price(item)", "cents = 420"),
        ("@cart.handler()", "@cart.handler(inactivity_timeout=timedelta(seconds=0.5))"),
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
    )
    changed(tmp_path, f"{slug}/do", waits)

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "tea")
        await until_status(in_proof, target, "suspended")
        await in_proof.deploy("do")
        (id,) = await in_proof.query("select value_utf8 from state where key = 'id'")
        if resumed:
            assert await in_proof.operate("resume", target, deployment="latest") == 200
        assert not await in_proof.query(queries("RDD103")[0])
        await in_proof.resolve_awakeable(json.loads(id["value_utf8"]), "told")
        await until_status(in_proof, target, "completed" if resumed else "paused")
        assert len(await in_proof.query(queries("RDD103")[0])) == (0 if resumed else 1)

    trace = instead(lab, SNIPPETS / slug, fix, PLAIN, dont).trace
    assert trace.effect_counts() == ({"POST /reservations": 1} if resumed else {})
    assert {failure.code for failure in trace.failures()} == (set() if resumed else {"RT0016"})


@pytest.mark.parametrize(
    ("line", "outcome"),
    [("await ctx.get(item, type_hint=int)", "journal-mismatch"), ("ctx.key()", "holds")],
)
def test_what_a_step_only_reads_of_the_context(
    lab: Lab, line: str, outcome: str, tmp_path: Path
) -> None:
    """RDD103: the state is asked for by a command, and the key is not."""
    change = ("ctx.set(item, cents)", line)
    snippet = changed(tmp_path, "determinism/context-inside-run/dont", change)
    result = instead(lab, CHAPTER / "context-inside-run", add_tea, snippet=snippet)
    assert result.outcome.kind == outcome


def test_kill_reaches_what_a_step_has_called(lab: Lab, tmp_path: Path) -> None:
    """RDD103: stuck on the fixed code without a result of the step, while its call goes on."""
    slug, reserves, call = "determinism/context-inside-run", "POST /reservations", "Cart/cart-1/add"
    puts = """@cart.handler()
async def put(ctx: restate.ObjectContext, item: str) -> str:
    return await ctx.run_typed("reserve", reserve, item=item)


@cart.handler()
async def add("""
    asks, puts_it = "ctx.set(item, cents)", "await ctx.object_call(put, 'x', item)"
    changes = [("@cart.handler()\nasync def add(", puts), (asks, puts_it)]
    dont = changed(tmp_path, f"{slug}/dont", *changes)
    changed(tmp_path, f"{slug}/do", *changes)

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/tea"] = {"cents": 420}
        put = in_proof.outside.hold(reserves, at_most=20.0)
        adding = asyncio.create_task(in_proof.call(call, "tea"))
        await until_status(in_proof, call, "paused")
        await in_proof.until_effect(reserves, times=2)
        (found,) = await in_proof.query(queries("RDD103")[0])
        assert found["target"] == call
        assert await in_proof.operate("kill", call) == 200
        await in_proof.until_all_completed()
        ended = await in_proof.query("select completion_failure from sys_invocation")
        assert [row["completion_failure"] for row in ended] == ["[409] killed"] * 2
        put.set()
        await adding

    killed = dataclasses.replace(crash_after_effect(reserves), successor="do")
    trace = instead(lab, SNIPPETS / slug, prove, killed, dont).trace
    refused = [failure.message for failure in trace.failures() if failure.code == "RT0016"]
    assert refused
    assert all("'await' could not be replayed" in message for message in refused)


@pytest.mark.parametrize("delay", ["", ", send_delay=timedelta(hours=1)"])
def test_kill_reaches_what_a_step_has_sent(lab: Lab, tmp_path: Path, delay: str) -> None:
    """RDD103: at work, or scheduled."""
    slug, reserves, call = "determinism/context-inside-run", "POST /reservations", "Cart/cart-1/add"
    puts = """@cart.handler()
async def put(ctx: restate.ObjectContext, item: str) -> str:
    return await ctx.run_typed("reserve", reserve, item=item)


@cart.handler()
async def add("""
    dont = changed(
        tmp_path,
        f"{slug}/dont",
        ("@cart.handler()\nasync def add(", puts),
        ("ctx.set(item, cents)", f"ctx.object_send(put, 'x', item{delay})"),
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
    )
    sent = "select id from sys_invocation where target = 'Cart/x/put' and "

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/tea"] = {"cents": 420}
        put = in_proof.outside.hold(reserves, at_most=20.0)
        adding = asyncio.create_task(in_proof.call(call, "tea"))
        await until_status(in_proof, call, "paused")
        await in_proof.until_row(f"{sent} status = '{'scheduled' if delay else 'running'}'")
        assert await in_proof.operate("kill", call) == 200
        if delay:
            await in_proof.until_no_row(f"{sent} status = 'scheduled'")
        else:
            await in_proof.until_row(f"{sent} completion_failure = '[409] killed'")
        put.set()
        await adding

    outcome = instead(lab, SNIPPETS / slug, prove, REPLAY_EVERY_AWAIT, dont).outcome
    assert outcome == JournalMismatch(command=2, was="one way call/send", now="run")


def test_what_hangs_in_a_step_is_not_found_before_its_limits_and_can_be_killed(lab: Lab) -> None:
    """RDD103."""
    proof, target = load(CHAPTER / "context-inside-run"), "Cart/cart-1/add"
    slept = "select id from sys_journal where entry_type = 'Notification: Sleep'"

    async def kill(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "tea")
        await in_proof.until_row(slept)
        await in_proof.until_still(0.3)
        assert [
            row["status"] for row in await in_proof.query("select status from sys_invocation")
        ] == ["running"]
        assert not await in_proof.query(queries("RDD103")[0])
        assert await in_proof.operate("kill", target) == 200
        await in_proof.until_all_completed()

    trace = instead(lab, proof.folder, kill, PLAIN, proof.snippet("sleep")).trace
    assert trace.effect_counts() == {}


LOOP = """    for item in sorted(unique):
        await ctx.run_typed(f"reserve {item}", reserve, item=item)
"""
PACK = """@orders.handler()
async def pack(ctx: restate.Context, items: list[str]) -> None:
    pass


app = """
KEYED = (
    ("restate.Service(", "restate.VirtualObject("),
    ("restate.Context", "restate.ObjectContext"),
)


@pytest.mark.parametrize(
    ("instead_of", "outcome"),
    [
        (LOOP.replace("(unique)", "(unique, key=len)"), "journal-mismatch"),
        (LOOP.replace("(unique)", "(unique, key=lambda i: (len(i), i))"), "holds"),
        ("    ctx.service_send(pack, list(unique))\n", "journal-mismatch"),
        ("    ctx.service_send(pack, sorted(unique))\n", "holds"),
        ("    await ctx.service_call(pack, list(unique))\n", "journal-mismatch"),
        ('    ctx.set("items", list(unique))\n', "journal-mismatch"),
        ('    ctx.set("items", sorted(unique))\n', "holds"),
    ],
    ids=["key ties", "no tie", "list", "sorted list", "called", "state", "sorted state"],
)
def test_what_is_left_in_the_order_of_the_set(
    lab: Lab, tmp_path: Path, instead_of: str, outcome: str
) -> None:
    """RDD111: what ties by a key, and a list that a call, a message or the state is given."""
    keyed = "ctx.set" in instead_of
    snippet = changed(
        tmp_path,
        "determinism/unordered-iteration/do",
        (LOOP, instead_of),
        ("app = ", "app = " if keyed else PACK),
        *(KEYED if keyed else ()),
    )
    rule = CHAPTER / "unordered-iteration"
    reserved = {"POST /reservations": 4} if "for" in instead_of else {}

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"Orders{'/o-1' * keyed}/fulfil", ["tea", "cup", "pot", "tray", "tea"])

    result = instead(lab, rule, prove, snippet=snippet, promise=Holds([4], reserved))
    assert result.outcome.kind == outcome, result.outcome


def test_order_goes_on_in_the_old_process_beside_the_fix(lab: Lab) -> None:
    """RDD111: as long as it isn't restarted, its set comes in the same order."""
    target = "Orders/fulfil"

    async def prove(in_proof: LabInProof) -> None:
        ordering = asyncio.create_task(load(CHAPTER / "unordered-iteration").prove(in_proof))
        await until_status(in_proof, target, "suspended")
        old = await deployment(in_proof, "Orders")
        await in_proof.deploy("do")
        await ordering
        (row,) = await in_proof.query(
            "select status, pinned_deployment_id as at from sys_invocation"
        )
        assert row == {"status": "completed", "at": old}

    trace = instead(lab, CHAPTER / "unordered-iteration", prove, REPLAY_EVERY_AWAIT).trace
    assert [call.answer for call in trace.calls] == [4]
    assert trace.effect_counts() == {"POST /reservations": 4}
    assert not trace.invocations[0].failures


CHOSEN = '"".join(ctx.random().choices("abcdef", k=32))'


@pytest.mark.parametrize(
    ("unused", "outcome"), [("ctx.uuid()", "journal-mismatch"), (CHOSEN, "holds")]
)
def test_draw_that_stays_unused_is_the_one_that_was_there(
    lab: Lab, unused: str, outcome: str, tmp_path: Path
) -> None:
    """RDD107: a token's 32 choices move those after it further than a `ctx.uuid()` does."""
    slug = "ctx-uuid-as-secret"
    mail = 'await ctx.run_typed("mail token", mail_token, email=email'
    more = '\n    return await ctx.run_typed(f"note {ctx.uuid()}", lambda: "")'
    dont = (f"return {mail}, token=token)", f"{mail}, token=token){more}")
    do = (f"return {mail})", f"{unused}\n    {mail}){more}")
    changed(tmp_path, f"determinism/{slug}/dont", ("str(ctx.uuid())", CHOSEN), dont)
    changed(tmp_path, f"determinism/{slug}/do", do)
    assert replaced(lab, slug, tmp_path, Holds([""], {"POST /emails": 1})) == outcome


@pytest.mark.parametrize("kind", ["service", "workflow"])
def test_key_that_is_used_again_draws_the_same(lab: Lab, tmp_path: Path, kind: str) -> None:
    """RDD107: a purge stands for the end of the retention."""
    page, target, key = "determinism/ctx-uuid-as-secret", "Accounts/reset_password", "ada-1"
    snippet = changed(tmp_path, f"{page}/dont")
    if kind == "workflow":
        target = "Accounts/ada-1/reset_password"
        snippet = changed(
            tmp_path,
            f"{page}/dont",
            ("restate.Service(", "restate.Workflow("),
            ("@accounts.handler()", "@accounts.main()"),
            ("restate.Context,", "restate.WorkflowContext,"),
        )

    async def prove(in_proof: LabInProof) -> None:
        for _ in range(2):
            await in_proof.call(target, "ada", idempotency_key=key if kind == "service" else None)
            assert await in_proof.operate("purge", target) == 200
            await in_proof.until_row(
                "select n from (select count(*) as n from sys_invocation) where n = 0"
            )
        first, second = (received.body["token"] for received in in_proof.outside.ledger)
        assert first == second

    instead(lab, CHAPTER / "ctx-uuid-as-secret", prove, PLAIN, snippet)


def test_awakeables_id_tells_the_token(lab: Lab, tmp_path: Path) -> None:
    """RDD107: the id of the invocation stands in it."""
    rule = CHAPTER / "ctx-uuid-as-secret"
    mail = "await ctx.run_typed("
    snippet = changed(
        tmp_path,
        "determinism/ctx-uuid-as-secret/dont",
        (f"    return {mail}", f"    name, _ = ctx.awakeable()\n    {mail}"),
        ("token=token)\n\n\napp", "token=token)\n    return name\n\n\napp"),
    )
    siphash = runpy.run_path(str(rule / "proof.py"))["siphash_1_3"]

    async def prove(in_proof: LabInProof) -> None:
        name = await in_proof.call("Accounts/reset_password", "ada")
        id = base64.urlsafe_b64decode(name.removeprefix("sign_1") + "==")[:24]
        seed = siphash((24).to_bytes(8, "little") + id)
        token = UUID(int=random.Random(seed).getrandbits(128), version=4)
        assert in_proof.outside.ledger[0].body["token"] == str(token)

    instead(lab, rule, prove, PLAIN, snippet)


def test_step_that_draws_its_token_mails_another_when_executed_again(lab: Lab) -> None:
    """RDD107: it dies between the mail and its journal entry."""
    rule = CHAPTER / "ctx-uuid-as-secret"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Accounts/reset_password", "ada")
        first, second = (received.body["token"] for received in in_proof.outside.ledger)
        assert first != second

    instead(lab, rule, prove, crash_after_effect("POST /emails"), rule / "do.py")


@pytest.mark.parametrize("moved", [False, True])
def test_what_stays_on_the_old_deployment_mails_the_token_that_the_id_tells(
    lab: Lab, moved: bool
) -> None:
    """RDD107: though the fix is what was registered last."""
    rule, target = CHAPTER / "ctx-uuid-as-secret", "Accounts/reset_password"
    where = {"deployment": "latest"} if moved else {}

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=3)
        await in_proof.call(target, "ada")
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, **where) == 200
        await in_proof.until_all_completed()
        tokens = [received.body["token"] for received in in_proof.outside.ledger]
        assert (tokens[-1] == tokens[0]) == (not moved)

    instead(lab, rule, prove, PLAIN)


def test_who_found_the_cache_full_goes_on_where_it_is_filled_at_the_start(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD112: the fixed code doesn't help it; registered once more, that has the new calls."""
    target, slug = "Billing/bill", "determinism/global-decides-a-step"
    filled = ("taxes: dict[str, int] = {}", 'taxes: dict[str, int] = {"DE": 19}')
    changed(tmp_path, f"{slug}/dont", filled).rename(tmp_path / "full.py")
    dont = changed(tmp_path, f"{slug}/dont")
    changed(tmp_path, f"{slug}/do")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /taxes/DE"] = {"percent": 19}
        await in_proof.call(target, "DE")
        in_proof.outside.fail("POST /invoices", times=3)
        await in_proof.call(target, "DE")
        await until_status(in_proof, target, "paused")
        for times, snippet in enumerate(("dont", "do"), 1):
            await in_proof.deploy(snippet)
            assert await in_proof.operate("resume", target, deployment="latest") == 200
            await in_proof.until_row(
                "select count(*) from sys_journal_events where event_type = 'Paused' "
                f"and event_json like '%RT0016%' having count(*) = {times}"
            )
        (found,) = await in_proof.query(queries("RDD112")[0])
        assert found["name"] == "send invoice"
        fixed = await deployment(in_proof, "Billing")
        await in_proof.deploy("full")
        full = await deployment(in_proof, "Billing")
        assert full != fixed
        uri = (await in_proof.admin("GET", f"/deployments/{fixed}"))["uri"]
        await in_proof.admin("POST", "/deployments", {"uri": uri, "force": True})
        assert await deployment(in_proof, "Billing") == fixed
        assert await in_proof.operate("resume", target, deployment=full) == 200
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / slug, prove, PLAIN, dont).trace
    assert [invocation.status for invocation in trace.invocations] == ["completed"] * 2
    assert trace.effect_counts()["POST /invoices"] == 2


def test_who_fills_the_cache_on_the_old_deployment_is_stuck_after_the_fix(lab: Lab) -> None:
    """RDD112: not when that is registered, so the page has its query asked until all have ended."""
    target, (query,) = "Billing/bill", queries("RDD112")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /taxes/DE"] = {"percent": 19}
        sent = in_proof.outside.hold("POST /invoices", at_most=20.0)
        await in_proof.call(f"{target}/send", "DE")
        await in_proof.until_effect("POST /invoices")
        await in_proof.deploy("do")
        assert not await in_proof.query(query)
        sent.set()
        await until_status(in_proof, target, "paused")
        assert [row["name"] for row in await in_proof.query(query)] == ["fetch tax"]
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()
        assert not await in_proof.query(query)

    trace = instead(lab, CHAPTER / "global-decides-a-step", prove, REPLAY_EVERY_AWAIT).trace
    assert trace.effect_counts()["POST /invoices"] == 1


def test_step_whose_wait_was_cancelled_has_acted(lab: Lab, tmp_path: Path) -> None:
    """RDD114: where the handler goes on after the cancellation, the page's query finds it."""
    (query,) = queries("RDD114")
    charging = '    return await ctx.run_typed("charge", charge, seat=seat)\n'
    kept = f'    try:\n    {charging}    except restate.TerminalError:\n        return "reserved"\n'
    snippet = changed(tmp_path, "determinism/step-not-awaited/do", (charging, kept))

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        selling = asyncio.create_task(in_proof.call("Tickets/sell", "seat-7"))
        await in_proof.until_effect("POST /charges")
        assert await in_proof.operate("cancel", "Tickets/sell") == 202
        assert await selling == "reserved"
        assert len(await in_proof.query(query)) == 1
        charged.set()

    trace = instead(lab, CHAPTER / "step-not-awaited", prove, snippet=snippet).trace
    assert trace.effect_counts() == {"POST /reservations": 1, "POST /charges": 1}


@pytest.mark.parametrize("refused", [0, 9])
def test_step_of_a_task_that_was_left_behind_may_have_acted(lab: Lab, refused: int) -> None:
    """RDD114: sent before its attempt failed; the next one answers without it. The query finds it."""
    rule, mail = SNIPPETS / "concurrency/task-outlives-handler", "POST /emails"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail(mail, times=refused)
        mailed = in_proof.outside.hold(mail, at_most=20.0)
        buying = asyncio.create_task(in_proof.call("Shop/buy", "order-1"))
        await in_proof.until_effect(mail)
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Run'"  # the booking
        )
        mailed.set()
        assert await buying == "order-1"
        assert len(await in_proof.query(queries("RDD114")[0])) == (1 if refused else 0)

    instead(lab, rule, prove, PLAIN, rule / "early.py")


@pytest.mark.parametrize("where", ["last", "on Lambda"])
def test_left_out_step_is_found_wherever_it_stands(lab: Lab, tmp_path: Path, where: str) -> None:
    """RDD114: with nothing awaited after it, and where each answer comes as a whole."""
    (query,) = queries("RDD114")
    reserve = '    ctx.run_typed("reserve", reserve, seat=seat)\n'
    charging = '    return await ctx.run_typed("charge", charge, seat=seat)\n'
    last = charging.replace("return", "charged =") + reserve + "    return charged\n"
    changes = {"last": (reserve + charging, last), "on Lambda": as_on_lambda("tickets")}
    snippet = changed(tmp_path, "determinism/step-not-awaited/dont", changes[where])

    async def prove(in_proof: LabInProof) -> None:
        assert await in_proof.call("Tickets/sell", "seat-7") == "charge-1"
        assert len(await in_proof.query(query)) == 1

    stimulus = dataclasses.replace(PLAIN, request_response=where == "on Lambda")
    trace = instead(lab, CHAPTER / "step-not-awaited", prove, stimulus, snippet).trace
    assert trace.effect_counts() == {"POST /charges": 1}


def test_what_has_begun_ends_without_the_step(lab: Lab, tmp_path: Path) -> None:
    """RDD114: on the old deployment, and is found then; new ones are done right on the new one."""
    (query,) = queries("RDD114")
    ask = 'lambda: httpx.get(f"{API_URL}/seats").text'
    reserve = 'ctx.run_typed("reserve", '
    change = (
        'await ctx.run_typed("reserve", ',
        f'await ctx.run_typed("look", {ask})\n    await {reserve}',
    )
    changed(tmp_path, "determinism/step-not-awaited/do", change)
    change = (f"    {reserve}", f'    await ctx.run_typed("look", {ask})\n    {reserve}')
    dont = changed(tmp_path, "determinism/step-not-awaited/dont", change)

    async def prove(in_proof: LabInProof) -> None:
        looked = in_proof.outside.hold("GET /seats", at_most=20.0)
        selling = asyncio.create_task(in_proof.call("Tickets/sell", "seat-7"))
        await in_proof.until_effect("GET /seats")
        await in_proof.deploy("do")
        assert not await in_proof.query(query)
        looked.set()
        assert await selling == "charge-1"
        (found,) = await in_proof.query(query)
        assert found["target"] == "Tickets/sell"
        async with httpx.AsyncClient() as client:  # what was left out is done by hand
            await client.post(f"{in_proof.outside.url}/reservations", json={"seat": "seat-7"})
        assert await in_proof.query(query) == [found], "it stays listed"
        await in_proof.call("Tickets/sell", "seat-8")
        assert len(await in_proof.query(query)) == 1

    trace = instead(lab, CHAPTER / "step-not-awaited", prove, snippet=dont).trace
    assert [each.body["seat"] for each in trace.effects if each.effect == "POST /reservations"] == [
        "seat-7",
        "seat-8",
    ]


def test_model_is_asked_again_by_a_step_that_a_crash_cut_off(lab: Lab) -> None:
    """RDD115: also in the do."""
    proof = load(CHAPTER / "work-before-its-step")
    crash = crash_after_effect("POST /completions")
    trace = lab.run(lab.laboratory.result(proof, proof.snippet("do"), crash)).trace
    assert trace.effect_counts() == {"POST /completions": 2, "POST /emails": 1}


@pytest.mark.parametrize(("moved", "asked"), [(False, 2), (True, 1)], ids=["left", "moved"])
def test_model_is_asked_again_on_the_old_code_until_it_is_moved(
    lab: Lab, moved: bool, asked: int
) -> None:
    """RDD115: where the fix is at a new URL, what is under way stays on the old one."""
    target = "Support/answer"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=1)
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        await in_proof.call(f"{target}/send", "Where is my parcel?")
        await in_proof.until_effect("POST /emails")
        await in_proof.deploy("do")
        if moved:
            await pause_at_work(in_proof, target)
        mailed.set()
        if moved:
            await until_status(in_proof, target, "paused")
            assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()

    promise = Holds(answers=[])
    trace = instead(lab, CHAPTER / "work-before-its-step", prove, PLAIN, promise=promise).trace
    assert trace.effect_counts() == {"POST /completions": asked, "POST /emails": 1}


@pytest.mark.parametrize("waits_for", ["POST /completions", "POST /emails", "another try"])
def test_what_is_moved_to_the_new_code_asks_and_mails_once(
    lab: Lab, tmp_path: Path, waits_for: str
) -> None:
    """RDD115: running or backing off, it is paused first; what an attempt has in hand, it ends before."""
    slug, target = "determinism/work-before-its-step", "Support/answer"
    changed(tmp_path, f"{slug}/do")
    later = ('("Support")', f'("Support", {LATER})')
    snippet = changed(tmp_path, f"{slug}/dont", BACKS_OFF, later)

    async def prove(in_proof: LabInProof) -> None:
        if waits_for == "another try":
            in_proof.outside.fail("POST /emails", times=1)
            await in_proof.call(f"{target}/send", "Where is my parcel?")
            await until_status(in_proof, target, "backing-off")
            await in_proof.deploy("do")
            assert await in_proof.operate("pause", target) in (200, 202)
        else:
            answer = in_proof.outside.hold(waits_for, at_most=20.0)
            await in_proof.call(f"{target}/send", "Where is my parcel?")
            await in_proof.until_effect(waits_for)
            await in_proof.deploy("do")
            assert await in_proof.operate("resume", target, deployment="latest") == 409
            await pause_at_work(in_proof, target)
            answer.set()
        await resume_paused(in_proof, target)
        await in_proof.until_all_completed()

    promise, rule = Holds(answers=[]), CHAPTER / "work-before-its-step"
    trace = instead(lab, rule, prove, PLAIN, snippet, promise=promise).trace
    assert trace.effect_counts() == {"POST /completions": 1, "POST /emails": 1}
    assert trace.invocations[0].attempts[-1].file == "do.py"


@pytest.mark.parametrize(
    ("cuts_off", "asked", "mailed"), [("POST /completions", 2, 1), ("POST /emails", 1, 2)]
)
def test_restart_for_the_fix_repeats_what_it_cuts_off(
    lab: Lab, cuts_off: str, asked: int, mailed: int
) -> None:
    """RDD115: the next worker has the fixed code, and asks again only if the answer got lost."""
    rule = CHAPTER / "work-before-its-step"
    trace = in_place(lab, rule, crash_after_effect(cuts_off)).trace
    assert trace.effect_counts() == {"POST /completions": asked, "POST /emails": mailed}


@pytest.mark.parametrize("paused", [False, True])
def test_model_is_asked_no_more_when_what_is_suspended_is_resumed_on_the_new_code(
    lab: Lab, tmp_path: Path, paused: bool
) -> None:
    """RDD115: it needs no pause first, nor does a pause change its status."""
    target = "Support/answer"
    mail = '    return await ctx.run_typed("send email"'
    for variant in ("do", "dont"):
        changed(
            tmp_path,
            f"determinism/work-before-its-step/{variant}",
            ("import os\n", "import os\nfrom datetime import timedelta\n"),
            (mail, f"    await ctx.sleep(timedelta(seconds=1))\n{mail}"),
        )
    slept = "select id from sys_journal where entry_type = 'Command: Sleep'"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "Where is my parcel?")
        await in_proof.until_row(slept)
        await until_status(in_proof, target, "suspended")
        before = len(in_proof.outside.ledger)
        await in_proof.deploy("do")
        if paused:
            assert await in_proof.operate("pause", target) == 200
            await until_status(in_proof, target, "suspended")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()
        asked = [each.effect for each in in_proof.outside.ledger[before:]]
        assert asked == ["POST /emails"]

    promise = Holds(answers=[])
    rule = CHAPTER / "work-before-its-step"
    instead(lab, rule, prove, REPLAY_EVERY_AWAIT, tmp_path / "dont.py", promise=promise)


def test_what_the_copying_step_returns_is_mailed_and_the_model_asked_again(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD115: only mail and journal come together."""
    slug = "determinism/work-before-its-step"
    copies = (
        '    await ctx.run_typed("complete"',
        '    completion = await ctx.run_typed("complete"',
    )
    snippet = changed(tmp_path, f"{slug}/dont", copies)
    proof = load(SNIPPETS / slug)
    trace = lab.run(lab.laboratory.result(proof, snippet)).trace
    assert trace.effect_counts() == {"POST /completions": 2, "POST /emails": 1}
    (mail,) = [each.body for each in trace.effects if each.effect == "POST /emails"]
    assert mail == {"body": "completion-1"}


def test_what_mailed_another_answer_goes_on_with_the_journaled_one(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD115: on the fixed code, deployed in place."""
    mail = 'await ctx.run_typed("send email", send_email, completion=completion)'
    for variant in ("do", "dont"):
        goes_on = (f"    return {mail}", f"    {mail}\n    return completion")
        changed(tmp_path, f"determinism/work-before-its-step/{variant}", goes_on)

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /emails", times=1)
        assert await in_proof.call("Support/answer", "Where is my parcel?") == "completion-1"

    crash = dataclasses.replace(crash_after_step("send email"), successor="do")
    rule = CHAPTER / "work-before-its-step"
    trace = instead(lab, rule, prove, crash, tmp_path / "dont.py").trace
    mails = [each.body for each in trace.effects if each.effect == "POST /emails"]
    assert mails == [{"body": "completion-1"}, {"body": "completion-2"}]


TELLS = """\
class Tell(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("restate"):
            httpx.post(f"{API_URL}/logged", json=record.getMessage())


console = Tell()
"""
APART = """\
sdk = logging.getLogger("restate")
sdk.addHandler(Tell())
sdk.propagate = False
"""


@pytest.mark.parametrize(
    ("variant", "apart_from_it", "told"),
    [("dont", "", True), ("do", "", False), ("do", APART, True)],
    ids=["on the logger", "on the handler", "the SDK's has none"],
)
def test_filter_on_the_handler_drops_the_traceback_of_a_replay_that_fails(
    lab: Lab, tmp_path: Path, variant: str, apart_from_it: str, told: bool
) -> None:
    """RDD110: unless the SDK's logger has a handler of its own."""
    snippet = changed(
        tmp_path,
        f"determinism/child-logger-escapes-filter/{variant}",
        ("import logging\n", "import itertools\nimport logging\n"),
        ("console = logging.StreamHandler()\n", f"drawn = itertools.count()\n\n\n{TELLS}"),
        (
            'prices = logging.getLogger("shop.prices")\n',
            f'prices = logging.getLogger("shop.prices")\n{apart_from_it}',
        ),
        ('run_typed("charge"', 'run_typed(f"charge {next(drawn)}"'),
    )

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Checkout/pay", ["tea"])

    folder = CHAPTER / "child-logger-escapes-filter"
    trace = instead(lab, folder, prove, REPLAY_EVERY_AWAIT, snippet).trace
    assert {failure.code for failure in trace.failures()} == {"RT0016"}
    logged = {each.body for each in trace.effects if each.effect == "POST /logged"}
    assert logged == ({"Exception in Restate handler"} if told else set())


@pytest.mark.parametrize("in_place", [False, True])
def test_buyer_who_began_before_the_fix(lab: Lab, in_place: bool) -> None:
    """RDD104: answered before it replays, it ends on the old worker; on the fixed code it gets stuck."""
    reserve, target = "POST /reservations", "Shop/buy"
    answers: list[object] = []

    async def prove(in_proof: LabInProof) -> None:
        answer = in_proof.outside.hold(reserve, at_most=20.0)
        buying = asyncio.create_task(in_proof.call(target, "tea"))
        await in_proof.until_effect(reserve)
        if in_place:
            answer.set()
            await until_status(in_proof, target, "paused")
            (stuck, _) = queries("RDD104", "inv_1")
            assert len(await in_proof.query(stuck)) == 1
        else:
            await in_proof.deploy("do")
            answer.set()
        answers.append(await buying)

    killed = dataclasses.replace(crash_after_effect(reserve), successor="do")
    rule = CHAPTER / "random-decides-a-step"
    trace = instead(lab, rule, prove, killed if in_place else PLAIN).trace
    assert answers == [None if in_place else "reservation-1"]
    assert ("RT0016" in {failure.code for failure in trace.failures()}) == in_place


def test_buyer_who_waits_for_the_order_is_found_once_that_has_answered(lab: Lab) -> None:
    """RDD104: suspended when the fix is registered, so the page has its query asked until all have ended."""
    reserve, target = "POST /reservations", "Shop/buy"
    (stuck, _) = queries("RDD104", "inv_1")

    async def prove(in_proof: LabInProof) -> None:
        answer = in_proof.outside.hold(reserve, at_most=20.0)
        buying = asyncio.create_task(in_proof.call(target, "tea"))
        await in_proof.until_effect(reserve)
        await until_status(in_proof, target, "suspended")
        await in_proof.deploy("do")
        assert not await in_proof.query(stuck)
        answer.set()
        await until_status(in_proof, target, "paused")
        assert len(await in_proof.query(stuck)) == 1
        assert await buying is None

    instead(lab, CHAPTER / "random-decides-a-step", prove, REPLAY_EVERY_AWAIT)


def test_buyer_who_has_only_the_input_goes_on_on_the_fix(lab: Lab, tmp_path: Path) -> None:
    """RDD104: it hasn't called yet when the fix is registered, and meets no mismatch there."""
    slug, target = "determinism/random-decides-a-step", "Shop/buy"
    changed(tmp_path, f"{slug}/do")
    asks = ("    number = ", '    httpx.get(f"{API_URL}/stock").raise_for_status()\n    number = ')
    snippet = changed(tmp_path, f"{slug}/dont", asks)

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /stock", times=9)
        await in_proof.call(f"{target}/send", "tea")
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target) == 200
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / slug, prove, snippet=snippet).trace
    assert trace.effect_counts() == {"POST /reservations": 1}
    assert {failure.code for failure in trace.failures()} == {"RT0007"}


@pytest.mark.parametrize(("variant", "reserved"), [("dont", 3), ("do", 1)])
def test_refused_charge_repeats_what_shares_its_step(lab: Lab, variant: str, reserved: int) -> None:
    """RDD118: no worker dies."""
    rule = CHAPTER / "one-giant-step"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /charges", times=2)
        assert await in_proof.call("Orders/fulfil", "order-1") == "charge-1"

    counts = instead(lab, rule, prove, PLAIN, rule / f"{variant}.py").trace.effect_counts()
    assert counts == {"POST /reservations": reserved, "POST /labels": reserved, "POST /charges": 1}


@pytest.mark.parametrize(("successor", "reserved"), [("dont", 3), ("keyed", 2)])
def test_giant_step_under_way_repeats_less_with_a_key_for_each(
    lab: Lab, tmp_path: Path, successor: str, reserved: int
) -> None:
    """RDD118: the keys come in place, with the second attempt; the third one repeats nothing."""
    keys = [
        (f'post("{path}", order)', f'post("{path}", order, key)')
        for path in ("reservations", "labels")
    ]
    changed(tmp_path, "determinism/one-giant-step/dont", *keys).rename(tmp_path / "keyed.py")
    dont = changed(tmp_path, "determinism/one-giant-step/dont")
    stimulus = dataclasses.replace(crash_after_effect("POST /charges"), successor=successor)

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /charges", times=1, after=1)
        assert await in_proof.call("Orders/fulfil", "order-1") == "charge-1"

    trace = instead(lab, CHAPTER / "one-giant-step", prove, stimulus, dont).trace
    assert trace.effect_counts()["POST /reservations"] == reserved


def drawing(place: str) -> tuple[str, str]:
    """A change of RDD118's snippets: two more keys are drawn, `before` the charge's or `after` it."""
    first = "    key = str(ctx.uuid())\n"
    others = "    stock, printer = str(ctx.uuid()), str(ctx.uuid())\n"
    return first, others + first if place == "before" else first + others


@pytest.mark.parametrize(("place", "charges"), [("before", 2), ("after", 1)])
def test_keys_of_the_other_requests_are_drawn_after_that_of_the_charge(
    lab: Lab, tmp_path: Path, place: str, charges: int
) -> None:
    """RDD118: in place, drawn before it, they change it, and no error says so."""
    rule = "determinism/one-giant-step"
    keys = [
        (f'post("{path}", order)', f'post("{path}", order, {key})')
        for path, key in (("reservations", "stock"), ("labels", "printer"))
    ]
    changed(tmp_path, f"{rule}/dont", drawing(place), *keys).rename(tmp_path / "keyed.py")
    dont = changed(tmp_path, f"{rule}/dont")
    stimulus = dataclasses.replace(crash_after_effect("POST /charges"), successor="keyed")

    trace = instead(lab, SNIPPETS / rule, load(SNIPPETS / rule).prove, stimulus, dont).trace
    assert trace.effect_counts() == {
        "POST /reservations": 2,
        "POST /labels": 2,
        "POST /charges": charges,
    }
    assert "RT0016" not in {failure.code for failure in trace.failures()}


@pytest.mark.parametrize(("place", "charges"), [("before", 2), ("after", 1)])
def test_keys_of_the_fix_are_drawn_after_that_of_the_charge_on_lambda(
    lab: Lab, tmp_path: Path, place: str, charges: int
) -> None:
    """RDD118: what is cut off there has only its input in the journal, and goes on at the new URL."""
    rule = "determinism/one-giant-step"
    keys = [
        (f'path="{path}", order=order', f'path="{path}", order=order, key={key}')
        for path, key in (("reservations", "stock"), ("labels", "printer"))
    ]
    changed(tmp_path, f"{rule}/do", drawing(place), *keys)
    dont = changed(tmp_path, f"{rule}/dont", as_on_lambda("orders"))
    killed = dataclasses.replace(crash_after_effect("POST /charges"), request_response=True)

    async def prove(in_proof: LabInProof) -> None:
        receive = in_proof.outside.on_received

        async def register_first(received: Received) -> None:
            if received.effect == "POST /charges":
                in_proof.outside.on_received = receive
                await in_proof.deploy("do")
            await receive(received)

        in_proof.outside.on_received = register_first
        await in_proof.call("Orders/fulfil", "order-1")

    trace = instead(lab, SNIPPETS / rule, prove, killed, dont).trace
    assert trace.effect_counts()["POST /charges"] == charges
    steps = [entry.name for entry in trace.invocations[0].journal if entry.type == "Command: Run"]
    assert steps == ["reserve", "print label", "charge"]


def test_cancel_between_the_steps_leaves_those_before_it_done(lab: Lab) -> None:
    """RDD118: reserved and labelled, and never charged."""
    rule = CHAPTER / "one-giant-step"

    async def prove(in_proof: LabInProof) -> None:
        printed = in_proof.outside.hold("POST /labels", at_most=20.0)
        fulfilling = asyncio.create_task(in_proof.call("Orders/fulfil", "order-1"))
        await in_proof.until_effect("POST /labels")
        assert await in_proof.operate("cancel", "Orders/fulfil") == 202
        assert (await fulfilling)["message"] == "cancelled"
        printed.set()

    trace = instead(lab, rule, prove, PLAIN, rule / "do.py").trace
    assert trace.effect_counts() == {"POST /reservations": 1, "POST /labels": 1}


def test_price_that_is_lost_after_the_charge_is_answered_with_nothing(lab: Lab) -> None:
    """RDD113: no charge of 0 tells of it; while it is under way, the page's query finds it."""
    rule, found = load(CHAPTER / "closure-written-in-run"), []

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/tea"] = {"cents": 4200}
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        paying = asyncio.create_task(in_proof.call("Checkout/pay", "tea"))
        await in_proof.until_effect("POST /charges")
        await pause_at_work(in_proof, "Checkout/pay")
        charged.set()
        await until_status(in_proof, "Checkout/pay", "paused")
        found.extend(await in_proof.query(queries("RDD113")[0]))
        assert await in_proof.operate("resume", "Checkout/pay") == 200
        await until_status(in_proof, "Checkout/pay", "completed")
        await paying

    trace = instead(lab, rule.folder, prove, PLAIN).trace
    assert [row["status"] for row in found] == ["paused"]
    assert trace.invocations[0].result == 0
    charges = [each.body for each in trace.effects if each.effect == "POST /charges"]
    assert charges == [{"cents": 4200}]
