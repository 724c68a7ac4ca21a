"""Keeps a customer's address, and prints the next parcel's label with it."""

import restate
from pydantic import BaseModel


class Address(BaseModel):
    street: str
    city: str


customers = restate.VirtualObject("Customers")


@customers.handler()
async def move(ctx: restate.ObjectContext, address: Address) -> str:
    ctx.set("address", address)
    return "moved"


@customers.handler()
async def label(ctx: restate.ObjectContext) -> str:
    address: Address | None = await ctx.get("address")
    return f"{ctx.key()}, {address.city}" if address else "no address"


app = restate.app([customers])
