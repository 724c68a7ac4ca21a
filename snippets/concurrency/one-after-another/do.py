"""Asks two agencies about an applicant, both at the same time."""

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
    income = ctx.run_typed("ask income", ask, agency="income", name=name)
    debts = ctx.run_typed("ask debts", ask, agency="debts", name=name)
    await restate.gather(income, debts)
    return await income - await debts


app = restate.app([loans])
