"""Files insurance claims; the edge passes on all headers that belong to the caller."""

import hmac
import os
from typing import Any

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
INGRESS_URL = os.environ.get("INGRESS_URL", "http://localhost:8080")
TOKEN = os.environ.get("BROKER_TOKEN", os.urandom(16).hex())
OF_CONNECTION = {"host", "connection", "content-length", "accept-encoding"}

claims = restate.Service("Claims")


def enter(claim: str, trace: str) -> str:
    body = {"claim": claim, "trace": trace}
    response = httpx.post(f"{API_URL}/claims", json=body)
    return str(response.raise_for_status().json()["id"])


@claims.handler()
async def file(ctx: restate.Context, claim: str) -> str:
    trace = ctx.request().headers["x-trace"]
    return await ctx.run_typed("enter", enter, claim=claim, trace=trace)


app = restate.app([claims])


async def edge(scope: Any, receive: Any, send: Any) -> None:
    """POST /claims/water-damage, from a broker's system: an ASGI application."""
    if scope["type"] != "http":
        return
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    status, answer, token = 401, "", f"Bearer {TOKEN}".encode()
    if hmac.compare_digest(headers.get("authorization", "").encode(), token):
        passed = {n: headers[n] for n in headers if n not in OF_CONNECTION}
        claim = scope["path"].rpartition("/")[2]
        async with restate.create_client(INGRESS_URL, passed) as client:
            status, answer = 200, await client.service_call(file, claim)
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": answer.encode()})
