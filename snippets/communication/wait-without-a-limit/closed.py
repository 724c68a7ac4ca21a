"""Keeps a room until the guest confirms; after the limit, nobody can any more."""

import os
from datetime import timedelta

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
LIMIT = timedelta(seconds=0.5)

bookings = restate.Workflow("Booking")


def mark(room: str, as_what: str) -> None:
    httpx.put(f"{API_URL}/rooms/{room}", json=as_what).raise_for_status()


@bookings.main()
async def run(ctx: restate.WorkflowContext, room: str) -> str:
    await ctx.run_typed("keep", mark, room=room, as_what="kept")
    confirmed = ctx.promise("confirmed", type_hint=str)
    match await restate.select(guest=confirmed.value(), limit=ctx.sleep(LIMIT)):
        case ["guest", guest]:
            return f"room {room} for {guest}"
    try:
        await confirmed.reject("too late")
    except restate.TerminalError as refused:
        if refused.message != "promise was already completed":
            raise  # a cancel
        return f"room {room} for {await confirmed}"  # the guest was faster
    await ctx.run_typed("free", mark, room=room, as_what="free")
    return f"room {room} was not confirmed"


@bookings.handler()
async def confirm(ctx: restate.WorkflowSharedContext, guest: str) -> str:
    await ctx.promise("confirmed", type_hint=str).resolve(guest)
    return "thank you"


app = restate.app([bookings])
