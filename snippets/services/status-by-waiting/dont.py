"""Enters a claim and has it assessed; its number is told with the result."""

import os
from typing import Any

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
INGRESS_URL = os.environ.get("INGRESS_URL", "http://localhost:8080")

claims = restate.Workflow("Claim")


def enter(damage: str) -> str:
    response = httpx.post(f"{API_URL}/claims", json=damage)
    return str(response.raise_for_status().json()["id"])


def assess(number: str) -> str:
    response = httpx.get(f"{API_URL}/assessments/{number}", timeout=60)
    return str(response.raise_for_status().json())


@claims.main()
async def run(ctx: restate.WorkflowContext, damage: str) -> list[str]:
    number = await ctx.run_typed("enter", enter, damage=damage)
    return [number, await ctx.run_typed("assess", assess, number=number)]


app = restate.app([claims])


async def edge(scope: Any, receive: Any, send: Any) -> None:
    claim = scope["path"].rpartition("/")[2]
    result = f"{INGRESS_URL}/restate/workflow/Claim/{claim}/attach"
    async with httpx.AsyncClient(timeout=None) as client:
        number = (await client.get(result)).json()[0]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": number.encode()})
