"""Draws up a year's statement, slowly, and sends it: the second limit is longer than the step."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
ASKED, CLOSED = timedelta(minutes=1), timedelta(minutes=30)

bank = httpx.Client(base_url=API_URL, timeout=600)
statements = restate.Service("Statements")


def send_year(customer: str) -> str:
    payments = bank.get(f"/payments/{customer}").raise_for_status().json()
    response = bank.post("/letters", json={"to": customer, "payments": payments})
    return str(response.raise_for_status().json()["id"])


@statements.handler(inactivity_timeout=ASKED, abort_timeout=CLOSED)
async def send(ctx: restate.Context, customer: str) -> str:
    return await ctx.run_typed("send year", send_year, customer=customer)


app = restate.app([statements])
