"""The connection breaks when the bank has the debit; the donor's page asks again."""

import asyncio

from restate_guide.lab import PLAIN, EffectRepeated, Holds, Lab

RULE = "RDD308"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(answers=["debit-1"], effects={"POST /debits": 1}),
    "dont": EffectRepeated("POST /debits", times=2),
}


async def prove(lab: Lab) -> None:
    edge = await lab.serve("edge")
    release = lab.outside.hold("POST /debits", at_most=20.0)
    first = asyncio.create_task(lab.post(edge, "/pledges/pledge-1"))
    await lab.until_effect("POST /debits")
    first.cancel()
    await asyncio.wait({first})
    release.set()
    await lab.post(edge, "/pledges/pledge-1")
    await lab.until_all_completed()
