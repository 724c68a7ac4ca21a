"""How events, traces and verdicts look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from restate_guide.lab import Event, Trace
from restate_guide.lab.evidence import Verdict
from restate_guide.lab.trace import Attempt, Moment

__all__ = ["NAMES", "difference", "escape", "event_line", "headline", "trace_tables"]

NAMES = {"do": "do", "dont": "don't"}
STYLES = {"attempt": "bold", "effect": "yellow", "answer": "bold", "stage": "dim", "call": "bold"}


def headline(name: str, verdict: Verdict) -> Text:
    """One line: which variant, and what it did."""
    good = verdict.kind == "holds"
    mark, style = ("✓", "green") if good else ("✗", "red")
    text = Text(f"{mark} {NAMES[name]}: ", style=f"bold {style}")
    return text.append(verdict.sentence, style="default not bold")


def event_line(event: Event) -> Text:
    """One line for an event: when, what, and on which line of the snippet."""
    text = Text(f"{event.at:7.3f} s  ", style="dim")
    text.append(event.text, style=STYLES.get(event.kind, "default"))
    if event.line is not None:
        text.append(f"  line {event.line}", style="dim")
    return text


def difference(lines: Sequence[str]) -> Text:
    """A unified diff, coloured."""
    text = Text()
    for line in lines:
        style = {"+": "green", "-": "red", "@": "dim"}.get(line[:1], "default")
        text.append(line + "\n", style=style)
    return text


def trace_tables(trace: Trace) -> Iterator[Table]:
    """A trace as tables: attempts and journal of each invocation, then the effects outside."""
    for invocation in trace.invocations:
        attempts = table(f"{invocation.target}, {invocation.status}: attempts")
        for heading in (
            "attempt",
            "worker",
            "from the journal",
            "new",
            "effects and lines",
            "ends",
        ):
            attempts.add_column(heading)
        for attempt in invocation.attempts:
            attempts.add_row(
                str(attempt.number),
                str(attempt.worker),
                listed(m.text for m in attempt.moments if m.what == "command" and m.from_journal),
                listed(
                    m.text for m in attempt.moments if m.what == "command" and not m.from_journal
                ),
                listed(m.text for m in attempt.moments if m.what in ("effect", "line")),
                end_of(attempt),
            )
        yield attempts
        journal = table(f"{invocation.target}: journal")
        for heading in ("index", "entry", "name", "value", "line", "attempt"):
            journal.add_column(heading)
        for entry in invocation.journal:
            journal.add_row(
                *cells(entry.index, entry.type, entry.name, entry.value, entry.line, entry.attempt)
            )
        yield journal
        if invocation.failures:
            failures = table(f"{invocation.target}: errors that the server recorded")
            failures.add_column("code")
            failures.add_column("message")
            for failure in invocation.failures:
                failures.add_row(failure.code or str(failure.status), escape(failure.message))
            yield failures
    if trace.effects:
        effects = table("What reached the outside world")
        for heading in ("effect", "body", "idempotency key", "attempt", "line", ""):
            effects.add_column(heading)
        for effect in trace.effects:
            key = effect.idempotency_key
            effects.add_row(
                *cells(effect.effect, effect.body, key, effect.attempt, effect.line),
                "known by its key: nothing happened" if effect.duplicate else "",
            )
        yield effects


def table(title: str) -> Table:
    return Table(
        title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False
    )


def cells(*values: object) -> Iterator[str]:
    return ("" if value is None else escape(str(value)) for value in values)


def listed(texts: Iterator[str]) -> str:
    return escape("\n".join(texts))


def end_of(attempt: Attempt) -> str:
    """How an attempt ended, with its error if there was one."""
    errors: list[Moment] = [m for m in attempt.moments if m.what == "error"]
    return escape(errors[-1].text.splitlines()[0] if errors else attempt.ends)
