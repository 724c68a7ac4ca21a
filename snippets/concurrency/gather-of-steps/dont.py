"""Charges an order and ships it, side by side: asyncio.gather waits for both."""

import asyncio
import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Service("Orders")


def charge(order: str, key: str) -> str:
    headers = {"idempotency-key": key}
    response = httpx.post(f"{API_URL}/charges", json={"order": order}, headers=headers)
    return str(response.raise_for_status().json()["id"])


def ship(order: str) -> str:
    response = httpx.post(f"{API_URL}/shipments", json={"order": order}, timeout=30)
    return str(response.raise_for_status().json()["id"])


@orders.handler()
async def fulfil(ctx: restate.Context, order: str) -> list[str]:
    key = str(ctx.uuid())
    charged = ctx.run_typed("charge", charge, order=order, key=key)
    shipped = ctx.run_typed("ship", ship, order=order)
    await asyncio.gather(charged, shipped)
    return [await charged, await shipped]


app = restate.app([orders])
