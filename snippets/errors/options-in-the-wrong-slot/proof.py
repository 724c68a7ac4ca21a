"""A plain call."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, RetriedUntilPaused

RULE = "RDD512"
STIMULUS = PLAIN
PRINTED = Holds(answers=[""], effects={"PUT /labels/parcel-1": 1})
NO_OPTIONS = "AttributeError(\"'str' object has no attribute 'serde'\")"
EXPECTED = {"do": PRINTED, "dont": RetriedUntilPaused(NO_OPTIONS, attempts=3)}
ASIDES = {
    "options": Aside(
        "Behind `restate.RunOptions()` an argument needs no name.",
        snippet="options",
        stimulus=PLAIN,
        outcome=PRINTED,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Parcels/pack", "parcel-1")
