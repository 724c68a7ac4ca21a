"""Opens an account once per customer; calls the workflow, also when somebody asks again."""

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
    return await ctx.workflow_call(run, key=customer, arg=None)


app = restate.app([shop, account])
