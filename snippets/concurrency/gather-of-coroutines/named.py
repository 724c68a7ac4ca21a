"""Checks passengers in side by side, in coroutines whose steps have names of their own."""

import asyncio
import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

desk = restate.Service("Desk")


def find_booking(name: str) -> str:
    response = httpx.get(f"{API_URL}/bookings/{name}", timeout=30)
    return str(response.raise_for_status().json()["booking"])


def give_seat(name: str, booking: str) -> str:
    body = {"booking": booking}
    response = httpx.post(f"{API_URL}/seats/{name}", json=body, timeout=30)
    return str(response.raise_for_status().json()["seat"])


async def check_in(ctx: restate.Context, name: str) -> str:
    booking = await ctx.run_typed(f"find {name}", find_booking, name=name)
    return await ctx.run_typed(f"seat {name}", give_seat, name=name, booking=booking)


@desk.handler()
async def check_in_all(ctx: restate.Context, names: list[str]) -> dict[str, str]:
    legs = [check_in(ctx, name) for name in names]
    seats = await asyncio.gather(*legs)
    return dict(zip(names, seats, strict=True))


app = restate.app([desk])
