"""What the pages of the chapter operations tell operators to do, done on a real server."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import re
import shutil
import subprocess
import threading
import time
import tomllib
from pathlib import Path

import httpx
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
    Stimulus,
    crash_after_effect,
    crash_after_step,
    load,
)
from restate_guide.lab import Lab as LabInProof
from restate_guide.lab.server import SETTINGS, find_binary
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
    resume_on_one_before_the_latest,
    until_status,
)

CHAPTER = SNIPPETS / "operations"

pytestmark = pytest.mark.server


IDENTITY = "REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE"
SHORTER_NAME, LONG_NAME = f"RESTATE_{IDENTITY}", f"RESTATE_WORKER__INVOKER__{IDENTITY}"


def test_worker_with_identity_keys_turns_away_a_server_without(lab: Lab) -> None:
    """RDD601: so the server gets its key first."""

    async def never(in_proof: LabInProof) -> None:
        raise AssertionError("the worker was registered")

    rule = CHAPTER / "endpoint-open-to-all"
    text = " ".join(PAGES["RDD601"].split())
    told = re.search(r'registering it fails with (META\d+), "(.*?)"', text)
    assert told
    with pytest.raises(LabError) as refused:
        instead(lab, rule, never, snippet=load(rule).snippet("do"), server={})
    assert told[1] in str(refused.value) and told[2] in str(refused.value)


@pytest.mark.parametrize("name", [SHORTER_NAME, LONG_NAME])
def test_workers_get_identity_keys_one_after_another(lab: Lab, name: str) -> None:
    """RDD601: the one without doesn't mind signatures, and the one with them ends its invocation.

    The server takes its key by the shorter name of the setting, too.
    """
    rule = CHAPTER / "endpoint-open-to-all"
    fixed = dataclasses.replace(crash_after_step("charge"), successor="do")
    key = str((rule / "key.pem").resolve())

    async def pay(in_proof: LabInProof) -> None:
        assert await in_proof.call("Checkout/pay", "order-1") == "charge-1"

    trace = instead(lab, rule, pay, fixed, server={name: key}).trace
    assert [attempt.worker for attempt in trace.invocations[0].attempts] == [1, 2]


@pytest.mark.parametrize("server", ["old", "new"])
def test_workers_with_both_keys_serve_the_server_before_and_after_its_change(
    lab: Lab, tmp_path: Path, server: str
) -> None:
    """RDD601: by the page's words; a worker without the server's key refuses it, as one without any."""
    rule, other = CHAPTER / "endpoint-open-to-all", "new" if server == "old" else "old"
    told = re.search(r"give workers both first: `(identity_keys=.*?)`", PAGES["RDD601"])
    assert told
    named = {server: "IDENTITY_KEY", other: "NOBODY"}
    both = re.sub("old|new", lambda each: named[each[0]], told[1])

    async def pay(in_proof: LabInProof) -> None:
        assert await in_proof.call("Checkout/pay", "order-1") == "charge-1"

    given = "identity_keys=[IDENTITY_KEY]"
    snippet = changed(tmp_path, "operations/endpoint-open-to-all/do", (given, both))
    instead(lab, rule, pay, PLAIN, snippet)
    alone = (given, f"identity_keys=[{named[other]}]")
    snippet = changed(tmp_path, "operations/endpoint-open-to-all/do", alone)
    with pytest.raises(LabError, match="401 Unauthorized"):
        instead(lab, rule, pay, PLAIN, snippet)


def test_empty_list_of_keys_checks_nothing(lab: Lab, tmp_path: Path) -> None:
    """RDD601: the stranger is served, as by the don't."""
    proof = load(CHAPTER / "endpoint-open-to-all")
    none = ("identity_keys=[IDENTITY_KEY]", "identity_keys=[]")
    snippet = changed(tmp_path, "operations/endpoint-open-to-all/do", none)
    assert instead(lab, proof.folder, proof.prove, PLAIN, snippet).outcome == proof.symptom


def test_step_under_way_when_the_server_gets_its_key_runs_again(lab: Lab) -> None:
    """RDD601: with the same key for the bank; workers that ask for signatures come after."""
    rule, charge = CHAPTER / "endpoint-open-to-all", "POST /charges"
    settings = {
        "RESTATE_LOG_FILTER": "warn"
    }  # not none: a server that had a run before reads no others

    async def pay(in_proof: LabInProof) -> None:
        charged = in_proof.outside.hold(charge, at_most=20.0)
        await in_proof.call("Checkout/pay/send", "order-1")
        await in_proof.until_effect(charge)
        settings[LONG_NAME] = str((rule / "key.pem").resolve())
        await in_proof.restart_server()
        await in_proof.until_effect(charge, times=2)
        charged.set()
        await in_proof.until_all_completed()
        await in_proof.deploy("do")
        assert await in_proof.call("Checkout/pay", "order-2") == "charge-2"
        assert [each.duplicate for each in in_proof.outside.ledger] == [False, True, False]

    trace = instead(lab, rule, pay, server=settings).trace
    assert trace.invocations[0].result == "charge-1"


@pytest.mark.parametrize(("name", "deprecated"), [(SHORTER_NAME, True), (LONG_NAME, False)])
def test_what_the_server_says_of_its_settings(name: str, deprecated: bool) -> None:
    """RDD601, RDD603: the shorter name is deprecated; what has expired is looked for once an hour.

    RDD117: a ping may wait for 20 seconds.
    """
    command = [str(find_binary()), "--dump-config"]
    said = subprocess.run(command, env={name: "key.pem"}, capture_output=True, text=True)
    assert ("deprecated" in said.stdout + said.stderr) == deprecated
    assert 'request-identity-private-key-pem-file = "key.pem"' in said.stdout
    assert 'cleanup-interval = "1h"' in said.stdout
    invoker = tomllib.loads(said.stdout)["worker"]["invoker"]
    assert invoker["http2-keep-alive-timeout"] == "20s"


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_delayed_call_from_before_a_service_was_closed_is_paid_unless_cancelled(
    lab: Lab, cancelled: bool
) -> None:
    """RDD602: the page's query lists it, with its status."""
    rule, target = CHAPTER / "internal-service-public", "Refunds/refund"
    calls = queries("RDD602")[-1]

    async def close(in_proof: LabInProof) -> None:
        sent = await in_proof.call(f"{target}/send?delay=2s", "order-2")
        await in_proof.admin("PATCH", "/services/Refunds", {"public": False})
        refused = await in_proof.call(f"{target}/send", "order-3")
        assert "not public" in str(refused)
        (listed,) = await in_proof.query(calls)
        assert (listed["id"], listed["status"]) == (sent["invocationId"], "scheduled")
        if cancelled:
            assert await in_proof.operate("cancel", target) == 200
            await in_proof.until_still(2.5)
        else:
            await in_proof.until_effect("POST /refunds/order-2")
            await in_proof.until_all_completed()

    trace = instead(lab, rule, close, PLAIN).trace
    assert trace.effect_counts() == ({} if cancelled else {"POST /refunds/order-2": 1})


def test_refund_that_is_cancelled_while_it_is_paid_goes_out(lab: Lab) -> None:
    """RDD602: it is a failure in the page's last query, and the money is gone."""
    rule, target, pays = (
        CHAPTER / "internal-service-public",
        "Refunds/refund",
        "POST /refunds/order-2",
    )

    async def cancel(in_proof: LabInProof) -> None:
        paid = in_proof.outside.hold(pays, at_most=20.0)
        await in_proof.call(f"{target}/send", "order-2")
        await in_proof.until_effect(pays)
        assert await in_proof.operate("cancel", target) == 202
        await until_status(in_proof, target, "completed")
        paid.set()
        (listed,) = await in_proof.query(queries("RDD602")[-1])
        assert listed["completion_result"] == "failure"

    trace = instead(lab, rule, cancel, PLAIN).trace
    assert trace.effect_counts() == {pays: 1}


def test_service_is_closed_at_once_until_the_next_registration(lab: Lab) -> None:
    """RDD602: by the admin API; what the code says holds again once it is registered."""

    async def close(in_proof: LabInProof) -> None:
        paying = in_proof.outside.hold("POST /refunds/order-3", at_most=20.0)
        begun = asyncio.create_task(in_proof.call("Refunds/refund", "order-3"))
        await in_proof.until_effect("POST /refunds/order-3")
        await in_proof.admin("PATCH", "/services/Refunds", {"public": False})
        paying.set()
        assert await begun == "refunded order-3"
        for way in ("Refunds/refund", "Refunds/refund/send", "restate/call/Refunds/refund"):
            answer = await in_proof.call(way, "order-2")
            assert answer["message"] == "the invoked service is not public"
        assert await in_proof.call("Returns/claim", "order-1") == "refunded order-1"
        await in_proof.deploy("dont")
        assert await in_proof.call("Refunds/refund", "order-2") == "refunded order-2"

    afterwards(lab, CHAPTER / "internal-service-public", close)


@pytest.mark.parametrize("variant", ["dont", "do"])
def test_order_that_is_claimed_twice_is_refunded_once(lab: Lab, variant: str) -> None:
    """RDD602: two claims are two invocations; the refund's key is the order's."""
    rule, order = CHAPTER / "internal-service-public", "order-1"

    async def claim(in_proof: LabInProof) -> None:
        in_proof.outside.answers[f"GET /arrivals/{order}"] = True
        for _ in range(2):
            assert await in_proof.call("Returns/claim", order) == f"refunded {order}"

    trace = instead(lab, rule, claim, PLAIN, rule / f"{variant}.py").trace
    assert trace.effect_counts()[f"POST /refunds/{order}"] == 1


def test_private_service_is_refused_by_every_way_to_the_ingress(lab: Lab) -> None:
    """RDD602: as the do says it in its code; no invocation comes of it."""
    rule = CHAPTER / "internal-service-public"
    ways = ("Refunds/refund/send", "restate/call/Refunds/refund", "restate/send/Refunds/refund")

    async def ask(in_proof: LabInProof) -> None:
        for way in ways:
            await in_proof.call(way, "order-2")
        assert await in_proof.query("select id from sys_invocation") == []

    trace = instead(lab, rule, ask, PLAIN, rule / "do.py").trace
    assert [call.status for call in trace.calls] == [400] * 3


def test_handler_of_an_object_that_both_call_is_found(lab: Lab, tmp_path: Path) -> None:
    """RDD602: with another key from outside than by the other service."""
    snippet = changed(
        tmp_path,
        "operations/internal-service-public/dont",
        ('restate.Service("Refunds")', 'restate.VirtualObject("Refunds")'),
        ("async def refund(ctx: restate.Context,", "async def refund(ctx: restate.ObjectContext,"),
        ("ctx.service_call(refund, arg=order)", 'ctx.object_call(refund, key="ann", arg=order)'),
    )
    found = []

    async def look(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /arrivals/order-1"] = True
        await in_proof.call("Returns/claim", "order-1")
        await in_proof.call("Refunds/bob/refund", "order-2")
        found.extend(await in_proof.query(queries("RDD602")[0]))

    instead(lab, CHAPTER / "internal-service-public", look, PLAIN, snippet)
    assert found == [{"target_service_name": "Refunds", "target_handler_name": "refund"}]


def test_signature_is_of_the_path_and_a_minute_and_not_of_the_body(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD601: a genuine one, with another body, is served."""
    rule = CHAPTER / "endpoint-open-to-all"
    proof = load(rule)
    forged, protocol, manifest = (
        proof.prove.__globals__[name] for name in ("FORGED", "PROTOCOL", "MANIFEST")
    )
    told = '    if order == "told":\n        return ctx.request().attempt_headers["x-restate-jwt-v1"]\n'
    step = "    key = str(ctx.uuid())\n"
    snippet = changed(tmp_path, "operations/endpoint-open-to-all/do", (step, told + step))

    async def forge(in_proof: LabInProof) -> None:
        jwt = await in_proof.call("Checkout/pay", "told")
        payload = jwt.split(".")[1]
        signed = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert signed["aud"] == "/invoke/Checkout/pay" and signed["exp"] - signed["iat"] == 60
        assert signed["iat"] - signed["nbf"] == 60
        signature = {"x-restate-signature-scheme": "v1", "x-restate-jwt-v1": jwt}
        async with httpx.AsyncClient(base_url=in_proof.worker_url) as spy:
            discover = await spy.get("/discover", headers={**manifest, **signature})
            assert discover.status_code == 401
            served = await spy.post(
                "/invoke/Checkout/pay", content=forged, headers={**protocol, **signature}
            )
            assert served.status_code == 200
        assert [each.body for each in in_proof.outside.ledger] == [{"order": "order-2"}]

    instead(lab, rule, forge, PLAIN, snippet)


@pytest.mark.parametrize("force", [False, True])
def test_registering_again_changes_the_protocol_only_by_force(lab: Lab, force: bool) -> None:
    """RDD607: else the test of the don't that replays at every await replays nothing."""
    rule = CHAPTER / "test-without-replay"
    page = (ROOT / "docs/rules/operations/test-without-replay.md").read_text()
    (body,) = re.findall(r"-d '(\{\"uri\".*\})'", page)
    asked = json.loads(body)
    assert asked["force"] is True

    async def open_again(in_proof: LabInProof) -> None:
        (known,) = (await in_proof.admin("GET", "/deployments"))["deployments"]
        again = {**asked, "uri": known["uri"], "force": force}
        await in_proof.admin("POST", "/deployments", again)
        await in_proof.call("Tickets/t-1/open")

    outcome = instead(lab, rule, open_again, PLAIN, rule / "cached.py").outcome
    assert outcome.kind == ("journal-mismatch" if force else "holds")


def test_retention_is_what_was_set_when_an_invocation_began(lab: Lab) -> None:
    """RDD603: by the admin API for what comes from then on, until the next registration."""
    kept: dict[str, str] = {}

    async def set_and_look(in_proof: LabInProof) -> None:
        paying = in_proof.outside.hold("POST /transfers", at_most=20.0)
        before = asyncio.create_task(in_proof.call("Payouts/pay", idempotency_key="before"))
        await in_proof.until_effect("POST /transfers")
        await in_proof.admin("PATCH", "/services/Payouts", {"idempotency_retention": "7d"})
        paying.set()
        await before
        await in_proof.call("Payouts/pay", idempotency_key="after")
        await in_proof.call("Payouts/pay", "no key")
        await in_proof.deploy("dont")
        await in_proof.call("Payouts/pay", idempotency_key="registered again")
        rows = await in_proof.query(queries("RDD603")[0])
        kept.update({row["idempotency_key"]: row["completion_retention"] for row in rows})

    instead(lab, CHAPTER / "retention-too-short", set_and_look, server={})
    week, short = "PT604800S", "PT0.2S"
    given = next(key for key in kept if len(key) == 26)
    assert kept == {"before": short, "after": week, given: week, "registered again": short}


def test_retention_of_a_workflows_run_is_listed_too(lab: Lab) -> None:
    """RDD603: it has no idempotency key."""
    rule, listed = CHAPTER / "retention-too-short", []

    async def look(in_proof: LabInProof) -> None:
        await in_proof.call("Payout/payout-1/pay", "ann")
        listed.extend(await in_proof.query(queries("RDD603")[0]))

    right = Holds(answers=["transfer-1"])
    instead(lab, rule, look, snippet=rule / "workflow.py", server={}, promise=right)
    (run,) = listed
    assert not run.get("idempotency_key")
    assert (run["target"], run["completion_retention"]) == ("Payout/payout-1/pay", "PT0.2S")


@pytest.mark.parametrize(("own", "kept"), [(False, "PT604800S"), (True, "PT0.2S")])
def test_retention_of_a_workflows_run_has_a_setting_of_its_own(
    lab: Lab, tmp_path: Path, own: bool, kept: str
) -> None:
    """RDD603: by the admin API, unless `main` sets its own."""
    changes = [] if own else [("workflow_retention=timedelta(seconds=0.2)", "")]
    snippet = changed(tmp_path, "operations/retention-too-short/workflow", *changes)
    (setting,) = re.findall(r"for a workflow's run, `(\w+)`", PAGES["RDD603"])
    listed = []

    async def set_and_look(in_proof: LabInProof) -> None:
        await in_proof.admin("PATCH", "/services/Payout", {setting: "7d"})
        await in_proof.call("Payout/payout-1/pay", "ann")
        listed.extend(await in_proof.query(queries("RDD603")[0]))

    right = Holds(answers=["transfer-1"])
    rule = CHAPTER / "retention-too-short"
    instead(lab, rule, set_and_look, snippet=snippet, server={}, promise=right)
    assert [row["completion_retention"] for row in listed] == [kept]


@pytest.mark.parametrize(
    ("kind", "kept"),
    [("Service", "PT604800S"), ("VirtualObject", "PT604800S"), ("Workflow", "PT86400S")],
)
def test_call_from_outside_is_given_a_key_unless_it_is_a_workflows(
    lab: Lab, tmp_path: Path, kind: str, kept: str
) -> None:
    """RDD603: that one is kept as long as its journal."""
    shared = 'kind="shared"' * (kind == "VirtualObject")
    look = f"""
looks = restate.{kind}("Looks", idempotency_retention=KNOWN_FOR)


@looks.handler({shared})
async def look(ctx: restate.Context) -> str:
    return "looked"


app = restate.app([payouts, looks])"""
    change = ("\napp = restate.app([payouts])", look)
    snippet = changed(tmp_path, "operations/retention-too-short/do", change)
    target, rows = "Looks/look" if kind == "Service" else "Looks/ann/look", []

    async def call(in_proof: LabInProof) -> None:
        await in_proof.call(target)
        await in_proof.call(f"{target}/send")
        await in_proof.until_all_completed()
        rows.extend(
            await in_proof.query("select idempotency_key, completion_retention from sys_invocation")
        )

    rule = CHAPTER / "retention-too-short"
    instead(lab, rule, call, snippet=snippet, server={})
    assert [row["completion_retention"] for row in rows] == [kept] * 2
    assert [bool(row.get("idempotency_key")) for row in rows] == [kind != "Workflow"] * 2


def test_what_a_handler_calls_without_a_key_is_not_listed(lab: Lab, tmp_path: Path) -> None:
    """RDD603: it is kept as long as its journal, whatever the service's retention."""
    calls = """
buyers = restate.Service("Buyers")


@buyers.handler()
async def buy(ctx: restate.Context, seller: str) -> str:
    await ctx.service_call(pay, arg=seller, idempotency_key="payout-1")
    return await ctx.service_call(pay, arg=seller)


app = restate.app([payouts, buyers])"""
    change = ("\napp = restate.app([payouts])", calls)
    snippet = changed(tmp_path, "operations/retention-too-short/dont", change)
    listed, kept = [], []

    async def look(in_proof: LabInProof) -> None:
        await in_proof.call("Buyers/buy", "ann", idempotency_key="order-1")
        listed.extend(await in_proof.query(queries("RDD603")[0]))
        without = "idempotency_key is null"
        kept.extend(
            await in_proof.query(f"select completion_retention from sys_invocation where {without}")
        )

    instead(lab, CHAPTER / "retention-too-short", look, snippet=snippet, server={})
    found = [(row["idempotency_key"], row["completion_retention"]) for row in listed]
    assert found == [("payout-1", "PT0.2S"), ("order-1", "PT86400S")]
    assert kept == [{"completion_retention": "PT86400S"}]


def test_retention_of_a_handler_is_not_the_services(lab: Lab, tmp_path: Path) -> None:
    """RDD603: what it sets in its code stays, whatever the admin API sets for the service."""
    own = "idempotency_retention=KNOWN_FOR"
    snippet = changed(
        tmp_path,
        "operations/retention-too-short/dont",
        (f", {own}", ""),
        ("@payouts.handler()", f"@payouts.handler({own})"),
    )
    kept = []

    async def set_and_look(in_proof: LabInProof) -> None:
        await in_proof.admin("PATCH", "/services/Payouts", {"idempotency_retention": "7d"})
        await in_proof.call("Payouts/pay", "ann", idempotency_key="payout-1")
        await in_proof.call("Payouts/pay", "ann", idempotency_key="payout-2")
        kept.extend(await in_proof.query("select completion_retention from sys_invocation"))

    instead(lab, CHAPTER / "retention-too-short", set_and_look, snippet=snippet, server={})
    assert kept == [{"completion_retention": "PT0.2S"}] * 2


def test_step_that_is_always_too_long_is_paused_and_resumes_on_longer_limits(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD604: limits far shorter than the don't's, as three attempts have to pass them."""
    rule = CHAPTER / "long-step-default-timeouts"
    proof = load(rule)
    impatient = tmp_path / "dont.py"
    text = proof.snippet("dont").read_text()
    impatient.write_text(text.replace("timedelta(seconds=2)", "timedelta(seconds=0.2)"))
    (tmp_path / "do.py").write_text(proof.snippet("do").read_text())
    read, target = "GET /payments/ann", "Statements/send"

    async def resume(in_proof: LabInProof) -> None:
        in_proof.outside.answers[read] = []
        slow = in_proof.outside.hold(read, at_most=1.5)
        sending = asyncio.create_task(in_proof.call(target, "ann"))
        await until_status(in_proof, target, "paused")
        slow.set()
        await sending  # it gives up at the pause
        await resume_on(in_proof, target)

    trace = instead(lab, rule, resume, snippet=impatient).trace
    assert trace.invocations[0].result == "letter-4"
    assert {failure.code for failure in trace.failures()} == {"RT0001"}


def test_step_of_a_coroutine_is_broken_off_at_its_await(lab: Lab, tmp_path: Path) -> None:
    """RDD604: the run of the aside `slower`, where a step in a plain function goes on to its letter."""
    rule = CHAPTER / "long-step-default-timeouts"
    snippet = changed(
        tmp_path,
        "operations/long-step-default-timeouts/dont",
        ("httpx.Client(", "httpx.AsyncClient("),
        ("def send_year(", "async def send_year("),
        (
            'bank.get(f"/payments/{customer}").raise_for_status().json()',
            '(await bank.get(f"/payments/{customer}")).json()',
        ),
        ("= bank.post(", "= await bank.post("),
    )

    async def broken_off(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /payments/ann"] = ["order-1", "order-2"]
        slow = in_proof.outside.hold("GET /payments/ann", at_most=25.0)
        sending = asyncio.create_task(in_proof.call("Statements/send", "ann"))
        await in_proof.until_effect("GET /payments/ann")
        in_proof.outside.hold("GET /payments/ann", at_most=0.0)
        await sending
        slow.set()
        await in_proof.until_still(0.5)

    trace = instead(lab, rule, broken_off, snippet=snippet).trace
    assert trace.effect_counts() == {"POST /letters": 1}
    assert {failure.code for failure in trace.failures()} == {"RT0001"}


@pytest.mark.parametrize(
    ("of", "letter"), [("server", "letter-2"), ("service", "letter-2"), ("handler", None)]
)
def test_longer_limit_holds_at_once_unless_the_handler_has_its_own(
    lab: Lab, tmp_path: Path, of: str, letter: str | None
) -> None:
    """RDD604: by the admin API, for the next attempt of what is under way."""
    rule, read = CHAPTER / "long-step-default-timeouts", "GET /payments/ann"
    limits = "inactivity_timeout=ASKED, abort_timeout=CLOSED"
    short = ("seconds=2), timedelta(seconds=0.5)", "seconds=0.2), timedelta(seconds=0.2)")
    moved = [(f"({limits})", "()"), ('Service("Statements")', f'Service("Statements", {limits})')]
    changes = {"server": moved[:1], "service": [short, *moved], "handler": [short]}
    snippet = changed(tmp_path, "operations/long-step-default-timeouts/dont", *changes[of])
    setting = "RESTATE_WORKER__INVOKER__{}_TIMEOUT"
    settings = {setting.format(limit): "200ms" for limit in ("INACTIVITY", "ABORT")}
    server = settings if of == "server" else load(rule).server

    async def lengthen(in_proof: LabInProof) -> None:
        in_proof.outside.answers[read] = []
        in_proof.outside.hold(read, at_most=0.8)
        sending = asyncio.create_task(in_proof.call("Statements/send", "ann"))
        await in_proof.until_effect(read)
        await in_proof.admin("PATCH", "/services/Statements", {"abort_timeout": "30m"})
        assert await sending == letter

    trace = instead(lab, rule, lengthen, snippet=snippet, server=server).trace
    assert {failure.code for failure in trace.failures()} == {"RT0001"}


@pytest.mark.parametrize(("earlier", "sent"), [("limit", True), ("registration", False)])
def test_longer_limit_reaches_what_is_under_way_before_the_next_registration(
    lab: Lab, tmp_path: Path, earlier: str, sent: bool
) -> None:
    """RDD604: set after it, it holds for the new deployment only."""
    rule, read = CHAPTER / "long-step-default-timeouts", "GET /payments/ann"
    own, service = "(inactivity_timeout=ASKED, abort_timeout=CLOSED)", 'Service("Statements"'
    snippet = changed(
        tmp_path,
        "operations/long-step-default-timeouts/dont",
        ("seconds=2), timedelta(seconds=0.5)", "seconds=0.2), timedelta(seconds=0.2)"),
        (own, "()"),
        (f"{service})", f"{service}, {own[1:]}"),
    )
    shutil.copy(rule / "do.py", tmp_path)

    async def lengthen(in_proof: LabInProof) -> None:
        in_proof.outside.answers[read] = []
        in_proof.outside.hold(read, at_most=0.8)
        sending = asyncio.create_task(in_proof.call("Statements/send", "ann"))
        await in_proof.until_effect(read)
        if earlier == "registration":
            await in_proof.deploy("do")
        await in_proof.admin("PATCH", "/services/Statements", {"abort_timeout": "30m"})
        if earlier == "limit":
            await in_proof.deploy("do")
            again = await in_proof.admin("GET", "/services/Statements")
            assert again["abort_timeout"] == "10m"  # it has none of its own there
        assert (await sending is not None) == sent

    trace = instead(lab, rule, lengthen, snippet=snippet).trace
    assert {failure.code for failure in trace.failures()} == {"RT0001"}


@pytest.mark.parametrize(
    ("stimulus", "codes"), [(REPLAY_EVERY_AWAIT, {"RT0001"}), (PLAIN, set())], ids=["1.1", "2"]
)
def test_over_http_1_only_the_abort_timeout_counts(
    lab: Lab, tmp_path: Path, stimulus: Stimulus, codes: set[str]
) -> None:
    """RDD405, RDD604, RT0001: over HTTP/2 a step that is no longer than both together is let be."""
    rule, read = CHAPTER / "long-step-default-timeouts", "GET /payments/ann"
    limits = ("seconds=2)", "minutes=5)")
    snippet = changed(tmp_path, "operations/long-step-default-timeouts/dont", limits)

    async def send(in_proof: LabInProof) -> None:
        in_proof.outside.answers[read] = []
        in_proof.outside.hold(read, at_most=1.2)
        sending = asyncio.create_task(in_proof.call("Statements/send", "ann"))
        await in_proof.until_effect(read)
        in_proof.outside.hold(read, at_most=0.0)
        await sending

    trace = instead(lab, rule, send, stimulus, snippet).trace
    assert {failure.code for failure in trace.failures()} == codes
    assert (trace.effect_counts()["POST /letters"] > 1) == bool(codes)


@pytest.mark.parametrize(("then", "seconds", "letters"), [("resume", 1.5, 2), ("cancel", 25.0, 1)])
def test_long_step_is_paused_while_it_works_and_resumed_on_longer_limits(
    lab: Lab, tmp_path: Path, then: str, seconds: float, letters: int
) -> None:
    """RDD604: only the pause asks it to suspend; the step goes on, and sends its letter.

    Resumed then, it sends another one; cancelled, it doesn't. It is paused when the step
    ends, or five seconds after the limit: so what works longer works while it is paused.
    """
    rule, target, read = (
        CHAPTER / "long-step-default-timeouts",
        "Statements/send",
        "GET /payments/ann",
    )
    sent = "POST /letters"
    limits = ("seconds=2), timedelta(seconds=0.5)", "minutes=5), timedelta(seconds=0.2)")
    snippet = changed(tmp_path, "operations/long-step-default-timeouts/dont", limits)
    shutil.copy(rule / "do.py", tmp_path)

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.answers[read] = []
        slow = in_proof.outside.hold(read, at_most=seconds)
        sending = asyncio.create_task(in_proof.call(target, "ann"))
        await in_proof.until_effect(read)
        in_proof.outside.hold(read, at_most=0.0)
        assert await in_proof.operate("resume", target, deployment="latest") == 409
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        if then == "resume":
            await in_proof.until_effect(sent)
            await resume_on(in_proof, target)
        else:
            assert [each.effect for each in in_proof.outside.ledger] == [read]
            slow.set()
            await in_proof.until_effect(sent)
            await until_status(in_proof, target, "paused")
            assert await in_proof.operate("cancel", target) == 202
            await until_status(in_proof, target, "completed")
            await in_proof.until_still(0.5)
        await sending

    trace = instead(lab, rule, fix, snippet=snippet).trace
    cancelled = {"failure": "cancelled", "code": 409}
    assert trace.invocations[0].result == ("letter-2" if then == "resume" else cancelled)
    assert trace.effect_counts() == {sent: letters}


def test_steps_of_two_attempts_send_their_letters_while_it_is_paused(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD604: the later one is the first to end, so it isn't the only one to wait for."""
    rule, target = CHAPTER / "long-step-default-timeouts", "Statements/send"
    read, letter = "GET /payments/ann", "POST /letters"
    limits = ("seconds=2), timedelta(seconds=0.5)", "seconds=0.2), timedelta(seconds=0.2)")
    snippet = changed(tmp_path, "operations/long-step-default-timeouts/dont", limits)

    async def pause(in_proof: LabInProof) -> None:
        in_proof.outside.answers[read] = []
        earlier = in_proof.outside.hold(read, at_most=60.0)
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_effect(read)
        later = in_proof.outside.hold(read, at_most=60.0)
        await in_proof.until_effect(read, times=2)
        assert await in_proof.operate("pause", target) == 202
        await until_status(in_proof, target, "paused")
        for times, ends in enumerate((later, earlier), 1):
            ends.set()
            await in_proof.until_effect(letter, times=times)
            await until_status(in_proof, target, "paused")
        assert await in_proof.operate("cancel", target) == 202
        await until_status(in_proof, target, "completed")

    trace = instead(lab, rule, pause, PLAIN, snippet, promise=Holds(answers=[])).trace
    assert trace.effect_counts() == {letter: 2}


def test_order_goes_on_where_it_was_on_the_old_version(lab: Lab) -> None:
    """RDD605: registered at an address of its own; by its id, as the latest is the new one."""

    async def old_again(in_proof: LabInProof) -> None:
        await resume_on_one_before_the_latest(in_proof, "Orders/place", "before", "dont")

    trace = afterwards(lab, CHAPTER / "code-changed-in-flight", old_again).trace
    assert trace.effect_counts() == {"POST /reservations": 1, "POST /parcels": 1}
    assert trace.invocations[0].result == "parcel-1"


def test_order_that_sleeps_is_moved_to_the_old_version_and_one_of_the_new_is_not_listed(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD605: one that is suspended needs no pause. Nor is one listed that has not begun."""
    rule, (query,) = "operations/code-changed-in-flight", queries("RDD605")
    sleep = ("seconds=1", "seconds=3")
    changed(tmp_path, f"{rule}/before", sleep)
    dont = changed(tmp_path, f"{rule}/dont", sleep)

    async def fix(in_proof: LabInProof) -> None:
        ordering = asyncio.create_task(in_proof.call("Orders/place", "order-1"))
        await until_status(in_proof, "Orders/place", "suspended")
        (order,) = await in_proof.query(query)
        await in_proof.deploy("before")
        old = await deployment(in_proof, "Orders")
        await in_proof.deploy("dont")
        await in_proof.call("Orders/place/send", "order-2")
        await in_proof.until_effect("POST /emails")
        later = await in_proof.call("Orders/place/send?delay=1h", "order-3")
        assert await in_proof.query(query) == [order]
        await in_proof.admin("PATCH", f"/invocations/{later['invocationId']}/cancel")
        path = f"/invocations/{order['id']}/resume?deployment={old}"
        await in_proof.admin("PATCH", path)
        assert await ordering == "parcel-1"

    before = dont.with_stem("before")
    trace = instead(lab, CHAPTER.parent / rule, fix, REPLAY_EVERY_AWAIT, before).trace
    first = trace.invocations[0]
    assert len({attempt.worker for attempt in first.attempts}) == 2
    assert not any(attempt.ends == "error" for attempt in first.attempts)


@pytest.mark.parametrize("again", [True, False])
def test_order_that_goes_on_to_confirm_before_it_is_paused_is_not_listed_any_more(
    lab: Lab, again: bool
) -> None:
    """RDD605: resumed on the old version nevertheless, it fails there."""
    rule, target, (query,) = (
        CHAPTER / "code-changed-in-flight",
        "Orders/place",
        queries("RDD605"),
    )
    reserve, confirm = "POST /reservations", "POST /emails"
    failed = """select id from sys_journal_events
        where event_type = 'Paused' and event_json like '%"RT0016"%'"""

    async def fix(in_proof: LabInProof) -> None:
        reserved = in_proof.outside.hold(reserve, at_most=20.0)
        mailed = in_proof.outside.hold(confirm, at_most=20.0)
        await in_proof.call(f"{target}/send", "order-1")
        await in_proof.until_effect(reserve)
        await in_proof.deploy("before")
        assert [row["status"] for row in await in_proof.query(query)] == ["running"]
        reserved.set()
        await in_proof.until_effect(confirm)
        await pause_at_work(in_proof, target)
        mailed.set()
        await until_status(in_proof, target, "paused")
        assert await in_proof.query(query) == []
        if again:
            assert await in_proof.operate("resume", target) == 200
            await in_proof.until_all_completed()
        else:
            assert await in_proof.operate("resume", target, deployment="latest") == 200
            await in_proof.until_row(failed)

    trace = instead(lab, rule, fix, PLAIN).trace
    sent = {reserve: 1, confirm: 1}
    assert trace.effect_counts() == (sent | {"POST /parcels": 1} if again else sent)


def test_an_order_with_only_its_input_is_not_listed_and_begins_on_the_new_version(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD605: it can't be resumed on the old one, and need not be."""
    slug, target = "operations/code-changed-in-flight", "Orders/place"
    for version in ("before", "do"):
        changed(tmp_path, f"{slug}/{version}")
    begins = '    await ctx.run_typed("reserve", '
    broken = (begins, f'    if order:\n        raise ValueError("a bug")\n{begins}')
    dont = changed(tmp_path, f"{slug}/dont", broken)

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "order-1")
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("before")
        old = await deployment(in_proof, "Orders")
        await in_proof.deploy("do")
        assert await in_proof.query(queries("RDD605")[0]) == []
        assert await in_proof.operate("resume", target, deployment=old) == 409
        assert await in_proof.operate("resume", target) == 200
        await in_proof.until_all_completed()

    trace = instead(lab, SNIPPETS / slug, fix, PLAIN, dont).trace
    assert trace.effect_counts()["POST /emails"] == 1


def test_an_order_at_work_on_lambda_is_pinned_to_nothing_yet(lab: Lab, tmp_path: Path) -> None:
    """RDD605: its deployment's worker may not go; whatever it has done is not in the journal."""
    slug, reserve = "operations/code-changed-in-flight", "POST /reservations"
    changed(tmp_path, f"{slug}/dont", as_on_lambda("orders"))
    before = changed(tmp_path, f"{slug}/before", as_on_lambda("orders"))
    ids = "pinned_deployment_id as pinned, last_attempt_deployment_id as last from sys_invocation"

    async def look(in_proof: LabInProof) -> None:
        reserved = in_proof.outside.hold(reserve, at_most=20.0)
        old = await deployment(in_proof, "Orders")
        await in_proof.call("Orders/place/send", "order-1")
        await in_proof.until_effect(reserve)
        await in_proof.deploy("dont")
        under_way = await in_proof.query(f"select {ids} where status != 'completed'")
        assert under_way == [{"last": old}]
        reserved.set()
        await in_proof.until_all_completed()
        assert await in_proof.query(f"select {ids}") == [{"pinned": old}]

    stimulus = dataclasses.replace(PLAIN, request_response=True)
    trace = instead(lab, SNIPPETS / slug, look, stimulus, before).trace
    assert trace.effect_counts() == {reserve: 1, "POST /parcels": 1}


def test_order_that_has_asked_to_ship_fails_on_the_do(lab: Lab) -> None:
    """RDD605: the new step is behind what the journal held, as long as that is not the last one."""
    rule = CHAPTER / "code-changed-in-flight"
    shipped = dataclasses.replace(crash_after_step("ship"), successor="do")
    outcome = instead(lab, rule, load(rule).prove, shipped, rule / "before.py").outcome
    assert outcome == JournalMismatch(command=3, was="name ship", now="name confirm")


@pytest.mark.parametrize(("began", "now"), [(1, "hours=1"), (3, "seconds=0.1")])
def test_sleep_under_way_keeps_its_end(lab: Lab, tmp_path: Path, began: int, now: str) -> None:
    """RDD605: in place, whether the new code sleeps for longer or not as long."""
    rule = load(CHAPTER / "code-changed-in-flight")
    before = ("seconds=1", f"seconds={began}")
    changed(tmp_path, "operations/code-changed-in-flight/before", before)
    body = changed(tmp_path, "operations/code-changed-in-flight/body", ("seconds=2", now))
    slept = dataclasses.replace(rule.stimulus, crash_at={"in": "sleep"})
    took: list[float] = []

    async def place(in_proof: LabInProof) -> None:
        began_at = time.monotonic()
        assert await in_proof.call("Orders/place", "order-1") == "parcel-1"
        took.append(time.monotonic() - began_at)

    order = instead(lab, rule.folder, place, slept, body).trace.invocations[0]
    assert {attempt.worker for attempt in order.attempts} == {1, 2}
    assert took[0] > began


def test_results_in_the_journal_are_those_of_the_old_code(lab: Lab, tmp_path: Path) -> None:
    """RDD605: a step that returns another type is deployed in place."""
    rule = load(CHAPTER / "code-changed-in-flight")
    changed(tmp_path, "operations/code-changed-in-flight/before")
    as_dict = changed(
        tmp_path,
        "operations/code-changed-in-flight/body",
        ("order: str) -> str:\n    response", "order: str) -> dict[str, str]:\n    response"),
        ('return str(response.raise_for_status().json()["id"])', 'return {"id": "hold-1"}'),
        ('    await ctx.run_typed("reserve"', '    hold = await ctx.run_typed("reserve"'),
        ('path="parcels", order=order', "path=\"parcels\", order=hold['id']"),
    )
    (order,) = instead(lab, rule.folder, rule.prove, rule.stimulus, as_dict).trace.invocations
    assert order.status == "paused"
    assert "TypeError" in order.failures[-1].message


def test_order_that_comes_after_the_flag_was_turned_is_checked(lab: Lab) -> None:
    """RDD606: and the one that came before goes on unchecked."""
    rule = CHAPTER / "flag-read-in-flight"

    async def two(in_proof: LabInProof) -> None:
        assert await in_proof.call("Tickets/sell", "order-1") == "charge-1"
        assert await in_proof.call("Tickets/sell", "order-2") == "charge-2"

    trace = instead(lab, rule, two, snippet=load(rule).snippet("do")).trace
    assert [r.body["order"] for r in trace.effects if r.effect == "POST /checks"] == ["order-2"]


@pytest.mark.parametrize(("step", "then"), [("check", "off"), ("charge", "on")])
def test_flag_that_was_read_after_the_wait_must_not_change_any_more(
    lab: Lab, step: str, then: str
) -> None:
    """RDD606: the journal of the aside `later` holds what came of it."""
    rule = load(CHAPTER / "flag-read-in-flight")
    turned = dataclasses.replace(crash_after_step(step), successor_env={"FRAUD_CHECK": then})
    env = {"FRAUD_CHECK": "on" if then == "off" else "off"}
    outcome = instead(
        lab, rule.folder, rule.prove, turned, rule.folder / "later.py", env=env
    ).outcome
    assert outcome.kind == "journal-mismatch"


def test_suspended_order_fails_when_its_wait_is_over(lab: Lab, tmp_path: Path) -> None:
    """RDD606: the flag was turned long before, and nothing of the order was replayed until then."""
    longer = ("seconds=0.3", "seconds=0.8")
    snippet = changed(tmp_path, "operations/flag-read-in-flight/dont", longer)
    rule = CHAPTER / "flag-read-in-flight"
    turned = dataclasses.replace(
        load(rule).stimulus, request_response=True, crash_at={"in": "sleep"}
    )

    async def sell(in_proof: LabInProof) -> None:
        await in_proof.call("Tickets/sell", "order-1")

    result = instead(lab, rule, sell, turned, snippet)
    assert result.outcome.kind == "journal-mismatch", result.outcome
    attempts = [a for a in result.trace.invocations[0].attempts if a.worker == 2]
    journal = result.trace.invocations[0].journal
    assert journal[-1].type == "Notification: Sleep"
    assert {attempt.known_entries for attempt in attempts} == {len(journal)}


def test_flag_turned_back_lets_the_order_go_on(lab: Lab, tmp_path: Path) -> None:
    """RDD606: on a worker with the flag off, what was paused completes; new orders begin on the fix."""
    proof = load(CHAPTER / "flag-read-in-flight")
    snippet = tmp_path / "dont.py"
    text = proof.snippet("dont").read_text()
    snippet.write_text(text)
    (tmp_path / "off.py").write_text(text.replace('os.environ.get("FRAUD_CHECK") == "on"', "False"))
    (tmp_path / "do.py").write_text(proof.snippet("do").read_text())
    target = "Tickets/sell"

    async def turn_back(in_proof: LabInProof) -> None:
        selling = asyncio.create_task(in_proof.call(target, "order-1"))
        await resume_on_one_before_the_latest(in_proof, target, "off")
        await in_proof.until_all_completed()
        await selling
        await in_proof.call(target, "order-2")

    trace = instead(lab, CHAPTER / "flag-read-in-flight", turn_back, snippet=snippet).trace
    orders = [(each.effect, each.body["order"]) for each in trace.effects]
    assert sorted(orders) == [
        ("POST /charges", "order-1"),
        ("POST /charges", "order-2"),
        ("POST /checks", "order-2"),
        ("POST /seats", "order-1"),
        ("POST /seats", "order-2"),
    ]


def test_flag_read_in_a_step_must_not_be_deployed_in_place(lab: Lab) -> None:
    """RDD606: the step that reads the flag is not in the journals of those under way."""
    proof = load(CHAPTER / "flag-read-in-flight")
    fixed = dataclasses.replace(proof.stimulus, successor_env={})
    result = in_place(lab, CHAPTER / "flag-read-in-flight", fixed)
    assert result.outcome.kind == "journal-mismatch"


@pytest.mark.parametrize(("snippet", "found"), [("cached", True), ("dont", False)])
def test_server_without_patience_replays_at_every_await(
    lab: Lab, snippet: str, found: bool
) -> None:
    """RDD607: as the SDK's harness does it; it finds the one mistake, and not the other."""
    server = {"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "0s"}
    proof = dataclasses.replace(load(CHAPTER / "test-without-replay"), server=server)
    result = lab.run(lab.laboratory.result(proof, proof.snippet(snippet), PLAIN))
    assert (result.outcome.kind == "journal-mismatch") == found, result.outcome


def test_server_that_allows_one_attempt_tells_the_test_at_once(lab: Lab, tmp_path: Path) -> None:
    """RDD607: by the two variables that the SDK's harness sets.

    With pauses of its own the service doesn't get the lab's number of attempts, but the server's.
    """
    policy = "RESTATE_DEFAULT_RETRY_POLICY__"
    once = {f"{policy}MAX_ATTEMPTS": "1", f"{policy}ON_MAX_ATTEMPTS": "kill"}
    harness = (Path(restate.__file__).parent / "harness.py").read_text()
    assert "disable_retries: bool" in harness and all(name in harness for name in once)
    proof = dataclasses.replace(load(CHAPTER / "test-without-replay"), server=once)
    pauses = "restate.InvocationRetryPolicy(initial_interval=timedelta(milliseconds=20))"
    snippet = changed(
        tmp_path,
        "operations/test-without-replay/cached",
        ('Object("Tickets")', f'Object("Tickets", invocation_retry_policy={pauses})'),
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
    )
    outcome = lab.run(lab.laboratory.result(proof, snippet, REPLAY_EVERY_AWAIT)).outcome
    assert outcome == proof.asides["once"].outcome


def test_number_of_a_dead_process_is_ended_by_kill(lab: Lab) -> None:
    """RDD607: on the fixed code the journal doesn't replay, either; called again, it mails again."""
    target = "Tickets/t-1/open"

    async def end(in_proof: LabInProof) -> None:
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_row(
            "select id from sys_journal_events where event_json like '%set state%run%'"
        )
        await until_status(in_proof, target, "paused")
        assert in_proof.outside.ledger[-1].effect == "POST /emails"
        assert await in_proof.operate("kill", target) == 200
        await until_status(in_proof, target, "completed")
        assert await in_proof.call(target) == "open"

    trace = afterwards(lab, CHAPTER / "test-without-replay", end).trace
    assert trace.effect_counts() == {"POST /emails": 2}


def test_what_backs_off_is_killed_and_called_again_under_another_key(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD607: a resume is refused, until it is paused; under the same key, the kill is the answer."""
    target = "Tickets/t-1/open"
    dont = changed(
        tmp_path,
        "operations/test-without-replay/dont",
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ('Object("Tickets")', f'Object("Tickets", {LATER})'),
    )
    changed(tmp_path, "operations/test-without-replay/do")

    async def end(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", idempotency_key="k-1")
        await until_status(in_proof, target, "backing-off")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 409
        assert await in_proof.operate("kill", target) == 200
        await until_status(in_proof, target, "completed")
        again = await in_proof.call(target, idempotency_key="k-1")
        assert (again["code"], again["message"]) == (409, "killed")
        assert await in_proof.call(target, idempotency_key="k-2") == "open"

    trace = instead(lab, CHAPTER / "test-without-replay", end, snippet=dont).trace
    assert trace.effect_counts() == {"POST /emails": 2}


def test_number_of_a_dead_process_is_given_to_the_old_code(lab: Lab, tmp_path: Path) -> None:
    """RDD607: it is in the message of the mismatch, and the ticket is opened without another mail."""
    target, rule = "Tickets/t-1/open", CHAPTER / "test-without-replay"
    dont = changed(tmp_path, "operations/test-without-replay/dont")
    changed(tmp_path, "operations/test-without-replay/do")

    async def rescue(in_proof: LabInProof) -> None:
        await load(rule).prove(in_proof)
        await until_status(in_proof, target, "paused")
        told = "select event_json from sys_journal_events where event_json like '%RT0016%'"
        [row, *_] = await in_proof.query(told)
        found = re.search(r"([0-9a-f-]{36})\W+!= ", row["event_json"])
        assert found, row
        fixed = ("str(uuid.uuid4())", f'"{found[1]}"')
        old = changed(tmp_path, "operations/test-without-replay/dont", fixed).rename(
            tmp_path / "old.py"
        )
        await resume_on_one_before_the_latest(in_proof, target, old.stem)

    trace = instead(lab, rule, rescue, snippet=dont).trace
    assert trace.effect_counts() == {"POST /emails": 1}


def test_attempt_after_the_limits_waits_for_the_old_one(lab: Lab) -> None:
    """RDD604: in the don't's run."""
    arrived: list[str] = []

    async def look(in_proof: LabInProof) -> None:
        arrived.extend(received.effect for received in in_proof.outside.ledger)

    afterwards(lab, CHAPTER / "long-step-default-timeouts", look)
    assert arrived == ["GET /payments/ann", "POST /letters"] * 2


def test_bad_input_that_was_paused_ends_with_400_on_the_fixed_code(lab: Lab) -> None:
    """RDD608: and whoever waits for its answer is told."""
    target = "Parcels/send"

    async def fix(in_proof: LabInProof) -> None:
        assert await in_proof.call(target, idempotency_key="order-1") is None
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        assert (await in_proof.call(target, idempotency_key="order-1"))["code"] == 400
        assert len(await in_proof.query("select id from sys_invocation")) == 1

    promise = Holds(answers=[None, None])
    instead(lab, CHAPTER / "bad-input-is-500", fix, promise=promise)


@pytest.mark.parametrize(
    ("snippet", "status", "message"),
    [
        ("do", 500, "Unable to parse an input argument. Expecting value"),
        ("manager", 400, "no order"),
    ],
)
def test_body_that_is_no_json_never_comes_to_the_handler(
    lab: Lab, snippet: str, status: int, message: str
) -> None:
    """RDD608: only the manager makes a 400 of it; and its OpenAPI document tells of an order."""
    rule = CHAPTER / "bad-input-is-500"

    async def broken(in_proof: LabInProof) -> None:
        json = {"content-type": "application/json"}
        ingress = in_proof.server.ingress  # the lab itself sends only what is JSON
        answer = await ingress.post("/Parcels/send", content=b'{"item":', headers=json)
        assert answer.status_code == status
        assert answer.json()["message"].startswith(message)
        openapi = await in_proof.admin("GET", "/services/Parcels/openapi")
        assert ("quantity" in str(openapi)) is (snippet == "manager")

    instead(lab, rule, broken, snippet=load(rule).snippet(snippet))


@pytest.mark.parametrize("said", ["", "application/json", "text/plain"])
def test_the_server_lets_no_body_through_if_it_has_no_content_type(lab: Lab, said: str) -> None:
    """RDD608: with one, the server itself refuses it, and no invocation begins."""

    async def nothing(in_proof: LabInProof) -> None:
        await in_proof.call("Parcels/send", headers={"content-type": said} if said else {})

    trace = instead(lab, CHAPTER / "bad-input-is-500", nothing, PLAIN).trace
    (call,) = trace.calls
    assert (call.status, len(trace.invocations)) == ((400, 0) if said else (None, 1))
    assert not said or call.answer["source"] == "ingress"


def test_only_what_had_no_body_is_found(lab: Lab, tmp_path: Path) -> None:
    """RDD608: not what was paused by another `None`."""
    (query,) = queries("RDD608")
    fails = "    if order.quantity == 7:\n        None.upper()  # type: ignore\n"
    change = ("    return await ctx", f"{fails}    return await ctx")
    snippet = changed(tmp_path, "operations/bad-input-is-500/dont", change)
    found = []

    async def look(in_proof: LabInProof) -> None:
        await in_proof.call("Parcels/send", {"item": "tea", "quantity": 7})
        await in_proof.call("Parcels/send")
        paused = "sys_invocation where status = 'paused' having count(*) = 2"
        await in_proof.until_row(f"select count(*) from {paused}")
        found.extend(await in_proof.query(query))

    instead(lab, CHAPTER / "bad-input-is-500", look, snippet=snippet)
    assert len(found) == 1


def test_context_manager_leaves_the_errors_of_those_that_are_called(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD608: a called handler that can't parse what it is sent is no mistake of the caller's."""
    stock = (
        'stock = restate.Service("Stock")\n\n\n@stock.handler()\n'
        "async def take(ctx: restate.Context, order: Order) -> None:\n    pass\n\n\n"
    )
    calls = "    await ctx.generic_call('Stock', 'take', b'\"tea\"')\n"
    snippet = changed(
        tmp_path,
        "operations/bad-input-is-500/manager",
        ("    return f", f"{calls}    return f"),
        ("app = restate.app([parcels])", f"{stock}app = restate.app([parcels, stock])"),
    )

    async def order(in_proof: LabInProof) -> None:
        answer = await in_proof.call("Parcels/send", {"item": "tea", "quantity": 2})
        assert answer["message"].startswith("Unable to parse an input argument")

    instead(lab, CHAPTER / "bad-input-is-500", order, snippet=snippet)


def test_context_manager_leaves_the_errors_of_the_handler(lab: Lab, tmp_path: Path) -> None:
    """RDD608: also one whose cause is a ValueError, as pydantic's is."""
    own = 'raise restate.TerminalError("sold out", status_code=409) from ValueError()'
    change = ('return f"{order.quantity} of {order.item}"', own)
    snippet = changed(tmp_path, "operations/bad-input-is-500/manager", change)

    async def order(in_proof: LabInProof) -> None:
        answer = await in_proof.call("Parcels/send", {"item": "tea", "quantity": 2})
        assert (answer["code"], answer["message"]) == (409, "sold out")

    instead(lab, CHAPTER / "bad-input-is-500", order, snippet=snippet)


def test_check_of_the_input_may_be_deployed_in_place(lab: Lab) -> None:
    """RDD608: it adds no command to the journal; the step that was cut off is repeated."""
    trace = in_place(lab, CHAPTER / "bad-input-is-500", crash_after_effect("POST /parcels")).trace
    assert [call.status for call in trace.calls] == [200, 400, 400]
    assert trace.effect_counts() == {"POST /parcels": 2}
    assert not {"RT0016"} & {failure.code for failure in trace.failures()}


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [("at every await", 3), ("by a new process", 3), ("raised once", 3), ("raised once", 1)],
)
def test_what_both_kinds_of_replay_miss_is_found_by_an_error_at_the_end(
    lab: Lab, tmp_path: Path, kind: str, attempts: int
) -> None:
    """RDD607: a send that no await follows, in a process that remembers. The error takes an attempt."""
    policy = (
        f"restate.InvocationRetryPolicy(max_attempts={attempts}, on_max_attempts='pause', "
        "initial_interval=timedelta(milliseconds=20))"
    )
    sending = """        ctx.service_send(note, ctx.key())
    if RAISES and raised.add(ctx.key()) is None and len(raised) == 1:
        raised.add("once")
        raise ValueError("once")
"""
    snippet = changed(
        tmp_path,
        "operations/test-without-replay/cached",
        ('        await ctx.run_typed("mail", mail, ticket=ctx.key())\n', sending),
        (
            "mailed: set[str] = set()\n",
            f"mailed: set[str] = set()\nraised: set[str] = set()\nRAISES = {kind == 'raised once'}\n"
            'notes = restate.Service("Notes")\n\n\n@notes.handler()\n'
            "async def note(ctx: restate.Context, ticket: str) -> None:\n    pass\n",
        ),
        ('Object("Tickets")', f'Object("Tickets", invocation_retry_policy={policy})'),
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ("restate.app([tickets])", "restate.app([tickets, notes])"),
    )
    stimulus = {"at every await": REPLAY_EVERY_AWAIT, "by a new process": LATE_REPLAY}
    proof = load(CHAPTER / "test-without-replay")
    trace = lab.run(lab.laboratory.result(proof, snippet, stimulus.get(kind, PLAIN))).trace
    found = "RT0016" in {failure.code for failure in trace.failures()}
    assert found == (kind == "raised once" and attempts > 1)


def test_state_that_is_sent_along_ends_no_attempt(lab: Lab, tmp_path: Path) -> None:
    """RDD607: nothing is replayed, also over HTTP/1.1."""
    snippet = changed(
        tmp_path,
        "operations/test-without-replay/cached",
        (
            '        await ctx.run_typed("mail", mail, ticket=ctx.key())\n',
            '        await ctx.get("n", type_hint=int)\n        ctx.set("n", 1)\n',
        ),
    )
    proof = load(CHAPTER / "test-without-replay")
    (ticket,) = lab.run(lab.laboratory.result(proof, snippet, REPLAY_EVERY_AWAIT)).trace.invocations
    assert len(ticket.attempts) == 1


def test_what_a_service_says_of_attempts_wins_over_the_servers(lab: Lab, tmp_path: Path) -> None:
    """RDD607."""
    policy = "RESTATE_DEFAULT_RETRY_POLICY__"
    once = {f"{policy}MAX_ATTEMPTS": "1", f"{policy}ON_MAX_ATTEMPTS": "kill"}
    own = (
        "restate.InvocationRetryPolicy(max_attempts=2, on_max_attempts='pause', "
        "initial_interval=timedelta(milliseconds=20))"
    )
    snippet = changed(
        tmp_path,
        "operations/test-without-replay/cached",
        ('Object("Tickets")', f'Object("Tickets", invocation_retry_policy={own})'),
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
    )
    proof = dataclasses.replace(load(CHAPTER / "test-without-replay"), server=once)
    (ticket,) = lab.run(lab.laboratory.result(proof, snippet, REPLAY_EVERY_AWAIT)).trace.invocations
    assert ticket.status == "paused"


@pytest.mark.parametrize("force", [False, True])
def test_what_was_registered_last_gets_the_new_calls(lab: Lab, force: bool) -> None:
    """RDD607: the fix again, after the old code, if it is forced."""

    async def register(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        fix = await deployment(in_proof, "Tickets")
        uri = (await in_proof.admin("GET", f"/deployments/{fix}"))["uri"]
        await in_proof.deploy("dont")
        await in_proof.admin("POST", "/deployments", {"uri": uri, "force": force})
        assert (await deployment(in_proof, "Tickets") == fix) == force

    instead(lab, CHAPTER / "test-without-replay", register, PLAIN)


@pytest.mark.parametrize(
    ("how", "status"), [("order = Order.model_validate(body)", 400), ("by its text", 200)]
)
def test_strict_model_takes_a_date_from_the_text_alone(
    lab: Lab, tmp_path: Path, how: str, status: int
) -> None:
    """RDD608: and a right order with the key of one that was refused is refused, too."""
    validate = "order = Order.model_validate(body)"
    if how != validate:
        how = "order = Order.model_validate_json(ctx.request().body)"
    snippet = changed(
        tmp_path,
        "operations/bad-input-is-500/do",
        ("import os\n", "import datetime\nimport os\n"),
        ("(BaseModel)", "(BaseModel, strict=True)"),
        ("    quantity: int\n\n", "    quantity: int\n    day: datetime.date\n\n"),
        (validate, how),
        ("**order.model_dump()", 'item="tea", quantity=1'),
    )
    order = {"item": "tea", "quantity": 2, "day": "2030-05-04"}

    async def send(in_proof: LabInProof) -> None:
        await in_proof.call("Parcels/send", order)
        for body in (None, order):
            answer = await in_proof.call("Parcels/send", body, idempotency_key="order-1")
            assert answer["code"] == 400

    calls = instead(lab, CHAPTER / "bad-input-is-500", send, snippet=snippet).trace.calls
    assert calls[0].status == status


@pytest.mark.parametrize("check", ["first", "after the step"])
def test_what_had_no_body_and_made_a_step(lab: Lab, tmp_path: Path, check: str) -> None:
    """RDD608: the check comes after that step, or the replay is a mismatch."""
    target, slug = "Parcels/send", "operations/bad-input-is-500"
    step = '    await ctx.run_typed("look", lambda: "")\n'
    first = ("    return await ctx", f"{step}    return await ctx")
    changed(tmp_path, f"{slug}/do", first if check == "first" else ("    try:", f"{step}    try:"))
    snippet = changed(tmp_path, f"{slug}/dont", first)
    ends: list[object] = []

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send")
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        mismatch = "select id from sys_journal_events where event_json like '%RT0016%'"
        await in_proof.until_any(in_proof.until_row(mismatch), in_proof.until_all_completed())
        ends.append(bool(await in_proof.query(mismatch)))
        if ends[0]:
            assert await in_proof.operate("kill", target) == 200

    trace = instead(lab, CHAPTER / "bad-input-is-500", fix, PLAIN, snippet).trace
    assert ends == [check == "first"]
    result = trace.invocations[0].result
    assert ends[0] or result["code"] == 400, result


@pytest.mark.parametrize("status", ["backing-off", "paused"])
def test_plain_resume_takes_bad_input_to_the_fixed_code(
    lab: Lab, tmp_path: Path, status: str
) -> None:
    """RDD608: also what is backing off, and from another URL: it is bound to no deployment."""
    target, slug = "Parcels/send", "operations/bad-input-is-500"
    policy = (
        ("import restate\n", "from datetime import timedelta\n\nimport restate\n"),
        ('("Parcels")', f'("Parcels", {LATER})'),
    )
    changed(tmp_path, f"{slug}/do")
    snippet = changed(tmp_path, f"{slug}/dont", *(policy if status == "backing-off" else ()))

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", idempotency_key="order-1")
        await until_status(in_proof, target, status)
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target) == 200
        assert (await in_proof.call(target, idempotency_key="order-1"))["code"] == 400

    instead(lab, CHAPTER / "bad-input-is-500", fix, snippet=snippet)


def test_handler_that_says_it_is_open_stays_open_when_its_service_is_closed(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD602: one that says nothing of it is closed."""
    snippet = changed(
        tmp_path,
        "operations/internal-service-public/dont",
        ("@refunds.handler()", "@refunds.handler(ingress_private=False)"),
        (
            "@returns.handler()",
            "@refunds.handler()\nasync def again(ctx: restate.Context, order: str) -> str:\n"
            "    return order\n\n\n@returns.handler()",
        ),
    )

    async def close(in_proof: LabInProof) -> None:
        await in_proof.admin("PATCH", "/services/Refunds", {"public": False})
        await in_proof.call("Refunds/again", "order-2")
        await in_proof.call("Refunds/refund", "order-2")

    trace = instead(lab, CHAPTER / "internal-service-public", close, PLAIN, snippet).trace
    assert [call.status for call in trace.calls] == [400, 200]


def test_delayed_refund_of_another_service_is_not_among_those_to_cancel(
    lab: Lab, tmp_path: Path
) -> None:
    """RDD602: the last line of the first query finds the handler that nobody outside has called."""
    snippet = changed(
        tmp_path,
        "operations/internal-service-public/dont",
        (
            "return await ctx.service_call(refund, arg=order)",
            "ctx.service_send(refund, arg=order, send_delay=timedelta(hours=1))\n    return order",
        ),
        ("import os\n", "import os\nfrom datetime import timedelta\n"),
    )
    found: dict[str, list[str]] = {}

    async def look(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /arrivals/order-1"] = True
        await in_proof.call("Returns/claim", "order-1")
        both, direct = queries("RDD602")
        for name, sql in (("both", both), ("inner", both.splitlines()[-1]), ("direct", direct)):
            found[name] = [str(row) for row in await in_proof.query(sql)]
        await in_proof.operate("cancel", "Refunds/refund")

    instead(lab, CHAPTER / "internal-service-public", look, PLAIN, snippet)
    refund = {"target_service_name": "Refunds", "target_handler_name": "refund"}
    assert found == {"both": [], "inner": [str(refund)], "direct": []}


@pytest.mark.parametrize("way", ["output", "attach"])
def test_answer_of_a_private_service_is_given_to_who_knows_the_call(
    lab: Lab, tmp_path: Path, way: str
) -> None:
    """RDD602: by the id, or by the idempotency key that another service has sent."""
    snippet = changed(
        tmp_path,
        "operations/internal-service-public/do",
        (
            "service_call(refund, arg=order)",
            'service_call(refund, arg=order, idempotency_key="k-1")',
        ),
    )
    answers: list[str] = []

    async def ask(in_proof: LabInProof) -> None:
        in_proof.outside.answers["GET /arrivals/order-1"] = True
        await in_proof.call("Returns/claim", "order-1")
        (row,) = await in_proof.query(
            "select id from sys_invocation where target = 'Refunds/refund'"
        )
        for known in (row["id"], "Refunds/refund/k-1"):
            given = await in_proof.server.ingress.get(f"/restate/invocation/{known}/{way}")
            answers.append(given.json())

    promise = Holds(["refunded order-1"])
    instead(lab, CHAPTER / "internal-service-public", ask, PLAIN, snippet, promise=promise)
    assert answers == ["refunded order-1"] * 2


def test_order_that_began_with_the_flag_on_needs_it_on(lab: Lab, tmp_path: Path) -> None:
    """RDD606: the page's query finds it, and on a worker with the flag off it fails again."""
    proof = load(CHAPTER / "flag-read-in-flight")
    text, target = proof.snippet("dont").read_text(), "Tickets/sell"
    snippet = tmp_path / "dont.py"
    snippet.write_text(text)
    for name, flag in (("off", "False"), ("on", "True")):
        flagged = text.replace('os.environ.get("FRAUD_CHECK") == "on"', flag)
        (tmp_path / f"{name}.py").write_text(flagged)
    turned_off = dataclasses.replace(proof.stimulus, successor_env={"FRAUD_CHECK": "off"})
    again = "select id from sys_journal_events where event_type = 'Paused' group by id having count(*) > 1"

    async def sell(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "order-1")
        await until_status(in_proof, target, "paused")
        (found,) = await in_proof.query(queries("RDD606")[0])
        assert (found["target"], found["status"]) == (target, "paused")
        await in_proof.deploy("off")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_row(again)
        await until_status(in_proof, target, "paused")
        await in_proof.deploy("on")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()

    env = {"FRAUD_CHECK": "on"}
    trace = instead(lab, proof.folder, sell, turned_off, snippet, env=env).trace
    assert trace.effect_counts() == {"POST /checks": 1, "POST /seats": 1, "POST /charges": 1}


@pytest.mark.parametrize("resumed", [True, False])
@pytest.mark.parametrize("status", ["suspended", "running"])
def test_flag_that_decides_about_a_value_is_undone_while_the_order_waits(
    lab: Lab, status: str, resumed: bool, tmp_path: Path
) -> None:
    """RDD606: nothing fails, and the page's query finds nothing. What runs is paused first."""
    rule, target, flag = CHAPTER / "flag-read-in-flight", "Tickets/sell", tmp_path / "flag"
    snippet = changed(
        tmp_path,
        "operations/flag-read-in-flight/value",
        ('os.environ.get("FRAUD_CHECK") == "on"', f"os.path.exists({str(flag)!r})"),
        (
            "    await ctx.sleep(timedelta(seconds=0.3))\n",
            "    id, told = ctx.awakeable()\n"
            '    await ctx.run_typed("ask", lambda: post("waits", id, False, key))\n'
            "    await told\n",
        ),
    )
    off = snippet.read_text().replace(f"os.path.exists({str(flag)!r})", "False")
    (tmp_path / "off.py").write_text(off)
    waits = "select id from sys_journal where entry_type = 'Notification: Run' and index > 3"

    async def sell(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "order-1")
        await in_proof.until_row(waits)
        await until_status(in_proof, target, status)
        flag.touch()
        if status == "running":  # as the restart of a worker, it begins another attempt
            assert await in_proof.operate("pause", target) == 202
            await until_status(in_proof, target, "paused")
            assert await in_proof.operate("resume", target) == 200
            await until_status(in_proof, target, status)
        await in_proof.deploy("off")
        if resumed and status == "running":
            assert await in_proof.operate("resume", target, deployment="latest") == 409
            assert await in_proof.operate("pause", target) == 202
            await until_status(in_proof, target, "paused")
        if resumed:
            assert await in_proof.operate("resume", target, deployment="latest") == 200
        assert not await in_proof.query(queries("RDD606")[0])
        (id,) = (each.body["order"] for each in in_proof.outside.ledger if "wait" in each.effect)
        await in_proof.resolve_awakeable(id, "told")
        await in_proof.until_all_completed()

    stimulus = REPLAY_EVERY_AWAIT if status == "suspended" else PLAIN
    trace = instead(lab, rule, sell, stimulus, snippet).trace
    assert not trace.failures()
    assert trace.invocations[0].result == ("charge-1" if resumed else "charge-1, checked")
    assert trace.effects[-1].body == {"order": "order-1", "checked": not resumed}


def test_worker_that_turns_its_server_away_in_place_has_its_invocations_paused(lab: Lab) -> None:
    """RDD601: what was under way is refused, and what is new, with RT0012, until it is paused."""
    fixed = dataclasses.replace(crash_after_step("charge"), successor="do")
    target = "Checkout/pay"

    async def pay(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "order-1")
        await until_status(in_proof, target, "paused")
        await in_proof.call(f"{target}/send", "order-2")
        paused = "sys_invocation where status = 'paused' having count(*) = 2"
        await in_proof.until_row(f"select count(*) from {paused}")

    rule = CHAPTER / "endpoint-open-to-all"
    last = instead(lab, rule, pay, fixed, server={}).trace.failures()[-1]
    assert last.event == "Paused" and last.code == "RT0012" and last.code in PAGES["RDD601"]
    assert "401 Unauthorized" in last.message


@pytest.mark.parametrize("then", ["resume", "cancel"])
def test_long_step_that_ended_in_time_has_its_result_in_the_journal(
    lab: Lab, tmp_path: Path, then: str
) -> None:
    """RDD604: paused then and resumed, it sends no second letter; a cancel leaves out what comes after."""
    target, read = "Statements/send", "GET /payments/ann"
    asks = 'return await ctx.run_typed("send year", send_year, customer=customer)\n'
    goes_on = (
        asks,
        f'letter = {asks[7:]}    await ctx.run_typed("file", file)\n    return letter\n',
    )
    files = (
        "@statements.handler(",
        'def file() -> None:\n    bank.put("/files")\n\n\n@statements.handler(',
    )
    limits = ("seconds=2), timedelta(seconds=0.5)", "minutes=1), timedelta(minutes=1)")
    page = "operations/long-step-default-timeouts"
    snippet = changed(tmp_path, f"{page}/dont", goes_on, files, limits)
    changed(tmp_path, f"{page}/do", goes_on, files)

    async def fix(in_proof: LabInProof) -> None:
        in_proof.outside.answers[read] = []
        slow = in_proof.outside.hold(read, at_most=20.0)
        await in_proof.call(f"{target}/send", "ann")
        await in_proof.until_effect(read)
        await in_proof.deploy("do")
        await pause_at_work(in_proof, target)
        slow.set()
        await until_status(in_proof, target, "paused")
        assert await in_proof.query(
            "select id from sys_journal where entry_type = 'Notification: Run'"
        )
        if then == "resume":
            await resume_on(in_proof, target)
        else:
            assert await in_proof.operate("cancel", target) == 202
            await until_status(in_proof, target, "completed")

    rule = CHAPTER / "long-step-default-timeouts"
    trace = instead(lab, rule, fix, PLAIN, snippet, promise=Holds(answers=[])).trace
    filed = {"PUT /files": 1} if then == "resume" else {}
    assert trace.effect_counts() == {"POST /letters": 1, **filed}


def test_what_met_the_limits_is_found(lab: Lab) -> None:
    """RDD604: in the don't's run, also when it is over, by the words of the page."""
    [query] = queries("RDD604")
    found: list[dict[str, str]] = []
    told = re.search(r'RT0001, "(.*?)"', " ".join(PAGES["RDD604"].split()))
    assert told

    async def look(in_proof: LabInProof) -> None:
        found.extend(await in_proof.query(query))

    trace = afterwards(lab, CHAPTER / "long-step-default-timeouts", look).trace
    assert [row["event_type"] for row in found] == ["TransientError"]
    assert told[1] in found[0]["event_json"]
    assert trace.invocations[0].status == "completed"


def test_what_met_the_limits_is_found_while_its_journal_is_kept(lab: Lab, tmp_path: Path) -> None:
    """RDD604: while it is under way, and not when it is over, where no journal is kept then."""
    rule, read, [query] = (
        CHAPTER / "long-step-default-timeouts",
        "GET /payments/ann",
        queries("RDD604"),
    )
    snippet = changed(
        tmp_path,
        "operations/long-step-default-timeouts/dont",
        ("seconds=2), timedelta(seconds=0.5)", "seconds=0.2), timedelta(seconds=0.2)"),
        ('Service("Statements")', 'Service("Statements", journal_retention=timedelta(0))'),
    )

    async def look(in_proof: LabInProof) -> None:
        in_proof.outside.answers[read] = []
        slow = in_proof.outside.hold(read, at_most=20.0)
        sending = asyncio.create_task(in_proof.call("Statements/send", "ann"))
        await in_proof.until_effect(read)
        await in_proof.until_row(query)
        in_proof.outside.hold(read, at_most=0.0)
        slow.set()
        await sending
        await in_proof.until_no_row(query)

    instead(lab, rule, look, PLAIN, snippet)


def test_key_of_what_failed_gives_the_failure_as_long_as_it_is_kept(lab: Lab) -> None:
    """RDD603: and another key is paid."""
    rule, target, answers = CHAPTER / "retention-too-short", "Payouts/pay", []

    async def ask_again(in_proof: LabInProof) -> None:
        transfer = in_proof.outside.hold("POST /transfers", at_most=20.0)
        paying = asyncio.create_task(in_proof.call(target, "ann", idempotency_key="payout-1"))
        await in_proof.until_effect("POST /transfers")
        await in_proof.operate("kill", target)
        transfer.set()
        answers.append(await paying)
        for key in ("payout-1", "payout-2"):
            answers.append(await in_proof.call(target, "ann", idempotency_key=key))

    instead(lab, rule, ask_again, PLAIN, rule / "do.py", server={})
    first, again, other = answers
    assert first["message"] == again["message"] == "killed"
    assert other.startswith("transfer-")


def test_retention_of_a_delayed_call_is_what_was_set_when_it_came(lab: Lab) -> None:
    """RDD603: not what is set when it begins."""
    rule, kept = CHAPTER / "retention-too-short", []

    async def send(in_proof: LabInProof) -> None:
        for retention, key in (("5m", "before"), ("7d", "after")):
            await in_proof.admin("PATCH", "/services/Payouts", {"idempotency_retention": retention})
            sent = f"Payouts/pay/send?delay={500 if key == 'before' else 0}ms"
            await in_proof.call(sent, "ann", idempotency_key=key)
        await in_proof.until_effect("POST /transfers", times=2)
        await in_proof.until_all_completed()
        kept.extend(await in_proof.query(queries("RDD603")[0]))

    instead(lab, rule, send, PLAIN, server={})
    kept_for = {row["idempotency_key"]: row["completion_retention"] for row in kept}
    assert kept_for == {"before": "PT300S", "after": "PT604800S"}


@pytest.mark.parametrize(("age", "status"), [(0, 200), (70, 401), (-30, 200), (-70, 401)])
def test_signature_is_refused_when_the_clocks_are_more_than_a_minute_apart(
    lab: Lab, tmp_path: Path, age: int, status: int
) -> None:
    """RDD601: signed with the key of the proof, as its server would."""
    rule = CHAPTER / "endpoint-open-to-all"
    proof = load(rule)
    forged, protocol, env = (
        proof.prove.__globals__[name] for name in ("FORGED", "PROTOCOL", "ENV")
    )
    signed = int(time.time()) - age
    claims = {"aud": "/invoke/Checkout/pay", "nbf": signed - 60, "iat": signed, "exp": signed + 60}
    header = {"typ": "JWT", "alg": "EdDSA", "kid": env["IDENTITY_KEY"]}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (header, claims)]
    said = tmp_path / "said"
    said.write_bytes(b".".join(part.rstrip(b"=") for part in parts))
    sign = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(rule / "key.pem"), "-in"]
    made = subprocess.run([*sign, str(said)], capture_output=True, check=True).stdout
    jwt = said.read_bytes() + b"." + base64.urlsafe_b64encode(made).rstrip(b"=")
    signature = {"x-restate-signature-scheme": "v1", "x-restate-jwt-v1": jwt.decode()}

    async def forge(in_proof: LabInProof) -> None:
        await in_proof.call("Checkout/pay", "order-1")
        async with httpx.AsyncClient(base_url=in_proof.worker_url) as spy:
            served = await spy.post(
                "/invoke/Checkout/pay", content=forged, headers={**protocol, **signature}
            )
        assert served.status_code == status

    instead(lab, rule, forge, PLAIN, rule / "do.py")


def test_server_logs_the_public_half_of_the_key_that_the_page_makes(tmp_path: Path) -> None:
    """RDD601: by the page's command, its setting and its words."""
    told = re.search(r"^```sh\n(.*)\nexport (\w+)=(.*)\n```", PAGES["RDD601"], re.M)
    logs = re.search(r'it logs "(.*?)"', PAGES["RDD601"])
    assert told and logs
    subprocess.run(told[1].split(), cwd=tmp_path, check=True, capture_output=True)
    env = {**SETTINGS, "RESTATE_LOG_FILTER": "info", "TMPDIR": str(tmp_path), told[2]: told[3]}
    with subprocess.Popen(
        [str(find_binary()), "--base-dir", "d"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout
        too_late = threading.Timer(30.0, server.kill)
        too_late.start()
        try:
            assert any(logs[1] in line for line in server.stdout)
            assert "publickeyv1_" in next(server.stdout)
        finally:
            too_late.cancel()
            server.kill()
