"""Bills an order; an attempt asks for the tax only if its process has not asked yet."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

billing = restate.Service("Billing")

taxes: dict[str, int] = {}


def fetch_tax(country: str) -> int:
    response = httpx.get(f"{API_URL}/taxes/{country}")
    return int(response.raise_for_status().json()["percent"])


def send_invoice(country: str, percent: int) -> str:
    invoice = {"country": country, "cents": 100 * (100 + percent)}
    response = httpx.post(f"{API_URL}/invoices", json=invoice)
    return str(response.raise_for_status().json()["id"])


@billing.handler()
async def bill(ctx: restate.Context, country: str) -> str:
    if country not in taxes:
        taxes[country] = await ctx.run_typed("fetch tax", fetch_tax, country=country)
    return await ctx.run_typed(
        "send invoice", send_invoice, country=country, percent=taxes[country]
    )


app = restate.app([billing])
