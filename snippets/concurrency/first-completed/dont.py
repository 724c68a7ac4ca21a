"""Asks two carriers, and ships with the one that answers first: asyncio tells which."""

import asyncio
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
    road = asyncio.ensure_future(ctx.run_typed("ask road", ask, carrier="road"))
    rail = asyncio.ensure_future(ctx.run_typed("ask rail", ask, carrier="rail"))
    await asyncio.wait([road, rail], return_when=asyncio.FIRST_COMPLETED)
    first = (road if road.done() else rail).result()
    shipment = await ctx.run_typed("ship", ship, carrier=first)
    return f"{shipment} goes by {first}"


app = restate.app([parcels])
