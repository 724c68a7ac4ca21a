"""Collects a member's fee; three tries at the most, which a loop counts."""

import os
import time

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

members = restate.Service("Members")


def debit(member: str) -> None:
    for _ in range(3):
        response = httpx.post(f"{API_URL}/debits", json={"member": member})
        if response.raise_for_status().json()["status"] != "returned":
            return
        time.sleep(0.1)
    raise restate.TerminalError("three tries, three returns")


@members.handler()
async def collect(ctx: restate.Context, member: str) -> str:
    try:
        await ctx.run_typed("debit", debit, member=member)
    except restate.TerminalError:
        return f"{member} has not paid"
    return f"{member} has paid"


app = restate.app([members])
