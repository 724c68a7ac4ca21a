"""Sells a meal and calls a courier; refunds it when the call has failed for good."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

meals = restate.Service("Meals")


def post(what: str, order: str, key: str) -> str:
    response = httpx.post(
        f"{API_URL}/{what}", json={"order": order}, headers={"idempotency-key": key}
    )
    if response.status_code == 409:
        raise restate.TerminalError("no courier tonight", status_code=409)
    return str(response.raise_for_status().json()["id"])


@meals.handler()
async def buy(ctx: restate.Context, order: str) -> str:
    key = str(ctx.uuid())
    await ctx.run_typed("charge", post, what="charges", order=order, key=key)
    try:
        return await ctx.run_typed(
            "courier", post, what="couriers", order=order, key=f"{key}-courier"
        )
    except restate.TerminalError:
        back = f"{key}-back"
        await ctx.run_typed("refund", post, what="refunds", order=order, key=back)
        raise


app = restate.app([meals])
