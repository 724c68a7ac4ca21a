"""Sells a ticket: asks for both steps, then waits for each."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

tickets = restate.Service("Tickets")


def reserve(seat: str) -> str:
    response = httpx.post(f"{API_URL}/reservations", json={"seat": seat})
    return str(response.raise_for_status().json()["id"])


def charge(seat: str) -> str:
    response = httpx.post(f"{API_URL}/charges", json={"seat": seat})
    return str(response.raise_for_status().json()["id"])


@tickets.handler()
async def sell(ctx: restate.Context, seat: str) -> str:
    reserving = ctx.run_typed("reserve", reserve, seat=seat)
    charging = ctx.run_typed("charge", charge, seat=seat)
    await reserving
    return await charging


app = restate.app([tickets])
