"""Sends goods; the signature says what an order is, and that is taken for a check."""

import os

import httpx
import restate
from pydantic import BaseModel

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


class Order(BaseModel):
    item: str
    quantity: int


def ship(item: str, quantity: int) -> str:
    body = {"item": item, "quantity": quantity}
    response = httpx.post(f"{API_URL}/parcels", json=body)
    return str(response.raise_for_status().json()["id"])


@parcels.handler()
async def send(ctx: restate.Context, order: Order) -> str:
    return await ctx.run_typed("ship", ship, **order.model_dump())


app = restate.app([parcels])
