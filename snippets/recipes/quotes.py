"""Asks three carriers for a price at a time: for all of them, or none."""

import os
from datetime import timedelta

import httpx
import restate
from fan_out import fan_out, fan_out_fail_fast

API_URL = os.environ.get("API_URL", "http://localhost:9000")

carriers = restate.Service("Carriers")
quotes = restate.Service("Quotes")


def price(carrier: str) -> int:
    response = httpx.get(f"{API_URL}/prices/{carrier}")
    return int(response.raise_for_status().json())


def book(carrier: str, key: str) -> None:
    url, headers = f"{API_URL}/bookings", {"idempotency-key": key}
    httpx.post(url, json=carrier, headers=headers).raise_for_status()


@carriers.handler()
async def quote(ctx: restate.Context, carrier: str) -> int:
    found = await ctx.run_typed("price", price, carrier=carrier)
    if found < 0:
        raise restate.TerminalError(f"{carrier} is on strike", status_code=409)
    if found > 100:
        await ctx.sleep(timedelta(seconds=30))
        await ctx.run_typed("book", book, carrier=carrier, key=str(ctx.uuid()))
    return found


@quotes.handler()
async def compare(ctx: restate.Context, names: list[str]) -> list[int]:
    return await fan_out([ctx.service_call(quote, name) for name in names])


@quotes.handler()
async def compare_all(ctx: restate.Context, names: list[str]) -> list[int]:
    return await fan_out_fail_fast([ctx.service_call(quote, name) for name in names])


app = restate.app([carriers, quotes])
