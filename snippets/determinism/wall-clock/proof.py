"""The supplier takes its time, and the worker dies right after it has answered."""

from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    EffectMissing,
    Holds,
    JournalMismatch,
    Lab,
    crash_after_step,
)

RULE = "RDD108"
STIMULUS = crash_after_step("ask")
FINED = Holds(answers=["4 pots"], effects={"POST /fines": 1})
EXPECTED = {"do": FINED, "dont": EffectMissing("POST /fines")}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: the answer is late, and the supplier is fined.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=FINED,
    ),
    "suspended": Aside(
        "No crash is needed: the attempt that resumes reads the clock anew, too.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=EffectMissing("POST /fines"),
    ),
    "late": Aside(
        "Replayed after the fine is journaled, the same code fails with RT0016.",
        snippet="dont",
        stimulus=LATE_REPLAY,
        outcome=JournalMismatch(command=2, was="run", now="handler return"),
    ),
}


async def prove(lab: Lab) -> None:
    offer = "GET /offers/pot"
    lab.outside.answers[offer] = {"offer": "4 pots"}
    lab.outside.hold(offer, at_most=1.0)
    await lab.call("Orders/buy", "pot")
