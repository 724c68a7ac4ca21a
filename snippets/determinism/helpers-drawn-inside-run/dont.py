"""Charges an order and gives it a parcel number; draws the receipt within the step."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

order = restate.VirtualObject("Order")


async def send(path: str, body: dict[str, str]) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.post(f"{API_URL}/{path}", json=body)
    response.raise_for_status()


@order.handler()
async def pay(ctx: restate.ObjectContext) -> dict[str, str]:
    number = ctx.key()

    async def charge() -> str:
        receipt = str(ctx.uuid())
        await send("charges", {"order": number, "receipt": receipt})
        return receipt

    charged = await ctx.run_typed("charge", charge)
    parcel = str(ctx.uuid())
    ctx.set("parcel", parcel)
    await ctx.run_typed("mail", send, path="emails", body={"parcel": parcel})
    return {"receipt": charged, "parcel": parcel}


app = restate.app([order])
