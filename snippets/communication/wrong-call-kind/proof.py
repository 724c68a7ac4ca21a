"""Ann places an order, and then Bob."""

from restate_guide.lab import PLAIN, Holds, Lab, WrongValue

RULE = "RDD302"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(answers=[10, 10]),
    "dont": WrongValue(right=10, got=20),
}


async def prove(lab: Lab) -> None:
    await lab.call("Orders/place", "ann")
    await lab.call("Orders/place", "bob")
