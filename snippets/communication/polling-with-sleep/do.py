"""Waits until a parcel is delivered: the carrier is told whom to tell."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Service("Orders")


def subscribe(parcel: str, reply_to: str) -> None:
    httpx.put(f"{API_URL}/webhooks/{reply_to}", json=parcel).raise_for_status()


@orders.handler()
async def track(ctx: restate.Context, parcel: str) -> str:
    reply_to, delivery = ctx.awakeable(type_hint=str)
    await ctx.run_typed("subscribe", subscribe, parcel=parcel, reply_to=reply_to)
    return await delivery


app = restate.app([orders])
