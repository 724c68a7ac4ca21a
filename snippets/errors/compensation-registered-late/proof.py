"""The worker dies right after it took the seat, before the journal has the step."""

from restate_guide.lab import (
    PLAIN,
    Aside,
    Holds,
    Lab,
    NotCompensated,
    crash_before_journal,
)

RULE = "RDD505"
STIMULUS = crash_before_journal("reserve")
UNDONE = Holds(
    answers=[{"code": 500, "message": "no ticket was sold", "source": "invocation"}],
    rows={"seats": 0},
)
EXPECTED = {"do": UNDONE, "dont": NotCompensated("seats", rows=1)}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: the card is declined, and the seat is released.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=UNDONE,
    ),
    "own": Aside(
        "Registered late, the release still comes if a second try knows its own seat.",
        snippet="own",
        stimulus=STIMULUS,
        outcome=UNDONE,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Tickets/buy", "ann")
