"""Keeps a customer's address, and tells the courier when it changes."""

import os

import httpx
import restate
from pydantic import BaseModel

API_URL = os.environ.get("API_URL", "http://localhost:9000")


class Address(BaseModel):
    street: str
    city: str


customers = restate.VirtualObject("Customers")


def tell(address: Address) -> None:
    httpx.post(f"{API_URL}/changes", json=address.model_dump()).raise_for_status()


@customers.handler()
async def move(ctx: restate.ObjectContext, address: Address) -> str:
    last: Address | None = await ctx.get("address")
    ctx.set("address", address)
    if last is None or last == address:
        return "nothing to tell"
    await ctx.run_typed("tell", tell, address=address)
    return "told"


app = restate.app([customers])
