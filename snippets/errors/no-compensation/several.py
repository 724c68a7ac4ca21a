"""Books a room and a dinner; without a deposit both are freed, the last one first."""

import os
import sqlite3

import restate

DATABASE = os.environ.get("DATABASE", "hotel.sqlite3")

hotel = restate.Service("Hotel")


def reserve(table: str, id: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute(f"CREATE TABLE IF NOT EXISTS {table} (id PRIMARY KEY)")
        db.execute(f"INSERT OR IGNORE INTO {table} VALUES (?)", (id,))


def release(table: str, id: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute(f"CREATE TABLE IF NOT EXISTS {table} (id PRIMARY KEY)")
        db.execute(f"DELETE FROM {table} WHERE id = ?", (id,))


def deposit(guest: str) -> None:
    # The bank's answer today.
    raise restate.TerminalError("no deposit", status_code=402)


@hotel.handler()
async def book(ctx: restate.Context, guest: str) -> None:
    id = str(ctx.uuid())
    undo: list[str] = []
    try:
        for table in ("rooms", "dinners"):
            undo.append(table)
            await ctx.run_typed(f"reserve {table}", reserve, table=table, id=id)
        await ctx.run_typed("deposit", deposit, guest=guest)
    except restate.TerminalError:
        for table in reversed(undo):
            await ctx.run_typed(f"release {table}", release, table=table, id=id)
        raise


app = restate.app([hotel])
