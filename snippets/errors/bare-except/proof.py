"""The couriers' API is unwell once; the second try gets a courier."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    EffectUnwanted,
    Holds,
    Lab,
)

RULE = "RDD507"
STIMULUS = PLAIN
VARIES = {"frames": r'File "(?s:.*?)(?=httpx\.HTTPStatusError)'}  # where Python is
CHARGE, COURIER, REFUND = "POST /charges", "POST /couriers", "POST /refunds"
SOLD = Holds(answers=["courier-1"], effects={CHARGE: 1, COURIER: 1})
EXPECTED = {"do": SOLD, "dont": EffectUnwanted(REFUND)}


async def prove(lab: Lab) -> None:
    lab.outside.fail(COURIER, times=1)
    await buy(lab)


async def buy(lab: Lab) -> None:
    await lab.call("Meals/buy", "order-1")


async def refused_for_good(lab: Lab) -> None:
    lab.outside.fail(COURIER, times=1, status=409)
    await buy(lab)


ASIDES = {
    "plain": Aside(
        "A plain call shows nothing, as long as nothing goes wrong.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=SOLD,
        prove=buy,
    ),
    "suspension": Aside(
        "Where the attempt is suspended in the `try` block, nothing needs to go "
        "wrong: the meal is refunded.",
        snippet="dont",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=EffectUnwanted(REFUND),
        prove=buy,
    ),
    "refused": Aside(
        "When there is no courier for good, the do refunds, once.",
        snippet="do",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=Holds(
            answers=[
                {"code": 409, "message": "no courier tonight", "source": "invocation"}
            ],
            effects={CHARGE: 1, REFUND: 1},
        ),
        prove=refused_for_good,
    ),
    "step": Aside(
        "A step in such a block is refused by an attempt that is over already, and "
        "the meal is not refunded.",
        snippet="step",
        stimulus=PLAIN,
        outcome=SOLD,
    ),
}
