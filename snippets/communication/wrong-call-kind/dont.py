"""Gives ten points for each order, to nobody in particular."""

import restate

points = restate.VirtualObject("Points")
orders = restate.Service("Orders")


@points.handler()
async def add(ctx: restate.ObjectContext, amount: int) -> int:
    total = (await ctx.get("total", type_hint=int) or 0) + amount
    ctx.set("total", total)
    return total


@orders.handler()
async def place(ctx: restate.Context, customer: str) -> int:
    return await ctx.service_call(add, arg=10)


app = restate.app([points, orders])
