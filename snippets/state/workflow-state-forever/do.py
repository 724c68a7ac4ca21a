"""Settles claims, and lists what became of a customer's: kept with the customer."""

from datetime import timedelta

import restate

claims = restate.Workflow("Claims")
customers = restate.VirtualObject("Customers")


@claims.main(workflow_retention=timedelta(seconds=1))
async def settle(ctx: restate.WorkflowContext, customer: str) -> str:
    ctx.set("outcome", "paid")
    await ctx.object_call(add, key=customer, arg=ctx.key())
    return "paid"


@claims.handler()
async def outcome(ctx: restate.WorkflowSharedContext) -> str | None:
    return await ctx.get("outcome", type_hint=str)


@customers.handler()
async def add(ctx: restate.ObjectContext, claim: str) -> None:
    known = await ctx.workflow_call(outcome, key=claim, arg=None)
    if known is not None:  # else the claim is gone, and what is kept of it stays
        ctx.set(claim, known)


@customers.handler(kind="shared")
async def history(ctx: restate.ObjectSharedContext) -> dict[str, str | None]:
    names = await ctx.state_keys()
    return {n: await ctx.get(n, type_hint=str) for n in names}


app = restate.app([claims, customers])
