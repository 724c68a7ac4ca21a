"""Sells a seat; what is released is whatever the buyer holds."""

import os
import sqlite3
from functools import partial

import restate

DATABASE = os.environ.get("DATABASE", "tickets.sqlite3")

tickets = restate.Service("Tickets")


def reserve(buyer: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS seats (seat PRIMARY KEY, buyer)")
        new = db.execute("INSERT OR IGNORE INTO seats VALUES ('12A', ?)", (buyer,))
    if not new.rowcount:
        raise restate.TerminalError("the seat is taken")


def release(buyer: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS seats (seat PRIMARY KEY, buyer)")
        db.execute("DELETE FROM seats WHERE buyer = ?", (buyer,))


def charge(buyer: str) -> None:
    print(f"{buyer} is charged")


@tickets.handler()
async def buy(ctx: restate.Context, buyer: str) -> None:
    undo: list[tuple[str, partial[None]]] = []
    try:
        undo.append(("undo reserve", partial(release, buyer)))
        await ctx.run_typed("reserve", reserve, buyer=buyer)
        await ctx.run_typed("charge", charge, buyer=buyer)
    except restate.TerminalError as error:
        for name, action in reversed(undo):
            await ctx.run_typed(name, action)
        raise restate.TerminalError("no ticket was sold") from error


app = restate.app([tickets])
