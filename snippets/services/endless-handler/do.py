"""Mails a digest every day, until it is unsubscribed: each one sends the next."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
DAY = timedelta(seconds=0.05)  # it's a short one

digests = restate.Service("Digests")


def mail(customer: str) -> bool:
    response = httpx.post(f"{API_URL}/digests", json={"to": customer})
    if response.status_code == 410:  # unsubscribed
        return False
    response.raise_for_status()
    return True


@digests.handler()
async def send(ctx: restate.Context, customer: str) -> None:
    if await ctx.run_typed("mail", mail, customer=customer):
        ctx.service_send(send, customer, send_delay=DAY)


app = restate.app([digests])
