"""Waits for a payment's callback in a Service; the order itself can be asked meanwhile."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
LIMIT = timedelta(minutes=15)

checkout = restate.Service("Checkout")
orders = restate.VirtualObject("Orders")


def ask(order: str, callback: str) -> None:
    body = {"order": order, "callback": callback}
    httpx.put(f"{API_URL}/payments/{callback}", json=body).raise_for_status()


def withdraw(callback: str) -> None:
    response = httpx.delete(f"{API_URL}/payments/{callback}")
    if response.status_code != 404:  # an attempt before this one may have done it
        response.raise_for_status()


@orders.handler()
async def mark(ctx: restate.ObjectContext, status: str) -> str:
    ctx.set("status", status)
    return status


@orders.handler(kind="shared")
async def status(ctx: restate.ObjectSharedContext) -> str | None:
    return await ctx.get("status", type_hint=str)


@checkout.handler()
async def pay(ctx: restate.Context, order: str) -> str:
    callback, paid = ctx.awakeable(type_hint=str)
    await ctx.run_typed("ask", ask, order=order, callback=callback)
    match await restate.select(paid=paid, limit=ctx.sleep(LIMIT)):
        case ["paid", receipt]:
            return await ctx.object_call(mark, key=order, arg=f"paid: {receipt}")
    await ctx.run_typed("withdraw", withdraw, callback=callback)
    return await ctx.object_call(mark, key=order, arg="not paid")


app = restate.app([checkout, orders])
