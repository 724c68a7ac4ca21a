"""Starts a trial, and charges when it is over; Restate keeps the time."""

import os
import sqlite3
from datetime import timedelta

import restate

DATABASE = os.environ.get("DATABASE", "trials.sqlite3")
TRIAL = timedelta(seconds=1.5)

trials = restate.Service(
    "Trials",  # by default, these are 1 minute and 10 minutes
    inactivity_timeout=timedelta(seconds=0.5),
    abort_timeout=timedelta(seconds=0.5),
)


def charge(customer: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS charges (customer)")
        db.execute("INSERT INTO charges VALUES (?)", (customer,))


@trials.handler()
async def start(ctx: restate.Context, customer: str) -> str:
    await ctx.sleep(TRIAL)
    await ctx.run_typed("charge", charge, customer=customer)
    return f"{customer} is charged"


app = restate.app([trials])
