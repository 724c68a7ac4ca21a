"""Charges an order's card in the handler body, then mails a receipt."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

checkout = restate.Service("Checkout")


async def charge(order: str) -> str:
    async with httpx.AsyncClient() as bank:
        response = await bank.post(f"{API_URL}/charges", json={"order": order})
    return str(response.raise_for_status().json()["id"])


async def mail(receipt: str) -> None:
    async with httpx.AsyncClient() as post:
        response = await post.post(f"{API_URL}/emails", json={"receipt": receipt})
    response.raise_for_status()


@checkout.handler()
async def pay(ctx: restate.Context, order: str) -> str:
    receipt = await charge(order)
    await ctx.run_typed("mail", mail, receipt=receipt)
    return receipt


app = restate.app([checkout])
