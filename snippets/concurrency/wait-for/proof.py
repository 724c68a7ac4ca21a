"""No offer comes within the limit, and each attempt ends where the journal has no answer yet."""

import asyncio

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    Holds,
    JournalMismatch,
    Lab,
    WaitsForever,
    crash_after_step,
)

RULE = "RDD404"
STIMULUS = REPLAY_EVERY_AWAIT
REQUEST, MAIL = "POST /requests", "POST /emails"
GIVEN_UP = Holds(answers=["no offer"], effects={REQUEST: 1, MAIL: 1})
EXPECTED = {"do": GIVEN_UP, "dont": WaitsForever(status="suspended")}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: the attempt lives as long as the wait.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=GIVEN_UP,
    ),
    "late": Aside(
        "The limit is over, the mail is in the journal, and an offer has come after "
        "all: the replay finds the offer at once, and takes the other branch.",
        snippet="dont",
        stimulus=crash_after_step("mail"),
        outcome=JournalMismatch(command=2, was="run", now="handler return"),
    ),
    "select": Aside(
        "With a durable sleep, the same replay sees that the limit was over first.",
        snippet="do",
        stimulus=crash_after_step("mail"),
        outcome=GIVEN_UP,
    ),
}


async def prove(lab: Lab) -> None:
    mailed = lab.outside.hold(MAIL, at_most=5.0)
    buying = asyncio.create_task(lab.call("Orders/buy", "pot", patience=4.0))
    giving_up = asyncio.create_task(lab.until_effect(MAIL))
    await asyncio.wait({buying, giving_up}, return_when=asyncio.FIRST_COMPLETED)
    reply_to = lab.outside.ledger[0].body["reply_to"]
    if giving_up.done():
        await lab.resolve_awakeable(reply_to, "4 pots")  # while the mail is under way
    mailed.set()
    await buying
    giving_up.cancel()
