"""Checks passengers in side by side: each in an invocation of its own."""

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


@desk.handler()
async def check_in(ctx: restate.Context, name: str) -> str:
    booking = await ctx.run_typed("find booking", find_booking, name=name)
    return await ctx.run_typed("give seat", give_seat, name=name, booking=booking)


@desk.handler()
async def check_in_all(ctx: restate.Context, names: list[str]) -> dict[str, str]:
    legs = [ctx.service_call(check_in, name) for name in names]
    await restate.gather(*legs)
    seats = [await leg for leg in legs]
    return dict(zip(names, seats, strict=True))


app = restate.app([desk])
