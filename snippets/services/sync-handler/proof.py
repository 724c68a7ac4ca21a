"""A plain call: is it answered?"""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, RetriedUntilPaused

RULE = "RDD706"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(answers=["delivered to ann"], effects={"POST /emails": 1}),
    "dont": RetriedUntilPaused(
        "TypeError(\"object str can't be used in 'await' expression\")", attempts=3
    ),
}
MAILED = (
    "select id from sys_invocation "
    "where target = 'Shop/ask_for_review' and status = 'completed'"
)


async def prove(lab: Lab) -> None:
    await lab.call("Shop/delivered", "ann")
    await lab.until_row(MAILED)


async def prove_returned(lab: Lab) -> None:
    await lab.call("Shop/delivered", "ann")


ASIDES = {
    "returned": Aside(
        "A plain function that returns a durable future is served: that can be awaited.",
        snippet="returned",
        stimulus=PLAIN,
        outcome=Holds(answers=["email-1"], effects={"POST /emails": 1}),
        prove=prove_returned,
    ),
}
