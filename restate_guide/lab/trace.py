"""The trace: what one run did, from the server's tables, the ledger outside, and the worker's reports.

All of it is plain data, frozen, and the same to the byte in every run of the same proof: what
changes from run to run (ids, ports, times) stands here under a stable name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Json = Any


@dataclass(frozen=True)
class Moment:
    """One thing that happened within an attempt, in the attempt's own order."""

    what: Literal[
        "command",  # the handler issued a command
        "executing",  # a step's action began
        "executed",  # a step's action ended, and its result was sent to the journal
        "result",  # the handler got the result of a command
        "effect",  # a request reached the outside world
        "row",  # a statement changed rows of a database
        "line",  # a line was printed or logged
        "operator",  # an operator acted on the invocation
        "suspended",
        "error",
        "output",
        "killed",
        "cut off",  # the server ended the attempt
    ]
    line: int | None = None
    """Line of the snippet."""
    command: int | None = None
    """Index of the command that it belongs to; the input is 0."""
    from_journal: bool | None = None
    """For a command and its result: whether the journal had it before this attempt began."""
    text: str = ""
    """What a reader wants to see: a command's type and name, an effect, a line, an error."""
    within: int | None = None
    """The step in whose action a command was issued, where it was in one."""


@dataclass(frozen=True)
class Attempt:
    """One execution of a handler, from its first line."""

    number: int
    worker: int
    known_entries: int
    """Journal entries that the server sent along: what this attempt replays."""
    ends: Literal["output", "suspended", "error", "killed", "cut off"]
    moments: tuple[Moment, ...]
    file: str = ""
    """The file that its worker served (`before.py`), where it isn't the variant's own."""


@dataclass(frozen=True)
class Entry:
    """One entry of an invocation's journal, as `sys_journal` holds it."""

    index: int
    type: str
    """`Command: Run`, `Notification: Run` …"""
    name: str
    command: int | None
    """Which command it is, or answers."""
    value: Json
    """What it holds, where that is data: input, result, state."""
    line: int | None
    """Line of the snippet that issued the command."""
    attempt: int | None
    """The attempt that wrote it; None for what the server wrote by itself between attempts."""


@dataclass(frozen=True)
class Failure:
    """An error of an attempt, as `sys_journal_events` holds it (equal ones in a row stand once)."""

    event: Literal["TransientError", "Paused"]
    status: int
    code: str
    """Restate's error code (`RT0016`), or nothing."""
    message: str
    command: int | None
    stacktrace_line: int | None = None


@dataclass(frozen=True)
class Invocation:
    """One invocation: its attempts, its journal, its errors, its end."""

    id: str
    target: str
    status: str
    """As in `sys_invocation`, at the end of the run."""
    invoked_by: str
    attempts: tuple[Attempt, ...]
    journal: tuple[Entry, ...]
    failures: tuple[Failure, ...]

    @property
    def result(self) -> Json:
        """What it answered or failed with; None if it hasn't.

        It need not stand last in the journal: a sleep that ends in that moment is written after it.
        """
        return next((each.value for each in self.journal if each.type == "Command: Output"), None)


@dataclass(frozen=True)
class Call:
    """A call that the proof made at the ingress, and its answer."""

    target: str
    input: Json
    status: int | None
    """HTTP status of the answer, or None if none came."""
    answer: Json
    headers: dict[str, str] = field(default_factory=dict)
    """What it was sent with, beyond its input."""
    abandoned: bool = False
    """Whether the caller itself hung up before the answer."""
    waited: float | None = None
    """Seconds, at least, that it was kept waiting by other callers of the same worker or key."""


@dataclass(frozen=True)
class Effect:
    """A request that reached the outside world, from its ledger."""

    effect: str
    body: Json
    idempotency_key: str | None
    duplicate: bool
    """Known by its key: received, but nothing happened."""
    invocation: str | None
    attempt: int | None
    line: int | None
    command: int | None
    """The step that sent it; None if it came straight from the handler's body."""
    failed: bool = False
    """Refused: received, but nothing happened."""


@dataclass(frozen=True)
class State:
    """A state entry of an object or workflow, left at the end."""

    service: str
    key: str
    name: str
    value: Json


@dataclass(frozen=True)
class Trace:
    """All that one run did."""

    calls: tuple[Call, ...]
    invocations: tuple[Invocation, ...]
    effects: tuple[Effect, ...]
    state: tuple[State, ...] = ()
    rows: dict[str, list[dict[str, Json]]] = field(default_factory=dict)
    """What stands at the end in the database that the snippet wrote to, by table."""
    measured: dict[str, Json] = field(default_factory=dict)
    """What the proof itself measured from outside, by name."""
    answers: dict[str, list[dict[str, Json]]] = field(default_factory=dict)
    """What the server's tables answered at the end to what the guide's pages ask, by page."""

    def effect_counts(self) -> dict[str, int]:
        """How often each effect happened.

        A request known by its key brings nothing about, and neither does a read, or one refused.
        """
        counts: dict[str, int] = {}
        for effect in self.effects:
            is_read = effect.effect.startswith("GET ")
            if not effect.duplicate and not effect.failed and not is_read:
                counts[effect.effect] = counts.get(effect.effect, 0) + 1
        return counts

    def line_counts(self) -> dict[str, int]:
        """How often each line was printed or logged by the snippet."""
        counts: dict[str, int] = {}
        for invocation in self.invocations:
            for attempt in invocation.attempts:
                for moment in attempt.moments:
                    if moment.what == "line":
                        counts[moment.text] = counts.get(moment.text, 0) + 1
        return counts

    def failures(self) -> list[Failure]:
        return [failure for invocation in self.invocations for failure in invocation.failures]
