"""Gives notice, then charges; an operator's cancel ends the renewal."""

import logging
import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
log = logging.getLogger("renewals")

subscriptions = restate.Service("Subscriptions")


def mail(customer: str) -> None:
    response = httpx.post(f"{API_URL}/emails", json={"to": customer})
    response.raise_for_status()


def charge(customer: str, key: str) -> str:
    url, headers = f"{API_URL}/charges", {"idempotency-key": key}
    response = httpx.post(url, json={"customer": customer}, headers=headers)
    return str(response.raise_for_status().json()["id"])


@subscriptions.handler()
async def renew(ctx: restate.Context, customer: str) -> str:
    key = str(ctx.uuid())
    try:
        await ctx.sleep(timedelta(hours=1))
        await ctx.run_typed("mail", mail, customer=customer)
    except restate.TerminalError:
        log.warning("no notice for %s", customer)
        raise
    return await ctx.run_typed("charge", charge, customer=customer, key=key)


app = restate.app([subscriptions])
