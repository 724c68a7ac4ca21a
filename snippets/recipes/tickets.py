"""Sells a seat as a saga: the row in the table and the charge are undone together."""

import os
import sqlite3

import httpx
import restate
from saga import Saga

API_URL = os.environ.get("API_URL", "http://localhost:9000")
DATABASE = os.environ.get("DATABASE", "tickets.sqlite3")

tickets = restate.Service("Tickets")


def reserve(buyer: str, key: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS seats (seat PRIMARY KEY, buyer, key)")
        db.execute("INSERT OR IGNORE INTO seats VALUES ('12A', ?, ?)", (buyer, key))
        (holder,) = db.execute("SELECT key FROM seats WHERE seat = '12A'").fetchone()
    if holder != key:
        raise restate.TerminalError("the seat is taken", status_code=409)


def release(buyer: str, key: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS seats (seat PRIMARY KEY, buyer, key)")
        db.execute("DELETE FROM seats WHERE key = ?", (key,))


def charge(buyer: str, key: str) -> str:
    url, headers = f"{API_URL}/charges", {"idempotency-key": key}
    response = httpx.post(url, json={"buyer": buyer}, headers=headers)
    if response.status_code == 402:
        raise restate.TerminalError("the card was declined", status_code=402)
    return str(response.raise_for_status().json()["id"])


def refund(buyer: str, key: str) -> None:
    """Names the charge: the bank pays nothing back that it never took."""
    url, headers = f"{API_URL}/refunds", {"idempotency-key": f"{key}-back"}
    body = {"buyer": buyer, "charge": key}
    response = httpx.post(url, json=body, headers=headers)
    if response.status_code != 404:  # it never took place
        response.raise_for_status()


def send(buyer: str) -> None:
    """Fails always, so that there is something to undo."""
    raise restate.TerminalError("the printer is gone", status_code=410)


@tickets.handler()
async def buy(ctx: restate.Context, buyer: str) -> None:
    key = str(ctx.uuid())
    async with Saga(ctx) as saga:
        await saga.step("reserve", reserve, release, buyer=buyer, key=key)
        await saga.step("charge", charge, refund, buyer=buyer, key=key)
        await ctx.run_typed("send", send, buyer=buyer)


app = restate.app([tickets])
