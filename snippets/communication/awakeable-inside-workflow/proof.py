"""The customer pays while the price is still being asked for."""

import asyncio

from restate_guide.lab import PLAIN, Holds, Lab, WaitsForever

RULE = "RDD306"
STIMULUS = PLAIN
PRICE = "GET /prices/pot"
EXPECTED = {
    "do": Holds(answers=["20 paid by card", "thank you"]),
    "dont": WaitsForever(status="running"),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers[PRICE] = 20
    paid = lab.outside.hold(PRICE, at_most=30.0)
    ordering = asyncio.create_task(lab.call("Order/order-1/run", "pot", patience=4.0))
    await lab.until_effect(PRICE)
    await lab.call("Order/order-1/paid", "card")
    paid.set()
    await ordering
