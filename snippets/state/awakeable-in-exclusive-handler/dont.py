"""Spends a team's budget; large sums wait for the manager: in the budget."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

budgets = restate.VirtualObject("Budgets")
purchases = restate.Service("Purchases")


def ask(reply_to: str, euros: int) -> None:
    body = {"reply_to": reply_to, "euros": euros}
    httpx.post(f"{API_URL}/approvals", json=body).raise_for_status()


@budgets.handler()
async def spend(ctx: restate.ObjectContext, euros: int) -> int:
    if euros > 500:
        reply_to, approval = ctx.awakeable(type_hint=str)
        await ctx.run_typed("ask", ask, reply_to=reply_to, euros=euros)
        if await approval != "yes":
            raise restate.TerminalError("not approved", status_code=403)
    spent = await ctx.get("spent", type_hint=int)
    ctx.set("spent", spent + euros if spent else euros)
    return spent + euros if spent else euros


@purchases.handler()
async def buy(ctx: restate.Context, euros: int) -> int:
    return await ctx.object_call(spend, key="sales", arg=euros)


app = restate.app([budgets, purchases])
