"""A customer whose parcel has not come back calls the service that pays refunds."""

from restate_guide.lab import PLAIN, EffectUnwanted, Holds, Lab

RULE = "RDD602"
STIMULUS = PLAIN
REFUSED = {"code": 409, "message": "order-2 has not come back", "source": "invocation"}
PRIVATE = {
    "code": 400,
    "message": "the invoked service is not public",
    "source": "ingress",
}
EXPECTED = {
    "do": Holds(
        answers=["refunded order-1", REFUSED, PRIVATE],
        effects={"POST /refunds/order-1": 1},
    ),
    "dont": EffectUnwanted("POST /refunds/order-2"),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers["GET /arrivals/order-1"] = True
    lab.outside.answers["GET /arrivals/order-2"] = False
    await lab.call("Returns/claim", "order-1")
    await lab.call("Returns/claim", "order-2")
    await lab.call("Refunds/refund", "order-2")
