"""The red company has a driver, the guest is told so, and then the blue one has one too."""

import asyncio

from restate_guide.lab import PLAIN, EffectRepeated, Holds, Lab

RULE = "RDD408"
STIMULUS = PLAIN
RED, BLUE, RIDE = "POST /offers/red", "POST /offers/blue", "POST /rides"
EXPECTED = {
    "do": Holds(answers=["red: ride-1"], effects={RED: 1, BLUE: 1, RIDE: 1}),
    "dont": EffectRepeated(RIDE, times=2),
}
BOTH_ASKED = (
    "select count(*) as steps from sys_journal "
    "where entry_type = 'Notification: Run' having count(*) >= 2"
)
CANCELLED = (  # where there is a cancel, it has come: the blue driver is late
    "select id from sys_invocation where target = 'Travel/home' and ("
    "(select count(*) from sys_journal where entry_type = 'Command: SendSignal') = 0 or "
    "(select count(*) from sys_invocation where status != 'completed') = 0)"
)


async def prove(lab: Lab) -> None:
    call = asyncio.create_task(lab.call("Travel/home"))
    await lab.until_row(BOTH_ASKED)
    received = {r.effect: r.body for r in lab.outside.ledger}
    await lab.resolve_awakeable(received[RED]["reply_to"], "ann")
    await call
    await lab.until_row(CANCELLED)
    await lab.resolve_awakeable(received[BLUE]["reply_to"], "bob")
    await lab.until_all_completed()
