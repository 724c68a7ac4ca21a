"""Lends a book, or notes the reader down for it; one step decides and acts."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

library = restate.Service("Library")


def is_free() -> bool:
    response = httpx.get(f"{API_URL}/books/dune")
    return bool(response.raise_for_status().json() == "free")


def lend(reader: str, key: str) -> str:
    headers = {"idempotency-key": key}
    response = httpx.put(f"{API_URL}/books/dune", json=reader, headers=headers)
    response.raise_for_status()
    return "the book is yours"


def note_down(reader: str, key: str) -> str:
    headers = {"idempotency-key": key}
    response = httpx.post(f"{API_URL}/waiting", json=reader, headers=headers)
    response.raise_for_status()
    return "you are on the list"


def serve(reader: str, key: str) -> str:
    act = lend if is_free() else note_down
    return act(reader, key)


@library.handler()
async def borrow(ctx: restate.Context, reader: str) -> str:
    key = str(ctx.uuid())
    return await ctx.run_typed("serve", serve, reader=reader, key=key)


app = restate.app([library])
