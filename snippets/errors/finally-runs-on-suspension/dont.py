"""Closes a shop to count its stock; a finally block opens it again."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
LAST_CUSTOMERS = timedelta(seconds=0.3)

shops = restate.VirtualObject("Shops")


def post(what: str, shop: str) -> None:
    response = httpx.post(f"{API_URL}/{what}", json={"shop": shop})
    if response.status_code == 409:
        raise restate.TerminalError(f"{what}: refused", status_code=409)
    response.raise_for_status()


@shops.handler()
async def take_stock(ctx: restate.ObjectContext) -> str:
    shop = ctx.key()
    await ctx.run_typed("close", post, what="closings", shop=shop)
    try:
        await ctx.sleep(LAST_CUSTOMERS)
        await ctx.run_typed("count", post, what="counts", shop=shop)
    finally:
        post("openings", shop)
    return "counted"


app = restate.app([shops])
