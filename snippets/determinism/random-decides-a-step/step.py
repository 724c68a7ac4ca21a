"""Places an order under a new number, which is drawn in a step."""

import os
import uuid

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

order = restate.VirtualObject("Order")
shop = restate.Service("Shop")


def draw() -> str:
    return str(uuid.uuid4())


def reserve(item: str) -> str:
    response = httpx.post(f"{API_URL}/reservations", json={"item": item})
    return str(response.raise_for_status().json()["id"])


@order.handler()
async def place(ctx: restate.ObjectContext, item: str) -> str:
    return await ctx.run_typed("reserve", reserve, item=item)


@shop.handler()
async def buy(ctx: restate.Context, item: str) -> str:
    number = await ctx.run_typed("draw", draw)
    return await ctx.object_call(place, key=number, arg=item)


app = restate.app([order, shop])
