"""While the renewal waits for its hour, an operator cancels it."""

import asyncio

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    EffectUnwanted,
    Holds,
    Lab,
)

RULE = "RDD509"
STIMULUS = PLAIN
ASLEEP = "select index from sys_journal where entry_type = 'Command: Sleep'"
NOTICE = "no notice for ann"
EXPECTED = {
    "do": Holds(
        answers=[{"code": 409, "message": "cancelled", "source": "invocation"}]
    ),
    "dont": EffectUnwanted("POST /charges"),
}
ASIDES = {
    "suspension": Aside(
        "Suspension passes through `except Exception`: its block is never run.",
        snippet="suspension",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=Holds(
            answers=["charge-1"],
            effects={"POST /emails": 1, "POST /charges": 1},
            lines={NOTICE: 0},
        ),
    ),
}


async def prove(lab: Lab) -> None:
    call = asyncio.create_task(lab.call("Subscriptions/renew", "ann"))
    while not (call.done() or await lab.query(ASLEEP)):
        await asyncio.sleep(0.02)
    if not call.done():
        await lab.operate("cancel", "Subscriptions/renew")
    await call
