"""Logs with two loggers; the filter is on the parent of the two."""

import logging
import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

console = logging.StreamHandler()
logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[console])
logger = logging.getLogger("shop")
logger.addFilter(restate.RestateLoggingFilter())
prices = logging.getLogger("shop.prices")

checkout = restate.Service("Checkout")


def total(items: list[str]) -> int:
    prices.info("adding up %s", ", ".join(items))
    return 420 * len(items)


def charge(cents: int) -> str:
    response = httpx.post(f"{API_URL}/charges", json={"cents": cents})
    return str(response.raise_for_status().json()["id"])


@checkout.handler()
async def pay(ctx: restate.Context, items: list[str]) -> str:
    logger.info("ordered: %s", ", ".join(items))
    return await ctx.run_typed("charge", charge, cents=total(items))


app = restate.app([checkout])
