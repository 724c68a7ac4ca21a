"""Two ways to the same invoice's payment, which is called without a key."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

payments = restate.Service("Payments")
shop = restate.Service("Shop")


def charge(invoice: str) -> str:
    response = httpx.post(f"{API_URL}/charges", json={"invoice": invoice})
    return str(response.raise_for_status().json()["id"])


@payments.handler()
async def pay(ctx: restate.Context, invoice: str) -> str:
    return await ctx.run_typed("charge", charge, invoice=invoice)


@shop.handler()
async def customer_pays(ctx: restate.Context, invoice: str) -> str:
    return await ctx.service_call(pay, invoice)


@shop.handler()
async def nightly_collection(ctx: restate.Context, invoice: str) -> str:
    return await ctx.service_call(pay, invoice)


app = restate.app([payments, shop])
