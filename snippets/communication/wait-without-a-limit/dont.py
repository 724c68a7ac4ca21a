"""Keeps a room until the guest confirms, however long that takes."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

bookings = restate.Workflow("Booking")


def mark(room: str, as_what: str) -> None:
    httpx.put(f"{API_URL}/rooms/{room}", json=as_what).raise_for_status()


@bookings.main()
async def run(ctx: restate.WorkflowContext, room: str) -> str:
    await ctx.run_typed("keep", mark, room=room, as_what="kept")
    confirmed = ctx.promise("confirmed", type_hint=str)
    guest = await confirmed.value()
    return f"room {room} for {guest}"


@bookings.handler()
async def confirm(ctx: restate.WorkflowSharedContext, guest: str) -> str:
    await ctx.promise("confirmed", type_hint=str).resolve(guest)
    return "thank you"


app = restate.app([bookings])
