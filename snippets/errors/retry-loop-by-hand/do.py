"""Collects a member's fee; three tries at the most, which Restate counts."""

import os

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
    try:
        await ctx.run_typed("debit", debit, restate.RunOptions(max_attempts=3), who=who)
    except restate.TerminalError:
        return f"{who} has not paid"
    return f"{who} has paid"


app = restate.app([members])
