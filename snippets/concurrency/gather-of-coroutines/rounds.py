"""Checks passengers in, one step at a time for all of them."""

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
async def check_in_all(ctx: restate.Context, names: list[str]) -> dict[str, str]:
    finding = [ctx.run_typed("find booking", find_booking, name=n) for n in names]
    await restate.gather(*finding)
    bookings = [await found for found in finding]
    seating = [
        ctx.run_typed("give seat", give_seat, name=name, booking=booking)
        for name, booking in zip(names, bookings, strict=True)
    ]
    await restate.gather(*seating)
    seats = [await seat for seat in seating]
    return dict(zip(names, seats, strict=True))


app = restate.app([desk])
