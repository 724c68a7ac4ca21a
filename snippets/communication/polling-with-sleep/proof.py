"""The parcel is delivered after a while; until then the carrier knows of no delivery."""

import asyncio

from restate_guide.lab import PLAIN, Aside, Holds, JournalGrows, Lab

RULE = "RDD315"
STIMULUS = PLAIN
ASKED, SUBSCRIBED = "GET /deliveries/p-1", "PUT /webhooks/awakeable-1"
MANY = 30
EXPECTED = {
    "do": Holds(answers=["left with Ann"], effects={SUBSCRIBED: 1}),
    "dont": JournalGrows(entries=MANY),
}
JOURNALS = "select id, count(*) as entries from sys_journal group by id"


async def prove(lab: Lab) -> None:
    lab.outside.answers[ASKED] = "left with Ann"
    lab.outside.fail(ASKED, times=8, status=404)
    tracking = asyncio.create_task(lab.call("Orders/track", "p-1"))
    if lab.snippet == "do":
        await lab.until_result("Run subscribe")  # he delivers to an attempt that waits
        reply_to = lab.outside.ledger[0].effect.rpartition("/")[2]
        await lab.resolve_awakeable(reply_to, "left with Ann")
    await tracking
    await lab.until_all_completed()
    if max(row["entries"] for row in await lab.query(JOURNALS)) > MANY:
        lab.measure("journal grew to at least", MANY)


ASIDES = {
    "message": Aside(
        "Where the carrier can only be asked, each question is a message that is sent "
        "later: as many questions, and no journal that grows.",
        snippet="message",
        stimulus=PLAIN,
        outcome=Holds(answers=["left with Ann"]),
    ),
}
