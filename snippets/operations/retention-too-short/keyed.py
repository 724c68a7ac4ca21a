"""Pays sellers out; the bank, too, is given a key for each payout."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
KNOWN_FOR = timedelta(seconds=0.2)

payouts = restate.Service("Payouts", idempotency_retention=KNOWN_FOR)


def transfer(seller: str, key: str) -> str:
    headers = {"idempotency-key": key}
    body = {"to": seller}
    response = httpx.post(f"{API_URL}/transfers", json=body, headers=headers)
    return str(response.raise_for_status().json()["id"])


@payouts.handler()
async def pay(ctx: restate.Context, seller: str) -> str:
    key = str(ctx.uuid())
    return await ctx.run_typed("transfer", transfer, seller=seller, key=key)


app = restate.app([payouts])
