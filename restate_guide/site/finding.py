"""Finding a rule: the table of all of them, and the don'ts without their names, for the quiz."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from restate_guide.catalogue import CHAPTERS
from restate_guide.site import code
from restate_guide.site.book import Book, Entry
from restate_guide.site.elements import Content, el, prose
from restate_guide.site.links import rule_link, symptom_link
from restate_guide.site.rule_page import severity
from restate_guide.site.words import STIMULUS, symptom

IMPORT = re.compile(r"(import|from) ")
HEADS = ("Rule", "Chapter", "Severity", "Symptom", "Shown by", "Corrects")


def table(book: Book) -> list[Element]:
    """All rules; a script adds what narrows and sorts them, by what stands in the attributes."""
    return [
        el(
            "table",
            el("thead", el("tr", [el("th", head, scope="col") for head in HEADS])),
            el("tbody", [_row(entry) for entry in book.entries.values()]),
            class_="rules all",
            data_search_exclude="true",
        )
    ]


def _row(entry: Entry) -> Element:
    rule, evidence = entry.rule, entry.evidence
    corrects = "yes" if rule.corrects else "no"
    return el(
        "tr",
        el("th", rule_link(rule), scope="row"),
        el("td", CHAPTERS[rule.chapter]),
        el("td", severity(rule.severity)),
        el("td", symptom_link(rule.symptom)),
        el("td", STIMULUS[evidence.mode]),
        el("td", corrects),
        data_chapter=CHAPTERS[rule.chapter],
        data_severity=rule.severity,
        data_symptom=symptom(rule.symptom).title,
        data_stimulus=STIMULUS[evidence.mode],
        data_corrects=corrects,
        data_words=f"{rule.sentence} {evidence.dont.verdict.short} {rule.slug}".lower(),
    )


def quiz(book: Book) -> list[Element]:
    """Every don't without its name, and the answer folded away below it."""
    return [_question(number, entry) for number, entry in enumerate(book.entries.values(), 1)]


def _question(number: int, entry: Entry) -> Element:
    rule, observed = entry.rule, entry.evidence.dont
    source = without_docstring(rule.snippet("dont"))
    guilty = guilty_lines(rule.snippet("dont"), rule.snippet("do"))
    lines: list[Content] = [el("span", text + "\n", class_="l") for _, text in source]
    return el(
        "section",
        el("h2", f"Question {number}", id=f"question-{number}"),
        el("p", prose(entry.evidence.stimulus), class_="stimulus"),
        el("pre", el("code", lines), class_="listing", tabindex="0"),
        el(
            "details",
            el("summary", "The answer"),
            el("p", _where(source, guilty), ": ", observed.verdict.sentence),
            el("p", rule_link(rule)),
            class_="more answer",
        ),
        class_="question",
        data_first=str(source[0][0]),
        data_guilty=" ".join(map(str, guilty)),
        data_search_exclude="true",
    )


def _where(source: Sequence[tuple[int, str]], guilty: Sequence[int]) -> list[Content]:
    """The guilty lines themselves: the listing shows no numbers."""
    parts: list[Content] = []
    for number, text in source:
        if number in guilty:
            parts += [" · ", el("code", text.strip())]
    return parts[1:]


def without_docstring(source: str) -> list[tuple[int, str]]:
    """The lines of a file by number, without its first, which would give the answer away."""
    numbered = list(enumerate(source.splitlines(), 1))
    end = next(
        at
        for at, line in numbered
        if line.rstrip().endswith('"""') and (at > 1 or line.count('"""') > 1)
    )
    return [(at, line) for at, line in numbered if at > end + 1]


def guilty_lines(dont: str, do: str) -> list[int]:
    """The lines of the don't that the do has otherwise; where it only lacks some, those around the gap.

    An import is one only where nothing else is: it does no harm by itself.
    """
    rows = code.rows(dont, do)
    first = without_docstring(dont)[0][0]
    changed = [
        row[0].number
        for row in rows
        if row[0] and row[0].changed and row[0].tokens and row[0].number >= first
    ]
    imports = {at for at, line in enumerate(dont.splitlines(), 1) if IMPORT.match(line)}
    if changed:
        return [number for number in changed if number not in imports] or changed
    around = set()
    for at, (left, right) in enumerate(rows):
        if left is None and right is not None and right.changed:
            before = [row[0].number for row in rows[:at] if row[0] and row[0].tokens]
            after = [row[0].number for row in rows[at:] if row[0] and row[0].tokens]
            around |= {*before[-1:], *after[:1]}
    return sorted(number for number in around if number >= first) or [first]
