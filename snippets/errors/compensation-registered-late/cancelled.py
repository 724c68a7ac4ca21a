"""Sells a seat; a cancel waits until the seat is taken, and then gives it back."""

import os
import sqlite3

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
DATABASE = os.environ.get("DATABASE", "tickets.sqlite3")
tickets = restate.Service("Tickets")


def reserve(booking: str) -> None:
    httpx.get(f"{API_URL}/halls/1", timeout=30).raise_for_status()  # a slow one
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS seats (seat PRIMARY KEY, booking)")
        db.execute("INSERT OR IGNORE INTO seats VALUES ('12A', ?)", (booking,))
        held = db.execute("SELECT booking FROM seats WHERE seat = '12A'").fetchone()
    if held != (booking,):
        raise restate.TerminalError("the seat is taken")


def release(booking: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS seats (seat PRIMARY KEY, booking)")
        db.execute("DELETE FROM seats WHERE booking = ?", (booking,))


@tickets.handler()
async def buy(ctx: restate.Context, buyer: str) -> None:
    booking = str(ctx.uuid())
    seat = ctx.run_typed("reserve", reserve, booking=booking)
    try:
        await restate.gather(seat)  # not `await seat`: it would keep a cancel
        await seat
    except restate.TerminalError as error:
        await restate.gather(seat)  # until the step is over
        await ctx.run_typed("undo reserve", release, booking=booking)
        raise restate.TerminalError("no ticket was sold") from error


app = restate.app([tickets])
