"""The worker dies when the book is lent, before the journal has the step's result."""

from restate_guide.lab import (
    PLAIN,
    Aside,
    EffectUnwanted,
    Holds,
    Lab,
    crash_after_effect,
)

RULE = "RDD705"
LENT = "PUT /books/dune"
STIMULUS = crash_after_effect(LENT)
YOURS = Holds(answers=["the book is yours"], effects={LENT: 1})
EXPECTED = {"do": YOURS, "dont": EffectUnwanted("POST /waiting")}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: the step looks, decides and acts once.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=YOURS,
    ),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers["GET /books/dune"] = "free"
    await lab.call("Library/borrow", "ann")
