"""Asks a supplier for an offer, and gives up after a while: by the worker's clock."""

import asyncio
import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
LIMIT = timedelta(seconds=0.3)

orders = restate.Service("Orders")


def ask(item: str, reply_to: str) -> None:
    body = {"item": item, "reply_to": reply_to}
    httpx.post(f"{API_URL}/requests", json=body).raise_for_status()


def mail(text: str) -> None:
    body = {"text": text}
    httpx.post(f"{API_URL}/emails", json=body, timeout=30).raise_for_status()


@orders.handler()
async def buy(ctx: restate.Context, item: str) -> str:
    reply_to, offer = ctx.awakeable(type_hint=str)
    await ctx.run_typed("ask", ask, item=item, reply_to=reply_to)
    try:
        return await asyncio.wait_for(offer, LIMIT.total_seconds())
    except TimeoutError:
        await ctx.run_typed("mail", mail, text=f"no {item} in time")
        return "no offer"


app = restate.app([orders])
