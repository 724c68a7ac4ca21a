"""Collects a member's fee; three tries at the most, which the handler means to count."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

members = restate.Service("Members")


def debit(who: str) -> None:
    response = httpx.post(f"{API_URL}/debits", json={"member": who})
    if response.raise_for_status().json()["status"] == "returned":
        raise RuntimeError("the debit was returned")


@members.handler()
async def collect(ctx: restate.Context, who: str) -> str:
    for _ in range(3):
        try:
            await ctx.run_typed("debit", debit, who=who)
            return f"{who} has paid"
        except Exception:
            await ctx.sleep(timedelta(seconds=0.1))
    return f"{who} has not paid"


app = restate.app([members])
