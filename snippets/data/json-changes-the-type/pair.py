"""Sells the best cinema seat that is free; the step returns a pair."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
PRICES = {(1, 4): 900, (2, 4): 1200}

cinema = restate.Service("Cinema")


def best() -> tuple[int, int]:
    response = httpx.get(f"{API_URL}/best")
    row, seat = response.raise_for_status().json()
    return (row, seat)


def charge(cents: int, key: str) -> None:
    url, headers = f"{API_URL}/charges", {"idempotency-key": key}
    httpx.post(url, json={"cents": cents}, headers=headers).raise_for_status()


@cinema.handler()
async def buy(ctx: restate.Context) -> int:
    seat = await ctx.run_typed("best", best)
    cents = PRICES[seat]
    await ctx.run_typed("charge", charge, cents=cents, key=str(ctx.uuid()))
    return cents


app = restate.app([cinema])
