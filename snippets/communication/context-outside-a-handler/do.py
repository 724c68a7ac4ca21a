"""Tracks parcels; what the carrier's scanners report goes in through the ingress."""

import os
from typing import Any

import restate

INGRESS_URL = os.environ.get("INGRESS_URL", "http://localhost:8080")

parcels = restate.VirtualObject("Parcels")


@parcels.handler()
async def register(ctx: restate.ObjectContext, address: str) -> str:
    ctx.set("place", "sender")
    return f"registered, to {address}"


@parcels.handler()
async def scanned(ctx: restate.ObjectContext, place: str) -> None:
    ctx.set("place", place)


@parcels.handler(kind="shared")
async def where(ctx: restate.ObjectSharedContext) -> str | None:
    return await ctx.get("place", type_hint=str)


services = restate.app([parcels])


async def app(scope: Any, receive: Any, send: Any) -> None:
    """All of it in one process: POST /scans/scan-7/parcel-1/Graz, and the services."""
    if not scope.get("path", "").startswith("/scans/"):
        await services(scope, receive, send)
        return
    scan, parcel, place = scope["path"].split("/")[2:]
    async with restate.create_client(INGRESS_URL) as client:
        await client.object_send(scanned, key=parcel, arg=place, idempotency_key=scan)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"noted"})
