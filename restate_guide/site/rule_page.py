"""What a rule's page shows of it: facts, pair, what happened, what else was proven."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from restate_guide.catalogue import CHAPTERS, Rule
from restate_guide.lab.evidence import Survived
from restate_guide.site import happened
from restate_guide.site.book import Book, Entry
from restate_guide.site.elements import Content, el, prose
from restate_guide.site.links import chapter_link, file_link, rule_link, symptom_link
from restate_guide.site.pair import difference, pair
from restate_guide.site.words import SEVERITY, STIMULUS, symptom

FEW = 6
"""So many rules with the same symptom are named; the symptom's page has them all."""


def rule(book: Book, entry: Entry) -> list[Element]:
    """All that `[[rule …]]` stands for."""
    return [
        facts(entry),
        pair(entry),
        difference(entry),
        el("h2", "What happened", data_search_exclude="true"),  # search has the symptom and the log
        el("p", prose(entry.evidence.stimulus), class_="stimulus", data_search_exclude="true"),
        happened.both(entry),
        colophon(book, entry),
    ]


def facts(entry: Entry) -> Element:
    """How bad it is, how it shows, and on what it was proven."""
    rule = entry.rule
    return definitions(
        [
            ("Symptom", [symptom_link(rule.symptom), ". ", seen(rule.symptom)]),
            ("Severity", [severity(rule.severity), f": {SEVERITY[rule.severity]}"]),
            ("Chapter", chapter_link(rule.chapter)),
        ],
        class_="facts",
    )


def seen(kind: str) -> Element:
    """What somebody sees who has the symptom; search has it from the symptom's page, once."""
    return el("span", symptom(kind).seen, data_search_exclude="true")


def severity(level: str) -> Element:
    """The word, after one to three strokes."""
    return el("strong", level, class_=f"severity {level}")


def colophon(book: Book, entry: Entry) -> Element:
    """Where all this comes from, and where to go on."""
    rule, evidence = entry.rule, entry.evidence
    versions = ", ".join(f"{name} {version}" for name, version in evidence.proven_on.items())
    files = ["do.py", "dont.py", "proof.py", "evidence.json"]
    rows: list[tuple[str, Content]] = [
        ("Also put through", survived(evidence.survives)),
        ("Proven on", f"{versions}; stimulus: {STIMULUS[evidence.mode]}"),
        ("Files", listed([file_link(rule, name) for name in files])),
        ("Related", listed([rule_link(book.find(other).rule) for other in rule.related])),
        ("Same symptom", alike(book, entry)),
        ("Comes from", f"{sources(rule.sources)}; in this guide since {rule.since}"),
    ]
    return definitions([(name, what) for name, what in rows if what], class_="colophon")


def alike(book: Book, entry: Entry) -> Content:
    """Other rules whose don't shows the same, the nearest chapter first, and the way to the rest."""
    rule = entry.rule
    chapters = list(CHAPTERS)

    def away(other: Rule) -> int:
        return abs(chapters.index(other.chapter) - chapters.index(rule.chapter))

    others = sorted(
        (
            each.rule
            for each in book.entries.values()
            if each.rule.symptom == rule.symptom and each.rule.id not in (rule.id, *rule.related)
        ),
        key=lambda other: (away(other), other.id),
    )
    found: list[Content] = [rule_link(other) for other in others[:FEW]]
    if len(others) > FEW:
        found.append([f"and {len(others) - FEW} more: ", symptom_link(rule.symptom)])
    return listed(found)


def survived(survives: Sequence[Survived]) -> Content:
    """The replays that the do came through as well."""
    if not survives:
        return None
    return [
        "The do gave the right result and repeated no effect when ",
        listed([f"{s.title} ({s.attempts} attempts)" for s in survives], "; and when "),
        ".",
    ]


def sources(names: Sequence[str]) -> str:
    """Tables and prompts of the original Go guide; `py` is what only Python code gets wrong."""
    tables = [name for name in names if name != "py" and not any(c.isdigit() for c in name)]
    prompts = [name for name in names if any(c.isdigit() for c in name)]
    said = []
    if tables:
        said.append(f"table{'s' * (len(tables) > 1)} {', '.join(tables)} of the original Go guide")
    if prompts:
        whose = "" if tables else " of the original Go guide"
        its = "its " if tables else ""
        said.append(f"{its}prompt{'s' * (len(prompts) > 1)} {', '.join(prompts)}{whose}")
    if "py" in names:
        said.append("what Python code gets wrong")
    return "; ".join(said)


def listed(items: Sequence[Content], between: str = ", ") -> Content:
    """Items with something between them; None if there are none."""
    found: list[Content] = []
    for item in items:
        found += [between, item] if found else [item]
    return found or None


def definitions(rows: Sequence[tuple[str, Content]], class_: str) -> Element:
    """A list of names and what they stand for; of all these, search is to find symptoms only."""
    return el(
        "dl",
        [
            el(
                "div",
                el("dt", name),
                " ",
                el("dd", what, " "),
                data_search_exclude=None if name == "Symptom" else "true",
            )
            for name, what in rows
        ],
        class_=class_,
    )
