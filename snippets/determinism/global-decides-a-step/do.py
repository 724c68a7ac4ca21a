"""Bills an order; every attempt asks for the tax, and the cache is inside that step."""

import os
from functools import cache

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

billing = restate.Service("Billing")


@cache
def fetch_tax(country: str) -> int:
    response = httpx.get(f"{API_URL}/taxes/{country}")
    return int(response.raise_for_status().json()["percent"])


def send_invoice(country: str, percent: int) -> str:
    invoice = {"country": country, "cents": 100 * (100 + percent)}
    response = httpx.post(f"{API_URL}/invoices", json=invoice)
    return str(response.raise_for_status().json()["id"])


@billing.handler()
async def bill(ctx: restate.Context, country: str) -> str:
    tax = await ctx.run_typed("fetch tax", fetch_tax, country=country)
    return await ctx.run_typed(
        "send invoice", send_invoice, country=country, percent=tax
    )


app = restate.app([billing])
