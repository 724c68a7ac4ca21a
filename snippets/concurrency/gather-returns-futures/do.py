"""Books a flight and a room side by side, and returns what their futures hold."""

import os
from typing import Any

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

trips = restate.Service("Trips")


def book(kind: str) -> str:
    response = httpx.post(f"{API_URL}/{kind}s")
    if response.status_code == 409:
        raise restate.TerminalError(f"no {kind} left", status_code=409)
    return str(response.raise_for_status().json()["id"])


@trips.handler()
async def plan(ctx: restate.Context, customer: str) -> dict[str, Any]:
    flight = ctx.run_typed("book flight", book, kind="flight")
    room = ctx.run_typed("book room", book, kind="room")
    booked = await restate.gather(flight, room)
    return {"customer": customer, "booked": [await each for each in booked]}


app = restate.app([trips])
