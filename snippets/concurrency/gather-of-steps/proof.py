"""The bank is quick, the carrier is slower, and attempts end at every await."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    EffectRepeated,
    Holds,
    Lab,
)

RULE = "RDD401"
STIMULUS = REPLAY_EVERY_AWAIT
CHARGE, SHIPMENT = "POST /charges", "POST /shipments"
FULFILLED = Holds(
    answers=[["charge-1", "shipment-1"]], effects={CHARGE: 1, SHIPMENT: 1}
)
TWICE = EffectRepeated(SHIPMENT, times=2)
EXPECTED = {"do": FULFILLED, "dont": TWICE}


async def prove(lab: Lab, charged: float = 0.2, shipped: float = 0.8) -> None:
    lab.outside.in_order(CHARGE, SHIPMENT)
    lab.outside.hold(CHARGE, at_most=charged)
    lab.outside.hold(SHIPMENT, at_most=shipped)
    await lab.call("Orders/fulfil", "order-1")


async def slowly(lab: Lab) -> None:
    """Slower by far than the inactivity timeout, also on a machine under load."""
    await prove(lab, charged=0.4, shipped=1.6)


ASIDES = {
    "plain": Aside(
        "A plain call shows nothing: one attempt, one charge, one shipment.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=FULFILLED,
    ),
    "inactive": Aside(
        "Where the server streams, the same comes of an inactivity timeout that is "
        "shorter than the steps.",
        snippet="inactive",
        stimulus=PLAIN,
        outcome=TWICE,
        prove=slowly,
    ),
}
