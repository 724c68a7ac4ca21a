"""Ann logs in, puts a pot into her basket, and logs out."""

from restate_guide.lab import PLAIN, Holds, Lab, StateLeft

RULE = "RDD206"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(
        answers=["hello ann", "pot is in the basket", "goodbye"], state={"Sessions": 0}
    ),
    "dont": StateLeft("Sessions", entries=1),
}


async def prove(lab: Lab) -> None:
    await lab.call("Sessions/s-1/login", "ann")
    await lab.call("Sessions/s-1/put", "pot")
    await lab.call("Sessions/s-1/logout")
