"""The worker dies right after the charge is journaled, and the next attempt replays."""

from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    JournalMismatch,
    Lab,
    WrongValue,
    crash_after_step,
)

RULE = "RDD106"
STIMULUS = crash_after_step("charge")
PAID = Holds(
    answers=[{"receipt": "uuid-1", "parcel": "uuid-2"}],
    effects={"POST /charges": 1, "POST /emails": 1},
)
TWICE = WrongValue(
    right={"receipt": "uuid-1", "parcel": "uuid-2"},
    got={"receipt": "uuid-1", "parcel": "uuid-1"},
)
EXPECTED = {"do": PAID, "dont": TWICE}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: two draws give two numbers.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=PAID,
    ),
    "suspended": Aside(
        "Replayed at every await, it fails nowhere: both numbers are the same.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=TWICE,
    ),
    "late": Aside(
        "Replayed late, when the journal holds the second draw too, it fails.",
        snippet="dont",
        stimulus=LATE_REPLAY,
        outcome=JournalMismatch(
            command=2, was="value '\"uuid-1\"'", now="value '\"uuid-2\"'"
        ),
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Order/order-1/pay")
