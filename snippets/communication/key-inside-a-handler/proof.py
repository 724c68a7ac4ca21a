"""The customer pays the invoice, and the nightly job collects it as well."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    EffectRepeated,
    Holds,
    Lab,
    crash_after_effect,
)

RULE = "RDD309"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(answers=["charge-1", "charge-1"], effects={"POST /charges": 1}),
    "dont": EffectRepeated("POST /charges", times=2),
}


async def one(lab: Lab) -> None:
    """Only the customer pays."""
    await lab.call("Shop/customer_pays", "invoice-1")


ASIDES = {
    "within": Aside(
        "Within one invocation the journal is the key: replayed at every await, the call "
        "is made once.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=Holds(answers=["charge-1"], effects={"POST /charges": 1}),
        prove=one,
    ),
    "step": Aside(
        "The key is for the call, not for the charge in it: the worker dies when the bank "
        "has the money, and the one payment charges twice.",
        snippet="do",
        stimulus=crash_after_effect("POST /charges"),
        outcome=EffectRepeated("POST /charges", times=2),
        prove=one,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Shop/customer_pays", "invoice-1")
    await lab.call("Shop/nightly_collection", "invoice-1")
