"""Takes donations from outside; the key names the pledge."""

import os
from typing import Any

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
INGRESS_URL = os.environ.get("INGRESS_URL", "http://localhost:8080")

donations = restate.Service("Donations")


def collect(pledge: str) -> str:
    response = httpx.post(f"{API_URL}/debits", json={"pledge": pledge})
    return str(response.raise_for_status().json()["id"])


@donations.handler()
async def give(ctx: restate.Context, pledge: str) -> str:
    return await ctx.run_typed("collect", collect, pledge=pledge)


app = restate.app([donations])


async def edge(scope: Any, receive: Any, send: Any) -> None:
    """POST /pledges/pledge-1, from the charity's pages: an ASGI application."""
    if scope["type"] != "http":
        return
    pledge = scope["path"].rpartition("/")[2]
    key = f"give-{pledge}"
    async with restate.create_client(INGRESS_URL) as client:
        receipt = await client.service_call(give, pledge, idempotency_key=key)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": receipt.encode()})
