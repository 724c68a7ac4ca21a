"""The story of a run: its trace as steps in a reader's words.

Each step is one or a few moments of the trace that belong together, with what they did to the
journal and to the world outside. Nothing is inferred beyond the trace.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Literal

from restate_guide.lab.diagnosis import mismatch
from restate_guide.lab.trace import Attempt, Effect, Entry, Failure, Invocation, Moment, Trace

Json = Any

MISMATCH = "RT0016"
UNKNOWN = "unknown to the server"
ASKED = " is in the journal"
"""How a replayed command goes on whose result isn't told in the same step."""
BROKEN_CONNECTION = "RT0010"
ORDINALS = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}
WAITED_FOR = {"Run", "Sleep", "Call", "GetPromise", "AttachInvocation", "GetState", "GetStateKeys"}
"""Commands whose result a handler may wait for."""
FEW = 3
"""So many answers from the journal in a row are told one by one; more are told as one step."""


@dataclass(frozen=True)
class Code:
    """A piece of a step's words that is data or code."""

    text: str


Words = tuple[str | Code, ...]


@dataclass(frozen=True)
class Mark:
    """What a step did: it wrote or read journal entries, or brought something about outside."""

    how: Literal[
        "written", "read", "refused", "took effect", "too often", "known", "failed", "logged"
    ]
    text: str
    """Indexes of journal entries, or how many of this effect there are by now."""


@dataclass(frozen=True)
class Step:
    kind: Literal["step", "effect", "line", "answered", "suspended", "end", "harm"]
    words: Words
    lines: tuple[int, ...] = ()
    """Lines of the snippet."""
    mark: Mark | None = None


@dataclass(frozen=True)
class Told:
    """One attempt, or several in a row in which the same happened."""

    numbers: tuple[int, ...]
    worker: int
    known_entries: int
    steps: tuple[Step, ...]
    file: str = ""
    """What the worker served, where it isn't the snippet that is shown."""


@dataclass(frozen=True)
class Story:
    """What happened in one invocation."""

    invocation: Invocation
    attempts: tuple[Told, ...]


def stories(trace: Trace, promised: Mapping[str, int] | None = None) -> list[Story]:
    """The story of each invocation.

    Args:
        promised: how often each effect and each log line may happen; others may at will.
    """
    counts = Counts(promised or {})
    return [
        Story(invocation, tuple(_same_in_one(_Teller(invocation, trace, counts).tell())))
        for invocation in trace.invocations
    ]


class Counts:
    """How often each effect happened so far, and each line was logged."""

    def __init__(self, promised: Mapping[str, int]) -> None:
        self._promised = promised
        self._counts: dict[str, int] = {}
        self._seen: set[tuple[str, str]] = set()

    def once_more(self, name: str, how: Literal["took effect", "logged"]) -> Mark:
        count = self._counts[name] = self._counts.get(name, 0) + 1
        too_often = count > self._promised.get(name, count)
        return Mark("too often" if too_often else how, str(count))

    def is_again(self, name: str, body: str) -> bool:
        """Whether the same happened before, with the same body."""
        known = (name, body) in self._seen
        self._seen.add((name, body))
        return known


def compact(value: Json, limit: int = 72) -> str:
    """A value as JSON on one line, cut where it gets long."""
    return shortened(json.dumps(value, ensure_ascii=False), limit)


def shortened(line: str, limit: int = 160) -> str:
    return line if len(line) <= limit else line[: limit - 1] + "…"


def ended_by(failure: Failure) -> Words:
    """An error as the server holds it, in one line."""
    code: Words = (Code(failure.code), " ") if failure.code else ()
    return *code, f"({failure.status}) {failure.message.strip().splitlines()[0]}"


def _same_in_one(attempts: Sequence[Told]) -> Iterator[Told]:
    """Attempts that did the same one after another, told once."""
    waiting: Told | None = None
    for attempt in attempts:
        if waiting and replace(attempt, numbers=waiting.numbers) == waiting:
            waiting = replace(waiting, numbers=(*waiting.numbers, *attempt.numbers))
        else:
            if waiting:
                yield waiting
            waiting = attempt
    if waiting:
        yield waiting


class _Teller:
    """Tells one invocation, moment by moment."""

    def __init__(self, invocation: Invocation, trace: Trace, counts: Counts) -> None:
        self._invocation = invocation
        self._trace = trace
        self._counts = counts
        self._commands = by_command(invocation.journal, "Command")
        self._results = by_command(invocation.journal, "Notification")
        self._refusal = refusal(invocation)

    def tell(self) -> list[Told]:
        return [
            Told(
                (attempt.number,),
                attempt.worker,
                attempt.known_entries,
                tuple(_answers_in_one(self._steps(attempt))),
                attempt.file,
            )
            for attempt in self._invocation.attempts
        ]

    def _steps(self, attempt: Attempt) -> Iterator[Step]:
        if self._invocation.status == UNKNOWN and attempt.number == 1:
            yield from self._sent_past_the_server()
        moments = list(attempt.moments)
        self._refused = False
        over = ""
        effects = self._effects_of(attempt)
        while moments:
            moment, after = moments.pop(0), moments
            match moment.what:
                case "command" if moment.text.startswith("Output"):
                    pass  # told with the moment "output"
                case "command" if over:
                    refused = (*named(moment), f" is refused: the attempt is {over}")
                    yield Step("harm", refused, lines_of(moment))
                case "command" if self._refused:
                    pass  # of a coroutine that goes on until the error ends the attempt
                case "command":
                    yield self._command(moment, after)
                case "executing":
                    again = " again" if self._ran_before(moment, attempt) else ""
                    yield Step("step", (*named(moment), f" runs{again}"), lines_of(moment))
                case "executed":
                    if after and after[0].what == "result" and same_command(after[0], moment):
                        moments.pop(0)
                    yield self._executed(moment, attempt)
                case "result":
                    yield self._result(moment)
                case "effect":
                    yield self._effect(moment, next(effects, None))
                case "row":
                    yield self._row(moment)
                case "operator":
                    yield self._operator(moment)
                case "line":
                    yield self._line(moment)
                case "error":
                    yield self._error(moment, attempt)
                case "output":
                    over = "over"
                    yield self._output(moment, attempt)
                    yield from self._never_ran()
                    if self._refusal and self._lost(attempt):
                        yield self._refused_by_server(self._refusal, attempt)
                case "suspended" if self._refusal and self._lost(attempt):
                    yield self._refused_by_server(self._refusal, attempt)
                case "suspended":
                    over = "suspended"
                    yield self._suspended(attempt)
                case _:
                    yield self._end(moment)
        last = attempt.number == self._invocation.attempts[-1].number
        if last and self._invocation.status not in ("completed", "paused", UNKNOWN):
            words = f"Nothing more happens: the invocation stays {self._invocation.status}"
            timers = [c for c, e in self._commands.items() if e.type == "Command: Sleep"]
            ends = "" if set(timers) - set(self._results) else ", and no timer will wake it"
            yield Step("harm", (words + ends,))

    def _effects_of(self, attempt: Attempt) -> Iterator[Effect]:
        """The ledger's rows of an attempt, which are in the order of its moments."""
        return (
            effect
            for effect in self._trace.effects
            if (effect.invocation, effect.attempt) == (self._invocation.id, attempt.number)
        )

    def _command(self, moment: Moment, after: list[Moment]) -> Step:
        """A command is issued; what comes right after it tells what became of it."""
        entry = self._commands.get(moment.command)
        follows = after[0] if after else None
        executes = follows and follows.what == "executing" and same_command(follows, moment)
        answered = follows and follows.what == "result" and same_command(follows, moment)
        where = lines_of(moment)
        if not moment.from_journal:
            if answered and entry and is_eager(entry):
                after.pop(0)
                value = value_of(entry)
                if entry.type == "Command: GetEagerState":
                    value = value or (": nothing",)
                words = (*named(moment), " is answered at once", *value)
                return Step("step", words, where, Mark("written", str(entry.index)))
            mark = Mark("written", str(entry.index)) if entry else None
            if executes:
                after.pop(0)
                return Step("step", (*named(moment), " begins"), where, mark)
            return Step("step", (*named(moment), *self._asked_for(moment)), where, mark)
        mark = Mark("read", str(entry.index)) if entry else None
        differs = any(later.what == "error" and "(570)" in later.text for later in after)
        if entry and differs and label(entry) not in moment.text:
            self._refused = True
            words = ("The code asks for ", *named(moment, small=True), ", but the journal has ")
            return Step(
                "harm",
                (*words, *named_entry(entry), " here"),
                where,
                Mark("refused", f"≠ {entry.index}"),
            )
        if executes:
            after.pop(0)
            words = (
                *named(moment),
                " had begun, but the journal holds no result of it: it runs again",
            )
            return Step("step", words, where, mark)
        if answered and follows and follows.from_journal:
            return self._result(after.pop(0))
        if any(later.what == "executing" and same_command(later, moment) for later in after):
            words = (*named(moment), " had begun, but the journal holds no result of it")
            return Step("step", words, where, mark)
        return Step("answered", (*named(moment), ASKED), where, mark)

    def _asked_for(self, moment: Moment) -> Words:
        """How a command that isn't executed by the worker goes on."""
        if moment.within is not None:
            step = self._commands.get(moment.within)  # the server may have refused it
            return (" is asked for, inside ", *(named_entry(step) if step else ("a step",)))
        kind = moment.text.partition(" ")[0]
        return ({"Run": " is issued", "OneWayCall": " is sent"}.get(kind, " is asked for"),)

    def _ran_before(self, moment: Moment, attempt: Attempt) -> bool:
        """Whether an earlier attempt had begun this step's action."""
        return any(
            earlier.what == "executing" and same_command(earlier, moment)
            for other in self._invocation.attempts[: attempt.number - 1]
            for earlier in other.moments
        )

    def _sent_past_the_server(self) -> Iterator[Step]:
        """What the proof itself sent to the worker, as no server did."""
        if request := self._trace.measured.get("served unverified"):
            yield Step("harm", ("Somebody sends the worker an unsigned ", Code(str(request))))

    def _executed(self, moment: Moment, attempt: Attempt) -> Step:
        entry = self._results.get(moment.command)
        if entry and entry.attempt not in (None, attempt.number) and " failed: " not in moment.text:
            words = (*named(moment), " is done; the journal doesn’t hold this result")
            return Step("step", words, lines_of(moment))
        mark = Mark("written", str(entry.index)) if entry else None
        if " failed: " in moment.text:
            error = moment.text.partition(" failed: ")[2]
            if entry and entry.attempt != attempt.number:
                mark = None  # to be tried again: the entry is a later attempt's
            return Step("harm", (*named(moment), " fails: ", Code(error)), lines_of(moment), mark)
        return Step("step", (*named(moment), " is done", *value_of(entry)), lines_of(moment), mark)

    def _result(self, moment: Moment) -> Step:
        """The handler gets the result of a command."""
        entry = self._results.get(moment.command)
        command = self._commands.get(moment.command)
        if entry is None and command and is_eager(command):
            entry = command
        value = value_of(entry)
        what = named_entry(command, large=True) if command else named(moment)
        if moment.from_journal:
            mark = Mark("read", str(entry.index)) if entry else None
            return Step("answered", (*what, ", from the journal", *value), lines_of(moment), mark)
        # The server wrote this entry, not the attempt.
        mark = Mark("read", str(entry.index)) if entry else None
        return Step("step", (*what, " is answered", *value), lines_of(moment), mark)

    def _effect(self, moment: Moment, effect: Effect | None) -> Step:
        name = effect.effect if effect else moment.text
        sent: Words = (
            (" ", Code(compact(effect.body))) if effect and effect.body is not None else ()
        )
        key: Words = (
            (", key ", Code(effect.idempotency_key)) if effect and effect.idempotency_key else ()
        )
        if effect and effect.duplicate:
            words: Words = (Code(name), *sent, *key, ": known, and not done again")
            return Step("effect", words, lines_of(moment), Mark("known", "–"))
        if effect and effect.failed:
            words = (Code(name), *sent, *key, ": refused, nothing happens")
            return Step("effect", words, lines_of(moment), Mark("failed", "–"))
        mark = self._counts.once_more(name, "took effect")
        same = self._counts.is_again(name, compact(effect.body) if effect else "")
        nth = again(mark) if same else ()
        comma = "," if nth else ""
        where: Words = (f", in no step{comma}",) if moment.command is None else ()
        return Step("effect", (Code(name), *sent, *key, *where, *nth), lines_of(moment), mark)

    def _row(self, moment: Moment) -> Step:
        """A statement that changed rows; whether it is one too many, only the table tells."""
        mark = self._counts.once_more(moment.text, "took effect")
        return Step("effect", (Code(moment.text),), lines_of(moment), mark)

    def _operator(self, moment: Moment) -> Step:
        """A cancel is a signal, which answers no command."""
        words: Words = ("The operator: ", Code(moment.text))
        for entry in self._invocation.journal:
            if entry.type == "Notification: Signal" and entry.command is None:
                mark = Mark("read", str(entry.index))
                said = ". It comes as a signal, and what the handler waits for fails"
                return Step("harm", (*words, said), (), mark)
        return Step("harm", words)

    def _line(self, moment: Moment) -> Step:
        mark = self._counts.once_more(moment.text, "logged")
        return Step("line", ("Log: ", Code(moment.text), *again(mark)), lines_of(moment), mark)

    def _error(self, moment: Moment, attempt: Attempt) -> Step:
        failure = next(
            (f for f in self._invocation.failures if first_line(f.message) in moment.text), None
        )
        code: Words = (Code(failure.code), " ") if failure and failure.code else ()
        if failure and failure.code == MISMATCH:
            words: Words = (*code, "journal mismatch: the attempt ends")
            if not self._refused:  # the same command, with something else in it
                found = mismatch(failure)
                differs = f"the journal has {found.was}, the code asks for {found.now}"
                words = (*code, f"journal mismatch: {differs}; the attempt ends")
        else:
            error = first_line(failure.message if failure else moment.text)
            words = ("The attempt ends with ", *code, Code(shortened(error)))
        return Step("harm", (*words, *self._given_up(attempt)), lines_of(moment))

    def _given_up(self, attempt: Attempt) -> Words:
        """What becomes of the invocation after an attempt that failed, if no other follows."""
        if attempt.number != self._invocation.attempts[-1].number:
            return ()
        ends = {"paused": "pauses", "completed": "ends"}.get(self._invocation.status)
        return (f"; the server {ends} the invocation",) if ends else ()

    def _lost(self, attempt: Attempt) -> bool:
        """Whether the attempt asked for a command, or had a result, that the journal lacks."""
        for moment in attempt.moments:
            match moment.what:
                case "command" if not moment.text.startswith("Output"):
                    entry = self._commands.get(moment.command)
                case "executed":
                    entry = self._results.get(moment.command)
                    if entry and entry.attempt not in (None, attempt.number):
                        return True  # a later attempt's
                case _:
                    continue
            if entry is None:
                return True
        return False

    def _refused_by_server(self, failure: Failure, attempt: Attempt) -> Step:
        """The worker doesn't hear why its attempt ends; the server's log of errors says it."""
        words = ("The server ends the attempt: ", Code(failure.code), " ")
        said = Code(first_line(failure.message))
        return Step("harm", (*words, said, *self._given_up(attempt)))

    def _output(self, moment: Moment, attempt: Attempt) -> Step:
        entry = next(
            (
                entry
                for entry in self._invocation.journal
                if entry.type == "Command: Output" and entry.attempt == attempt.number
            ),
            None,
        )
        mark = Mark("written", str(entry.index)) if entry else None
        if entry and isinstance(entry.value, dict) and entry.value.keys() == {"failure", "code"}:
            error = f"({entry.value['code']}) {entry.value['failure']}"
            return Step("end", ("The handler fails: ", Code(error)), lines_of(moment), mark)
        value: Words = (" ", Code(compact(entry.value))) if entry else ()
        if entry and entry.value == "":
            value = (" nothing",)
        return Step("end", ("The handler returns", *value), lines_of(moment), mark)

    def _suspended(self, attempt: Attempt) -> Step:
        """What the attempt asked for and has no result of, as far as it has an entry in the journal."""
        moments = list(takewhile(lambda m: m.what != "suspended", attempt.moments))
        took = {m.command for m in moments if m.what == "result"}
        executed = {m.command for m in moments if m.what == "executed"}
        begun = [m for m in moments if m.what == "executing" and m.command not in executed]
        at_work = listed([named(m, small=True) for m in begun])
        if executed - took:
            words: Words = ("The attempt ends here",)
            if attempt.number < len(self._invocation.attempts):
                words = (*words, "; the next one takes from the journal what is done")
            if at_work:
                words = (*words, ", and not ", *at_work, ", still at work")
            return Step("suspended", words)
        waiting = [
            named(m, small=True)
            for m in moments
            if m.what == "command" and m.command not in took and has_result(m)
        ]
        if not waiting:
            words = ("The attempt is suspended, until something comes from outside",)
            return Step("suspended", words)
        is_over = "is" if len(waiting) == 1 else "are"
        words = ("The attempt is suspended: ", *listed(waiting), f" {is_over} not over yet")
        return Step("suspended", words)

    def _never_ran(self) -> Iterator[Step]:
        """Steps that were asked for, and of which no attempt began the action."""
        began = {
            moment.command
            for attempt in self._invocation.attempts
            for moment in attempt.moments
            if moment.what == "executing"
        }
        for command, entry in self._commands.items():
            if entry.type == "Command: Run" and command not in {*began, *self._results}:
                where = () if entry.line is None else (entry.line,)
                yield Step("harm", (*named_entry(entry, large=True), " never runs"), where)

    def _end(self, moment: Moment) -> Step:
        if moment.what == "killed":
            broke = any(f.code == BROKEN_CONNECTION for f in self._invocation.failures)
            seen: Words = (": the server sees ", Code(BROKEN_CONNECTION)) if broke else ()
            return Step("harm", ("The worker is killed", *seen))
        return Step("end", ("The server ends the attempt",))


def _answers_in_one(steps: Iterator[Step]) -> Iterator[Step]:
    """Long runs of answers from the journal as one step; a command with its answer is told once."""
    answers: list[Step] = []
    for step in [*steps, None]:
        if step and step.kind == "answered":
            answers.append(step)
            continue
        if len(answers) > FEW:
            yield _merged(answers)
        else:
            yield from answers
        answers = []
        if step:
            yield step


def _merged(answers: Sequence[Step]) -> Step:
    given = {name_in(step) for step in answers if step.words[-1] != ASKED}
    names = [
        name_in(step) for step in answers if step.words[-1] != ASKED or name_in(step) not in given
    ]
    indexes = [step.mark.text for step in answers if step.mark]
    return Step(
        "answered",
        (*listed([(name,) for name in names]), ": all from the journal"),
        tuple(sorted({line for step in answers for line in step.lines})),
        Mark("read", f"{indexes[0]}–{indexes[-1]}" if indexes else ""),
    )


def name_in(step: Step) -> Code:
    """What a step is about: the first piece of code in its words."""
    return next((word for word in step.words if isinstance(word, Code)), Code("?"))


def refusal(invocation: Invocation) -> Failure | None:
    """An error with which the server ended attempts, and of which no worker heard."""
    heard = [m.text for a in invocation.attempts for m in a.moments if m.what == "error"]
    return next(
        (
            failure
            for failure in invocation.failures
            if failure.event == "TransientError"
            and failure.code != BROKEN_CONNECTION
            and not any(first_line(failure.message) in text for text in heard)
        ),
        None,
    )


def by_command(journal: Sequence[Entry], side: str) -> Mapping[int | None, Entry]:
    """The last entry of one side (Command, Notification) for each command."""
    return {entry.command: entry for entry in journal if entry.type.startswith(side)}


def same_command(one: Moment, other: Moment) -> bool:
    return one.command == other.command


def lines_of(moment: Moment) -> tuple[int, ...]:
    return () if moment.line is None else (moment.line,)


def is_eager(entry: Entry) -> bool:
    """Whether the command was answered from state that came along with the invocation."""
    return entry.type.startswith("Command: GetEager")


def again(mark: Mark) -> Words:
    """For what happens more often than it may: which time it is, as in "for the second time"."""
    if mark.how != "too often":
        return ()
    return (f" for the {ORDINALS.get(int(mark.text), f'{mark.text}th')} time",)


def label(entry: Entry) -> str:
    """`Run charge`, as the moments of a command say it."""
    return f"{entry.type.partition(': ')[2]} {entry.name}".strip()


def named(moment: Moment, small: bool = False) -> Words:
    """What a moment's command is called: a step by its name, anything else by its type."""
    return _named(moment.text.partition(" failed: ")[0], large=not small)


def named_entry(entry: Entry, large: bool = False) -> Words:
    detail = f" {entry.value}" if isinstance(entry.value, str) and not entry.name else ""
    return _named(label(entry) + detail, large)


def _named(text: str, large: bool) -> Words:
    kind, _, name = text.replace("GetEager", "Get").partition(" ")
    if kind == "Run":
        return ("Step " if large else "step ", Code(name))
    return (Code(f"{kind} {name}".strip()),)


def listed(names: Sequence[Words]) -> Words:
    """One after another, with commas."""
    words: Words = ()
    for at, name in enumerate(names):
        words = (*words, ", ", *name) if at else name
    return words


def has_result(moment: Moment) -> bool:
    """Whether a handler can wait for what comes of a command."""
    return moment.text.partition(" ")[0] in WAITED_FOR


def value_of(entry: Entry | None) -> Words:
    """What an entry holds, after a colon; a function without a result leaves an empty payload."""
    if entry is None or entry.value is None:
        return ()
    return (": it returned nothing",) if entry.value == "" else (": ", Code(compact(entry.value)))


def first_line(message: str) -> str:
    return message.strip().splitlines()[0] if message.strip() else ""
