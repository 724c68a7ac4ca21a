"""A right order, one with a quantity in words, and a request without a body."""

from typing import Any

from restate_guide.lab import PLAIN, Aside, CallFailed, Holds, Lab, RetriedUntilPaused

RULE = "RDD608"
STIMULUS = PLAIN


def refused(why: str) -> dict[str, Any]:
    return {"code": 400, "message": why, "source": "invocation"}


NO_NUMBER = "Input should be a valid integer, unable to parse string as an integer"
NO_OBJECT = "Input should be a valid dictionary or instance of Order"
EXPECTED = {
    "do": Holds(
        answers=["parcel-1", refused(f"quantity: {NO_NUMBER}"), refused(f"body: {NO_OBJECT}")],
        effects={"POST /parcels": 1},
    ),
    "dont": RetriedUntilPaused(
        "AttributeError(\"'NoneType' object has no attribute 'model_dump'\")",
        attempts=3,
    ),
}
VARIES = {"pydantic": r"https://errors\.pydantic\.dev/[\w./]+"}
UNPARSED = (
    "Unable to parse an input argument. 1 validation error for Order\nquantity\n  "
    f"{NO_NUMBER} [type=int_parsing, input_value='two', input_type=str]\n"
    "    For further information visit pydantic-1"
)


async def prove(lab: Lab) -> None:
    await lab.call("Parcels/send", {"item": "tea", "quantity": 2})
    await lab.call("Parcels/send", {"item": "tea", "quantity": "two"})
    await lab.call("Parcels/send")


async def with_bodies(lab: Lab) -> None:
    await lab.call("Parcels/send", {"item": "tea", "quantity": 2})
    await lab.call("Parcels/send", {"item": "tea", "quantity": "two"})
    await lab.call("Parcels/send", {"item": "tea"})


ASIDES = {
    "model": Aside(
        "A wrong value is refused by the model in the signature: with 500, as if the service "
        "were broken.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=CallFailed(500, UNPARSED),
        prove=with_bodies,
    ),
    "manager": Aside(
        "With the model in the signature, a context manager can make the 500 a 400; an empty "
        "body is still up to the handler.",
        snippet="manager",
        stimulus=PLAIN,
        outcome=Holds(
            answers=["2 of tea", refused("no order"), refused("an empty body")]
        ),
    ),
}
