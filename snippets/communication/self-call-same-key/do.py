"""Checks a cart out and empties it: by a function that both handlers use."""

import restate

cart = restate.VirtualObject("Cart")


def clear(ctx: restate.ObjectContext) -> None:
    ctx.clear("items")


@cart.handler()
async def put(ctx: restate.ObjectContext, item: str) -> None:
    items = await ctx.get("items", type_hint=list[str]) or []
    ctx.set("items", [*items, item])


@cart.handler()
async def empty(ctx: restate.ObjectContext) -> None:
    clear(ctx)


@cart.handler()
async def check_out(ctx: restate.ObjectContext) -> list[str]:
    bought = await ctx.get("items", type_hint=list[str]) or []
    clear(ctx)
    return bought


app = restate.app([cart])
