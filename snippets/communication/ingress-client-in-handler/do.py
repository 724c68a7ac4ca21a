"""Closes an account and says goodbye: it calls the mail service through its context."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

accounts = restate.Service("Accounts")
mails = restate.Service("Mails")


def post(path: str, user: str) -> None:
    httpx.post(f"{API_URL}/{path}", json={"user": user}).raise_for_status()


@mails.handler()
async def goodbye(ctx: restate.Context, user: str) -> None:
    await ctx.run_typed("mail", post, path="mails", user=user)


@accounts.handler()
async def close(ctx: restate.Context, user: str) -> None:
    await ctx.service_call(goodbye, user)
    await ctx.run_typed("delete", post, path="deletions", user=user)


app = restate.app([accounts, mails])
