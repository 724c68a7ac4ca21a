"""Reserves every item of an order, in the order in which the set yields them."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Service("Orders")


def reserve(item: str) -> str:
    response = httpx.post(f"{API_URL}/reservations", json={"item": item})
    return str(response.raise_for_status().json()["id"])


@orders.handler()
async def fulfil(ctx: restate.Context, items: list[str]) -> int:
    unique = set(items)
    for item in unique:
        await ctx.run_typed(f"reserve {item}", reserve, item=item)
    await ctx.sleep(timedelta(seconds=1))
    return len(unique)


app = restate.app([orders])
