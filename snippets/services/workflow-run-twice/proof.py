"""Ann clicks on "sign up", and later once more."""

import asyncio

from restate_guide.lab import PLAIN, Aside, CallFailed, Holds, Lab

RULE = "RDD702"
STIMULUS = PLAIN
OPENED = Holds(answers=["account-1", "account-1"], effects={"POST /accounts": 1})
REFUSED = CallFailed(409, "the workflow method was already invoked")
EXPECTED = {"do": OPENED, "dont": REFUSED}
ATTACHED = "select id from sys_journal where entry_type = 'Command: AttachInvocation'"


async def prove(lab: Lab) -> None:
    await lab.call("Shop/sign_up", "ann")
    await lab.call("Shop/sign_up", "ann")


async def prove_under_way(lab: Lab) -> None:
    release = lab.outside.hold("POST /accounts", at_most=20.0)
    first = asyncio.create_task(lab.call("Shop/sign_up", "ann"))
    await lab.until_effect("POST /accounts")
    second = asyncio.create_task(lab.call("Shop/sign_up", "ann"))
    await lab.until_row(f"{ATTACHED} limit 1 offset 1")
    release.set()
    await asyncio.gather(first, second)


async def prove_call(lab: Lab) -> None:
    await lab.call("Account/ann/run")
    await lab.call("Account/ann/run")


async def prove_send(lab: Lab) -> None:
    await lab.call("Account/ann/run")
    await lab.call("Account/ann/run/send")


async def prove_edge(lab: Lab) -> None:
    edge = await lab.serve("edge")
    await lab.post(edge, "/accounts/ann")
    await lab.post(edge, "/accounts/ann")


ASIDES = {
    "under-way": Aside(
        "The second click comes while the account is being opened: it waits for the first.",
        snippet="do",
        stimulus=PLAIN,
        outcome=OPENED,
        prove=prove_under_way,
    ),
    "call": Aside(
        "Called again at the ingress, the workflow is refused with 409.",
        snippet="do",
        stimulus=PLAIN,
        outcome=REFUSED,
        prove=prove_call,
    ),
    "send": Aside(
        "Sent again, it is answered with `PreviouslyAccepted` and the id of the first run.",
        snippet="do",
        stimulus=PLAIN,
        outcome=Holds(
            answers=[
                "account-1",
                {"invocationId": "inv-1", "status": "PreviouslyAccepted"},
            ],
            effects={"POST /accounts": 1},
        ),
        prove=prove_send,
    ),
    "edge": Aside(
        "By that id a client outside attaches, and both clicks get the same result.",
        snippet="edge",
        stimulus=PLAIN,
        outcome=OPENED,
        prove=prove_edge,
    ),
}
