"""The worker dies right after the deposit was paid back, before the journal has the step's result."""

from restate_guide.lab import (
    Aside,
    EffectRepeated,
    Holds,
    Lab,
    crash_after_effect,
)

RULE = "RDD506"
DEBIT, UNLOCK, CREDIT = "POST /debits", "POST /unlocks", "POST /credits"
STIMULUS = crash_after_effect(CREDIT)
PAID_BACK = Holds(
    answers=[{"code": 409, "message": "the bike is broken", "source": "invocation"}],
    effects={DEBIT: 1, CREDIT: 1},
)
EXPECTED = {"do": PAID_BACK, "dont": EffectRepeated(CREDIT, times=2)}
ASIDES = {
    "fresh": Aside(
        "A key that is drawn within the step is another one at the second try.",
        snippet="fresh",
        stimulus=STIMULUS,
        outcome=EffectRepeated(CREDIT, times=2),
    ),
    "drawn": Aside(
        "Drawn with `ctx.uuid()` in the `except` block, right before the step, it is "
        "the same one.",
        snippet="drawn",
        stimulus=STIMULUS,
        outcome=PAID_BACK,
    ),
}


async def prove(lab: Lab) -> None:
    lab.outside.fail(UNLOCK, times=1, status=409)
    await lab.call("Bikes/7/rent", "ann")
