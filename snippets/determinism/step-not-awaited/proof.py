"""A plain call: was the seat reserved?"""

from restate_guide.lab import PLAIN, Aside, EffectMissing, Holds, Lab

RULE = "RDD114"
STIMULUS = PLAIN
SOLD = Holds(
    answers=["charge-1"], effects={"POST /reservations": 1, "POST /charges": 1}
)
EXPECTED = {
    "do": SOLD,
    "dont": EffectMissing("POST /reservations"),
}
ASIDES = {
    "later": Aside(
        "A step may be awaited later: asked for first, each is executed when it is "
        "awaited, one after the other.",
        snippet="later",
        stimulus=PLAIN,
        outcome=SOLD,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Tickets/sell", "seat-7")
