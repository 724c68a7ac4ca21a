"""Holds a seat for a second, then frees it: by a delayed message to the seat."""

from datetime import timedelta

import restate

LIMIT = timedelta(seconds=1)

seats = restate.VirtualObject("Seats")


@seats.handler()
async def hold(ctx: restate.ObjectContext, customer: str) -> str:
    holder = await ctx.get("holder", type_hint=str)
    if holder:
        return f"held for {holder}"
    number = str(ctx.uuid())
    ctx.set("holder", customer)
    ctx.set("number", number)
    ctx.object_send(free, key=ctx.key(), arg=number, send_delay=LIMIT)
    return f"held for {customer}"


@seats.handler()
async def free(ctx: restate.ObjectContext, number: str) -> None:
    if await ctx.get("number", type_hint=str) == number:
        ctx.clear("holder")
        ctx.clear("number")


@seats.handler()
async def book(ctx: restate.ObjectContext, customer: str) -> str:
    holder = await ctx.get("holder", type_hint=str)
    return f"held for {holder}" if holder else f"booked for {customer}"


app = restate.app([seats])
