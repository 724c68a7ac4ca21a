"""Notes a delivery, and asks the customer for a review a little later."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
LATER = timedelta(seconds=0.5)

shop = restate.Service("Shop")


def mail(customer: str) -> None:
    response = httpx.post(f"{API_URL}/emails", json={"to": customer})
    response.raise_for_status()


@shop.handler()
async def ask_for_review(ctx: restate.Context, customer: str) -> None:
    await ctx.run_typed("mail", mail, customer=customer)


@shop.handler()
async def delivered(ctx: restate.Context, customer: str) -> str:
    ctx.service_send(ask_for_review, arg=customer, send_delay=LATER)
    return f"delivered to {customer}"


app = restate.app([shop])
