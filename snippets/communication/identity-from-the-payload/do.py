"""Pays out what a customer has; the edge, which has verified them, says who it is."""

import hmac
import os
from typing import Any
from urllib.parse import parse_qsl

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
INGRESS_URL = os.environ.get("INGRESS_URL", "http://localhost:8080")
SECRET = os.environ.get("TOKEN_SECRET", os.urandom(16).hex())

accounts = restate.Service("Accounts")


def pay(user: str, iban: str) -> str:
    httpx.post(f"{API_URL}/payouts", json={"from": user, "to": iban}).raise_for_status()
    return f"paid out for {user}"


@accounts.handler()
async def payout(ctx: restate.Context, asked: dict[str, str]) -> str:
    user = ctx.request().headers["x-user"]
    return await ctx.run_typed("pay", pay, user=user, iban=asked["iban"])


app = restate.app([accounts])


async def edge(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    user, _, signature = headers.get("authorization", "").partition(".")
    expected = hmac.new(SECRET.encode(), user.encode(), "sha256").hexdigest()
    status, answer = 401, ""
    if hmac.compare_digest(signature.encode(), expected.encode()):
        passed = {"x-user": user}
        asked = dict(parse_qsl(scope["query_string"].decode()))
        async with restate.create_client(INGRESS_URL, passed) as client:
            status, answer = 200, await client.service_call(payout, asked)
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": answer.encode()})
