"""Sells a ticket: asks for the reservation, but never waits for it."""

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
    ctx.run_typed("reserve", reserve, seat=seat)
    return await ctx.run_typed("charge", charge, seat=seat)


app = restate.app([tickets])
