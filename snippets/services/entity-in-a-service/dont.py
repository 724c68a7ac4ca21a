"""Adds ten points to a customer's account for each order: in a Service."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

orders = restate.Service("Orders")
accounts = restate.Service("Accounts")


def read(customer: str) -> int:
    response = httpx.get(f"{API_URL}/points/{customer}", timeout=30)
    return int(response.raise_for_status().json())


def write(customer: str, points: int) -> None:
    response = httpx.put(f"{API_URL}/points/{customer}", json=points)
    response.raise_for_status()


@accounts.handler()
async def add(ctx: restate.Context, customer: str) -> int:
    points = await ctx.run_typed("read", read, customer=customer) + 10
    await ctx.run_typed("write", write, customer=customer, points=points)
    return points


@orders.handler()
async def pay(ctx: restate.Context, customer: str) -> int:
    return await ctx.service_call(add, arg=customer)


app = restate.app([orders, accounts])
