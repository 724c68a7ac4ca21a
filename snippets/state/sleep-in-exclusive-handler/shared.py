"""Holds a seat for a second, then frees it: a shared handler tells who has it."""

from datetime import timedelta

import restate

LIMIT = timedelta(seconds=1)

seats = restate.VirtualObject("Seats")


@seats.handler()
async def hold(ctx: restate.ObjectContext, customer: str) -> str:
    holder = await ctx.get("holder", type_hint=str)
    if holder:
        return f"held for {holder}"
    ctx.set("holder", customer)
    await ctx.sleep(LIMIT)
    ctx.clear("holder")
    return f"held for {customer}"


@seats.handler(kind="shared")
async def book(ctx: restate.ObjectSharedContext, customer: str) -> str:
    holder = await ctx.get("holder", type_hint=str)
    return f"held for {holder}" if holder else f"booked for {customer}"


app = restate.app([seats])
