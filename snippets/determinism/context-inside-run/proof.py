"""Each attempt ends where the journal has no answer yet, and the next one replays, as on AWS Lambda."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    JournalMismatch,
    Lab,
    WaitsForever,
)

RULE = "RDD103"
STIMULUS = REPLAY_EVERY_AWAIT
ADDED = Holds(answers=["reservation-1"], effects={"POST /reservations": 1})
EXPECTED = {
    "do": ADDED,
    "dont": JournalMismatch(command=2, was="set state", now="run"),
}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: the step and the state come out as meant.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=ADDED,
    ),
    "nested": Aside(
        "A step within a step hangs where the server can't stream, as on AWS Lambda.",
        snippet="nested",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=WaitsForever("running"),
    ),
    "sleep": Aside(
        "A durable sleep within a step hangs in a plain call already.",
        snippet="sleep",
        stimulus=PLAIN,
        outcome=WaitsForever("running"),
    ),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers["GET /prices/tea"] = {"cents": 420}
    await lab.call("Cart/cart-1/add", "tea", patience=4)
