"""Asks a supplier for a price, with a limit by asyncio's clock."""

import asyncio
import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Service("Orders")


def ask(supplier: str) -> int:
    response = httpx.get(f"{API_URL}/prices/{supplier}", timeout=30)
    return int(response.raise_for_status().json())


@orders.handler()
async def best_price(ctx: restate.Context) -> int:
    price = ctx.run_typed("ask", ask, supplier="south")
    limit = asyncio.sleep(60)
    match await restate.select(price=price, limit=limit):  # type: ignore[arg-type]
        case ["price", int(cents)]:
            return cents
        case _:
            raise restate.TerminalError("no price in time")


app = restate.app([orders])
