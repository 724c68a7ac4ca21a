"""The same customer pays two orders at a time; the first read is slow."""

import asyncio

from restate_guide.lab import PLAIN, Holds, Lab, WrongValue

RULE = "RDD701"
STIMULUS = PLAIN
READ, WRITE = "GET /points/ann", "PUT /points/ann"
QUEUED = "select id from sys_invocation where status = 'pending'"
EXPECTED = {
    "do": Holds(answers=[110, 120], effects={WRITE: 2}),
    "dont": WrongValue(right=120, got=110),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers[READ] = 100
    release = lab.outside.hold(READ, at_most=20.0)
    first = asyncio.create_task(lab.call("Orders/pay", "ann"))
    await lab.until_effect(READ)
    second = asyncio.create_task(lab.call("Orders/pay", "ann"))
    await lab.until_any(lab.until_effect(READ, times=2), lab.until_row(QUEUED))
    release.set()
    await asyncio.gather(first, second)
    received = [request.effect for request in lab.outside.ledger]
    lab.measure("reads before the first write", received.index(WRITE))
