"""Waits until a parcel is delivered: the carrier is asked again and again."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Service("Orders")


def ask(parcel: str) -> str:
    answer = httpx.get(f"{API_URL}/deliveries/{parcel}")
    return "" if answer.status_code == 404 else str(answer.raise_for_status().json())


@orders.handler()
async def track(ctx: restate.Context, parcel: str) -> str:
    while not (delivery := await ctx.run_typed("ask", ask, parcel=parcel)):
        await ctx.sleep(timedelta(seconds=0.05))
    return delivery


app = restate.app([orders])
