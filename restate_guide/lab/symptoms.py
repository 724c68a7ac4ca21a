"""The symptoms: the closed list of what a run can be found to have done, with measured values.

Each has a kind (its page's slug), the values that a proof must name, and a sentence for a reader.
`Holds` is the one good outcome: what a page promises of its `do`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

Json = Any


def seconds(count: float) -> str:
    return f"{count:g} {'second' if count == 1 else 'seconds'}"


def in_words(differs: str) -> str:
    """What differs, where the server names it by a field of the command: only steps have a name."""
    return f"step {differs[5:]!r}" if differs.startswith("name ") else differs


@dataclass(frozen=True)
class Holds:
    """Every call got its answer, every effect reached the outside world as often as it should."""

    kind: ClassVar[str] = "holds"
    title: ClassVar[str] = "Holds"

    answers: list[Json]
    """Of the proof's calls, in their order."""
    effects: dict[str, int] = field(default_factory=dict)
    """How often each effect (`POST /charges`) was brought about; none else may be."""
    lines: dict[str, int] = field(default_factory=dict)
    """How often each line was printed or logged; lines not named here may come at will."""
    rows: dict[str, int] = field(default_factory=dict)
    """How many rows stand at the end in each table that is named here."""
    state: dict[str, int] = field(default_factory=dict)
    """How many state entries each service that is named here has at the end, over all its keys."""

    @property
    def short(self) -> str:
        if self.effects:
            return ", ".join(f"{name} ×{times}" for name, times in self.effects.items())
        return "the right answer"

    @property
    def sentence(self) -> str:
        if not self.effects:
            return "Every call was answered as it should be."
        often = "exactly once" if set(self.effects.values()) <= {1} else "as often as it should"
        return f"Every call was answered as it should be, and every effect happened {often}."


@dataclass(frozen=True)
class JournalMismatch:
    """On replay the handler asked for something else than what its journal holds."""

    kind: ClassVar[str] = "journal-mismatch"
    title: ClassVar[str] = "Journal mismatch"

    command: int
    """Index of the command, the input being 0."""
    was: str
    """What the journal holds."""
    now: str
    """What the replaying handler asked for."""
    code: str = "RT0016"

    @property
    def short(self) -> str:
        return f"journal mismatch {self.code} at command {self.command}"

    @property
    def sentence(self) -> str:
        return (
            f"{self.code}: at command {self.command} the journal holds {in_words(self.was)}, but the "
            f"replay asked for {in_words(self.now)}. The server retries, then pauses the invocation."
        )


@dataclass(frozen=True)
class PreconditionFailed:
    """The server refuses a command that this kind of service or handler may not issue."""

    kind: ClassVar[str] = "precondition"
    title: ClassVar[str] = "Precondition failed"

    command: int
    code: str = "RT0017"

    @property
    def short(self) -> str:
        return f"precondition {self.code} at command {self.command}"

    @property
    def sentence(self) -> str:
        return (
            f"{self.code}: command {self.command} is not allowed in this kind of handler. "
            "The server retries, then pauses the invocation."
        )


@dataclass(frozen=True)
class RetriedUntilPaused:
    """Every attempt fails with the same error, until the server pauses the invocation."""

    kind: ClassVar[str] = "retried-until-paused"
    title: ClassVar[str] = "Retried until paused"

    error: str
    attempts: int

    @property
    def short(self) -> str:
        return f"{self.error.partition('(')[0].strip()}, retried until paused"

    @property
    def sentence(self) -> str:
        return f"{self.attempts} attempts ended with {self.error}; then the invocation was paused."


@dataclass(frozen=True)
class WaitsForever:
    """A call is never answered: nothing fails, and nothing moves."""

    kind: ClassVar[str] = "waits-for-ever"
    title: ClassVar[str] = "Waits for ever"

    status: str
    """Status of the invocation in `sys_invocation`."""

    @property
    def short(self) -> str:
        return "waits for ever"

    @property
    def sentence(self) -> str:
        return f"A call got no answer: the invocation stays {self.status}, and nothing moves it."


@dataclass(frozen=True)
class EffectRepeated:
    """The outside world was acted on more often than the handler meant to."""

    kind: ClassVar[str] = "effect-repeated"
    title: ClassVar[str] = "Effect repeated"

    effect: str
    times: int

    @property
    def short(self) -> str:
        return f"{self.effect} ×{self.times}"

    @property
    def sentence(self) -> str:
        return f"{self.effect} happened {self.times} times."


@dataclass(frozen=True)
class EffectUnwanted:
    """The outside world was acted on in a way that nobody wanted, even once."""

    kind: ClassVar[str] = "effect-unwanted"
    title: ClassVar[str] = "Effect unwanted"

    effect: str

    @property
    def short(self) -> str:
        return f"{self.effect}, unwanted"

    @property
    def sentence(self) -> str:
        return f"{self.effect} happened, and should not have."


@dataclass(frozen=True)
class EffectMissing:
    """An effect that should have happened never did, and nothing says so."""

    kind: ClassVar[str] = "effect-missing"
    title: ClassVar[str] = "Effect missing"

    effect: str

    @property
    def short(self) -> str:
        return f"{self.effect} never happened"

    @property
    def sentence(self) -> str:
        return f"{self.effect} never reached the outside world, and no error says so."


@dataclass(frozen=True)
class WrongValue:
    """A call was answered, without an error, with a wrong value."""

    kind: ClassVar[str] = "wrong-value"
    title: ClassVar[str] = "Wrong value"

    right: Json
    got: Json

    @property
    def short(self) -> str:
        return "wrong value, no error"

    @property
    def sentence(self) -> str:
        return f"The answer was {self.got!r}; right is {self.right!r}. No error tells of it."


@dataclass(frozen=True)
class CallFailed:
    """A call was answered with an error that ended it for good, and should have been served."""

    kind: ClassVar[str] = "call-failed"
    title: ClassVar[str] = "Call failed"

    status: int
    """HTTP status of the answer."""
    message: str

    @property
    def short(self) -> str:
        return f"failed with {self.status}"

    @property
    def sentence(self) -> str:
        said = f", {self.message!r}" if self.message else ""
        return f"The call failed for good with {self.status}{said}: nothing retries it."


@dataclass(frozen=True)
class AnsweredLate:
    """The right answer came, later than it had to."""

    kind: ClassVar[str] = "answered-late"
    title: ClassVar[str] = "Answered late"

    seconds: float
    """It took at least this long."""

    @property
    def short(self) -> str:
        return f"answered after ≥ {self.seconds:g} s"

    @property
    def sentence(self) -> str:
        return f"The answer was right, and took at least {seconds(self.seconds)}."


@dataclass(frozen=True)
class JournalGrows:
    """An invocation's journal gets longer with every turn, and each replay with it."""

    kind: ClassVar[str] = "journal-grows"
    title: ClassVar[str] = "Journal grows"

    entries: int
    """It had at least so many."""

    @property
    def short(self) -> str:
        return f"≥ {self.entries} journal entries"

    @property
    def sentence(self) -> str:
        return f"One invocation's journal grew to at least {self.entries} entries, more with every turn."


@dataclass(frozen=True)
class StateLeft:
    """Everything is over, and state is left that nobody will ever read or clear."""

    kind: ClassVar[str] = "state-left"
    title: ClassVar[str] = "State left behind"

    service: str
    entries: int
    """How many state entries stand there and should not."""

    @property
    def short(self) -> str:
        return f"{self.entries} state {'entry' if self.entries == 1 else 'entries'} left in {self.service}"

    @property
    def sentence(self) -> str:
        left = self.short.replace(" left", " is left" if self.entries == 1 else " are left")
        return f"Everything is over, and {left}."


@dataclass(frozen=True)
class LineRepeated:
    """A log line stands in the log more often than what it tells of took place."""

    kind: ClassVar[str] = "line-repeated"
    title: ClassVar[str] = "Log line repeated"

    line: str
    times: int

    @property
    def short(self) -> str:
        return f"log line ×{self.times}"

    @property
    def sentence(self) -> str:
        return f"{self.line!r} was logged {self.times} times."


@dataclass(frozen=True)
class WorkerBlocked:
    """While one invocation waits, the worker serves no other."""

    kind: ClassVar[str] = "worker-blocked"
    title: ClassVar[str] = "Worker blocked"

    seconds: float
    """Another caller waited at least this long."""

    @property
    def short(self) -> str:
        return f"worker blocked ≥ {self.seconds:g} s"

    @property
    def sentence(self) -> str:
        return f"Another caller of the same worker waited at least {seconds(self.seconds)}."


@dataclass(frozen=True)
class KeyBlocked:
    """While one invocation holds an object's key, every other one on that key waits."""

    kind: ClassVar[str] = "key-blocked"
    title: ClassVar[str] = "Key blocked"

    seconds: float
    """Another caller of the same key waited at least this long."""

    @property
    def short(self) -> str:
        return f"key blocked ≥ {self.seconds:g} s"

    @property
    def sentence(self) -> str:
        return f"Another caller of the same key waited at least {seconds(self.seconds)}."


@dataclass(frozen=True)
class NotCompensated:
    """The invocation failed, and what it had done before was not undone."""

    kind: ClassVar[str] = "not-compensated"
    title: ClassVar[str] = "Not compensated"

    table: str
    rows: int
    """Rows that stand in the table and should not."""

    @property
    def short(self) -> str:
        return f"{self.rows} {'row' if self.rows == 1 else 'rows'} left in {self.table}"

    @property
    def sentence(self) -> str:
        left = self.short.replace(" left", " is left" if self.rows == 1 else " are left")
        return f"The invocation is over, and {left}: nothing undid it."


@dataclass(frozen=True)
class ServedUnverified:
    """A request was served although nobody had verified who sent it."""

    kind: ClassVar[str] = "served-unverified"
    title: ClassVar[str] = "Served without identity"

    request: str

    @property
    def short(self) -> str:
        return f"{self.request} served"

    @property
    def sentence(self) -> str:
        return f"{self.request} was served, and nothing had checked that its sender may ask for it."


@dataclass(frozen=True)
class SecretExposed:
    """Whoever knows something public can tell the secret."""

    kind: ClassVar[str] = "secret-exposed"
    title: ClassVar[str] = "Secret exposed"

    known_from: str
    """Where the secret can be read or computed from."""

    @property
    def short(self) -> str:
        return f"secret known from {self.known_from}"

    @property
    def sentence(self) -> str:
        return f"Whoever sees {self.known_from} knows the secret."


Symptom = (
    JournalMismatch
    | PreconditionFailed
    | RetriedUntilPaused
    | WaitsForever
    | EffectRepeated
    | EffectUnwanted
    | EffectMissing
    | WrongValue
    | CallFailed
    | AnsweredLate
    | LineRepeated
    | WorkerBlocked
    | KeyBlocked
    | JournalGrows
    | StateLeft
    | NotCompensated
    | ServedUnverified
    | SecretExposed
)
Outcome = Holds | Symptom
