"""Asks two agencies about an applicant, one after the other."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

loans = restate.Service("Loans")


def ask(agency: str, name: str) -> int:
    response = httpx.get(f"{API_URL}/{agency}/{name}", timeout=30)
    return int(response.raise_for_status().json())


@loans.handler()
async def rate(ctx: restate.Context, name: str) -> int:
    income = await ctx.run_typed("ask income", ask, agency="income", name=name)
    debts = await ctx.run_typed("ask debts", ask, agency="debts", name=name)
    return income - debts


app = restate.app([loans])
