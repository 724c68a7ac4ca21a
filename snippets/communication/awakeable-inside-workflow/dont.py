"""Asks for a price, then waits for the payment: by an awakeable, its id in state."""

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
    awakeable, payment = ctx.awakeable(type_hint=str)
    ctx.set("payment", awakeable)
    return f"{price} paid by {await payment}"


@orders.handler()
async def paid(ctx: restate.WorkflowSharedContext, method: str) -> str:
    awakeable = await ctx.get("payment", type_hint=str)
    if awakeable:
        ctx.resolve_awakeable(awakeable, method)
    return "thank you"


app = restate.app([orders])
