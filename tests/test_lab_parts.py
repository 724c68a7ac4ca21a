"""The lab's parts without a server: its outside, its reading, its diagnosis, its names."""

from __future__ import annotations

import asyncio
import json

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import EffectRepeated, EffectUnwanted, Holds, JournalMismatch, Trace
from restate_guide.lab.diagnosis import diagnose
from restate_guide.lab.evidence import dumps, read
from restate_guide.lab.outside import Outside, Received
from restate_guide.lab.reading import as_called, callers_first
from restate_guide.lab.stable import Stable
from restate_guide.lab.trace import Call, Effect, Failure, Invocation
from tests.conftest import apart


def test_an_outside_fails_after_some_requests_and_is_well_again() -> None:
    async def on_received(received: Received) -> None:
        pass

    async def statuses() -> list[int]:
        service = Outside("http://outside", on_received)
        service.fail("POST /digests", times=1, status=410, after=2)
        return [(await service.receive("POST /digests", None, None, {}))[0] for _ in range(4)]

    assert apart(asyncio.run, statuses()) == [201, 201, 410, 201]


@pytest.mark.parametrize("refused", [False, True])
def test_a_held_request_waits_also_if_it_is_to_be_refused(refused: bool) -> None:
    async def received(_: Received) -> None:
        pass

    async def scenario() -> tuple[bool, int]:
        outside = Outside("", received)
        release = outside.hold("POST /flights", at_most=20.0)
        if refused:
            outside.fail("POST /flights", times=1, status=409)
        receiving = asyncio.ensure_future(outside.receive("POST /flights", None, None, {}))
        while not outside.ledger:
            await asyncio.sleep(0)
        waited = not receiving.done()
        release.set()
        return waited, (await receiving)[0]

    assert apart(asyncio.run, scenario()) == (True, 409 if refused else 201)


def test_calls_of_one_millisecond_stand_in_the_order_of_their_callers_journal() -> None:
    rows = [{"id": "a"}, *({"id": id, "invoked_by_id": "a"} for id in ("b", "c"))]
    named = [
        {
            "id": "a",
            "index": index,
            "entry_type": "Notification: CallInvocationId",
            "entry_json": json.dumps({"CallInvocationId": {"invocation_id": id}}),
        }
        for index, id in ((2, "c"), (4, "b"))
    ]
    assert [row["id"] for row in callers_first(rows, named)] == ["a", "c", "b"]


def test_calls_stand_in_their_order_though_the_server_gave_both_the_same_time() -> None:
    rows = [{"id": id} for id in ("second", "message", "first")]
    called = ["first", "second", "first", "of another service"]
    assert [row["id"] for row in as_called(rows, called)] == ["first", "message", "second"]


# The diagnosis, of traces by hand

CALLED = Call("S/h", "x", 200, "ok")


def trace(**parts: object) -> Trace:
    fields = {"calls": (CALLED,), "invocations": (), "effects": (), **parts}
    return Trace(**fields)  # type: ignore[arg-type]


def effect(name: str, duplicate: bool = False) -> Effect:
    return Effect(name, None, None, duplicate, None, None, None, None)


def failed(code: str, message: str, command: int | None = None) -> Invocation:
    failure = Failure("TransientError", 570, code, message, command)
    return Invocation("inv-1", "S/h", "paused", "ingress", (), (), (failure,))


PROMISE = Holds(answers=["ok"], effects={"POST /charges": 1})


def test_promise_holds() -> None:
    kept = trace(effects=(effect("POST /charges"), effect("POST /charges", duplicate=True)))
    assert diagnose(kept, PROMISE) is PROMISE


def test_more_effects_than_promised() -> None:
    twice = trace(effects=(effect("POST /charges"), effect("POST /charges")))
    assert diagnose(twice, PROMISE) == EffectRepeated("POST /charges", 2)
    stray = trace(effects=(effect("POST /charges"), effect("POST /emails")))
    assert diagnose(stray, PROMISE) == EffectUnwanted("POST /emails")


@pytest.mark.parametrize(
    ("message", "was", "now"),
    [
        (
            "…\n- Difference:\n   name: reserve tea != reserve cup",
            "name reserve tea",
            "name reserve cup",
        ),
        (
            "…\n - The previous execution ran and recorded the following: 'sleep' (index '2')\n"
            " - The current execution attempts to perform the following: 'run'",
            "sleep",
            "run",
        ),
    ],
)
def test_mismatch_has_both_sides(message: str, was: str, now: str) -> None:
    mismatch = trace(invocations=(failed("RT0016", message, 2),))
    assert diagnose(mismatch, PROMISE) == JournalMismatch(2, was, now)


def test_names_are_stable_and_told_apart() -> None:
    stable = Stable({"token": r"tok_\w+"})
    first, second = "8c1f6a2e-0b6e-4a53-9d0e-1f0c3a5b7d90", "8c1f6a2e-0b6e-4a53-9d0e-1f0c3a5b7d91"
    assert stable.json(
        {"a": first, "b": [second, f"key {first}"], "t": "tok_x", "at": 1795317916.4}
    ) == {
        "a": "uuid-1",
        "b": ["uuid-2", "key uuid-1"],
        "t": "token-1",
        "at": "time-1",
    }
    assert stable.json([True, 42, 0.5, None]) == [True, 42, 0.5, None]


def test_evidence_survives_being_read_and_written() -> None:
    path = ROOT / "snippets/determinism/run-action-not-idempotent/evidence.json"
    assert dumps(read(path)) == path.read_text()
