"""The card is used up, and will still be so at the next try."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, RetriedUntilPaused

RULE = "RDD501"
STIMULUS = PLAIN
REDEEM = "POST /redemptions"
USED_UP = "ValueError('the card is used up')"
EXPECTED = {
    "do": Holds(
        answers=[
            {"code": 402, "message": "the card is used up", "source": "invocation"}
        ]
    ),
    "dont": RetriedUntilPaused(USED_UP, attempts=3),
}
ASIDES = {
    "default": Aside(
        "Seventy attempts by default, then the invocation is paused.",
        snippet="default",
        stimulus=PLAIN,
        outcome=RetriedUntilPaused(USED_UP, attempts=70),
    ),
}


async def prove(lab: Lab) -> None:
    lab.outside.fail(REDEEM, times=70, status=402)
    await lab.call("GiftCards/pay", "card-1")
