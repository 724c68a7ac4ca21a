"""Sends a welcome mail; the step is given a partial of the async function."""

import os
from functools import partial

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

accounts = restate.Service("Accounts")


async def send_email(address: str) -> str:
    async with httpx.AsyncClient() as client:
        response = await client.post(f"{API_URL}/emails", json={"to": address})
    return str(response.raise_for_status().json()["id"])


@accounts.handler()
async def welcome(ctx: restate.Context, address: str) -> str:
    return await ctx.run_typed("send email", partial(send_email, address))


app = restate.app([accounts])
