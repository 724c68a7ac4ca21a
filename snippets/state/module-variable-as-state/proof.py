"""Three people book the two places; the worker dies after Bob's mail."""

from restate_guide.lab import (
    PLAIN,
    Aside,
    Holds,
    Lab,
    WrongValue,
    crash_after_step,
)

RULE = "RDD210"
STIMULUS = crash_after_step("mail bob")
MAIL = "POST /emails"
RIGHT = Holds(answers=["booked", "booked", "full"], effects={MAIL: 3})
OVERBOOKED = WrongValue(right="full", got="booked")
EXPECTED = {"do": RIGHT, "dont": OVERBOOKED}


async def prove(lab: Lab) -> None:
    for name in ("ann", "bob", "cem"):
        await lab.call("Workshops/yoga/book", name)


async def prove_deployed(lab: Lab) -> None:
    await lab.call("Workshops/yoga/book", "ann")
    await lab.deploy(lab.snippet)
    await lab.call("Workshops/yoga/book", "bob")
    await lab.call("Workshops/yoga/book", "cem")


ASIDES = {
    "deployed": Aside(
        "No crash is needed: a deployment is a new process, and its dict is empty.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=OVERBOOKED,
        prove=prove_deployed,
    ),
    "alone": Aside(
        "A plain test shows nothing: all calls go to one process.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=RIGHT,
    ),
}
