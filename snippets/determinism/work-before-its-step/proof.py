"""The worker is killed when the completion is in the journal. How often was it paid?"""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    EffectRepeated,
    Holds,
    Lab,
    crash_after_step,
)

RULE = "RDD115"
STIMULUS = crash_after_step("complete")
ANSWERED = Holds(
    answers=["email-1"], effects={"POST /completions": 1, "POST /emails": 1}
)
EXPECTED = {
    "do": ANSWERED,
    "dont": EffectRepeated("POST /completions", times=2),
}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=ANSWERED,
    ),
    "suspended": Aside(
        "No crash is needed: suspended at each await, the don't asks in all three attempts.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=EffectRepeated("POST /completions", times=3),
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Support/answer", "Where is my parcel?")
