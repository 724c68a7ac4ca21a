"""The worker is killed when the charge has arrived, before it gets an answer."""

from restate_guide.lab import (
    PLAIN,
    Aside,
    EffectRepeated,
    Holds,
    Lab,
    crash_after_effect,
)

RULE = "RDD118"
STIMULUS = crash_after_effect("POST /charges")
FULFILLED = Holds(
    answers=["charge-1"],
    effects={"POST /reservations": 1, "POST /labels": 1, "POST /charges": 1},
)
EXPECTED = {
    "do": FULFILLED,
    "dont": EffectRepeated("POST /reservations", times=2),
}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=FULFILLED,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Orders/fulfil", "order-1")
