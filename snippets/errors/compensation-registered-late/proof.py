"""The worker dies right after it took the seat, before the journal has the step's result."""

import asyncio

from restate_guide.lab import (
    PLAIN,
    Aside,
    EffectMissing,
    Holds,
    Lab,
    NotCompensated,
    crash_before_journal,
)

RULE = "RDD505"
STIMULUS = crash_before_journal("reserve")
CANCELLED = "select id from sys_journal where entry_type = 'Notification: Signal'"
UNSOLD = {"code": 500, "message": "no ticket was sold", "source": "invocation"}
UNDONE = Holds(answers=[UNSOLD], rows={"seats": 0})
EXPECTED = {"do": UNDONE, "dont": NotCompensated("seats", rows=1)}


async def prove(lab: Lab) -> None:
    await lab.call("Tickets/buy", "ann")


async def twice(lab: Lab) -> None:
    await lab.call("Tickets/buy", "ann")
    await lab.call("Tickets/buy", "ann")


async def cancelled_at_work(lab: Lab) -> None:
    hall = lab.outside.hold("GET /halls/1", at_most=20.0)
    buying = asyncio.create_task(lab.call("Tickets/buy", "ann"))
    await lab.until_effect("GET /halls/1")
    await lab.operate("cancel", "Tickets/buy")
    await lab.until_row(CANCELLED)
    await lab.until_still(0.5)  # until the handler has it, too
    hall.set()
    await buying


ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: the card is declined, and the seat is released.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=UNDONE,
    ),
    "buyer": Aside(
        "With `DELETE FROM seats WHERE buyer = ?` it would do harm: Ann buys twice, the "
        "second purchase fails, and frees the seat of the first.",
        snippet="buyer",
        stimulus=PLAIN,
        outcome=EffectMissing("a row in seats"),
        prove=twice,
        right=Holds(answers=["", UNSOLD], rows={"seats": 1}),
    ),
    "own": Aside(
        "Registered late, the release still comes if a second try knows its own seat.",
        snippet="own",
        stimulus=STIMULUS,
        outcome=UNDONE,
    ),
    "cancelled": Aside(
        "Cancelled while the seat was being taken, this handler waits for the step, "
        "and then releases the seat.",
        snippet="cancelled",
        stimulus=PLAIN,
        outcome=UNDONE,
        prove=cancelled_at_work,
    ),
}
