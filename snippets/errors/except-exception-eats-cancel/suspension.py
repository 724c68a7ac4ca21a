"""Gives notice, then charges; the attempt is suspended in the try block."""

import logging
import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
log = logging.getLogger("renewals")

subscriptions = restate.Service("Subscriptions")


def mail(customer: str) -> None:
    response = httpx.post(f"{API_URL}/emails", json={"to": customer})
    response.raise_for_status()


def charge(customer: str) -> str:
    response = httpx.post(f"{API_URL}/charges", json={"customer": customer})
    return str(response.raise_for_status().json()["id"])


@subscriptions.handler()
async def renew(ctx: restate.Context, customer: str) -> str:
    try:
        await ctx.run_typed("mail", mail, customer=customer)
    except Exception:
        log.warning("no notice for %s", customer)
    return await ctx.run_typed("charge", charge, customer=customer)


app = restate.app([subscriptions])
