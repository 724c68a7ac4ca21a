"""A plain call: does the mail go out?"""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, RetriedUntilPaused

RULE = "RDD116"
STIMULUS = PLAIN
SENT = Holds(answers=["email-1"], effects={"POST /emails": 1})
EXPECTED = {
    "do": SENT,
    "dont": RetriedUntilPaused(
        "TypeError('Object of type coroutine is not JSON serializable')", attempts=3
    ),
}
ASIDES = {
    "plain-function": Aside(
        "A lambda round a plain function that returns a text is fine.",
        snippet="plain_function",
        stimulus=PLAIN,
        outcome=SENT,
    ),
    "partial": Aside(
        "A partial of an async function is fine, too: the SDK sees the function in it.",
        snippet="bound",
        stimulus=PLAIN,
        outcome=SENT,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Accounts/welcome", "ada@example.com")
