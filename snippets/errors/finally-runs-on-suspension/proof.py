"""Each attempt ends where the journal has no answer yet, and the next one replays."""

from restate_guide.lab import (
    PLAIN,
    REPLAY_EVERY_AWAIT,
    Aside,
    EffectRepeated,
    Holds,
    Lab,
)

RULE = "RDD508"
STIMULUS = REPLAY_EVERY_AWAIT
CLOSE, COUNT, OPEN = "POST /closings", "POST /counts", "POST /openings"
COUNTED = Holds(answers=["counted"], effects={CLOSE: 1, COUNT: 1, OPEN: 1})
EXPECTED = {"do": COUNTED, "dont": EffectRepeated(OPEN, times=3)}


async def prove(lab: Lab) -> None:
    await lab.call("Shops/7/take_stock")


async def unwell_once(lab: Lab) -> None:
    lab.outside.fail(COUNT, times=1)
    await prove(lab)


async def refused_for_good(lab: Lab) -> None:
    lab.outside.fail(COUNT, times=1, status=409)
    await prove(lab)


ASIDES = {
    "plain": Aside(
        "A plain call with a short sleep shows nothing: the attempt is not suspended.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=COUNTED,
    ),
    "unwell": Aside(
        "A step that has failed and is to be tried again ends the attempt as well, "
        "and the shop opens before it has been counted.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=EffectRepeated(OPEN, times=2),
        prove=unwell_once,
    ),
    "manager": Aside(
        "`async with` promises the same, for what stands behind the `yield` or in "
        "`__aexit__`.",
        snippet="manager",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=EffectRepeated(OPEN, times=3),
    ),
    "step": Aside(
        "A step in the `finally` block is refused in an attempt that is being "
        "suspended, and is run once the `try` block is really over.",
        snippet="step",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=COUNTED,
    ),
    "refused": Aside(
        "When the count fails for good, the do opens the shop too, once.",
        snippet="do",
        stimulus=REPLAY_EVERY_AWAIT,
        outcome=Holds(
            answers=[
                {"code": 409, "message": "counts: refused", "source": "invocation"}
            ],
            effects={CLOSE: 1, OPEN: 1},
        ),
        prove=refused_for_good,
    ),
}
