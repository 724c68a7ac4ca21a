"""Books a flight and a room side by side; when one fails, the other is cancelled."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

trips = restate.Service("Trips")


def post(path: str, body: dict[str, str]) -> str:
    response = httpx.post(f"{API_URL}/{path}", json=body, timeout=30)
    if response.status_code == 409:
        raise restate.TerminalError("sold out", status_code=409)
    return str(response.raise_for_status().json()["id"])


@trips.handler()
async def fly(ctx: restate.Context, guest: str) -> str:
    return await ctx.run_typed("fly", post, path="flights", body={"guest": guest})


@trips.handler()
async def stay(ctx: restate.Context, guest: str) -> str:
    reply_to, free = ctx.awakeable(type_hint=str)
    await ctx.run_typed("ask", post, path="requests", body={"reply_to": reply_to})
    return await ctx.run_typed("book", post, path="rooms", body={"room": await free})


@trips.handler()
async def plan(ctx: restate.Context, guest: str) -> list[str]:
    parts = [ctx.service_call(fly, guest), ctx.service_call(stay, guest)]
    async for part in restate.as_completed(*parts):
        try:
            await part
        except restate.TerminalError:
            for each in parts:
                await each.cancel_invocation()
            raise
    return [await part for part in parts]


app = restate.app([trips])
