"""Insures trips; what a trip is, the SDK is told, too."""

import os

import httpx
import restate
from pydantic import BaseModel

API_URL = os.environ.get("API_URL", "http://localhost:9000")

insurance = restate.Service("Insurance")


class Trip(BaseModel):
    customer: str
    days: int


class Contract(BaseModel):
    number: str
    price: int


def sign(customer: str, price: int) -> str:
    body = {"customer": customer, "price": price}
    response = httpx.post(f"{API_URL}/contracts", json=body)
    return str(response.raise_for_status().json()["id"])


@insurance.handler()
async def insure(ctx: restate.Context, trip: Trip) -> Contract:
    customer, price = trip.customer, 9 * trip.days
    number = await ctx.run_typed("sign", sign, customer=customer, price=price)
    return Contract(number=number, price=price)


app = restate.app([insurance])
