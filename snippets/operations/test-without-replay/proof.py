"""Attempts end at every await, as in the test that the page asks for."""

from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    JournalMismatch,
    Lab,
)

RULE = "RDD607"
STIMULUS = REPLAY_EVERY_AWAIT
ENTRANTS = ["ann", "bob", "cem", "dora", "eve", "finn", "gul", "hana"]
ONE = Holds(answers=["drawn"], effects={"POST /mails": 1})
ALL = Holds(answers=["drawn"], effects={"POST /mails": len(ENTRANTS)})
EXPECTED = {
    "do": ONE,
    "dont": JournalMismatch(command=1, was="key cem", now="key bob"),
}
ASIDES = {
    "plain": Aside(
        "A plain test passes the don't: one winner, one mail, the right answer.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=ONE,
    ),
    "order-replay": Aside(
        "The order of a set passes a test with replay at every await: it is the same "
        "process, and the same order.",
        snippet="order",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=ALL,
    ),
    "order-late": Aside(
        "A late replay, by another process, finds it.",
        snippet="order",
        stimulus=LATE_REPLAY,
        outcome=JournalMismatch(command=1, was="key finn", now="key hana"),
    ),
    "cache-late": Aside(
        "A variable of the module passes a late replay: the other process begins with "
        "an empty one, too.",
        snippet="cache",
        stimulus=LATE_REPLAY,
        outcome=ONE,
    ),
    "cache-replay": Aside(
        "Replay at every await, in the same process, finds it.",
        snippet="cache",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=JournalMismatch(command=1, was="run", now="call"),
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Raffle/draw", ENTRANTS)
