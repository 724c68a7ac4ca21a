"""Fulfils an order in one step: until all of it is done, the journal has nothing."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Service("Orders")


def post(path: str, order: str, key: str | None = None) -> str:
    headers = {"idempotency-key": key} if key else {}
    response = httpx.post(f"{API_URL}/{path}", json={"order": order}, headers=headers)
    return str(response.raise_for_status().json()["id"])


@orders.handler()
async def fulfil(ctx: restate.Context, order: str) -> str:
    key = str(ctx.uuid())

    def everything() -> str:
        post("reservations", order)
        post("labels", order)
        return post("charges", order, key)

    return await ctx.run_typed("everything", everything)


app = restate.app([orders])
