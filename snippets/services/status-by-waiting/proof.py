"""A claim is being assessed, and the customer asks for its number."""

import asyncio

from restate_guide.lab import PLAIN, AnsweredLate, Aside, Holds, Lab

RULE = "RDD703"
STIMULUS = PLAIN
ENTER, ASSESS = "POST /claims", "GET /assessments/claim-1"
RESULT = ["claim-1", "covered"]
SECONDS = 2
EXPECTED = {
    "do": Holds(answers=[RESULT, "claim-1", "claim-1"], effects={ENTER: 1}),
    "dont": AnsweredLate(SECONDS),
}
ASSESSING = "select id from sys_journal where name = 'assess'"


async def prove(lab: Lab) -> None:
    lab.outside.answers[ASSESS] = "covered"
    assessed = lab.outside.hold(ASSESS, at_most=60.0)
    edge = await lab.serve("edge")
    running = asyncio.create_task(lab.call("Claim/c-1/run", "flood"))
    await lab.until_row(ASSESSING)
    asking = asyncio.create_task(lab.post(edge, "/numbers/c-1"))
    # The do's customer is answered while the claim is assessed, or not at all: that needs no clock.
    limit = SECONDS if lab.snippet == "dont" else None
    await asyncio.wait({asking}, timeout=limit)
    if not asking.done():
        lab.measure("answered after at least", SECONDS)
    assessed.set()
    await running
    await asking
    await lab.post(edge, "/numbers/c-1")


async def too_early(lab: Lab) -> None:
    """The claim is not entered yet when the customer asks."""
    lab.outside.answers[ASSESS] = "covered"
    entered = lab.outside.hold(ENTER, at_most=60.0)
    edge = await lab.serve("edge")
    running = asyncio.create_task(lab.call("Claim/c-1/run", "flood"))
    await lab.until_effect(ENTER)
    await lab.post(edge, "/numbers/c-1")
    entered.set()
    await running


ASIDES = {
    "too-early": Aside(
        "Asked before there is a number, the shared handler says so at once.",
        snippet="do",
        stimulus=PLAIN,
        outcome=Holds(answers=[RESULT, ""], effects={ENTER: 1}),
        prove=too_early,
    ),
}
