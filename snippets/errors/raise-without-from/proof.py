"""The hotel is full: it answers 409."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, RetriedUntilPaused

RULE = "RDD510"
STIMULUS = PLAIN
ROOMS = "PUT /rooms/ann"
NOT_BOOKED = "TripNotBooked('no trip for ann')"
EXPECTED = {
    "do": Holds(
        answers=[{"code": 409, "message": "the hotel is full", "source": "invocation"}]
    ),
    "dont": RetriedUntilPaused(NOT_BOOKED, attempts=3),
}
ASIDES = {
    "bare": Aside(
        "Without any `from` it is the same.",
        snippet="bare",
        stimulus=PLAIN,
        outcome=RetriedUntilPaused(NOT_BOOKED, attempts=3),
    ),
    "own": Aside(
        "A `TerminalError` of its own ends the invocation, whatever it is raised from, "
        "and its caller gets its words and its code.",
        snippet="own",
        stimulus=PLAIN,
        outcome=Holds(
            answers=[
                {"code": 422, "message": "no trip for ann", "source": "invocation"}
            ]
        ),
    ),
    "step": Aside(
        "Within a step `from error` doesn't help: the step is executed again, "
        "and the hotel is asked each time.",
        snippet="step",
        stimulus=PLAIN,
        outcome=RetriedUntilPaused(NOT_BOOKED, attempts=3),
    ),
}


async def prove(lab: Lab) -> None:
    lab.outside.fail(ROOMS, times=3, status=409)
    await lab.call("Trips/plan", "ann")
