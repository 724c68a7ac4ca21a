"""Pauses between two mails, and says how often it has done so."""

import asyncio
import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

trials = restate.Service("Trials")


def mail(text: str) -> None:
    response = httpx.post(f"{API_URL}/emails", json={"text": text})
    response.raise_for_status()


async def pause() -> None:
    await asyncio.sleep(0.3)
    print("paused for 0.3 s")


@trials.handler()
async def start(ctx: restate.Context, customer: str) -> str:
    await ctx.run_typed("mail welcome", mail, text=f"welcome, {customer}")
    await pause()
    await ctx.run_typed("mail advice", mail, text=f"first steps for {customer}")
    return "two mails"


app = restate.app([trials])
