"""Reserves all items of an order, or none; by a default argument."""

import os
import sqlite3
from collections.abc import Awaitable, Callable

import restate

DATABASE = os.environ.get("DATABASE", "warehouse.sqlite3")
orders = restate.Workflow("Orders")


def reserve(order: str, item: str) -> None:
    if item == "tray":  # sold out today
        raise restate.TerminalError(f"no {item} in stock", status_code=409)
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS reserved (id PRIMARY KEY)")
        db.execute("INSERT OR IGNORE INTO reserved VALUES (?)", (f"{order} {item}",))


def delete(order: str, item: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS reserved (id PRIMARY KEY)")
        db.execute("DELETE FROM reserved WHERE id = ?", (f"{order} {item}",))


async def release(ctx: restate.WorkflowContext, item: str) -> None:
    await ctx.run_typed(f"release {item}", delete, order=ctx.key(), item=item)


@orders.main()
async def place(ctx: restate.WorkflowContext, items: list[str]) -> None:
    undo: list[Callable[..., Awaitable[None]]] = []
    try:
        for item in items:
            undo.append(lambda item=item: release(ctx, item))
            await ctx.run_typed(f"reserve {item}", reserve, order=ctx.key(), item=item)
    except restate.TerminalError:
        for action in reversed(undo):
            await action()
        raise


app = restate.app([orders])
