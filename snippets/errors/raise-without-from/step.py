"""Books a room; the step wraps the hotel's refusal in an error of its own."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

trips = restate.Service("Trips")


class TripNotBooked(Exception):
    """What the rest of this program knows and catches."""


def ask(guest: str) -> str:
    response = httpx.put(f"{API_URL}/rooms/{guest}")
    if response.status_code == httpx.codes.CONFLICT:
        raise restate.TerminalError("the hotel is full", status_code=409)
    return response.raise_for_status().text


def reserve(guest: str) -> str:
    try:
        return ask(guest)
    except restate.TerminalError as error:
        raise TripNotBooked(f"no trip for {guest}") from error


@trips.handler()
async def plan(ctx: restate.Context, guest: str) -> str:
    return await ctx.run_typed("reserve", reserve, guest=guest)


app = restate.app([trips])
