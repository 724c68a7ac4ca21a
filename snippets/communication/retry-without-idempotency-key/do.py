"""Takes payments from outside; a payment that is asked for twice is taken once."""

import os
from typing import Any

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
INGRESS_URL = os.environ.get("INGRESS_URL", "http://localhost:8080")

checkout = restate.Service("Checkout")


def charge(order: str) -> str:
    response = httpx.post(f"{API_URL}/charges", json={"order": order})
    return str(response.raise_for_status().json()["id"])


@checkout.handler()
async def pay(ctx: restate.Context, order: str) -> str:
    return await ctx.run_typed("charge", charge, order=order)


app = restate.app([checkout])


async def edge(scope: Any, receive: Any, send: Any) -> None:
    """POST /payments/order-1, from the shop's pages: an ASGI application."""
    if scope["type"] != "http":
        return
    order = scope["path"].rpartition("/")[2]
    async with restate.create_client(INGRESS_URL) as client:
        receipt = await client.service_call(pay, order, idempotency_key=order)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": receipt.encode()})
