"""The lists: the rules of a chapter, what the guide corrects, all that was proven, what is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from restate_guide.catalogue import CHAPTERS, CatalogueError
from restate_guide.record import Recorded
from restate_guide.site.book import Book, Entry
from restate_guide.site.elements import el, prose, slug
from restate_guide.site.links import chapter_link, rule_link, symptom_link
from restate_guide.site.rule_page import severity
from restate_guide.site.words import STIMULUS

HEADS = ("Rule", "Without it", "Severity", "Shown by")


def chapters(book: Book) -> list[Element]:
    """All chapters that have rules yet, and the names of the others."""
    found: list[Element] = []
    empty: list[str] = []
    for chapter, title in CHAPTERS.items():
        if entries := book.chapter(chapter):
            # Search has the chapter's own page.
            found.append(el("h2", title, id=chapter, data_search_exclude="true"))
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
        data_search_exclude="true",
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
                [_seen(aside.sentence, aside.verdict.short) for aside in evidence.asides.values()],
                _seen(f"The don’t: {evidence.stimulus}", evidence.dont.verdict.short),
                class_="seen-instead",
                data_search_exclude="true",
            ),
            el("p", rule_link(rule)),
        ]
    return found


def _seen(sentence: str, measured: str) -> Element:
    return el("li", prose(sentence), " ", el("span", measured, class_="measured"))


def proven(book: Book, recorded: Mapping[str, Recorded]) -> list[Element]:
    """All that was proven of each rule, how, on what, and in how long.

    Raises:
        CatalogueError: a rule was never recorded.
    """
    entries = book.entries.values()
    if lacking := sorted(book.entries.keys() - recorded.keys()):
        raise CatalogueError(f"{', '.join(lacking)}: never recorded. `make update` does that.")
    runs = sum(recorded[entry.rule.id].runs for entry in entries)
    seconds = sum(recorded[entry.rule.id].seconds for entry in entries)
    pythons = sorted({recorded[entry.rule.id].python for entry in entries})
    versions = sorted(
        {f"{n} {v}" for entry in entries for n, v in entry.evidence.proven_on.items()}
    )
    heads = ("Rule", "Don’t", "Do", "Shown by", "The do survives", "Further claims", "Runs", "Time")
    return [
        el(
            "p",
            f"{len(entries)} rules, {runs} runs, {seconds:.0f} seconds of runs, "
            f"on {', '.join(versions)}, Python {', '.join(pythons)}.",
        ),
        el(
            "div",
            el(
                "table",
                el("thead", el("tr", [el("th", head, scope="col") for head in heads])),
                el("tbody", [_proven(entry, recorded[entry.rule.id]) for entry in entries]),
                class_="data proven",
                data_search_exclude="true",
            ),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label="What was proven of each rule",
        ),
    ]


def _proven(entry: Entry, recorded: Recorded) -> Element:
    evidence = entry.evidence
    claims = len(evidence.asides)
    return el(
        "tr",
        el("th", rule_link(entry.rule, with_title=False), scope="row"),
        el("td", evidence.dont.verdict.short),
        el("td", evidence.do.verdict.short),
        el("td", STIMULUS[evidence.mode]),
        el("td", ", ".join(STIMULUS[survived.mode] for survived in evidence.survives)),
        el("td", str(claims) if claims else "none"),
        el("td", str(recorded.runs)),
        el("td", f"{recorded.seconds:.1f} s, {recorded.on}"),
    )


def changelog(book: Book) -> list[Element]:
    """What each version of the guide brought, the newest first."""
    found: list[Element] = []
    versions = sorted({e.rule.since for e in book.entries.values()}, key=_number, reverse=True)
    for version in versions:
        entries = [e for e in book.entries.values() if e.rule.since == version]
        found.append(el("h2", version, id=f"version-{slug(version)}"))
        found.append(el("p", f"{len(entries)} new rules."))
        found.append(
            el(
                "ul",
                [el("li", rule_link(e.rule)) for e in entries],
                class_="shown-by",
                data_search_exclude="true",
            )
        )
    return found


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
