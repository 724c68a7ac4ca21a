"""Enrols a student; when invoices can't be sent, the invocation is paused."""

import os
import sqlite3

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
DATABASE = os.environ.get("DATABASE", "courses.sqlite3")

courses = restate.Service("Courses")


def take_place(place: str, student: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS places (place PRIMARY KEY, student)")
        db.execute("INSERT OR IGNORE INTO places VALUES (?, ?)", (place, student))


def free_place(place: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS places (place PRIMARY KEY, student)")
        db.execute("DELETE FROM places WHERE place = ?", (place,))


def send_invoice(student: str) -> None:
    response = httpx.put(f"{API_URL}/invoices/{student}", json=9000)
    response.raise_for_status()


@courses.handler()
async def enrol(ctx: restate.Context, student: str) -> None:
    place = str(ctx.uuid())
    try:
        await ctx.run_typed("place", take_place, place=place, student=student)
        await ctx.run_typed("invoice", send_invoice, student=student)
    except restate.TerminalError as error:
        await ctx.run_typed("undo", free_place, place=place)
        raise restate.TerminalError("no invoice, no place", 503) from error


app = restate.app([courses])
