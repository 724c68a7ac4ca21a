"""A parcel is registered; later a scanner of the carrier's reports it."""

import asyncio

from restate_guide.lab import PLAIN, Aside, CallFailed, Holds, Lab, WrongValue

RULE = "RDD312"
STIMULUS = PLAIN
FAILED = CallFailed(500, "")
EXPECTED = {
    "do": Holds(answers=["registered, to Linz", "noted", "Graz"]),
    "dont": FAILED,
}


async def prove(lab: Lab) -> None:
    await lab.call("Parcels/parcel-1/register", "Linz")
    await lab.post(lab.worker_url, "/scans/scan-7/parcel-1/Graz")
    await lab.until_all_completed()
    await lab.call("Parcels/parcel-1/where")


async def side_by_side(lab: Lab) -> None:
    """Two parcels are registered; the first one's label is printed while the second's is not."""
    first, second = "POST /labels/Linz", "POST /labels/Wien"
    printed = [lab.outside.hold(effect, at_most=30.0) for effect in (first, second)]
    to_linz = asyncio.create_task(lab.call("Parcels/parcel-1/register", "Linz"))
    await lab.until_effect(first)
    to_wien = asyncio.create_task(lab.call("Parcels/parcel-2/register", "Wien"))
    await lab.until_effect(second)
    printed[0].set()
    await to_linz
    printed[1].set()
    await to_wien
    await lab.call("Parcels/parcel-1/where")
    await lab.call("Parcels/parcel-2/where")


ASIDES = {
    "current": Aside(
        "The SDK's `current_context()` finds none outside a handler: LookupError.",
        snippet="current",
        stimulus=PLAIN,
        outcome=FAILED,
    ),
    "module": Aside(
        "A context that stands in the module is the last invocation's: what one parcel "
        "remembers is written under the other one's key.",
        snippet="module",
        stimulus=PLAIN,
        outcome=WrongValue(right="Linz", got=""),
        prove=side_by_side,
        right=Holds(
            answers=["registered, to Linz", "registered, to Wien", "Linz", "Wien"],
            effects={"POST /labels/Linz": 1, "POST /labels/Wien": 1},
        ),
    ),
}
