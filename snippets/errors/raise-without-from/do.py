"""Books a trip; that the hotel is full is passed on with the trip's own error."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

hotels = restate.Service("Hotels")
trips = restate.Service("Trips")


class TripNotBooked(Exception):
    """What the rest of this program knows and catches."""


def reserve(guest: str) -> str:
    response = httpx.put(f"{API_URL}/rooms/{guest}")
    if response.status_code == httpx.codes.CONFLICT:
        raise restate.TerminalError("the hotel is full", status_code=409)
    return response.raise_for_status().text


@hotels.handler()
async def book(ctx: restate.Context, guest: str) -> str:
    return await ctx.run_typed("reserve", reserve, guest=guest)


@trips.handler()
async def plan(ctx: restate.Context, guest: str) -> str:
    try:
        return await ctx.service_call(book, guest)
    except restate.TerminalError as error:
        raise TripNotBooked(f"no trip for {guest}") from error


app = restate.app([hotels, trips])
