"""Redeems a gift card; one that is used up is an answer, and final."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

gift_cards = restate.Service("GiftCards")


def redeem(card: str, key: str) -> str:
    response = httpx.post(
        f"{API_URL}/redemptions",
        json={"card": card, "cents": 2500},
        headers={"idempotency-key": key},
    )
    if response.status_code == 402:
        raise restate.TerminalError("the card is used up", status_code=402)
    return str(response.raise_for_status().json()["id"])


@gift_cards.handler()
async def pay(ctx: restate.Context, card: str) -> str:
    key = str(ctx.uuid())
    return await ctx.run_typed("redeem", redeem, card=card, key=key)


app = restate.app([gift_cards])
