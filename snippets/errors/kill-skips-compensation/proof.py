"""The place is taken, and the invoices' API answers nothing but 503."""

import asyncio

from restate_guide.lab import (
    PLAIN,
    Aside,
    CallFailed,
    Holds,
    Lab,
    NotCompensated,
    RetriedUntilPaused,
    SecretExposed,
)

RULE = "RDD504"
STIMULUS = PLAIN
INVOICE = "PUT /invoices/ann"
VARIES = {"frames": r'File "(?s:.*?)(?=httpx\.HTTPStatusError)'}  # where Python is
UNWELL = (
    'HTTPStatusError("Server error \'503 \' for url \'outside-1/invoices/ann\'\\nFor '
    "more information check: https://developer.mozilla.org/en-US/docs/Web/HTTP/"
    'Status/503")'
)
EXPECTED = {
    "do": Holds(
        answers=[
            {"code": 503, "message": "no invoice, no place", "source": "invocation"}
        ],
        rows={"places": 0},
    ),
    "dont": NotCompensated("places", rows=1),
}


async def prove(lab: Lab) -> None:
    lab.outside.fail(INVOICE, times=9)
    await lab.call("Courses/enrol", "ann")


async def outage_of_ten_seconds(lab: Lab) -> None:
    """It lasts for ten seconds, or as long as anybody asks."""
    lab.outside.fail(INVOICE, times=999)
    call = asyncio.create_task(lab.call("Courses/enrol", "ann"))
    await asyncio.wait([call], timeout=10.0)
    lab.outside.unwell.clear()
    await call


async def read_answer(lab: Lab) -> None:
    lab.outside.fail(INVOICE, times=9)
    answer = await lab.call("Courses/enrol", "ann")
    trace = answer.get("stacktrace", "")
    if 'File "' in trace and lab.outside.url in trace:
        lab.measure("secret known from", "the stack trace in the answer")


ASIDES = {
    "trace": Aside(
        "The caller is sent the stack trace, with names of files and the internal "
        "address of the invoices.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=SecretExposed("the stack trace in the answer"),
        prove=read_answer,
    ),
    "hurried": Aside(
        "With `max_attempts=3` alone, an outage of ten seconds outlasts the three tries.",
        snippet="hurried",
        stimulus=PLAIN,
        outcome=CallFailed(503, "no invoice, no place"),
        prove=outage_of_ten_seconds,
        right=Holds(answers=[""], effects={INVOICE: 1}, rows={"places": 1}),
    ),
    "paused": Aside(
        "The default policy pauses the invocation, and frees no place either.",
        snippet="paused",
        stimulus=PLAIN,
        outcome=RetriedUntilPaused(UNWELL, attempts=3),
    ),
}
