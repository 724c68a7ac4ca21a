"""The room is reserved, then the bank refuses the deposit."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, NotCompensated

RULE = "RDD503"
STIMULUS = PLAIN
DEPOSIT = "POST /deposits"
REFUSED = {"code": 402, "message": "no deposit", "source": "invocation"}
EXPECTED = {
    "do": Holds(answers=[REFUSED], rows={"rooms": 0}),
    "dont": NotCompensated("rooms", rows=1),
}


async def prove(lab: Lab) -> None:
    lab.outside.fail(DEPOSIT, times=1, status=402)
    await lab.call("Hotel/book", "ann")


async def unwell_once(lab: Lab) -> None:
    lab.outside.fail(DEPOSIT, times=1)
    await lab.call("Hotel/book", "ann")


ASIDES = {
    "unwell": Aside(
        "A bank that is unwell for a moment frees no room: the step is tried again.",
        snippet="do",
        stimulus=PLAIN,
        outcome=Holds(answers=[""], effects={DEPOSIT: 1}, rows={"rooms": 1}),
        prove=unwell_once,
    ),
    "several": Aside(
        "Several steps are undone from a list, in reverse.",
        snippet="several",
        stimulus=PLAIN,
        outcome=Holds(answers=[REFUSED], rows={"dinners": 0, "rooms": 0}),
    ),
}
