"""A seat in row 1 is sold, at a reduced price."""

from restate_guide.lab import (
    PLAIN,
    Aside,
    Holds,
    Lab,
    RetriedUntilPaused,
    WrongValue,
    crash_after_step,
)

RULE = "RDD802"
STIMULUS = PLAIN
FULL = WrongValue(right=900, got=1200)
EXPECTED = {"do": Holds(answers=[900], effects={"POST /charges": 1}), "dont": FULL}


async def prove(lab: Lab) -> None:
    lab.outside.answers["GET /reduced"] = [[1, 900]]
    await lab.call("Cinema/buy", 1)


async def prove_pair(lab: Lab) -> None:
    lab.outside.answers["GET /best"] = [1, 4]
    await lab.call("Cinema/buy")


ASIDES = {
    "replayed": Aside(
        "A replay changes nothing about it: the first attempt has been given JSON, too.",
        snippet="dont",
        stimulus=crash_after_step("reduced"),
        outcome=FULL,
    ),
    "tuple": Aside(
        "A tuple comes back as a list, and a list is no key.",
        snippet="pair",
        stimulus=PLAIN,
        outcome=RetriedUntilPaused(
            "TypeError(\"unhashable type: 'list'\")", attempts=3
        ),
        prove=prove_pair,
    ),
}
