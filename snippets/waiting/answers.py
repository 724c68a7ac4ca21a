"""Waits for one answer: by an awakeable, and by a workflow's promise."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

desk = restate.Service("Desk")
signup = restate.Workflow("Signup")


def mail(id: str) -> None:
    httpx.post(f"{API_URL}/mails", json={"answer to": id}).raise_for_status()


@desk.handler()
async def ask(ctx: restate.Context) -> str:
    id, answer = ctx.awakeable(type_hint=str)
    await ctx.run_typed("mail", mail, id=id)
    return await answer


@signup.main()
async def run(ctx: restate.WorkflowContext) -> str:
    await ctx.run_typed("mail", mail, id=ctx.key())
    return await ctx.promise("approved", type_hint=str).value()


@signup.handler()
async def approve(ctx: restate.WorkflowSharedContext, by: str) -> None:
    await ctx.promise("approved", type_hint=str).resolve(by)


app = restate.app([desk, signup])
