"""What the pages of the chapter data tell operators to do, and what JSON does to which values."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections import Counter, defaultdict
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel
from restate.serde import DefaultSerde

from restate_guide.lab import (
    PLAIN,
    JournalMismatch,
    RetriedUntilPaused,
    Stimulus,
    crash_after_effect,
    crash_after_step,
    load,
)
from restate_guide.lab import Lab as LabInProof
from tests.bare import run
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

CHAPTER = SNIPPETS / "data"


@pytest.mark.server
def test_step_that_never_gets_through_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD801: one more courier is ordered."""

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, "Parcels/collect")
        await in_proof.until_all_completed()

    trace = afterwards(lab, CHAPTER / "result-not-serializable", fix).trace
    assert trace.effect_counts() == {"POST /pickups": 4}


@pytest.mark.server
def test_cancel_ends_a_step_that_never_gets_through(lab: Lab) -> None:
    """RDD801: and has it not executed once more."""
    target = "Parcels/collect"

    async def end(in_proof: LabInProof) -> None:
        assert await in_proof.operate("cancel", target) == 202
        await in_proof.until_all_completed()

    trace = afterwards(lab, CHAPTER / "result-not-serializable", end).trace
    assert trace.effect_counts() == {"POST /pickups": 3}


OPTIONAL = {
    "title": "Trip",
    "type": ["object", "null"],
    "properties": {
        "customer": {"title": "Customer", "type": "string"},
        "days": {"title": "Days", "type": "integer"},
    },
    "required": ["customer", "days"],
}
DAY = "    day: date\n"
BUILT = "return Pickup(day="
LABEL = ((DAY, f"{DAY}    label: bytes\n"), (BUILT, 'return Pickup(label=b"\\xff", day='))
RATE = ((DAY, f"{DAY}    rate: float\n"), (BUILT, 'return Pickup(rate=float("nan"), day='))
PIN = ((DAY, f"{DAY}    pin: SecretStr\n"), (BUILT, 'return Pickup(pin=SecretStr("1"), day='))
OPEN = (
    (DAY, f"{DAY}    note: Any\n"),
    (BUILT, "return Pickup(note=object(), day="),
    ("import date\n", "import date\nfrom typing import Any\n"),
)
BY_ROW = (
    ("-> Pickup:", "-> dict[tuple[int, int], str]:"),
    ("return Pickup(day=", "return {(1, 2): "),
    ('["day"])', '["day"]}'),
)
ALIAS = ((DAY, '    day: date = Field(alias="on")\n'), (BUILT, "return Pickup(on="))
LOST = "class Lost(BaseModel):\n    why: str\n\n\ndef order_courier("
UNION = (("def order_courier(", LOST), ("-> Pickup:", "-> Pickup | Lost:"))
BY_NAME = '    model_config = {"validate_by_name": True}\n'
BY_ALIAS = '    model_config = {"serialize_by_alias": True}\n'
BASE64 = '    model_config = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}\n'
STRINGS = '    model_config = {"ser_json_inf_nan": "strings"}\n'
NAMED = "class Pickup(BaseModel):\n"


@pytest.mark.server
@pytest.mark.parametrize(
    ("changes", "error", "ordered", "found"),
    [
        (LABEL, "invalid utf-8 sequence", 3, 1),
        (UNION, "Object of type Pickup is not JSON serializable", 3, 1),
        (OPEN, "Unable to serialize unknown type", 3, 1),
        (BY_ROW, "keys must be str, int, float, bool or None, not tuple", 3, 1),
        (ALIAS, "on\n  Field required", 1, 0),
        (RATE, "rate\n  Input should be a valid number", 1, 0),
    ],
    ids=["bytes", "union", "any", "keys", "alias", "nan"],
)
def test_step_with_a_model_acts_and_does_not_get_through(
    lab: Lab,
    tmp_path: Path,
    changes: tuple[tuple[str, str], ...],
    error: str,
    ordered: int,
    found: int,
) -> None:
    """RDD801: these aren't written, what has an alias and `nan` aren't read; the query finds the first."""
    proof = load(CHAPTER / "result-not-serializable")
    imported = ("import BaseModel", "import BaseModel, Field")
    step = changed(tmp_path, "data/result-not-serializable/do", imported, *changes)

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        assert len(await in_proof.query(queries(proof.rule)[0])) == found

    result = instead(lab, proof.folder, prove, PLAIN, step)
    assert isinstance(result.outcome, RetriedUntilPaused), result.outcome
    assert error in result.outcome.error
    assert result.trace.effect_counts() == {"POST /pickups": ordered}


@pytest.mark.server
@pytest.mark.parametrize(
    ("changes", "config", "got"),
    [
        (LABEL, BASE64, ", label=b'\\xff'"),
        (ALIAS, BY_NAME, ""),
        (RATE, STRINGS, ", rate=nan"),
        (PIN, "", ", pin=SecretStr('**********')"),
    ],
    ids=["bytes", "alias", "nan", "secret"],
)
def test_step_with_a_model_that_is_configured_gets_through(
    lab: Lab, tmp_path: Path, changes: tuple[tuple[str, str], ...], config: str, got: str
) -> None:
    """RDD801: `ser_json_bytes` and `val_json_bytes`, `validate_by_name`; a secret comes back as stars."""
    rule = CHAPTER / "result-not-serializable"
    imported = ("import BaseModel", "import BaseModel, Field, SecretStr")
    told = ('f"on {pickup.day:%A}"', "repr(pickup)")
    configured = (NAMED, NAMED + config)
    names = (imported, told, configured, *changes)
    step = changed(tmp_path, "data/result-not-serializable/do", *names)
    trace = instead(lab, rule, load(rule).prove, PLAIN, step).trace
    assert trace.calls[0].answer == f"Pickup(day=datetime.date(2030, 5, 4){got})"
    assert trace.effect_counts() == {"POST /pickups": 1}


@pytest.mark.server
def test_step_that_was_not_read_for_an_alias_is_not_executed_again(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD801: its result is in the journal, by the field's name."""
    imported = ("import BaseModel", "import BaseModel, Field")
    step = "data/result-not-serializable/do"
    changed(tmp_path, step, imported, (NAMED, NAMED + BY_NAME), *ALIAS).rename(
        tmp_path / "fixed.py"
    )
    stuck = changed(tmp_path, step, imported, *ALIAS)

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["POST /pickups"] = {"day": "2030-05-04"}
        await in_proof.call("Parcels/collect/send", "p-1")
        await resume_on(in_proof, "Parcels/collect", "fixed")

    trace = run(lab, stuck, prove).trace
    assert trace.effect_counts() == {"POST /pickups": 1}
    assert trace.invocations[0].result == "on Saturday"


@pytest.mark.server
@pytest.mark.parametrize("on", ["strings", "none"])
def test_a_nan_is_null_in_the_journal_for_good(lab: Lab, tmp_path: Path, on: str) -> None:
    """RDD801: only a field that may be `None` reads it; no courier is ordered again."""
    step, target = "data/result-not-serializable/do", "Parcels/collect"
    maybe = (RATE[0][0], RATE[0][1].replace("float", "float | None")), RATE[1]
    configured = ((NAMED, NAMED + STRINGS), *RATE)
    fixed = changed(tmp_path, step, *(configured if on == "strings" else maybe))
    fixed.rename(tmp_path / "fixed.py")
    stuck = changed(tmp_path, step, *RATE)

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["POST /pickups"] = {"day": "2030-05-04"}
        await in_proof.call(f"{target}/send", "p-1")
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("fixed")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        if on == "none":
            await in_proof.until_all_completed()
            return
        pauses = "select id from sys_journal_events where event_type = 'Paused'"
        await in_proof.until_row(f"{pauses} group by id having count(*) = 2")
        await until_status(in_proof, target, "paused")

    trace = run(lab, stuck, prove).trace
    assert trace.effect_counts() == {"POST /pickups": 1}
    assert trace.invocations[0].result == ("on Saturday" if on == "none" else None)


@pytest.mark.server
def test_fixed_code_in_place_does_not_get_through(lab: Lab) -> None:
    """RDD802."""
    outcome = in_place(lab, CHAPTER / "json-changes-the-type", crash_after_step("reduced")).outcome
    assert outcome.kind == "retried-until-paused", outcome


@pytest.mark.server
def test_input_that_the_model_refuses_meets_a_mismatch_in_place(lab: Lab) -> None:
    """RDD803: each attempt parses the input anew, and the journal goes on where this one fails."""

    async def in_words(in_proof: LabInProof) -> None:
        await in_proof.call("Insurance/insure", {"customer": "ann", "days": "three"})

    fixed = dataclasses.replace(crash_after_step("sign"), successor="do")
    outcome = instead(lab, CHAPTER / "no-schema-at-the-border", in_words, fixed).outcome
    assert outcome == JournalMismatch(command=1, was="run", now="handler return")


@pytest.mark.server
def test_input_that_the_model_takes_goes_on_in_place(lab: Lab) -> None:
    """RDD803: no command changes; what is answered is no longer what was signed."""
    trace = in_place(lab, CHAPTER / "no-schema-at-the-border", crash_after_step("sign")).trace
    assert [(call.status, call.answer["price"]) for call in trace.calls] == [(200, 27)]
    assert trace.effect_counts() == {"POST /contracts": 1}
    assert trace.effects[0].body == {"customer": "ann", "price": "333333333"}


@pytest.mark.server
@pytest.mark.parametrize(
    ("successor", "crash", "notes"),
    [
        ("do", crash_after_step("note"), 1),
        ("dont", crash_after_step("note"), 1),
        ("do", crash_after_effect("POST /notes"), 2),
    ],
    ids=["do", "dont", "in its step"],
)
def test_who_is_before_the_futures_goes_on_in_place(
    lab: Lab, tmp_path: Path, successor: str, crash: Stimulus, notes: int
) -> None:
    """RDD804: the line with the mistake has written nothing; a step that is cut off is repeated."""
    line = "    started = ["
    for variant in ("do", "dont"):
        note = 'lambda: httpx.post(f"{API_URL}/notes").text'
        step = f'    await ctx.run_typed("note", {note})\n'
        changed(tmp_path, f"data/foreign-awaitable/{variant}", (line, step + line))
    proof = load(CHAPTER / "foreign-awaitable")
    fixed = dataclasses.replace(crash, successor=successor)
    trace = lab.run(lab.laboratory.result(proof, tmp_path / "dont.py", fixed)).trace
    assert [(call.status, call.answer == 800) for call in trace.calls] == [
        (200, True) if successor == "do" else (500, False)
    ]
    assert trace.effect_counts() == {"POST /notes": notes}


@pytest.mark.server
def test_a_step_may_gather_requests_of_its_own(lab: Lab, tmp_path: Path) -> None:
    """RDD804: by asyncio, side by side; its journal has one result."""
    slug = "data/foreign-awaitable"
    handler = (SNIPPETS / f"{slug}/do.py").read_text().partition("async def ")[2]
    both = """best_price(ctx: restate.Context) -> int:
    return await ctx.run_typed("ask", ask_all)


async def ask_all() -> int:
    async with httpx.AsyncClient(base_url=f"{API_URL}/prices/", timeout=30) as client:
        answers = await asyncio.gather(*map(client.get, SUPPLIERS))
    return min(answer.json() for answer in answers)"""
    changes = (
        (handler.partition("\n\n\napp")[0], both),
        ("import os\n", "import asyncio\nimport os\n"),
    )
    snippet = changed(tmp_path, f"{slug}/do", *changes)
    entries: list[Any] = []

    async def ask(in_proof: LabInProof) -> None:
        prices = {"GET /prices/north": 900, "GET /prices/south": 800}
        in_proof.outside.answers |= prices
        answered = [in_proof.outside.hold(each, at_most=20.0) for each in prices]
        asking = asyncio.create_task(in_proof.call("Orders/best_price"))
        await asyncio.gather(*(in_proof.until_effect(each) for each in prices))
        for event in answered:
            event.set()
        assert await asking == 800
        entries.extend(await in_proof.query("select entry_type from sys_journal order by index"))

    instead(lab, SNIPPETS / slug, ask, PLAIN, snippet)
    types = [row["entry_type"] for row in entries]
    assert types == ["Command: Input", "Command: Run", "Notification: Run", "Command: Output"]


@pytest.mark.server
def test_the_same_idempotency_key_is_answered_the_old_failure(lab: Lab, tmp_path: Path) -> None:
    """RDD804: also on the fixed code; another key is served. The page's query finds the call, too."""
    app = "app = restate.app([orders])"
    caller = f"""@orders.handler()
async def offer(ctx: restate.Context) -> int:
    return await ctx.service_call(best_price, arg=None)


{app}"""
    dont, _ = (
        changed(tmp_path, f"data/foreign-awaitable/{variant}", (app, caller))
        for variant in ("dont", "do")
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers |= {"GET /prices/north": 900, "GET /prices/south": 800}
        await in_proof.call("Orders/offer", idempotency_key="first")
        found = await in_proof.query(queries("RDD804")[0])
        callers = {row["target"]: row.get("invoked_by_id") for row in found}
        offer = in_proof.invocation_ids[0]
        assert callers == {"Orders/offer": None, "Orders/best_price": offer}
        await in_proof.deploy("do")
        await in_proof.call("Orders/offer", idempotency_key="first")
        await in_proof.call("Orders/offer", idempotency_key="second")

    calls = instead(lab, CHAPTER / "foreign-awaitable", prove, snippet=dont).trace.calls
    assert [call.status for call in calls] == [500, 500, 200]
    assert calls[1].answer == calls[0].answer
    assert calls[2].answer == 800


@pytest.mark.server
def test_a_workflow_that_failed_runs_again_under_another_key_of_its_own(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD804: its own is taken, and it takes no idempotency key. What was approved has to be again."""
    promise = changed(tmp_path, "data/foreign-awaitable/promise")
    changed(tmp_path, "data/foreign-awaitable/value")
    waits = "select key from sys_promise where service_key = 'i-2' and completed = false"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Invoice/i-1/approve", "ann")
        await in_proof.call("Invoice/i-1/run")
        (failed,) = await in_proof.query(queries("RDD804")[0])
        assert failed["target"] == "Invoice/i-1/run"
        await in_proof.deploy("value")
        await in_proof.call("Invoice/i-1/run")
        await in_proof.call("Invoice/i-1/run", idempotency_key="second")
        await in_proof.call("Invoice/i-2/run/send")
        await in_proof.until_row(waits)
        await in_proof.call("Invoice/i-2/approve", "ann")
        await in_proof.until_no_row("select id from sys_invocation where status != 'completed'")

    trace = instead(lab, CHAPTER / "foreign-awaitable", prove, snippet=promise).trace
    assert [call.status for call in trace.calls] == [200, 500, 409, 400, 202, 200]
    assert "approved by ann" in [each.result for each in trace.invocations]


@pytest.mark.server
@pytest.mark.parametrize(
    "future",
    ["asyncio.get_running_loop().create_future()", "asyncio.ensure_future(asyncio.sleep(60))"],
)
def test_a_future_of_asyncios_is_refused_as_a_coroutine_is(
    lab: Lab, tmp_path: Path, future: str
) -> None:
    """RDD804: the description names both."""
    limit = changed(tmp_path, "data/foreign-awaitable/limit", ("asyncio.sleep(60)", future))
    proof = load(CHAPTER / "foreign-awaitable")

    async def ask(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/best_price")

    assert instead(lab, proof.folder, ask, snippet=limit).outcome == proof.symptom


@pytest.mark.server
def test_a_handler_that_catches_the_refusal_is_not_found(lab: Lab, tmp_path: Path) -> None:
    """RDD804: it goes on with less than it asked for."""
    line = "    await restate.gather(*started)  # type: ignore[arg-type]"
    caught = f"""    try:
    {line}
    except restate.TerminalError:
        return 1000"""
    dont = changed(tmp_path, "data/foreign-awaitable/dont", (line, caught))

    async def ask(in_proof: LabInProof) -> None:
        assert await in_proof.call("Orders/best_price") == 1000
        assert await in_proof.query(queries("RDD804")[0]) == []

    instead(lab, CHAPTER / "foreign-awaitable", ask, snippet=dont)


@pytest.mark.server
@pytest.mark.parametrize("written", ["number", "contractNumber"])
def test_an_alias_is_published_and_asked_for_and_not_answered(
    lab: Lab, tmp_path: Path, written: str
) -> None:
    """RDD803: unless the model is configured with `serialize_by_alias=True`."""
    number = '    number: str = Field(alias="contractNumber")\n'
    configured = BY_ALIAS if written == "contractNumber" else ""
    aliased = changed(
        tmp_path,
        "data/no-schema-at-the-border/do",
        ("import BaseModel", "import BaseModel, Field"),
        ("    days: int\n", '    days: int = Field(alias="dayCount")\n'),
        ("    number: str\n", configured + number),
        ("Contract(number=", "Contract(contractNumber="),
    )

    async def prove(in_proof: LabInProof) -> None:
        openapi = await in_proof.admin("GET", "/services/Insurance/openapi")
        schemas = openapi["components"]["schemas"]
        assert set(schemas["insureRequest"]["properties"]) == {"customer", "dayCount"}
        assert set(schemas["insureResponse"]["properties"]) == {"contractNumber", "price"}
        await in_proof.call("Insurance/insure", {"customer": "ann", "dayCount": "3"})
        await in_proof.call("Insurance/insure", {"customer": "ann", "days": "3"})

    taken, refused = run(lab, aliased, prove).trace.calls
    assert taken.answer == {written: "contract-1", "price": 27}
    assert refused.status == 500
    assert "dayCount\n  Field required" in refused.answer["message"]


@pytest.mark.server
@pytest.mark.parametrize("by_alias", [False, True])
def test_a_python_caller_is_refused_for_an_alias_or_can_not_read_the_answer(
    lab: Lab, tmp_path: Path, by_alias: bool
) -> None:
    """RDD803: unless the model is configured with `serialize_by_alias=True`."""
    app = "app = restate.app([insurance])\n"
    booking = """agency = restate.Service("Agency")


@agency.handler()
async def book(ctx: restate.Context, customer: str) -> int:
    trip = Trip(customer=customer, dayCount=3)
    return (await ctx.service_call(insure, arg=trip)).price


app = restate.app([insurance, agency])
"""
    days = '    days: int = Field(alias="dayCount")\n' + BY_ALIAS * by_alias
    number = '    number: str = Field(alias="contractNumber")\n' + BY_ALIAS * by_alias
    rule, fields = "data/no-schema-at-the-border", ("import BaseModel", "import BaseModel, Field")
    given = changed(tmp_path, f"{rule}/do", fields, ("    days: int\n", days), (app, booking))

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Agency/book", "ann")

    (called,) = run(lab, given, prove).trace.calls
    if by_alias:
        assert called.answer == 27
    else:
        assert called.status == 500
        assert "dayCount\n  Field required" in called.answer["message"]

    got = changed(
        tmp_path,
        f"{rule}/do",
        fields,
        ("    number: str\n", number),
        ("Contract(number=", "Contract(contractNumber="),
        (app, booking.replace("dayCount", "days")),
    )
    booked, signed = run(lab, got, prove).trace.invocations
    assert signed.status == "completed" and isinstance(signed.result, dict)
    assert booked.status == ("completed" if by_alias else "paused")


@pytest.mark.server
@pytest.mark.parametrize("changed_too", [False, True], ids=["as it was", "changed"])
def test_handlers_that_call_it_change_with_it(lab: Lab, tmp_path: Path, changed_too: bool) -> None:
    """RDD803: one that passes a dict is refused; one under way fits the changed code in no place."""
    rule = "data/no-schema-at-the-border"
    app = "app = restate.app([insurance])\n"
    booking = """agency = restate.Service("Agency")


@agency.handler()
async def book(ctx: restate.Context, customer: str) -> int:
    contract = await ctx.service_call(insure, arg={})
    await ctx.run_typed("note", "noted".upper)
    return contract{}


app = restate.app([insurance, agency])
"""
    as_dict = '{"customer": customer, "days": 3}'
    dont = changed(tmp_path, f"{rule}/dont", (app, booking.format(as_dict, '["price"]')))
    arg = "Trip(customer=customer, days=3)" if changed_too else as_dict
    do = changed(tmp_path, f"{rule}/do", (app, booking.format(arg, ".price")))

    async def book(in_proof: LabInProof) -> None:
        await in_proof.call("Agency/book", "ann")

    if changed_too:
        (call,) = instead(lab, SNIPPETS / rule, book, PLAIN, do).trace.calls
        assert (call.status, call.answer) == (200, 27)
        fixed = dataclasses.replace(crash_after_step("note"), successor="do")
        agency, *_ = instead(lab, SNIPPETS / rule, book, fixed, dont).trace.invocations
        assert agency.status == "paused"
        assert agency.failures[-1].code == "RT0016"
        assert '{"customer":"ann","days":3}' in agency.failures[-1].message
    else:
        (agency,) = instead(lab, SNIPPETS / rule, book, PLAIN, do).trace.invocations
        assert agency.status == "paused"
        assert "'dict' object has no attribute 'model_dump_json'" in agency.failures[-1].message


@pytest.mark.server
def test_a_delayed_message_that_the_model_refuses_fails_on_the_fixed_code(lab: Lab) -> None:
    """RDD803."""

    async def deploy(in_proof: LabInProof) -> None:
        sent = {"customer": "ann", "days": "three"}
        await in_proof.call("Insurance/insure/send?delay=1s", sent)
        await in_proof.deploy("do")
        await in_proof.until_all_completed()

    rule = CHAPTER / "no-schema-at-the-border"
    (message,) = instead(lab, rule, deploy, PLAIN).trace.invocations
    assert message.result["code"] == 500
    assert "Unable to parse an input argument" in message.result["failure"]


@pytest.mark.server
@pytest.mark.parametrize("before", ["backing-off", "paused", "a step"])
def test_what_has_only_its_input_goes_to_the_fixed_code(
    lab: Lab, tmp_path: Path, before: str
) -> None:
    """RDD803: by itself, or at a plain resume; what has begun a step stays on the old one."""
    rule, target = "data/no-schema-at-the-border", "Insurance/insure"
    attempts = 1 if before == "paused" else 9
    retry = f"initial_interval=timedelta(seconds=1), max_attempts={attempts}"
    changes = [
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        (
            '("Insurance")',
            f'("Insurance", invocation_retry_policy=restate.InvocationRetryPolicy({retry}))',
        ),
    ]
    if before == "a step":
        started = '    await ctx.run_typed("note", "noted".upper)\n    customer, price'
        changes.append(("    customer, price", started))
    dont = changed(tmp_path, f"{rule}/dont", *changes)
    changed(tmp_path, f"{rule}/do")
    bound: list[object] = []

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", {"customer": "ann"})
        await until_status(in_proof, target, before if before == "paused" else "backing-off")
        old = await deployment(in_proof, "Insurance")
        await in_proof.deploy("do")
        if before == "paused":
            assert await in_proof.operate("resume", target) == 200
        if before == "a step":
            await in_proof.until_row("select id from sys_invocation where retry_count > 1")
            row = "select pinned_deployment_id as at, last_attempt_deployment_id as last"
            (seen,) = await in_proof.query(f"{row} from sys_invocation")
            bound.append(seen == {"at": old, "last": old})
            assert await in_proof.operate("kill", target) == 200
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / rule, prove, PLAIN, dont).trace
    if before == "a step":
        assert bound == [True]
    else:
        assert trace.invocations[0].result["code"] == 500
        assert "days\n  Field required" in trace.invocations[0].result["failure"]


@pytest.mark.server
def test_the_server_refuses_an_empty_body_of_json(lab: Lab) -> None:
    """RDD803."""
    rule = CHAPTER / "no-schema-at-the-border"

    async def nothing(in_proof: LabInProof) -> None:
        await in_proof.call("Insurance/insure", headers={"content-type": "application/json"})

    (call,) = instead(lab, rule, nothing, PLAIN, rule / "do.py").trace.calls
    assert call.status == 400
    assert call.answer["source"] == "ingress"


@pytest.mark.server
def test_an_empty_body_is_not_refused(lab: Lab) -> None:
    """RDD803: what the handler then does with `None` fails again and again."""
    rule = CHAPTER / "no-schema-at-the-border"

    async def nothing(in_proof: LabInProof) -> None:
        await in_proof.call("Insurance/insure")

    outcome = instead(lab, rule, nothing, PLAIN, rule / "do.py").outcome
    refused = "AttributeError(\"'NoneType' object has no attribute 'customer'\")"
    assert outcome == RetriedUntilPaused(refused, attempts=3)


@pytest.mark.server
@pytest.mark.parametrize(
    ("annotation", "sent", "published", "got"),
    [
        ("str", {"customer": "ann"}, {"type": "string"}, "dict"),
        ("int", "three", {"type": "integer"}, "str"),
        ("list[Trip]", [{"customer": "ann", "days": 3}], {"type": "array", "items": True}, "dict"),
        ("Trip | Contract", {"customer": "ann", "days": 3}, {}, "dict"),
        ("Trip | None", {"customer": "ann", "days": "3"}, OPTIONAL, "Trip"),
    ],
)
def test_what_is_no_model_is_published_and_not_checked(
    lab: Lab, tmp_path: Path, annotation: str, sent: Any, published: dict[str, Any], got: str
) -> None:
    """RDD803: a text, a number, a list of models; a model that may be missing is one."""
    handler = (CHAPTER / "no-schema-at-the-border/do.py").read_text().partition("async def ")[2]
    telling = changed(
        tmp_path,
        "data/no-schema-at-the-border/do",
        (
            handler.partition("\n\n\napp")[0],
            f"insure(ctx: restate.Context, trip: {annotation}) -> str:\n"
            "    return type(trip[0] if isinstance(trip, list) else trip).__name__",
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        openapi = await in_proof.admin("GET", "/services/Insurance/openapi")
        assert openapi["components"]["schemas"]["insureRequest"] == published
        await in_proof.call("Insurance/insure", sent)

    trace = instead(lab, CHAPTER / "no-schema-at-the-border", prove, PLAIN, telling).trace
    assert trace.calls[0].answer == got


@pytest.mark.server
@pytest.mark.parametrize("hint", ["type_hint=Answer", "type_hint=dict[str, str]"])
@pytest.mark.parametrize(
    ("snippet", "asks", "returns"),
    [
        ("promise-outside-workflow", "ctx.awakeable(type_hint=str)", "return await answer"),
        (
            "awakeable-inside-workflow",
            'payment = ctx.promise("payment", type_hint=str)',
            'return f"{price} paid by {await payment}"',
        ),
    ],
    ids=["awakeable", "promise"],
)
def test_a_type_hint_says_what_becomes_of_an_answer(
    lab: Lab, tmp_path: Path, snippet: str, asks: str, returns: str, hint: str
) -> None:
    """The chapter's page: of a promise and an awakeable as of state."""
    waits = returns.partition("await ")[2].rstrip('"}')
    telling = changed(
        tmp_path,
        f"communication/{snippet}/do",
        ("import restate\n", "import restate\nfrom pydantic import BaseModel\n"),
        (
            '"http://localhost:9000")\n',
            '"http://localhost:9000")\n\n\nclass Answer(BaseModel):\n    by: str\n',
        ),
        (asks, asks.replace("type_hint=str", hint)),
        (returns, f"return type(await {waits}).__name__"),
    )
    sent = {"by": "ann"}

    async def prove(in_proof: LabInProof) -> None:
        if "awakeable(" in asks:
            claiming = asyncio.create_task(in_proof.call("Expenses/claim", "train ticket"))
            await in_proof.until_effect("POST /mails")
            await in_proof.resolve_awakeable(in_proof.outside.ledger[0].body["answer to"], sent)
            told.append(await claiming)
        else:
            in_proof.outside.answers["GET /prices/pot"] = 20
            await in_proof.call("Order/order-1/paid", sent)
            told.append(await in_proof.call("Order/order-1/run", "pot"))

    told: list[object] = []
    instead(lab, SNIPPETS / "communication" / snippet, prove, PLAIN, telling)
    assert told == ["Answer" if "Answer" in hint else "dict"]


class Line(BaseModel):
    cents: int


class Everything(BaseModel):
    """What JSON has no type for, except sets of it."""

    day: date
    at: datetime
    price: Decimal
    id: UUID
    tags: set[int]
    raw: bytes
    by_row: dict[int, tuple[int, int]]


@pytest.mark.parametrize(
    "value",
    [
        date(2030, 5, 4),
        datetime(2030, 5, 4),
        Decimal("1.5"),
        UUID(int=0),
        {1},
        b"",
        [Line(cents=1)],
        {"a": Line(cents=1)},
    ],
    ids=repr,
)
def test_json_knows_none_of_these(value: Any) -> None:
    """RDD801."""
    with pytest.raises(TypeError, match="is not JSON serializable"):
        DefaultSerde[Any](type(value)).serialize(value)


def test_a_model_brings_all_of_them_back() -> None:
    """RDD801, RDD802."""
    value = Everything(
        day=date(2030, 5, 4),
        at=datetime(2030, 5, 4, 9),
        price=Decimal("1.50"),
        id=UUID(int=7),
        tags={1, 2},
        raw=b"abc",
        by_row={1: (3, 4)},
    )
    serde = DefaultSerde(Everything)
    assert serde.deserialize(serde.serialize(value)) == value


@pytest.mark.parametrize(
    "value", ["", "tea", 0, 7, 1.5, True, None, [1, "a", None], {"a": [1.5]}], ids=repr
)
def test_json_brings_these_back_as_they_were(value: Any) -> None:
    """RDD802."""
    serde = DefaultSerde[Any](type(value))
    again = serde.deserialize(serde.serialize(value))
    assert again == value
    assert type(again) is type(value)


@dataclasses.dataclass
class Plain:
    row: int


def test_a_dataclass_is_neither_written_nor_read_without_dacite() -> None:
    """RDD209, RDD801."""
    serde = DefaultSerde(Plain)
    for use in (lambda: serde.serialize(Plain(1)), lambda: serde.deserialize(b'{"row": 1}')):
        with pytest.raises(RuntimeError, match=r"restate-sdk\[serde\]"):
            use()


class Shade(StrEnum):
    RED = "red"


class Place(NamedTuple):
    row: int
    seat: int


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Shade.RED, str),
        (HTTPStatus.OK, int),
        (Place(1, 4), list),
        (defaultdict(list, a=[1]), dict),
        (Counter("tea"), dict),
    ],
    ids=repr,
)
def test_json_brings_no_subclass_back(value: Any, kind: type) -> None:
    """RDD802."""
    serde = DefaultSerde[Any](type(value))
    assert type(serde.deserialize(serde.serialize(value))) is kind


class Bare(BaseModel):
    by_row: dict  # type: ignore[type-arg]


def test_model_restores_what_its_field_tells() -> None:
    """RDD802: a dict of no certain keys has string keys in the end."""
    serde = DefaultSerde(Bare)
    again = serde.deserialize(serde.serialize(Bare(by_row={1: 900})))
    assert again == Bare(by_row={"1": 900})


@pytest.mark.server
def test_model_does_not_restore_keys_that_are_tuples(lab: Lab, tmp_path: Path) -> None:
    """RDD802: it restores numbers."""
    snippet = changed(
        tmp_path,
        "data/json-changes-the-type/do",
        ("by_row: dict[int, int]", "by_row: dict[tuple[int, int], int]"),
        ("Prices(by_row=dict(response.raise_for_status().json()))", "Prices(by_row={(1, 4): 900})"),
        ("prices.by_row.get(row, FULL_PRICE)", "prices.by_row.get((row, 4), FULL_PRICE)"),
    )

    async def buy(in_proof: LabInProof) -> None:
        await in_proof.call("Cinema/buy", 1)

    outcome = instead(lab, CHAPTER / "json-changes-the-type", buy, PLAIN, snippet).outcome
    assert isinstance(outcome, RetriedUntilPaused), outcome
    assert "Input should be a valid array" in outcome.error


@pytest.mark.server
@pytest.mark.parametrize("successor", ["do", "dont"])
@pytest.mark.parametrize(
    ("block", "end"),
    [("except restate.TerminalError", "\n        raise"), ("finally", "")],
    ids=["except", "finally"],
)
def test_what_goes_on_after_the_failure_meets_a_mismatch_in_place(
    lab: Lab, tmp_path: Path, successor: str, block: str, end: str
) -> None:
    """RDD804: its journal has a step, and none of the futures."""
    line = "    await restate.gather(*started)"
    note = f"""    try:
    {line}
    {block}:
        await ctx.run_typed("note", "noted".upper){end}"""
    changed(tmp_path, "data/foreign-awaitable/do", (line, note))
    changed(tmp_path, "data/foreign-awaitable/dont", (f"{line}  # type: ignore[arg-type]", note))
    proof = load(CHAPTER / "foreign-awaitable")
    fixed = dataclasses.replace(crash_after_step("note"), successor=successor)
    outcome = lab.run(lab.laboratory.result(proof, tmp_path / "dont.py", fixed)).outcome
    if successor == "do":
        assert isinstance(outcome, JournalMismatch), outcome
        assert (outcome.was, outcome.now) == ("name note", "name ask north")
    else:
        assert outcome == proof.symptom


@pytest.mark.server
def test_what_is_under_way_on_the_old_deployment_gets_there_later(lab: Lab, tmp_path: Path) -> None:
    """RDD801: the query finds it then, and it ends on the fixed code."""
    step = "    pickup = await ctx.run_typed("
    weigh = 'lambda: httpx.post(f"{API_URL}/weights").text'
    weighs = (step, f'    await ctx.run_typed("weigh", {weigh})\n{step}')
    dont, _ = (
        changed(tmp_path, f"data/result-not-serializable/{each}", weighs) for each in ("dont", "do")
    )

    async def later(in_proof: LabInProof) -> None:
        in_proof.outside.answers["POST /pickups"] = {"day": "2030-05-04"}
        weighed = in_proof.outside.hold("POST /weights", at_most=20.0)
        sent = await in_proof.call("Parcels/collect/send", "p-1")
        await in_proof.until_effect("POST /weights")
        await in_proof.deploy("do")
        assert await in_proof.query(queries("RDD801")[0]) == []
        weighed.set()
        await until_status(in_proof, "Parcels/collect", "paused")
        assert await in_proof.query(queries("RDD801")[0]) == [{"id": sent["invocationId"]}]
        assert await in_proof.operate("resume", "Parcels/collect", deployment="latest") == 200
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "result-not-serializable", later, PLAIN, dont).trace
    assert trace.invocations[0].result == "on Saturday"
    assert trace.effect_counts() == {"POST /weights": 1, "POST /pickups": 4}


@pytest.mark.server
@pytest.mark.parametrize(
    ("meanwhile", "row", "done", "on", "charged"),
    [
        ("prices refused", 1, 0, "latest", 900),
        ("prices refused", 1, 0, "keep", 1200),
        ("prices under way", 1, 1, "latest", None),
        ("prices under way", 1, 1, "kill", None),
        ("charge refused", 1, 1, "kill", None),
        ("charge refused", 2, 1, "keep", 1200),
        ("answer lost", 1, 1, "kill", 1200),
        ("charge under way", 1, 2, "keep", 1200),
    ],
)
def test_seat_that_is_under_way_is_paused_first(
    lab: Lab, tmp_path: Path, meanwhile: str, row: int, done: int, on: str, charged: int | None
) -> None:
    """RDD802: what has no prices yet costs what it should on the fix; the bank knows who has paid.

    In a row at the full price, row 2, the old code charges what it should.
    """
    reduced, charge, target = "GET /reduced", "POST /charges", "Cinema/buy"
    found = re.findall(r"^```sql\n(.*?)^```", PAGES["RDD802"], re.M | re.S)
    asked = charge if meanwhile.startswith("charge") or meanwhile == "answer lost" else reduced
    posts = 'httpx.post(url, json={"cents": cents}, headers=headers'
    impatient = f"{posts}, timeout=httpx.Timeout(30, read=0.3)"
    slug = "data/json-changes-the-type"
    dont = changed(tmp_path, f"{slug}/dont", *[(posts, impatient)] * (meanwhile == "answer lost"))
    changed(tmp_path, f"{slug}/do")
    kept = []

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[reduced] = [[1, 900]]
        if "refused" in meanwhile:
            in_proof.outside.fail(asked, times=1000)
        else:
            answered = in_proof.outside.hold(asked, at_most=20.0)
        await in_proof.call(f"{target}/send", row)
        await in_proof.until_effect(asked)
        old = await deployment(in_proof, "Cinema")
        await in_proof.deploy("do")
        if meanwhile == "answer lost":
            await until_status(in_proof, target, "paused")
            answered.set()
        elif "under way" in meanwhile:
            await pause_at_work(in_proof, target)
            answered.set()
        else:
            await in_proof.operate("pause", target)
        await until_status(in_proof, target, "paused")
        (seat,) = await in_proof.query(found[0].replace("dp_…", old))
        assert (seat["status"], seat["done"]) == ("paused", done)
        in_proof.outside.unwell.clear()
        if on != "kill":
            assert await in_proof.operate("resume", target, deployment=on) == 200
        if on == "latest" and done:
            await in_proof.until_row(
                "select id from sys_journal_events where event_json like '%validation error%'"
            )
        if on == "kill" or (on == "latest" and done):
            assert await in_proof.operate("kill", target) == 200
        await in_proof.until_all_completed()
        if done == 2:
            kept.extend(await in_proof.query("select entry_json from sys_journal"))

    trace = instead(lab, CHAPTER / "json-changes-the-type", prove, PLAIN, dont).trace
    bodies = [each.body for each in trace.effects if not each.failed and each.effect == charge]
    assert bodies[:1] == ([{"cents": charged}] if charged else [])
    assert bool(trace.effect_counts().get(charge)) == bool(charged)
    assert len(bodies) <= 1 or meanwhile == "answer lost"
    for text in ("1", '{"1": 900}', "1200") if kept else ():
        assert str(list(text.encode())).replace(" ", "") in str(kept)


@pytest.mark.server
@pytest.mark.parametrize("when", ["running", "backing-off"])
def test_seat_whose_attempt_on_lambda_gave_nothing_is_found(
    lab: Lab, tmp_path: Path, when: str
) -> None:
    """RDD802: it is bound to no deployment, and paused it may have no last one; a delayed one isn't found."""
    reduced, target = "GET /reduced", "Cinema/buy"
    (query,) = re.findall(r"^```sql\n(.*?)^```", PAGES["RDD802"], re.M | re.S)
    app, whole = as_on_lambda("cinema")
    said = "    for message in said:"
    lost = f"""    if "/invoke/" in scope["path"]:
        httpx.get(f"{{API_URL}}/well").raise_for_status()
{said}"""
    slug = "data/json-changes-the-type"
    dont = changed(
        tmp_path,
        f"{slug}/dont",
        (app, whole.replace(said, lost)),
        ("import restate\n", "import restate\nfrom datetime import timedelta\n"),
        ("@cinema.handler()", f"@cinema.handler({LATER})"),
    )
    changed(tmp_path, f"{slug}/do", (app, whole))

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[reduced] = [[1, 900]]
        in_proof.outside.fail("GET /well", times=1000)
        if when == "running":
            answered = in_proof.outside.hold(reduced, at_most=20.0)
        sent = await in_proof.call(f"{target}/send", 1)
        delayed = await in_proof.call(f"{target}/send?delay=1h", 1)
        await in_proof.until_effect(reduced)
        if when == "backing-off":
            await until_status(in_proof, target, when)
        old = await deployment(in_proof, "Cinema")
        await in_proof.deploy("do")
        path = f"/invocations/{sent['invocationId']}"
        await in_proof.admin("PATCH", f"{path}/pause")
        if when == "running":
            answered.set()
        await until_status(in_proof, target, "paused")
        found = await in_proof.query(query.replace("dp_…", old))
        assert found == [{"id": sent["invocationId"], "status": "paused", "done": 0}]
        await in_proof.admin("PATCH", f"{path}/resume?deployment=latest")
        await until_status(in_proof, target, "completed")
        assert await in_proof.query(query.replace("dp_…", old)) == []
        await in_proof.admin("PATCH", f"/invocations/{delayed['invocationId']}/kill")

    stimulus = dataclasses.replace(PLAIN, request_response=True)
    trace = instead(lab, SNIPPETS / slug, prove, stimulus, dont).trace
    assert [each.body for each in trace.effects if each.effect == "POST /charges"] == [
        {"cents": 900}
    ]
