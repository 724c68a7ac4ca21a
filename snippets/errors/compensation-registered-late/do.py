"""Sells a seat; its release is registered before the seat is taken."""

import os
import sqlite3
from functools import partial

import restate

DATABASE = os.environ.get("DATABASE", "tickets.sqlite3")
tickets = restate.Service("Tickets")


def reserve(booking: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS seats (seat PRIMARY KEY, booking)")
        new = db.execute("INSERT OR IGNORE INTO seats VALUES ('12A', ?)", (booking,))
    if not new.rowcount:
        raise restate.TerminalError("the seat is taken")


def release(booking: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS seats (seat PRIMARY KEY, booking)")
        db.execute("DELETE FROM seats WHERE booking = ?", (booking,))


def charge(buyer: str) -> None:
    raise restate.TerminalError("the card is declined")  # the bank's answer today


@tickets.handler()
async def buy(ctx: restate.Context, buyer: str) -> None:
    booking = str(ctx.uuid())
    undo: list[tuple[str, partial[None]]] = []
    try:
        undo.append(("undo reserve", partial(release, booking)))
        await ctx.run_typed("reserve", reserve, booking=booking)
        await ctx.run_typed("charge", charge, buyer=buyer)
    except restate.TerminalError as error:
        for name, action in reversed(undo):
            await ctx.run_typed(name, action)
        raise restate.TerminalError("no ticket was sold") from error


app = restate.app([tickets])
