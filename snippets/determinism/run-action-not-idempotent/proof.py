"""The worker dies right after the bank took the money, before the journal has the step."""

from restate_guide.lab import EffectRepeated, Holds, Lab, crash_after_effect

RULE = "RDD102"
STIMULUS = crash_after_effect("POST /charges")
EXPECTED = {
    "do": Holds(answers=["charge-1"], effects={"POST /charges": 1}),
    "dont": EffectRepeated("POST /charges", times=2),
}


async def prove(lab: Lab) -> None:
    await lab.call("Checkout/pay", "order-1")
