"""Notes where a parcel was scanned last, and tells where it is."""

import restate

parcels = restate.VirtualObject("Parcels")


@parcels.handler()
async def scan(ctx: restate.ObjectContext, place: str) -> str:
    ctx.set("place", place)
    return f"scanned in {place}"


@parcels.handler(kind="shared")
async def where(ctx: restate.ObjectSharedContext) -> str | None:
    return await ctx.get("place", type_hint=str)


app = restate.app([parcels])
