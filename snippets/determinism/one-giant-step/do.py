"""Fulfils an order in three steps: each is done with once the journal has it."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Service("Orders")


def post(path: str, order: str, key: str | None = None) -> str:
    headers = {"idempotency-key": key} if key else {}
    response = httpx.post(f"{API_URL}/{path}", json={"order": order}, headers=headers)
    return str(response.raise_for_status().json()["id"])


@orders.handler()
async def fulfil(ctx: restate.Context, order: str) -> str:
    key = str(ctx.uuid())
    await ctx.run_typed("reserve", post, path="reservations", order=order)
    await ctx.run_typed("print label", post, path="labels", order=order)
    return await ctx.run_typed("charge", post, path="charges", order=order, key=key)


app = restate.app([orders])
