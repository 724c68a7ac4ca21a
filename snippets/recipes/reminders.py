"""Reminds at a point in time, and asks for an answer, up to a limit."""

import os
from datetime import UTC, datetime, timedelta

import httpx
import restate
from race_with_timeout import race_with_timeout
from sleep_until import sleep_until

API_URL = os.environ.get("API_URL", "http://localhost:9000")

reminders = restate.Service("Reminders")
people = restate.Service("People")


def post(what: str, key: str) -> None:
    headers = {"idempotency-key": key}
    httpx.post(f"{API_URL}/{what}", headers=headers).raise_for_status()


@reminders.handler()
async def remind(ctx: restate.Context, at: float) -> float:
    await sleep_until(ctx, datetime.fromtimestamp(at, UTC))
    await ctx.run_typed("mail", post, what="mails", key=str(ctx.uuid()))
    return await ctx.time()


@people.handler()
async def answer(ctx: restate.Context, seconds: float) -> str:
    await ctx.sleep(timedelta(seconds=seconds))
    await ctx.run_typed("reply", post, what="replies", key=str(ctx.uuid()))
    return "yes"


@reminders.handler()
async def ask(ctx: restate.Context, times: list[float]) -> str:
    thinks, limit = times
    reply = ctx.service_call(answer, thinks)
    return await race_with_timeout(ctx, reply, timedelta(seconds=limit))


app = restate.app([reminders, people])
