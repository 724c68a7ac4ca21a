"""The worker dies when the reminder is due, and the next one finds that it is."""

import time

from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    JournalMismatch,
    Lab,
    RetriedUntilPaused,
)

RULE = "RDD406"
VARIES = {"rest": r"-?\d+(?:\.\d+)? s"}
STIMULUS = LATE_REPLAY
NEGATIVE = 'OverflowError("can\'t convert negative int to unsigned")'
REMINDED = Holds(answers=["email-1"], effects={"POST /emails": 1})
MISMATCH = JournalMismatch(command=1, was="sleep", now="run")
EXPECTED = {"do": REMINDED, "dont": MISMATCH}


async def past(lab: Lab) -> None:
    await lab.call("Reminders/remind", time.time() - 60)


ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: one attempt reads the clock once.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=REMINDED,
    ),
    "suspended": Aside(
        "Suspended in its sleep, the don't fails when it wakes up.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=MISMATCH,
    ),
    "clamped": Aside(
        "With `max(0, left)`, the worker's clock does no harm: the sleep in the journal counts.",
        snippet="clamped",
        stimulus=LATE_REPLAY,
        outcome=REMINDED,
    ),
    "negative": Aside(
        "A sleep of less than nothing fails, though the journal has it: the deadline has passed.",
        snippet="negative",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=RetriedUntilPaused(NEGATIVE, attempts=4),
    ),
    "past": Aside(
        "A time in the past is no trouble for the do: it mails at once.",
        snippet="do",
        stimulus=PLAIN,
        outcome=REMINDED,
        prove=past,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Reminders/remind", time.time() + 1.5)
