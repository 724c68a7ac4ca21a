"""Has everybody congratulated, each once: in the order of a set."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

raffle = restate.Service("Raffle")
people = restate.VirtualObject("People")


def mail(to: str) -> None:
    httpx.post(f"{API_URL}/mails", json={"to": to}).raise_for_status()


@people.handler()
async def congratulate(ctx: restate.ObjectContext) -> None:
    await ctx.run_typed("mail", mail, to=ctx.key())


@raffle.handler()
async def draw(ctx: restate.Context, entrants: list[str]) -> str:
    for person in set(entrants):
        await ctx.object_call(congratulate, key=person, arg=None)
    return "drawn"


app = restate.app([raffle, people])
