"""Charges an item's price, which the look-up step returns."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

checkout = restate.Service("Checkout")


def charge(cents: int) -> str:
    response = httpx.post(f"{API_URL}/charges", json={"cents": cents})
    return str(response.raise_for_status().json()["id"])


@checkout.handler()
async def pay(ctx: restate.Context, item: str) -> int:
    def look_up() -> int:
        response = httpx.get(f"{API_URL}/prices/{item}")
        return int(response.raise_for_status().json()["cents"])

    cents = await ctx.run_typed("look up", look_up)
    await ctx.run_typed("charge", charge, cents=cents)
    return cents


app = restate.app([checkout])
