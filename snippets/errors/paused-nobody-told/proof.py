"""The bank's rates are down while Ann tops up; when they are back, she spends what she had."""

from restate_guide.lab import PLAIN, Holds, Lab, RetriedUntilPaused

RULE = "RDD515"
STIMULUS = PLAIN
RATE, BANK_DOWN = "GET /rates/usd", "ConnectionError('the bank answered 503')"
GIVEN_UP = {"code": 500, "message": BANK_DOWN, "source": "invocation"}
EXPECTED = {
    "do": Holds(answers=[900, GIVEN_UP, 600]),
    "dont": RetriedUntilPaused(BANK_DOWN, attempts=3),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers[RATE] = 90
    await lab.call("Wallets/ann/top_up", 10)
    lab.outside.fail(RATE, times=3)
    await lab.call("Wallets/ann/top_up", 5)
    lab.outside.unwell.clear()
    await lab.call("Wallets/ann/spend", 300, patience=1.0)
