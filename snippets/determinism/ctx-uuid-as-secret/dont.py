"""Mails a password-reset token that is drawn from the invocation."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

accounts = restate.Service("Accounts")


def mail_token(email: str, token: str) -> str:
    response = httpx.post(f"{API_URL}/emails", json={"to": email, "token": token})
    return str(response.raise_for_status().json()["id"])


@accounts.handler()
async def reset_password(ctx: restate.Context, email: str) -> str:
    token = str(ctx.uuid())
    return await ctx.run_typed("mail token", mail_token, email=email, token=token)


app = restate.app([accounts])
