"""Adds ten points to a customer's account for each order: in a Virtual Object."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Service("Orders")
accounts = restate.VirtualObject("Accounts")


def read(customer: str) -> int:
    response = httpx.get(f"{API_URL}/points/{customer}", timeout=30)
    return int(response.raise_for_status().json())


def write(customer: str, points: int) -> None:
    response = httpx.put(f"{API_URL}/points/{customer}", json=points)
    response.raise_for_status()


@accounts.handler()
async def add(ctx: restate.ObjectContext) -> int:
    customer = ctx.key()
    points = await ctx.run_typed("read", read, customer=customer) + 10
    await ctx.run_typed("write", write, customer=customer, points=points)
    return points


@orders.handler()
async def pay(ctx: restate.Context, customer: str) -> int:
    return await ctx.object_call(add, key=customer, arg=None)


app = restate.app([orders, accounts])
