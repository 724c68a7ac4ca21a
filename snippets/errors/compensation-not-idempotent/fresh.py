"""Rents out a bike; its return draws a key at each try."""

import os
from uuid import uuid4

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

bikes = restate.VirtualObject("Bikes")


def debit(rider: str, key: str) -> None:
    headers = {"idempotency-key": key}
    response = httpx.post(f"{API_URL}/debits", json=[rider, 50], headers=headers)
    response.raise_for_status()


def unlock(bike: str) -> None:
    response = httpx.post(f"{API_URL}/unlocks", json={"bike": bike})
    if response.status_code == 409:
        raise restate.TerminalError("the bike is broken", status_code=409)
    response.raise_for_status()


def pay_back(rider: str) -> None:
    headers = {"idempotency-key": str(uuid4())}
    response = httpx.post(f"{API_URL}/credits", json=[rider, 50], headers=headers)
    response.raise_for_status()


@bikes.handler()
async def rent(ctx: restate.ObjectContext, rider: str) -> None:
    key = str(ctx.uuid())
    await ctx.run_typed("debit", debit, rider=rider, key=key)
    try:
        await ctx.run_typed("unlock", unlock, bike=ctx.key())
    except restate.TerminalError:
        await ctx.run_typed("pay back", pay_back, rider=rider)
        raise


app = restate.app([bikes])
