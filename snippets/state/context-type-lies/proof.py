"""While a slow courier service is being asked, the customer asks for the parcel's status."""

import asyncio

from restate_guide.lab import PLAIN, Holds, KeyBlocked, Lab

RULE = "RDD203"
STIMULUS = PLAIN
PICKUP = "POST /pickups"
WAITING = "select key from state where value_utf8 like '%waiting%'"
QUEUED = "select id from sys_invocation where status = 'pending'"
EXPECTED = {
    "do": Holds(answers=["pickup-1", "waiting for a courier"], effects={PICKUP: 1}),
    "dont": KeyBlocked(seconds=0.5),
}


async def prove(lab: Lab) -> None:
    answer = lab.outside.hold(PICKUP, at_most=20.0)
    dispatching = asyncio.create_task(lab.call("Parcels/p-7/dispatch"))
    await lab.until_effect(PICKUP)
    await lab.until_row(WAITING)
    asking = asyncio.create_task(lab.call("Parcels/p-7/status"))
    await lab.until_any(asyncio.wait({asking}), lab.until_row(QUEUED))
    await asyncio.wait({asking}, timeout=0.5)
    if await lab.query(QUEUED) and not asking.done():
        # In the queue, and unanswered for as long: the courier's answer is still held.
        lab.measure_wait("key", 0.5)
    else:
        await asking
    answer.set()
    await asyncio.gather(dispatching, asking)
