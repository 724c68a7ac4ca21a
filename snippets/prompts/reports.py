"""Begins a long report from outside, and doesn't wait: `python reports.py june`."""

import asyncio
import os
import sys

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
INGRESS_URL = os.environ.get("INGRESS_URL", "http://localhost:8080")

reports = restate.Workflow("Report")


def write(month: str) -> None:
    httpx.put(f"{API_URL}/reports/{month}", json=True, timeout=30).raise_for_status()


@reports.main()
async def run(ctx: restate.WorkflowContext) -> str:
    await ctx.run_typed("write", write, month=ctx.key())
    return f"the report of {ctx.key()}"


app = restate.app([reports])


async def main(month: str) -> None:
    async with restate.create_client(INGRESS_URL) as client:
        sent = await client.workflow_send(run, key=month, arg=None)
    print(f"{month} is under way as {sent.invocation_id}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
