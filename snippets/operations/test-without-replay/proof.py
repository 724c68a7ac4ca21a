"""The worker is killed right before the answer, and a new process replays."""

from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    CallFailed,
    Holds,
    JournalMismatch,
    Lab,
)

RULE = "RDD607"
STIMULUS = LATE_REPLAY
OPENED = Holds(answers=["open"], effects={"POST /emails": 1})
EXPECTED = {
    "do": OPENED,
    "dont": JournalMismatch(
        command=1, was="value '\"uuid-1\"'", now="value '\"uuid-2\"'"
    ),
}
FORGOTTEN = JournalMismatch(command=1, was="run", now="handler return")
MISMATCH = (
    "Found a mismatch between the code paths taken during the previous execution "
    "and the paths taken during this execution.\n"
    "This typically happens when some parts of the code are non-deterministic.\n"
    " - The previous execution ran and recorded the following: 'run' (index '1')\n"
    " - The current execution attempts to perform the following: 'handler return'"
)
ASIDES = {
    "plain": Aside(
        "A plain test passes the don't: one attempt, and nothing is replayed.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=OPENED,
    ),
    "await": Aside(
        "A test that replays at every await passes it, too: the process stays the same, "
        "and so does its number.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=OPENED,
    ),
    "cached": Aside(
        "That test finds another mistake: a process that remembers what it has done.",
        snippet="cached",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=FORGOTTEN,
    ),
    "fresh": Aside(
        "A late replay passes this one: a new process remembers nothing.",
        snippet="cached",
        stimulus=LATE_REPLAY,
        outcome=OPENED,
    ),
    "once": Aside(
        "With one attempt, and a kill after it, the test is told at once: status 570.",
        snippet="once",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=CallFailed(570, MISMATCH),
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Tickets/t-1/open")
