"""Takes an order and answers at once; the confirmation is left to a task."""

import asyncio
import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
TASKS: set[asyncio.Task[None]] = set()

shop = restate.Service("Shop")


def mail(order: str) -> None:
    response = httpx.post(f"{API_URL}/emails", json={"order": order})
    response.raise_for_status()


def book(order: str) -> str:
    response = httpx.post(f"{API_URL}/orders", json={"order": order}, timeout=30)
    return str(response.raise_for_status().json()["id"])


async def confirm(ctx: restate.Context, order: str) -> None:
    await ctx.run_typed("mail", mail, order=order)


@shop.handler()
async def buy(ctx: restate.Context, order: str) -> str:
    number = await ctx.run_typed("book", book, order=order)
    TASKS.add(asyncio.create_task(confirm(ctx, order)))
    return number


app = restate.app([shop])
