"""Ann holds a seat, and Bob asks for it at once, and again when the hold is over."""

import asyncio
import time

from restate_guide.lab import PLAIN, Aside, Holds, KeyBlocked, Lab

RULE = "RDD204"
STIMULUS = PLAIN
ANSWERED = Holds(answers=["held for ann", "held for ann", "booked for bob"])
EXPECTED = {"do": ANSWERED, "dont": KeyBlocked(seconds=0.5)}
ASIDES = {
    "shared": Aside(
        "A shared handler doesn't queue: Bob is told at once who has the seat, "
        "while Ann's invocation sleeps.",
        snippet="shared",
        stimulus=PLAIN,
        outcome=ANSWERED,
    ),
}
HELD = "select key from state where service_name = 'Seats' and key = 'holder'"
SLEPT = "select id from sys_journal where entry_type = 'Notification: Sleep'"


async def prove(lab: Lab) -> None:
    holding = asyncio.create_task(lab.call("Seats/7a/hold", "ann"))
    await lab.until_row(HELD)
    asked = time.monotonic()
    await lab.call("Seats/7a/book", "bob")
    if await lab.query(SLEPT) and time.monotonic() - asked > 0.5:
        # Bob was answered after Ann's sleep; asked so soon, he saw most of its second.
        lab.measure_wait("key", 0.5)
    await holding
    await lab.until_all_completed()
    await lab.call("Seats/7a/book", "bob")
