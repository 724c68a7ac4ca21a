"""The page Prompts: its answers on a real server, replayed and attacked; its words against rules and SDK."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import runpy
import struct
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import restate

from restate_guide import catalogue
from restate_guide.catalogue import ROOT
from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAYS,
    Result,
    Stimulus,
    crash_after_effect,
    crash_after_step,
)
from restate_guide.lab import Lab as LabInProof
from tests.bare import run
from tests.conftest import Lab
from tests.fixes import SNIPPETS, changed, until_status

FOLDER = ROOT / "snippets" / "prompts"
Prove = Callable[[LabInProof], Coroutine[None, None, None]]

server = pytest.mark.server
replayed = pytest.mark.parametrize("stimulus", [PLAIN, *REPLAYS], ids=lambda s: s.mode)
"""A late replay begins when the first call is about to be answered: those of a test come to one then."""


def answers(result: Result) -> list[Any]:
    return [call.answer for call in result.trace.calls]


def statuses(result: Result) -> list[int | None]:
    return [call.status for call in result.trace.calls]


def calling(target: str, body: Any = None) -> Prove:
    async def prove(lab: LabInProof) -> None:
        await lab.call(target, body)
        await lab.until_all_completed()

    return prove


# P1: shipments.py


@server
@pytest.mark.parametrize(
    "stimulus",
    [PLAIN, *REPLAYS, crash_after_effect("POST /pickups")],
    ids=lambda s: s.mode,
)
def test_a_shipment_is_initiated_once_and_logged_once(lab: Lab, stimulus: Stimulus) -> None:
    result = run(lab, FOLDER / "shipments.py", calling("Shipments/initiate", "Graz"), stimulus)
    assert answers(result) == ["pickup-1"]
    assert result.trace.effect_counts() == {"POST /pickups": 1}
    logged = result.trace.line_counts()
    assert logged["a parcel for Graz"] == 1
    killed_behind_it = stimulus is LATE_REPLAY
    assert logged["it goes as pickup-1"] == (2 if killed_behind_it else 1)


@server
def test_an_address_that_is_none_is_answered_at_once(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        lab.outside.fail("POST /pickups", times=1, status=422)
        await lab.call("Shipments/initiate", "Nowhere")

    result = run(lab, FOLDER / "shipments.py", prove)
    assert statuses(result) == [422]
    assert result.trace.effect_counts() == {}


# P3: locks.py


@server
@replayed
def test_a_lock_that_is_released_is_the_next_owners(lab: Lab, stimulus: Stimulus) -> None:
    async def prove(lab: LabInProof) -> None:
        first = await lab.call("Locks/mill/acquire", "ann")
        await lab.call("Locks/mill/acquire", "bea")
        await lab.call("Locks/mill/release", first)
        await lab.call("Locks/mill/acquire", "bea")
        await lab.call("Locks/mill/release", first)
        await lab.call("Locks/mill/owner")

    result = run(lab, FOLDER / "locks.py", prove, stimulus)
    _, refused, released, _, again, owner = answers(result)
    assert refused["message"] == "locked by ann"
    assert (released, again) == (True, False), "a lease ends itself, never the next one"
    assert owner == "bea"
    assert statuses(result) == [200, 409, 200, 200, 200, 200]


@server
@replayed
def test_a_lock_ends_by_itself_and_holds_no_key(
    lab: Lab, tmp_path: Path, stimulus: Stimulus
) -> None:
    async def prove(lab: LabInProof) -> None:
        await lab.call("Locks/mill/acquire", "ann")
        await lab.until_all_completed()
        await lab.call("Locks/mill/owner")

    quick = ("timedelta(minutes=5)", "timedelta(seconds=0.1)")
    result = run(lab, changed(tmp_path, "prompts/locks", quick), prove, stimulus)
    assert answers(result)[1:] == [""]
    assert result.trace.state == ()


# P4: readings.py

WIRE = struct.Struct("!If")


@server
@replayed
def test_a_reading_goes_over_the_wire_in_eight_bytes(lab: Lab, stimulus: Stimulus) -> None:
    got = []

    async def prove(lab: LabInProof) -> None:
        if stimulus is not LATE_REPLAY:
            await lab.call("Meters/cellar/calibrate", 0.5)
        for content in (WIRE.pack(7, 20.25), b"seven"):
            kind = {"content-type": "application/octet-stream"}
            ingress = lab.server.ingress
            got.append(await ingress.post("/Meters/cellar/correct", content=content, headers=kind))
        await lab.until_all_completed()

    run(lab, FOLDER / "readings.py", prove, stimulus)
    read, refused = got
    assert read.headers["content-type"] == "application/octet-stream"
    assert WIRE.unpack(read.content) == (7, 20.25 if stimulus is LATE_REPLAY else 20.75)
    assert refused.status_code == 500, "final, and not to be told from a fault of the handler"
    assert "Unable to parse an input argument" in refused.text


# P5: batches.py

BATCH = {
    "tasks": {
        name: {"owner": owner, "minutes": minutes}
        for name, owner, minutes in [
            ("saw", "cleo", 5), ("glue", "ann", 3), ("paint", "bea", 8), ("pack", "dan", 1),
            ("load", "eve", 2), ("sweep", "ann", 4),
        ]
    }
}  # fmt: skip


@server
@pytest.mark.parametrize(
    "stimulus",
    [PLAIN, *REPLAYS, crash_after_step("tell eve")],
    ids=lambda s: s.mode,
)
def test_a_batch_is_done_in_an_order_that_all_processes_agree_on(
    lab: Lab, stimulus: Stimulus
) -> None:
    result = run(lab, FOLDER / "batches.py", calling("Batch/monday/run", BATCH), stimulus)
    (done,) = answers(result)
    assert list(done) == list(BATCH["tasks"])
    assert done["saw"] == "5 minutes for cleo"
    owners = ["ann", "bea", "cleo", "dan", "eve"]
    assert result.trace.effect_counts() == {f"PUT /told/{owner}": 1 for owner in owners}
    assert not any(failure.code == "RT0016" for failure in result.trace.failures())


@server
def test_nobody_is_told_of_a_batch_that_failed(lab: Lab, tmp_path: Path) -> None:
    done = '    return f"{task.minutes} minutes for {task.owner}"\n'
    refused = '    if task.owner == "bea":\n        raise restate.TerminalError("no paint", 409)\n'
    snippet = changed(tmp_path, "prompts/batches", (done, refused + done))
    result = run(lab, snippet, calling("Batch/monday/run", BATCH))
    assert statuses(result) == [409]
    assert result.trace.effect_counts() == {}


# R1: fulfilment.py

KEPT = {"PUT /reservations/order-1": 1, "PUT /charges/order-1": 1, "PUT /mails/order-1": 1}


@server
@replayed
def test_an_order_is_fulfilled(lab: Lab, stimulus: Stimulus) -> None:
    result = run(lab, FOLDER / "fulfilment.py", calling("Fulfilment/order-1/run"), stimulus)
    assert answers(result) == ["order-1 is paid"]
    assert result.trace.effect_counts() == KEPT


@server
@pytest.mark.parametrize(
    "stimulus",
    [PLAIN, *REPLAYS, *(crash_after_step(f"undo {what}") for what in ("charges", "reservations"))],
    ids=lambda s: s.title.replace(" ", "-"),
)
def test_an_order_that_is_not_paid_is_undone_in_reverse(lab: Lab, stimulus: Stimulus) -> None:
    async def prove(lab: LabInProof) -> None:
        lab.outside.fail("PUT /charges/order-1", times=1, status=402)
        await lab.call("Fulfilment/order-1/run")

    result = run(lab, FOLDER / "fulfilment.py", prove, stimulus)
    assert statuses(result) == [409]
    assert list(result.trace.effect_counts().items()) == [
        ("PUT /reservations/order-1", 1),
        ("DELETE /charges/order-1", 1),
        ("DELETE /reservations/order-1", 1),
    ]


MADE, UNDONE = "PUT /charges/order-1", "DELETE /charges/order-1"
LAST = "DELETE /reservations/order-1"
WAITS = "            await ended(undoing)\n"


@server
@pytest.mark.parametrize(
    ("slow", "left_out", "undone"),
    [(MADE, "", [UNDONE, LAST]), (UNDONE, "", [UNDONE, LAST]), (UNDONE, WAITS, [UNDONE])],
    ids=["made", "undone", "undone and not waited for"],
)
def test_an_order_that_is_cancelled_is_undone_whole_if_each_undoing_is_waited_for(
    lab: Lab, tmp_path: Path, slow: str, left_out: str, undone: list[str]
) -> None:
    """While the charge is made, or while it is undone after a refusal: else the seat stays reserved."""

    async def prove(lab: LabInProof) -> None:
        if slow.startswith("DELETE"):
            lab.outside.fail("PUT /charges/order-1", times=1, status=402)
        held = lab.outside.hold(slow, at_most=20.0)
        fulfilling = asyncio.create_task(lab.call("Fulfilment/order-1/run"))
        await lab.until_effect(slow)
        await lab.operate("cancel", "Fulfilment/order-1/run")
        await lab.until_row("select id from sys_journal where entry_type = 'Notification: Signal'")
        if left_out:
            await until_status(lab, "Fulfilment/order-1/run", "completed")
        else:  # time enough for what comes next to overtake it
            await lab.until_any(lab.until_effect(LAST), asyncio.sleep(0.5))
        assert lab.outside.ledger[-1].effect == slow
        held.set()
        await fulfilling

    left = [(left_out, "")] if left_out else []
    result = run(lab, changed(tmp_path, "prompts/fulfilment", *left), prove)
    assert statuses(result) == [409]
    assert [received.effect for received in result.trace.effects] == [
        "PUT /reservations/order-1",
        "PUT /charges/order-1",
        *undone,
    ]


@server
def test_what_never_happened_needs_no_undoing(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        lab.outside.fail("PUT /charges/order-1", times=1, status=402)
        lab.outside.fail("DELETE /charges/order-1", times=1, status=404)
        await lab.call("Fulfilment/order-1/run")

    result = run(lab, FOLDER / "fulfilment.py", prove)
    assert statuses(result) == [409]
    assert result.trace.failures() == []
    kept = {"PUT /reservations/order-1": 1, "DELETE /reservations/order-1": 1}
    assert result.trace.effect_counts() == kept


@server
def test_a_mail_that_is_refused_undoes_no_order(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        lab.outside.fail("PUT /mails/order-1", times=1, status=409)
        await lab.call("Fulfilment/order-1/run")
        await lab.until_all_completed()

    result = run(lab, FOLDER / "fulfilment.py", prove)
    assert answers(result) == ["order-1 is paid"]
    assert result.trace.effect_counts() == {k: n for k, n in KEPT.items() if "mails" not in k}


# C1: checkout.py


@server
@pytest.mark.parametrize("busy", ["time.sleep(1.0)", "await asyncio.sleep(1.0)"])
def test_a_callback_that_is_journaled_before_the_limit(lab: Lab, tmp_path: Path, busy: str) -> None:
    """The worker is killed all the same: it has begun to wait when the callback comes to it, or is there.

    What it has sent by then, the limit, still goes out to the server.
    """
    waits = "    match await restate.select("
    modules = ("import os\n", "import asyncio\nimport os\nimport time\n")
    snippet = changed(tmp_path, "prompts/checkout", (waits, f"    {busy}\n{waits}"), modules)

    async def prove(lab: LabInProof) -> None:
        paying = asyncio.create_task(lab.call("Checkout/pay", "order-1"))
        await lab.until_row("select id from sys_journal where entry_type = 'Notification: Run'")
        await lab.resolve_awakeable(lab.outside.ledger[0].body["callback"], "receipt-7")
        await paying

    result = run(lab, snippet, prove, LATE_REPLAY)
    assert answers(result) == ["paid: receipt-7"]
    killed, replayed = result.trace.invocations[0].attempts
    assert (killed.ends, replayed.known_entries) == ("killed", 5)


@server
@replayed
def test_a_payment_is_called_back(lab: Lab, stimulus: Stimulus) -> None:
    async def prove(lab: LabInProof) -> None:
        paying = asyncio.create_task(lab.call("Checkout/pay", "order-1"))
        await lab.until_row("select id from sys_journal where entry_type = 'Notification: Run'")
        if stimulus is not LATE_REPLAY:
            await lab.call("Orders/order-1/mark", "looked at")
            await lab.call("Orders/order-1/status")
        await lab.resolve_awakeable(lab.outside.ledger[0].body["callback"], "receipt-7")
        await paying

    result = run(lab, FOLDER / "checkout.py", prove, stimulus)
    paid, *marked = answers(result)
    assert paid == "paid: receipt-7"
    assert marked == ([] if stimulus is LATE_REPLAY else ["looked at", "looked at"]), (
        "its key was free meanwhile"
    )
    assert [state.value for state in result.trace.state] == ["paid: receipt-7"]
    assert list(result.trace.effect_counts().values()) == [1]


@server
@replayed
def test_a_payment_that_takes_too_long_is_withdrawn(
    lab: Lab, tmp_path: Path, stimulus: Stimulus
) -> None:
    async def prove(lab: LabInProof) -> None:
        await lab.call("Checkout/pay", "order-1")
        await lab.resolve_awakeable(lab.outside.ledger[0].body["callback"], "receipt-7")

    quick = ("timedelta(minutes=15)", "timedelta(seconds=0.3)")
    result = run(lab, changed(tmp_path, "prompts/checkout", quick), prove, stimulus)
    assert answers(result) == ["not paid"]
    assert [state.value for state in result.trace.state] == ["not paid"]
    asked, withdrawn = result.trace.effect_counts().items()
    assert asked[1] == withdrawn[1] == 1
    assert withdrawn[0] == asked[0].replace("PUT", "DELETE")


@server
def test_a_payment_that_is_gone_needs_no_withdrawal(lab: Lab, tmp_path: Path) -> None:
    """As an attempt finds it that comes after one that died behind its DELETE."""

    async def prove(lab: LabInProof) -> None:
        paying = asyncio.create_task(lab.call("Checkout/pay", "order-1"))
        await lab.until_result("Run ask")
        callback = lab.outside.ledger[0].body["callback"]
        lab.outside.fail(f"DELETE /payments/{callback}", times=1, status=404)
        await paying

    quick = ("timedelta(minutes=15)", "timedelta(seconds=2)")  # enough to tell the outside
    result = run(lab, changed(tmp_path, "prompts/checkout", quick), prove)
    assert answers(result) == ["not paid"]
    assert result.trace.failures() == []


# C3: trips.py

PRICES = {"GET /flights/Graz": 90, "GET /hotels/Graz": 120, "GET /cars/Graz": 40}


@server
@replayed
def test_a_trip_is_priced_by_three_at_a_time(lab: Lab, stimulus: Stimulus) -> None:
    async def prove(lab: LabInProof) -> None:
        lab.outside.answers.update(PRICES)
        held = [lab.outside.hold(effect, at_most=20.0) for effect in PRICES]
        asking = asyncio.create_task(lab.call("Trips/total", "Graz"))
        for effect in PRICES:
            await lab.until_effect(effect)  # all three, before any is answered
        for each in held:
            each.set()
        await asking

    result = run(lab, FOLDER / "trips.py", prove, stimulus)
    assert answers(result) == [250]


# S3: retention.py


SOON = ("limit=ctx.sleep(WEEK)", "limit=ctx.sleep(timedelta(seconds=0.5))")


@server
@replayed
def test_an_order_without_an_address_ends_with_its_limit(
    lab: Lab, tmp_path: Path, stimulus: Stimulus
) -> None:
    """Nobody is told afterwards that an address was noted."""
    snippet = changed(tmp_path, "prompts/retention", SOON)

    async def prove(lab: LabInProof) -> None:
        await lab.call("Order/order-1/run")
        await lab.call("Order/order-1/send_to", "Graz")

    result = run(lab, snippet, prove, stimulus)
    assert [answer["message"] for answer in answers(result)] == [
        "no address came",
        "promise was already completed",
    ]
    assert statuses(result) == [408, 409]


@server
def test_an_address_that_comes_with_the_limit_counts(lab: Lab, tmp_path: Path) -> None:
    """Once the limit has won, and before the promise is taken: it is noted, and used."""
    late = (
        "        try:\n",
        "        await ctx.sleep(timedelta(seconds=1), name='late')\n        try:\n",
    )
    snippet = changed(tmp_path, "prompts/retention", SOON, late)

    async def prove(lab: LabInProof) -> None:
        running = asyncio.create_task(lab.call("Order/order-1/run"))
        await lab.until_row("select id from sys_journal where name = 'late'")
        await lab.call("Order/order-1/send_to", "Graz")
        await running

    result = run(lab, snippet, prove)
    assert sorted(answers(result)) == ["noted: Graz", "order-1 to Graz"]


@server
def test_an_address_can_be_sent_once(lab: Lab) -> None:
    """Before the order runs, as well: a promise waits for nobody."""

    async def prove(lab: LabInProof) -> None:
        for key, address in (("change-1", "Graz"), ("change-2", "Linz")):
            await lab.call("Order/order-1/send_to", address, idempotency_key=key)
        await lab.call("Order/order-1/run")

    result = run(lab, FOLDER / "retention.py", prove)
    assert statuses(result) == [200, 409, 200]
    assert answers(result)[2] == "order-1 to Graz"


@server
@replayed
def test_an_order_runs_once_in_a_week(lab: Lab, stimulus: Stimulus) -> None:
    kept: list[dict[str, Any]] = []

    async def prove(lab: LabInProof) -> None:
        running = asyncio.create_task(lab.call("Order/order-1/run"))
        await lab.until_row("select id from sys_invocation")
        for address in ("Graz", "Linz"):  # sent again with the same key: the first answer
            await lab.call("Order/order-1/send_to", address, idempotency_key="change-1")
        await running
        await lab.call("Order/order-1/run")
        kept.extend(
            await lab.query(
                "select target_handler_name, completion_retention from sys_invocation"
                " order by target_handler_name"
            )
        )

    result = run(lab, FOLDER / "retention.py", prove, stimulus)
    assert answers(result)[:3] == ["order-1 to Graz", "noted: Graz", "noted: Graz"]
    assert statuses(result) == [200, 200, 200, 409]
    assert kept == [
        {"target_handler_name": name, "completion_retention": "PT604800S"}
        for name in ("run", "send_to")
    ]


# A2: exports.py


@server
@replayed
def test_an_export_says_how_far_it_is(lab: Lab, stimulus: Stimulus) -> None:
    async def prove(lab: LabInProof) -> None:
        lab.outside.answers["GET /rows/ann"] = 12
        if stimulus is not LATE_REPLAY:
            await lab.call("Export/ann/status")
        uploaded = lab.outside.hold("PUT /files/ann", at_most=20.0)
        exporting = asyncio.create_task(lab.call("Export/ann/run"))
        await lab.until_effect("PUT /files/ann")
        if stimulus is not LATE_REPLAY:
            await lab.call("Export/ann/status")
        uploaded.set()
        await exporting
        await lab.call("Export/ann/status")

    result = run(lab, FOLDER / "exports.py", prove, stimulus)
    said = [answer for answer in answers(result) if answer != 12]
    phases = ["done"] if stimulus is LATE_REPLAY else ["not begun", "uploading", "done"]
    assert [status["phase"] for status in said] == phases
    assert said[-1]["rows"] == 12
    assert len(said) == len(answers(result)) - 1
    assert result.trace.effect_counts() == {"PUT /files/ann": 1}


# A3: reports.py


def by_command(ingress: str) -> str:
    command = [sys.executable, str(FOLDER / "reports.py"), "june"]
    env = {**os.environ, "INGRESS_URL": ingress}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    return done.stdout or done.stderr


def by_import(ingress: str) -> str:
    names = runpy.run_path(str(FOLDER / "reports.py"))
    names["main"].__globals__["INGRESS_URL"] = ingress
    with contextlib.redirect_stdout(io.StringIO()) as said:
        asyncio.run(names["main"]("june"))
    return said.getvalue()


@server
@replayed
def test_a_report_is_begun_from_outside_and_not_waited_for(lab: Lab, stimulus: Stimulus) -> None:
    said: list[str] = []

    async def prove(lab: LabInProof) -> None:
        written = lab.outside.hold("PUT /reports/june", at_most=20.0)
        ingress = lab._workers._plan.env["INGRESS_URL"]
        for begin in (by_command if stimulus is PLAIN else by_import, by_import):
            said.append(await asyncio.to_thread(begin, ingress))
        await lab.until_effect("PUT /reports/june")
        written.set()
        await lab.until_all_completed()

    result = run(lab, FOLDER / "reports.py", prove, stimulus)
    first, again = said
    assert re.fullmatch(r"june is under way as inv_\w+\n", first)
    assert again == first, "the workflow of a key is begun once"
    assert result.trace.effect_counts() == {"PUT /reports/june": 1}


# The page

PAGE = (ROOT / "docs" / "prompts.md").read_text()
LISTED: dict[str, str] = json.loads((ROOT / "tests" / "go_guide.json").read_text())["prompt names"]
"""Made from the original once: the ids of its prompts, and what each is called there."""

PREAMBLE = re.search(r"^```{ \.text \.prompt }\n(.*?)^```", PAGE, re.M | re.S)
SECTIONS = dict(re.findall(r"^## ([A-Z]\d) .*?\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
TESTS = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
PAIRS = {
    f"{rule.folder.relative_to(ROOT)}/{variant}.py"
    for rule in catalogue.rules()
    for variant in ("do", "dont")
}


def is_run(path: Path) -> bool:
    """Whether a test names the file, or one beside it that imports it."""
    users = [p for p in path.parent.glob("*.py") if f"from {path.stem} import" in p.read_text()]
    names = {file.with_suffix("").relative_to(SNIPPETS) for file in (path, *users)}
    return any(f'"{name.name}.py"' in TESTS or f'"{name}"' in TESTS for name in names)


def test_the_page_has_the_prompts_of_the_original_in_their_order() -> None:
    assert list(SECTIONS) == list(LISTED)


@pytest.mark.parametrize("name", LISTED)
def test_each_prompt_has_a_task_rules_and_an_answer_that_is_run(name: str) -> None:
    section = SECTIONS[name]
    assert re.search(r"^> \w", section, re.M), "a task"
    assert re.search(r"^Rules: \[\[RDD\d+\]\]", section, re.M)
    files = re.findall(r"\]\((snippets/[\w/-]+\.py)\)", section)
    assert files, "an answer"
    for file in files:
        path = ROOT / file
        assert path.is_file()
        assert file in PAIRS or is_run(path), file


def test_answers_about_identity_are_those_that_are_attacked() -> None:
    """The proofs of these rules forge a request and an identity, which the do refuses."""
    for name, answer in (("S1", "RDD310"), ("S2", "RDD601"), ("S5", "RDD601")):
        rule = catalogue.find(answer, catalogue.rules())
        assert rule.symptom == "served-unverified"
        assert f"]({rule.folder.relative_to(ROOT)}/do.py)" in SECTIONS[name]


def test_each_answer_that_belongs_to_no_rule_is_on_the_page() -> None:
    for path in FOLDER.glob("*.py"):
        assert f'--8<-- "snippets/prompts/{path.name}"' in PAGE
        assert f"](snippets/prompts/{path.name})" in PAGE


def test_the_preamble_names_rules_and_calls_that_are_there() -> None:
    assert PREAMBLE is not None
    ids = {rule.id for rule in catalogue.rules()}
    named = set(re.findall(r"RDD\d+", PREAMBLE[1]))
    assert named
    assert named <= ids
    for owner, called in re.findall(r"\b(ctx|restate)\.(\w+)", PREAMBLE[1]):
        there = restate.WorkflowContext if owner == "ctx" else restate
        assert hasattr(there, called), f"{owner}.{called}"
