"""What happened: the recorded trace as text, for don't and do in the same columns as their code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from restate_guide.catalogue import Rule
from restate_guide.lab.evidence import Verdict
from restate_guide.lab.trace import Call, Effect, Entry, Invocation, Trace
from restate_guide.site import book
from restate_guide.site.elements import Content, classes, el, prose
from restate_guide.site.links import line_id
from restate_guide.site.pair import label
from restate_guide.site.story import (
    UNKNOWN,
    Code,
    Mark,
    Step,
    Story,
    Told,
    Words,
    compact,
    ended_by,
    shortened,
    stories,
)

Json = Any

LONG = 26
"""From so many steps on, the attempts in the middle of a run are folded away."""

SPOKEN = {
    "written": "journal: writes entry",
    "read": "journal: reads",
    "refused": "journal: differs,",
    "took effect": "outside: number",
    "too often": "outside: too often, number",
    "known": "outside: known",
    "failed": "outside: refused",
    "logged": "log: number",
}
"""What a mark says to who can't see it."""

TOO_OFTEN_LOGGED = "log: too often, number"

UNITS = {
    "worker blocked for at least": "s",
    "key blocked for at least": "s",
    "answered after at least": "s",
    "journal grew to at least": "entries",
}
"""In what the lab counts that a proof measured."""

LineLink = Callable[[int], Content]
"""How a step refers to a line of the snippet."""


def line_links(rule: Rule, snippet: str) -> LineLink:
    """Links to the lines of a listing on the same page."""
    return lambda number: el("a", str(number), href=f"#{line_id(rule, snippet, number)}")


def both(entry: book.Entry) -> Element:
    """Don't and do, each with its verdict and its trace."""
    halves = one(entry, "dont"), one(entry, "do")
    return el("section", *halves, class_="happened", data_search_exclude="true")


def one(entry: book.Entry, variant: str) -> Element:
    observed = entry.evidence.dont if variant == "dont" else entry.evidence.do
    return el(
        "div",
        el(
            "p",
            label(variant),
            " ",
            verdict(observed.verdict),
            class_="verdict",
        ),
        cause(entry.rule) if variant == "dont" else None,
        trace(entry, observed.trace, line_links(entry.rule, variant)),
        class_=f"run {variant}",
    )


def verdict(found: Verdict) -> list[Content]:
    """What a run came to: its name, what was measured, and a sentence, which search leaves out."""
    short = found.short.removeprefix(found.title.lower()).lstrip(", ")
    return [
        el("strong", found.title),
        el("span", ":" if short else ".", class_="spoken"),
        " ",
        [el("span", short, el("span", ".", class_="spoken"), class_="measured"), " "]
        if short
        else None,
        el("span", found.sentence, class_="sentence", data_search_exclude="true"),
    ]


def cause(rule: Rule) -> Element:
    """Why the don't came to this, which its steps don't tell; search finds it in the text below."""
    return el(
        "p",
        el("strong", "Cause"),
        el("span", ":", class_="spoken"),
        " ",
        prose(rule.cause),
        class_="cause",
        data_search_exclude="true",
    )


def trace(entry: book.Entry, recorded: Trace, line: LineLink) -> list[Element]:
    """A trace: the calls, the story of each invocation, and what it stands on, folded away."""
    told = stories(recorded, entry.promised)
    return [
        calls(recorded.calls),
        steps_of(told, line),
        *([measured(recorded)] if recorded.measured else []),
        *(journal(story, line, alone=len(told) == 1) for story in told),
        *([ledger(recorded.effects, line)] if recorded.effects else []),
        *([state(recorded)] if recorded.state else []),
        *(database(name, rows) for name, rows in recorded.rows.items()),
    ]


def steps_of(told: Sequence[Story], line: LineLink) -> Element:
    """All invocations, step by step, with a lane for the journal and one for the outside."""
    several = "Each invocation is told by itself, also where they ran side by side."
    return el(
        "section",
        el("p", several, class_="spoken") if len(told) > 1 else None,
        el("p", el("span", "journal"), el("span", "outside"), class_="lanes", aria_hidden="true"),
        [invocation(story, line, told) for story in told],
        class_="story",
        data_search_exclude="true",
    )


def calls(made: Sequence[Call]) -> Element:
    """The calls at the ingress, and their answers; search is to find those that are errors."""
    failed = [call.status is not None and call.status >= 400 for call in made]
    return el(
        "ul",
        [
            el("li", _call(call), data_search_exclude=None if error else "true")
            for call, error in zip(made, failed, strict=True)
        ],
        class_="calls",
        data_search_exclude=None if any(failed) else "true",
    )


def _call(call: Call) -> list[Content]:
    given = "" if call.input is None else compact(call.input)
    is_request = " " in call.target  # `POST /payments`, at an edge; handlers have no blank
    made = f"{call.target} {given}".strip() if is_request else f"{call.target}({given})"
    answer: Content = [f"{call.status} ", el("code", compact(call.answer))]
    if call.status is None:
        answer = "the caller hung up" if call.abandoned else "no answer"
    waited = f", after at least {call.waited:g} seconds" if call.waited else ""
    sent: list[Content] = []
    for name, value in call.headers.items():
        sent += [", ", el("code", shortened(f"{name}: {value}", 40))]
    return [el("code", made), *sent, " → ", answer, waited]


def invocation(story: Story, line: LineLink, told_all: Sequence[Story]) -> list[Element]:
    """One invocation, attempt by attempt."""
    found = story.invocation
    heading = el(
        "p",
        el("strong", found.target),
        f" {found.id}, called by {found.invoked_by}, {found.status}"
        if found.status != UNKNOWN
        else f" {found.id}, of which the server knows nothing at the end",
        None if story.attempts else f": no attempt of it begins{held_by(found, told_all)}",
        class_="invocation",
    )
    many = sum(len(told.steps) for told in story.attempts) > LONG
    versions = any(told.file for other in told_all for told in other.attempts)
    parts: list[Element] = []
    for at, told in enumerate(story.attempts):
        in_the_middle = 1 <= at < len(story.attempts) - 1
        parts.append(attempt(told, line, versions=versions, folded=many and in_the_middle))
    return parts if len(told_all) == 1 else [heading, *parts]


def held_by(waiting: Invocation, told: Sequence[Story]) -> str:
    """Who keeps the key that a pending invocation waits for."""
    if waiting.status != "pending":
        return ""
    of_key = waiting.target.rpartition("/")[0]
    holders = [
        story.invocation
        for story in told
        if story.invocation.target.rpartition("/")[0] == of_key
        and story.invocation.status in ("running", "suspended", "paused")
    ]
    return f", as {holders[0].id} keeps the key {of_key.partition('/')[2]}" if holders else ""


def attempt(told: Told, line: LineLink, *, versions: bool, folded: bool) -> Element:
    """One attempt, or several in which the same happened.

    Args:
        versions: whether the run's workers served different files.
    """
    heading: list[Content] = [
        el("strong", _numbers(told)),
        el("span", ":", class_="spoken"),
        " ",
        el("span", _about(told, versions)),
    ]
    steps = el("ol", [step(each, line) for each in told.steps], class_="steps")
    if folded:
        return el("details", el("summary", heading), steps, class_="attempt")
    return el("div", el("p", heading, class_="attempt-head"), steps, class_="attempt")


def _numbers(told: Told) -> str:
    if len(told.numbers) == 1:
        return f"Attempt {told.numbers[0]}"
    between = "and" if len(told.numbers) == 2 else "to"
    return f"Attempts {told.numbers[0]} {between} {told.numbers[-1]}, alike"


def _about(told: Told, versions: bool) -> str:
    replays = (
        "has nothing to replay"
        if told.known_entries <= 1
        else f"has {told.known_entries} journal entries to replay"
    )
    serves = f" serves {told.file or 'the code shown'}" if versions else ""
    return f"worker {told.worker}{serves}, {replays}"


def step(told: Step, line: LineLink) -> Element:
    numbers: list[Content] = []
    for at, number in enumerate(told.lines):
        numbers += [", ", line(number)] if at else [line(number)]
    return el(
        "li",
        el("span", numbers, class_="at"),
        el("span", words(told.words), class_="what"),
        mark(told.mark, told.kind) if told.mark else None,
        class_=told.kind,
    )


def words(said: Words) -> list[Content]:
    return [el("code", word.text) if isinstance(word, Code) else word for word in said]


def mark(made: Mark, kind: str) -> Element:
    """A square in the journal's lane or a disc in the outside's, filled if something was made."""
    is_line = (kind, made.how) == ("line", "too often")
    spoken = TOO_OFTEN_LOGGED if is_line else SPOKEN[made.how]
    if made.how == "read":
        spoken += " entries" if "–" in made.text else " entry"
    is_sign = made.text == "–"
    return el(
        "span",
        el("span", f" – {spoken}{'' if is_sign else ' '}", class_="spoken"),
        el("span", made.text, aria_hidden="true") if is_sign else made.text,
        class_=f"mark {made.how.replace(' ', '-')}",
    )


def journal(story: Story, line: LineLink, *, alone: bool) -> Element:
    """The journal and the errors as the server holds them at the end."""
    found = story.invocation
    errors = [f for f in found.failures if f.event != "Paused"]
    name = "The journal" if alone else f"The journal of {found.id}"
    counted = number_of(len(found.journal), "entry", "entries")
    if errors:
        counted += f", {number_of(len(errors), 'kind of error', 'kinds of errors')}"
    rows = [
        [
            str(entry.index),
            entry.type,
            el("code", entry.name) if entry.name else "",
            "" if entry.value is None else el("code", compact(entry.value, 400)),
            "" if entry.line is None else line(entry.line),
            "server" if entry.attempt is None or is_of_the_server(entry) else str(entry.attempt),
        ]
        for entry in found.journal
    ]
    return folded(
        [f"{name}: ", counted],
        table(("#", "Entry", "Name", "Holds", "Line", "Written by attempt"), rows),
        [
            el(
                "div",
                el("p", "The server’s log of errors (equal ones in a row stand once):"),
                el("ul", [el("li", error(f.message, ended_by(f))) for f in errors]),
                class_="errors",
            )
        ]
        if errors
        else None,
    )


def is_of_the_server(entry: Entry) -> bool:
    """Whether the server wrote an entry, while the attempt named there was the first to take it."""
    return entry.type.startswith("Notification") and entry.type != "Notification: Run"


def error(message: str, first: Words) -> list[Content]:
    """An error: its first line, and the rest of it below."""
    rest = message.strip().splitlines()[1:]
    return [words(first), el("pre", "\n".join(rest), tabindex="0") if rest else None]


def ledger(effects: Sequence[Effect], line: LineLink) -> Element:
    """What reached the outside world, from its own ledger."""
    rows = [
        [
            str(number),
            el("code", effect.effect),
            "" if effect.body is None else el("code", compact(effect.body, 400)),
            el("code", effect.idempotency_key) if effect.idempotency_key else "none",
            "" if effect.line is None else line(effect.line),
            "–" if effect.attempt is None else str(effect.attempt),
            "refused"
            if effect.failed
            else "known by its key"
            if effect.duplicate
            else "took effect",
        ]
        for number, effect in enumerate(effects, 1)
    ]
    several = ", by invocation" if len({effect.invocation for effect in effects}) > 1 else ""
    return folded(
        f"The outside’s ledger: {number_of(len(effects), 'request', 'requests')}{several}",
        table(("#", "Request", "Body", "Key", "Line", "Attempt", "What it did"), rows),
    )


def state(recorded: Trace) -> Element:
    rows: list[list[Content]] = [
        [f"{s.service}/{s.key}", el("code", s.name), el("code", compact(s.value, 400))]
        for s in recorded.state
    ]
    return folded(f"State at the end: {len(rows)}", table(("Object", "Name", "Value"), rows))


def database(name: str, rows: Sequence[Mapping[str, Json]]) -> Element:
    """What stands at the end in a table of the database that the snippet wrote to."""
    heads = list(dict.fromkeys(column for row in rows for column in row))
    cells: list[list[Content]] = [
        [el("code", compact(row[head], 400)) if head in row else "" for head in heads]
        for row in rows
    ]
    shown = table(heads, cells) if rows else el("p", "It is empty.")
    return folded(f"Table {name} at the end: {number_of(len(rows), 'row', 'rows')}", shown)


def measured(recorded: Trace) -> Element:
    """What the proof itself measured from outside; search has the symptom."""
    return el(
        "ul",
        [
            el("li", f"Measured: {name} ", el("code", compact(value)), unit(name))
            for name, value in recorded.measured.items()
        ],
        class_="calls",
        data_search_exclude="true",
    )


def number_of(count: int, one: str, many: str) -> str:
    """`1 entry`, `2 entries`."""
    return f"{count} {one if count == 1 else many}"


def unit(name: str) -> str | None:
    return f" {UNITS[name]}" if name in UNITS else None


def folded(summary: Content, *content: Content) -> Element:
    return el(
        "details",
        el("summary", summary),
        el("div", content, class_="scroll", tabindex="0"),
        class_="more",
        data_search_exclude="true",
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[Content]]) -> Element:
    return el(
        "table",
        el("thead", el("tr", [el("th", head, scope="col") for head in heads])),
        el("tbody", [el("tr", [el("td", cell) for cell in row]) for row in rows]),
        class_="data",
    )


def aside(entry: book.Entry, name: str, code: Element | None, line: LineLink) -> list[Element]:
    """One more claim of a page, with what was seen of it; search has the claim and the short verdict.

    Args:
        code: the listing of its snippet, if the page doesn't show it elsewhere.
    """
    claim = entry.aside(name)
    variant = claim.snippet if claim.snippet in ("do", "dont") else None
    which: Content = (
        label(claim.snippet)
        if claim.snippet in ("do", "dont")
        else el("code", f"{claim.snippet}.py")
    )
    return [
        el("p", prose(claim.sentence), class_="claim"),
        el(
            "details",
            el("summary", which, " ", el("span", claim.verdict.short, class_="measured")),
            el(
                "p",
                f"Stimulus: {claim.stimulus}. {claim.verdict.sentence}",
                data_search_exclude="true",
            ),
            code,
            el(
                "div",
                trace(entry, claim.trace, line),
                class_=classes("run", variant),
            ),
            class_="more seen",
        ),
    ]
