"""Orders a courier for a parcel; the step returns a date."""

import os
from datetime import date

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


def order_courier(parcel: str) -> date:
    response = httpx.post(f"{API_URL}/pickups", json={"parcel": parcel})
    return date.fromisoformat(response.raise_for_status().json()["day"])


@parcels.handler()
async def collect(ctx: restate.Context, parcel: str) -> str:
    pickup = await ctx.run_typed("order courier", order_courier, parcel=parcel)
    return f"on {pickup:%A}"


app = restate.app([parcels])
