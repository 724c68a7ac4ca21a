"""While an order sleeps, the worker is restarted with the flag turned on."""

from restate_guide.lab import (
    Aside,
    Holds,
    JournalMismatch,
    Lab,
    WrongValue,
    late_replay_with,
)

RULE = "RDD606"
STIMULUS = late_replay_with(FRAUD_CHECK="on")
CHECKED, RESERVED, CHARGED = "POST /checks", "POST /seats", "POST /charges"
OLD_WAY = Holds(answers=["charge-1"], effects={RESERVED: 1, CHARGED: 1})
EXPECTED = {
    "do": OLD_WAY,
    "dont": JournalMismatch(command=1, was="name reserve", now="name check"),
}
ASIDES = {
    "value": Aside(
        "A flag that decides about a value, and about no command, gives no error: the seats "
        "were reserved for an order unchecked, and the same order is charged as checked.",
        snippet="value",
        stimulus=STIMULUS,
        outcome=WrongValue(right="charge-1", got="charge-1, checked"),
    ),
    "later": Aside(
        "What an order has not come to yet may follow the new flag: it is checked after "
        "its wait.",
        snippet="later",
        stimulus=STIMULUS,
        outcome=Holds(
            answers=["charge-1"], effects={RESERVED: 1, CHECKED: 1, CHARGED: 1}
        ),
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Tickets/sell", "order-1")
