"""Books a hotel room against a deposit; without the deposit the room is freed."""

import os
import sqlite3

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
DATABASE = os.environ.get("DATABASE", "hotel.sqlite3")
hotel = restate.Service("Hotel")


def reserve(booking: str, guest: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS rooms (booking PRIMARY KEY, guest)")
        db.execute("INSERT OR IGNORE INTO rooms VALUES (?, ?)", (booking, guest))


def release(booking: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS rooms (booking PRIMARY KEY, guest)")
        db.execute("DELETE FROM rooms WHERE booking = ?", (booking,))


def deposit(booking: str, guest: str) -> None:
    headers = {"idempotency-key": booking}
    response = httpx.post(f"{API_URL}/deposits", json=[guest, 50], headers=headers)
    if response.status_code == 402:
        raise restate.TerminalError("no deposit", status_code=402)
    response.raise_for_status()


@hotel.handler()
async def book(ctx: restate.Context, guest: str) -> None:
    booking = str(ctx.uuid())
    try:
        await ctx.run_typed("reserve", reserve, booking=booking, guest=guest)
        await ctx.run_typed("deposit", deposit, booking=booking, guest=guest)
    except restate.TerminalError:
        await ctx.run_typed("release", release, booking=booking)
        raise


app = restate.app([hotel])
