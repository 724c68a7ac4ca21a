"""The worker dies after the room is booked, and before the number is mailed."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    Lab,
    WrongValue,
    crash_after_step,
)

RULE = "RDD105"
STIMULUS = crash_after_step("book")
BOOKED = Holds(
    answers=[{"booked": "uuid-1", "mailed": "uuid-1"}],
    effects={"POST /bookings": 1, "POST /emails": 1},
)
DRIFTED = WrongValue(
    right={"booked": "uuid-1", "mailed": "uuid-1"},
    got={"booked": "uuid-1", "mailed": "uuid-2"},
)
EXPECTED = {"do": BOOKED, "dont": DRIFTED}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: there is one attempt, and one number.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=BOOKED,
    ),
    "suspended": Aside(
        "No crash is needed: an attempt that suspends and resumes draws anew, too.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=DRIFTED,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Rooms/reserve", "ann@example.com")
