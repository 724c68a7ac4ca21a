"""Asks for a price, then waits for the payment: by a durable promise."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Workflow("Order")


def ask_price(item: str) -> int:
    response = httpx.get(f"{API_URL}/prices/{item}", timeout=30)
    return int(response.raise_for_status().json())


@orders.main()
async def run(ctx: restate.WorkflowContext, item: str) -> str:
    price = await ctx.run_typed("ask price", ask_price, item=item)
    payment = ctx.promise("payment", type_hint=str)
    return f"{price} paid by {await payment}"


@orders.handler()
async def paid(ctx: restate.WorkflowSharedContext, method: str) -> str:
    await ctx.promise("payment", type_hint=str).resolve(method)
    return "thank you"


app = restate.app([orders])
