"""Opens a ticket; remembers what it has mailed. In a test, one error is enough."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

ONCE = restate.InvocationRetryPolicy(max_attempts=1, on_max_attempts="kill")

tickets = restate.VirtualObject("Tickets", invocation_retry_policy=ONCE)

mailed: set[str] = set()


def mail(ticket: str) -> None:
    response = httpx.post(f"{API_URL}/emails", json={"ticket": ticket})
    response.raise_for_status()


@tickets.handler("open")
async def open_ticket(ctx: restate.ObjectContext) -> str:
    if ctx.key() not in mailed:
        mailed.add(ctx.key())
        await ctx.run_typed("mail", mail, ticket=ctx.key())
    return "open"


app = restate.app([tickets])
