"""Reminds of an appointment at the time that the caller names, with no `max`."""

import os
import time
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

reminders = restate.Service("Reminders")


def mail(text: str) -> str:
    response = httpx.post(f"{API_URL}/emails", json={"text": text})
    return str(response.raise_for_status().json()["id"])


@reminders.handler()
async def remind(ctx: restate.Context, due: float) -> str:
    left = due - time.time()
    await ctx.sleep(timedelta(seconds=left))
    return await ctx.run_typed("mail", mail, text="see you in an hour")


app = restate.app([reminders])
