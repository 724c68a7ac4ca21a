"""Runs each order once in a week, and knows for a week which changes it has taken."""

from datetime import timedelta

import restate

WEEK = timedelta(days=7)

orders = restate.Workflow("Order", idempotency_retention=WEEK)


@orders.main(workflow_retention=WEEK)
async def run(ctx: restate.WorkflowContext) -> str:
    promised = ctx.promise("address", type_hint=str)
    won, address = await restate.select(address=promised.value(), limit=ctx.sleep(WEEK))
    if won == "limit":
        try:
            # Who sends one later is refused.
            await promised.reject("no address came", 408)
        except restate.TerminalError as refused:
            if refused.message != "promise was already completed":
                raise  # a cancel
        address = await promised
    return f"{ctx.key()} to {address}"


@orders.handler()
async def send_to(ctx: restate.WorkflowSharedContext, address: str) -> str:
    await ctx.promise("address", type_hint=str).resolve(address)
    return f"noted: {address}"


app = restate.app([orders])
