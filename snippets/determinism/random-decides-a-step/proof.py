"""The attempt ends at the call to the order, and the next one replays."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    JournalMismatch,
    Lab,
)

RULE = "RDD104"
STIMULUS = REPLAY_EVERY_AWAIT
BOUGHT = Holds(answers=["reservation-1"], effects={"POST /reservations": 1})
EXPECTED = {
    "do": BOUGHT,
    "dont": JournalMismatch(command=1, was="key uuid-1", now="key uuid-2"),
}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: there is one attempt, and one number.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=BOUGHT,
    ),
    "step": Aside(
        "Within a step any generator will do: the journal holds what it gave.",
        snippet="step",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=BOUGHT,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Shop/buy", "tea")
