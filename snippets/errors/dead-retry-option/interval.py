"""Quotes a price in euros; where no rate can be had in time, at last week's rate."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
LAST_WEEK = 90  # euros for 100 dollars

quotes = restate.Service("Quotes")


def fetch_rate() -> int:
    response = httpx.get(f"{API_URL}/rates/eur", timeout=30)
    return int(response.raise_for_status().json())


@quotes.handler()
async def price(ctx: restate.Context, dollars: int) -> float:
    limit = restate.RunOptions[int](
        initial_retry_interval=timedelta(seconds=0.02),
        retry_interval_factor=1.0,
        max_retry_duration=timedelta(seconds=0.3),
    )
    try:
        rate = await ctx.run_typed("rate", fetch_rate, limit)
    except restate.TerminalError:
        rate = LAST_WEEK
    return dollars * rate / 100


app = restate.app([quotes])
