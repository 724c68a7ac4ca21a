"""Checks a cart out and empties it: by a message to itself, for afterwards."""

import restate

cart = restate.VirtualObject("Cart")


@cart.handler()
async def put(ctx: restate.ObjectContext, item: str) -> None:
    items = await ctx.get("items", type_hint=list[str]) or []
    ctx.set("items", [*items, item])


@cart.handler()
async def empty(ctx: restate.ObjectContext) -> None:
    ctx.clear("items")


@cart.handler()
async def check_out(ctx: restate.ObjectContext) -> list[str]:
    bought = await ctx.get("items", type_hint=list[str]) or []
    ctx.object_send(empty, key=ctx.key(), arg=None)
    return bought


app = restate.app([cart])
