"""Asks two suppliers side by side for their price; a helper starts each request."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
SUPPLIERS = ("north", "south")

orders = restate.Service("Orders")


def ask(supplier: str) -> int:
    response = httpx.get(f"{API_URL}/prices/{supplier}", timeout=30)
    return int(response.raise_for_status().json())


def price(ctx: restate.Context, supplier: str) -> restate.RestateDurableFuture[int]:
    return ctx.run_typed(f"ask {supplier}", ask, supplier=supplier)


@orders.handler()
async def best_price(ctx: restate.Context) -> int:
    started = [price(ctx, supplier) for supplier in SUPPLIERS]
    await restate.gather(*started)
    return min([await one for one in started])


app = restate.app([orders])
