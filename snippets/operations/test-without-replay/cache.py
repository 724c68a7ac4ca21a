"""Has the first congratulated, by rules that a variable of the module keeps."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

raffle = restate.Service("Raffle")
people = restate.VirtualObject("People")
rules: list[str] = []


def fetch_rules() -> str:
    return str(httpx.get(f"{API_URL}/rules").raise_for_status().json()["id"])


def mail(to: str) -> None:
    httpx.post(f"{API_URL}/mails", json={"to": to}).raise_for_status()


@people.handler()
async def congratulate(ctx: restate.ObjectContext) -> None:
    await ctx.run_typed("mail", mail, to=ctx.key())


@raffle.handler()
async def draw(ctx: restate.Context, entrants: list[str]) -> str:
    if not rules:
        rules.append(await ctx.run_typed("rules", fetch_rules))
    await ctx.object_call(congratulate, key=entrants[0], arg=None)
    return "drawn"


app = restate.app([raffle, people])
