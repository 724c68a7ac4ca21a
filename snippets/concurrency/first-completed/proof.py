"""The railway answers first, the road a little later, and the worker dies before it answers."""

import asyncio

from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    JournalMismatch,
    Lab,
    WrongValue,
)

RULE = "RDD403"
STIMULUS = LATE_REPLAY
ROAD, RAIL, SHIPMENT = "GET /offers/road", "GET /offers/rail", "POST /shipments"
RIGHT, WRONG = "shipment-1 goes by rail", "shipment-1 goes by road"
SENT = Holds(answers=[RIGHT], effects={SHIPMENT: 1})
EXPECTED = {"do": SENT, "dont": WrongValue(right=RIGHT, got=WRONG)}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: the railway was first, and has the parcel.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=SENT,
    ),
    "suspended": Aside(
        "No crash is needed: an attempt that suspends and resumes takes the road, too.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=EXPECTED["dont"],
    ),
    "named": Aside(
        "Where the winner decides which step comes next, the same replay ends in RT0016.",
        snippet="named",
        stimulus=LATE_REPLAY,
        outcome=JournalMismatch(
            command=3, was="name ship by rail", now="name ship by road"
        ),
    ),
}
BOTH_ANSWERED = (
    "select id from sys_journal where entry_type = 'Notification: Run' "
    "group by id having count(*) >= 2"
)


async def prove(lab: Lab) -> None:
    lab.outside.answers[ROAD] = {"carrier": "road"}
    lab.outside.answers[RAIL] = {"carrier": "rail"}
    lab.outside.in_order(ROAD, RAIL)
    road = lab.outside.hold(ROAD, at_most=20.0)
    shipped = lab.outside.hold(SHIPMENT, at_most=20.0)
    sending = asyncio.create_task(lab.call("Parcels/send"))
    # The road answers while the parcel is on its way to the railway. A server that can't stream
    # is told of neither answer before both are there.
    await lab.until_any(lab.until_effect(SHIPMENT), lab.until_still(2.0))
    road.set()
    await lab.until_effect(SHIPMENT)
    await lab.until_row(BOTH_ANSWERED)
    shipped.set()
    await sending
