"""Asks two taxi companies, and takes the first that has a driver: the other is forgotten."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

travel = restate.Service("Travel")


def post(path: str, body: dict[str, str]) -> str:
    response = httpx.post(f"{API_URL}/{path}", json=body)
    return str(response.raise_for_status().json()["id"])


@travel.handler()
async def taxi(ctx: restate.Context, company: str) -> str:
    reply_to, driver = ctx.awakeable(type_hint=str)
    offer = {"reply_to": reply_to}
    await ctx.run_typed("ask", post, path=f"offers/{company}", body=offer)
    ride = {"company": company, "driver": await driver}
    return await ctx.run_typed("order", post, path="rides", body=ride)


@travel.handler()
async def home(ctx: restate.Context) -> str:
    red = ctx.service_call(taxi, "red")
    blue = ctx.service_call(taxi, "blue")
    winner, ride = await restate.select(red=red, blue=blue)
    return f"{winner}: {ride}"


app = restate.app([travel])
