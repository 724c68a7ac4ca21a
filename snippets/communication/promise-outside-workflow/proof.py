"""Ann claims a train ticket; the boss answers the mail."""

import asyncio

from restate_guide.lab import PLAIN, Holds, Lab, PreconditionFailed

RULE = "RDD305"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(answers=["granted"], effects={"POST /mails": 1}),
    "dont": PreconditionFailed(command=2),
}


async def prove(lab: Lab) -> None:
    mailed = lab.outside.hold("POST /mails", at_most=10.0)
    claiming = asyncio.create_task(lab.call("Expenses/claim", "train ticket"))
    await lab.until_effect("POST /mails")
    if lab.snippet != "dont":
        await lab.resolve_awakeable(lab.outside.ledger[0].body["answer to"], "granted")
    mailed.set()
    await claiming
