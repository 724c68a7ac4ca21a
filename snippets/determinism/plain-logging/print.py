"""Charges an order and prints it."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

checkout = restate.Service("Checkout")


def charge(order: str) -> str:
    response = httpx.post(f"{API_URL}/charges", json={"order": order})
    return str(response.raise_for_status().json()["id"])


def mail(receipt: str) -> None:
    response = httpx.post(f"{API_URL}/emails", json={"receipt": receipt})
    response.raise_for_status()


@checkout.handler()
async def pay(ctx: restate.Context, order: str) -> str:
    print(f"charging {order}")
    receipt = await ctx.run_typed("charge", charge, order=order)
    print(f"charged {receipt}")
    await ctx.run_typed("mail", mail, receipt=receipt)
    return receipt


app = restate.app([checkout])
