"""Ann's address is stored by one call, and read by the next."""

from restate_guide.lab import (
    PLAIN,
    Aside,
    EffectUnwanted,
    Holds,
    Lab,
    RetriedUntilPaused,
)

RULE = "RDD209"
STIMULUS = PLAIN
ADDRESS = {"street": "Mill Lane 1", "city": "Ely"}
ERROR = """AttributeError("'dict' object has no attribute 'city'")"""
EXPECTED = {
    "do": Holds(answers=["moved", "ann, Ely"]),
    "dont": RetriedUntilPaused(ERROR, attempts=3),
}


async def prove(lab: Lab) -> None:
    await lab.call("Customers/ann/move", ADDRESS)
    await lab.call("Customers/ann/label")


async def prove_same(lab: Lab) -> None:
    await lab.call("Customers/ann/move", ADDRESS)
    await lab.call("Customers/ann/move", ADDRESS)


ASIDES = {
    "compare": Aside(
        "Compared, it raises nothing: a dict equals no model. The same address a "
        "second time counts as a change.",
        snippet="compare",
        stimulus=PLAIN,
        outcome=EffectUnwanted("POST /changes"),
        prove=prove_same,
    ),
}
