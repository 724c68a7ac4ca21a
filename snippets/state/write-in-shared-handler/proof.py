"""Two people vote for tea, one after the other."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, PreconditionFailed

RULE = "RDD202"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(answers=[1, 2], state={"Polls": 1}),
    "dont": PreconditionFailed(command=2),
}


async def prove(lab: Lab) -> None:
    if await lab.call("Polls/lunch/vote", "tea"):
        await lab.call("Polls/lunch/vote", "tea")


async def prove_counted(lab: Lab) -> None:
    await prove(lab)
    await lab.until_all_completed()


ASIDES = {
    "send": Aside(
        "A shared handler may send the write to an exclusive one. The voters are "
        "answered before their votes are counted.",
        snippet="send",
        stimulus=PLAIN,
        outcome=Holds(answers=["thank you for tea"] * 2, state={"Polls": 1}),
        prove=prove_counted,
    ),
}
