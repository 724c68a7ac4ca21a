"""A parcel is scanned, and then somebody asks where it is."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, RetriedUntilPaused

RULE = "RDD707"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(answers=["scanned in Bremen", "Bremen"], state={"Parcels": 1}),
    "dont": RetriedUntilPaused(
        "TypeError(\"object NoneType can't be used in 'await' expression\")", attempts=3
    ),
}
MAILED = (
    "select id from sys_invocation "
    "where target = 'Parcels/tell' and status = 'completed'"
)


async def prove(lab: Lab) -> None:
    await lab.call("Parcels/p-1/scan", "Bremen")
    await lab.call("Parcels/p-1/where")


async def prove_message(lab: Lab) -> None:
    await lab.call("Parcels/scan", "Bremen")
    await lab.until_row(MAILED)


ASIDES = {
    "message": Aside(
        "Awaited, a send fails in the same way, and the message is sent all the same.",
        snippet="message",
        stimulus=PLAIN,
        outcome=RetriedUntilPaused(
            "TypeError(\"object ServerSendHandle can't be used in 'await' expression\")",
            attempts=3,
        ),
        prove=prove_message,
    ),
}
