"""Mails a newsletter to everybody who has not cancelled it."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

readers = restate.VirtualObject("Readers")


def send(reader: str) -> None:
    httpx.post(f"{API_URL}/emails", json={"to": reader}).raise_for_status()


@readers.handler()
async def cancel(ctx: restate.ObjectContext) -> str:
    ctx.set("wants_mail", False)
    return "cancelled"


@readers.handler()
async def mail(ctx: restate.ObjectContext) -> str:
    if not (await ctx.get("wants_mail", type_hint=bool) or True):
        return "no mail"
    await ctx.run_typed("send", send, reader=ctx.key())
    return "mailed"


app = restate.app([readers])
