"""Version 2: also confirms the order; the new step comes before the sleep."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Service("Orders")


def post(path: str, order: str) -> str:
    response = httpx.post(f"{API_URL}/{path}", json={"order": order})
    return str(response.raise_for_status().json()["id"])


@orders.handler()
async def place(ctx: restate.Context, order: str) -> str:
    await ctx.run_typed("reserve", post, path="reservations", order=order)
    await ctx.run_typed("confirm", post, path="emails", order=order)
    await ctx.sleep(timedelta(seconds=1))
    return await ctx.run_typed("ship", post, path="parcels", order=order)


app = restate.app([orders])
