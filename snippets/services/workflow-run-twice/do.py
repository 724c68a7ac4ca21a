"""Opens an account once per customer; whoever asks again gets the first one's result."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

shop = restate.Service("Shop")
account = restate.Workflow("Account")


def open_account(customer: str) -> str:
    response = httpx.post(f"{API_URL}/accounts", json={"customer": customer})
    return str(response.raise_for_status().json()["id"])


@account.main()
async def run(ctx: restate.WorkflowContext) -> str:
    return await ctx.run_typed("open", open_account, customer=ctx.key())


@shop.handler()
async def sign_up(ctx: restate.Context, customer: str) -> str:
    sent = ctx.workflow_send(run, key=customer, arg=None)
    return await ctx.attach_invocation(await sent.invocation_id(), type_hint=str)


app = restate.app([shop, account])
