"""What the pages of the chapter communication claim beside their asides, done on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import requires
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import restate

from restate_guide.lab import (
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
from tests.conftest import Lab, apart
from tests.fixes import (
    LATER,
    SNIPPETS,
    afterwards,
    changed,
    deployment,
    instead,
    queries,
    until_status,
)

CHAPTER = SNIPPETS / "communication"

pytestmark = pytest.mark.server


def answering(slug: str, *answers: object) -> Holds:
    """What the rule promises, but for the answers."""
    return dataclasses.replace(load(CHAPTER / slug).promise, answers=list(answers))


def test_step_at_the_ingress_with_a_key_calls_once(lab: Lab, tmp_path: Path) -> None:
    """RDD301: a key drawn before the step brings it through the crash that repeats it without."""
    keyed = changed(
        tmp_path,
        "communication/ingress-client-in-handler/step",
        ("def call_goodbye(user: str)", "def call_goodbye(user: str, key: str)"),
        ("service_call(goodbye, user)", "service_call(goodbye, user, idempotency_key=key)"),
        ("call_goodbye, user=user)", "call_goodbye, user=user, key=str(ctx.uuid()))"),
    )
    proof = load(CHAPTER / "ingress-client-in-handler")
    result = lab.run(lab.laboratory.result(proof, keyed, crash_before_journal("goodbye")))
    assert result.outcome.kind == "holds", result.outcome


@pytest.mark.parametrize(("key", "mails"), [(None, 2), ("str(ctx.uuid())", 1)])
def test_a_client_that_gave_up_has_its_step_tried_again(
    lab: Lab, tmp_path: Path, key: str | None, mails: int
) -> None:
    """RDD301: its patience is 5 seconds by itself, and less here."""
    changes = [
        (
            "    async with restate.create_client(INGRESS_URL) as client:\n",
            "    async with restate.create_client(INGRESS_URL) as client:\n"
            "        client.client.timeout = 1.5\n",
        )
    ]
    if key:
        changes += [
            ("def call_goodbye(user: str)", "def call_goodbye(user: str, key: str)"),
            ("service_call(goodbye, user)", "service_call(goodbye, user, idempotency_key=key)"),
            ("call_goodbye, user=user)", f"call_goodbye, user=user, key={key})"),
        ]
    patience = changed(tmp_path, "communication/ingress-client-in-handler/step", *changes)

    async def prove(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /mails", at_most=20.0)
        closing = asyncio.create_task(in_proof.call("Accounts/close", "ann"))
        await in_proof.until_row(
            "select id from sys_journal_events where event_json like '%ReadTimeout%'"
        )
        mailed.set()
        await closing
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "ingress-client-in-handler", prove, PLAIN, patience).trace
    assert trace.effect_counts() == {"POST /mails": mails, "POST /deletions": 1}


@pytest.mark.parametrize("missing", ["httpx", "h2"])
def test_the_ingress_client_needs_what_its_extra_brings(missing: str) -> None:
    """RDD307, RDD312."""
    script = (
        f"import asyncio, sys; sys.modules['{missing}'] = None; import restate\n"
        "asyncio.run(restate.create_client('http://127.0.0.1:1').__aenter__())\n"
    )
    failed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "ImportError" in failed.stderr
    needed = "restate-sdk[client]" if missing == "httpx" else "httpx[http2]"
    assert needed in failed.stderr
    assert "httpx[http2]; extra == 'client'" in [
        each.replace(" ;", ";") for each in requires("restate-sdk") or []
    ]


async def patience_of_the_client() -> httpx.Timeout:
    async with restate.create_client("http://127.0.0.1:1") as client:
        return client.client.timeout  # type: ignore[attr-defined, no-any-return]


def test_the_ingress_client_gives_up_after_5_seconds() -> None:
    """RDD307: httpx's own patience."""
    assert apart(asyncio.run, patience_of_the_client()) == httpx.Timeout(5)


@pytest.mark.parametrize("slug", ["ingress-client-in-handler", "time-in-idempotency-key"])
def test_twins_are_found_by_their_input(lab: Lab, slug: str) -> None:
    """RDD301 and RDD308 speak of the query of RDD307."""
    found = []

    async def look(in_proof: LabInProof) -> None:
        found.extend(await in_proof.query(queries("RDD307")[0]))

    afterwards(lab, CHAPTER / slug, look)
    assert [row["times"] for row in found] == [2]


@pytest.mark.parametrize(
    ("slug", "target", "text"),
    [
        ("wrong-call-kind", "Orders/place", '"ann"'),
        ("identity-from-the-payload", "Accounts/payout", '{"user": "alice", "iban": "M1"}'),
    ],
)
def test_an_input_in_the_journal_is_numbers_of_bytes(
    lab: Lab, slug: str, target: str, text: str
) -> None:
    """RDD302, RDD310."""
    inputs = "select entry_json from sys_journal j join sys_invocation i on i.id = j.id "
    inputs += (
        f"where i.target = '{target}' and j.entry_type = 'Command: Input' order by i.created_at"
    )

    async def look(in_proof: LabInProof) -> None:
        row, *_ = await in_proof.query(inputs)
        assert bytes(json.loads(row["entry_json"])["Command"]["Input"]["payload"]).decode() == text

    afterwards(lab, CHAPTER / slug, look)


def test_orders_that_the_fixed_code_placed_are_not_added_up_again(lab: Lab) -> None:
    """RDD302: the query names the callers of the empty key, and no others have the old inputs."""
    placed = []

    async def look(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/place", "ann")
        await in_proof.deploy("do")
        await in_proof.call("Orders/place", "bob")
        for row in await in_proof.query(queries("RDD302")[0]):
            (entry,) = await in_proof.query(
                f"select entry_json from sys_journal where id = '{row['invoked_by_id']}' and index = 0"
            )
            payload = json.loads(entry["entry_json"])["Command"]["Input"]["payload"]
            placed.append(json.loads(bytes(payload)))
        orders = "select id from sys_invocation where target = 'Orders/place'"
        assert len(await in_proof.query(orders)) == 2

    instead(lab, CHAPTER / "wrong-call-kind", look)
    assert placed == ["ann"]


@pytest.mark.parametrize(
    ("rule", "slug", "text"),
    [
        ("RDD307", "retry-without-idempotency-key", '"order-1"'),
        ("RDD309", "key-inside-a-handler", '"invoice-1"'),
    ],
)
def test_the_query_for_twins_tells_their_input_in_numbers(
    lab: Lab, rule: str, slug: str, text: str
) -> None:
    async def look(in_proof: LabInProof) -> None:
        (row,) = await in_proof.query(queries(rule)[0])
        numbers = row["input"].partition("]")[0] + "]"
        assert bytes(json.loads(numbers)).decode() == text

    afterwards(lab, CHAPTER / slug, look)


@pytest.mark.parametrize(("variant", "end"), [("do", "failure"), ("dont", "success")])
def test_cancel_reaches_a_call_through_the_context_only(lab: Lab, variant: str, end: str) -> None:
    """RDD301."""
    called = "select completion_result, invoked_by_target from sys_invocation"
    called += " where target = 'Mails/goodbye' and status = 'completed'"
    found = []

    async def cancel(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /mails", at_most=20.0)
        closing = asyncio.create_task(in_proof.call("Accounts/close", "ann"))
        await in_proof.until_effect("POST /mails")
        assert await in_proof.operate("cancel", "Accounts/close") == 202
        await in_proof.until_row(
            called
            if variant == "do"
            else "select j.id from sys_journal j join sys_invocation i on i.id = j.id "
            "where i.target = 'Accounts/close' and j.entry_type = 'Notification: Signal'"
        )
        mailed.set()
        await closing
        await in_proof.until_all_completed()
        found.extend(await in_proof.query(called))

    rule = CHAPTER / "ingress-client-in-handler"
    result = instead(lab, rule, cancel, PLAIN, rule / f"{variant}.py")
    assert result.trace.calls[0].status == 409
    assert result.trace.effect_counts()["POST /mails"] == 1
    caller = {"invoked_by_target": "Accounts/close"} if variant == "do" else {}
    assert found == [{"completion_result": end, **caller}]


@pytest.mark.parametrize(("variant", "waits"), [("do", "suspended"), ("dont", "running")])
def test_who_waits_through_the_context_is_suspended_meanwhile(
    lab: Lab, variant: str, waits: str
) -> None:
    """RDD301: at the ingress the worker stays, is let go at its next step, and then calls once more."""
    rule = CHAPTER / "ingress-client-in-handler"

    async def prove(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /mails", at_most=20.0)
        await in_proof.call("Accounts/close/send", "ann")
        await in_proof.until_effect("POST /mails")
        await in_proof.until_still(1.0)
        await until_status(in_proof, "Accounts/close", waits)
        mailed.set()
        await in_proof.until_all_completed()

    soon = {"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "200ms"}
    trace = instead(lab, rule, prove, PLAIN, rule / f"{variant}.py", server=soon).trace
    assert trace.effect_counts()["POST /mails"] == (1 if variant == "do" else 2)


@pytest.mark.parametrize("kind", ["service_send", "object by generic_call", "workflow"])
def test_other_calls_without_a_key_go_to_the_empty_one(lab: Lab, tmp_path: Path, kind: str) -> None:
    """RDD302."""
    call = "    return await ctx.service_call(add, arg=10)"
    changes = {
        "service_send": [(call, "    ctx.service_send(add, arg=10)\n    return 0")],
        "object by generic_call": [
            (call, '    return int(await ctx.generic_call("Points", "add", b"10"))')
        ],
        "workflow": [
            ('restate.VirtualObject("Points")', 'restate.Workflow("Points")'),
            ("@points.handler()", "@points.main()"),
            ("ctx: restate.ObjectContext", "ctx: restate.WorkflowContext"),
        ],
    }[kind]
    snippet = changed(tmp_path, "communication/wrong-call-kind/dont", *changes)
    keys = []

    async def place(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/place", "ann")
        await in_proof.until_all_completed()
        keys.extend(await in_proof.query(queries("RDD302")[0]))

    answer = answering("wrong-call-kind", 0 if kind == "service_send" else 10)
    result = instead(lab, CHAPTER / "wrong-call-kind", place, PLAIN, snippet, promise=answer)
    assert [row["target"] for row in keys] == ["Points//add"], result.trace.invocations
    assert [(state.key, state.value) for state in result.trace.state] == [("", 10)]


CHECKS_OUT_SHARED = (
    "@cart.handler()\nasync def check_out(",
    '@cart.handler(kind="shared")\nasync def check_out(',
)


@pytest.mark.parametrize("where", ["a shared handler", "from a shared handler", "another key"])
def test_calls_that_stand_in_no_queue_of_the_callers(lab: Lab, tmp_path: Path, where: str) -> None:
    """RDD304."""
    changes = {
        "a shared handler": [
            ("@cart.handler()\nasync def empty(", '@cart.handler(kind="shared")\nasync def empty('),
            ('    ctx.clear("items")\n', '    await ctx.get("items")\n'),
        ],
        "from a shared handler": [CHECKS_OUT_SHARED],
        "another key": [("key=ctx.key()", 'key="bob"')],
    }[where]
    snippet = changed(tmp_path, "communication/self-call-same-key/dont", *changes)
    result = lab.run(lab.laboratory.result(load(CHAPTER / "self-call-same-key"), snippet, PLAIN))
    assert [call.answer for call in result.trace.calls] == ["", ["pot"]]


WAITING_OR_GONE = pytest.mark.parametrize(
    "stimulus", [PLAIN, REPLAY_EVERY_AWAIT], ids=["running", "suspended"]
)
"""An invocation that waits for ever is the one at first, and the other after a while."""
ROUNDS = 6
"""How often something is tried that comes about by chance, and was seen at least every second time."""


async def until_stuck(in_proof: LabInProof, first: str, last: str, stimulus: Stimulus) -> None:
    """Waits until the last call of a circle stands in the queue behind the first one."""
    invocation = "select id from sys_invocation where target = "
    await in_proof.until_row(f"{invocation} '{last}' and status = 'pending'")
    if stimulus is REPLAY_EVERY_AWAIT:
        await in_proof.until_row(f"{invocation} '{first}' and status = 'suspended'")


async def resume_on_its_own_code(in_proof: LabInProof, target: str, old: str | None) -> None:
    """Resumes what is paused where it began; on the latest deployment first if the `old` one is named.

    There it stays, so that it has to be told where it began.
    """
    again = {"deployment": old} if old else {}
    mismatch = "from sys_journal_events where event_json like '%RT0016%'"
    for where in ({"deployment": "latest"}, {}) if old else ():
        seen = len(await in_proof.query(f"select id {mismatch}"))
        assert await in_proof.operate("resume", target, **where) == 200
        await in_proof.until_row(f"select count(*) {mismatch} having count(*) > {seen}")
        await until_status(in_proof, target, "paused")
    assert await in_proof.operate("resume", target, **again) == 200


async def ends(in_proof: LabInProof, target: str) -> list[str | None]:
    """How the invocations of a target ended that have begun; of others the server keeps nothing."""
    rows = await in_proof.query(
        f"select completion_failure from sys_invocation where target = '{target}' "
        "and status = 'completed'"
    )
    return [row.get("completion_failure") for row in rows]


PAYS = (
    ("import restate\n", "import os\n\nimport httpx\nimport restate\n"),
    (
        "\n\n@cart.handler()\nasync def put(",
        '\n\ndef pay() -> None:\n    httpx.post(os.environ["API_URL"] + "/charges", timeout=60)\n'
        "\n\n@cart.handler()\nasync def put(",
    ),
)
"""What a cart needs to ask for money outside."""


@pytest.mark.parametrize(
    ("variant", "line", "left"),
    [
        ("message", "    ctx.object_send(empty, key=ctx.key(), arg=None)\n", []),
        ("do", "    clear(ctx)\n    return bought\n", [["pan"]]),
    ],
)
def test_what_came_meanwhile_is_emptied_by_a_message_only(
    lab: Lab, tmp_path: Path, variant: str, line: str, left: list[list[str]]
) -> None:
    """RDD304: it stood in the queue before the message did."""
    paying = '    await ctx.run_typed("pay", pay)\n'
    slow = changed(
        tmp_path,
        f"communication/self-call-same-key/{variant}",
        *PAYS,
        (line, paying + line),
    )

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=30.0)
        await in_proof.call("Cart/ann/put", "pot")
        buying = asyncio.create_task(in_proof.call("Cart/ann/check_out"))
        await in_proof.until_effect("POST /charges")
        await in_proof.call("Cart/ann/put/send", "pan")
        await in_proof.until_row("select id from sys_invocation where status = 'pending'")
        charged.set()
        assert await buying == ["pot"]
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "self-call-same-key", prove, PLAIN, slow).trace
    assert [state.value for state in trace.state] == left


def test_a_message_whose_sender_has_ended_is_no_self_call(lab: Lab, tmp_path: Path) -> None:
    """RDD304: it stands in the queue behind another call, and the query leaves it out."""
    posts = '    await ctx.run_typed("post", lambda: httpx.post(API_URL + {}, timeout=60).text)\n'
    putting = "async def put(ctx: restate.ObjectContext, item: str) -> None:\n"
    sending = "    ctx.object_send(empty, key=ctx.key(), arg=None)\n"
    api = '\nimport httpx\nimport restate\n\nAPI_URL = os.environ["API_URL"]\n'
    slow = changed(
        tmp_path,
        "communication/self-call-same-key/message",
        ("import restate\n", f"import os\n{api}"),
        (putting, putting + posts.format('f"/{item}"')),
        (sending, posts.format('"/sold"') + sending),
    )

    async def prove(in_proof: LabInProof) -> None:
        sold, pan = (
            in_proof.outside.hold(f"POST /{each}", at_most=30.0) for each in ("sold", "pan")
        )
        await in_proof.call("Cart/ann/put", "pot")
        buying = asyncio.create_task(in_proof.call("Cart/ann/check_out"))
        await in_proof.until_effect("POST /sold")
        await in_proof.call("Cart/ann/put/send", "pan")
        await in_proof.until_row("select id from sys_invocation where status = 'pending'")
        sold.set()
        await buying
        await in_proof.until_effect("POST /pan")
        await until_status(in_proof, "Cart/ann/empty", "pending")
        assert await in_proof.query(queries("RDD304")[0]) == []
        pan.set()
        await in_proof.until_all_completed()

    instead(lab, CHAPTER / "self-call-same-key", prove, PLAIN, slow)


@pytest.mark.parametrize(
    ("variant", "line", "changes"),
    [
        ("message", "    ctx.object_send(empty, key=ctx.key(), arg=None)\n", ()),
        ("dont", '    ctx.set("items", [*items, item])\n', (CHECKS_OUT_SHARED,)),
    ],
    ids=["a message", "of a shared handler"],
)
def test_a_call_that_only_waits_its_turn_is_listed_too(
    lab: Lab, tmp_path: Path, variant: str, line: str, changes: tuple[tuple[str, str], ...]
) -> None:
    """RDD304: it goes through once the key is free, and is in the list no more."""
    slow = changed(
        tmp_path,
        f"communication/self-call-same-key/{variant}",
        *PAYS,
        (line, f'{line}    await ctx.run_typed("pay", pay)\n'),
        *changes,
    )

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=30.0)
        await in_proof.call("Cart/ann/put/send", "pot")
        buying = asyncio.create_task(in_proof.call("Cart/ann/check_out"))
        await in_proof.until_effect("POST /charges")
        await until_status(in_proof, "Cart/ann/empty", "pending")
        (found,) = await in_proof.query(queries("RDD304")[0])
        assert (found["waits"], found["holds"]) == ("Cart/ann/empty", "Cart/ann/check_out")
        charged.set()
        await buying
        await in_proof.until_all_completed()
        assert await in_proof.query(queries("RDD304")[0]) == []

    trace = instead(lab, CHAPTER / "self-call-same-key", prove, PLAIN, slow).trace
    assert trace.calls[1].status == 200
    assert not trace.state, "emptied"


@pytest.mark.parametrize("target", ["Cart/ann/empty", "Cart/ann/put"])
def test_a_message_of_who_waits_for_ever_is_listed_beside_its_call(
    lab: Lab, tmp_path: Path, target: str
) -> None:
    """RDD304: to cancel the call lets the message through; to cancel the message, too, loses it."""
    calls = "    await ctx.object_call(empty, key=ctx.key(), arg=None)\n"
    sends = '    ctx.object_send(put, key=ctx.key(), arg="pan")\n'
    snippet = changed(tmp_path, "communication/self-call-same-key/dont", (calls, f"{sends}{calls}"))

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Cart/ann/put", "pot")
        await in_proof.call("Cart/ann/check_out/send")
        await until_stuck(in_proof, "Cart/ann/check_out", "Cart/ann/empty", PLAIN)
        found = {row["waits"]: row["id"] for row in await in_proof.query(queries("RDD304")[0])}
        assert found.keys() == {"Cart/ann/empty", "Cart/ann/put"}
        for each in dict.fromkeys([target, "Cart/ann/empty"]):
            await in_proof.admin("PATCH", f"/invocations/{found[each]}/cancel")
        await until_status(in_proof, "Cart/ann/check_out", "completed")
        await in_proof.until_no_row("select id from sys_invocation where status != 'completed'")

    trace = instead(lab, CHAPTER / "self-call-same-key", prove, PLAIN, snippet).trace
    kept = ["pot"] if target == "Cart/ann/put" else ["pot", "pan"]
    assert [state.value for state in trace.state] == [kept]


@WAITING_OR_GONE
def test_cancel_of_the_call_that_waits_keeps_the_cart(lab: Lab, stimulus: Stimulus) -> None:
    """RDD304: on the new deployment, those in the queue and those to come check out, under another key."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Cart/ann/put", "pot")
        first = asyncio.create_task(in_proof.call("Cart/ann/check_out", idempotency_key="k-1"))
        await until_stuck(in_proof, "Cart/ann/check_out", "Cart/ann/empty", stimulus)
        (found,) = await in_proof.query(queries("RDD304")[0])
        assert (found["waits"], found["holds"]) == ("Cart/ann/empty", "Cart/ann/check_out")
        put = asyncio.create_task(in_proof.call("Cart/ann/put", "pan"))
        await in_proof.until_row(
            "select id from sys_invocation where target = 'Cart/ann/put' and status = 'pending'"
        )
        await in_proof.deploy("do")
        await in_proof.admin("PATCH", f"/invocations/{found['id']}/cancel")
        await asyncio.gather(first, put)
        assert await ends(in_proof, "Cart/ann/check_out") == ["[409] canceled"]
        assert await ends(in_proof, "Cart/ann/empty") == []
        await in_proof.call("Cart/ann/check_out", idempotency_key="k-1")
        again = await in_proof.call("Cart/ann/check_out", idempotency_key="k-2")
        assert again == ["pot", "pan"]

    trace = instead(lab, CHAPTER / "self-call-same-key", prove, stimulus).trace
    assert [call.status for call in trace.calls] == [200, 409, 200, 409, 200]
    assert not trace.state


@pytest.mark.parametrize("latest", [False, True])
def test_a_paused_check_out_ends_when_it_is_resumed_on_its_own_code(lab: Lab, latest: bool) -> None:
    """RDD304: once the call that it waits for is cancelled."""
    target = "Cart/ann/check_out"

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Cart/ann/put", "pot")
        await in_proof.call(f"{target}/send")
        await until_stuck(in_proof, target, "Cart/ann/empty", PLAIN)
        await until_status(in_proof, target, "running")
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        old = await deployment(in_proof, "Cart")
        await in_proof.deploy("do")
        assert await in_proof.operate("cancel", "Cart/ann/empty") == 200
        await in_proof.until_still(0.5)
        await until_status(in_proof, target, "paused")
        await resume_on_its_own_code(in_proof, target, old if latest else None)
        await in_proof.until_all_completed()
        assert await ends(in_proof, target) == ["[409] canceled"]

    trace = instead(lab, CHAPTER / "self-call-same-key", prove, PLAIN).trace
    assert [state.value for state in trace.state] == [["pot"]]


def test_a_check_out_under_way_at_the_fix_calls_itself_after_it(lab: Lab, tmp_path: Path) -> None:
    """RDD304: the query has no call to cancel yet; who checks out again pays again.

    So does a second one in the queue, by itself; a third pays for nothing.
    """
    calls = "    await ctx.object_call(empty, key=ctx.key(), arg=None)\n"
    paying = '    await ctx.run_typed("pay", pay)\n'
    slow = changed(
        tmp_path, "communication/self-call-same-key/dont", *PAYS, (calls, paying + calls)
    )
    cleared = "    clear(ctx)\n    return bought\n"
    changed(tmp_path, "communication/self-call-same-key/do", *PAYS, (cleared, paying + cleared))

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=30.0)
        await in_proof.call("Cart/ann/put", "pot")
        buying = asyncio.create_task(in_proof.call("Cart/ann/check_out"))
        await in_proof.until_effect("POST /charges")
        await in_proof.deploy("do")
        assert await in_proof.query(queries("RDD304")[0]) == []
        charged.set()
        await in_proof.until_row(queries("RDD304")[0])
        second = asyncio.create_task(in_proof.call("Cart/ann/check_out"))
        await until_status(in_proof, "Cart/ann/check_out", "pending")
        assert await in_proof.operate("cancel", "Cart/ann/empty") == 200
        await buying
        assert await second == ["pot"]
        assert await in_proof.call("Cart/ann/check_out") == []

    trace = instead(lab, CHAPTER / "self-call-same-key", prove, PLAIN, slow).trace
    assert sorted(str(call.status) for call in trace.calls) == ["200", "200", "200", "409"]
    assert trace.effect_counts() == {"POST /charges": 3}


def test_cancel_of_the_call_that_holds_may_empty_the_cart(lab: Lab) -> None:
    """RDD304: the other one has its key then, and may be faster than the cancellation."""
    emptied = []

    async def prove(in_proof: LabInProof) -> None:
        for number in range(ROUNDS):
            customer = f"customer-{number}"
            cart = f"Cart/{customer}"
            await in_proof.call(f"{cart}/put", "pot")
            await in_proof.call(f"{cart}/check_out/send")
            await until_stuck(in_proof, f"{cart}/check_out", f"{cart}/empty", REPLAY_EVERY_AWAIT)
            assert await in_proof.operate("cancel", f"{cart}/check_out") == 202
            await in_proof.until_all_completed()
            assert await ends(in_proof, f"{cart}/check_out") == ["[409] cancelled"]
            if await ends(in_proof, f"{cart}/empty") == [None]:
                emptied.append(customer)
                break

    trace = instead(lab, CHAPTER / "self-call-same-key", prove, REPLAY_EVERY_AWAIT).trace
    assert emptied
    assert emptied[0] not in [state.key for state in trace.state]


def test_a_service_in_between_opens_no_circle(lab: Lab, tmp_path: Path) -> None:
    """RDD303, From the Go guide: the order holds its key for the Service as well."""
    service = [
        ('stock = restate.VirtualObject("Stock")', 'stock = restate.Service("Stock")'),
        ("ctx.object_call(take, key=item, arg=ctx.key())", "ctx.service_call(take, ctx.key())"),
        ("async def take(ctx: restate.ObjectContext,", "async def take(ctx: restate.Context,"),
        ('arg=ctx.key())\n    taken = (await ctx.get("taken", type_hint=int) or 0) + 1\n'
         '    ctx.set("taken", taken)\n    return taken', 'arg="pot")\n    return 1'),
    ]  # fmt: skip
    snippet = changed(tmp_path, "communication/same-key-cycle/dont", *service)

    async def prove(in_proof: LabInProof) -> None:
        placing = asyncio.create_task(in_proof.call("Orders/order-1/place", "pot"))
        await until_stuck(in_proof, "Stock/take", "Orders/order-1/note", PLAIN)
        found = await in_proof.query(queries("RDD303")[0])
        assert {row["target"] for row in found} >= {"Stock/take", "Orders/order-1/note"}
        await in_proof.until_still(1.0)
        assert not placing.done()
        assert await in_proof.operate("cancel", "Orders/order-1/note") == 200
        await placing

    trace = instead(lab, CHAPTER / "same-key-cycle", prove, snippet=snippet).trace
    assert trace.calls[0].status == 409


@pytest.mark.parametrize(
    ("variant", "stimulus", "counted"),
    [("dont", PLAIN, 0), ("dont", REPLAY_EVERY_AWAIT, 0), ("later", PLAIN, 1)],
    ids=["running", "suspended", "later"],
)
def test_cancel_of_the_call_that_closes_a_circle_frees_both_keys(
    lab: Lab, variant: str, stimulus: Stimulus, counted: int
) -> None:
    """RDD303: the next order begins on the new code; of the one that failed, later.py has counted the pot."""
    rule = CHAPTER / "same-key-cycle"
    taken = "select key from state where service_name = 'Stock' and value_utf8 = '1'"

    async def prove(in_proof: LabInProof) -> None:
        first = asyncio.create_task(in_proof.call("Orders/order-1/place", "pot"))
        await until_stuck(in_proof, "Stock/pot/take", "Orders/order-1/note", stimulus)
        second = asyncio.create_task(in_proof.call("Orders/order-2/place", "pot"))
        await in_proof.until_row(
            "select id from sys_invocation where target = 'Stock/pot/take' and status = 'pending'"
        )
        found = await in_proof.query(queries("RDD303")[0])
        assert "Orders/order-1/note" in [row["target"] for row in found]
        if counted:
            await in_proof.until_row(taken)
        await in_proof.deploy("do")
        # 200, not 202: what hasn't begun is over at once.
        assert await in_proof.operate("cancel", "Orders/order-1/note") == 200
        await asyncio.gather(first, second)
        assert await ends(in_proof, "Orders/order-1/place") == ["[409] canceled"]
        assert "[409] canceled" in await ends(in_proof, "Stock/pot/take")
        assert not await in_proof.query("select key from state where service_key = 'order-1'")
        await in_proof.call("Orders/order-1/place", "pot")
        await in_proof.until_all_completed()

    trace = instead(lab, rule, prove, stimulus, rule / f"{variant}.py").trace
    assert [call.status for call in trace.calls] == [409, 200, 200]
    answers = [call.answer for call in trace.calls[1:]]
    assert answers == [f"pot taken, number {counted + each}" for each in (1, 2)]


def test_second_try_in_the_queue_of_a_circle_runs_by_itself(lab: Lab) -> None:
    """RDD303: whoever places the order again takes a second pot."""

    async def prove(in_proof: LabInProof) -> None:
        order = "Orders/order-1/place"
        first = asyncio.create_task(in_proof.call(order, "pot", idempotency_key="k-1"))
        await until_stuck(in_proof, "Stock/pot/take", "Orders/order-1/note", PLAIN)
        second = asyncio.create_task(in_proof.call(order, "pot", idempotency_key="k-2"))
        await until_status(in_proof, order, "pending")
        found = await in_proof.query(queries("RDD303")[0])
        assert [row["target"] for row in found].count(order) == 2
        await in_proof.deploy("do")
        assert await in_proof.operate("cancel", "Orders/order-1/note") == 200
        await asyncio.gather(first, second)
        for key in ("k-1", "k-3"):
            await in_proof.call(order, "pot", idempotency_key=key)
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "same-key-cycle", prove).trace
    assert [call.status for call in trace.calls] == [409, 200, 409, 200]
    answers = [call.answer for call in trace.calls if call.status == 200]
    assert answers == ["pot taken, number 1", "pot taken, number 2"]


@pytest.mark.parametrize("latest", [False, True])
def test_paused_caller_in_a_circle_keeps_its_key_until_it_is_resumed(
    lab: Lab, latest: bool
) -> None:
    """RDD303: the cancellation of the call that it waits for doesn't end it, nor does the fixed code."""

    async def prove(in_proof: LabInProof) -> None:
        placing = asyncio.create_task(in_proof.call("Orders/order-1/place", "pot"))
        await until_stuck(in_proof, "Stock/pot/take", "Orders/order-1/note", PLAIN)
        await until_status(in_proof, "Stock/pot/take", "running")
        assert await in_proof.operate("pause", "Stock/pot/take") == 202
        await until_status(in_proof, "Stock/pot/take", "paused")
        old = await deployment(in_proof, "Stock")
        await in_proof.deploy("do")
        assert await in_proof.operate("cancel", "Orders/order-1/note") == 200
        await in_proof.until_still(0.5)
        await until_status(in_proof, "Stock/pot/take", "paused")
        assert not placing.done()
        await resume_on_its_own_code(in_proof, "Stock/pot/take", old if latest else None)
        await placing

    trace = instead(lab, CHAPTER / "same-key-cycle", prove).trace
    assert [call.status for call in trace.calls] == [409]


@pytest.mark.parametrize("tells_first", [True, False])
def test_what_is_told_before_it_is_counted_is_noted_for_a_cancelled_order(
    lab: Lab, tmp_path: Path, tells_first: bool
) -> None:
    """RDD303: where state isn't preloaded, the cancellation meets `take` at its `get`; the do tells last."""
    slug = "communication/same-key-cycle"
    tells = "    ctx.object_send(note, key=order, arg=ctx.key())\n"
    takes = '    taken = (await ctx.get("taken", type_hint=int) or 0) + 1\n'
    lazy = ('VirtualObject("Stock")', 'VirtualObject("Stock", state_preload=False)')
    first = [(tells, ""), (takes, tells + takes)] if tells_first else []
    changed(tmp_path, f"{slug}/do", lazy, (takes, '    raise RuntimeError("no stock")\n')).rename(
        tmp_path / "dont.py"
    )
    changed(tmp_path, f"{slug}/do", lazy, *first)

    async def prove(in_proof: LabInProof) -> None:
        placing = asyncio.create_task(in_proof.call("Orders/order-1/place", "pot"))
        await until_status(in_proof, "Stock/pot/take", "paused")
        await in_proof.deploy("do")
        assert await in_proof.operate("cancel", "Stock/pot/take") == 202
        await placing
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / slug, prove, snippet=tmp_path / "dont.py").trace
    assert [call.status for call in trace.calls] == [409]
    noted = [("Orders", "order-1")] if tells_first else []
    assert [(state.service, state.key) for state in trace.state] == noted


def test_a_circle_that_is_freed_before_the_fix_closes_again(lab: Lab) -> None:
    """RDD303: the next order for the same pot begins on the old code."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/order-1/place/send", "pot")
        await until_stuck(in_proof, "Stock/pot/take", "Orders/order-1/note", PLAIN)
        await in_proof.call("Orders/order-2/place/send", "pot")
        await in_proof.until_row(
            "select id from sys_invocation where target = 'Stock/pot/take' and status = 'pending'"
        )
        assert await in_proof.operate("cancel", "Orders/order-1/note") == 200
        await until_stuck(in_proof, "Stock/pot/take", "Orders/order-2/note", PLAIN)

    instead(lab, CHAPTER / "same-key-cycle", prove)


def test_cancel_of_the_first_of_a_circle_has_the_last_run(lab: Lab) -> None:
    """RDD303: an item is noted for an order that has failed."""
    noted = []

    async def prove(in_proof: LabInProof) -> None:
        for number in range(ROUNDS):
            order, item = f"Orders/order-{number}", f"pot-{number}"
            await in_proof.call(f"{order}/place/send", item)
            await until_stuck(in_proof, f"{order}/place", f"{order}/note", REPLAY_EVERY_AWAIT)
            await in_proof.until_row(
                "select id from sys_invocation "
                f"where target = 'Stock/{item}/take' and status = 'suspended'"
            )
            assert await in_proof.operate("cancel", f"{order}/place") == 202
            await in_proof.until_all_completed()
            assert await ends(in_proof, f"{order}/place") == ["[409] cancelled"]
            if await ends(in_proof, f"{order}/note") == [None]:
                noted.append(f"order-{number}")
                break

    trace = instead(lab, CHAPTER / "same-key-cycle", prove, REPLAY_EVERY_AWAIT).trace
    assert noted
    assert [state.key for state in trace.state] == noted


def test_the_other_key_of_a_cycle_is_lost_too(lab: Lab) -> None:
    """RDD303: another order waits for its pot as well."""
    pending = "select id from sys_invocation where status = 'pending' and target = "

    async def place(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/order-1/place/send", "pot")
        await in_proof.until_row(f"{pending} 'Orders/order-1/note'")
        await in_proof.call("Orders/order-2/place/send", "pot")
        await in_proof.until_row(f"{pending} 'Stock/pot/take'")

    instead(lab, CHAPTER / "same-key-cycle", place)


def test_the_client_answers_no_awakeable() -> None:
    """RDD305, RDD315: the ingress does, by a POST, which is how the proofs answer it."""
    offered = [name for name in dir(restate.RestateClient) if not name.startswith("_")]
    assert "service_call" in offered
    assert not [name for name in offered if re.search("awakeable|resolve", name)]


@pytest.mark.parametrize("kind", ["Service", "VirtualObject", "Workflow"])
def test_signal_answers_in_any_type_of_service(lab: Lab, tmp_path: Path, kind: str) -> None:
    """RDD305: between two invocations, addressed by the id of the one that waits."""
    key = "" if kind == "Service" else "e-1/"
    handler = "main" if kind == "Workflow" else "handler"
    shared = 'kind="shared"' * (kind == "VirtualObject")
    signal = changed(
        tmp_path,
        "communication/promise-outside-workflow/dont",
        ('restate.Service("Expenses")', f'restate.{kind}("Expenses")'),
        ("@expenses.handler()", f"@expenses.{handler}()"),
        ("ctx: restate.WorkflowContext", "ctx: restate.Context"),
        ("ctx.promise(", "ctx.signal("),
        ('answer_to="answer"', "answer_to=ctx.request().id"),
        ("await answer.value()", "await answer"),
        (
            "\n\napp =",
            f"\n\n@expenses.handler({shared})\n"
            "async def reply(ctx: restate.Context, id: str) -> None:\n"
            '    ctx.resolve_signal(id, "answer", "granted")\n\n\napp =',
        ),
    )

    async def answer(in_proof: LabInProof) -> None:
        claiming = asyncio.create_task(in_proof.call(f"Expenses/{key}claim", "train ticket"))
        await in_proof.until_effect("POST /mails")
        await in_proof.call(f"Expenses/{key}reply", in_proof.outside.ledger[0].body["answer to"])
        await claiming

    rule = CHAPTER / "promise-outside-workflow"
    promise = answering("promise-outside-workflow", "granted", "")
    result = instead(lab, rule, answer, PLAIN, signal, promise=promise)
    assert result.outcome.kind == "holds", result.outcome


@pytest.mark.parametrize("kind", ["exclusive", "shared"])
def test_a_promise_in_an_object_is_refused_as_in_a_service(
    lab: Lab, tmp_path: Path, kind: str
) -> None:
    """RDD305."""
    slug = "communication/promise-outside-workflow"
    snippet = changed(
        tmp_path,
        f"{slug}/dont",
        ('restate.Service("Expenses")', 'restate.VirtualObject("Expenses")'),
        ("@expenses.handler()", f'@expenses.handler(kind="{kind}")'),
    )

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Expenses/e-1/claim", "train ticket")
        (found,) = await in_proof.query(queries("RDD305")[0])
        assert found["status"] == "paused"

    result = instead(lab, SNIPPETS / slug, prove, PLAIN, snippet)
    assert result.outcome.kind == "precondition", result.outcome


def test_claim_with_a_promise_is_killed_and_made_anew(lab: Lab) -> None:
    """RDD305: the fixed code repeats the step, asks once more, and is answered."""

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        assert await in_proof.operate("kill", "Expenses/claim") == 200
        await in_proof.until_all_completed()
        claiming = asyncio.create_task(in_proof.call("Expenses/claim", "train ticket"))
        await in_proof.until_effect("POST /mails", times=2)
        await in_proof.resolve_awakeable(in_proof.outside.ledger[1].body["answer to"], "granted")
        await claiming

    trace = afterwards(lab, CHAPTER / "promise-outside-workflow", fix, PLAIN).trace
    assert trace.calls[-1].answer == "granted"
    assert trace.effect_counts() == {"POST /mails": 2}


@pytest.mark.parametrize("left", ["backing-off", "suspended", "running"])
def test_claim_that_is_found_is_killed_wherever_it_is_left(
    lab: Lab, left: str, tmp_path: Path
) -> None:
    """RDD305: backing off; or resumed on the fixed code, where it waits for an id that nobody was sent."""
    target, (query,) = "Expenses/claim", queries("RDD305")
    backs_off = left == "backing-off"
    changes = [
        ("import httpx\n", "from datetime import timedelta\n\nimport httpx\n"),
        ('Service("Expenses")', f'Service("Expenses", {LATER})'),
    ]
    slug = "communication/promise-outside-workflow"
    dont = changed(tmp_path, f"{slug}/dont", *(changes if backs_off else []))
    changed(tmp_path, f"{slug}/do")

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "train ticket")
        if not backs_off:
            await until_status(in_proof, target, "paused")
            await in_proof.deploy("do")
            assert await in_proof.operate("resume", target, deployment="latest") == 200
            await until_status(in_proof, target, left)
            await in_proof.until_still(0.5)
        await until_status(in_proof, target, left)
        assert [row["status"] for row in await in_proof.query(query)] == [left]
        assert await in_proof.operate("kill", target) == 200
        await in_proof.until_all_completed()
        assert await ends(in_proof, target) == ["[409] killed"]

    stimulus = REPLAY_EVERY_AWAIT if left == "suspended" else PLAIN
    trace = instead(lab, SNIPPETS / slug, prove, stimulus, dont).trace
    assert trace.effect_counts() == {"POST /mails": 1}


def test_claim_is_found_only_when_it_has_mailed(lab: Lab) -> None:
    """RDD305."""
    target, (query,) = "Expenses/claim", queries("RDD305")

    async def prove(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /mails", at_most=10.0)
        await in_proof.call(f"{target}/send", "train ticket")
        await in_proof.until_effect("POST /mails")
        assert await in_proof.query(query) == []
        mailed.set()
        await until_status(in_proof, target, "paused")
        assert [row["status"] for row in await in_proof.query(query)] == ["paused"]

    instead(lab, CHAPTER / "promise-outside-workflow", prove, PLAIN)


@pytest.mark.parametrize("error", ["RuntimeError", "restate.TerminalError"])
def test_an_error_where_there_is_no_awakeable_yet_saves_no_payment(
    lab: Lab, tmp_path: Path, error: str
) -> None:
    """RDD306: the attempts that follow read from the journal that there is none."""
    refusing = changed(
        tmp_path,
        "communication/awakeable-inside-workflow/dont",
        (
            "    if awakeable:\n        ctx.resolve_awakeable(awakeable, method)\n",
            "    if not awakeable:\n"
            "        async with httpx.AsyncClient(timeout=30) as client:\n"
            '            await client.get(f"{API_URL}/clock")\n'
            f'        raise {error}("not yet")\n'
            "    ctx.resolve_awakeable(awakeable, method)\n",
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/pot"] = 20
        asked = in_proof.outside.hold("GET /prices/pot", at_most=30.0)
        raised = in_proof.outside.hold("GET /clock", at_most=30.0)
        await in_proof.call("Order/order-1/run/send", "pot")
        await in_proof.until_effect("GET /prices/pot")
        paying = asyncio.create_task(in_proof.call("Order/order-1/paid", "card"))
        await in_proof.until_effect("GET /clock")
        asked.set()
        await in_proof.until_row("select key from state where key = 'payment'")
        raised.set()
        await paying

    rule = CHAPTER / "awakeable-inside-workflow"
    trace = instead(lab, rule, prove, PLAIN, refusing).trace
    (run,) = (each for each in trace.invocations if each.target == "Order/order-1/run")
    (paid,) = (each for each in trace.invocations if each.target == "Order/order-1/paid")
    assert run.status == "running"
    if error == "RuntimeError":
        assert (paid.status, len(paid.attempts)) == ("paused", 3)
    else:
        assert trace.calls[-1].status == 500
        assert trace.calls[-1].answer["message"] == "not yet"


RESOLVE = '    await ctx.promise("payment", type_hint=str).resolve(method)\n'
RESOLVE_OLD = (
    '    if awakeable := await ctx.get("payment", type_hint=str):\n'
    "        ctx.resolve_awakeable(awakeable, method)\n"
)
"""What the new `paid` needs before that, as long as there are runs on the old code."""


@pytest.mark.parametrize("both", [True, False])
def test_a_payment_for_a_run_on_the_old_code(lab: Lab, tmp_path: Path, both: bool) -> None:
    """RDD306: it comes to the new code, which has to resolve the awakeable, too."""
    old = changed(tmp_path, "communication/awakeable-inside-workflow/dont")
    new = RESOLVE_OLD * both + RESOLVE
    changed(tmp_path, "communication/awakeable-inside-workflow/do", (RESOLVE, new))
    lost = "select i.id from sys_invocation i join sys_promise p on p.service_key = "
    lost += "i.target_service_key where i.target = 'Order/order-1/run' and i.status != 'completed' "
    lost += "and p.completed"

    async def pay(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/pot"] = 20
        await in_proof.call("Order/order-1/run/send", "pot")
        await in_proof.until_row("select key from state where key = 'payment'")
        await in_proof.deploy("do")
        assert await in_proof.call("Order/order-1/paid", "card") == "thank you"
        if both:
            await in_proof.until_all_completed()
        else:
            await in_proof.until_still(0.5)
            await in_proof.until_row(lost)

    trace = instead(lab, CHAPTER / "awakeable-inside-workflow", pay, PLAIN, old).trace
    if both:
        assert "20 paid by card" in [i.result for i in trace.invocations]


def test_a_second_payment_is_refused_and_reaches_the_run_on_the_old_code(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD306: the first came before the id was stored; the new `paid` resolves the awakeable first."""
    old = changed(tmp_path, "communication/awakeable-inside-workflow/dont")
    changed(
        tmp_path, "communication/awakeable-inside-workflow/do", (RESOLVE, RESOLVE_OLD + RESOLVE)
    )
    lost = queries("RDD306")[0]

    async def pay(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/pot"] = 20
        asked = in_proof.outside.hold("GET /prices/pot", at_most=30.0)
        await in_proof.call("Order/order-1/run/send", "pot")
        await in_proof.until_effect("GET /prices/pot")
        await in_proof.deploy("do")
        await in_proof.call("Order/order-1/paid", "card")
        asked.set()
        await in_proof.until_row("select key from state where key = 'payment'")
        assert len(await in_proof.query(lost)) == 1
        await in_proof.call("Order/order-1/paid", "cash")
        await in_proof.until_all_completed()
        assert not await in_proof.query(lost)

    trace = instead(lab, CHAPTER / "awakeable-inside-workflow", pay, PLAIN, old).trace
    assert [call.status for call in trace.calls] == [202, 200, 409]
    assert "20 paid by cash" in [i.result for i in trace.invocations]


def test_a_run_that_waits_for_its_awakeable_cannot_go_on_with_the_promise(lab: Lab) -> None:
    """RDD306."""
    target = "Order/order-1/run"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/pot"] = 20
        await in_proof.call(f"{target}/send", "pot")
        await in_proof.until_row("select key from state where key = 'payment'")
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_row(
            "select id from sys_journal_events where event_json like '%RT0016%'"
        )
        await until_status(in_proof, target, "paused")

    instead(lab, CHAPTER / "awakeable-inside-workflow", prove, PLAIN)


def test_a_payment_before_a_run_on_the_new_code_is_made_once_more(lab: Lab) -> None:
    """RDD306: under another key; the old `paid` resolved no promise, and the query knows of no awakeable."""
    promised = "select id from sys_journal where entry_type = 'Command: GetPromise'"

    async def pay(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /prices/pot"] = 20
        await in_proof.call("Order/order-1/paid", "card", idempotency_key="k-1")
        await in_proof.deploy("do")
        await in_proof.call("Order/order-1/run/send", "pot")
        await in_proof.until_row(promised)
        await in_proof.call("Order/order-1/paid", "card", idempotency_key="k-1")
        await in_proof.until_still(0.5)
        assert await in_proof.query(queries("RDD306")[0]) == []
        assert await in_proof.query("select 1 from sys_invocation where status != 'completed'")
        await in_proof.call("Order/order-1/paid", "card", idempotency_key="k-2")
        await in_proof.until_all_completed()

    promise = answering("awakeable-inside-workflow", "thank you", None, "thank you", "thank you")
    trace = instead(lab, CHAPTER / "awakeable-inside-workflow", pay, PLAIN, promise=promise).trace
    assert [call.status for call in trace.calls] == [200, 202, 200, 200]
    assert "20 paid by card" in [each.result for each in trace.invocations]


def test_a_lost_payment_is_found_and_resolved_once(lab: Lab) -> None:
    """RDD306."""
    lost = queries("RDD306")[0]

    async def resolve(in_proof: LabInProof) -> None:
        [row] = await in_proof.query(lost)
        await in_proof.resolve_awakeable(row["awakeable"], "card")
        await in_proof.until_all_completed()
        assert not await in_proof.query(lost)

    trace = afterwards(lab, CHAPTER / "awakeable-inside-workflow", resolve).trace
    assert "20 paid by card" in [i.result for i in trace.invocations]


def test_a_key_is_refused_for_a_run_and_compared_alone_elsewhere(lab: Lab) -> None:
    """RDD307."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Booking/b-1/run", "12", idempotency_key="b-1")

    refused = instead(lab, CHAPTER / "wait-without-a-limit", prove, PLAIN).trace.calls
    assert refused[0].status == 400
    assert "idempotent by the workflow key itself" in refused[0].answer["message"]

    async def twice(in_proof: LabInProof) -> None:
        await in_proof.call("Checkout/pay", "order-1", idempotency_key="k")
        await in_proof.call("Checkout/pay", "order-2", idempotency_key="k")

    slug = "retry-without-idempotency-key"
    paid = instead(lab, CHAPTER / slug, twice, promise=answering(slug, "charge-1", "charge-1"))
    assert paid.outcome == Holds(["charge-1", "charge-1"], {"POST /charges": 1})


def test_a_key_is_kept_until_a_retention_after_the_end(lab: Lab, tmp_path: Path) -> None:
    """RDD307: it doesn't count from the request, as a call shows that came later and is forgotten."""
    slug = "retry-without-idempotency-key"
    snippet = changed(
        tmp_path,
        f"communication/{slug}/do",
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ('Service("Checkout")', 'Service("Checkout", idempotency_retention=KNOWN_FOR)'),
        ("\n\ncheckout =", "\n\nKNOWN_FOR = timedelta(milliseconds=100)\ncheckout ="),
        (
            "\n\napp =",
            "\n\n@checkout.handler()\nasync def later(ctx: restate.Context) -> None:\n    pass\n\n\napp =",
        ),
    )
    known = "select id from sys_invocation where idempotency_key = "

    async def prove(in_proof: LabInProof) -> None:
        def pay() -> asyncio.Task[object]:
            return asyncio.create_task(
                in_proof.call("Checkout/pay", "order-1", idempotency_key="order-1")
            )

        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        first = pay()
        await in_proof.until_effect("POST /charges")
        await in_proof.call("Checkout/later", idempotency_key="later")
        await in_proof.until_no_row(f"{known}'later'")
        assert await in_proof.query(f"{known}'order-1'")
        charged.set()
        assert await first == "charge-1"
        await in_proof.until_no_row(f"{known}'order-1'")
        assert await pay() == "charge-2"

    cleanup = {"RESTATE_WORKER__CLEANUP_INTERVAL": "1000ms"}
    promise = answering(slug, None, "charge-1", "charge-2")
    instead(lab, CHAPTER / slug, prove, PLAIN, snippet, server=cleanup, promise=promise)


@pytest.mark.parametrize(("how", "status"), [("cancel", 202), ("kill", 200)])
def test_a_key_keeps_the_end_by_an_operator_as_well(lab: Lab, how: str, status: int) -> None:
    """RDD307: the failure that it gives again was charged; another key charges once more."""
    rule = CHAPTER / "retry-without-idempotency-key"

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        paying = asyncio.create_task(
            in_proof.call("Checkout/pay", "order-1", idempotency_key="order-1")
        )
        await in_proof.until_effect("POST /charges")
        assert await in_proof.operate(how, "Checkout/pay") == status
        charged.set()
        await paying
        await in_proof.call("Checkout/pay", "order-1", idempotency_key="order-1")
        assert len(in_proof.outside.ledger) == 1
        await in_proof.call("Checkout/pay", "order-1", idempotency_key="order-1-try-2")

    trace = instead(lab, rule, prove, PLAIN, rule / "do.py").trace
    assert [call.status for call in trace.calls] == [409, 409, 200]
    assert trace.effect_counts() == {"POST /charges": 2}


@pytest.mark.parametrize("keys", [(None, "order-1"), ("order-1", None)])
def test_a_request_with_a_key_and_one_without_are_charged_twice(
    lab: Lab, keys: tuple[str | None, str | None]
) -> None:
    """RDD307: whichever comes first."""
    rule = CHAPTER / "retry-without-idempotency-key"

    async def prove(in_proof: LabInProof) -> None:
        for key in keys:
            await in_proof.call("Checkout/pay", "order-1", idempotency_key=key)

    trace = instead(lab, rule, prove, PLAIN, rule / "do.py").trace
    assert trace.effect_counts() == {"POST /charges": 2}


def test_a_twin_that_has_not_begun_is_found_and_cancelled(lab: Lab, tmp_path: Path) -> None:
    """RDD307: it is queued, or delayed."""
    slug = "retry-without-idempotency-key"
    keyed = changed(
        tmp_path,
        f"communication/{slug}/dont",
        ('restate.Service("Checkout")', 'restate.VirtualObject("Checkout")'),
        ("client.service_call(pay, order)", "client.object_call(pay, order, order)"),
    )

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        await in_proof.call("Checkout/ann/pay/send", "order-1")
        await in_proof.until_effect("POST /charges")
        await in_proof.call("Checkout/ann/pay/send", "order-1")
        for _ in range(2):
            await in_proof.call("Checkout/bob/pay/send?delay=1h", "order-2")
        await in_proof.until_row("select 1 from sys_invocation where status = 'scheduled'")
        found: dict[str, str] = {}
        for row in await in_proof.query(queries("RDD307")[0]):
            found |= dict(zip(row["ids"], row["states"], strict=True))
        assert sorted(found.values()) == ["pending", "running", "scheduled", "scheduled"]
        for invocation, status in found.items():
            if status != "running":
                await in_proof.admin("PATCH", f"/invocations/{invocation}/cancel")
        charged.set()
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / slug, prove, PLAIN, keyed).trace
    assert trace.effect_counts() == {"POST /charges": 1}


@pytest.mark.parametrize("how", ["cancel", "kill"])
@pytest.mark.parametrize("status", ["pending", "scheduled"])
def test_a_key_is_free_once_its_call_was_ended_before_it_began(
    lab: Lab, tmp_path: Path, status: str, how: str
) -> None:
    """RDD307: of what had begun, the key keeps that end."""
    slug, target = "retry-without-idempotency-key", "Checkout/ann/pay"
    keyed = changed(
        tmp_path,
        f"communication/{slug}/do",
        ('restate.Service("Checkout")', 'restate.VirtualObject("Checkout")'),
        ("client.service_call(pay, order,", "client.object_call(pay, order, order,"),
    )
    late = "?delay=1h" if status == "scheduled" else ""

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        await in_proof.call(f"{target}/send", "order-1")
        await in_proof.until_effect("POST /charges")
        sent = await in_proof.call(f"{target}/send{late}", "order-2", idempotency_key="order-2")
        path = f"/invocations/{sent['invocationId']}"
        await until_status(in_proof, target, status)
        await in_proof.admin("PATCH", f"{path}/{how}")
        await in_proof.until_no_row(
            "select id from sys_invocation where idempotency_key = 'order-2'"
        )
        charged.set()
        assert await in_proof.call(target, "order-2", idempotency_key="order-2") == "charge-2"

    trace = instead(lab, CHAPTER / slug, prove, PLAIN, keyed).trace
    assert trace.effect_counts() == {"POST /charges": 2}


def declined(folder: Path, slug: str, variant: str = "do") -> Path:
    """The do of a rule, or its don't, whose `charge` takes the bank's no for an answer."""
    line = '    return str(response.raise_for_status().json()["id"])\n'
    terminal = '        raise restate.TerminalError("card declined", 402)\n'
    refusal = f"    if response.status_code == 402:\n{terminal}"
    return changed(folder, f"communication/{slug}/{variant}", (line, refusal + line))


def test_a_key_keeps_a_failure_as_well(lab: Lab, tmp_path: Path) -> None:
    """RDD307: another attempt is made with another key."""
    slug = "retry-without-idempotency-key"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /charges", times=1, status=402)
        for key in ("order-1", "order-1", "order-1-try-2"):
            await in_proof.call("Checkout/pay", "order-1", idempotency_key=key)

    trace = instead(lab, CHAPTER / slug, prove, PLAIN, declined(tmp_path, slug)).trace
    assert [call.status for call in trace.calls] == [402, 402, 200]
    assert trace.calls[2].answer == "charge-1"
    assert [effect.failed for effect in trace.effects] == [True, False]


def test_a_key_of_a_call_keeps_a_failure_as_well(lab: Lab, tmp_path: Path) -> None:
    """RDD309."""
    slug = "key-inside-a-handler"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("POST /charges", times=1, status=402)
        await in_proof.call("Shop/customer_pays", "invoice-1")
        await in_proof.call("Shop/nightly_collection", "invoice-1")

    trace = instead(lab, CHAPTER / slug, prove, PLAIN, declined(tmp_path, slug)).trace
    assert [call.status for call in trace.calls] == [402, 402]
    assert len(trace.effects) == 1


@pytest.mark.parametrize("cancelled", ["Shop/customer_pays", "Shop/nightly_collection"])
def test_a_cancel_of_one_caller_ends_the_shared_call(
    lab: Lab, tmp_path: Path, cancelled: str
) -> None:
    """RDD309."""
    slug = "key-inside-a-handler"
    step = '    return await ctx.run_typed("charge", charge, invoice=invoice)'
    under_way = changed(
        tmp_path,
        f"communication/{slug}/do",
        (step, f"    await ctx.sleep(timedelta(minutes=1))\n{step}"),
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
    )

    async def prove(in_proof: LabInProof) -> None:
        paying = asyncio.create_task(in_proof.call("Shop/customer_pays", "invoice-1"))
        await in_proof.until_row("select id from sys_journal where entry_type = 'Command: Sleep'")
        collecting = asyncio.create_task(in_proof.call("Shop/nightly_collection", "invoice-1"))
        await in_proof.until_row(
            "select j.id from sys_journal j join sys_invocation i on i.id = j.id"
            " where i.target = 'Shop/nightly_collection' and j.entry_type = 'Command: Call'"
        )
        assert await in_proof.operate("cancel", cancelled) == 202
        await asyncio.wait([paying, collecting])

    trace = instead(lab, CHAPTER / slug, prove, PLAIN, under_way).trace
    assert [call.status for call in trace.calls] == [409, 409]
    assert not trace.effects


@pytest.mark.parametrize("cancelled", ["Shop/customer_pays", "Shop/nightly_collection"])
@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_cancel_of_one_caller_ends_the_shared_call_at_its_charge(
    lab: Lab, cancelled: str, status: str
) -> None:
    """RDD309: the bank may have charged, but who is paused asks it no more."""
    rule = CHAPTER / "key-inside-a-handler"

    async def prove(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        if status == "paused":
            in_proof.outside.fail("POST /charges", times=100)
            charged.set()
        paying = [
            asyncio.create_task(in_proof.call(f"Shop/{each}", "invoice-1"))
            for each in ("customer_pays", "nightly_collection")
        ]
        await in_proof.until_effect("POST /charges")
        await in_proof.until_row(
            "select count(*) from sys_journal where entry_type = 'Command: Call' having count(*) = 2"
        )
        await until_status(in_proof, "Payments/pay", status)
        in_proof.outside.unwell.clear()
        assert await in_proof.operate("cancel", cancelled) == 202
        await asyncio.gather(*paying)
        charged.set()

    trace = instead(lab, rule, prove, PLAIN, rule / "do.py").trace
    assert [call.status for call in trace.calls] == [409, 409]
    assert trace.effect_counts().get("POST /charges", 0) == (status == "running")


@pytest.mark.parametrize("under_way", [False, True])
def test_a_call_with_a_key_does_not_find_one_without(lab: Lab, under_way: bool) -> None:
    """RDD309: also while the bank has nothing yet."""

    async def prove(in_proof: LabInProof) -> None:
        if under_way:
            in_proof.outside.fail("POST /charges", times=100)
        paying = asyncio.create_task(in_proof.call("Shop/customer_pays", "invoice-1"))
        await until_status(in_proof, "Payments/pay", "paused" if under_way else "completed")
        in_proof.outside.unwell.clear()
        await in_proof.deploy("do")
        await in_proof.call("Shop/nightly_collection", "invoice-1")
        if under_way:
            assert in_proof.outside.ledger[-2].failed, "the bank has the one of the fixed code only"
            assert await in_proof.operate("resume", "Payments/pay") == 200
        await paying

    trace = instead(lab, CHAPTER / "key-inside-a-handler", prove).trace
    assert trace.effect_counts() == {"POST /charges": 2}


def test_a_step_that_charges_twice_is_one_call(lab: Lab) -> None:
    """RDD309: its query finds calls."""
    rule = CHAPTER / "key-inside-a-handler"

    async def look(in_proof: LabInProof) -> None:
        await in_proof.call("Shop/customer_pays", "invoice-1")
        assert not await in_proof.query(queries("RDD309")[0])

    trace = instead(lab, rule, look, crash_after_effect("POST /charges")).trace
    assert trace.effect_counts() == {"POST /charges": 2}


@pytest.mark.parametrize(("end", "charges"), [("declined", 1), ("cancelled", 2)])
def test_a_payment_that_failed_is_listed_too(
    lab: Lab, tmp_path: Path, end: str, charges: int
) -> None:
    """RDD309: the bank may have it nevertheless."""
    slug = "key-inside-a-handler"

    async def prove(in_proof: LabInProof) -> None:
        if end == "declined":
            in_proof.outside.fail("POST /charges", times=1, status=402)
        charged = in_proof.outside.hold("POST /charges", at_most=20.0)
        paying = asyncio.create_task(in_proof.call("Shop/customer_pays", "invoice-1"))
        await in_proof.until_effect("POST /charges")
        if end == "cancelled":
            assert await in_proof.operate("cancel", "Payments/pay") == 202
        charged.set()
        await paying
        await in_proof.call("Shop/nightly_collection", "invoice-1")
        assert [row["times"] for row in await in_proof.query(queries("RDD309")[0])] == [2]

    dont = declined(tmp_path, slug, "dont")
    trace = instead(lab, CHAPTER / slug, prove, PLAIN, dont).trace
    assert trace.calls[0].status == (402 if end == "declined" else 409)
    assert trace.effect_counts() == {"POST /charges": charges}


@pytest.mark.parametrize(
    ("key", "outcome"),
    [
        ('f"give-{pledge}-{os.urandom(8).hex()}"', "effect-repeated"),  # drawn by each request
        ('dict(scope["headers"])[b"x-drawn-once"].decode()', "holds"),  # drawn by the page, once
    ],
)
def test_when_a_key_is_drawn_counts(lab: Lab, tmp_path: Path, key: str, outcome: str) -> None:
    """RDD308."""
    snippet = changed(
        tmp_path, "communication/time-in-idempotency-key/do", ('f"give-{pledge}"', key)
    )

    async def twice(in_proof: LabInProof) -> None:
        edge = await in_proof.serve("edge")
        headers = {"x-drawn-once": "7f3a"}
        release = in_proof.outside.hold("POST /debits", at_most=20.0)
        path = "/pledges/pledge-1"
        first = asyncio.create_task(in_proof.post(edge, path, headers=headers))
        await in_proof.until_effect("POST /debits")
        first.cancel()
        await asyncio.wait({first})
        release.set()
        await in_proof.post(edge, path, headers=headers)
        await in_proof.until_all_completed()

    rule = CHAPTER / "time-in-idempotency-key"
    assert instead(lab, rule, twice, PLAIN, snippet).outcome.kind == outcome


def test_a_call_without_the_header_is_no_refusal(lab: Lab) -> None:
    """RDD310."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Accounts/payout", {"iban": "M1"})
        assert len(await in_proof.query(queries("RDD310")[0])) == 1

    rule = CHAPTER / "identity-from-the-payload"
    outcome = instead(lab, rule, prove, PLAIN, rule / "do.py").outcome
    assert outcome == RetriedUntilPaused("KeyError('x-user')", attempts=3)


def test_a_delayed_call_without_the_header_begins_on_the_new_code(lab: Lab, tmp_path: Path) -> None:
    """RDD310: also if it was sent before that was registered; the query finds it before and after."""
    slug = "communication/identity-from-the-payload"
    for variant in ("do", "dont"):  # with a key, which keeps it back until the fix is registered
        snippet = changed(
            tmp_path,
            f"{slug}/{variant}",
            ('restate.Service("Accounts")', 'restate.VirtualObject("Accounts")'),
            ("ctx: restate.Context", "ctx: restate.ObjectContext"),
            ("client.service_call(payout, asked)", 'client.object_call(payout, "a", asked)'),
            ('"to": iban})', '"to": iban}, timeout=30)'),
        )
    (query,) = queries("RDD310")
    keyed = query.replace("'Accounts/payout'", "'Accounts/a/payout'")

    async def prove(in_proof: LabInProof) -> None:
        paid = in_proof.outside.hold("POST /payouts", at_most=20.0)
        asked = {"user": "alice", "iban": "M1"}
        await in_proof.call("Accounts/a/payout/send", asked)
        await in_proof.until_effect("POST /payouts")
        late = await in_proof.call("Accounts/a/payout/send?delay=500ms", asked)
        assert late["invocationId"] in [row["id"] for row in await in_proof.query(keyed)]
        await in_proof.deploy("do")
        paid.set()
        await until_status(in_proof, "Accounts/a/payout", "paused")
        found = {row["id"]: row["status"] for row in await in_proof.query(keyed)}
        assert found[late["invocationId"]] == "paused"

    trace = instead(lab, SNIPPETS / slug, prove, PLAIN, snippet).trace
    assert {failure.message for failure in trace.failures()} == {"KeyError('x-user')"}
    assert len(trace.effects) == 1


def test_a_key_without_the_user_gives_one_the_answer_of_another(lab: Lab) -> None:
    """RDD310: the server compares the keys alone, whoever the header says it is."""

    async def prove(in_proof: LabInProof) -> None:
        for user in ("alice", "mallory"):
            await in_proof.call(
                "Accounts/payout", {"iban": "M1"}, headers={"x-user": user}, idempotency_key="1"
            )

    rule = CHAPTER / "identity-from-the-payload"
    trace = instead(lab, rule, prove, PLAIN, rule / "do.py").trace
    assert [call.answer for call in trace.calls] == ["paid out for alice"] * 2
    assert len(trace.effects) == 1


def test_a_scan_that_is_reported_twice_is_noted_once(lab: Lab) -> None:
    """RDD312."""
    slug = "context-outside-a-handler"
    scanned = "select id from sys_invocation where target = 'Parcels/parcel-1/scanned'"

    async def prove(in_proof: LabInProof) -> None:
        for _ in range(2):
            await in_proof.post(in_proof.worker_url, "/scans/scan-7/parcel-1/Graz")
        await in_proof.until_all_completed()
        assert len(await in_proof.query(scanned)) == 1

    noted = answering(slug, "noted", "noted")
    result = instead(lab, CHAPTER / slug, prove, PLAIN, CHAPTER / slug / "do.py", promise=noted)
    assert result.outcome == noted


def test_a_lost_report_that_is_sent_after_a_newer_one_replaces_it(lab: Lab) -> None:
    """RDD312: the parcel has come to Wien, and is back in Graz."""
    slug = "context-outside-a-handler"

    async def prove(in_proof: LabInProof) -> None:
        for scan in ("scan-8/parcel-1/Wien", "scan-7/parcel-1/Graz"):
            await in_proof.post(in_proof.worker_url, f"/scans/{scan}")
            await in_proof.until_all_completed()
            await in_proof.call("Parcels/parcel-1/where")

    back = answering(slug, "noted", "Wien", "noted", "Graz")
    result = instead(lab, CHAPTER / slug, prove, PLAIN, CHAPTER / slug / "do.py", promise=back)
    assert result.outcome == back


def test_a_dead_context_raises_what_a_route_may_catch(lab: Lab, tmp_path: Path) -> None:
    """RDD312: the carrier is told 200, and the report is lost."""
    line = (
        "    contexts[parcel].object_send(scanned, key=parcel, arg=place, idempotency_key=scan)\n"
    )
    caught = changed(
        tmp_path,
        "communication/context-outside-a-handler/dont",
        (
            line,
            f'    told = "noted"\n    try:\n    {line}    except Exception as error:\n'
            '        told = f"{type(error).__name__} {str(error)[:5]}"\n',
        ),
        ('b"noted"', "told.encode()"),
    )
    proof = load(CHAPTER / "context-outside-a-handler")
    calls = lab.run(lab.laboratory.result(proof, caught, PLAIN)).trace.calls
    assert [call.answer for call in calls[1:]] == ["VMException (598)", "sender"]
    assert calls[1].status == 200


@pytest.mark.parametrize("code", ["dont", "do"])
def test_handler_whose_journal_a_route_wrote_into_is_killed(
    lab: Lab, code: str, tmp_path: Path
) -> None:
    """RDD312: on either code; with it ends what the route sent through it, not what others sent."""
    slug = "communication/context-outside-a-handler"
    register = "@parcels.handler()\nasync def register("
    answering = '    return f"registered, to {address}"\n'
    posting = (
        "def post(path: str) -> None:\n"
        '    httpx.post(os.environ["API_URL"] + path, timeout=30).raise_for_status()\n\n\n'
    )
    steps = (
        '    await ctx.run_typed("print label", post, path="/labels")\n'
        '    await ctx.run_typed("file", address.upper)\n'
    )
    moving = '    ctx.set("place", place)\n'
    noting = '    await ctx.run_typed("note", post, path=f"/notes/{place}")\n'
    for variant in ("dont", "do"):
        changed(
            tmp_path,
            f"{slug}/{variant}",
            ("import restate\n", "import os\n\nimport httpx\nimport restate\n"),
            (register, posting + register),
            (answering, steps + answering),
            (moving, noting + moving),
        )
    parcel = "Parcels/parcel-1"
    queued = "select id from sys_invocation where status = 'pending' and idempotency_key = "
    killed = "select id from sys_invocation where idempotency_key = 'scan-7' "
    killed += "and completion_failure = '[409] killed'"

    async def prove(in_proof: LabInProof) -> None:
        printed = in_proof.outside.hold("POST /labels", at_most=20.0)
        await in_proof.call(f"{parcel}/register/send", "Linz")
        await in_proof.until_effect("POST /labels")
        await in_proof.post(in_proof.worker_url, "/scans/scan-7/parcel-1/Graz")
        printed.set()
        await until_status(in_proof, f"{parcel}/register", "paused")
        await in_proof.until_row(f"{queued} 'scan-7'")
        await in_proof.call(f"{parcel}/scanned/send", "Wien", idempotency_key="scan-8")
        await in_proof.until_row(f"{queued} 'scan-8'")
        noted = in_proof.outside.hold("POST /notes/Graz", at_most=20.0)
        assert await in_proof.operate("kill", f"{parcel}/register") == 200
        await in_proof.until_row(killed)
        noted.set()
        await in_proof.until_all_completed()
        assert await in_proof.call(f"{parcel}/where") == "Wien"
        again = await in_proof.call(f"{parcel}/scanned", "Graz", idempotency_key="scan-7")
        assert again["message"] == "killed"
        assert await in_proof.call(f"{parcel}/where") == "Wien"
        await in_proof.call(f"{parcel}/scanned", "Graz", idempotency_key="scan-7-again")
        assert await in_proof.call(f"{parcel}/where") == "Graz"

    stimulus = dataclasses.replace(crash_after_step("file"), successor=code)
    outcome = instead(lab, SNIPPETS / slug, prove, stimulus, tmp_path / "dont.py").outcome
    assert outcome == JournalMismatch(command=3, was="one way call/send", now="run")


def test_what_a_module_wrote_into_another_journal_stops_its_replay(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD312: until then, nothing tells of it."""
    slug = "communication/context-outside-a-handler"
    answering = '    return f"registered, to {address}"\n'
    filing = '    await ctx.run_typed("file", print_label, address=f"{address}-file")\n'
    module = changed(tmp_path, f"{slug}/module", (answering, filing + answering))
    failures = "select id from sys_journal_events"

    async def prove(in_proof: LabInProof) -> None:
        labels = ("Linz", "Wien", "Wien-file")
        linz, wien, filed = (
            in_proof.outside.hold(f"POST /labels/{each}", at_most=30.0) for each in labels
        )
        in_proof.outside.fail("POST /labels/Wien-file", times=1)
        first = asyncio.create_task(in_proof.call("Parcels/parcel-1/register", "Linz"))
        await in_proof.until_effect("POST /labels/Linz")
        second = asyncio.create_task(in_proof.call("Parcels/parcel-2/register", "Wien"))
        await in_proof.until_effect("POST /labels/Wien")
        linz.set()
        await first
        wien.set()
        await in_proof.until_effect("POST /labels/Wien-file")
        assert not await in_proof.query(failures)
        filed.set()
        await second

    outcome = instead(lab, SNIPPETS / slug, prove, PLAIN, module).outcome
    assert outcome == JournalMismatch(command=2, was="value '\"Linz\"'", now="value '\"Wien\"'")


def test_a_purged_journal_holds_no_token_and_the_key_still_answers(lab: Lab) -> None:
    """RDD311."""
    tokens = "select id from sys_journal where entry_json like '%for-this-proof-only%'"
    over = (
        "select id from sys_invocation where status = 'completed' and completion_result = 'success'"
    )
    headers = {"authorization": "Bearer for-this-proof-only", "x-trace": "t-1"}
    rule, target = CHAPTER / "secrets-in-headers", "Claims/file"

    async def purge(in_proof: LabInProof) -> None:
        await in_proof.call(target, "water-damage", headers=headers, idempotency_key="claim")
        await in_proof.until_all_completed()
        assert len(await in_proof.query(tokens)) == 1
        assert await in_proof.operate("purge-journal", target) == 200
        await in_proof.until_no_row(tokens)
        assert len(await in_proof.query(over)) == 1
        again = in_proof.call(target, "water-damage", headers=headers, idempotency_key="claim")
        assert await again == "claim-1"

    trace = instead(lab, rule, purge, PLAIN, rule / "do.py").trace
    assert trace.effect_counts() == {"POST /claims": 1}


def test_a_token_in_a_call_is_found_however_it_is_written(lab: Lab, tmp_path: Path) -> None:
    """RDD311: the journal of the caller has the name of a header as the code has it."""
    calling = changed(
        tmp_path,
        "communication/secrets-in-headers/do",
        (
            "\n\napp =",
            "\n\n@claims.handler()\nasync def forward(ctx: restate.Context, claim: str) -> str:\n"
            '    headers = {"Authorization": "Bearer 1", "x-trace": "t-1"}\n'
            "    return await ctx.service_call(file, claim, headers=headers)\n\n\napp =",
        ),
    )
    found = []

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Claims/forward", "water-damage")
        found.extend(await in_proof.query(queries("RDD311")[0]))

    instead(lab, CHAPTER / "secrets-in-headers", prove, PLAIN, calling)
    assert {row["target"] for row in found} == {"Claims/forward", "Claims/file"}


def test_a_step_or_a_state_with_the_name_of_a_header_is_no_token(lab: Lab, tmp_path: Path) -> None:
    """RDD311: nor is what a text says of it; whose journal is found has the header itself."""
    slug, target = "communication/secrets-in-headers", "Claims/broker-1/file"
    said = """'{"name":"cookie","value":"1"}'"""
    keyed = [
        ('restate.Service("Claims")', 'restate.VirtualObject("Claims")'),
        ("ctx: restate.Context", "ctx: restate.ObjectContext"),
        ("client.service_call(file, claim)", 'client.object_call(file, "x", claim)'),
        ('run_typed("enter"', 'run_typed("authorization"'),
        ("    return await", f'    ctx.set("cookie", 1)\n    ctx.clear({said})\n    return await'),
    ]
    snippet = changed(tmp_path, f"{slug}/do", *keyed)
    signed = {"authorization": "Bearer for-this-proof-only", "x-trace": "t-1"}
    named = "select name from sys_journal where entry_json like"

    async def look(in_proof: LabInProof) -> None:
        await in_proof.call(target, "water-damage", headers={"x-trace": "t-1"})
        for name in ("authorization", "cookie"):
            assert await in_proof.query(f"{named} '%\"{name}\"%'")
        assert not await in_proof.query(queries("RDD311")[0])
        await in_proof.call(target, "fire-damage", headers=signed)
        assert len(await in_proof.query(queries("RDD311")[0])) == 1

    instead(lab, SNIPPETS / slug, look, PLAIN, snippet)


def test_the_second_answer_to_an_awakeable_is_accepted_and_ignored(lab: Lab) -> None:
    """RDD313: both mails have the same link."""

    async def prove(in_proof: LabInProof) -> None:
        approving = asyncio.create_task(in_proof.call("Trips/approve", "Rome"))
        await in_proof.until_effect("POST /emails")
        approval = in_proof.outside.ledger[0].body["link"].rpartition("/")[2]
        await in_proof.resolve_awakeable(approval, "approved")
        await in_proof.resolve_awakeable(approval, "refused")
        await approving
        await in_proof.resolve_awakeable(approval, "refused")

    result = instead(lab, CHAPTER / "awakeable-id-sent-outside-run", prove, REPLAY_EVERY_AWAIT)
    assert result.trace.calls[0].answer == "Rome: approved"


def test_an_old_link_decides_a_later_trip_under_the_same_idempotency_key(lab: Lab) -> None:
    """RDD313: once the first trip is kept no more; its awakeable had the same id."""
    rule, target = CHAPTER / "awakeable-id-sent-outside-run", "Trips/approve"
    links: list[str] = []

    async def prove(in_proof: LabInProof) -> None:
        for times, decision in enumerate(("approved", "refused"), 1):
            approving = asyncio.create_task(in_proof.call(target, "Rome", idempotency_key="k-1"))
            await in_proof.until_effect("POST /emails", times=times)
            links.append(in_proof.outside.ledger[-1].body["link"])
            await in_proof.resolve_awakeable(links[0].rpartition("/")[2], decision)
            assert await approving == f"Rome: {decision}"
            assert await in_proof.operate("purge", target) == 200
            await in_proof.until_no_row("select id from sys_invocation")

    instead(lab, rule, prove, PLAIN, rule / "do.py", promise=Holds(answers=[]))
    assert links[0] == links[1]


@pytest.mark.parametrize(
    ("stimulus", "mails"), [(PLAIN, 1), (REPLAY_EVERY_AWAIT, 2)], ids=["HTTP/2", "HTTP/1.1"]
)
def test_who_clicks_at_once_gets_a_second_mail_over_http_1_1_only(
    lab: Lab, stimulus: Stimulus, mails: int
) -> None:
    """RDD313: there the attempt ends at the wait, also if the answer has come before it."""

    async def prove(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /emails", at_most=20.0)
        approving = asyncio.create_task(in_proof.call("Trips/approve", "Rome"))
        await in_proof.until_effect("POST /emails")
        approval = in_proof.outside.ledger[0].body["link"].rpartition("/")[2]
        await in_proof.resolve_awakeable(approval, "approved")
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Signal'"
        )
        mailed.set()
        assert await approving == "Rome: approved"

    trace = instead(lab, CHAPTER / "awakeable-id-sent-outside-run", prove, stimulus).trace
    assert trace.effect_counts() == {"POST /emails": mails}


def test_who_confirms_just_before_a_promise_is_closed_is_heard(lab: Lab, tmp_path: Path) -> None:
    """RDD314: the rejection comes too late then, and the workflow takes the guest."""
    proof = load(CHAPTER / "wait-without-a-limit")
    closing = "        await confirmed.reject"
    slow = '        await ctx.run_typed("slow", mark, room="13", as_what="slow")\n'
    snippet = tmp_path / "closed.py"
    snippet.write_text(proof.snippet("closed").read_text().replace(closing, slow + closing))

    async def prove(in_proof: LabInProof) -> None:
        closed = in_proof.outside.hold("PUT /rooms/13", at_most=30.0)
        waiting = asyncio.create_task(in_proof.call("Booking/b-1/run", "12"))
        await in_proof.until_effect("PUT /rooms/13")
        assert await in_proof.call("Booking/b-1/confirm", "ann") == "thank you"
        closed.set()
        await waiting

    result = instead(lab, CHAPTER / "wait-without-a-limit", prove, PLAIN, snippet)
    assert result.trace.calls[0].answer == "room 12 for ann"


def test_a_cancel_while_a_promise_is_closed_is_no_guest(lab: Lab, tmp_path: Path) -> None:
    """RDD314: it comes as a TerminalError as well, with the same status."""
    attempt = "    try:\n"
    asking = '    httpx.put(f"{API_URL}/rooms/13", json="asks", timeout=30)\n'
    slow = changed(
        tmp_path, "communication/wait-without-a-limit/closed", (attempt, asking + attempt)
    )

    async def prove(in_proof: LabInProof) -> None:
        asked = in_proof.outside.hold("PUT /rooms/13", at_most=30.0)
        waiting = asyncio.create_task(in_proof.call("Booking/b-1/run", "12"))
        await in_proof.until_effect("PUT /rooms/13")
        assert await in_proof.operate("cancel", "Booking/b-1/run") == 202
        await in_proof.until_row(
            "select id from sys_journal where entry_type = 'Notification: Signal'"
        )
        asked.set()
        await waiting

    [call] = instead(lab, CHAPTER / "wait-without-a-limit", prove, PLAIN, slow).trace.calls
    assert (call.status, call.answer["message"]) == (409, "cancelled")


async def confirm(in_proof: LabInProof) -> None:
    await in_proof.call("Booking/b-1/confirm", "ann")


async def cancel(in_proof: LabInProof) -> None:
    assert await in_proof.operate("cancel", "Booking/b-1/run") == 202


async def move(in_proof: LabInProof) -> None:
    """On to the code that has a limit; one that is suspended needs no pause for that, and gets none."""
    await in_proof.deploy("do")
    if not await in_proof.query("select id from sys_invocation where status = 'suspended'"):
        assert await in_proof.operate("pause", "Booking/b-1/run") == 202
        await in_proof.until_row("select id from sys_invocation where status = 'paused'")
    assert await in_proof.operate("resume", "Booking/b-1/run", deployment="latest") == 200


@pytest.mark.parametrize("stimulus", [PLAIN, REPLAY_EVERY_AWAIT], ids=["running", "suspended"])
@pytest.mark.parametrize(
    ("free", "ends"),
    [
        (confirm, "room 12 for ann"),
        (cancel, {"failure": "cancelled", "code": 409}),
        (move, "room 12 was not confirmed"),
    ],
)
def test_a_workflow_that_waits_for_ever_is_freed(
    lab: Lab, stimulus: Stimulus, free: Callable[[LabInProof], Awaitable[None]], ends: object
) -> None:
    """RDD314: by what it waits for, by a cancel, or by the code with the limit."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Booking/b-1/run/send", "12")
        await in_proof.until_row("select key from sys_promise")
        if stimulus is REPLAY_EVERY_AWAIT:
            await in_proof.until_row("select id from sys_invocation where status = 'suspended'")
        await free(in_proof)
        await in_proof.until_all_completed()

    rule = CHAPTER / "wait-without-a-limit"
    trace = instead(lab, rule, prove, stimulus, promise=Holds(answers=[])).trace
    stuck = next(i for i in trace.invocations if i.target == "Booking/b-1/run")
    assert stuck.result == ends
    if free is cancel:
        assert trace.effect_counts() == {"PUT /rooms/12": 1}, "the room stays kept"


BOOKING = '    await ctx.run_typed("book", trip.upper)\n'


@pytest.mark.parametrize(
    ("answered", "waiting", "was", "now"),
    [
        (True, f"    await decision\n{BOOKING}", "name book", "name mail"),
        (False, BOOKING, "name book", "name mail"),
        (
            False,
            "    limit = ctx.sleep(LIMIT)\n    await restate.select(decision=decision, limit=limit)\n",
            "sleep",
            "run",
        ),
    ],
    ids=["went on", "still waits", "waits with a limit"],
)
def test_a_handler_with_a_command_since_the_mail_meets_a_mismatch(
    lab: Lab, tmp_path: Path, answered: bool, waiting: str, was: str, now: str
) -> None:
    """RDD313: on the fixed code in place, its journal has that command where the mail's step now is."""
    proof = load(CHAPTER / "awakeable-id-sent-outside-run")
    returning = '    return f"{trip}: {await decision}"'
    for name in ("do", "dont"):
        changed(
            tmp_path,
            f"communication/awakeable-id-sent-outside-run/{name}",
            ("import os\n", "import os\nfrom datetime import timedelta\n"),
            ("\n\ndef mail(", "LIMIT = timedelta(hours=1)\n\n\ndef mail("),
            (returning, waiting + returning),
        )

    async def approve(in_proof: LabInProof) -> None:
        await in_proof.call("Trips/approve", "Rome")

    crash_at = {"in": "sleep"} if was == "sleep" else {"after_step": "book"}
    fixed = dataclasses.replace(crash_after_step("book"), crash_at=crash_at, successor="do")
    prove = proof.prove if answered else approve
    result = instead(lab, proof.folder, prove, fixed, tmp_path / "dont.py")
    assert result.outcome == JournalMismatch(command=1, was=was, now=now)


def test_a_polling_loop_meets_a_mismatch_on_the_fixed_code_in_place(lab: Lab) -> None:
    """RDD315."""

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /deliveries/p-1", times=8, status=404)
        await in_proof.call("Orders/track", "p-1")

    fixed = dataclasses.replace(crash_after_step("ask"), successor="do")
    result = instead(lab, CHAPTER / "polling-with-sleep", prove, fixed)
    assert result.outcome == JournalMismatch(command=1, was="name ask", now="name subscribe")


def test_an_id_that_is_sent_through_the_context_is_sent_once(lab: Lab) -> None:
    """RDD313: the message is in the journal, and no replay sends it again."""
    sent = "select id from sys_invocation where target = 'Orders/poll' "
    sent += "and invoked_by_target = 'Orders/track'"

    async def look(in_proof: LabInProof) -> None:
        assert len(await in_proof.query(sent)) == 1

    rule = CHAPTER / "polling-with-sleep"
    trace = afterwards(lab, rule, look, REPLAY_EVERY_AWAIT, "message").trace
    (track,) = (each for each in trace.invocations if each.target == "Orders/track")
    assert len(track.attempts) > 1


def test_a_polling_loop_goes_on_with_the_old_code_until_cancelled(lab: Lab, tmp_path: Path) -> None:
    """RDD315: also when the fixed code is deployed; started again on that, it does its steps again."""
    slug, asked, paid = "communication/polling-with-sleep", "GET /deliveries/p-1", "POST /postages"
    post = (
        "def pay() -> None:\n"
        '    httpx.post(f"{API_URL}/postages").raise_for_status()\n\n\n@orders.handler()'
    )
    paying = '    await ctx.run_typed("pay", pay)\n'
    loop, awakeable = "    while not (", "    reply_to, delivery ="
    changed(tmp_path, f"{slug}/dont", ("@orders.handler()", post), (loop, paying + loop))
    changed(tmp_path, f"{slug}/do", ("@orders.handler()", post), (awakeable, paying + awakeable))

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail(asked, times=1000, status=404)
        await in_proof.call("Orders/track/send", "p-1")
        await in_proof.until_effect(asked, times=3)
        await in_proof.deploy("do")
        already = len(in_proof.outside.ledger)
        await in_proof.until_effect(asked, times=already + 3)
        assert await in_proof.operate("cancel", "Orders/track") == 202
        await in_proof.until_all_completed()
        assert [each.effect for each in in_proof.outside.ledger].count(paid) == 1
        again = asyncio.create_task(in_proof.call("Orders/track", "p-1", idempotency_key="again"))
        await in_proof.until_result("Run subscribe")
        reply_to = in_proof.outside.ledger[-1].effect.rpartition("/")[2]
        await in_proof.resolve_awakeable(reply_to, "left with Ann")
        assert await again == "left with Ann"

    dont = tmp_path / "dont.py"
    trace = instead(lab, SNIPPETS / slug, prove, PLAIN, dont, folder=tmp_path).trace
    assert trace.invocations[0].result == {"failure": "cancelled", "code": 409}
    assert trace.effect_counts()[paid] == 2


def test_a_cancel_of_the_tracking_ends_no_questions(lab: Lab) -> None:
    """RDD315: they are sent, not called."""
    asked = "GET /deliveries/p-1"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers[asked] = "left with Ann"
        in_proof.outside.fail(asked, times=1000, status=404)
        await in_proof.call("Orders/track/send", "p-1")
        await in_proof.until_effect(asked)
        assert await in_proof.operate("cancel", "Orders/track") == 202
        await in_proof.until_row(
            "select id from sys_invocation where target = 'Orders/track' and status = 'completed'"
        )
        already = len(in_proof.outside.ledger)
        await in_proof.until_effect(asked, times=already + 3)
        in_proof.outside.unwell.clear()
        await in_proof.until_all_completed()

    rule = CHAPTER / "polling-with-sleep"
    sent = answering("polling-with-sleep", {"invocationId": "inv-1", "status": "Accepted"})
    instead(lab, rule, prove, PLAIN, rule / "message.py", promise=sent)


def test_questions_that_are_counted_end_with_the_tracking(lab: Lab, tmp_path: Path) -> None:
    """RDD315."""
    counted = changed(
        tmp_path,
        "communication/polling-with-sleep/message",
        ("[parcel, reply_to])", '[parcel, reply_to, "3"])'),
        ("parcel, reply_to = asked\n", "parcel, reply_to, left = asked\n"),
        (
            "    else:\n        ctx.service_send(poll, asked,",
            '    elif left == "0":\n        ctx.reject_awakeable(reply_to, "not delivered", 404)\n'
            "    else:\n        asked[2] = str(int(left) - 1)\n"
            "        ctx.service_send(poll, asked,",
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /deliveries/p-1", times=1000, status=404)
        await in_proof.call("Orders/track", "p-1")
        await in_proof.until_all_completed()

    trace = instead(lab, CHAPTER / "polling-with-sleep", prove, PLAIN, counted).trace
    assert trace.calls[0].answer["message"] == "not delivered"
    assert len(trace.effects) == 4


def test_a_cancel_reaches_no_message(lab: Lab, tmp_path: Path) -> None:
    """RDD301."""
    calling = "    await ctx.service_call(goodbye, user)\n"
    snippet = changed(
        tmp_path,
        "communication/ingress-client-in-handler/do",
        (
            calling,
            "    ctx.service_send(goodbye, user)\n    await ctx.sleep(timedelta(minutes=1))\n",
        ),
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
    )

    async def cancel(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /mails", at_most=20.0)
        closing = asyncio.create_task(in_proof.call("Accounts/close", "ann"))
        await in_proof.until_effect("POST /mails")
        assert await in_proof.operate("cancel", "Accounts/close") == 202
        await closing
        mailed.set()
        await in_proof.until_all_completed()

    rule = CHAPTER / "ingress-client-in-handler"
    trace = instead(lab, rule, cancel, PLAIN, snippet).trace
    assert trace.calls[0].status == 409
    assert {each.target: each.result for each in trace.invocations}["Mails/goodbye"] == ""
    assert trace.effect_counts()["POST /mails"] == 1


@pytest.mark.parametrize(
    ("slug", "step", "effect"),
    [
        ("ingress-client-in-handler", "mail", "POST /mails"),
        ("time-in-idempotency-key", "collect", "POST /debits"),
    ],
)
def test_the_step_of_the_one_invocation_is_executed_at_least_once(
    lab: Lab, slug: str, step: str, effect: str
) -> None:
    """RDD301, RDD308."""
    proof = load(CHAPTER / slug)
    killed = crash_before_journal(step)
    trace = lab.run(lab.laboratory.result(proof, proof.snippet("do"), killed)).trace
    assert trace.effect_counts()[effect] == 2


def test_the_old_code_calls_again_at_each_replay(lab: Lab) -> None:
    """RDD301: and what the page's query finds is newer than the fix."""
    counted: list[int] = []

    async def fix(in_proof: LabInProof) -> None:
        deleted = in_proof.outside.hold("POST /deletions", at_most=20.0)
        closing = asyncio.create_task(in_proof.call("Accounts/close", "ann"))
        await in_proof.until_effect("POST /deletions")
        await in_proof.deploy("do")
        for times in (2, 3):
            await in_proof.restart_server()
            await in_proof.until_effect("POST /mails", times=times)
        deleted.set()
        await in_proof.until_all_completed()
        closing.cancel()
        (row,) = await in_proof.query(queries("RDD301")[0])
        counted.append(row["count(*)"])

    instead(lab, CHAPTER / "ingress-client-in-handler", fix, PLAIN)
    assert counted == [3]


@pytest.mark.parametrize("journaled", [True, False])
def test_what_has_no_deletion_yet_goes_to_the_fix_and_calls_again(
    lab: Lab, journaled: bool
) -> None:
    """RDD301: its second mail is not from the ingress, so the query of RDD307 has to look elsewhere, too."""
    effect = "POST /deletions" if journaled else "POST /mails"
    by = "i.invoked_by = 'ingress' AND "

    async def fix(in_proof: LabInProof) -> None:
        old = await deployment(in_proof, "Accounts")
        held = in_proof.outside.hold(effect, at_most=20.0)
        closing = asyncio.create_task(in_proof.call("Accounts/close", "ann"))
        await in_proof.until_effect(effect)
        await in_proof.deploy("do")
        await in_proof.restart_server()
        await in_proof.until_row(
            "select count(*) from sys_invocation where target = 'Mails/goodbye' having count(*) = 2"
        )
        held.set()
        await in_proof.until_all_completed()
        closing.cancel()
        pinned = "select pinned_deployment_id as at from sys_invocation where target = "
        ((close,), query) = await in_proof.query(f"{pinned}'Accounts/close'"), queries("RDD307")[0]
        assert (close["at"] == old) == journaled
        assert len(await in_proof.query(query)) == journaled
        assert query.count(by) == 1
        (row,) = await in_proof.query(query.replace(by, ""))
        assert (row["target"], row["times"]) == ("Mails/goodbye", 2)

    instead(lab, CHAPTER / "ingress-client-in-handler", fix, PLAIN)


def test_a_key_at_an_object_is_compared_within_its_key(lab: Lab, tmp_path: Path) -> None:
    """RDD308."""
    service = changed(
        tmp_path,
        "communication/time-in-idempotency-key/do",
        ('restate.Service("Donations")', 'restate.VirtualObject("Donations")'),
        ("client.service_call(give, pledge,", "client.object_call(give, pledge, pledge,"),
    )

    async def prove(in_proof: LabInProof) -> None:
        for donor in ("ann", "bob", "ann"):
            await in_proof.call(
                f"Donations/{donor}/give", "pledge-1", idempotency_key="give-pledge-1"
            )

    trace = instead(lab, CHAPTER / "time-in-idempotency-key", prove, PLAIN, service).trace
    assert [call.answer for call in trace.calls] == ["debit-1", "debit-2", "debit-1"]


def test_a_pledge_on_purpose_is_found_by_its_input_too(lab: Lab) -> None:
    """RDD308."""
    rule = CHAPTER / "time-in-idempotency-key"

    async def prove(in_proof: LabInProof) -> None:
        for month in ("03", "04"):
            key = f"give-pledge-1-2030-{month}"
            await in_proof.call("Donations/give", "pledge-1", idempotency_key=key)
        (row,) = await in_proof.query(queries("RDD307")[0])
        assert row["times"] == 2

    instead(lab, rule, prove, PLAIN, rule / "do.py")


def test_keys_with_a_time_at_the_end_are_found(lab: Lab) -> None:
    """RDD308: and none of the names that the page gives."""

    async def look(in_proof: LabInProof) -> None:
        for key in ("give-pledge-1", "give-pledge-1-2030-03", "give-pledge-1-try-2"):
            await in_proof.call("Donations/give", "pledge-1", idempotency_key=key)
        (row,) = await in_proof.query(queries("RDD308")[0])
        assert (row["target"], row["count(*)"]) == ("Donations/give", 2)

    afterwards(lab, CHAPTER / "time-in-idempotency-key", look)


def test_a_twin_that_is_found_may_have_its_debit_ahead(lab: Lab) -> None:
    """RDD308: what is too much is known when each has ended."""

    async def prove(in_proof: LabInProof) -> None:
        assert await in_proof.call("Donations/give", "pledge-1") == "debit-1"
        debited = in_proof.outside.hold("POST /debits", at_most=20.0)
        giving = asyncio.create_task(in_proof.call("Donations/give", "pledge-1"))
        await in_proof.until_effect("POST /debits", times=2)
        (row,) = await in_proof.query(queries("RDD307")[0])
        assert row["times"] == 2 and not giving.done()
        debited.set()
        assert await giving == "debit-2"

    instead(lab, CHAPTER / "time-in-idempotency-key", prove, PLAIN)


@pytest.mark.parametrize(("how", "debits"), [("cancel", 1), ("resume", 2)])
def test_a_twin_that_is_paused_ends_once_resumed_or_cancelled(
    lab: Lab, how: str, debits: int
) -> None:
    """RDD308: it is found beside what it is the twin of."""
    slug, target = "time-in-idempotency-key", "Donations/give"
    sent = {"invocationId": "inv-1", "status": "Accepted"}

    async def prove(in_proof: LabInProof) -> None:
        assert await in_proof.call(target, "pledge-1", idempotency_key="1") == "debit-1"
        in_proof.outside.fail("POST /debits", times=100)
        await in_proof.call(f"{target}/send", "pledge-1", idempotency_key="2")
        await until_status(in_proof, target, "paused")
        (row,) = await in_proof.query(queries("RDD307")[0])
        assert sorted(row["states"]) == ["completed", "paused"]
        in_proof.outside.unwell.clear()
        assert await in_proof.operate(how, target) in (200, 202)
        await in_proof.until_all_completed()

    promise = answering(slug, "debit-1", sent)
    trace = instead(lab, CHAPTER / slug, prove, PLAIN, promise=promise).trace
    assert [effect.failed for effect in trace.effects].count(False) == debits


def test_a_trip_without_a_command_goes_on_on_the_fix_by_itself(lab: Lab) -> None:
    """RDD313: it is bound to no deployment yet; a second mail goes out, and no third."""

    async def prove(in_proof: LabInProof) -> None:
        approving = asyncio.create_task(in_proof.call("Trips/approve", "Rome"))
        await until_status(in_proof, "Trips/approve", "suspended")
        await in_proof.deploy("do")
        approval = in_proof.outside.ledger[0].body["link"].rpartition("/")[2]
        await in_proof.resolve_awakeable(approval, "approved")
        assert await approving == "Rome: approved"

    rule = CHAPTER / "awakeable-id-sent-outside-run"
    trace = instead(lab, rule, prove, REPLAY_EVERY_AWAIT).trace
    assert [each.file for each in trace.invocations[0].attempts] == ["", "do.py", "do.py"]
    assert trace.effect_counts() == {"POST /emails": 2}


def test_a_trip_with_a_limit_ends_on_the_old_code_with_a_mail_at_each_replay(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD313: resumed on the fix it meets RT0016, and resumed on the old deployment it ends."""
    rule, returning = "communication/awakeable-id-sent-outside-run", "{await decision}"
    limited = "{await restate.select(ok=decision, limit=ctx.sleep(timedelta(hours=1)))}"
    for name in ("do", "dont"):
        changed(
            tmp_path,
            f"{rule}/{name}",
            ("import os\n", "import os\nfrom datetime import timedelta\n"),
            (returning, limited),
        )

    async def prove(in_proof: LabInProof) -> None:
        target = "Trips/approve"
        approving = asyncio.create_task(in_proof.call(target, "Rome"))
        await until_status(in_proof, target, "suspended")
        old = await deployment(in_proof, "Trips")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("resume", target, deployment=old) == 200
        approval = in_proof.outside.ledger[0].body["link"].rpartition("/")[2]
        await in_proof.resolve_awakeable(approval, "approved")
        await until_status(in_proof, target, "completed")
        approving.cancel()

    trace = instead(lab, SNIPPETS / rule, prove, REPLAY_EVERY_AWAIT, tmp_path / "dont.py").trace
    assert "RT0016" in {failure.code for failure in trace.failures()}
    assert trace.effect_counts()["POST /emails"] > 1


def test_a_trip_with_a_limit_that_met_the_fix_in_place_ends_on_the_old_code_elsewhere(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD313: paused while it backs off, and resumed by the id of that deployment, though not the latest."""
    rule, returning = "communication/awakeable-id-sent-outside-run", "{await decision}"
    limited = "{await restate.select(ok=decision, limit=ctx.sleep(timedelta(hours=1)))}"
    for name in ("do", "dont"):
        changed(
            tmp_path,
            f"{rule}/{name}",
            ("import os\n", "import os\nfrom datetime import timedelta\n"),
            ('Service("Trips")', f'Service("Trips", {LATER})'),
            (returning, limited),
        )
    target = "Trips/approve"

    async def prove(in_proof: LabInProof) -> None:
        approving = asyncio.create_task(in_proof.call(target, "Rome"))
        await until_status(in_proof, target, "suspended")
        async with httpx.AsyncClient() as operator:
            await operator.post(f"{in_proof.outside.url}/replaced")
        assert await in_proof.operate("resume", target) == 200
        await until_status(in_proof, target, "backing-off")
        await in_proof.deploy("dont")
        old = await deployment(in_proof, "Trips")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment=old) == 409
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("resume", target, deployment=old) == 200
        approval = in_proof.outside.ledger[0].body["link"].rpartition("/")[2]
        await in_proof.resolve_awakeable(approval, "approved")
        await until_status(in_proof, target, "completed")
        approving.cancel()

    replaced = dataclasses.replace(
        REPLAY_EVERY_AWAIT, workers=2, successor="do", crash_on_effect="POST /replaced"
    )
    trace = instead(lab, SNIPPETS / rule, prove, replaced, tmp_path / "dont.py").trace
    assert "RT0016" in {failure.code for failure in trace.failures()}
    assert "approved" in trace.invocations[0].result


def test_the_id_of_an_awakeable_as_the_mails_key_brings_it_through_a_crash(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD313: the mail service knows it again, as each try of the step has the same id."""
    rule, sends = "communication/awakeable-id-sent-outside-run", '/emails", json=body)'
    keyed = f"{sends[:-1]}, headers={{'idempotency-key': link.rpartition('/')[2]}})"
    snippet = changed(tmp_path, f"{rule}/do", (sends, keyed))
    proof = load(SNIPPETS / rule)
    result = instead(lab, proof.folder, proof.prove, crash_after_effect("POST /emails"), snippet)
    assert result.outcome == proof.promise


def test_a_trip_that_is_decided_does_not_get_on_where_the_second_mail_fails(lab: Lab) -> None:
    """RDD313."""

    async def prove(in_proof: LabInProof) -> None:
        approving = asyncio.create_task(in_proof.call("Trips/approve", "Rome"))
        await until_status(in_proof, "Trips/approve", "suspended")
        in_proof.outside.fail("POST /emails", times=9)
        approval = in_proof.outside.ledger[0].body["link"].rpartition("/")[2]
        await in_proof.resolve_awakeable(approval, "approved")
        await until_status(in_proof, "Trips/approve", "paused")
        approving.cancel()

    rule = CHAPTER / "awakeable-id-sent-outside-run"
    trace = instead(lab, rule, prove, REPLAY_EVERY_AWAIT).trace
    assert trace.effect_counts() == {"POST /emails": 1}


def test_a_payment_is_taken_for_an_order_that_nobody_begins_and_a_second_refused(lab: Lab) -> None:
    """RDD306: a retry with the first one's idempotency key is no second one."""
    rule = CHAPTER / "awakeable-inside-workflow"

    async def pay(in_proof: LabInProof) -> None:
        for key in ("k-1", "k-1", None):
            await in_proof.call("Order/nobody/paid", "card", idempotency_key=key)

    trace = instead(lab, rule, pay, PLAIN, rule / "do.py").trace
    assert [call.status for call in trace.calls] == [200, 200, 409]
    assert {each.target for each in trace.invocations} == {"Order/nobody/paid"}


def test_a_lost_payment_is_found_once_the_id_is_stored_and_read_from_its_journal(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD306: still listed while its run goes on after it."""
    (lost,) = queries("RDD306")
    paying = '    return f"{price} paid by {await payment}"'
    slow = changed(
        tmp_path,
        "communication/awakeable-inside-workflow/dont",
        (
            paying,
            "    how = await payment\n"
            "    await ctx.run_typed('again', ask_price, item='cup')\n"
            "    return how",
        ),
    )

    async def pay(in_proof: LabInProof) -> None:
        in_proof.outside.answers |= {"GET /prices/pot": 20, "GET /prices/cup": 2}
        asked = in_proof.outside.hold("GET /prices/pot", at_most=20.0)
        again = in_proof.outside.hold("GET /prices/cup", at_most=20.0)
        await in_proof.call("Order/order-1/run/send", "pot")
        await in_proof.until_effect("GET /prices/pot")
        await in_proof.call("Order/order-1/paid", "card")
        assert await in_proof.query(lost) == []
        asked.set()
        await in_proof.until_row(lost)
        (row,) = await in_proof.query(lost)
        entry = f"select entry_json from sys_journal where id = '{row['paid']}' and index = 0"
        payload = json.loads((await in_proof.query(entry))[0]["entry_json"])["Command"]["Input"]
        assert bytes(payload["payload"]).decode() == '"card"'
        await in_proof.resolve_awakeable(row["awakeable"], "card")
        await in_proof.until_effect("GET /prices/cup")
        assert await in_proof.query(lost) == [row]
        again.set()
        await in_proof.until_all_completed()

    instead(lab, CHAPTER / "awakeable-inside-workflow", pay, PLAIN, slow)


def posting(under: str) -> list[tuple[str, str]]:
    """Changes of a snippet by which its handlers can ask for something outside, in a step."""
    function = "def post(path: str) -> None:\n"
    function += '    httpx.post(os.environ["API_URL"] + path, timeout=60).raise_for_status()\n'
    return [
        ("import restate\n", "import os\n\nimport httpx\nimport restate\n"),
        (under, f"{under}\n\n{function}"),
    ]


STOCK = 'stock = restate.VirtualObject("Stock")\n'
PARCELS = 'parcels = restate.VirtualObject("Parcels")\n'
REGISTERED = '    return f"registered, to {address}"\n'


def test_two_orders_that_call_each_other_at_once_hang(lab: Lab, tmp_path: Path) -> None:
    """RDD303: on other keys there is no queue in common, but none of the two gives its own back."""
    crossing = changed(
        tmp_path,
        "communication/same-key-cycle/do",
        *posting(STOCK),
        (
            "    number = await ctx.object_call(take, key=item, arg=ctx.key())\n"
            '    return f"{item} taken, number {number}"\n',
            '    await ctx.run_typed("check", post, path=f"/checks/{item}")\n'
            "    await ctx.object_call(note, key=item, arg=ctx.key())\n"
            '    return f"{item} knows"\n',
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/order-0/place", "order-9")
        checks = [f"POST /checks/order-{number}" for number in (1, 2)]
        held = [in_proof.outside.hold(check, at_most=20.0) for check in checks]
        placing = [
            asyncio.create_task(in_proof.call(f"Orders/{one}/place", other))
            for one, other in (("order-1", "order-2"), ("order-2", "order-1"))
        ]
        for check in checks:
            await in_proof.until_effect(check)
        for each in held:
            each.set()
        for order in ("order-1", "order-2"):
            await until_status(in_proof, f"Orders/{order}/note", "pending")
        await asyncio.sleep(0.5)
        assert not any(each.done() for each in placing)
        assert await in_proof.operate("cancel", "Orders/order-1/note") == 200
        await asyncio.gather(*placing)

    trace = instead(lab, CHAPTER / "same-key-cycle", prove, snippet=crossing).trace
    assert [call.status for call in trace.calls] == [200, 200, 409]


def test_a_message_that_waits_its_turn_is_listed_as_a_circle_is(lab: Lab, tmp_path: Path) -> None:
    """RDD303: whoever cancels it loses the note; by itself it leaves the list."""
    mailing = changed(
        tmp_path,
        "communication/same-key-cycle/do",
        *posting(STOCK),
        (
            '    return f"{item} taken',
            '    await ctx.run_typed("mail", post, path="/mails")\n    return f"{item} taken',
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /mails", at_most=20.0)
        for number in (1, 2):
            order = f"Orders/order-{number}"
            placing = asyncio.create_task(in_proof.call(f"{order}/place", "pot"))
            await in_proof.until_effect("POST /mails", number)
            await until_status(in_proof, f"{order}/note", "pending")
            found = await in_proof.query(queries("RDD303")[0])
            assert [row["target"] for row in found] == [f"{order}/note", f"{order}/place"]
            if number == 1:
                assert await in_proof.operate("cancel", f"{order}/note") == 200
            mailed.set()
            await placing
            await in_proof.until_no_row(
                f"select id from sys_invocation where target = '{order}/note' and status != 'completed'"
            )
            mailed = in_proof.outside.hold("POST /mails", at_most=20.0)
        assert await in_proof.query(queries("RDD303")[0]) == []

    trace = instead(lab, CHAPTER / "same-key-cycle", prove, snippet=mailing).trace
    assert [state.key for state in trace.state if state.service == "Orders"] == ["order-2"]


def test_what_began_before_the_fix_closes_its_circle_after_it(lab: Lab, tmp_path: Path) -> None:
    """RDD303: the query has no call to cancel yet."""
    fetching = changed(
        tmp_path,
        "communication/same-key-cycle/dont",
        *posting(STOCK),
        (
            "    await ctx.object_call(note",
            '    await ctx.run_typed("fetch", post, path="/fetches")\n    await ctx.object_call(note',
        ),
    )
    changed(tmp_path, "communication/same-key-cycle/do")

    async def prove(in_proof: LabInProof) -> None:
        fetched = in_proof.outside.hold("POST /fetches", at_most=20.0)
        placing = asyncio.create_task(in_proof.call("Orders/order-1/place", "pot"))
        await in_proof.until_effect("POST /fetches")
        await in_proof.deploy("do")
        found = await in_proof.query(queries("RDD303")[0])
        assert [row["target"] for row in found] == ["Orders/order-1/place", "Stock/pot/take"]
        fetched.set()
        await until_status(in_proof, "Orders/order-1/note", "pending")
        assert await in_proof.operate("cancel", "Orders/order-1/note") == 200
        await placing

    trace = instead(lab, CHAPTER / "same-key-cycle", prove, snippet=fetching).trace
    assert [call.status for call in trace.calls] == [409]


def test_an_old_order_adds_to_the_empty_key_after_the_fix(lab: Lab, tmp_path: Path) -> None:
    """RDD302: the query is asked again before the state of the empty key is cleared.

    What the customer is owed adds to what the fixed code has given since.
    """
    checking = changed(
        tmp_path,
        "communication/wrong-call-kind/dont",
        *posting('orders = restate.Service("Orders")\n'),
        (
            "    return await ctx.service_call(",
            '    await ctx.run_typed("check", post, path=f"/checks/{customer}")\n'
            "    return await ctx.service_call(",
        ),
    )
    changed(tmp_path, "communication/wrong-call-kind/do")
    found = []

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/place", "ann")
        checked = in_proof.outside.hold("POST /checks/bob", at_most=20.0)
        placing = asyncio.create_task(in_proof.call("Orders/place", "bob"))
        await in_proof.until_effect("POST /checks/bob")
        await in_proof.deploy("do")
        found.append(len(await in_proof.query(queries("RDD302")[0])))
        checked.set()
        await placing
        found.append(len(await in_proof.query(queries("RDD302")[0])))
        cleared = {"object_key": "", "new_state": {}}
        await in_proof.admin("POST", "/services/Points/state", cleared)
        await in_proof.until_no_row("select key from state where service_key = ''")
        await in_proof.call("Orders/place", "bob")
        assert await in_proof.call("Points/bob/add", 10) == 20

    trace = instead(lab, CHAPTER / "wrong-call-kind", prove, snippet=checking).trace
    assert found == [1, 2]
    assert [call.answer for call in trace.calls] == [10, 20, 10, 20]
    assert [(state.key, state.value) for state in trace.state] == [("bob", 20)]


def test_an_order_whose_call_was_cancelled_adds_nothing_to_the_empty_key(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD302: so the query leaves it out; one that waits is in it."""
    checking = changed(
        tmp_path,
        "communication/wrong-call-kind/dont",
        *posting('orders = restate.Service("Orders")\n'),
        (
            "    total = (await",
            '    await ctx.run_typed("check", post, path="/checks")\n    total = (await',
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        async def found() -> list[str]:
            return sorted(row["status"] for row in await in_proof.query(queries("RDD302")[0]))

        checked = in_proof.outside.hold("POST /checks", at_most=20.0)
        first = asyncio.create_task(in_proof.call("Orders/place", "ann"))
        await in_proof.until_effect("POST /checks")
        second = asyncio.create_task(in_proof.call("Orders/place", "bob"))
        await until_status(in_proof, "Points//add", "pending")
        assert await found() == ["pending", "running"]
        (running,) = await in_proof.query(
            "select id from sys_invocation where target = 'Points//add' and status = 'running'"
        )
        await in_proof.admin("PATCH", f"/invocations/{running['id']}/cancel")
        await first
        checked.set()
        await second
        assert await found() == ["completed"]

    trace = instead(lab, CHAPTER / "wrong-call-kind", prove, PLAIN, checking).trace
    assert [call.status for call in trace.calls] == [409, 200]
    assert [(state.key, state.value) for state in trace.state] == [("", 10)]


@pytest.mark.parametrize("dies", ["worker", "server", None])
def test_a_report_to_a_handler_under_way_is_lost_with_what_dies(
    lab: Lab, tmp_path: Path, dies: str | None
) -> None:
    """RDD312: the carrier was told 200. It arrives where the fix is at a new URL, and nothing dies."""
    slug = "communication/context-outside-a-handler"
    step = '    await ctx.run_typed("print label", post, path="/labels")\n'
    for variant in ("dont", "do"):
        changed(tmp_path, f"{slug}/{variant}", *posting(PARCELS), (REGISTERED, step + REGISTERED))

    async def prove(in_proof: LabInProof) -> None:
        printed = in_proof.outside.hold("POST /labels", at_most=20.0)
        await in_proof.call("Parcels/parcel-1/register/send", "Linz")
        await in_proof.until_effect("POST /labels")
        await in_proof.post(in_proof.worker_url, "/scans/scan-7/parcel-1/Graz")
        if dies == "server":
            await in_proof.restart_server()
        if dies is None:
            await in_proof.deploy("do")
        printed.set()
        if dies is None:
            await until_status(in_proof, "Parcels/parcel-1/scanned", "completed")
        await in_proof.until_all_completed()
        await in_proof.call("Parcels/parcel-1/where")

    crash = dataclasses.replace(crash_before_journal("print label"), successor="do")
    stimulus = crash if dies == "worker" else PLAIN
    trace = instead(lab, SNIPPETS / slug, prove, stimulus, tmp_path / "dont.py").trace
    assert [call.status for call in trace.calls] == [202, 200, 200]
    assert [call.answer for call in trace.calls[1:]] == ["noted", "sender" if dies else "Graz"]
    arrived = [each.target for each in trace.invocations if "scanned" in each.target]
    assert bool(arrived) == (dies is None)


def test_a_handler_whose_entry_a_module_misplaced_stops_too(lab: Lab, tmp_path: Path) -> None:
    """RDD312: on the fixed code; killed and called again under a new key, it ends: a second label."""
    slug = "communication/context-outside-a-handler"
    filing = '    await ctx.run_typed("file", print_label, address=f"{address}-file")\n'
    module = changed(tmp_path, f"{slug}/module", (REGISTERED, filing + REGISTERED))
    fixed = module.read_text().replace("def remember(", "def remember(context, ")
    module.with_stem("fixed").write_text(fixed.replace("    remember(", "    remember(ctx, "))
    register = "Parcels/parcel-1/register"

    async def prove(in_proof: LabInProof) -> None:
        labels = ("POST /labels/Linz", "POST /labels/Wien")
        linz, wien = (in_proof.outside.hold(label, at_most=20.0) for label in labels)
        first = asyncio.create_task(in_proof.call(register, "Linz", idempotency_key="1"))
        await in_proof.until_effect(labels[0])
        second = asyncio.create_task(in_proof.call("Parcels/parcel-2/register", "Wien"))
        await in_proof.until_effect(labels[1])
        linz.set()
        await until_status(in_proof, register, "paused")
        wien.set()
        await asyncio.gather(first, second)
        assert await in_proof.operate("kill", register) == 200
        for key in ("1", "2"):
            await in_proof.call(register, "Linz", idempotency_key=key)
        await in_proof.call("Parcels/parcel-1/where")

    stimulus = dataclasses.replace(crash_after_step("file"), successor="fixed")
    result = instead(lab, SNIPPETS / slug, prove, stimulus, module)
    assert result.outcome == JournalMismatch(command=2, was="run", now="set state")
    assert [call.status for call in result.trace.calls] == [None, 200, 409, 200, 200]
    assert result.trace.effect_counts()["POST /labels/Linz"] == 2
    assert result.trace.calls[-1].answer == "Linz"


def test_a_handler_whose_last_entry_a_module_misplaced_asks_for_it_again(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD312: on the fixed code; its journal has nothing behind the entry that it lacks."""
    slug, end = "communication/context-outside-a-handler", "POST /ends"
    ending = '    if address == "Linz":\n        httpx.post(f"{API_URL}/ends")\n'
    module = changed(tmp_path, f"{slug}/module", (REGISTERED, ending + REGISTERED))
    fixed = module.read_text().replace("def remember(", "def remember(context, ")
    module.with_stem("fixed").write_text(fixed.replace("    remember(", "    remember(ctx, "))

    async def prove(in_proof: LabInProof) -> None:
        labels = ("POST /labels/Linz", "POST /labels/Wien")
        linz, wien = (in_proof.outside.hold(label, at_most=20.0) for label in labels)
        first = asyncio.create_task(in_proof.call("Parcels/parcel-1/register", "Linz"))
        await in_proof.until_effect(labels[0])
        second = asyncio.create_task(in_proof.call("Parcels/parcel-2/register", "Wien"))
        await in_proof.until_effect(labels[1])
        linz.set()
        await first
        wien.set()
        await second
        assert await in_proof.call("Parcels/parcel-1/where") == "Linz"

    stimulus = dataclasses.replace(crash_after_effect(end), successor="fixed")
    trace = instead(lab, SNIPPETS / slug, prove, stimulus, module).trace
    assert "RT0016" not in {failure.code for failure in trace.failures()}
    assert {call.status for call in trace.calls} == {200}


def test_a_module_has_the_context_of_the_attempt_that_began_last(lab: Lab) -> None:
    """RDD312: not of the invocation that did; the first one's was tried again since."""
    slug, labels = "context-outside-a-handler", ("POST /labels/Linz", "POST /labels/Wien")

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail(labels[0], times=1)
        linz, wien = (in_proof.outside.hold(label, at_most=20.0) for label in labels)
        first = asyncio.create_task(in_proof.call("Parcels/parcel-1/register", "Linz"))
        await in_proof.until_effect(labels[0])
        second = asyncio.create_task(in_proof.call("Parcels/parcel-2/register", "Wien"))
        await in_proof.until_effect(labels[1])
        again = in_proof.outside.hold(labels[0], at_most=20.0)
        linz.set()
        await in_proof.until_effect(labels[0], times=2)
        wien.set()
        await second
        again.set()
        await first

    trace = instead(lab, CHAPTER / slug, prove, PLAIN, CHAPTER / slug / "module.py").trace
    written = [
        [entry.value for entry in each.journal if entry.type == "Command: SetState"]
        for each in trace.invocations
    ]
    assert written == [["Wien", "Linz"], []]


def test_a_killed_handler_called_again_writes_over_what_waited_for_its_key(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD312: the parcel had come to Wien, and is back at the sender."""
    slug, parcel = "communication/context-outside-a-handler", "Parcels/parcel-1"
    steps = '    await ctx.run_typed("print label", post, path="/labels")\n'
    steps += '    await ctx.run_typed("file", address.upper)\n'
    snippet = changed(tmp_path, f"{slug}/dont", *posting(PARCELS), (REGISTERED, steps + REGISTERED))

    async def prove(in_proof: LabInProof) -> None:
        printed = in_proof.outside.hold("POST /labels", at_most=20.0)
        await in_proof.call(f"{parcel}/register/send", "Linz")
        await in_proof.until_effect("POST /labels")
        await in_proof.post(in_proof.worker_url, "/scans/scan-7/parcel-1/Graz")
        printed.set()
        await until_status(in_proof, f"{parcel}/register", "paused")
        await in_proof.call(f"{parcel}/scanned/send", "Wien", idempotency_key="scan-8")
        assert await in_proof.operate("kill", f"{parcel}/register") == 200
        await in_proof.until_all_completed()
        assert await in_proof.call(f"{parcel}/where") == "Wien"
        await in_proof.call(f"{parcel}/register", "Linz", idempotency_key="again")
        assert await in_proof.call(f"{parcel}/where") == "sender"

    instead(lab, SNIPPETS / slug, prove, crash_after_step("file"), snippet)


def test_what_has_ended_is_not_killed_with_its_sender(lab: Lab, tmp_path: Path) -> None:
    """RDD312: so it isn't sent again."""
    slug = "communication/context-outside-a-handler"
    steps = '    await ctx.run_typed("print label", post, path="/labels")\n'
    steps += '    await ctx.run_typed("file", address.upper)\n'
    other = changed(
        tmp_path,
        f"{slug}/dont",
        *posting(PARCELS),
        (REGISTERED, steps + REGISTERED),
        ("(scanned, key=parcel,", '(scanned, key="log",'),
    )
    register = "Parcels/parcel-1/register"

    async def prove(in_proof: LabInProof) -> None:
        printed = in_proof.outside.hold("POST /labels", at_most=20.0)
        await in_proof.call(f"{register}/send", "Linz")
        await in_proof.until_effect("POST /labels")
        await in_proof.post(in_proof.worker_url, "/scans/scan-7/parcel-1/Graz")
        printed.set()
        await until_status(in_proof, register, "paused")
        await until_status(in_proof, "Parcels/log/scanned", "completed")
        assert await in_proof.operate("kill", register) == 200
        await in_proof.until_all_completed()
        assert await ends(in_proof, register) == ["[409] killed"]
        assert await ends(in_proof, "Parcels/log/scanned") == [None]

    trace = instead(lab, SNIPPETS / slug, prove, crash_after_step("file"), other).trace
    assert ("log", "Graz") in [(state.key, state.value) for state in trace.state]


def test_the_ingress_client_does_not_quote_a_key(lab: Lab, tmp_path: Path) -> None:
    """RDD312: quoted by the caller, it arrives as it was."""
    slug = "communication/context-outside-a-handler"
    keys = ["p?1", "p#1", "p%2F1", "p%1", "ü"]
    quoted = changed(
        tmp_path,
        f"{slug}/do",
        ("import os\n", "import os\nfrom urllib.parse import quote\n"),
        ("key=parcel,", 'key=quote(parcel, safe=""),'),
    )
    arrived: list[list[str]] = []

    async def prove(in_proof: LabInProof) -> None:
        for key in keys:
            path = f"/scans/scan-7/{quote(key, safe='')}/Graz"
            await in_proof.post(in_proof.worker_url, path)
        await in_proof.until_all_completed()
        found = await in_proof.query("select target_service_key as key from sys_invocation")
        arrived.append(sorted(str(row["key"]) for row in found))

    for snippet in (SNIPPETS / slug / "do.py", quoted):
        instead(lab, SNIPPETS / slug, prove, PLAIN, snippet)
    assert arrived == [sorted(["p/1", "p%1", "ü"]), sorted(keys)]


def test_a_token_that_was_purged_is_still_in_the_log_on_disk(lab: Lab) -> None:
    """RDD311: there in plain text, as the log is told not to compress; in no table any more."""
    tokens = "select id from sys_journal where entry_json like '%for-this-proof-only%'"
    plain = {"RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_COMPRESSION": "true"}
    headers = {"authorization": "Bearer for-this-proof-only", "x-trace": "t-1"}
    rule = CHAPTER / "secrets-in-headers"

    async def purge(in_proof: LabInProof) -> None:
        claim = in_proof.outside.hold("POST /claims", at_most=20.0)
        await in_proof.call("Claims/file/send", "water-damage", headers=headers)
        await in_proof.until_effect("POST /claims")
        assert await in_proof.operate("purge-journal", "Claims/file") == 409
        claim.set()
        await in_proof.until_all_completed()
        assert await in_proof.operate("purge-journal", "Claims/file") == 200
        await in_proof.until_no_row(tokens)
        assert in_proof.server.data is not None
        files = [path for path in (in_proof.server.data / "log-store").iterdir() if path.is_file()]
        assert any(b"for-this-proof-only" in path.read_bytes() for path in files)

    instead(lab, rule, purge, PLAIN, rule / "do.py", server=plain)


@pytest.mark.parametrize("page", [True, False], ids=["as on the page", "with its name added"])
def test_another_header_with_a_secret_is_found_by_its_name_only(lab: Lab, page: bool) -> None:
    """RDD311."""
    (query,) = queries("RDD311")
    asked = query if page else query.replace("|cookie", "|cookie|x-api-key")
    headers = {"X-Api-Key": "secret", "x-trace": "t-1"}
    rule = CHAPTER / "secrets-in-headers"

    async def look(in_proof: LabInProof) -> None:
        await in_proof.call("Claims/file", "water-damage", headers=headers)
        assert len(await in_proof.query(asked)) == (0 if page else 1)

    instead(lab, rule, look, PLAIN, rule / "do.py")


@pytest.mark.parametrize("where", ["body", "query of the URL"])
def test_a_password_elsewhere_stands_in_the_input_too(lab: Lab, where: str) -> None:
    """RDD311: of a body no text is found, as it stands there in numbers; the page's query finds neither."""
    secret, rule = "for-this-proof-only", CHAPTER / "secrets-in-headers"
    in_numbers = ",".join(str(byte) for byte in secret.encode())
    read = "select id, entry_type from sys_journal where entry_json like"

    async def look(in_proof: LabInProof) -> None:
        target, body = "Claims/file", "water-damage"
        sent = (target, secret) if where == "body" else (f"{target}?authorization={secret}", body)
        await in_proof.call(*sent, headers={"x-trace": "t-1"})
        in_text, as_numbers = [
            await in_proof.query(f"{read} '%{each}%' and index = 0")
            for each in (secret, in_numbers)
        ]
        assert (len(in_text), len(as_numbers)) == ((0, 1) if where == "body" else (1, 0))
        assert await in_proof.query(queries("RDD311")[0]) == []

    instead(lab, rule, look, PLAIN, rule / "do.py")


@pytest.mark.parametrize("status", ["scheduled", "pending"])
def test_a_token_that_waits_its_turn_is_found(lab: Lab, tmp_path: Path, status: str) -> None:
    """RDD311: the first entry is there before the first attempt; it can't be purged yet."""
    (query,) = queries("RDD311")
    slug = "communication/secrets-in-headers"
    keyed = [
        ('restate.Service("Claims")', 'restate.VirtualObject("Claims")'),
        ("ctx: restate.Context", "ctx: restate.ObjectContext"),
        ("client.service_call(file, claim)", 'client.object_call(file, "x", claim)'),
    ]
    snippet = changed(tmp_path, f"{slug}/do", *keyed)
    headers, target = {"x-trace": "t-1"}, "Claims/broker-1/file"

    async def look(in_proof: LabInProof) -> None:
        filed = in_proof.outside.hold("POST /claims", at_most=20.0)
        await in_proof.call(f"{target}/send", "water-damage", headers=headers)
        await in_proof.until_effect("POST /claims")
        late = "?delay=1h" if status == "scheduled" else ""
        signed = {**headers, "authorization": "Bearer for-this-proof-only"}
        sent = await in_proof.call(f"{target}/send{late}", "fire-damage", headers=signed)
        await until_status(in_proof, target, status)
        (row,) = await in_proof.query(query)
        assert (row["id"], row["status"]) == (sent["invocationId"], status)
        path = f"/invocations/{row['id']}"
        with pytest.raises(httpx.HTTPStatusError, match="409"):
            await in_proof.admin("PATCH", f"{path}/purge-journal")
        await in_proof.admin("PATCH", f"{path}/kill")
        filed.set()
        await in_proof.until_all_completed()

    instead(lab, SNIPPETS / slug, look, PLAIN, snippet)


@pytest.mark.parametrize(("passed", "paid"), [("", False), (', headers={"x-user": "ann"}', True)])
def test_a_handler_does_not_hand_on_the_headers_of_its_own_call(
    lab: Lab, tmp_path: Path, passed: str, paid: bool
) -> None:
    """RDD310: it has to send the user with each call that it makes."""
    slug = "communication/identity-from-the-payload"
    closes = f"""\
shop = restate.Service("Shop")


@shop.handler()
async def close(ctx: restate.Context) -> str:
    return await ctx.service_call(payout, {{"iban": "M1"}}{passed})


app = restate.app([accounts, shop])"""
    snippet = changed(tmp_path, f"{slug}/do", ("app = restate.app([accounts])", closes))

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Shop/close/send", headers={"x-user": "ann"})
        await until_status(in_proof, "Accounts/payout", "completed" if paid else "paused")

    trace = instead(lab, SNIPPETS / slug, prove, PLAIN, snippet).trace
    assert len(trace.effects) == paid
    assert {failure.message for failure in trace.failures()} == (
        set() if paid else {"KeyError('x-user')"}
    )


def test_a_payout_without_a_key_is_made_twice_by_a_crash(lab: Lab) -> None:
    """RDD310: also in the do."""

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Accounts/payout", {"iban": "M1"}, headers={"x-user": "ann"})

    rule = CHAPTER / "identity-from-the-payload"
    crash = crash_after_effect("POST /payouts")
    assert instead(lab, rule, prove, crash, rule / "do.py").trace.effect_counts() == {
        "POST /payouts": 2
    }


def test_a_paused_call_without_the_header_is_refused_when_resumed(lab: Lab, tmp_path: Path) -> None:
    """RDD310: by code that refuses it, registered since; before, a cancel has it pause again."""
    slug = "communication/identity-from-the-payload"
    changed(
        tmp_path,
        f"{slug}/do",
        (
            '    user = ctx.request().headers["x-user"]\n',
            '    user = ctx.request().headers.get("x-user", "")\n'
            '    if not user:\n        raise restate.TerminalError("who?", status_code=401)\n',
        ),
    )
    (tmp_path / "do.py").rename(tmp_path / "refusing.py")
    target, ends = "Accounts/payout", []

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", {"iban": "M1"})
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("cancel", target) == 202
        await in_proof.until_row(
            "select id from sys_journal_events where event_type = 'Paused' group by id having count(*) > 1"
        )
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("refusing")
        assert await in_proof.operate("resume", target) == 200
        await until_status(in_proof, target, "completed")
        ends.extend(await in_proof.query("select completion_failure from sys_invocation"))

    rule = SNIPPETS / slug
    snippet = changed(tmp_path, f"{slug}/do")
    trace = instead(lab, rule, prove, PLAIN, snippet, folder=tmp_path).trace
    assert {failure.message for failure in trace.failures()} == {"KeyError('x-user')"}
    assert "who?" in str(ends)


def test_an_invocation_without_its_step_goes_on_with_the_new_code(lab: Lab) -> None:
    """RDD310: it has begun, and has nothing but its input; one with its step ends on the old code."""

    async def prove(in_proof: LabInProof) -> None:
        paid = in_proof.outside.hold("POST /payouts", at_most=20.0)
        stepped = {"user": "ann", "iban": "M1"}
        await in_proof.call("Accounts/payout/send", stepped)
        await in_proof.until_effect("POST /payouts")
        await in_proof.call("Accounts/payout/send", {"iban": "M2"}, headers={"x-user": "bob"})
        await until_status(in_proof, "Accounts/payout", "paused")
        await in_proof.deploy("do")
        paid.set()
        await until_status(in_proof, "Accounts/payout", "completed")
        assert await in_proof.operate("resume", "Accounts/payout") == 200
        await in_proof.until_all_completed()

    rule = CHAPTER / "identity-from-the-payload"
    trace = instead(lab, rule, prove, PLAIN).trace
    assert {failure.message for failure in trace.failures()} == {"KeyError('user')"}
    assert [effect.body["from"] for effect in trace.effects] == ["ann", "bob"]


def test_a_caller_that_sends_the_header_since_in_place_meets_another_journal(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD310: the headers of a call are compared with those in the journal."""
    slug = "communication/identity-from-the-payload"
    for variant, headers in (("do", ', headers={"x-user": "ann"}'), ("dont", "")):
        closes = f"""\
shop = restate.Service("Shop")


@shop.handler()
async def close(ctx: restate.Context) -> str:
    return await ctx.service_call(payout, {{"user": "ann", "iban": "M1"}}{headers})


app = restate.app([accounts, shop])"""
        snippet = changed(tmp_path, f"{slug}/{variant}", ("app = restate.app([accounts])", closes))

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Shop/close/send")
        await until_status(in_proof, "Shop/close", "paused")

    stimulus = dataclasses.replace(crash_after_effect("POST /payouts"), successor="do")
    outcome = instead(lab, SNIPPETS / slug, prove, stimulus, snippet, folder=tmp_path).outcome
    assert isinstance(outcome, JournalMismatch)
    assert (outcome.was, outcome.now, outcome.code) == ("headers ", "headers x-user: ann", "RT0016")


@pytest.mark.parametrize("drained", [True, False])
def test_a_caller_left_on_its_old_code_calls_without_the_header(
    lab: Lab, tmp_path: Path, drained: bool
) -> None:
    """RDD310: the query can't find it before; once the old code has nothing left, none comes."""
    slug, ann = "communication/identity-from-the-payload", ', headers={"x-user": "ann"}'
    for name, variant, headers in (("old", "dont", ""), ("sends", "dont", ann), ("do", "do", ann)):
        closes = f"""\
shop = restate.Service("Shop")


def check() -> None:
    httpx.post(f"{{API_URL}}/checks", timeout=30).raise_for_status()


@shop.handler()
async def close(ctx: restate.Context) -> str:
    await ctx.run_typed("check", check)
    return await ctx.service_call(payout, {{"user": "ann", "iban": "M1"}}{headers})


app = restate.app([accounts, shop])"""
        app = ("app = restate.app([accounts])", closes)
        changed(tmp_path, f"{slug}/{variant}", app).rename(tmp_path / f"{name}.py")

    async def prove(in_proof: LabInProof) -> None:
        checked = in_proof.outside.hold("POST /checks", at_most=20.0)
        await in_proof.call("Shop/close/send")
        await in_proof.until_effect("POST /checks")
        await in_proof.deploy("sends")
        if drained:
            checked.set()
            await in_proof.until_all_completed()
        await in_proof.deploy("do")
        assert len(await in_proof.query(queries("RDD310")[0])) == drained
        checked.set()
        await until_status(in_proof, "Accounts/payout", "completed" if drained else "paused")

    trace = instead(lab, SNIPPETS / slug, prove, PLAIN, tmp_path / "old.py", folder=tmp_path).trace
    assert trace.effect_counts().get("POST /payouts", 0) == drained
    assert {failure.message for failure in trace.failures()} == (
        set() if drained else {"KeyError('x-user')"}
    )


@WAITING_OR_GONE
def test_a_shared_handler_answers_while_the_key_waits_for_itself(
    lab: Lab, tmp_path: Path, stimulus: Stimulus
) -> None:
    """RDD304: only exclusive calls stand in the queue."""
    app = "app = restate.app([cart])"
    look = (
        '@cart.handler(kind="shared")\nasync def look(ctx: restate.ObjectSharedContext)'
        f' -> list[str]:\n    return await ctx.get("items", type_hint=list[str]) or []\n\n\n{app}'
    )
    dont = changed(tmp_path, "communication/self-call-same-key/dont", (app, look))

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Cart/ann/put", "pot")
        await in_proof.call("Cart/ann/check_out/send")
        await until_stuck(in_proof, "Cart/ann/check_out", "Cart/ann/empty", stimulus)
        await in_proof.call("Cart/ann/put/send", "pan")
        assert await in_proof.call("Cart/ann/look") == ["pot"]
        await until_status(in_proof, "Cart/ann/put", "pending")

    instead(lab, CHAPTER / "self-call-same-key", prove, stimulus, dont)


def test_a_workflow_before_the_wait_gets_to_it_on_the_old_code(lab: Lab) -> None:
    """RDD314: so the page's query finds it only later, on another deployment than the newest."""
    [waiting] = queries("RDD314")

    async def prove(in_proof: LabInProof) -> None:
        kept = in_proof.outside.hold("PUT /rooms/12", at_most=20.0)
        await in_proof.call("Booking/b-1/run/send", "12")
        await in_proof.until_effect("PUT /rooms/12")
        old = await deployment(in_proof, "Booking")
        await in_proof.deploy("do")
        assert not await in_proof.query(waiting)
        kept.set()
        await in_proof.until_row(waiting)
        [found] = await in_proof.query(waiting)
        assert (found["status"], found["pinned_deployment_id"]) == ("running", old)
        assert await in_proof.operate("pause", "Booking/b-1/run") == 202
        await until_status(in_proof, "Booking/b-1/run", "paused")
        assert await in_proof.operate("resume", "Booking/b-1/run", deployment="latest") == 200
        await in_proof.until_all_completed()

    rule = CHAPTER / "wait-without-a-limit"
    trace = instead(lab, rule, prove, PLAIN, promise=Holds(answers=[])).trace
    assert trace.invocations[0].result == "room 12 was not confirmed"


def test_what_waits_with_the_limit_is_told_by_its_deployment(lab: Lab, tmp_path: Path) -> None:
    """RDD314: the page's query finds it too, and it needs nothing."""
    rule, [waiting] = "communication/wait-without-a-limit", queries("RDD314")
    changed(tmp_path, f"{rule}/do", ("timedelta(seconds=0.5)", "timedelta(hours=1)"))
    dont = changed(tmp_path, f"{rule}/dont")

    async def prove(in_proof: LabInProof) -> None:
        pinned = {}
        for key in ("b-1", "b-2"):
            pinned[f"Booking/{key}/run"] = await deployment(in_proof, "Booking")
            await in_proof.call(f"Booking/{key}/run/send", "12")
            await in_proof.until_row(f"select key from sys_promise where service_key = '{key}'")
            if key == "b-1":
                await in_proof.deploy("do")
        found = await in_proof.query(waiting)
        assert {row["target"]: row["pinned_deployment_id"] for row in found} == pinned
        assert len(set(pinned.values())) == 2
        for key in ("b-1", "b-2"):
            await in_proof.call(f"Booking/{key}/confirm", "ann")
        await in_proof.until_all_completed()

    instead(lab, SNIPPETS / rule, prove, PLAIN, dont, promise=Holds(answers=[]))


def test_a_workflow_that_waits_and_backs_off_is_found_and_paused_first(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD314: a step beside the wait has failed."""
    target, [waiting] = "Booking/b-1/run", queries("RDD314")
    rule, value = "communication/wait-without-a-limit", "    guest = await confirmed.value()\n"
    changed(tmp_path, f"{rule}/do")
    dont = changed(
        tmp_path,
        f"{rule}/dont",
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ('Workflow("Booking")', f'Workflow("Booking", {LATER})'),
        (
            value,
            f"    waits = confirmed.value()\n    mark('13', 'tell')\n{value}".replace(
                "await confirmed.value()", "await waits"
            ),
        ),
    )

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("PUT /rooms/13", times=9)
        await in_proof.call(f"{target}/send", "12")
        await until_status(in_proof, target, "backing-off")
        [found] = await in_proof.query(waiting)
        assert found["status"] == "backing-off"
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 409
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / rule, prove, PLAIN, dont, promise=Holds(answers=[])).trace
    assert trace.invocations[0].result == "room 12 was not confirmed"


def test_the_query_for_polling_loops_tells_those_that_are_over(lab: Lab) -> None:
    """RDD315: nobody is to start again what has its answer."""
    (query,) = queries("RDD315")
    found = []

    async def look(in_proof: LabInProof) -> None:
        found.extend(await in_proof.query(query))

    (track,) = afterwards(lab, CHAPTER / "polling-with-sleep", look).trace.invocations
    assert [(row["target"], row["status"], row["sleeps"]) for row in found] == [
        ("Orders/track", "completed", 8)
    ]
    assert len(track.journal) == 8 * 4 + 4, (
        "each turn adds four; the last is not followed by a sleep"
    )


@pytest.mark.parametrize(
    ("loop", "found"),
    [
        (
            "    turn = 0\n    while not (\n        delivery := await ctx.run_typed("
            'f"ask {(turn := turn + 1)}", ask, parcel=parcel)\n    ):\n        await ctx.sleep('
            "timedelta(seconds=0.05))\n    return delivery\n",
            1,
        ),
        (
            "    for _ in range(9):\n"
            '        delivery = await ctx.run_typed("ask", ask, parcel=parcel)\n'
            "    return delivery\n",
            0,
        ),
    ],
    ids=["numbered", "no wait"],
)
def test_the_query_for_polling_loops_goes_by_the_sleeps(
    lab: Lab, tmp_path: Path, loop: str, found: int
) -> None:
    """RDD315: whatever the steps are called; and nobody who does a step nine times in a row."""
    rule, (query,) = "communication/polling-with-sleep", queries("RDD315")
    source = (SNIPPETS / f"{rule}/dont.py").read_text()
    body = "    while " + source.partition("    while ")[2].partition("\n\n")[0]
    snippet = changed(tmp_path, f"{rule}/dont", (body, loop))

    async def look(in_proof: LabInProof) -> None:
        await load(SNIPPETS / rule).prove(in_proof)
        assert len(await in_proof.query(query)) == found

    trace = instead(lab, SNIPPETS / rule, look, PLAIN, snippet).trace
    assert len(trace.effects) == 9


def test_who_tracks_a_parcel_twice_has_both_answered(lab: Lab) -> None:
    """RDD315: the carrier knows each by an address of its own."""
    rule = CHAPTER / "polling-with-sleep"

    async def prove(in_proof: LabInProof) -> None:
        tracking = [asyncio.create_task(in_proof.call("Orders/track", "p-1")) for _ in range(2)]
        await in_proof.until_row(
            "select count(*) from sys_journal where entry_type = 'Notification: Run' "
            "having count(*) = 2"
        )
        hooks = {each.effect: each.body for each in in_proof.outside.ledger}
        assert list(hooks.values()) == ["p-1", "p-1"]
        for hook in hooks:
            await in_proof.resolve_awakeable(hook.rpartition("/")[2], "left with Ann")
        assert await asyncio.gather(*tracking) == ["left with Ann"] * 2

    instead(lab, rule, prove, PLAIN, rule / "do.py")


def test_a_question_that_is_paused_or_killed_tells_nobody(lab: Lab) -> None:
    """RDD315: so the tracking needs a limit of its own, beside the count."""
    rule, status = CHAPTER / "polling-with-sleep", "select target, status from sys_invocation"

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.fail("GET /deliveries/p-1", times=1000, status=500)
        await in_proof.call("Orders/track/send", "p-1")
        await until_status(in_proof, "Orders/poll", "paused")
        for ended in ("paused", "completed"):
            rows = {row["target"]: row["status"] for row in await in_proof.query(status)}
            assert rows.get("Orders/poll", "completed") == ended
            assert rows["Orders/track"] in ("running", "suspended")
            if ended == "paused":
                assert await in_proof.operate("kill", "Orders/poll") in (200, 202)
                await in_proof.until_row(
                    "select count(*) from sys_invocation where status = 'paused' having count(*) = 0"
                )

    instead(lab, rule, prove, PLAIN, rule / "message.py")


@pytest.mark.parametrize("asks", [False, True], ids=["told only", "asks once"])
def test_a_parcel_delivered_before_it_subscribes(lab: Lab, tmp_path: Path, asks: bool) -> None:
    """RDD315: of which this carrier doesn't tell."""
    source = (CHAPTER / "polling-with-sleep/dont.py").read_text()
    ask = "def ask(" + source.partition("def ask(")[2].partition("@orders")[0]
    once = '    if known := await ctx.run_typed("ask", ask, parcel=parcel):\n        return known\n'
    waits = "    return await delivery\n"
    changes = [("@orders.handler()", f"{ask}@orders.handler()"), (waits, once + waits)]
    snippet = changed(tmp_path, "communication/polling-with-sleep/do", *(changes if asks else []))

    async def prove(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /deliveries/p-1"] = "left with Ann"
        tracking = asyncio.create_task(in_proof.call("Orders/track", "p-1"))
        await in_proof.until_result("Run subscribe")
        if not asks:
            await in_proof.until_still(0.3)
            assert not tracking.done()
            reply_to = in_proof.outside.ledger[0].effect.rpartition("/")[2]
            await in_proof.resolve_awakeable(reply_to, "told by hand")
        await tracking

    trace = instead(lab, CHAPTER / "polling-with-sleep", prove, PLAIN, snippet).trace
    assert trace.calls[0].answer == ("left with Ann" if asks else "told by hand")
