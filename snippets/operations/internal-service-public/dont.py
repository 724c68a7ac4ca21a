"""Decides on returns, and pays refunds; whoever knows the name may call either."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

returns = restate.Service("Returns")
refunds = restate.Service("Refunds")


def arrived(order: str) -> bool:
    response = httpx.get(f"{API_URL}/arrivals/{order}")
    return bool(response.raise_for_status().json())


def pay(order: str) -> None:
    headers = {"idempotency-key": f"refund-{order}"}
    response = httpx.post(f"{API_URL}/refunds/{order}", headers=headers)
    response.raise_for_status()


@refunds.handler()
async def refund(ctx: restate.Context, order: str) -> str:
    await ctx.run_typed("pay", pay, order=order)
    return f"refunded {order}"


@returns.handler()
async def claim(ctx: restate.Context, order: str) -> str:
    if not await ctx.run_typed("arrived", arrived, order=order):
        raise restate.TerminalError(f"{order} has not come back", status_code=409)
    return await ctx.service_call(refund, arg=order)


app = restate.app([returns, refunds])
