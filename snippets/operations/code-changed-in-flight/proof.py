"""While an order of version 1 sleeps, version 2 takes over at the same address."""

import asyncio

from restate_guide.lab import (
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    JournalMismatch,
    Lab,
    deployed_over,
)

RULE = "RDD605"
STIMULUS = deployed_over("before")
SUSPENDED = "select id from sys_invocation where status = 'suspended'"
RESERVED, MAILED, SHIPPED = "POST /reservations", "POST /emails", "POST /parcels"
EXPECTED = {
    "do": Holds(answers=["parcel-1"], effects={RESERVED: 1, MAILED: 1, SHIPPED: 1}),
    "dont": JournalMismatch(command=2, was="sleep", now="run"),
}


async def prove(lab: Lab) -> None:
    await lab.call("Orders/place", "order-1")


async def beside(lab: Lab) -> None:
    """The don't gets an address of its own, and another order comes."""
    shipping = lab.outside.hold(SHIPPED, at_most=20.0)
    first = asyncio.create_task(lab.call("Orders/place", "order-1"))
    await lab.until_row(SUSPENDED)
    await lab.deploy("dont")
    shipping.set()
    await first
    await lab.call("Orders/place", "order-2")


ASIDES = {
    "beside": Aside(
        "At an address of its own the don't is safe: order-1 ends on version 1, "
        "order-2 gets version 2.",
        snippet="before",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=Holds(
            answers=["parcel-1", "parcel-2"],
            effects={RESERVED: 2, MAILED: 1, SHIPPED: 2},
        ),
        prove=beside,
    ),
    "renamed": Aside(
        "A better name for a step, deployed in place, is enough.",
        snippet="renamed",
        stimulus=STIMULUS,
        outcome=JournalMismatch(
            command=1, was="name reserve", now="name reserve stock"
        ),
    ),
    "body": Aside(
        "What a step does may change in place, and how long a sleep lasts.",
        snippet="body",
        stimulus=STIMULUS,
        outcome=Holds(answers=["parcel-1"], effects={RESERVED: 1, SHIPPED: 1}),
    ),
}
