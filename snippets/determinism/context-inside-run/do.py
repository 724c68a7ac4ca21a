"""Adds up a cart's price: reads and writes state around the step, never in it."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

cart = restate.VirtualObject("Cart")


async def price(item: str) -> int:
    async with httpx.AsyncClient() as shop:
        response = await shop.get(f"{API_URL}/prices/{item}")
        return int(response.raise_for_status().json()["cents"])


@cart.handler()
async def add(ctx: restate.ObjectContext, item: str) -> int:
    cents = await ctx.run_typed("price", price, item=item)
    ctx.set("total", cents)
    await ctx.run_typed("note", print, "added", item)
    return cents


app = restate.app([cart])
