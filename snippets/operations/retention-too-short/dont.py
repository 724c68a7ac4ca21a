"""Pays sellers out; a payout that is asked for again much later is a new one."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
KNOWN_FOR = timedelta(seconds=0.2)

payouts = restate.Service("Payouts", idempotency_retention=KNOWN_FOR)


def transfer(seller: str) -> str:
    response = httpx.post(f"{API_URL}/transfers", json={"to": seller})
    return str(response.raise_for_status().json()["id"])


@payouts.handler()
async def pay(ctx: restate.Context, seller: str) -> str:
    return await ctx.run_typed("transfer", transfer, seller=seller)


app = restate.app([payouts])
