"""Waits for an approval, at most an hour; hands the promise's future to select."""

from datetime import timedelta

import restate

LIMIT = timedelta(hours=1)

invoice = restate.Workflow("Invoice")


@invoice.main()
async def run(ctx: restate.WorkflowContext) -> str:
    approval = ctx.promise("approval", type_hint=str)
    limit = ctx.sleep(LIMIT)
    match await restate.select(by=approval.value(), limit=limit):
        case ["by", name]:
            return f"approved by {name}"
        case _:
            return "not approved"


@invoice.handler()
async def approve(ctx: restate.WorkflowSharedContext, name: str) -> None:
    await ctx.promise("approval", type_hint=str).resolve(name)


app = restate.app([invoice])
