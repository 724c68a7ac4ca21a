"""Orders a courier for a parcel, and says on which day it comes; in a dataclass."""

import os
from dataclasses import dataclass

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


@dataclass
class Pickup:
    day: str


def order_courier(parcel: str) -> Pickup:
    response = httpx.post(f"{API_URL}/pickups", json={"parcel": parcel})
    return Pickup(day=response.raise_for_status().json()["day"])


@parcels.handler()
async def collect(ctx: restate.Context, parcel: str) -> str:
    pickup = await ctx.run_typed("order courier", order_courier, parcel=parcel)
    return f"on {pickup.day}"


app = restate.app([parcels])
