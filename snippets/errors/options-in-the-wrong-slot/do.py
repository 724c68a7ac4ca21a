"""Prints a parcel's label; the step's argument is passed by its name."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


def label(parcel: str) -> None:
    httpx.put(f"{API_URL}/labels/{parcel}").raise_for_status()


@parcels.handler()
async def pack(ctx: restate.Context, parcel: str) -> None:
    await ctx.run_typed("label", label, parcel=parcel)


app = restate.app([parcels])
