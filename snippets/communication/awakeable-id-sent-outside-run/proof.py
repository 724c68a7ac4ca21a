"""The boss takes her time: the attempt is suspended until she has decided."""

import asyncio

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    EffectRepeated,
    Holds,
    Lab,
    crash_after_effect,
)

RULE = "RDD313"
STIMULUS = REPLAY_EVERY_AWAIT
MAIL = "POST /emails"
APPROVED = Holds(answers=["Rome: approved"], effects={MAIL: 1})
EXPECTED = {"do": APPROVED, "dont": EffectRepeated(MAIL, times=2)}


async def prove(lab: Lab) -> None:
    approving = asyncio.create_task(lab.call("Trips/approve", "Rome"))
    await lab.until_effect(MAIL)
    if lab.snippet == "do":
        await lab.until_result("Run mail")  # she decides while an attempt waits
    link = lab.outside.ledger[0].body["link"]
    await lab.resolve_awakeable(link.rpartition("/")[2], "approved")
    await approving


ASIDES = {
    "plain": Aside(
        "A boss who decides at once shows nothing: the attempt is still there.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=APPROVED,
    ),
    "crash": Aside(
        "A step whose worker dies with the mail under way mails again: the same link.",
        snippet="do",
        stimulus=crash_after_effect(MAIL),
        outcome=EffectRepeated(MAIL, times=2),
    ),
}
