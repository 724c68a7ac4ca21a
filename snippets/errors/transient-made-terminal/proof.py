"""The bank answers 503 once, and is well again."""

import time

from restate_guide.lab import (
    PLAIN,
    AnsweredLate,
    Aside,
    CallFailed,
    Holds,
    Lab,
)

RULE = "RDD502"
STIMULUS = PLAIN
RATE = "GET /rates/usd"
EXPECTED = {
    "do": Holds(answers=[50.0]),
    "dont": CallFailed(503, "the bank answers 503"),
}


async def prove(lab: Lab) -> None:
    await quote(lab, status=503)


async def unknown(lab: Lab) -> None:
    await quote(lab, status=404)


async def timed(lab: Lab) -> None:
    asked = time.monotonic()
    await prove(lab)
    if time.monotonic() - asked >= 0.5:
        lab.measure("answered after at least", 0.5)


async def quote(lab: Lab, status: int) -> None:
    lab.outside.answers[RATE] = 1.25
    lab.outside.fail(RATE, times=1, status=status)
    await lab.call("Quotes/price", "usd")


ASIDES = {
    "unknown": Aside(
        "A currency that the bank doesn't know is given up at once.",
        snippet="do",
        stimulus=PLAIN,
        outcome=Holds(
            answers=[
                {"code": 404, "message": "the bank answers 404", "source": "invocation"}
            ]
        ),
        prove=unknown,
    ),
    "later": Aside(
        "With `retry_after` the next attempt comes that much later, whatever the pauses "
        "of the retry policy are.",
        snippet="later",
        stimulus=PLAIN,
        outcome=AnsweredLate(0.5),
        prove=timed,
    ),
}
