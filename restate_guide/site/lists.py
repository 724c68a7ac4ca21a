"""The lists: the rules of a chapter, what the guide corrects, and which rules show a symptom."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from restate_guide.catalogue import CHAPTERS
from restate_guide.site.book import Book, Entry
from restate_guide.site.elements import el, prose
from restate_guide.site.links import chapter_link, rule_link, symptom_link
from restate_guide.site.rule_page import severity
from restate_guide.site.words import STIMULUS, symptoms

HEADS = ("Rule", "Without it", "Severity", "Shown by")


def chapters(book: Book) -> list[Element]:
    """All chapters that have rules yet, and the names of the others."""
    found: list[Element] = []
    empty: list[str] = []
    for chapter, title in CHAPTERS.items():
        if entries := book.chapter(chapter):
            found.append(el("h2", title, id=chapter))
            found.append(el("p", "About the chapter: ", chapter_link(chapter)))
            found.append(rules(entries))
        else:
            empty.append(title)
    if empty:
        found.append(el("h2", "Still to come", id="to-come"))
        found.append(el("p", ", ".join(empty), "."))
    return found


def rules(entries: Sequence[Entry]) -> Element:
    """A chapter's rules as a table, which narrow screens show as a list."""
    return el(
        "table",
        el("thead", el("tr", [el("th", head, scope="col") for head in HEADS])),
        el("tbody", [_row(entry) for entry in entries]),
        class_="rules",
    )


def _row(entry: Entry) -> Element:
    rule, evidence = entry.rule, entry.evidence
    measured = evidence.dont.verdict.short
    says_more = measured.lower() != evidence.dont.verdict.title.lower()
    return el(
        "tr",
        el("th", rule_link(rule), scope="row"),
        el(
            "td",
            symptom_link(rule.symptom),
            el("span", measured, class_="measured") if says_more else None,
        ),
        el("td", severity(rule.severity)),
        el("td", STIMULUS[evidence.mode]),
    )


def corrects(entries: Sequence[Entry]) -> list[Element]:
    """Widely read claims, and the rules whose runs say otherwise."""
    return [
        el(
            "section",
            el("p", "“", prose(entry.rule.corrects), "”", class_="claimed"),
            el("p", rule_link(entry.rule)),
            el(
                "ul",
                el("li", prose(entry.evidence.stimulus), " ", _measured(entry)),
                [
                    el(
                        "li",
                        prose(aside.sentence),
                        " ",
                        el("span", aside.verdict.short, class_="measured"),
                    )
                    for aside in entry.evidence.asides.values()
                ],
            ),
            class_="correction",
        )
        for entry in entries
        if entry.rule.corrects
    ]


def _measured(entry: Entry) -> Element:
    return el("span", entry.evidence.dont.verdict.short, class_="measured")


def by_symptom(book: Book) -> list[Element]:
    """Every symptom of the lab's closed list, with what one sees and the rules that show it."""
    found: list[Element] = []
    for symptom in symptoms():
        entries = [e for e in book.entries.values() if e.rule.symptom == symptom.kind]
        found.append(el("h2", symptom.title, id=symptom.kind))
        found.append(el("p", symptom.seen))
        if entries:
            found.append(el("ul", [_shown(entry) for entry in entries], class_="shown-by"))
        else:
            found.append(el("p", "No rule shows it yet.", class_="none"))
    return found


def _shown(entry: Entry) -> Element:
    short = entry.evidence.dont.verdict.short
    return el("li", rule_link(entry.rule), " ", el("span", short, class_="measured"))
