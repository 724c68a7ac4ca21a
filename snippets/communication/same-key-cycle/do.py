"""Takes an order's items from stock, which tells the order: by a message to it."""

import restate

orders = restate.VirtualObject("Orders")
stock = restate.VirtualObject("Stock")


@orders.handler()
async def place(ctx: restate.ObjectContext, item: str) -> str:
    number = await ctx.object_call(take, key=item, arg=ctx.key())
    return f"{item} taken, number {number}"


@orders.handler()
async def note(ctx: restate.ObjectContext, item: str) -> None:
    ctx.set("item", item)


@stock.handler()
async def take(ctx: restate.ObjectContext, order: str) -> int:
    taken = (await ctx.get("taken", type_hint=int) or 0) + 1
    ctx.set("taken", taken)
    ctx.object_send(note, key=order, arg=ctx.key())
    return taken


app = restate.app([orders, stock])
