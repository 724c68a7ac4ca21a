"""Ann puts a pot into her cart, and checks out."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, WaitsForever

RULE = "RDD304"
STIMULUS = PLAIN
BOUGHT = Holds(answers=["", ["pot"]], state={"Cart": 0})
EXPECTED = {"do": BOUGHT, "dont": WaitsForever(status="running")}
ASIDES = {
    "message": Aside(
        "A message to itself is handled once the handler has ended: the cart is empty.",
        snippet="message",
        stimulus=PLAIN,
        outcome=BOUGHT,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Cart/ann/put", "pot")
    if await lab.call("Cart/ann/check_out", patience=4.0):
        await lab.until_all_completed()  # the message, too
