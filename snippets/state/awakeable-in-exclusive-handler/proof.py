"""Ann's purchase waits for the manager; Bob buys for 20 euros in the meantime."""

import asyncio

from restate_guide.lab import PLAIN, Holds, KeyBlocked, Lab

RULE = "RDD205"
STIMULUS = PLAIN
ASKED = "POST /approvals"
QUEUED = "select id from sys_invocation where status = 'pending'"
EXPECTED = {
    "do": Holds(answers=[920, 20], effects={ASKED: 1}),
    "dont": KeyBlocked(seconds=0.5),
}


async def prove(lab: Lab) -> None:
    ann = asyncio.create_task(lab.call("Purchases/buy", 900))
    await lab.until_effect(ASKED)
    bob = asyncio.create_task(lab.call("Purchases/buy", 20))
    await lab.until_any(asyncio.wait({bob}), lab.until_row(QUEUED))
    await asyncio.wait({bob}, timeout=0.5)
    if await lab.query(QUEUED) and not bob.done():
        # In the queue, and unanswered for as long: the manager hasn't decided yet.
        lab.measure_wait("key", 0.5)
    else:
        await bob
    await lab.resolve_awakeable(lab.outside.ledger[0].body["reply_to"], "yes")
    await asyncio.gather(ann, bob)
