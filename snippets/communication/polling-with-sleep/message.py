"""Waits until a parcel is delivered: each question is an invocation of its own."""

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
    reply_to, delivery = ctx.awakeable(type_hint=str)
    ctx.service_send(poll, [parcel, reply_to])
    return await delivery


@orders.handler()
async def poll(ctx: restate.Context, asked: list[str]) -> None:
    parcel, reply_to = asked
    if delivery := await ctx.run_typed("ask", ask, parcel=parcel):
        ctx.resolve_awakeable(reply_to, delivery)
    else:
        ctx.service_send(poll, asked, send_delay=timedelta(seconds=0.05))


app = restate.app([orders])
