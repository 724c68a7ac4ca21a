"""Each attempt ends where the journal has no answer yet, and the next one replays. How much is charged?"""

from restate_guide.lab import PLAIN, REPLAY_EVERY_AWAIT, Aside, Holds, Lab, WrongValue

RULE = "RDD113"
STIMULUS = REPLAY_EVERY_AWAIT
PAID = Holds(answers=[4200], effects={"POST /charges": 1})
EXPECTED = {
    "do": PAID,
    "dont": WrongValue(right=4200, got=0),
}
ASIDES = {
    "plain": Aside(
        "A plain call shows nothing.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=PAID,
    ),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers["GET /prices/tea"] = {"cents": 4200}
    await lab.call("Checkout/pay", "tea")
