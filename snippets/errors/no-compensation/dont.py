"""Books a hotel room against a deposit; nobody frees it without one."""

import os
import sqlite3

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
DATABASE = os.environ.get("DATABASE", "hotel.sqlite3")

hotel = restate.Service("Hotel")


def reserve(guest: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS rooms (room, guest PRIMARY KEY)")
        db.execute("INSERT OR IGNORE INTO rooms VALUES (101, ?)", (guest,))


def release(guest: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("DELETE FROM rooms WHERE guest = ?", (guest,))


def deposit(guest: str) -> None:
    response = httpx.put(f"{API_URL}/deposits/{guest}", json=5000)
    if response.status_code == 402:
        raise restate.TerminalError("no deposit", status_code=402)
    response.raise_for_status()


@hotel.handler()
async def book(ctx: restate.Context, guest: str) -> None:
    await ctx.run_typed("reserve", reserve, guest=guest)
    await ctx.run_typed("deposit", deposit, guest=guest)


app = restate.app([hotel])
