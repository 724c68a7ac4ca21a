"""The flight is sold out, and the hotel's answer comes later."""

import asyncio

from restate_guide.lab import PLAIN, EffectUnwanted, Holds, Lab

RULE = "RDD411"
STIMULUS = PLAIN
FLIGHT, REQUEST, ROOM = "POST /flights", "POST /requests", "POST /rooms"
SOLD_OUT = {"code": 409, "message": "sold out", "source": "invocation"}
EXPECTED = {
    "do": Holds(answers=[SOLD_OUT], effects={REQUEST: 1}),
    "dont": EffectUnwanted(ROOM),
}
FAILED = "select id from sys_invocation where completion_failure like '%sold out%'"


async def prove(lab: Lab) -> None:
    asked = lab.outside.hold(FLIGHT, at_most=20.0)
    lab.outside.fail(FLIGHT, times=1, status=409)
    planning = asyncio.create_task(lab.call("Trips/plan", "ann"))
    await lab.until_effect(FLIGHT)
    await lab.until_result("Run ask")
    asked.set()
    await lab.until_row(FAILED)
    await lab.until_any(asyncio.wait({planning}), lab.until_still(1.0))
    if planning.done():
        await lab.until_all_completed()  # where the other part is cancelled, it is so by now
    requests = [r.body for r in lab.outside.ledger if r.effect == REQUEST]
    await lab.resolve_awakeable(requests[0]["reply_to"], "12")
    await planning
    await lab.until_all_completed()
