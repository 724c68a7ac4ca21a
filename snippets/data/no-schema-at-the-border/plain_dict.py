"""Insures trips; a dict comes in, and a dict goes out."""

import os
from typing import Any

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

insurance = restate.Service("Insurance")


def sign(customer: str, price: int) -> str:
    body = {"customer": customer, "price": price}
    response = httpx.post(f"{API_URL}/contracts", json=body)
    return str(response.raise_for_status().json()["id"])


@insurance.handler()
async def insure(ctx: restate.Context, trip: dict[str, Any]) -> dict[str, Any]:
    customer, price = trip["customer"], 9 * trip["days"]
    number = await ctx.run_typed("sign", sign, customer=customer, price=price)
    return {"number": number, "price": price}


app = restate.app([insurance])
