"""Collects a member's fee; three tries at the most, which Restate counts."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

members = restate.Service("Members")


def debit(member: str) -> None:
    response = httpx.post(f"{API_URL}/debits", json={"member": member})
    if response.raise_for_status().json()["status"] == "returned":
        raise RuntimeError("the debit was returned")


@members.handler()
async def collect(ctx: restate.Context, member: str) -> str:
    try:
        tries = restate.RunOptions[None](max_attempts=3)
        await ctx.run_typed("debit", debit, tries, member=member)
    except restate.TerminalError:
        return f"{member} has not paid"
    return f"{member} has paid"


app = restate.app([members])
