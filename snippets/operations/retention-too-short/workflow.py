"""Pays sellers out, in one workflow for each payout."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
WEEK = timedelta(days=7)

payout = restate.Workflow("Payout", idempotency_retention=WEEK)


def transfer(seller: str) -> str:
    response = httpx.post(f"{API_URL}/transfers", json={"to": seller})
    return str(response.raise_for_status().json()["id"])


@payout.main(workflow_retention=timedelta(seconds=0.2))
async def pay(ctx: restate.WorkflowContext, seller: str) -> str:
    return await ctx.run_typed("transfer", transfer, seller=seller)


app = restate.app([payout])
