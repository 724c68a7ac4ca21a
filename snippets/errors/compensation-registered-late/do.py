"""Sells a seat; its release is registered before the seat is taken."""

import os
import sqlite3
from functools import partial

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
DATABASE = os.environ.get("DATABASE", "tickets.sqlite3")

tickets = restate.Service("Tickets")


def reserve(booking: str, buyer: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS seats (seat PRIMARY KEY, buyer, booking)")
        try:
            db.execute("INSERT INTO seats VALUES ('12A', ?, ?)", (buyer, booking))
        except sqlite3.IntegrityError as error:
            raise restate.TerminalError("the seat is taken") from error


def release(booking: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("DELETE FROM seats WHERE booking = ?", (booking,))


def charge(booking: str, buyer: str) -> None:
    headers = {"idempotency-key": booking}
    response = httpx.post(f"{API_URL}/charges", json=[buyer, 90], headers=headers)
    if response.status_code == 402:
        raise restate.TerminalError("the card is declined")
    response.raise_for_status()


@tickets.handler()
async def buy(ctx: restate.Context, buyer: str) -> None:
    booking = str(ctx.uuid())
    undo: list[tuple[str, partial[None]]] = []
    try:
        undo.append(("undo reserve", partial(release, booking)))
        await ctx.run_typed("reserve", reserve, booking=booking, buyer=buyer)
        await ctx.run_typed("charge", charge, booking=booking, buyer=buyer)
    except restate.TerminalError as error:
        for name, action in reversed(undo):
            await ctx.run_typed(name, action)
        raise restate.TerminalError("no ticket was sold") from error


app = restate.app([tickets])
