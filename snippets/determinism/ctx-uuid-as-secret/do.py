"""Mails a password-reset token that is drawn in the step, from the system's entropy."""

import os
import secrets

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

accounts = restate.Service("Accounts")


def mail_token(email: str) -> str:
    token = secrets.token_urlsafe(32)
    response = httpx.post(f"{API_URL}/emails", json={"to": email, "token": token})
    return str(response.raise_for_status().json()["id"])


@accounts.handler()
async def reset_password(ctx: restate.Context, email: str) -> str:
    return await ctx.run_typed("mail token", mail_token, email=email)


app = restate.app([accounts])
