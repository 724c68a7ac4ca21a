"""The worker is killed while the order sleeps; a new process, with another hash seed, replays."""

from restate_guide.lab import LATE_REPLAY, Aside, Holds, JournalMismatch, Lab

RULE = "RDD111"
STIMULUS = LATE_REPLAY
ITEMS = ["tea", "cup", "pot", "tray", "tea"]
RESERVED = Holds(answers=[4], effects={"POST /reservations": 4})
EXPECTED = {
    "do": RESERVED,
    "dont": JournalMismatch(
        command=1, was="name reserve cup", now="name reserve pot"
    ),
}
ASIDES = {
    "dict": Aside(
        "A dict is safe: it yields its keys in the order in which they were put in.",
        snippet="dict",
        stimulus=LATE_REPLAY,
        outcome=RESERVED,
    ),
}


async def prove(lab: Lab) -> None:
    await lab.call("Orders/fulfil", ITEMS)
