"""A form sends the number of days as a text."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, WrongValue

RULE = "RDD803"
STIMULUS = PLAIN
SIGNED = "POST /contracts"
RIGHT = {"number": "contract-1", "price": 27}
WRONG = {"number": "contract-1", "price": "3" * 9}
EXPECTED = {
    "do": Holds(answers=[RIGHT], effects={SIGNED: 1}),
    "dont": WrongValue(right=RIGHT, got=WRONG),
}
VARIES = {"pydantic": r"https://errors\.pydantic\.dev/[\w./]+"}


async def prove(lab: Lab) -> None:
    openapi = await lab.admin("GET", "/services/Insurance/openapi")
    schemas = openapi["components"]["schemas"]
    lab.measure("OpenAPI, insureRequest", schemas["insureRequest"])
    lab.measure("OpenAPI, insureResponse", schemas["insureResponse"])
    await lab.call("Insurance/insure", {"customer": "ann", "days": "3"})


async def refused(lab: Lab) -> None:
    trip = {"customer": "ann", "days": 3}
    await lab.call("Insurance/insure", trip)
    await lab.call("Insurance/insure", {**trip, "days": "three"})
    await lab.call("Insurance/insure", trip, headers={"content-type": "text/plain"})


UNPARSED = {
    "code": 500,
    "message": "Unable to parse an input argument. 1 validation error for Trip\ndays\n  "
    "Input should be a valid integer, unable to parse string as an integer "
    "[type=int_parsing, input_value='three', input_type=str]\n"
    "    For further information visit pydantic-1",
    "source": "invocation",
}
OTHER_TYPE = {
    "code": 400,
    "message": "input validation error: Content-type 'text/plain' does not match "
    "'application/json'",
    "source": "ingress",
}
ASIDES = {
    "dict": Aside(
        "`dict[str, Any]` is the same to the SDK.",
        snippet="plain_dict",
        stimulus=PLAIN,
        outcome=WrongValue(right=RIGHT, got=WRONG),
    ),
    "refused": Aside(
        "The server publishes the schema, and doesn't check by it: what doesn't fit is refused "
        "by the worker, with 500. What the server does check is the content type.",
        snippet="do",
        stimulus=PLAIN,
        outcome=Holds(answers=[RIGHT, UNPARSED, OTHER_TYPE], effects={SIGNED: 1}),
        prove=refused,
    ),
}
