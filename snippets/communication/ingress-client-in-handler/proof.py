"""The worker dies once the account's deletion is in the journal."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    EffectRepeated,
    Holds,
    Lab,
    crash_after_step,
    crash_before_journal,
)

RULE = "RDD301"
STIMULUS = crash_after_step("delete")
ONCE = Holds(answers=[""], effects={"POST /mails": 1, "POST /deletions": 1})
EXPECTED = {"do": ONCE, "dont": EffectRepeated("POST /mails", times=2)}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: one mail, one deletion.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=ONCE,
    ),
    "suspended": Aside(
        "No crash is needed: an attempt that suspends and resumes calls once more, too.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=EffectRepeated("POST /mails", times=2),
    ),
    "step": Aside(
        "In a step the call is made again if the worker dies before the step is journaled: "
        "a second invocation all the same.",
        snippet="step",
        stimulus=crash_before_journal("goodbye"),
        outcome=EffectRepeated("POST /mails", times=2),
    ),
}


async def prove(lab: Lab) -> None:
    if await lab.call("Accounts/close", "ann") is not None:
        await lab.until_all_completed()
