"""The bank with the rates takes requests, and answers none."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, RetriedUntilPaused

RULE = "RDD511"
STIMULUS = PLAIN
RATE = "GET /rates/eur"
FALLBACK = Holds(answers=[180.0])
EXPECTED = {
    "do": FALLBACK,
    "dont": RetriedUntilPaused("ReadTimeout('timed out')", attempts=3),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers[RATE] = 92
    silent = lab.outside.hold(RATE, at_most=5.0)
    await lab.call("Quotes/price", 200)
    silent.set()


async def refused(lab: Lab) -> None:
    """The bank refuses six requests, then it is well."""
    lab.outside.answers[RATE] = 92
    lab.outside.fail(RATE, times=6)
    await lab.call("Quotes/price", 200)


ASIDES = {
    "old": Aside(
        "The deprecated `ctx.run` has a parameter of the same name, and heeds it.",
        snippet="old",
        stimulus=PLAIN,
        outcome=FALLBACK,
    ),
    "interval": Aside(
        "With an interval beside it, nothing limits the step: neither this option nor the "
        "three attempts of the deployment. The seventh try gets the rate.",
        snippet="interval",
        stimulus=PLAIN,
        outcome=Holds(answers=[184.0]),
        prove=refused,
    ),
}
