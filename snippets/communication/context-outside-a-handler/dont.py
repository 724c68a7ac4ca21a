"""Tracks parcels; what the carrier's scanners report goes through a handler's context."""

from typing import Any

import restate

parcels = restate.VirtualObject("Parcels")
contexts: dict[str, restate.ObjectContext] = {}


@parcels.handler()
async def register(ctx: restate.ObjectContext, address: str) -> str:
    contexts[ctx.key()] = ctx
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
    contexts[parcel].object_send(scanned, key=parcel, arg=place, idempotency_key=scan)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"noted"})
