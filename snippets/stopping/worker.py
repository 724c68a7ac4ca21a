"""Serves a handler and ends on SIGTERM, after what is under way."""

import asyncio
import os

import httpx
import hypercorn.asyncio
import restate
from hypercorn.config import Config
from restate.server import install_shutdown_hook

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


def label(parcel: str) -> str:
    response = httpx.post(f"{API_URL}/labels", json=parcel, timeout=15)
    return str(response.raise_for_status().json()["id"])


@parcels.handler()
async def send(ctx: restate.Context, parcel: str) -> str:
    return await ctx.run_typed("label", label, parcel=parcel)


app = restate.app([parcels])


async def main() -> None:
    config = Config()
    config.bind = ["127.0.0.1:9080"]
    config.graceful_timeout = 20.0  # seconds: longer than the longest step
    stopping = asyncio.Event()
    install_shutdown_hook(asyncio.get_running_loop(), stopping.set)
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=stopping.wait)


if __name__ == "__main__":
    asyncio.run(main())
