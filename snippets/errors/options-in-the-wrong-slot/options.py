"""Prints a parcel's label; the step's argument follows the options."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


def label(address: str) -> str:
    response = httpx.post(f"{API_URL}/labels", json={"address": address})
    return str(response.raise_for_status().json()["id"])


@parcels.handler()
async def pack(ctx: restate.Context, address: str) -> str:
    return await ctx.run_typed("label", label, restate.RunOptions(), address)


app = restate.app([parcels])
