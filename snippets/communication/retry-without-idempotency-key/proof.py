"""The connection breaks when the bank has the charge; the shop's page asks again."""

import asyncio

from restate_guide.lab import PLAIN, EffectRepeated, Holds, Lab

RULE = "RDD307"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(answers=["charge-1"], effects={"POST /charges": 1}),
    "dont": EffectRepeated("POST /charges", times=2),
}


async def prove(lab: Lab) -> None:
    edge = await lab.serve("edge")
    release = lab.outside.hold("POST /charges", at_most=20.0)
    first = asyncio.create_task(lab.post(edge, "/payments/order-1"))
    await lab.until_effect("POST /charges")
    first.cancel()
    await asyncio.wait({first})
    release.set()
    await lab.post(edge, "/payments/order-1")
    await lab.until_all_completed()
