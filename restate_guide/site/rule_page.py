"""What a rule's page shows of it: facts, pair, what happened, what else was proven."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from restate_guide.lab.evidence import Survived
from restate_guide.site import happened
from restate_guide.site.book import Book, Entry
from restate_guide.site.elements import Content, el, prose
from restate_guide.site.links import chapter_link, file_link, rule_link, symptom_link
from restate_guide.site.pair import difference, pair
from restate_guide.site.words import SEVERITY, STIMULUS, symptom


def rule(book: Book, entry: Entry) -> list[Element]:
    """All that `[[rule …]]` stands for."""
    return [
        facts(entry),
        pair(entry),
        difference(entry),
        el("h2", "What happened"),
        el("p", prose(entry.evidence.stimulus), class_="stimulus"),
        happened.both(entry),
        colophon(book, entry),
    ]


def facts(entry: Entry) -> Element:
    """How bad it is, how it shows, and on what it was proven."""
    rule = entry.rule
    return definitions(
        [
            ("Symptom", [symptom_link(rule.symptom), ". ", symptom(rule.symptom).seen]),
            ("Severity", [severity(rule.severity), f": {SEVERITY[rule.severity]}"]),
            ("Chapter", chapter_link(rule.chapter)),
        ],
        class_="facts",
    )


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
        ("Comes from", f"{sources(rule.sources)}; in this guide since {rule.since}"),
    ]
    return definitions([(name, what) for name, what in rows if what], class_="colophon")


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
        said.append(f"its prompt{'s' * (len(prompts) > 1)} {', '.join(prompts)}")
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
