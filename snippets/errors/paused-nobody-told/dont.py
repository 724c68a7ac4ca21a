"""Keeps wallets; a top-up that the bank doesn't take is tried again."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

wallets = restate.VirtualObject("Wallets")


def debit(wallet: str, cents: int) -> None:
    body = {"wallet": wallet, "cents": cents}
    response = httpx.post(f"{API_URL}/debits", json=body)
    if response.is_error:
        raise ConnectionError(f"the bank answered {response.status_code}")


@wallets.handler()
async def top_up(ctx: restate.ObjectContext, cents: int) -> int:
    await ctx.run_typed("debit", debit, wallet=ctx.key(), cents=cents)
    balance = (await ctx.get("balance", type_hint=int) or 0) + cents
    ctx.set("balance", balance)
    return balance


@wallets.handler()
async def spend(ctx: restate.ObjectContext, cents: int) -> int:
    balance = (await ctx.get("balance", type_hint=int) or 0) - cents
    ctx.set("balance", balance)
    return balance


app = restate.app([wallets])
