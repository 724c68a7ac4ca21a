"""Tells a customer where the parcel is; waits for a message to be sent."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


def mail(place: str) -> None:
    response = httpx.post(f"{API_URL}/emails", json={"place": place})
    response.raise_for_status()


@parcels.handler()
async def tell(ctx: restate.Context, place: str) -> None:
    await ctx.run_typed("mail", mail, place=place)


@parcels.handler()
async def scan(ctx: restate.Context, place: str) -> str:
    await ctx.service_send(tell, arg=place)  # type: ignore[misc]
    return f"scanned in {place}"


app = restate.app([parcels])
