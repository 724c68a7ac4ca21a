"""The worker dies in the first try; the bank returns every debit."""

from restate_guide.lab import (
    PLAIN,
    Aside,
    EffectRepeated,
    Holds,
    Lab,
    RetriedUntilPaused,
    crash_after_effect,
)

RULE = "RDD514"
DEBIT = "POST /debits"
STIMULUS = crash_after_effect(DEBIT)
NOT_PAID = Holds(answers=["ann has not paid"], effects={DEBIT: 3})
EXPECTED = {"do": NOT_PAID, "dont": EffectRepeated(DEBIT, times=4)}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: the loop counts to three.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=NOT_PAID,
    ),
    "handler": Aside(
        "A loop in the handler never goes round: the failure of a step doesn't come to "
        "the handler, not even to its `except Exception`.",
        snippet="handler",
        stimulus=PLAIN,
        outcome=RetriedUntilPaused("RuntimeError('the debit was returned')", attempts=3),
    ),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers[DEBIT] = {"status": "returned"}
    await lab.call("Members/collect", "ann")
