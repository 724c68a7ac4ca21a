"""Has a carrier fetch a parcel; every attempt hands the carrier the same key."""

import logging
import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

console = logging.StreamHandler()
console.addFilter(restate.RestateLoggingFilter())
logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[console])
logger = logging.getLogger("shipments")

shipments = restate.Service("Shipments")


def book(address: str, key: str) -> str:
    headers = {"idempotency-key": key}
    body = {"address": address}
    response = httpx.post(f"{API_URL}/pickups", json=body, headers=headers)
    if response.status_code == 422:
        raise restate.TerminalError("no such address", status_code=422)
    return str(response.raise_for_status().json()["id"])


@shipments.handler()
async def initiate(ctx: restate.Context, address: str) -> str:
    key = str(ctx.uuid())
    logger.info("a parcel for %s", address)
    pickup = await ctx.run_typed("book", book, address=address, key=key)
    logger.info("it goes as %s", pickup)
    return pickup


app = restate.app([shipments])
