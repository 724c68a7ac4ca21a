"""Reserves all articles of an order, or none; a release asks the loop."""

import os
import sqlite3
from collections.abc import Awaitable, Callable

import restate

DATABASE = os.environ.get("DATABASE", "warehouse.sqlite3")

orders = restate.Service("Orders")


def reserve(order: str, article: str) -> None:
    if article == "tray":  # sold out today
        raise restate.TerminalError(f"no {article} in stock", status_code=409)
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE IF NOT EXISTS reserved (id PRIMARY KEY)")
        db.execute("INSERT OR IGNORE INTO reserved VALUES (?)", (f"{order} {article}",))


def delete(order: str, article: str) -> None:
    with sqlite3.connect(DATABASE) as db:
        db.execute("DELETE FROM reserved WHERE id = ?", (f"{order} {article}",))


async def release(ctx: restate.Context, order: str, article: str) -> None:
    await ctx.run_typed(f"release {article}", delete, order=order, article=article)


@orders.handler()
async def place(ctx: restate.Context, articles: list[str]) -> None:
    order = str(ctx.uuid())
    undo: list[Callable[..., Awaitable[None]]] = []
    try:
        for article in articles:
            undo.append(lambda: release(ctx, order, article))  # noqa: B023
            await ctx.run_typed(
                f"reserve {article}", reserve, order=order, article=article
            )
    except restate.TerminalError:
        for action in reversed(undo):
            await action()
        raise


app = restate.app([orders])
