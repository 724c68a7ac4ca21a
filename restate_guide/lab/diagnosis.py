"""Tells from a trace, and from what right looks like, which symptom a run shows."""

from __future__ import annotations

import re
from collections.abc import Sequence

from restate_guide.lab.symptoms import (
    AnsweredLate,
    CallFailed,
    EffectMissing,
    EffectRepeated,
    EffectUnwanted,
    Holds,
    JournalGrows,
    JournalMismatch,
    KeyBlocked,
    LineRepeated,
    NotCompensated,
    Outcome,
    PreconditionFailed,
    RetriedUntilPaused,
    SecretExposed,
    ServedUnverified,
    StateLeft,
    WaitsForever,
    WorkerBlocked,
    WrongValue,
)
from restate_guide.lab.trace import Call, Failure, Json, Trace


def diagnose(trace: Trace, promise: Holds) -> Outcome:
    """The first departure from the promise, errors before effects before values; or the promise.

    It doesn't know what the proof expects of a `dont`: that is compared with what stands here.
    """
    for failure in trace.failures():
        if failure.code == "RT0016":
            return mismatch(failure)
        if failure.code == "RT0017":
            # The server found it, not the worker: only the message says which command it was.
            index = re.search(r"command index (\d+)", failure.message)
            return PreconditionFailed(command=int(index[1]) if index else failure.command or 0)
    for invocation in trace.invocations:
        if invocation.status == "paused":
            error = next(f.message for f in reversed(invocation.failures))
            return RetriedUntilPaused(error, attempts=len(invocation.attempts))
    if known_from := trace.measured.get("secret known from"):
        return SecretExposed(known_from)
    if seconds := trace.measured.get("worker blocked for at least"):
        return WorkerBlocked(seconds)
    if seconds := trace.measured.get("key blocked for at least"):
        return KeyBlocked(seconds)
    if entries := trace.measured.get("journal grew to at least"):
        return JournalGrows(entries)
    if request := trace.measured.get("served unverified"):
        return ServedUnverified(request)
    calls = [call for call in trace.calls if not call.abandoned]
    if any(call.status is None for call in calls):
        open_ones = (i.status for i in trace.invocations if i.status != "completed")
        return WaitsForever(next(open_ones, "completed"))
    return (
        _too_much(trace, promise)
        or _failed(calls, promise)
        or _missing(trace, promise)
        or _wrong(trace, calls, promise)
        or promise
    )


def _too_much(trace: Trace, promise: Holds) -> Outcome | None:
    """What happened, was logged or was left more often than promised."""
    for effect, times in trace.effect_counts().items():
        if effect not in promise.effects:
            return EffectUnwanted(effect)
        if times > promise.effects[effect]:
            return EffectRepeated(effect, times)
    lines = trace.line_counts()
    for line, times in promise.lines.items():
        if lines.get(line, 0) > times:
            return LineRepeated(line, lines[line])
    for table, rows in promise.rows.items():
        if len(trace.rows.get(table, [])) > rows:
            return NotCompensated(table, len(trace.rows[table]) - rows)
    for service, entries in promise.state.items():
        if (left := _entries(trace, service)) > entries:
            return StateLeft(service, left - entries)
    return None


def _failed(calls: Sequence[Call], promise: Holds) -> Outcome | None:
    """A call that was answered with another error than promised."""
    for call, right in zip(calls, promise.answers, strict=False):
        if call.answer != right and call.status is not None and call.status >= 400:
            return CallFailed(call.status, message_of(call.answer))
    return None


def _missing(trace: Trace, promise: Holds) -> Outcome | None:
    """What should have happened and did not, although every call was answered well."""
    counts, lines = trace.effect_counts(), trace.line_counts()
    missing = [
        *(effect for effect, times in promise.effects.items() if counts.get(effect, 0) < times),
        *(f"log line {line!r}" for line, n in promise.lines.items() if lines.get(line, 0) < n),
        *(f"a row in {t}" for t, n in promise.rows.items() if len(trace.rows.get(t, [])) < n),
        *(f"state of {s}" for s, n in promise.state.items() if _entries(trace, s) < n),
    ]
    return EffectMissing(missing[0]) if missing else None


def _wrong(trace: Trace, calls: Sequence[Call], promise: Holds) -> Outcome | None:
    """A call that was answered with a wrong value, or late."""
    for call, right in zip(calls, promise.answers, strict=True):
        if call.answer != right:
            return WrongValue(right=right, got=call.answer)
    if seconds := trace.measured.get("answered after at least"):
        return AnsweredLate(seconds)
    return None


def _entries(trace: Trace, service: str) -> int:
    return sum(state.service == service for state in trace.state)


def message_of(answer: Json) -> str:
    """What an error says; the ingress answers with JSON that has a message."""
    return str(answer.get("message", answer)) if isinstance(answer, dict) else str(answer)


def mismatch(failure: Failure) -> JournalMismatch:
    """Reads the two sides of an RT0016 from its message, which has one of two forms."""
    message = failure.message
    if commands := re.search(
        r"recorded the following: '(.+?)'.*attempts to perform the following: '(.+?)'",
        message,
        re.S,
    ):
        was, now = commands[1], commands[2]
    elif field := re.search(r"- Difference:\s+(\w+): (.*?) != (.*?)\s*$", message, re.S):
        was, now = f"{field[1]} {field[2]}", f"{field[1]} {field[3]}"
    else:
        was, now = "something else", message.strip().splitlines()[-1].strip(" -")
    return JournalMismatch(failure.command or 0, was=was, now=now)
