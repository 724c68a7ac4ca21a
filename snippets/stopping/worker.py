"""Serves a handler and ends on SIGTERM, once nothing is under way."""

import asyncio
import os
import signal
from typing import Any

import httpx
import hypercorn.asyncio
import restate
from hypercorn.config import Config

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


def label(parcel: str) -> str:
    response = httpx.post(f"{API_URL}/labels/{parcel}", timeout=15)
    return str(response.raise_for_status().json()["id"])


@parcels.handler()
async def send(ctx: restate.Context, parcel: str) -> str:
    return await ctx.run_typed("label", label, parcel=parcel)


service: Any = restate.app([parcels])
under_way = 0


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The service, and how many of its attempts are under way."""
    global under_way
    request = scope["type"] == "http"
    under_way += request
    try:
        await service(scope, receive, send)
    finally:
        under_way -= request


async def main() -> None:
    config = Config()
    config.bind = ["127.0.0.1:9080"]
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    async def idle() -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, asked.set)  # in place of the SDK's
        await asked.wait()
        while under_way:
            await asyncio.sleep(0.05)

    await hypercorn.asyncio.serve(app, config, shutdown_trigger=idle)


if __name__ == "__main__":
    asyncio.run(main())
