"""A plain call: is it answered?"""

import asyncio

from restate_guide.lab import PLAIN, Aside, CallFailed, Holds, Lab

RULE = "RDD804"
STIMULUS = PLAIN
REFUSED = CallFailed(500, "All futures must SDK created futures.")
JOURNALED = "select id from sys_journal where entry_type = 'Notification: Run'"
EXPECTED = {"do": Holds(answers=[800]), "dont": REFUSED}


async def prove(lab: Lab) -> None:
    lab.outside.answers |= {"GET /prices/north": 900, "GET /prices/south": 800}
    # Both requests arrive, from the north first, and so are they answered.
    lab.outside.in_order("GET /prices/north", "GET /prices/south")
    north = lab.outside.hold("GET /prices/north", at_most=10.0)
    south = lab.outside.hold("GET /prices/south", at_most=10.0)
    asking = asyncio.create_task(lab.call("Orders/best_price"))
    await lab.until_any(asyncio.wait({asking}), lab.until_effect("GET /prices/south"))
    north.set()
    await lab.until_any(asyncio.wait({asking}), lab.until_row(JOURNALED))
    south.set()
    await asking


async def prove_limit(lab: Lab) -> None:
    lab.outside.answers["GET /prices/south"] = 800
    await lab.call("Orders/best_price")


async def prove_promise(lab: Lab) -> None:
    await lab.call("Invoice/i-1/run")


async def prove_value(lab: Lab) -> None:
    await lab.call("Invoice/i-1/approve", "ann")
    await lab.call("Invoice/i-1/run")


ASIDES = {
    "limit": Aside(
        "`restate.select` refuses a sleep of asyncio's in the same way.",
        snippet="limit",
        stimulus=PLAIN,
        outcome=REFUSED,
        prove=prove_limit,
    ),
    "promise": Aside(
        "It refuses a durable promise, too: that is no future.",
        snippet="promise",
        stimulus=PLAIN,
        outcome=REFUSED,
        prove=prove_promise,
    ),
    "value": Aside(
        "What it takes is the promise's `value()`.",
        snippet="value",
        stimulus=PLAIN,
        outcome=Holds(answers=["", "approved by ann"]),
        prove=prove_value,
    ),
}
