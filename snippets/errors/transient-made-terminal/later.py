"""Quotes a price abroad; a busy bank is asked again after half a second."""

import os
from datetime import timedelta

import httpx
import restate
from restate.exceptions import RetryableError

API_URL = os.environ.get("API_URL", "http://localhost:9000")
BUSY = timedelta(seconds=0.5)
HOUR = restate.RunOptions[float](max_duration=timedelta(hours=1))

quotes = restate.Service("Quotes")


def rate(currency: str) -> float:
    response = httpx.get(f"{API_URL}/rates/{currency}")
    status = response.status_code
    if status == 404:
        raise restate.TerminalError(f"the bank answers {status}", status_code=status)
    if status == 503:
        raise RetryableError("the bank is busy", retry_after=BUSY)
    return float(response.raise_for_status().json())


@quotes.handler()
async def price(ctx: restate.Context, currency: str) -> float:
    return 40 * await ctx.run_typed("rate", rate, HOUR, currency=currency)


app = restate.app([quotes])
