"""A plain call: is the confirmation sent?"""

import asyncio

from restate_guide.lab import PLAIN, Aside, EffectMissing, Holds, Lab

RULE = "RDD409"
STIMULUS = PLAIN
ORDER, MAIL = "POST /orders", "POST /emails"
CONFIRMED = Holds(answers=["order-1"], effects={ORDER: 1, MAIL: 1})
EXPECTED = {"do": CONFIRMED, "dont": EffectMissing(MAIL)}


async def mail_first(lab: Lab) -> None:
    lab.outside.in_order(ORDER, MAIL)
    booked = lab.outside.hold(ORDER, at_most=20.0)
    mailed = lab.outside.hold(MAIL, at_most=20.0)
    call = asyncio.create_task(lab.call("Shop/buy", "order-1"))
    await lab.until_effect(MAIL)
    mailed.set()
    await lab.until_result("Run mail")
    booked.set()
    await call


ASIDES = {
    "early": Aside(
        "Begun before a slower step, the task gets through: the mail is sent.",
        snippet="early",
        stimulus=PLAIN,
        outcome=CONFIRMED,
        prove=mail_first,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Shop/buy", "order-1")
    await lab.until_all_completed()
