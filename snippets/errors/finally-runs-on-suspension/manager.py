"""Closes a shop to count its stock; a context manager opens it again."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def opened_at_the_end(shop: str) -> AsyncIterator[None]:
    try:
        yield
    finally:
        post("openings", shop)


@shops.handler()
async def take_stock(ctx: restate.ObjectContext) -> str:
    shop = ctx.key()
    await ctx.run_typed("close", post, what="closings", shop=shop)
    async with opened_at_the_end(shop):
        await ctx.sleep(LAST_CUSTOMERS)
        await ctx.run_typed("count", post, what="counts", shop=shop)
    return "counted"


app = restate.app([shops])
