"""The worker dies right after the bank took the money, before the journal has the step's result."""

from restate_guide.lab import (
    Aside,
    EffectRepeated,
    Holds,
    Lab,
    crash_after_effect,
    crash_after_step,
)

RULE = "RDD102"
STIMULUS = crash_after_effect("POST /charges")
EXPECTED = {
    "do": Holds(answers=["charge-1"], effects={"POST /charges": 1}),
    "dont": EffectRepeated("POST /charges", times=2),
}
ASIDES = {
    "journaled": Aside(
        "Once the step is in the journal, a crash does not repeat it, even without a key.",
        snippet="dont",
        stimulus=crash_after_step("charge"),
        outcome=Holds(answers=["charge-1"], effects={"POST /charges": 1}),
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Checkout/pay", "order-1")
