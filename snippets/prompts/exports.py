"""Exports an account's data, and says how far it has got, until a day after its end."""

import os

import httpx
import restate
from pydantic import BaseModel

API_URL = os.environ.get("API_URL", "http://localhost:9000")

exports = restate.Workflow("Export")


class Status(BaseModel):
    phase: str
    rows: int = 0


def collect(account: str) -> int:
    response = httpx.get(f"{API_URL}/rows/{account}", timeout=30)
    return int(response.raise_for_status().json())


def upload(account: str) -> None:
    httpx.put(f"{API_URL}/files/{account}", json=True, timeout=30).raise_for_status()


@exports.main()
async def run(ctx: restate.WorkflowContext) -> int:
    ctx.set("status", Status(phase="collecting"))
    rows = await ctx.run_typed("collect", collect, account=ctx.key())
    ctx.set("status", Status(phase="uploading", rows=rows))
    await ctx.run_typed("upload", upload, account=ctx.key())
    ctx.set("status", Status(phase="done", rows=rows))
    return rows


@exports.handler()
async def status(ctx: restate.WorkflowSharedContext) -> Status:
    now = await ctx.get("status", type_hint=Status)
    return Status(phase="not begun") if now is None else now


app = restate.app([exports])
