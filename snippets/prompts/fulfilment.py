"""Fulfils an order, or undoes all of it; what may have been done is noted before it is."""

import os
from datetime import timedelta
from typing import Any

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
LIMIT = restate.RunOptions[None](max_duration=timedelta(minutes=5))

mails = restate.Service("Mails")
fulfilment = restate.Workflow("Fulfilment")


def put(what: str, order: str) -> None:
    response = httpx.put(f"{API_URL}/{what}/{order}", json=True)
    if response.status_code in (402, 409):
        raise restate.TerminalError(f"{what}: refused", status_code=409)
    response.raise_for_status()


def delete(what: str, order: str) -> None:
    response = httpx.delete(f"{API_URL}/{what}/{order}")
    if response.status_code != 404:  # it may never have been there
        response.raise_for_status()


async def ended(step: restate.RestateDurableFuture[Any]) -> None:
    """Waits until a step is over: a cancel is raised here, but doesn't stop it."""
    while True:
        try:
            await restate.gather(step)
            return
        except restate.TerminalError:
            continue


@mails.handler()
async def confirm(ctx: restate.Context, order: str) -> None:
    await ctx.run_typed("mail", put, what="mails", order=order)


@fulfilment.main()
async def run(ctx: restate.WorkflowContext) -> str:
    order, begun = ctx.key(), dict[str, restate.RestateDurableFuture[None]]()
    try:
        for what in ("reservations", "charges"):
            begun[what] = ctx.run_typed(what, put, LIMIT, what=what, order=order)
            await restate.gather(begun[what])  # its own await would keep a cancel
            await begun[what]
    except restate.TerminalError:
        for what, step in reversed(begun.items()):
            await ended(step)  # else it could act after its undoing
            undoing = ctx.run_typed(f"undo {what}", delete, what=what, order=order)
            await ended(undoing)
            await undoing
        raise
    ctx.service_send(confirm, order)
    return f"{order} is paid"


app = restate.app([mails, fulfilment])
