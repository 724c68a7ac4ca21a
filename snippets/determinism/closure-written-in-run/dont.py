"""Charges an item's price, which the look-up step writes into an outer variable."""

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
    cents = 0

    def look_up() -> None:
        nonlocal cents
        response = httpx.get(f"{API_URL}/prices/{item}")
        cents = int(response.raise_for_status().json()["cents"])

    await ctx.run_typed("look up", look_up)
    await ctx.run_typed("charge", charge, cents=cents)
    return cents


app = restate.app([checkout])
