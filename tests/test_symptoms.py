"""The pages on symptoms and error codes: none is missing, and what they show was recorded."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from restate_guide import catalogue
from restate_guide.catalogue import ROOT, SymptomPage
from restate_guide.lab import PLAIN, REPLAY_EVERY_AWAIT, EffectRepeated, Stimulus, load
from restate_guide.lab import Lab as LabInProof
from restate_guide.site import seen
from restate_guide.site.book import open_book
from restate_guide.site.words import symptoms
from tests.bare import run
from tests.conftest import Lab
from tests.fixes import afterwards, changed, instead, pause_at_work, until_status

PAGES = catalogue.symptom_pages()
BOOK = open_book(ROOT)


def test_every_symptom_of_the_lab_and_every_code_that_a_run_met_has_a_page() -> None:
    wanted = {known.kind for known in symptoms()} | {code.lower() for code in seen.codes(BOOK)}
    assert {page.name for page in PAGES} == wanted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_its_own_query_found(page: SymptomPage) -> None:
    """The query is on the page; its answer is in the evidence of the rule that the page names."""
    entry = BOOK.find(page.example)
    assert entry.evidence.dont.trace.answers[page.name], "it found nothing"
    assert f"[[answer {page.example} {page.name}]]" in page.page.read_text()


@pytest.mark.parametrize("kind", [known.kind for known in symptoms()])
def test_every_symptom_is_shown_by_a_rule(kind: str) -> None:
    assert [entry for entry in BOOK.entries.values() if entry.rule.symptom == kind]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if re.fullmatch(r"rt\d+|\d+", page.name)], ids=lambda p: p.name
)
def test_the_log_on_the_page_of_a_code_has_that_code(page: SymptomPage) -> None:
    for id in re.findall(r"^\[\[logged (RDD\d+)\]\]$", page.page.read_text(), re.M):
        error = seen.first_error(BOOK.find(id))
        assert page.name.upper() in (error.code, str(error.status))


def queries(page: str) -> list[str]:
    """Those on the page of a symptom, by its name."""
    text = (ROOT / "docs" / "symptoms" / f"{page}.md").read_text()
    return re.findall(r"^```sql\n(.*?)^```", text, re.M | re.S)


@pytest.mark.server
@pytest.mark.parametrize(("rule", "finds"), [("RDD116", True), ("RDD102", False)])
def test_the_query_for_what_is_paused_finds_what_the_page_says(
    lab: Lab, rule: str, finds: bool
) -> None:
    entry = BOOK.find(rule)
    found = []

    async def look(in_proof: LabInProof) -> None:
        _, further = queries("retried-until-paused")
        found.extend(await in_proof.query(further))

    afterwards(lab, entry.rule.folder, look)
    assert bool(found) == finds


async def suspended(in_proof: LabInProof) -> None:
    await in_proof.call("Checkout/pay", "order-1")


async def restarted(in_proof: LabInProof) -> None:
    charged = in_proof.outside.hold("POST /charges", at_most=20.0)
    await in_proof.call("Checkout/pay/send", "order-1")
    await in_proof.until_effect("POST /charges")
    await in_proof.restart_server()
    await in_proof.until_effect("POST /charges", times=2)
    charged.set()
    await in_proof.until_all_completed()


@pytest.mark.server
@pytest.mark.parametrize(
    ("rule", "stimulus", "happens"),
    [("RDD101", REPLAY_EVERY_AWAIT, suspended), ("RDD102", PLAIN, restarted)],
    ids=["suspended at once", "server restarted"],
)
def test_effect_is_repeated_without_a_trace(
    lab: Lab,
    rule: str,
    stimulus: Stimulus,
    happens: Callable[[LabInProof], Awaitable[None]],
) -> None:
    """Neither query finds it as it stands; without the line on the age, the second one does."""
    broken_off, old = queries("effect-repeated")
    of_any_age = re.sub(r"^AND .* INTERVAL .*\n", "", old, flags=re.M)
    assert of_any_age != old
    older = old.replace("1 minute", "1 millisecond")  # nobody waits for a minute here
    found = []

    async def prove(in_proof: LabInProof) -> None:
        await happens(in_proof)
        for query in (broken_off, old, older, of_any_age):
            found.append([row["target"] for row in await in_proof.query(query)])
        assert not await in_proof.query("select id from sys_journal_events")

    outcome = instead(lab, BOOK.find(rule).rule.folder, prove, stimulus).outcome
    assert outcome == EffectRepeated("POST /charges", times=2)
    assert found == [[], [], ["Checkout/pay"], ["Checkout/pay"]]


@pytest.mark.server
@pytest.mark.parametrize(
    ("page", "rule", "variant", "put"),
    [
        ("worker-blocked", "RDD204", "do", ("0.5", "0.9")),
        ("call-failed", "RDD702", "call", None),
        ("effect-missing", "RDD409", "dont", None),
        ("effect-missing", "RDD108", "dont", None),
        ("not-compensated", "RDD513", "dont", ("undo%", "release%")),
    ],
    ids=[
        "a delayed send",
        "a workflow that is started twice at the ingress",
        "a task that was lost",
        "a branch that was not taken",
        "the wrong thing undone",
    ],
)
def test_a_query_does_not_find_what_its_page_says_it_does_not(
    lab: Lab, page: str, rule: str, variant: str, put: tuple[str, str] | None
) -> None:
    """With the reader's own bound or name put in; and the run came out as its proof says."""
    (query,) = queries(page)
    if put:
        assert put[0] in query
        query = query.replace(*put)
    proof = load(BOOK.find(rule).rule.folder)
    aside = proof.asides.get(variant)
    snippet, calls = (aside.snippet, proof.judging(aside)) if aside else (variant, proof)

    async def prove(in_proof: LabInProof) -> None:
        await calls.prove(in_proof)
        assert not await in_proof.query(query)

    result = instead(lab, proof.folder, prove, snippet=proof.snippet(snippet))
    assert result.outcome == (proof.promise if variant == "do" else proof.symptom)


@pytest.mark.server
def test_what_fails_before_its_first_step_is_done_is_not_found_though_its_line_is_repeated(
    lab: Lab,
) -> None:
    """A card that no bank charges: no wait is in the journal, and each attempt writes its line."""
    (query,) = queries("line-repeated")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /charges", times=9)
        await in_proof.call("Checkout/pay", "order-1")
        assert not await in_proof.query(query)

    trace = instead(lab, BOOK.find("RDD109").rule.folder, prove, PLAIN).trace
    assert trace.line_counts() == {"charging order-1": 3}
    assert trace.effect_counts() == {}


@pytest.mark.server
def test_what_decided_otherwise_is_a_suspect(lab: Lab) -> None:
    """RDD705: an attempt broke off; the page's first query tells, and the journal doesn't."""
    suspects, _ = queries("effect-repeated")
    found = []

    async def look(in_proof: LabInProof) -> None:
        found.extend(await in_proof.query(suspects))

    afterwards(lab, BOOK.find("RDD705").rule.folder, look)
    assert found == [{"target": "Library/borrow", "status": "completed"}]


@pytest.mark.server
def test_a_message_to_its_own_key_looks_like_a_deadlock(lab: Lab, tmp_path: Path) -> None:
    """It only waits its turn: cancelled, it never runs, and the cart stays full."""
    rule = "communication/self-call-same-key"
    sends = "    ctx.object_send(empty, key=ctx.key(), arg=None)\n"
    pay = 'def pay() -> None:\n    httpx.post(f"{API_URL}/charges", timeout=30)\n\n\n'
    snippet = changed(
        tmp_path,
        f"{rule}/message",
        ("import restate\n", "import os\n\nimport httpx\nimport restate\n"),
        ("cart = ", f'API_URL = os.environ["API_URL"]\n\n\n{pay}cart = '),
        (sends, f'{sends}    await ctx.run_typed("pay", pay)\n'),
    )
    (query,) = queries("waits-for-ever")
    waits = {"invoked_by_target": "Cart/ann/check_out", "target": "Cart/ann/empty"}
    left: list[object] = []

    async def prove(in_proof: LabInProof) -> None:
        paid = in_proof.outside.hold("POST /charges", at_most=20.0)
        await in_proof.call("Cart/ann/put", "pot")
        buying = asyncio.create_task(in_proof.call("Cart/ann/check_out"))
        await in_proof.until_effect("POST /charges")
        await until_status(in_proof, "Cart/ann/empty", "pending")
        assert waits | {"status": "pending"} in await in_proof.query(query)
        assert await in_proof.operate("cancel", "Cart/ann/empty") == 200
        paid.set()
        assert await buying == ["pot"]
        await in_proof.until_no_row("select id from sys_invocation where status != 'completed'")
        left.extend(row["key"] for row in await in_proof.query("select key from state"))

    instead(lab, ROOT / "snippets" / rule, prove, PLAIN, snippet)
    assert left == ["items"]


@pytest.mark.server
def test_a_query_with_an_age_is_one(lab: Lab) -> None:
    """What the page has to be put before ORDER BY is SQL there."""
    page = next(page for page in PAGES if page.name == "waits-for-ever")
    age = re.search(r"`(AND created_at < [^`]+)`", page.page.read_text())
    assert age
    folder = BOOK.find(page.example).rule.folder
    found = []

    async def prove(in_proof: LabInProof) -> None:
        waiting = asyncio.create_task(load(folder).prove(in_proof))
        old = page.query.replace("ORDER BY", f"{age[1]} ORDER BY")
        await in_proof.until_row(page.query)
        found.extend(await in_proof.query(old))
        await waiting

    instead(lab, folder, prove)
    assert found == [], "nothing here is an hour old"


@pytest.mark.server
def test_a_delayed_send_holds_no_key(lab: Lab) -> None:
    """It is listed as scheduled, which the page's query leaves out."""
    page = next(page for page in PAGES if page.name == "key-blocked")
    folder = BOOK.find("RDD204").rule.folder
    found: dict[str, list[object]] = {}

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Seats/7a/hold", "ann")
        every = "select status from sys_invocation where status != 'completed'"
        for name, sql in (("all", every), ("page", page.query)):
            found[name] = [row["status"] for row in await in_proof.query(sql)]
        await in_proof.until_all_completed()

    run(lab, folder / "do.py", prove)
    assert found == {"all": ["scheduled"], "page": []}


@pytest.mark.server
def test_a_listed_service_tells_which_of_its_handlers_are_private(lab: Lab, tmp_path: Path) -> None:
    """Served without identity: the query lists a service, whose handlers may be closed one by one.

    It doesn't list one that was closed, whose handler says of itself that it is open.
    """
    rule = "operations/internal-service-public"
    closed = ("@refunds.handler()", "@refunds.handler(ingress_private=True)")
    opened = ("@returns.handler()", "@returns.handler(ingress_private=False)")
    served: dict[str, bool] = {}

    async def prove(in_proof: LabInProof) -> None:
        (sql,) = queries("served-unverified")
        await in_proof.admin("PATCH", "/services/Returns", {"public": False})
        assert [row["name"] for row in await in_proof.query(sql)] == ["Refunds"]
        for told in (await in_proof.admin("GET", "/services"))["services"]:
            served.update({each["name"]: each["public"] for each in told["handlers"]})
        await in_proof.call("Refunds/refund", "order-1")
        await in_proof.call("Returns/claim", "order-1")

    snippet = changed(tmp_path, f"{rule}/dont", closed, opened)
    trace = instead(lab, ROOT / "snippets" / rule, prove, snippet=snippet).trace
    assert served == {"refund": False, "claim": True}
    assert [call.status for call in trace.calls] == [400, 200]


SERVED = """
import os
from datetime import timedelta

import httpx
import restate

orders = restate.Service("Orders", inactivity_timeout=timedelta(milliseconds=50))
brief = restate.Service("Brief", journal_retention=timedelta(0))


def charge() -> None:
    httpx.post(f"{os.environ['API_URL']}/charges", timeout=30).raise_for_status()


@orders.handler()
async def pay(ctx: restate.Context) -> None:
    await ctx.run_typed("charge", charge)


@brief.handler()
async def settle(ctx: restate.Context) -> None:
    await ctx.run_typed("charge", charge)


@brief.handler()
async def hasty(ctx: restate.Context) -> None:
    charge()
    await ctx.sleep(timedelta(hours=1))


@orders.handler()
async def wait(ctx: restate.Context) -> None:
    await ctx.run_typed("note", lambda: "noted")
    await ctx.sleep(timedelta(hours=1))


@orders.handler()
async def fail(ctx: restate.Context) -> None:
    raise ValueError("a mistake")


@orders.handler()
async def ask(ctx: restate.Context) -> None:
    await ctx.service_call(fail, arg=None)


@orders.handler()
async def key(ctx: restate.Context) -> None:
    await ctx.object_call(pay, key="order-1", arg=None)


@orders.handler()
async def attach(ctx: restate.Context) -> None:
    await ctx.attach_invocation("order-1")


@orders.handler()
async def empty(ctx: restate.Context) -> None:
    await ctx.service_call(pay, arg=None, idempotency_key="")


@orders.handler()
async def step(ctx: restate.Context) -> None:
    await ctx.run_typed("fail", lambda: 1 // 0)


@orders.handler()
async def quote(ctx: restate.Context) -> None:
    raise ValueError("RT0001, RT0010 or RT0017?")


@orders.handler()
async def late(ctx: restate.Context) -> None:
    await ctx.run_typed("note", lambda: "noted")
    raise ValueError("a mistake")


@orders.handler()
async def stateful(ctx: restate.ObjectContext) -> None:
    await ctx.get("paid")


@orders.handler()
async def race(ctx: restate.Context) -> None:
    charging = ctx.run_typed("charge", charge)
    await restate.select(charged=charging, noted=ctx.run_typed("note", lambda: "noted"))


@orders.handler()
async def saga(ctx: restate.Context) -> None:
    await ctx.run_typed("undo one", lambda: "undone")
    await ctx.run_typed("undo another", charge)
    raise restate.TerminalError("undone")


strict = restate.Service(
    "Strict",
    invocation_retry_policy=restate.InvocationRetryPolicy(max_attempts=1, on_max_attempts="kill"),
)
turns: list[int] = []


@strict.handler()
async def turn(ctx: restate.Context) -> None:
    turns.append(1)
    await ctx.run_typed(f"turn {len(turns)}", lambda: "taken")


@orders.handler()
async def delegate(ctx: restate.Context) -> None:
    await ctx.service_call(turn, arg=None)


app = restate.app([orders, brief, strict])
"""


def served(folder: Path) -> Path:
    """A snippet of what no rule's don't does, but pages on symptoms tell."""
    snippet = folder / "served.py"
    snippet.write_text(SERVED)
    return snippet


@pytest.mark.server
@pytest.mark.parametrize(
    ("handler", "code", "page"),
    [
        ("key", "RT0017", "precondition"),
        ("attach", "RT0017", "rt0017"),
        ("empty", "RT0007", "rt0007"),
        ("fail", "RT0007", "rt0007"),
        ("step", "RT0007", "rt0007"),
    ],
)
def test_what_else_a_code_is_told_of(
    lab: Lab, tmp_path: Path, handler: str, code: str, page: str
) -> None:
    """Each is retried until it is paused, and found by the query of the code's page."""
    (query,) = queries(page)
    target = f"Orders/{handler}"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send")
        await until_status(in_proof, target, "paused")
        assert await in_proof.query(query) == [{"target": target, "status": "paused"}]
        (told,) = await in_proof.query(
            "select event_json from sys_journal_events where event_type = 'TransientError'"
        )
        assert json.loads(told["event_json"])["restate_doc_error_code"] == code
        assert await in_proof.operate("kill", target) == 200

    run(lab, served(tmp_path), prove)


@pytest.mark.server
def test_who_waits_for_what_is_paused_is_listed_with_it(lab: Lab, tmp_path: Path) -> None:
    """Waits for ever: what was called tells that this is another symptom."""
    (query,) = queries("waits-for-ever")
    found: dict[object, object] = {}

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/ask/send")
        await until_status(in_proof, "Orders/fail", "paused")
        await until_status(in_proof, "Orders/ask", "suspended")
        for row in await in_proof.query(query):
            found[row["target"]] = (row["status"], row.get("invoked_by_target"))
        for target in ("Orders/ask", "Orders/fail"):
            await in_proof.operate("kill", target)

    run(lab, served(tmp_path), prove)
    assert found == {"Orders/ask": ("suspended", None), "Orders/fail": ("paused", "Orders/ask")}


@pytest.mark.server
def test_an_attempt_under_way_after_one_that_failed_is_found(lab: Lab, tmp_path: Path) -> None:
    """And one paused by hand tells its error, if it had one."""
    first, further = queries("retried-until-paused")
    target = "Orders/pay"

    async def prove(in_proof: LabInProof) -> None:
        for failed in (False, True):
            held = in_proof.outside.hold("POST /charges", at_most=20.0)
            if failed:
                in_proof.outside.fail("POST /charges", times=1)
                await in_proof.call("Orders/pay/send")
                await in_proof.until_effect("POST /charges", times=2)
                failing, held = held, in_proof.outside.hold("POST /charges", at_most=20.0)
                failing.set()
                await in_proof.until_row("select id from sys_journal_events")
            else:
                await in_proof.call("Orders/pay/send")
                await in_proof.until_effect("POST /charges")
            await until_status(in_proof, target, "running")
            listed = await in_proof.query(first)
            assert listed == ([{"target": target, "status": "running"}] if failed else [])
            assert await in_proof.operate("resume", target, deployment="latest") == 409
            await pause_at_work(in_proof, target)
            held.set()
            await until_status(in_proof, target, "paused")
            told = [str(row["event_json"]) for row in await in_proof.query(further)]
            assert '{"ty":"Paused"}' in told
            assert any("503" in event for event in told) == failed
            assert await in_proof.operate("kill", target) == 200
            assert await in_proof.operate("purge", target) == 200
            await in_proof.until_no_row("select id from sys_invocation")

    run(lab, served(tmp_path), prove)


@pytest.mark.server
@pytest.mark.parametrize(
    ("rule", "code", "page"),
    [("RDD104", "RT0016", "journal-mismatch"), ("RDD201", "RT0017", "precondition")],
)
def test_what_is_paused_tells_by_its_code_that_it_is_another_symptom(
    lab: Lab, rule: str, code: str, page: str
) -> None:
    text = (ROOT / "docs" / "symptoms" / "retried-until-paused.md").read_text()
    assert re.search(rf"{code}[^.]*\]\({page}\.md\)", text)
    first, further = queries("retried-until-paused")
    told: list[str] = []

    async def look(in_proof: LabInProof) -> None:
        assert await in_proof.query(first)
        told.extend(str(row["event_json"]) for row in await in_proof.query(further))

    afterwards(lab, BOOK.find(rule).rule.folder, look)
    failures = [event for event in told if '"last_failure"' in event]
    assert failures and all(f'"{code}"' in event for event in failures)


@pytest.mark.server
def test_what_still_waits_is_a_suspect_too(lab: Lab, tmp_path: Path) -> None:
    """Effect repeated: the second query finds it before it is completed."""
    _, old = queries("effect-repeated")

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/wait/send")
        await until_status(in_proof, "Orders/wait", "suspended")
        assert not await in_proof.query(old)
        older = old.replace("1 minute", "1 millisecond")
        assert await in_proof.query(older) == [{"target": "Orders/wait", "status": "suspended"}]
        assert await in_proof.operate("kill", "Orders/wait") == 200

    run(lab, served(tmp_path), prove)


@pytest.mark.server
@pytest.mark.parametrize(("service", "kept"), [("Orders/pay", True), ("Brief/settle", False)])
def test_what_is_over_is_found_while_its_journal_is_kept(
    lab: Lab, tmp_path: Path, service: str, kept: bool
) -> None:
    (query,) = queries("rt0007")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /charges", times=1)
        await in_proof.call(service)
        assert bool(await in_proof.query(query)) == kept

    run(lab, served(tmp_path), prove)


@pytest.mark.server
def test_a_worker_that_asks_for_no_signature_answers_a_bare_discover_with_415(
    lab: Lab, tmp_path: Path
) -> None:
    told: list[int] = []

    async def prove(in_proof: LabInProof) -> None:
        async with httpx.AsyncClient(base_url=in_proof.worker_url) as anybody:
            for path in ("/discover", "/health"):
                told.append((await anybody.get(path)).status_code)
        await in_proof.call("Orders/pay")

    run(lab, served(tmp_path), prove)
    assert told == [415, 200]


@pytest.mark.server
def test_what_waited_for_its_key_began_late(lab: Lab) -> None:
    """Answered late: `running_at` tells what a taken key cost, and is early where none was taken."""
    (query,) = queries("answered-late")
    assert "(`running_at`)" in (ROOT / "docs" / "symptoms" / "answered-late.md").read_text()
    late = query.replace("completed_at", "running_at").replace("1 second", "0.4 seconds")
    found: dict[str, list[object]] = {}

    for rule in ("RDD203", "RDD410"):

        async def look(in_proof: LabInProof, rule: str = rule) -> None:
            found[rule] = [row["target"] for row in await in_proof.query(late)]

        afterwards(lab, BOOK.find(rule).rule.folder, look)
    assert found == {"RDD203": ["Parcels/p-7/status"], "RDD410": []}


@pytest.mark.server
def test_an_exception_that_speaks_of_the_code_is_no_mismatch(lab: Lab, tmp_path: Path) -> None:
    """Journal mismatch, RT0016."""
    slug = "determinism/random-decides-a-step"
    raises = ("return await ctx.object_call(", "raise ValueError('\"RT0016\"', ")
    snippet = changed(tmp_path, f"{slug}/do", raises)

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Shop/buy")
        told = await in_proof.query("select event_json from sys_journal_events")
        assert any("RT0016" in str(row["event_json"]) for row in told)
        for page in ("journal-mismatch", "rt0016"):
            (query,) = queries(page)
            assert not await in_proof.query(query)

    instead(lab, BOOK.find("RDD104").rule.folder, prove, PLAIN, snippet)


def test_what_only_quotes_a_code_is_not_found(lab: Lab, tmp_path: Path) -> None:
    """It stands in an exception's text; the invocation has another code."""
    target = "Orders/quote"
    found: dict[str, bool] = {}

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send")
        await until_status(in_proof, target, "paused")
        for page in ("rt0001", "rt0007", "rt0010", "rt0017", "precondition"):
            (query,) = queries(page)
            found[page] = bool(await in_proof.query(query))
        assert await in_proof.operate("kill", target) == 200

    run(lab, served(tmp_path), prove)
    assert [page for page, listed in found.items() if listed] == ["rt0007"]


@pytest.mark.server
def test_what_a_mismatch_killed_at_once_is_found_without_an_event(lab: Lab, tmp_path: Path) -> None:
    """HTTP 570: with its caller, which failed with it."""
    (query,) = queries("570")
    found: list[object] = []

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/delegate")
        assert not await in_proof.query("select id from sys_journal_events")
        found.extend(row["target"] for row in await in_proof.query(query))

    trace = run(lab, served(tmp_path), prove, REPLAY_EVERY_AWAIT).trace
    assert [call.status for call in trace.calls] == [570]
    assert found == ["Orders/delegate", "Strict/turn"]


@pytest.mark.server
@pytest.mark.parametrize(("handler", "found"), [("race", True), ("pay", False)])
def test_a_step_without_a_result_may_have_acted(
    lab: Lab, tmp_path: Path, handler: str, found: bool
) -> None:
    """Effect missing: one that lost a race is found, one that was killed at work is not."""
    (query,) = queries("effect-missing")
    target = f"Orders/{handler}"

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        calling = asyncio.create_task(in_proof.call(target))
        await in_proof.until_effect("POST /charges")
        if handler == "pay":
            assert await in_proof.operate("kill", target) == 200
        await calling
        assert bool(await in_proof.query(query)) == found
        charged.set()

    assert run(lab, served(tmp_path), prove).trace.effect_counts() == {"POST /charges": 1}


@pytest.mark.server
def test_what_is_half_undone_is_not_found_and_what_was_undone_is_once_its_journal_is_gone(
    lab: Lab, tmp_path: Path
) -> None:
    """Not compensated."""
    (query,) = queries("not-compensated")
    target = "Orders/saga"

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        undoing = asyncio.create_task(in_proof.call(target))
        await in_proof.until_effect("POST /charges")
        assert await in_proof.operate("kill", target) == 200
        await undoing
        charged.set()
        assert not await in_proof.query(query)
        assert await in_proof.operate("purge", target) == 200
        await in_proof.until_no_row("select id from sys_invocation")
        await in_proof.call(target)
        assert not await in_proof.query(query)
        assert await in_proof.operate("purge-journal", target) == 200
        await in_proof.until_no_row("select id from sys_journal")
        assert [row["target"] for row in await in_proof.query(query)] == [target]

    run(lab, served(tmp_path), prove)


@pytest.mark.server
@pytest.mark.parametrize(
    ("handler", "ends"), [("fail", "completed"), ("stateful", "completed"), ("late", "paused")]
)
def test_a_plain_resume_takes_what_has_only_its_input_to_the_new_code(
    lab: Lab, tmp_path: Path, handler: str, ends: str
) -> None:
    """Retried until paused, Precondition failed: what has done a step fails on the old code again."""
    target = f"Orders/{handler}"
    mended = re.sub(r"    (raise ValueError|await ctx\.get).*", "    return None", SERVED)
    (tmp_path / "mended.py").write_text(mended)
    again = "select count(*) from sys_journal_events where event_type = 'Paused'"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send")
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("mended")
        assert await in_proof.operate("resume", target) == 200
        if ends == "paused":
            await in_proof.until_row(f"{again} having count(*) > 1")
        await until_status(in_proof, target, ends)
        if ends == "paused":
            assert await in_proof.operate("resume", target, deployment="latest") == 200
            await until_status(in_proof, target, "completed")

    run(lab, served(tmp_path), prove)


@pytest.mark.server
def test_what_was_paused_by_hand_is_a_suspect(lab: Lab, tmp_path: Path) -> None:
    """Effect repeated: it is replayed when it is resumed, and no attempt has failed."""
    suspects, _ = queries("effect-repeated")
    target = "Brief/hasty"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send")
        await in_proof.until_effect("POST /charges")
        assert not await in_proof.query(suspects)
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("resume", target) == 200
        await in_proof.until_effect("POST /charges", times=2)
        events = await in_proof.query("select event_type from sys_journal_events")
        assert events == [{"event_type": "Paused"}]
        assert [row["target"] for row in await in_proof.query(suspects)] == [target]
        assert await in_proof.operate("kill", target) == 200

    run(lab, served(tmp_path), prove)
