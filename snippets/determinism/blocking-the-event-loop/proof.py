"""While one invocation waits for a slow report, another caller asks the same worker for something quick."""

import asyncio

from restate_guide.lab import PLAIN, Holds, Lab, WorkerBlocked

RULE = "RDD117"
STIMULUS = PLAIN
SLOW = "GET /reports/2026-10"
EXPECTED = {
    "do": Holds(answers=["October", "pong"]),
    "dont": WorkerBlocked(seconds=2.0),
}


async def prove(lab: Lab) -> None:
    lab.outside.answers[SLOW] = {"title": "October"}
    release = lab.outside.hold(SLOW, at_most=2.0)
    slow = asyncio.create_task(lab.call("Reports/build", "2026-10"))
    await lab.until_effect(SLOW)
    await lab.call("Reports/ping")
    if not slow.done() and not lab.outside.waited:
        release.set()  # the quick call was answered while the slow one waited
    else:
        lab.measure_wait("worker", 2.0)
    await slow
