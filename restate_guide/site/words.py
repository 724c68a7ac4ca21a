"""The site's own words: for severities, stimuli, and symptoms as who has them would say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from restate_guide.lab.symptoms import Symptom

SEVERITY = {
    "critical": "money, data or secrets go wrong without an error",
    "high": "the invocation fails or hangs, or work is repeated",
    "medium": "it costs time, order or clarity",
}

STIMULUS = {
    "normal": "a plain call",
    "crash": "the worker is killed",
    "replay": "replay at every await",
    "late": "a late replay",
    "load": "two callers",
    "client": "a client that retries",
    "admin": "an operator acts",
}
"""The kinds of stimuli, by mode."""

SEEN = {
    "journal-mismatch": (
        "The log says RT0016, “Found a mismatch between the code paths”. Retries mostly fail, "
        "too, then the invocation is paused and its caller gets no answer."
    ),
    "precondition": (
        "The log says RT0017. The call works in one kind of handler and fails in another, on every "
        "retry, until the invocation is paused."
    ),
    "retried-until-paused": (
        "The same error again and again, often a TypeError, status backing-off, then paused. The "
        "caller waits all that time."
    ),
    "waits-for-ever": (
        "Nothing fails and nothing moves. The invocation stays suspended or running, the caller "
        "gets no answer, the log is silent."
    ),
    "effect-repeated": (
        "A card was charged twice, a mail went out twice, an order was placed twice. There is no "
        "error, and the invocation completed."
    ),
    "effect-unwanted": (
        "Something was done that should not have been: a charge after the order was cancelled, a "
        "mail for an order that failed."
    ),
    "effect-missing": (
        "The call was answered with 200, but the mail was never sent and the row is not there. "
        "There is no error."
    ),
    "wrong-value": (
        "The call was answered, without an error, with a wrong value: a total of 0, an id that "
        "nobody knows."
    ),
    "call-failed": (
        "The caller got an error, at once and for good, although the cause was gone a moment later "
        "or the call was a right one. Nothing was retried."
    ),
    "answered-late": (
        "The right answer came, seconds or days later than it had to: times add up, a status came "
        "only with the end."
    ),
    "line-repeated": (
        "A log line stands there several times although the thing happened once: duplicate "
        "prints, duplicate log records."
    ),
    "worker-blocked": (
        "One slow invocation, and every other call to that worker is slow as well, even a ping."
    ),
    "key-blocked": (
        "Calls on one key of an object queue up behind each other: every one is slow, while other "
        "keys are fast. Invocations are pending."
    ),
    "journal-grows": (
        "An invocation’s journal gets longer the longer it runs, and each attempt is sent all of it: "
        "every turn of a loop adds entries."
    ),
    "state-left": (
        "Rows in the state table for sessions, carts or orders that ended long ago. Nothing ever "
        "clears them."
    ),
    "not-compensated": (
        "The invocation failed or was cancelled, and what it had done stayed: a seat reserved, a "
        "row in the table, money held."
    ),
    "served-unverified": (
        "A request came from nobody knows where, and was served. Whoever reaches the address can "
        "do it."
    ),
    "secret-exposed": (
        "A token or a password can be read in the journal, or told from something that is public."
    ),
}
"""What somebody sees who has the symptom, before knowing its name; search finds these words."""


@dataclass(frozen=True)
class Known:
    """A symptom of the lab's closed list."""

    kind: str
    title: str
    seen: str


def symptoms() -> list[Known]:
    """All symptoms, in the order of the lab's list; for one without words here, the lab's own."""
    return [
        Known(symptom.kind, symptom.title, SEEN.get(symptom.kind, symptom.__doc__ or ""))
        for symptom in get_args(Symptom)
    ]


def symptom(kind: str) -> Known:
    """The symptom of this kind."""
    return next(known for known in symptoms() if known.kind == kind)
