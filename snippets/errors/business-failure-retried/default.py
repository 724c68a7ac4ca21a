"""Redeems a gift card under the default retry policy, with pauses of a millisecond."""

from datetime import timedelta

import restate

PAUSE = timedelta(milliseconds=1)

gift_cards = restate.Service(
    "GiftCards",
    invocation_retry_policy=restate.InvocationRetryPolicy(
        initial_interval=PAUSE, max_interval=PAUSE
    ),
)


@gift_cards.handler()
async def pay(ctx: restate.Context, card: str) -> str:
    raise ValueError("the card is used up")


app = restate.app([gift_cards])
