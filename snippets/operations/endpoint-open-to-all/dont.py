"""Takes payments; the worker serves whoever reaches it."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

checkout = restate.Service("Checkout")


def charge(order: str) -> str:
    response = httpx.post(f"{API_URL}/charges", json={"order": order})
    return str(response.raise_for_status().json()["id"])


@checkout.handler()
async def pay(ctx: restate.Context, order: str) -> str:
    return await ctx.run_typed("charge", charge, order=order)


app = restate.app([checkout])
