"""Answers a customer's question; asking the language model is a step."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

support = restate.Service("Support")


async def complete(question: str) -> str:
    async with httpx.AsyncClient(timeout=600) as client:
        prompt = {"prompt": question}
        response = await client.post(f"{API_URL}/completions", json=prompt)
    return str(response.raise_for_status().json()["id"])


def send_email(completion: str) -> str:
    response = httpx.post(f"{API_URL}/emails", json={"body": completion})
    return str(response.raise_for_status().json()["id"])


@support.handler()
async def answer(ctx: restate.Context, question: str) -> str:
    completion = await ctx.run_typed("complete", complete, question=question)
    return await ctx.run_typed("send email", send_email, completion=completion)


app = restate.app([support])
