"""Asks the boss about an expense, and waits for the answer: an awakeable."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

expenses = restate.Service("Expenses")


def mail(expense: str, answer_to: str) -> None:
    asked = {"expense": expense, "answer to": answer_to}
    httpx.post(f"{API_URL}/mails", json=asked).raise_for_status()


@expenses.handler()
async def claim(ctx: restate.Context, expense: str) -> str:
    id, answer = ctx.awakeable(type_hint=str)
    await ctx.run_typed("mail", mail, expense=expense, answer_to=id)
    return await answer


app = restate.app([expenses])
