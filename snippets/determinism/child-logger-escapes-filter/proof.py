"""The attempt ends at the step, and the next one replays."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    Lab,
    LineRepeated,
)

RULE = "RDD110"
STIMULUS = REPLAY_EVERY_AWAIT
LOGGED = Holds(
    answers=["charge-1"],
    effects={"POST /charges": 1},
    lines={"ordered: tea, cup": 1, "adding up tea, cup": 1},
)
EXPECTED = {"do": LOGGED, "dont": LineRepeated("adding up tea, cup", times=2)}
ASIDES = {
    "root": Aside(
        "On the root logger, the filter holds back neither of the two lines.",
        snippet="root",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=LineRepeated("ordered: tea, cup", times=2),
    ),
    "plain": Aside(
        "A plain call shows nothing: one attempt logs each line once.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=LOGGED,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Checkout/pay", ["tea", "cup"])
