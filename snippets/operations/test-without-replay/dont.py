"""Opens a customer's ticket; notes which worker it was."""

import os
import uuid

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
WORKER = str(uuid.uuid4())  # one for each process

tickets = restate.VirtualObject("Tickets")


def worker() -> str:
    return WORKER


def mail(ticket: str) -> None:
    response = httpx.post(f"{API_URL}/emails", json={"ticket": ticket})
    response.raise_for_status()


@tickets.handler("open")
async def open_ticket(ctx: restate.ObjectContext) -> str:
    ctx.set("opened by", worker())
    await ctx.run_typed("mail", mail, ticket=ctx.key())
    return "open"


app = restate.app([tickets])
