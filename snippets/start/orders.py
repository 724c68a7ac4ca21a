# /// script
# requires-python = ">=3.11"
# dependencies = ["restate-sdk==1.3.0", "hypercorn==0.18.0", "httpx==0.28.1"]
# ///
"""Charges for an order, waits ten seconds, sends it. Kill it while it waits."""

import asyncio
from datetime import timedelta

import httpx
import hypercorn.asyncio
import restate
from hypercorn.config import Config

orders = restate.Service("Orders")


def charge(order: str) -> str:
    print(f"  charging for {order}")
    return f"charge of {order}"


def send(order: str) -> str:
    print(f"  sending {order}")
    return f"parcel of {order}"


@orders.handler()
async def place(ctx: restate.Context, order: str) -> list[str]:
    print("place, from its first line")
    paid = await ctx.run_typed("charge", charge, order=order)
    await ctx.sleep(timedelta(seconds=10))
    parcel = await ctx.run_typed("send", send, order=order)
    print("place, done")
    return [paid, parcel]


app = restate.app([orders])


async def main() -> None:
    config = Config()
    config.bind = ["127.0.0.1:9080"]
    serving = asyncio.create_task(hypercorn.asyncio.serve(app, config))
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9070") as admin:
        here = {"uri": "http://127.0.0.1:9080", "force": True}
        (await admin.post("/deployments", json=here)).raise_for_status()
    await serving


if __name__ == "__main__":
    asyncio.run(main())
