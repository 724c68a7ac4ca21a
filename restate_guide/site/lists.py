"""The lists: the rules of a chapter, what the guide corrects, and which rules show a symptom."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from restate_guide.catalogue import CHAPTERS
from restate_guide.site.book import Book, Entry
from restate_guide.site.elements import el, prose, slug
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
    """Widely read claims, and what was seen instead."""
    found: list[Element] = []
    for entry in entries:
        rule, evidence = entry.rule, entry.evidence
        if rule.corrects is None:
            continue
        found += [
            el("h2", rule.id, id=slug(rule.id)),
            el("p", "“", prose(rule.corrects), "”", class_="claimed"),
            el(
                "ul",
                _seen(evidence.stimulus, evidence.dont.verdict.short),
                [_seen(aside.sentence, aside.verdict.short) for aside in evidence.asides.values()],
                class_="seen-instead",
            ),
            el("p", rule_link(rule)),
        ]
    return found


def _seen(sentence: str, measured: str) -> Element:
    return el("li", prose(sentence), " ", el("span", measured, class_="measured"))


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
