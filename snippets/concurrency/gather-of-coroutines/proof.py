"""Bob's booking is found before Ann's, and the worker dies right before it answers."""

import asyncio
from typing import Any

from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    Aside,
    Holds,
    JournalMismatch,
    Lab,
    WrongValue,
)

RULE = "RDD402"
STIMULUS = LATE_REPLAY
FIND_ANN, FIND_BOB = "GET /bookings/ann", "GET /bookings/bob"
SEAT_ANN, SEAT_BOB = "POST /seats/ann", "POST /seats/bob"
RIGHT = {"ann": "2A", "bob": "31F"}
SEATED = Holds(answers=[RIGHT], effects={SEAT_ANN: 1, SEAT_BOB: 1})
EXPECTED = {
    "do": SEATED,
    "dont": WrongValue(right=RIGHT, got={"ann": "31F", "bob": "2A"}),
}


def journaled(steps: int) -> str:
    """A query that finds something once so many steps have their result in the journal."""
    return (
        "select count(*) as steps from sys_journal "
        f"where entry_type = 'Notification: Run' having count(*) >= {steps}"
    )


async def begin(lab: Lab) -> tuple[asyncio.Task[Any], asyncio.Event]:
    """Both bookings are asked for, and only Bob's is answered; the call, and Ann's answer."""
    lab.outside.answers[FIND_ANN] = {"booking": "ann-1"}
    lab.outside.answers[FIND_BOB] = {"booking": "bob-1"}
    lab.outside.answers[SEAT_ANN] = {"seat": "2A"}
    lab.outside.answers[SEAT_BOB] = {"seat": "31F"}
    lab.outside.in_order(FIND_ANN, FIND_BOB)
    ann = lab.outside.hold(FIND_ANN, at_most=20.0)
    bob = lab.outside.hold(FIND_BOB, at_most=20.0)
    call = asyncio.create_task(lab.call("Desk/check_in_all", ["ann", "bob"]))
    await lab.until_effect(FIND_BOB)
    bob.set()
    return call, ann


async def prove(lab: Lab) -> None:
    call, ann = await begin(lab)
    await lab.until_any(
        lab.until_result("Run give seat"), lab.until_result("Run seat bob")
    )
    ann.set()  # once Bob has his seat
    await call


async def in_rounds(lab: Lab) -> None:
    """Nobody gets a seat before both bookings are found."""
    call, ann = await begin(lab)
    lab.outside.in_order(SEAT_ANN, SEAT_BOB)
    seat_ann = lab.outside.hold(SEAT_ANN, at_most=20.0)
    seat_bob = lab.outside.hold(SEAT_BOB, at_most=20.0)
    await lab.until_row(journaled(1))
    ann.set()
    await lab.until_effect(SEAT_BOB)
    seat_ann.set()
    await lab.until_row(journaled(3))
    seat_bob.set()
    await call


ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: each coroutine has its own results.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=SEATED,
    ),
    "named": Aside(
        "With names that tell the passengers apart, Restate notices: RT0016.",
        snippet="named",
        stimulus=LATE_REPLAY,
        outcome=JournalMismatch(command=3, was="name seat bob", now="name seat ann"),
    ),
    "rounds": Aside(
        "One step at a time for all of them: the order of the commands is fixed.",
        snippet="rounds",
        stimulus=LATE_REPLAY,
        outcome=SEATED,
        prove=in_rounds,
    ),
}
