"""Reserves seats, sells them after a while; the flag only marks orders as checked."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

tickets = restate.Service("Tickets")


def post(path: str, order: str, checked: bool, key: str) -> str:
    body = {"order": order, "checked": checked}
    headers = {"idempotency-key": f"{key}-{path}"}
    response = httpx.post(f"{API_URL}/{path}", json=body, headers=headers)
    return str(response.raise_for_status().json()["id"])


@tickets.handler()
async def sell(ctx: restate.Context, order: str) -> str:
    key = str(ctx.uuid())
    checked = os.environ.get("FRAUD_CHECK") == "on"
    await ctx.run_typed("reserve", lambda: post("seats", order, checked, key))
    await ctx.sleep(timedelta(seconds=0.3))
    receipt = await ctx.run_typed(
        "charge", lambda: post("charges", order, checked, key)
    )
    return f"{receipt}, checked" if checked else receipt


app = restate.app([tickets])
