"""Keeps wallets; a top-up without a rate is given up after two tries."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
PAUSE = timedelta(seconds=0.2)
TWICE = restate.RunOptions[int](max_attempts=2, initial_retry_interval=PAUSE)

wallets = restate.VirtualObject("Wallets")


def fetch_rate() -> int:
    response = httpx.get(f"{API_URL}/rates/usd")
    if response.is_error:
        raise ConnectionError(f"the bank answered {response.status_code}")
    return int(response.json())


@wallets.handler()
async def top_up(ctx: restate.ObjectContext, dollars: int) -> int:
    rate = await ctx.run_typed("rate", fetch_rate, TWICE)
    balance = (await ctx.get("balance", type_hint=int) or 0) + dollars * rate
    ctx.set("balance", balance)
    return balance


@wallets.handler()
async def spend(ctx: restate.ObjectContext, cents: int) -> int:
    balance = (await ctx.get("balance", type_hint=int) or 0) - cents
    ctx.set("balance", balance)
    return balance


app = restate.app([wallets])
