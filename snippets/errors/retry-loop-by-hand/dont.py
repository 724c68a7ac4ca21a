"""Collects a member's fee; three tries at the most, which a loop counts."""

import os
import time

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

members = restate.Service("Members")


def debit(who: str) -> None:
    for _ in range(3):
        response = httpx.post(f"{API_URL}/debits", json={"member": who})
        if response.raise_for_status().json()["status"] != "returned":
            return
        time.sleep(0.1)
    raise restate.TerminalError("three tries, three returns")


@members.handler()
async def collect(ctx: restate.Context, who: str) -> str:
    try:
        await ctx.run_typed("debit", debit, who=who)
    except restate.TerminalError:
        return f"{who} has not paid"
    return f"{who} has paid"


app = restate.app([members])
