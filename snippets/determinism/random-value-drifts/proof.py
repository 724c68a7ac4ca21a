"""The worker dies after the voucher is booked, and before its code is mailed."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    Lab,
    WrongValue,
    crash_after_step,
)

RULE = "RDD105"
STIMULUS = crash_after_step("book")
ISSUED = Holds(
    answers=[{"booked": "uuid-1", "mailed": "uuid-1"}],
    effects={"POST /vouchers": 1, "POST /emails": 1},
)
DRIFTED = WrongValue(
    right={"booked": "uuid-1", "mailed": "uuid-1"},
    got={"booked": "uuid-1", "mailed": "uuid-2"},
)
EXPECTED = {"do": ISSUED, "dont": DRIFTED}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: there is one attempt, and one code.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=ISSUED,
    ),
    "suspended": Aside(
        "No crash is needed: an attempt that suspends and resumes draws anew, too.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=DRIFTED,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Vouchers/issue", "ann@example.com")
