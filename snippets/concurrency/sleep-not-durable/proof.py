"""A plain call; the wait is longer than the time after which the server ends a silent attempt."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    Lab,
    RetriedUntilPaused,
)

RULE = "RDD405"
STIMULUS = PLAIN
ABORTED = "the invocation stream was closed after the 'abort timeout' (500ms) fired."
EXPECTED = {
    "do": Holds(answers=["ann is charged"], rows={"charges": 1}),
    "dont": RetriedUntilPaused(ABORTED, attempts=3),
}
ASIDES = {
    "anew": Aside(
        "Two attempts came past the pause, and each waited for all of it.",
        snippet="anew",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=Holds(
            answers=["two mails"],
            effects={"POST /emails": 2},
            lines={"paused for 0.3 s": 2},
        ),
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Trials/start", "ann")
