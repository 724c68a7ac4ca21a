"""What somebody sees: the pages on symptoms and error codes, and which rules lead to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from restate_guide.catalogue import CatalogueError, SymptomPage, split_front_matter
from restate_guide.lab.trace import Failure, Trace
from restate_guide.site.book import Book, Entry
from restate_guide.site.elements import Content, el
from restate_guide.site.happened import table
from restate_guide.site.links import rule_link
from restate_guide.site.story import compact
from restate_guide.site.words import symptoms

Json = Any


def overview(book: Book, pages: Sequence[SymptomPage]) -> list[Element]:
    """Every symptom of the lab's closed list, and every error code that a run met; search has their pages."""
    found: list[Element] = [el("h2", "What you see", id="what-you-see", data_search_exclude="true")]
    rows = []
    for known in symptoms():
        entries = [e for e in book.entries.values() if e.rule.symptom == known.kind]
        link = el("a", known.title, href=f"/symptoms/{known.kind}.md")
        shown = [el("span", rule_link(e.rule, with_title=False), " ") for e in entries]
        rows.append(el("div", el("dt", link), " ", el("dd", known.seen, " ", shown), id=known.kind))
    found.append(el("dl", rows, class_="seen-list", data_search_exclude=""))
    found.append(el("h2", "Error codes", id="error-codes", data_search_exclude="true"))
    codes = {page.name: page for page in pages if page.name not in {s.kind for s in symptoms()}}
    listed = []
    for name, page in codes.items():
        met = [e.rule for e in _met(book, name.upper())]
        link = el("a", el("code", name.upper()), href=f"/symptoms/{name}.md")
        shown = [el("span", rule_link(rule, with_title=False), " ") for rule in met]
        listed.append(el("div", el("dt", link), " ", el("dd", _first_sentence(page), " ", shown)))
    found.append(el("dl", listed, class_="seen-list", data_search_exclude=""))
    return found


def _first_sentence(page: SymptomPage) -> str:
    """The description of a page, from its front matter."""
    return str(split_front_matter(page.page)[0].get("description", ""))


def shown_by(book: Book, kind: str) -> list[Element]:
    """The rules whose don't shows a symptom."""
    entries = [e for e in book.entries.values() if e.rule.symptom == kind]
    return [_list(entries)]


def met_by(book: Book, code: str) -> list[Element]:
    """The rules in whose runs an error code was met.

    Raises:
        CatalogueError: in none.
    """
    entries = _met(book, code)
    if not entries:
        raise CatalogueError(f"No run met {code}.")
    return [_list(entries)]


def _list(entries: Sequence[Entry]) -> Element:
    """Rules with what was measured; search has them from their own pages."""
    return el(
        "ul",
        [
            el(
                "li",
                rule_link(entry.rule),
                " ",
                el("span", entry.evidence.dont.verdict.short, class_="measured"),
            )
            for entry in entries
        ],
        class_="shown-by",
        data_search_exclude="true",
    )


def logged(entry: Entry) -> list[Element]:
    """What the server's log of errors holds of a rule's don't; RT0010's words are the lab's own."""
    failure = first_error(entry)
    said: list[Content] = [f"[{failure.code}] " if failure.code else "", failure.message.strip()]
    return [
        el(
            "pre",
            el("code", said),
            class_="listing said",
            tabindex="0",
            role="region",
            aria_label=f"The server's log of {entry.rule.id}",
        ),
        _from(entry, "Recorded from the don’t of "),
    ]


def first_error(entry: Entry) -> Failure:
    """Of a don't; a broken connection only where nothing else was logged, since that is often the stimulus.

    Raises:
        CatalogueError: it left none.
    """
    failures = [f for f in entry.evidence.dont.trace.failures() if f.event != "Paused"]
    if not failures:
        raise CatalogueError(f"The don't of {entry.rule.id} left no error in the server's log.")
    return next((f for f in failures if f.code != "RT0010"), failures[0])


def answered(entry: Entry, page: str) -> list[Element]:
    """What the server answered to a page's query, once the don't of its example had run."""
    rows = entry.evidence.dont.trace.answers.get(page)
    if not rows:
        raise CatalogueError(f"{entry.rule.id} has no recorded answer for {page}: `make update`.")
    return [
        el("div", rows_table(rows), class_="scroll", tabindex="0"),
        _from(entry, "Recorded after the don’t of "),
    ]


def _from(entry: Entry, words: str) -> Element:
    return el("p", words, rule_link(entry.rule), ".", class_="recorded")


def rows_table(rows: Sequence[Mapping[str, Json]]) -> Element:
    heads = list(dict.fromkeys(column for row in rows for column in row))
    cells: list[list[Content]] = [
        [el("code", _cell(row[head])) if row.get(head) not in (None, "") else "" for head in heads]
        for row in rows
    ]
    return table(heads, cells)


def _cell(value: Json) -> str:
    return value if isinstance(value, str) else compact(value, 400)


def codes(book: Book) -> set[str]:
    """Every error code that a run met: of Restate, and of HTTP where a call was answered with it."""
    return {code for entry in book.entries.values() for code in _codes_of(entry)}


def _met(book: Book, code: str) -> list[Entry]:
    return [entry for entry in book.entries.values() if code in _codes_of(entry)]


def _codes_of(entry: Entry) -> set[str]:
    return {code for trace in _traces(entry) for code in _codes_in(trace)}


def _traces(entry: Entry) -> Iterator[Trace]:
    evidence = entry.evidence
    yield evidence.dont.trace
    yield evidence.do.trace
    yield from (aside.trace for aside in evidence.asides.values())


def _codes_in(trace: Trace) -> Iterable[str]:
    failures: list[Failure] = trace.failures()
    yield from (failure.code for failure in failures if failure.code)
    yield from (str(failure.status) for failure in failures if failure.status not in ORDINARY)
    yield from (
        str(call.status)
        for call in trace.calls
        if call.status is not None and call.status >= 400 and call.status not in ORDINARY
    )


ORDINARY = {400, 401, 402, 403, 404, 410, 422, 500, 503}
"""Statuses that say no more than that something failed, or that a snippet chose itself."""
