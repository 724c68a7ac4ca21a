"""Opens an account once per customer, for callers from outside."""

import os
from typing import Any

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
INGRESS_URL = os.environ.get("INGRESS_URL", "http://localhost:8080")

account = restate.Workflow("Account")


def open_account(customer: str) -> str:
    response = httpx.post(f"{API_URL}/accounts", json={"customer": customer})
    return str(response.raise_for_status().json()["id"])


@account.main()
async def run(ctx: restate.WorkflowContext) -> str:
    return await ctx.run_typed("open", open_account, customer=ctx.key())


app = restate.app([account])


async def edge(scope: Any, receive: Any, send: Any) -> None:
    """POST /accounts/ann, from the shop's pages: an ASGI application."""
    if scope["type"] != "http":
        return
    customer = scope["path"].rpartition("/")[2]
    async with restate.create_client(INGRESS_URL) as restate_client:
        sent = await restate_client.workflow_send(run, key=customer, arg=None)
    async with httpx.AsyncClient(base_url=INGRESS_URL, timeout=60) as client:
        path = f"/restate/invocation/{sent.invocation_id}/attach"
        answer = (await client.get(path)).raise_for_status()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": answer.content})
