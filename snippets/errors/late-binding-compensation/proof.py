"""The third item of an order is out of stock."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, NotCompensated

RULE = "RDD513"
STIMULUS = PLAIN
REFUSED = {"code": 409, "message": "no tray in stock", "source": "invocation"}
RELEASED = Holds(answers=[REFUSED], rows={"reserved": 0})
EXPECTED = {"do": RELEASED, "dont": NotCompensated("reserved", rows=2)}
ASIDES = {
    "default": Aside(
        "A default argument is evaluated at once, and does the same.",
        snippet="default",
        stimulus=PLAIN,
        outcome=RELEASED,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Orders/order-1/place", ["teapot", "cups", "tray"])
