"""The lab's own parts that the rules on concurrency brought: order of calls, refusals that wait."""

from __future__ import annotations

import asyncio
import json

import pytest

from restate_guide.lab.outside import Outside, Received
from restate_guide.lab.reading import callers_first
from tests.conftest import apart


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
