"""Looks up a price in a step that also stores it, with the handler's context."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

cart = restate.VirtualObject("Cart")


async def price(item: str) -> int:
    async with httpx.AsyncClient() as shop:
        response = await shop.get(f"{API_URL}/prices/{item}")
    return int(response.raise_for_status().json()["cents"])


async def reserve(item: str) -> str:
    async with httpx.AsyncClient() as stock:
        response = await stock.post(f"{API_URL}/reservations", json={"item": item})
    return str(response.raise_for_status().json()["id"])


@cart.handler()
async def add(ctx: restate.ObjectContext, item: str) -> str:
    async def look_up() -> int:
        cents = await price(item)
        ctx.set(item, cents)
        return cents

    await ctx.run_typed("price", look_up)
    return await ctx.run_typed("reserve", reserve, item=item)


app = restate.app([cart])
