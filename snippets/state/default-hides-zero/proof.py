"""A voucher for two is redeemed three times."""

from restate_guide.lab import PLAIN, Aside, EffectUnwanted, Holds, Lab, WrongValue

RULE = "RDD208"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(answers=["redeemed, 1 left", "redeemed, 0 left", "used up"]),
    "dont": WrongValue(right="used up", got="redeemed, 1 left"),
}


async def prove(lab: Lab) -> None:
    for _ in range(3):
        await lab.call("Vouchers/v-1/redeem")


async def prove_flag(lab: Lab) -> None:
    await lab.call("Readers/ann/cancel")
    await lab.call("Readers/ann/mail")


ASIDES = {
    "flag": Aside(
        "`get(…) or True` reads a stored `False` as `True`: who has cancelled the "
        "newsletter gets it all the same.",
        snippet="flag",
        stimulus=PLAIN,
        outcome=EffectUnwanted("POST /emails"),
        prove=prove_flag,
    ),
}
