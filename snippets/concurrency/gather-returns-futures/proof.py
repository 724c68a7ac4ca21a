"""A plain call: what does restate.gather return?"""

import asyncio

from restate_guide.lab import (
    PLAIN,
    Aside,
    EffectUnwanted,
    Holds,
    Lab,
    RetriedUntilPaused,
    WrongValue,
)

RULE = "RDD407"
STIMULUS = PLAIN
FLIGHT, ROOM = "POST /flights", "POST /rooms"
RIGHT = {"customer": "ann", "booked": ["flight-1", "room-1"]}
BOOKED = Holds(answers=[RIGHT], effects={FLIGHT: 1, ROOM: 1})
FAILED = {"code": 409, "message": "no flight left", "source": "invocation"}
FUTURE = "<restate.server_context.ServerDurableFuture object at address-%s>"
NOT_JSON = (
    "TypeError('Object of type ServerDurableFuture is not JSON serializable')"
)
FLIGHT_IS_OVER = "select id from sys_journal where entry_type = 'Notification: Run'"
VARIES = {"address": r"0x[0-9a-f]{6,}"}
EXPECTED = {
    "do": BOOKED,
    "dont": RetriedUntilPaused(NOT_JSON, attempts=3),
}


async def sold_out(lab: Lab) -> None:
    lab.outside.fail(FLIGHT, times=1, status=409)
    await prove(lab)


ASIDES = {
    "text": Aside(
        "In an f-string a future is text like any other: nothing fails.",
        snippet="text",
        stimulus=PLAIN,
        outcome=WrongValue(
            right=RIGHT,
            got={"customer": "ann", "booked": [FUTURE % 1, FUTURE % 2]},
        ),
    ),
    "unseen": Aside(
        "The flight is sold out, and `restate.gather` raises nothing: Ann is charged.",
        snippet="unseen",
        stimulus=PLAIN,
        outcome=EffectUnwanted("POST /charges"),
        prove=sold_out,
    ),
    "failed": Aside(
        "Awaited, the future of the flight raises.",
        snippet="do",
        stimulus=PLAIN,
        outcome=Holds(answers=[FAILED], effects={ROOM: 1}),
        prove=sold_out,
    ),
}


async def prove(lab: Lab) -> None:
    lab.outside.in_order(FLIGHT, ROOM)
    flight = lab.outside.hold(FLIGHT, at_most=20.0)
    room = lab.outside.hold(ROOM, at_most=20.0)
    planning = asyncio.create_task(lab.call("Trips/plan", "ann"))
    await lab.until_effect(ROOM)
    flight.set()
    await lab.until_row(FLIGHT_IS_OVER)
    room.set()
    await planning
