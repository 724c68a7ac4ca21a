"""Each attempt ends where the journal has no answer yet, and the next one replays."""

from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    Lab,
    LineRepeated,
)

RULE = "RDD109"
STIMULUS = REPLAY_EVERY_AWAIT
LOGGED = Holds(
    answers=["charge-1"],
    effects={"POST /charges": 1, "POST /emails": 1},
    lines={"charging order-1": 1, "charged charge-1": 1},
)
EXPECTED = {"do": LOGGED, "dont": LineRepeated("charging order-1", times=3)}
ASIDES = {
    "print": Aside(
        "What is printed is repeated just the same, and no filter sees it.",
        snippet="print",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=LineRepeated("charging order-1", times=3),
    ),
    "plain": Aside(
        "A plain call shows nothing: one attempt logs each line once.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=LOGGED,
    ),
    "last": Aside(
        "A line after the last journal entry is repeated if the worker dies just then.",
        snippet="last",
        stimulus=LATE_REPLAY,
        outcome=LineRepeated("charged charge-1", times=2),
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Checkout/pay", "order-1")
