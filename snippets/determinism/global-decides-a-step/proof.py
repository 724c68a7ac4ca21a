"""Each attempt ends where the journal has no answer yet, and the next one replays in the same process."""

from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    JournalMismatch,
    Lab,
)

RULE = "RDD112"
STIMULUS = REPLAY_EVERY_AWAIT
BILLED = Holds(answers=["invoice-1"], effects={"POST /invoices": 1})
EXPECTED = {
    "do": BILLED,
    "dont": JournalMismatch(command=1, was="name fetch tax", now="name send invoice"),
}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=BILLED,
    ),
    "fresh": Aside(
        "In a new process the cache is empty again, and the same journal replays.",
        snippet="dont",
        stimulus=LATE_REPLAY,
        outcome=BILLED,
    ),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers["GET /taxes/DE"] = {"percent": 19}
    await lab.call("Billing/bill", "DE")
