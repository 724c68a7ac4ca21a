"""Closes an account and says goodbye: it calls the mail service at the ingress, in a step."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
INGRESS_URL = os.environ.get("INGRESS_URL", "http://localhost:8080")

accounts = restate.Service("Accounts")
mails = restate.Service("Mails")


def post(path: str, user: str) -> None:
    httpx.post(f"{API_URL}/{path}", json={"user": user}).raise_for_status()


@mails.handler()
async def goodbye(ctx: restate.Context, user: str) -> None:
    await ctx.run_typed("mail", post, path="mails", user=user)


async def call_goodbye(user: str) -> None:
    async with restate.create_client(INGRESS_URL) as client:
        await client.service_call(goodbye, user)


@accounts.handler()
async def close(ctx: restate.Context, user: str) -> None:
    await ctx.run_typed("goodbye", call_goodbye, user=user)
    await ctx.run_typed("delete", post, path="deletions", user=user)


app = restate.app([accounts, mails])
