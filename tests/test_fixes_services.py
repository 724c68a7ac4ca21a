"""What the pages of the chapter services tell operators to do, done on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest
import restate

from restate_guide.catalogue import ROOT
from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Holds,
    JournalMismatch,
    LabError,
    crash_after_effect,
    load,
)
from restate_guide.lab import Lab as LabInProof
from restate_guide.lab.outside import Received
from restate_guide.lab.trace import Json
from tests.conftest import Lab
from tests.fixes import (
    LATER,
    PAGES,
    SNIPPETS,
    afterwards,
    as_on_lambda,
    changed,
    deployment,
    instead,
    queries,
    resume_on,
    until_status,
)

CHAPTER = SNIPPETS / "services"

pytestmark = pytest.mark.server


def query_of(slug: str, placeholder: str, id: str) -> str:
    """The query on a page into which an id is to be put, and so was not asked as it stands."""
    page = (ROOT / "docs/rules/services" / f"{slug}.md").read_text()
    found: list[str] = re.findall(r"^```sql\n(.*?)^```", page, re.M | re.S)
    (sql,) = found
    assert placeholder in sql
    return sql.replace(placeholder, id)


@pytest.mark.parametrize(
    ("slug", "target", "effects"),
    [
        ("sync-handler", "Shop/delivered", {"POST /emails": 1}),
        ("await-on-sync-op", "Parcels/p-1/scan", {}),
    ],
)
def test_paused_resumes_on_the_fixed_code(
    lab: Lab, slug: str, target: str, effects: dict[str, int]
) -> None:
    """RDD706, RDD707: what was done isn't done again; the page's query tells what is over."""
    (query,) = queries(load(CHAPTER / slug).rule)
    told: list[object] = []

    async def fix(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        told.extend(map(state_of, await in_proof.query(query)))
        await resume_on(in_proof, target)
        await in_proof.until_all_completed()
        told.extend(map(state_of, await in_proof.query(query)))

    assert afterwards(lab, CHAPTER / slug, fix).trace.effect_counts() == effects
    assert told == [("paused", None), ("completed", "success")]


@pytest.mark.parametrize(
    ("slug", "kind", "target"),
    [
        ("sync-handler", 'Service("Shop"', "Shop/delivered"),
        ("await-on-sync-op", 'VirtualObject("Parcels"', "Parcels/p-1/scan"),
    ],
)
def test_what_its_retry_policy_killed_is_told_from_what_was_fixed(
    lab: Lab, tmp_path: Path, slug: str, kind: str, target: str
) -> None:
    """RDD706, RDD707: both are completed; the page's query has the result beside the status."""
    policy = 'restate.InvocationRetryPolicy(max_attempts=2, on_max_attempts="kill")'
    kills = (f"{kind})", f"{kind}, invocation_retry_policy={policy})")
    dont = changed(tmp_path, f"services/{slug}/dont", kills)
    (query,) = queries(load(CHAPTER / slug).rule)
    told: list[object] = []

    async def look(in_proof: LabInProof) -> None:
        assert (await in_proof.call(target, "ann"))["code"] == 500
        told.extend(map(state_of, await in_proof.query(query)))

    instead(lab, CHAPTER / slug, look, snippet=dont)
    assert told == [("completed", "failure")]


def state_of(row: dict[str, Json]) -> tuple[Json, Json]:
    """The status of an invocation, and its result, which is missing until it has one."""
    return row["status"], row.get("completion_result")


def is_awaited(owner: type, name: str) -> bool:
    """Whether the SDK's method returns something to wait for, alone or beside an id."""
    method = getattr(owner, name)
    returned = get_type_hints(method).get("return")
    if get_origin(returned) is tuple:
        returned = get_args(returned)[-1]
    kind = get_origin(returned) or returned
    is_future = inspect.isclass(kind) and issubclass(kind, Awaitable)
    return is_future or inspect.iscoroutinefunction(method)


def test_the_table_of_what_is_awaited_is_the_sdks() -> None:
    """RDD707."""
    page = (ROOT / "docs/rules/services/await-on-sync-op.md").read_text()
    told: dict[bool, list[str]] = {False: [], True: []}
    for row in re.findall(r"^\|(.*)\|$", page.partition("|---|---|\n")[2], re.M):
        for awaited, cell in enumerate(row.split("|")):
            for name in re.findall(r"`(?:ctx\.)?(\w+)(?:\(\))?`", cell):
                owners: list[type] = [restate.WorkflowContext]
                if "of a durable promise" in cell:
                    owners = [restate.DurablePromise]
                elif f"`{name}()`" in cell:
                    owners = [restate.SendHandle, restate.RestateDurableCallFuture]
                for owner in owners:
                    assert is_awaited(owner, name) == bool(awaited), f"{owner.__name__}.{name}"
                told[bool(awaited)].append(name)
    assert told[False].count("cancel_invocation") == told[True].count("cancel_invocation") == 1
    assert {"set", "key"} <= set(told[False]) and {"get", "peek", "signal"} <= set(told[True])


@pytest.mark.parametrize(
    ("rule", "target", "body", "answer", "effects"),
    [
        (
            "determinism/coroutine-from-lambda",
            "Accounts/welcome",
            "ada@example.com",
            "email-1",
            {"POST /emails": 1},
        ),
        ("services/sync-handler", "Shop/delivered", "ann", "delivered to ann", {"POST /emails": 1}),
        ("services/await-on-sync-op", "Parcels/p-1/scan", "Bremen", "scanned in Bremen", {}),
        (
            "data/result-not-serializable",
            "Parcels/collect",
            "p-1",
            "on Saturday",
            {"POST /pickups": 2},
        ),
    ],
)
def test_what_backs_off_is_paused_before_it_is_resumed(
    lab: Lab,
    tmp_path: Path,
    rule: str,
    target: str,
    body: str,
    answer: str,
    effects: dict[str, int],
) -> None:
    """RDD116, RDD706, RDD707, RDD801: a resume alone is refused with 409."""
    service = target.partition("/")[0]
    dont = changed(
        tmp_path,
        f"{rule}/dont",
        ("import restate\n", "from datetime import timedelta\n\nimport restate\n"),
        (f'("{service}")', f'("{service}", {LATER})'),
    )
    changed(tmp_path, f"{rule}/do")

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.answers["POST /pickups"] = {"day": "2030-05-04"}
        await in_proof.call(f"{target}/send", body)
        await until_status(in_proof, target, "backing-off")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 409
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / rule, fix, snippet=dont).trace
    assert [i.result for i in trace.invocations if i.target == target] == [answer]
    assert trace.effect_counts() == effects


@pytest.mark.parametrize(
    ("id", "snippet", "target", "before", "body"),
    [
        ("RDD201", "state/state-in-a-service/dont", "SignIns/check", None, "phone"),
        ("RDD202", "state/write-in-shared-handler/dont", "Polls/lunch/vote", None, "tea"),
        (
            "RDD209",
            "state/get-without-type-hint/dont",
            "Customers/ann/label",
            "Customers/ann/move",
            {"street": "Mill Lane 1", "city": "Ely"},
        ),
        ("RDD501", "errors/business-failure-retried/dont", "GiftCards/pay", None, "card-1"),
        ("RDD606", "operations/flag-read-in-flight/dont", "Tickets/sell", None, "order-1"),
        ("RDD608", "operations/bad-input-is-500/dont", "Parcels/send", None, None),
        ("RDD706", "services/sync-handler/dont", "Shop/delivered", None, "ann"),
        # A dataclass, without `dacite`.
        ("RDD801", "data/result-not-serializable/in_dataclass", "Parcels/collect", None, "p-1"),
    ],
)
def test_the_query_on_the_page_finds_what_is_backing_off(
    lab: Lab, tmp_path: Path, id: str, snippet: str, target: str, before: str | None, body: object
) -> None:
    """RDD201, RDD202, RDD209, RDD501, RDD606, RDD608, RDD706, RDD801: what is not paused yet."""
    service = target.partition("/")[0]
    imported = ("import restate\n", "from datetime import timedelta\n\nimport restate\n")
    dont = changed(
        tmp_path,
        snippet,
        imported,
        (f'("{service}")', f'("{service}", {LATER})'),
    )
    proof = load((SNIPPETS / snippet).parent)
    ids: list[object] = []

    async def look(in_proof: LabInProof) -> None:
        in_proof.outside.answers["POST /pickups"] = {"day": "2030-05-04"}
        in_proof.outside.fail("POST /redemptions", times=1, status=402)
        if before:
            await in_proof.call(before, body)
        sent = await in_proof.call(f"{target}/send", None if before else body)
        await until_status(in_proof, target, "backing-off")
        if proof.stimulus.workers > 1:  # its first worker's death had it back off: on to the second
            assert await in_proof.operate("resume", target) == 200
            await in_proof.until_row(
                "select id from sys_journal_events where event_json like '%RT0016%'"
            )
            await until_status(in_proof, target, "backing-off")
        ids.append(sent["invocationId"])
        ids.extend(row["id"] for row in await in_proof.query(queries(id)[0]))

    instead(lab, proof.folder, look, snippet=dont)
    there, found = ids
    assert found == there


@pytest.mark.parametrize(("key", "times"), [(None, 2), ("delivery-1", 1)])
def test_whoever_asks_again_without_a_key_has_it_done_again(
    lab: Lab, key: str | None, times: int
) -> None:
    """RDD706: a second mail goes out."""

    async def ask_twice(in_proof: LabInProof) -> None:
        for _ in range(2):
            await in_proof.call("Shop/delivered/send", "ann", idempotency_key=key)
            await until_status(in_proof, "Shop/delivered", "paused")
        await in_proof.until_effect("POST /emails", times=times)
        await in_proof.until_still(0.2)

    trace = instead(lab, CHAPTER / "sync-handler", ask_twice).trace
    assert trace.effect_counts() == {"POST /emails": times}
    assert [i.target for i in trace.invocations].count("Shop/delivered") == times


def test_only_what_awaited_something_else_is_found(lab: Lab, tmp_path: Path) -> None:
    """RDD706, RDD707: in Python 3.14's words, too, and not by another error's "can't be"."""
    raised = """    if customer == "unpaid":
        raise RuntimeError("this order can't be paid")
    if customer == "3.14":
        raise TypeError("'NoneType' object can't be awaited")
"""
    answers = '    return f"delivered'
    dont = changed(tmp_path, "services/sync-handler/dont", (answers, f"{raised}{answers}"))

    async def look(in_proof: LabInProof) -> None:
        ids = {}
        for customer in ("ann", "unpaid", "3.14"):
            sent = await in_proof.call("Shop/delivered/send", customer)
            ids[sent["invocationId"]] = customer
        paused = "sys_invocation where status = 'paused' having count(*) = 3"
        await in_proof.until_row(f"select count(*) from {paused}")
        for rule in ("RDD706", "RDD707"):
            found = await in_proof.query(queries(rule)[0])
            assert {ids[row["id"]] for row in found} == {"ann", "3.14"}, rule

    instead(lab, CHAPTER / "sync-handler", look, snippet=dont)


def test_key_of_a_paused_invocation_is_free_once_it_has_resumed(lab: Lab, tmp_path: Path) -> None:
    """RDD707: the next scan waits in the queue until then; what the paused one sent isn't sent again."""
    target, slug = "Parcels/p-1/scan", "services/await-on-sync-op"
    tell = (
        'mails = restate.Service("Mails")\n\n\n@mails.handler()\n'
        "async def tell(ctx: restate.Context, place: str) -> None:\n    pass\n\n\n"
    )
    for name, writes in (("do", '    ctx.set("place"'), ("dont", '    await ctx.set("place"')):
        changed(
            tmp_path,
            f"{slug}/{name}",
            (writes, f"    ctx.service_send(tell, arg=place)\n{writes}"),
            ("@parcels.handler()", f"{tell}@parcels.handler()"),
            ("[parcels]", "[parcels, mails]"),
        )

    async def fix(in_proof: LabInProof) -> None:
        await load(SNIPPETS / slug).prove(in_proof)
        await in_proof.call(f"{target}/send", "Hamburg")
        await in_proof.until_row("select id from sys_invocation where status = 'pending'")
        await in_proof.deploy("do")
        paused = await in_proof.query("select id from sys_invocation where status = 'paused'")
        assert len(paused) == 1
        # Not by its target: that is the waiting one's, too.
        resume = f"/invocations/{paused[0]['id']}/resume?deployment=latest"
        await in_proof.admin("PATCH", resume)
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / slug, fix, snippet=tmp_path / "dont.py").trace
    assert [(state.name, state.value) for state in trace.state] == [("place", "Hamburg")]
    assert [i.target for i in trace.invocations].count("Mails/tell") == 2


def test_an_endless_loop_meets_a_mismatch_on_the_fixed_code_in_place(lab: Lab) -> None:
    """RDD704."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Digests/send", "ann")

    fixed = dataclasses.replace(LATE_REPLAY, successor="do")
    outcome = instead(lab, CHAPTER / "endless-handler", prove, fixed).outcome
    assert isinstance(outcome, JournalMismatch) and outcome.command == 2, outcome


def test_a_cancel_ends_no_loop_that_meets_a_mismatch(lab: Lab) -> None:
    """RDD704: the new code in place meets it again, and so the loop is paused again."""
    target, paused = "Digests/send", "select id from sys_journal_events where event_type = 'Paused'"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "ann")
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("cancel", target) == 202
        await in_proof.until_row(f"{paused} group by id having count(*) > 1")
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("kill", target) == 200
        await in_proof.until_all_completed()

    fixed = dataclasses.replace(LATE_REPLAY, successor="do")
    trace = instead(lab, CHAPTER / "endless-handler", prove, fixed).trace
    assert trace.failures()[-1].code == "RT0016"
    assert len(trace.effects) == 1


def test_an_endless_loop_is_cancelled_and_goes_on_as_messages(lab: Lab) -> None:
    """RDD704: on a new deployment."""

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /letters", times=1, status=410, after=2)
        await in_proof.call("Digests/send/send", "ann")
        await in_proof.until_effect("POST /digests", times=2)
        await in_proof.deploy("newer")
        assert await in_proof.operate("cancel", "Digests/send") == 202
        await in_proof.until_all_completed()
        sent = await in_proof.call("Digests/send/send?delay=300ms", "ann")
        assert "executionTime" in sent  # not at once
        await in_proof.until_effect("POST /letters", times=3)  # the third is refused
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "endless-handler", prove).trace
    assert trace.invocations[0].result == {"failure": "cancelled", "code": 409}
    assert trace.effect_counts()["POST /letters"] == 2


def loops_before(deployment: str) -> str:
    """RDD704's query for all loops on other deployments than the new one."""
    told = re.search(r"^```sql\n(SELECT id, status .*?)^```", PAGES["RDD704"], re.M | re.S)
    assert told
    return told[1].replace("dp_…", deployment)


def test_a_young_loop_is_found_and_ends_in_its_mail(lab: Lab) -> None:
    """RDD704: by its deployment; the mail that it is cancelled in goes out."""
    digest, target, ended = "POST /digests", "Digests/send", []
    (query,) = queries("RDD704")

    async def prove(in_proof: LabInProof) -> None:
        outside = in_proof.outside
        witness = outside.on_received

        async def hold_the_second(received: Received) -> None:
            if len(outside.ledger) == 1:
                outside.hold(digest, at_most=20.0)
            await witness(received)

        outside.on_received = hold_the_second
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_effect(digest, times=2)
        assert await in_proof.query(query) == []
        await in_proof.deploy("newer")
        assert len(await in_proof.query(loops_before(await deployment(in_proof, "Digests")))) == 1
        assert await in_proof.operate("cancel", target) == 202
        await until_status(in_proof, target, "completed")
        ended.extend(await in_proof.query("select completion_failure from sys_invocation"))
        outside.held[digest][0].set()

    trace = instead(lab, CHAPTER / "endless-handler", prove, PLAIN).trace
    assert ended == [{"completion_failure": "[409] cancelled"}]
    assert trace.effect_counts() == {digest: 2}


@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "answered as on Lambda"])
def test_loops_on_all_older_deployments_are_found(lab: Lab, tmp_path: Path, whole: bool) -> None:
    """RDD704: each began on the one that was new then; a turn on the newest is no loop."""
    change = (as_on_lambda("digests"),) if whole else ()
    snippet = changed(tmp_path, "services/endless-handler/dont", *change)
    changed(tmp_path, "services/endless-handler/newer")
    digest, letter, target = "POST /digests", "POST /letters", "Digests/send/send"

    async def prove(in_proof: LabInProof) -> None:
        held = [in_proof.outside.hold(each, at_most=20.0) for each in (digest, letter)]
        loops = set()
        for times in (1, 2):
            loops.add((await in_proof.call(target, "ann"))["invocationId"])
            await in_proof.until_effect(digest, times=times)
            await in_proof.deploy("dont" if times == 1 else "newer")
        chain = (await in_proof.call(target, "ann"))["invocationId"]
        await in_proof.until_effect(letter)
        found = await in_proof.query(loops_before(await deployment(in_proof, "Digests")))
        assert {row["id"] for row in found} == loops
        for each in (*loops, chain):
            await in_proof.admin("PATCH", f"/invocations/{each}/kill")
        for event in held:
            event.set()
        await in_proof.until_all_completed()

    instead(lab, CHAPTER / "endless-handler", prove, PLAIN, snippet)


@pytest.mark.parametrize("action", ["resume", None])
def test_a_cancelled_loop_that_backs_off_ends_at_its_next_attempt(
    lab: Lab, tmp_path: Path, action: str | None
) -> None:
    """RDD704: until then it backs off, unless it is resumed; it mails no more."""
    pause = "timedelta(hours=1)" if action else "timedelta(seconds=1)"
    policy = f"restate.InvocationRetryPolicy(initial_interval={pause})"
    named = '("Digests"'
    snippet = changed(
        tmp_path,
        "services/endless-handler/dont",
        (f"{named})", f"{named}, invocation_retry_policy={policy})"),
    )
    digest, target, ended = "POST /digests", "Digests/send", []

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail(digest, times=1, status=500, after=1)
        await in_proof.call(f"{target}/send", "ann")
        await until_status(in_proof, target, "backing-off")
        assert await in_proof.operate("cancel", target) == 202
        await until_status(in_proof, target, "backing-off")
        if action:
            assert await in_proof.operate(action, target) == 200
        await until_status(in_proof, target, "completed")
        ended.extend(await in_proof.query("select completion_failure from sys_invocation"))
        assert len(in_proof.outside.ledger) == 2

    instead(lab, CHAPTER / "endless-handler", prove, PLAIN, snippet)
    assert ended == [{"completion_failure": "[409] cancelled"}]


@pytest.mark.parametrize(
    ("first", "condition", "turns"),
    [("cancelled", "False", 2), ("cancelled", None, 1), ("refused", None, 2)],
    ids=["cancelled, and caught like a failure", "cancelled", "its step has failed for good"],
)
def test_a_chain_goes_on_after_a_turn_that_failed_and_not_after_a_cancel(
    lab: Lab, tmp_path: Path, first: str, condition: str | None, turns: int
) -> None:
    """RDD704: by the page's condition; without it a cancelled turn sends the next one."""
    if condition is None:
        text = " ".join(PAGES["RDD704"].split())
        told = re.search(r"unless it is a cancel's \(`(.*?)`\)", text)
        assert told
        condition = f"error.{told[1]}"
    mails = '    if await ctx.run_typed("mail", mail, customer=customer):\n'
    catches = f"""    try:
        more = await ctx.run_typed("mail", mail, customer=customer)
    except restate.TerminalError as error:
        if {condition}:
            raise
        more = True
    if more:
"""
    fails = "    response.raise_for_status()\n"
    for_good = (
        "    if response.status_code == 400:\n        raise restate.TerminalError('refused')\n"
    )
    snippet = changed(
        tmp_path, "services/endless-handler/do", (mails, catches), (fails, f"{for_good}{fails}")
    )
    digest, target = "POST /digests", "Digests/send"

    async def prove(in_proof: LabInProof) -> None:
        # The second turn, if there is one, is the last.
        in_proof.outside.unwell[digest] = [400 if first == "refused" else 0, 410]
        mailing = in_proof.outside.hold(digest, at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_effect(digest)
        if first == "cancelled":
            assert await in_proof.operate("cancel", target) == 202
            await until_status(in_proof, target, "completed")
        mailing.set()
        await in_proof.until_all_completed()
        assert len(in_proof.outside.ledger) == turns

    trace = instead(lab, CHAPTER / "endless-handler", prove, snippet=snippet).trace
    ended = [{"failure": "cancelled", "code": 409}] if turns == 1 else ["", ""]
    assert [each.result for each in trace.invocations] == ended


def test_a_suspended_loop_goes_through_its_whole_past_each_day(lab: Lab) -> None:
    """RDD704: each attempt is sent more than the one before."""
    proof = load(CHAPTER / "endless-handler")
    dont = proof.snippet("dont")
    trace = lab.run(lab.laboratory.result(proof, dont, REPLAY_EVERY_AWAIT)).trace
    known = [attempt.known_entries for attempt in trace.invocations[0].attempts]
    assert len(known) > 8
    assert known == sorted(set(known)) and known[-1] > 30, known


@pytest.mark.parametrize("variant", ["dont", "do"])
def test_an_answer_that_is_lost_does_the_harm_of_a_crash(
    lab: Lab, tmp_path: Path, variant: str
) -> None:
    """RDD705: the book is lent, the answer comes too late, and the worker goes on."""
    proof = load(CHAPTER / "control-in-the-data-plane")
    lends = 'put(f"{API_URL}/books/dune", json=reader, headers=headers'
    impatient = f"{lends}, timeout=httpx.Timeout(30, read=0.5)"
    snippet = changed(tmp_path, f"services/control-in-the-data-plane/{variant}", (lends, impatient))
    lent = "PUT /books/dune"

    async def lose(in_proof: LabInProof) -> None:
        answered = in_proof.outside.hold(lent, at_most=20.0)
        borrowing = asyncio.create_task(proof.prove(in_proof))
        again = in_proof.until_effect(lent, times=2), in_proof.until_effect("POST /waiting")
        await in_proof.until_any(*again)
        answered.set()
        await borrowing

    result = instead(lab, proof.folder, lose, PLAIN, snippet)
    assert result.outcome == (proof.promise if variant == "do" else proof.symptom)
    assert result.trace.invocations[0].attempts[0].ends == "error"


def test_an_object_of_another_name_is_not_called_in_place(lab: Lab, tmp_path: Path) -> None:
    """RDD701: beside the Service, but at its address; what is under way stops with RT0016."""
    points = """points = restate.VirtualObject("Points")


@points.handler("add")
async def add_points(ctx: restate.ObjectContext) -> int:
    return 10


@orders.handler()
"""
    changed(
        tmp_path,
        "services/entity-in-a-service/dont",
        ("@orders.handler()\n", points),
        ("service_call(add, arg=customer)", "object_call(add_points, key=customer, arg=None)"),
        ("app([orders, accounts])", "app([orders, accounts, points])"),
    ).rename(tmp_path / "do.py")
    dont = changed(tmp_path, "services/entity-in-a-service/dont")

    async def pay(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /points/ann"] = 100
        await in_proof.call("Orders/pay", "ann")

    fixed = dataclasses.replace(crash_after_effect("PUT /points/ann"), successor="do")
    right = Holds(answers=[110])
    result = instead(lab, CHAPTER / "entity-in-a-service", pay, fixed, dont, promise=right)
    assert isinstance(result.outcome, JournalMismatch) and result.outcome.command == 1
    assert "RT0016" in {failure.code for failure in result.trace.failures()}


def test_an_object_does_not_take_the_name_of_a_service(lab: Lab) -> None:
    """RDD701: so it gets one of its own."""

    async def register(in_proof: LabInProof) -> None:
        with pytest.raises(LabError, match="META0006"):
            await in_proof.deploy("do")

    instead(lab, CHAPTER / "entity-in-a-service", register)


def test_a_caller_that_has_not_come_to_the_call_yet_is_counted(lab: Lab, tmp_path: Path) -> None:
    """RDD701: it will call the old `add`, of which there is no invocation yet. A new one won't."""
    rule = CHAPTER / "entity-in-a-service"
    renamed = ('VirtualObject("Accounts")', 'VirtualObject("Points")')
    changed(tmp_path, "services/entity-in-a-service/do", renamed)
    asks = "    return await ctx.service_call("
    snippet = changed(
        tmp_path,
        "services/entity-in-a-service/dont",
        (asks, f'    await ctx.run_typed("read", read, customer=customer)\n{asks}'),
    )
    counts = []

    async def look(in_proof: LabInProof) -> None:
        reads = {customer: f"GET /points/{customer}" for customer in ("ann", "bob")}
        in_proof.outside.answers |= dict.fromkeys(reads.values(), 100)
        comes = {who: in_proof.outside.hold(read, at_most=20.0) for who, read in reads.items()}
        query = query_of("entity-in-a-service", "dp_…", await deployment(in_proof, "Orders"))
        paying = asyncio.create_task(in_proof.call("Orders/pay", "ann"))
        await in_proof.until_effect(reads["ann"])
        targets = await in_proof.query("select target from sys_invocation")
        assert targets == [{"target": "Orders/pay"}]
        await in_proof.deploy("do")
        new = asyncio.create_task(in_proof.call("Orders/pay", "bob"))
        await in_proof.until_effect(reads["bob"])
        counts.extend(await in_proof.query(query))
        comes["ann"].set()
        assert await paying == 110
        counts.extend(await in_proof.query(query))
        left = await in_proof.query("select target from sys_invocation where status != 'completed'")
        assert {row["target"] for row in left} == {"Orders/pay", "Points/bob/add"}
        comes["bob"].set()
        assert await new == 110

    instead(lab, rule, look, PLAIN, snippet)
    assert [count for row in counts for count in row.values()] == [1, 0]


def test_lost_update_shows_in_the_journals(lab: Lab) -> None:
    """RDD701: two that answered with the same sum."""
    same = (
        "select entry_json from sys_journal j join sys_invocation i on i.id = j.id "
        "where i.target = 'Accounts/add' and j.entry_type = 'Command: Output'"
    )

    async def look(in_proof: LabInProof) -> None:
        first, second = await in_proof.query(same)
        assert first == second

    afterwards(lab, CHAPTER / "entity-in-a-service", look)


def test_a_workflow_past_the_new_state_meets_a_mismatch_in_place(lab: Lab) -> None:
    """RDD703."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Claim/c-1/run", "flood")

    fixed = dataclasses.replace(crash_after_effect("GET /assessments/claim-1"), successor="do")
    outcome = instead(lab, CHAPTER / "status-by-waiting", prove, fixed).outcome
    assert isinstance(outcome, JournalMismatch) and outcome.command == 2, outcome


@pytest.mark.parametrize(("changes", "told"), [((), "claim-1"), ((as_on_lambda("claims"),), "")])
def test_on_lambda_the_number_is_told_when_the_attempt_has_ended(
    lab: Lab, tmp_path: Path, changes: tuple[tuple[str, str], ...], told: str
) -> None:
    """RDD703: a `ctx.set` comes to the server with the answer, there as a whole."""
    assessment = "GET /assessments/claim-1"
    snippet = changed(tmp_path, "services/status-by-waiting/do", *changes)

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[assessment] = "covered"
        assessed = in_proof.outside.hold(assessment, at_most=30.0)
        running = asyncio.create_task(in_proof.call("Claim/c-1/run", "flood"))
        await in_proof.until_effect(assessment)
        if told:
            await in_proof.until_row("select key from state")
        assert await in_proof.call("Claim/c-1/tell") == told
        assessed.set()
        await running
        assert await in_proof.call("Claim/c-1/tell") == "claim-1"

    stimulus = dataclasses.replace(PLAIN, request_response=True)
    instead(lab, CHAPTER / "status-by-waiting", prove, stimulus, snippet)


def test_a_workflow_that_began_before_has_nothing_to_tell(lab: Lab) -> None:
    """RDD703: the handler is the new deployment's, the workflow the old one's, until it is forgotten."""
    assessment, target = "GET /assessments/claim-1", "Claim/c-1/run"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[assessment] = "covered"
        assessed = in_proof.outside.hold(assessment, at_most=30.0)
        running = asyncio.create_task(in_proof.call(target, "flood"))
        await in_proof.until_effect(assessment)
        left = query_of("status-by-waiting", "dp_…", await deployment(in_proof, "Claim"))
        await in_proof.deploy("do")
        await in_proof.call("Claim/c-1/tell")
        assert await in_proof.query(left) == [{"left": 1}]
        assessed.set()
        await running
        assert await in_proof.query(left) == [{"left": 1}]
        await in_proof.call("Claim/c-1/tell")
        old_way = await in_proof.serve("edge")
        await in_proof.post(old_way, "/numbers/c-1")
        assert await in_proof.operate("purge", target) == 200
        assert await in_proof.query(left) == [{"left": 0}]

    answers = [["claim-1", "covered"], "", "", "claim-1"]
    right = Holds(answers=answers, effects={"POST /claims": 1})
    outcome = instead(lab, CHAPTER / "status-by-waiting", prove, promise=right).outcome
    assert outcome == right


def test_the_event_names_the_type_of_what_was_awaited(lab: Lab, tmp_path: Path) -> None:
    """RDD706: the page's query with it, of a handler that returns a text and of one that returns nothing."""
    nothing = (
        "\n\napp =",
        "\n\n@shop.handler()\ndef lost(ctx: restate.Context, customer: str) -> None:\n    pass\n\n\napp =",
    )
    dont = changed(tmp_path, "services/sync-handler/dont", nothing)
    (query,) = queries("RDD706")
    found: set[tuple[str, str]] = set()

    async def look(in_proof: LabInProof) -> None:
        for target in ("Shop/delivered", "Shop/lost"):
            await in_proof.call(f"{target}/send", "ann")
            await until_status(in_proof, target, "paused")
        with_text = query.replace("i.status", "i.status, e.event_json", 1)
        for row in await in_proof.query(with_text):
            said = re.findall(r"object (\w+) can't", str(row["event_json"]))
            found.update((str(row["target"]), each) for each in said)

    instead(lab, CHAPTER / "sync-handler", look, snippet=dont)
    assert found == {("Shop/delivered", "str"), ("Shop/lost", "NoneType")}


LIMITED = "inactivity_timeout=timedelta(seconds=0.3), abort_timeout=timedelta(seconds=0.3)"


@pytest.mark.parametrize("variant", ["dont", "do"])
def test_a_step_that_meets_the_limits_does_the_harm_of_a_crash(
    lab: Lab, tmp_path: Path, variant: str
) -> None:
    """RDD705: the book is lent, the attempt is given up, and the next one decides anew or repeats."""
    proof = load(CHAPTER / "control-in-the-data-plane")
    lends, lent = 'put(f"{API_URL}/books/dune", json=reader, headers=headers', "PUT /books/dune"
    snippet = changed(
        tmp_path,
        f"services/control-in-the-data-plane/{variant}",
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        (lends, f"{lends}, timeout=30"),
        ('restate.Service("Library")', f'restate.Service("Library", {LIMITED})'),
    )

    async def borrow(in_proof: LabInProof) -> None:
        answered = in_proof.outside.hold(lent, at_most=20.0)
        borrowing = asyncio.create_task(proof.prove(in_proof))
        again = in_proof.until_effect(lent, times=2), in_proof.until_effect("POST /waiting")
        await in_proof.until_any(*again)
        answered.set()
        await borrowing

    trace = instead(lab, proof.folder, borrow, PLAIN, snippet).trace
    waiting = {} if variant == "do" else {"POST /waiting": 1}
    assert {failure.code for failure in trace.failures()} == {"RT0001"}
    assert trace.effect_counts() == {lent: 1, **waiting}


def test_a_try_that_met_the_limits_acts_beside_what_is_resumed(lab: Lab, tmp_path: Path) -> None:
    """RDD705: who had neither when it was looked has both then, so it is waited for first."""
    book, lent, target = "GET /books/dune", "PUT /books/dune", "Library/borrow"
    looks = 'httpx.get(f"{API_URL}/books/dune"'
    snippet = changed(
        tmp_path,
        "services/control-in-the-data-plane/dont",
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        (looks, f"{looks}, timeout=30"),
        ('restate.Service("Library")', f'restate.Service("Library", {LIMITED}, {LATER})'),
    )

    async def resume(in_proof: LabInProof) -> None:
        in_proof.outside.answers[book] = "bob"
        answered = in_proof.outside.hold(book, at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        await until_status(in_proof, target, "backing-off")
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        # Bob brings it back, and Ann has nothing yet.
        in_proof.outside.answers[book] = "free"
        in_proof.outside.hold(book, at_most=0.0)
        assert await in_proof.operate("resume", target) == 200
        await in_proof.until_all_completed()
        answered.set()
        await in_proof.until_effect("POST /waiting")

    trace = instead(lab, CHAPTER / "control-in-the-data-plane", resume, PLAIN, snippet).trace
    assert trace.failures()[0].code == "RT0001"
    assert trace.effect_counts().items() >= {lent: 1, "POST /waiting": 1}.items()


DECIDES_ANEW = """    try:
        return await ctx.run_typed("act", act, reader=reader, key=key)
    except restate.TerminalError as error:
        if error.message != "taken":
            raise
        return await ctx.run_typed("act", note_down, reader=reader, key=key)
"""
REFUSED = """    if response.status_code == 409:
        raise restate.TerminalError("taken")
"""


@pytest.mark.parametrize("anew", [False, True])
def test_book_that_somebody_else_took_meanwhile(lab: Lab, tmp_path: Path, anew: bool) -> None:
    """RDD705: the do asks for it until it is paused; after a terminal error a handler decides anew."""
    proof = load(CHAPTER / "control-in-the-data-plane")
    lent = "PUT /books/dune"
    puts = '    response = httpx.put(f"{API_URL}/books/dune", json=reader, headers=headers)\n'
    acts = '    return await ctx.run_typed("act", act, reader=reader, key=key)\n'
    changes = ((puts, puts + REFUSED), (acts, DECIDES_ANEW)) if anew else ()
    snippet = changed(tmp_path, f"services/{proof.folder.name}/do", *changes)

    async def taken(in_proof: LabInProof) -> None:
        in_proof.outside.fail(lent, times=9, status=409)
        await proof.prove(in_proof)

    trace = instead(lab, proof.folder, taken, PLAIN, snippet).trace
    assert trace.calls[0].answer == ("you are on the list" if anew else None)
    assert trace.invocations[0].status == ("completed" if anew else "paused")
    assert trace.effect_counts().get("POST /waiting", 0) == anew


@pytest.mark.parametrize("by_message", [True, False])
def test_cancel_while_the_book_is_lent_is_no_refusal(
    lab: Lab, tmp_path: Path, by_message: bool
) -> None:
    """RDD705: a handler that takes each terminal error for one notes down who gets the book."""
    proof = load(CHAPTER / "control-in-the-data-plane")
    lent, target = "PUT /books/dune", "Library/borrow"
    tells = '        if error.message != "taken":\n            raise\n'
    anew = DECIDES_ANEW if by_message else DECIDES_ANEW.replace(tells, "").replace(" as error", "")
    acts = '    return await ctx.run_typed("act", act, reader=reader, key=key)\n'
    snippet = changed(tmp_path, f"services/{proof.folder.name}/do", (acts, anew))

    async def cancel(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /books/dune"] = "free"
        answered = in_proof.outside.hold(lent, at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_effect(lent)
        assert await in_proof.operate("cancel", target) == 202
        await in_proof.until_all_completed()
        answered.set()

    trace = instead(lab, proof.folder, cancel, PLAIN, snippet).trace
    assert trace.effect_counts() == ({lent: 1} if by_message else {lent: 1, "POST /waiting": 1})


@pytest.mark.parametrize("first", ["lent", "noted down"])
@pytest.mark.parametrize("action", ["resume", "kill"])
def test_paused_before_it_decides_anew(lab: Lab, tmp_path: Path, action: str, first: str) -> None:
    """RDD705: on the old code; who has the book, or is on the list, would be both: it is killed."""
    proof = load(CHAPTER / "control-in-the-data-plane")
    book, target = "GET /books/dune", "Library/borrow"
    effects = ["PUT /books/dune", "POST /waiting"]
    if first == "noted down":
        effects.reverse()
    method, path = effects[0].lower().split()
    sends = f'{method}(f"{{API_URL}}{path}", json=reader, headers=headers'
    pause = "invocation_retry_policy=restate.InvocationRetryPolicy(initial_interval=timedelta(seconds=9))"
    snippet = changed(
        tmp_path,
        f"services/{proof.folder.name}/dont",
        (sends, f"{sends}, timeout=httpx.Timeout(30, read=0.5)"),
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ('restate.Service("Library")', f'restate.Service("Library", {pause})'),
    )

    async def look(in_proof: LabInProof) -> None:
        in_proof.outside.answers[book] = "free" if first == "lent" else "bob"
        answered = in_proof.outside.hold(effects[0], at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        await until_status(in_proof, target, "backing-off")
        answered.set()
        assert await in_proof.operate("pause", target) in (200, 202)
        await until_status(in_proof, target, "paused")
        if first == "noted down":  # and Bob has brought it back
            in_proof.outside.answers[book] = "free"
        assert await in_proof.operate(action, target) == 200
        await in_proof.until_all_completed()

    trace = instead(lab, proof.folder, look, PLAIN, snippet).trace
    assert trace.effect_counts().get(effects[0]) == 1
    assert trace.effect_counts().get(effects[1], 0) == (action == "resume")


@pytest.mark.parametrize("one_by_one", [True, False])
def test_calls_of_one_reader_are_resumed_one_by_one(lab: Lab, one_by_one: bool) -> None:
    """RDD705: whoever has the book when it comes to the second call would be noted down, too."""
    book, lent, waiting = "GET /books/dune", "PUT /books/dune", "POST /waiting"
    paused = "sys_invocation where status = 'paused'"
    completed = "sys_invocation where status = 'completed'"

    async def look(in_proof: LabInProof) -> None:
        in_proof.outside.fail(book, times=1000)
        for _ in range(2):
            await in_proof.call("Library/borrow/send", "ann")
        await in_proof.until_row(f"select count(*) from {paused} having count(*) = 2")
        in_proof.outside.unwell.clear()
        in_proof.outside.answers[book] = "free"
        first, second = (row["id"] for row in await in_proof.query(f"select id from {paused}"))
        await in_proof.admin("PATCH", f"/invocations/{first}/resume")
        await in_proof.until_row(f"select id from {completed} and id = '{first}'")
        in_proof.outside.answers[book] = "ann"
        has_it = one_by_one and lent in [each.effect for each in in_proof.outside.ledger]
        action = "kill" if has_it else "resume"
        await in_proof.admin("PATCH", f"/invocations/{second}/{action}")
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "control-in-the-data-plane", look, PLAIN).trace
    counts = trace.effect_counts()
    assert (counts.get(lent), counts.get(waiting, 0)) == (1, 0 if one_by_one else 1)


def test_whoever_has_the_book_and_asks_again_is_noted_down(lab: Lab) -> None:
    """RDD705: by the do, too; so who was killed doesn't ask again."""
    proof = load(CHAPTER / "control-in-the-data-plane")

    async def ask_twice(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await in_proof.call("Library/borrow", "ann")

    trace = instead(lab, proof.folder, ask_twice, PLAIN, proof.snippet("do")).trace
    assert [call.answer for call in trace.calls] == ["the book is yours", "you are on the list"]


def test_what_has_done_neither_is_resumed_there(lab: Lab, tmp_path: Path) -> None:
    """RDD705: on the old deployment, beside the new one."""
    proof = load(CHAPTER / "control-in-the-data-plane")
    book, target = "GET /books/dune", "Library/borrow"

    async def resume(in_proof: LabInProof) -> None:
        in_proof.outside.answers[book] = "free"
        in_proof.outside.fail(book, times=1000)
        await in_proof.call(f"{target}/send", "ann")
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("do")
        in_proof.outside.unwell.clear()
        assert await in_proof.operate("resume", target) == 200
        await in_proof.until_all_completed()

    trace = instead(lab, proof.folder, resume, PLAIN).trace
    assert trace.invocations[0].result == "the book is yours"
    assert trace.effect_counts().get("PUT /books/dune") == 1


def test_of_a_refused_call_and_its_caller_both_are_listed(lab: Lab, tmp_path: Path) -> None:
    """RDD702: only the caller is called again, under another key, and gets the first run's result."""
    app = "app = restate.app([shop, account])"
    order = f"""@shop.handler()
async def order(ctx: restate.Context, customer: str) -> str:
    return await ctx.service_call(sign_up, arg=customer)


{app}"""
    dont, _ = (
        changed(tmp_path, f"services/workflow-run-twice/{each}", (app, order))
        for each in ("dont", "do")
    )

    async def again(in_proof: LabInProof) -> None:
        (query,) = queries("RDD702")
        await in_proof.call("Shop/sign_up", "ann")
        await in_proof.call("Shop/order", "ann", idempotency_key="first")
        found = {row["target"] for row in await in_proof.query(query)}
        assert found == {"Shop/order", "Shop/sign_up"}
        await in_proof.deploy("do")
        await in_proof.call("Shop/order", "ann", idempotency_key="first")
        await in_proof.call("Shop/order", "ann", idempotency_key="second")

    trace = instead(lab, CHAPTER / "workflow-run-twice", again, snippet=dont).trace
    assert [call.status for call in trace.calls] == [200, 409, 409, 200]
    assert trace.calls[-1].answer == "account-1"
    assert trace.effect_counts() == {"POST /accounts": 1}


@pytest.mark.parametrize(("kept", "accounts"), [(True, 1), (False, 2)])
def test_whoever_was_refused_calls_again_while_the_run_is_kept(
    lab: Lab, tmp_path: Path, kept: bool, accounts: int
) -> None:
    """RDD702: a refused caller is listed longer than the run, which is made once more then."""
    (query,) = queries("RDD702")
    shortly = "@account.main(workflow_retention=timedelta(seconds=3))"
    changes = [
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ("@account.main()", shortly),
    ]
    for each in ("do", "dont"):
        changed(tmp_path, f"services/workflow-run-twice/{each}", *([] if kept else changes))

    async def again(in_proof: LabInProof) -> None:
        await load(CHAPTER / "workflow-run-twice").prove(in_proof)
        if not kept:
            await in_proof.until_no_row(
                "select id from sys_invocation where target = 'Account/ann/run'"
            )
        await in_proof.deploy("do")
        assert len(await in_proof.query(query)) == 1
        await in_proof.call("Shop/sign_up", "ann")

    rule = CHAPTER / "workflow-run-twice"
    server = {} if kept else {"RESTATE_WORKER__CLEANUP_INTERVAL": "1000ms"}
    trace = instead(lab, rule, again, snippet=tmp_path / "dont.py", server=server).trace
    assert trace.calls[-1].answer == f"account-{accounts}"
    assert trace.effect_counts() == {"POST /accounts": accounts}


def test_a_refused_caller_that_calls_again_makes_its_earlier_steps_again(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD702: it has a journal of its own; what is done once is the workflow."""
    takes = "def sign_up(ctx: restate.Context, customer: str) -> str:\n"
    step = 'lambda: httpx.post(f"{API_URL}/fees").text'
    paid = (takes, f'{takes}    await ctx.run_typed("charge", {step})\n')
    dont, _ = (
        changed(tmp_path, f"services/workflow-run-twice/{each}", paid) for each in ("dont", "do")
    )

    async def again(in_proof: LabInProof) -> None:
        await in_proof.call("Account/ann/run")
        await in_proof.call("Shop/sign_up", "ann", idempotency_key="first")
        await in_proof.deploy("do")
        await in_proof.call("Shop/sign_up", "ann", idempotency_key="second")

    trace = instead(lab, CHAPTER / "workflow-run-twice", again, snippet=dont).trace
    assert [call.status for call in trace.calls] == [200, 409, 200]
    assert trace.effect_counts() == {"POST /accounts": 1, "POST /fees": 2}


def test_a_run_that_failed_is_what_the_next_one_attaches_to(lab: Lab, tmp_path: Path) -> None:
    """RDD702: a send starts none in its place."""
    opening = '    response = httpx.post(f"{API_URL}/accounts", json={"customer": customer})\n'
    refused = (
        f'{opening}    if response.status_code == 403:\n        raise restate.TerminalError("no")\n'
    )
    do = changed(tmp_path, "services/workflow-run-twice/do", (opening, refused))

    async def twice(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /accounts", times=1, status=403)
        await load(CHAPTER / "workflow-run-twice").prove(in_proof)

    trace = instead(lab, CHAPTER / "workflow-run-twice", twice, snippet=do).trace
    assert [(call.status, call.answer["message"]) for call in trace.calls] == [(500, "no")] * 2
    assert len(trace.effects) == 1


@pytest.mark.parametrize(("variant", "end"), [("dont", "failure"), ("do", "success")])
def test_cancel_of_the_caller_reaches_the_workflow_through_a_call_only(
    lab: Lab, variant: str, end: str
) -> None:
    """RDD702: sent, it goes on."""

    async def cancel(in_proof: LabInProof) -> None:
        opened = in_proof.outside.hold("POST /accounts", at_most=20.0)
        signing = asyncio.create_task(in_proof.call("Shop/sign_up", "ann"))
        await in_proof.until_effect("POST /accounts")
        assert await in_proof.operate("cancel", "Shop/sign_up") == 202
        await until_status(in_proof, "Shop/sign_up", "completed")
        opened.set()
        await signing
        await in_proof.until_all_completed()
        (row,) = await in_proof.query(
            "select completion_result from sys_invocation where target = 'Account/ann/run'"
        )
        assert row["completion_result"] == end

    rule = CHAPTER / "workflow-run-twice"
    instead(lab, rule, cancel, snippet=rule / f"{variant}.py")


def test_a_workflow_without_its_number_tells_it_on_the_fixed_code(lab: Lab) -> None:
    """RDD703: where it is resumed there, it writes the state, though it began before."""
    target = "Claim/c-1/run"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /assessments/claim-1"] = "covered"
        in_proof.outside.fail("POST /claims", times=1000)
        await in_proof.call(f"{target}/send", "flood")
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("do")
        assert await in_proof.call("Claim/c-1/tell") == ""
        in_proof.outside.unwell.clear()
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()
        assert await in_proof.call("Claim/c-1/tell") == "claim-1"

    instead(lab, CHAPTER / "status-by-waiting", prove, PLAIN)


SLOW = '    await asyncio.to_thread(httpx.get, f"{API_URL}/slow", timeout=30)\n'


@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "answered as on Lambda"])
def test_a_workflow_with_nothing_but_its_input_is_left_on_the_old_code(
    lab: Lab, tmp_path: Path, whole: bool
) -> None:
    """RDD703: it is bound to no deployment yet, and will never write its number. A new one isn't counted."""
    enters = "    number = await ctx.run_typed("
    slowly = (("import os\n", "import asyncio\nimport os\n"), (enters, SLOW + enters))
    changes = (as_on_lambda("claims"),) if whole else slowly
    snippet = changed(tmp_path, "services/status-by-waiting/dont", *changes)
    changed(tmp_path, "services/status-by-waiting/do")
    reached = "POST /claims" if whole else "GET /slow"
    counts: list[object] = []

    async def prove(in_proof: LabInProof) -> None:
        assessments = (f"GET /assessments/claim-{number}" for number in (1, 2))
        in_proof.outside.answers |= {"GET /slow": True} | dict.fromkeys(assessments, "covered")
        answered = in_proof.outside.hold(reached, at_most=20.0)
        query = query_of("status-by-waiting", "dp_…", await deployment(in_proof, "Claim"))
        running = asyncio.create_task(in_proof.call("Claim/c-1/run", "flood"))
        await in_proof.until_effect(reached)
        assert len(await in_proof.query("select id from sys_journal")) == 1
        await in_proof.deploy("do")
        counts.extend(await in_proof.query(query))
        answered.set()
        await running
        await in_proof.call("Claim/c-2/run", "flood")
        counts.extend(await in_proof.query(query))
        told = [await in_proof.call(f"Claim/c-{claim}/tell") for claim in (1, 2)]
        assert told == ["", "claim-2"]

    stimulus = dataclasses.replace(PLAIN, request_response=whole)
    instead(lab, CHAPTER / "status-by-waiting", prove, stimulus, snippet)
    assert counts == [{"left": 1}, {"left": 1}]


def test_a_loop_in_its_first_mail_is_found_and_no_chain_is(lab: Lab) -> None:
    """RDD704: it hasn't slept; the chain beside it, sent twice under one key, is a single one."""
    digest, target, chain = "POST /digests", "Digests/send/send", "chain-ann"
    (query,) = queries("RDD704")

    async def prove(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold(digest, at_most=20.0)
        in_proof.outside.fail(digest, times=1, status=410)
        loop = await in_proof.call(target, "ann")
        await in_proof.until_effect(digest)
        await in_proof.deploy("newer")
        first, again = [
            await in_proof.call(f"{target}?delay=10h", "ann", idempotency_key=chain)
            for _ in range(2)
        ]
        assert first["invocationId"] == again["invocationId"]
        assert await in_proof.query(query.replace("count(*) > 5", "count(*) > 0")) == []
        (found,) = await in_proof.query(loops_before(await deployment(in_proof, "Digests")))
        assert found == {"id": loop["invocationId"], "status": "running"}
        begun = await in_proof.query("select id from sys_invocation")
        assert {row["id"] for row in begun} == {found["id"], first["invocationId"]}
        mailed.set()
        await in_proof.admin("PATCH", f"/invocations/{first['invocationId']}/kill")
        await in_proof.until_all_completed()

    instead(lab, CHAPTER / "endless-handler", prove, PLAIN)


@pytest.mark.parametrize("ended_by", ["cancel", "kill", "timeout"])
def test_write_of_an_attempt_that_was_ended_comes_after_others(
    lab: Lab, tmp_path: Path, ended_by: str
) -> None:
    """RDD701: the object lets the next one in, and the late write takes back what that has written."""
    write, reached = "PUT /points/ann", "GET /reached"
    sending = "    response = httpx.put("
    slow = f'    httpx.get(f"{{API_URL}}/reached", timeout=30).raise_for_status()\n{sending}'
    half = "timedelta(seconds=0.3)"
    limits = f'VirtualObject("Accounts", inactivity_timeout={half}, abort_timeout={half})'
    changes = [(sending, slow)]
    if ended_by == "timeout":
        changes += [
            ("import os\n", "import os\nfrom datetime import timedelta\n"),
            ('VirtualObject("Accounts")', limits),
        ]
    snippet = changed(tmp_path, "services/entity-in-a-service/do", *changes)
    sums: list[object] = []

    async def pay(in_proof: LabInProof) -> None:
        in_proof.outside.answers |= {"GET /points/ann": 100, reached: True}
        arrives = in_proof.outside.hold(reached, at_most=20.0)
        paying = asyncio.create_task(in_proof.call("Orders/pay", "ann"))
        await in_proof.until_effect(reached)
        in_proof.outside.hold(reached, at_most=0.0)
        if ended_by == "timeout":
            assert await paying == 110
        else:
            assert await in_proof.operate(ended_by, "Accounts/ann/add") in (200, 202)
            assert (await paying)["code"] == 409
            assert await in_proof.call("Orders/pay", "ann") == 110
        assert await in_proof.call("Orders/pay", "ann") == 120
        arrives.set()
        await in_proof.until_effect(write, times=3)
        sums.extend(each.body for each in in_proof.outside.ledger if each.effect == write)

    instead(lab, CHAPTER / "entity-in-a-service", pay, PLAIN, snippet)
    assert sums == [110, 120, 110]


@pytest.mark.parametrize(("key", "waits"), [("ann", True), ("bob", False)])
def test_only_orders_of_the_same_customer_wait(lab: Lab, key: str, waits: bool) -> None:
    """RDD701: the object's key is a queue of its own."""
    rule, read = CHAPTER / "entity-in-a-service", "GET /points/ann"

    async def pay(in_proof: LabInProof) -> None:
        in_proof.outside.answers |= {read: 100, "GET /points/bob": 100}
        answered = in_proof.outside.hold(read, at_most=20.0)
        first = asyncio.create_task(in_proof.call("Orders/pay", "ann"))
        await in_proof.until_effect(read)
        other = asyncio.create_task(in_proof.call("Orders/pay", key))
        if waits:
            await in_proof.until_row(
                "select id from sys_invocation where target = 'Accounts/ann/add' and status = 'pending'"
            )
        else:
            await in_proof.until_effect("PUT /points/bob")
        assert "PUT /points/ann" not in [each.effect for each in in_proof.outside.ledger]
        answered.set()
        assert [await first, await other] == [110, 120 if waits else 110]

    instead(lab, rule, pay, PLAIN, rule / "do.py")


def test_a_caller_with_nothing_but_its_input_is_counted(lab: Lab, tmp_path: Path) -> None:
    """RDD701: it is bound to no deployment yet, runs on the old one, and will call the old `add`."""
    renamed = ('VirtualObject("Accounts")', 'VirtualObject("Points")')
    changed(tmp_path, "services/entity-in-a-service/do", renamed)
    asks, slow = "    return await ctx.service_call(", "GET /slow"
    snippet = changed(
        tmp_path,
        "services/entity-in-a-service/dont",
        ("import os\n", "import asyncio\nimport os\n"),
        (asks, f'    await asyncio.to_thread(httpx.get, f"{{API_URL}}/slow", timeout=30)\n{asks}'),
    )
    counts: list[object] = []

    async def look(in_proof: LabInProof) -> None:
        in_proof.outside.answers |= {"GET /points/ann": 100, slow: True}
        answered = in_proof.outside.hold(slow, at_most=20.0)
        query = query_of("entity-in-a-service", "dp_…", await deployment(in_proof, "Orders"))
        paying = asyncio.create_task(in_proof.call("Orders/pay", "ann"))
        await in_proof.until_effect(slow)
        await in_proof.deploy("do")
        for _ in range(2):
            counts.extend(count for row in await in_proof.query(query) for count in row.values())
            answered.set()
            assert await paying == 110
        called = await in_proof.query("select target from sys_invocation")
        assert {row["target"] for row in called} == {"Orders/pay", "Accounts/add"}

    instead(lab, CHAPTER / "entity-in-a-service", look, PLAIN, snippet)
    assert counts == [1, 0]
