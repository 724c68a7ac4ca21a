"""Quotes a price abroad; whatever the bank answers with an error is final."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

quotes = restate.Service("Quotes")


def rate(currency: str) -> float:
    response = httpx.get(f"{API_URL}/rates/{currency}")
    if response.is_error:
        status = response.status_code
        raise restate.TerminalError(f"the bank answers {status}", status_code=status)
    return float(response.raise_for_status().json())


@quotes.handler()
async def price(ctx: restate.Context, currency: str) -> float:
    return 40 * await ctx.run_typed("rate", rate, currency=currency)


app = restate.app([quotes])
