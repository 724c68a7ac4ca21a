"""The bank is down while Ann tops up; when it is well again, she spends what she had."""

from restate_guide.lab import PLAIN, Holds, Lab, RetriedUntilPaused

RULE = "RDD515"
STIMULUS = PLAIN
DEBIT, BANK_DOWN = "POST /debits", "ConnectionError('the bank answered 503')"
GIVEN_UP = {"code": 500, "message": BANK_DOWN, "source": "invocation"}
EXPECTED = {
    "do": Holds(answers=[1000, GIVEN_UP, 700], effects={DEBIT: 1}),
    "dont": RetriedUntilPaused(BANK_DOWN, attempts=3),
}


async def prove(lab: Lab) -> None:
    await lab.call("Wallets/ann/top_up", 1000)
    lab.outside.fail(DEBIT, times=3)
    await lab.call("Wallets/ann/top_up", 500)
    lab.outside.unwell.clear()
    await lab.call("Wallets/ann/spend", 300, patience=1.0)
