"""Asks a supplier, and fines it for a late answer: the journal keeps the time."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
LIMIT = 0.8  # seconds

orders = restate.Service("Orders")


def ask(item: str) -> str:
    response = httpx.get(f"{API_URL}/offers/{item}", timeout=30)
    return str(response.raise_for_status().json()["offer"])


def fine(item: str) -> None:
    response = httpx.post(f"{API_URL}/fines", json={"item": item})
    response.raise_for_status()


@orders.handler()
async def buy(ctx: restate.Context, item: str) -> str:
    asked = await ctx.time()
    offer = await ctx.run_typed("ask", ask, item=item)
    if await ctx.time() - asked > LIMIT:
        await ctx.run_typed("fine", fine, item=item)
    return offer


app = restate.app([orders])
