"""The guest never confirms."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, WaitsForever, WrongValue

RULE = "RDD314"
STIMULUS = PLAIN
ROOM = "PUT /rooms/12"
EXPECTED = {
    "do": Holds(answers=["room 12 was not confirmed"], effects={ROOM: 2}),
    "dont": WaitsForever(status="running"),
}


async def prove(lab: Lab) -> None:
    await lab.call("Booking/b-1/run", "12", patience=4.0)


async def too_late(lab: Lab) -> None:
    """The guest confirms when the room is free again."""
    await lab.call("Booking/b-1/run", "12", patience=4.0)
    await lab.call("Booking/b-1/confirm", "ann")


CLOSED = {"code": 409, "message": "promise was already completed", "source": "invocation"}
TOLD = Holds(answers=["room 12 was not confirmed", CLOSED], effects={ROOM: 2})
ASIDES = {
    "late": Aside(
        "A guest who confirms when the room is free again is thanked all the same: "
        "the promise is still open, and nobody reads it.",
        snippet="do",
        stimulus=PLAIN,
        outcome=WrongValue(right=CLOSED, got="thank you"),
        prove=too_late,
        right=TOLD,
    ),
    "closed": Aside(
        "A workflow that rejects its own promise after the limit leaves nothing to "
        "confirm: the guest's call fails with 409.",
        snippet="closed",
        stimulus=PLAIN,
        outcome=TOLD,
        prove=too_late,
    ),
}
