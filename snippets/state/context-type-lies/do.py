"""Books a courier for a parcel; meanwhile the customer may ask how far it is."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.VirtualObject("Parcels")


def book(parcel: str) -> str:
    key = {"idempotency-key": parcel}
    response = httpx.post(f"{API_URL}/pickups", headers=key, timeout=30)
    return str(response.raise_for_status().json()["id"])


@parcels.handler()
async def dispatch(ctx: restate.ObjectContext) -> str:
    ctx.set("status", "waiting for a courier")
    pickup = await ctx.run_typed("book", book, parcel=ctx.key())
    ctx.set("status", "on its way")
    return pickup


@parcels.handler(kind="shared")
async def status(ctx: restate.ObjectSharedContext) -> str:
    now = await ctx.get("status", type_hint=str)
    return "unknown" if now is None else now


app = restate.app([parcels])
