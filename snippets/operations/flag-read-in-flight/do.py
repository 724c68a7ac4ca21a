"""Reserves seats, sells them after a while; the flag is read in a step, once per order."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

tickets = restate.Service("Tickets")


def post(path: str, order: str, key: str) -> str:
    headers = {"idempotency-key": f"{key}-{path}"}
    response = httpx.post(f"{API_URL}/{path}", json={"order": order}, headers=headers)
    return str(response.raise_for_status().json()["id"])


def wants_check() -> bool:
    return os.environ.get("FRAUD_CHECK") == "on"


@tickets.handler()
async def sell(ctx: restate.Context, order: str) -> str:
    key = str(ctx.uuid())
    if await ctx.run_typed("fraud check on", wants_check):
        await ctx.run_typed("check", post, path="checks", order=order, key=key)
    await ctx.run_typed("reserve", post, path="seats", order=order, key=key)
    await ctx.sleep(timedelta(seconds=0.3))
    return await ctx.run_typed("charge", post, path="charges", order=order, key=key)


app = restate.app([tickets])
