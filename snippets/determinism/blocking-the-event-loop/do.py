"""Fetches a slow report in a thread, so that the worker goes on serving others."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

reports = restate.Service("Reports")


def fetch(month: str) -> str:
    response = httpx.get(f"{API_URL}/reports/{month}", timeout=30)
    return str(response.raise_for_status().json()["title"])


@reports.handler()
async def build(ctx: restate.Context, month: str) -> str:
    return await ctx.run_typed("fetch", fetch, month=month)


@reports.handler()
async def ping(ctx: restate.Context) -> str:
    return "pong"


app = restate.app([reports])
