"""Asks two carriers, and ships with the one that answers first: Restate tells which."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


def ask(carrier: str) -> str:
    response = httpx.get(f"{API_URL}/offers/{carrier}", timeout=30)
    return str(response.raise_for_status().json()["carrier"])


def ship(carrier: str) -> str:
    body = {"carrier": carrier}
    response = httpx.post(f"{API_URL}/shipments", json=body, timeout=30)
    return str(response.raise_for_status().json()["id"])


@parcels.handler()
async def send(ctx: restate.Context) -> str:
    road = ctx.run_typed("ask road", ask, carrier="road")
    rail = ctx.run_typed("ask rail", ask, carrier="rail")
    _, first = await restate.select(road=road, rail=rail)
    shipment = await ctx.run_typed("ship", ship, carrier=first)
    return f"{shipment} goes by {first}"


app = restate.app([parcels])
