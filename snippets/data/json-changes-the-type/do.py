"""Sells a cinema seat at the price of its row; the prices are a model."""

import os

import httpx
import restate
from pydantic import BaseModel

API_URL = os.environ.get("API_URL", "http://localhost:9000")
FULL_PRICE = 1200

cinema = restate.Service("Cinema")


class Prices(BaseModel):
    by_row: dict[int, int]


def reduced() -> Prices:
    response = httpx.get(f"{API_URL}/reduced")
    return Prices(by_row=dict(response.raise_for_status().json()))


def charge(cents: int, key: str) -> None:
    url, headers = f"{API_URL}/charges", {"idempotency-key": key}
    httpx.post(url, json={"cents": cents}, headers=headers).raise_for_status()


@cinema.handler()
async def buy(ctx: restate.Context, row: int) -> int:
    prices = await ctx.run_typed("reduced", reduced)
    cents = prices.by_row.get(row, FULL_PRICE)
    await ctx.run_typed("charge", charge, cents=cents, key=str(ctx.uuid()))
    return cents


app = restate.app([cinema])
