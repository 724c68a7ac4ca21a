"""A plain call: is a courier ordered, and the caller told when?"""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, RetriedUntilPaused

RULE = "RDD801"
STIMULUS = PLAIN
NO_DACITE = (
    "Trying to deserialize into a @dataclass.Please add the optional dependencies needed."
    "use pip install restate-sdk[serde] or pip install restate-sdk[all] to install all "
    "dependencies."
)
ORDERED = Holds(answers=["on Saturday"], effects={"POST /pickups": 1})
EXPECTED = {
    "do": ORDERED,
    "dont": RetriedUntilPaused(
        "TypeError('Object of type date is not JSON serializable')", attempts=3
    ),
}
ASIDES = {
    "list": Aside(
        "A model in a list is not seen: only a model by itself is.",
        snippet="several",
        stimulus=PLAIN,
        outcome=RetriedUntilPaused(
            "TypeError('Object of type Pickup is not JSON serializable')", attempts=3
        ),
    ),
    "dataclass": Aside(
        "A dataclass isn't written without `dacite`, and the error speaks of reading: "
        "a courier is ordered at each attempt.",
        snippet="in_dataclass",
        stimulus=PLAIN,
        outcome=RetriedUntilPaused(f"RuntimeError({NO_DACITE!r})", attempts=3),
    ),
    "serde": Aside(
        "With a serde of its own, the step may return a list of models.",
        snippet="adapted",
        stimulus=PLAIN,
        outcome=ORDERED,
    ),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers["POST /pickups"] = {"day": "2030-05-04"}
    await lab.call("Parcels/collect", "p-1")
