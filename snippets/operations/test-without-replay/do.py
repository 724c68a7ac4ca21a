"""Draws a winner and has them congratulated: in a step."""

import os
import random

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

raffle = restate.Service("Raffle")
people = restate.VirtualObject("People")


def mail(to: str) -> None:
    httpx.post(f"{API_URL}/mails", json={"to": to}).raise_for_status()


def pick(entrants: list[str]) -> str:
    return random.choice(entrants)


@people.handler()
async def congratulate(ctx: restate.ObjectContext) -> None:
    await ctx.run_typed("mail", mail, to=ctx.key())


@raffle.handler()
async def draw(ctx: restate.Context, entrants: list[str]) -> str:
    winner = await ctx.run_typed("pick", pick, entrants=entrants)
    await ctx.object_call(congratulate, key=winner, arg=None)
    return "drawn"


app = restate.app([raffle, people])
