"""Orders a courier for a parcel; the step returns a list of models."""

import os
from datetime import date

import httpx
import restate
from pydantic import BaseModel

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


class Pickup(BaseModel):
    day: date


def order_couriers(parcel: str) -> list[Pickup]:
    response = httpx.post(f"{API_URL}/pickups", json={"parcel": parcel})
    return [Pickup(day=response.raise_for_status().json()["day"])]


@parcels.handler()
async def collect(ctx: restate.Context, parcel: str) -> str:
    pickups = await ctx.run_typed("order courier", order_couriers, parcel=parcel)
    return f"on {pickups[0].day:%A}"


app = restate.app([parcels])
