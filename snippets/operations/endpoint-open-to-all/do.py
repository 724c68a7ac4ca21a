"""Takes payments; the worker serves what its Restate server has signed."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
# Your server's public key. To this one the private half was thrown away.
NOBODY = "publickeyv1_75jE3Napb66UnxosHPX3YTyXaK36krg2vKUnYzFVqrz5"
IDENTITY_KEY = os.environ.get("IDENTITY_KEY", NOBODY)

checkout = restate.Service("Checkout")


def charge(order: str, key: str) -> str:
    headers = {"idempotency-key": key}
    response = httpx.post(f"{API_URL}/charges", json={"order": order}, headers=headers)
    return str(response.raise_for_status().json()["id"])


@checkout.handler()
async def pay(ctx: restate.Context, order: str) -> str:
    key = str(ctx.uuid())
    return await ctx.run_typed("charge", charge, order=order, key=key)


app = restate.app([checkout], identity_keys=[IDENTITY_KEY])
