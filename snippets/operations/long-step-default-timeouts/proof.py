"""The bank takes four seconds to list the year's payments; asked again, it has the list at hand."""

import asyncio

from restate_guide.lab import PLAIN, Aside, EffectRepeated, Holds, Lab

RULE = "RDD604"
STIMULUS = PLAIN
READ, LETTER = "GET /payments/ann", "POST /letters"
EXPECTED = {
    "do": Holds(answers=["letter-1"], effects={LETTER: 1}),
    "dont": EffectRepeated(LETTER, times=2),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers[READ] = ["order-1", "order-2"]
    slow = lab.outside.hold(READ, at_most=4.0)
    sending = asyncio.create_task(lab.call("Statements/send", "ann"))
    await lab.until_effect(LETTER)
    slow.set()
    await sending


async def slower(lab: Lab) -> None:
    """The first list comes when the second has been used."""
    lab.outside.answers[READ] = ["order-1", "order-2"]
    slow = lab.outside.hold(READ, at_most=25.0)
    sending = asyncio.create_task(lab.call("Statements/send", "ann"))
    await lab.until_effect(READ)
    lab.outside.hold(READ, at_most=0.0)
    await sending
    slow.set()
    await lab.until_effect(LETTER, times=2)


async def soon(lab: Lab) -> None:
    """The bank takes a second."""
    lab.outside.answers[READ] = ["order-1", "order-2"]
    lab.outside.hold(READ, at_most=1.0)
    await lab.call("Statements/send", "ann")


ASIDES = {
    "asked": Aside(
        "The first limit may be shorter than the step: asked to suspend, the attempt ends "
        "with the step, and the next one has the letter from the journal.",
        snippet="asked",
        stimulus=PLAIN,
        outcome=Holds(answers=["letter-1"], effects={LETTER: 1}),
        prove=soon,
    ),
    "slower": Aside(
        "When the bank is slower still, the next attempt doesn't wait for the old one, "
        "which lives on: its letter goes out after the invocation has completed.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=EffectRepeated(LETTER, times=2),
        prove=slower,
    ),
}
