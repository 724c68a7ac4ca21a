"""The worker dies after the receipt is mailed, and the next attempt replays."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    EffectRepeated,
    Holds,
    Lab,
    crash_after_step,
)

RULE = "RDD101"
STIMULUS = crash_after_step("mail")
PAID = Holds(answers=["charge-1"], effects={"POST /charges": 1, "POST /emails": 1})
EXPECTED = {
    "do": PAID,
    "dont": EffectRepeated("POST /charges", times=2),
}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: there is one attempt, and one charge.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=PAID,
    ),
    "suspended": Aside(
        "No crash is needed: an attempt that suspends and resumes charges again, too.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=EffectRepeated("POST /charges", times=2),
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Checkout/pay", "order-1")
