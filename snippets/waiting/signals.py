"""Waits for two payments of one order; another handler tells it of each by a signal."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Service("Orders")


def bill(order: str, answer_to: str) -> str:
    body = {"order": order, "answer to": answer_to}
    headers = {"idempotency-key": answer_to}  # one bill for each invocation
    response = httpx.post(f"{API_URL}/bills", json=body, headers=headers)
    return str(response.raise_for_status().json()["id"])


@orders.handler()
async def collect(ctx: restate.Context, order: str) -> list[str]:
    await ctx.run_typed("bill", bill, order=order, answer_to=ctx.request().id)
    first = await ctx.signal("paid", type_hint=str)
    second = await ctx.signal("paid", type_hint=str)
    return [first, second]


@orders.handler()
async def paid(ctx: restate.Context, payment: list[str]) -> None:
    invocation, by = payment
    ctx.resolve_signal(invocation, "paid", by)


app = restate.app([orders])
