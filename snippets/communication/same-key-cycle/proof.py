"""One order is placed, by one caller, and nothing befalls the worker."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, WaitsForever

RULE = "RDD303"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(answers=["pot taken, number 1"]),
    "dont": WaitsForever(status="running"),
}
ASIDES = {
    "later": Aside(
        "Starting the call and awaiting its future later doesn't help: the handler "
        "holds its key until it has ended.",
        snippet="later",
        stimulus=PLAIN,
        outcome=WaitsForever(status="running"),
    ),
}


async def prove(lab: Lab) -> None:
    if await lab.call("Orders/order-1/place", "pot", patience=4.0):
        await lab.until_all_completed()  # the message, too
