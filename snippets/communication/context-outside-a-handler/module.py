"""Registers parcels; the context stands in the module, for helpers to use."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.VirtualObject("Parcels")
context: restate.ObjectContext


def print_label(address: str) -> None:
    httpx.post(f"{API_URL}/labels/{address}", timeout=30).raise_for_status()


def remember(address: str) -> None:
    context.set("address", address)


@parcels.handler()
async def register(ctx: restate.ObjectContext, address: str) -> str:
    global context
    context = ctx
    await ctx.run_typed("print label", print_label, address=address)
    remember(address)
    return f"registered, to {address}"


@parcels.handler(kind="shared")
async def where(ctx: restate.ObjectSharedContext) -> str | None:
    return await ctx.get("address", type_hint=str)


app = restate.app([parcels])
