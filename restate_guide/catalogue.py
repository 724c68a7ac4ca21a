"""The catalogue: finds the rules in docs/ and snippets/, and refuses one that isn't whole."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

ROOT = Path(__file__).parents[1]

CHAPTERS = {
    "determinism": "Determinism",
    "state": "State",
    "communication": "Communication",
    "concurrency": "Concurrency",
    "errors": "Errors",
    "operations": "Operations",
    "services": "Services",
    "data": "Data",
}
"""Title of each chapter by its folder, in the order of their numbers."""

SEVERITIES = ("critical", "high", "medium")
"""critical: money, data or secrets go wrong without an error. high: the invocation fails or hangs, or
work is repeated. medium: it costs time, order or clarity."""

PARTS = ("do.py", "dont.py", "proof.py", "evidence.json")
SECTIONS = ("Why", "When it does not apply", "Fix code that already runs")
FIELDS = {"id", "title", "severity", "since", "sources", "related", "symptom", "cause"}
OPTIONAL_FIELDS = {"corrects", "description"}

Severity = Literal["critical", "high", "medium"]


class CatalogueError(Exception):
    """A rule isn't whole; the message says what it lacks, and where."""


@dataclass(frozen=True)
class Rule:
    """One rule, as its page's front matter tells it."""

    id: str
    """`RDD102`: chapter and number. Never changes once published."""
    title: str
    chapter: str
    """Name of its folder in docs/rules/ and snippets/."""
    slug: str
    severity: Severity
    since: str
    """Version of the guide that first had the rule."""
    sources: tuple[str, ...]
    """Tables (I to VIII) and prompts (P1 to A5) of the original Go guide, or `py`."""
    related: tuple[str, ...]
    symptom: str
    """Kind of the symptom that the `dont` shows."""
    cause: str
    """Why the `dont` shows it, in one sentence: what a trace alone doesn't tell."""
    corrects: str | None
    """The widely read claim that the rule's proof refutes, where there is one."""
    page: Path
    folder: Path
    """Where do.py, dont.py, proof.py and evidence.json are."""

    @property
    def url(self) -> str:
        """The page's address within the site, without a leading slash."""
        return f"rules/{self.chapter}/{self.slug}/"

    @cached_property
    def text(self) -> str:
        """The page's Markdown without its front matter."""
        return split_front_matter(self.page)[1]

    @property
    def sentence(self) -> str:
        """The rule in one sentence: the first paragraph below the page's heading."""
        _, _, below = self.text.partition(f"# {self.title}\n")
        return " ".join(below.strip().partition("\n\n")[0].split())

    def section(self, heading: str) -> str:
        """The Markdown of one section, without its heading."""
        found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", self.text, re.M | re.S)
        return found[1].strip() if found else ""

    def snippet(self, variant: str) -> str:
        return (self.folder / f"{variant}.py").read_text()

    def difference(self) -> list[str]:
        """The pair as a unified diff from don't to do, without its file names."""
        before, after = (self.snippet(v).splitlines() for v in ("dont", "do"))
        return list(difflib.unified_diff(before, after, "dont.py", "do.py", lineterm="", n=2))[2:]


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C takes a fifth of the time; PyYAML comes without it where it was built without libyaml."""


def split_front_matter(page: Path) -> tuple[dict[str, Any], str]:
    """A page's front matter and its Markdown."""
    text = page.read_text()
    found = re.match(r"---\n(.*?)\n---\n(.*)", text, re.S)
    if found is None:
        raise CatalogueError(f"{page} has no front matter.")
    return yaml.load(found[1], Loader=LOADER), found[2]


def read(page: Path, root: Path = ROOT) -> Rule:
    """The rule of a page.

    Raises:
        CatalogueError: a field or a part of it is missing, or is more than there should be.
    """
    where = page.relative_to(root)
    fields, text = split_front_matter(page)
    if missing := FIELDS - fields.keys():
        raise CatalogueError(f"{where}: the front matter lacks {', '.join(sorted(missing))}.")
    if unknown := fields.keys() - FIELDS - OPTIONAL_FIELDS:
        raise CatalogueError(f"{where}: unknown front matter: {', '.join(sorted(unknown))}.")
    chapter, slug = page.parent.name, page.stem
    number = list(CHAPTERS).index(chapter) + 1 if chapter in CHAPTERS else 0
    if not re.fullmatch(rf"RDD{number}\d\d", str(fields["id"])):
        raise CatalogueError(f"{where}: {fields['id']} is not an id of chapter {number}.")
    if fields["severity"] not in SEVERITIES:
        raise CatalogueError(f"{where}: severity is one of {', '.join(SEVERITIES)}.")
    if not text.startswith(f"\n# {fields['title']}\n"):
        raise CatalogueError(f"{where}: its heading is not its title, {fields['title']!r}.")
    for heading in SECTIONS:
        if f"\n## {heading}\n" not in text:
            raise CatalogueError(f"{where}: the section {heading!r} is missing.")
    if f"\n[[rule {fields['id']}]]\n" not in text:
        raise CatalogueError(f"{where}: it never shows its pair, [[rule {fields['id']}]].")
    folder = root / "snippets" / chapter / slug
    for part in PARTS:
        if not (folder / part).is_file():
            raise CatalogueError(f"{where}: {(folder / part).relative_to(root)} is missing.")
    return Rule(
        id=fields["id"],
        title=fields["title"],
        chapter=chapter,
        slug=slug,
        severity=fields["severity"],
        since=str(fields["since"]),
        sources=tuple(map(str, fields["sources"])),
        related=tuple(fields["related"]),
        symptom=fields["symptom"],
        cause=fields["cause"],
        corrects=fields.get("corrects"),
        page=page,
        folder=folder,
    )


def rules(root: Path = ROOT) -> list[Rule]:
    """All rules, by id.

    Raises:
        CatalogueError: one isn't whole, two share an id, or a pair has no page.
    """
    pages = sorted((root / "docs" / "rules").glob("*/*.md"))
    found = [read(page, root) for page in pages if page.name != "index.md"]
    by_id: dict[str, Rule] = {}
    for rule in sorted(found, key=lambda rule: rule.id):
        if rule.id in by_id:
            raise CatalogueError(f"{rule.page} and {by_id[rule.id].page} are both {rule.id}.")
        by_id[rule.id] = rule
    for rule in by_id.values():
        if strangers := set(rule.related) - by_id.keys():
            raise CatalogueError(f"{rule.id} is related to {', '.join(strangers)}: no such rule.")
    for folder in sorted((root / "snippets").glob("*/[a-z]*/")):
        if folder.parent.name in CHAPTERS and not any(r.folder == folder for r in by_id.values()):
            raise CatalogueError(f"{folder.relative_to(root)} has no page in docs/rules.")
    return list(by_id.values())


@dataclass(frozen=True)
class SymptomPage:
    """A page on what somebody sees: a symptom of the lab, or an error code."""

    name: str
    """Of its file: the symptom's kind, or the code in small letters."""
    example: str
    """Id of the rule whose don't shows it here."""
    query: str
    """SQL that finds it on a server; asked, and its answer recorded, when the example is proven."""
    page: Path


def symptom_pages(root: Path = ROOT) -> list[SymptomPage]:
    """All pages on symptoms and error codes.

    Raises:
        CatalogueError: one lacks its example or its query.
    """
    found = []
    for page in sorted((root / "docs" / "symptoms").glob("*.md")):
        if page.name == "index.md":
            continue
        fields, text = split_front_matter(page)
        query = re.search(r"^```sql\n(.*?)^```", text, re.M | re.S)
        if "example" not in fields or query is None:
            raise CatalogueError(
                f"{page.relative_to(root)} needs an `example` in its front matter, and a query."
            )
        found.append(SymptomPage(page.stem, str(fields["example"]), query[1], page))
    return found


def questions(rule: Rule, root: Path = ROOT) -> dict[str, str]:
    """What the server is asked after a rule's don't, by the page that shows the answer."""
    return {page.name: page.query for page in symptom_pages(root) if page.example == rule.id}


LIKE_DIGITS = str.maketrans("oil", "011")


def find(name: str, among: list[Rule]) -> Rule:
    """The rule with this id or slug, whatever its case.

    Raises:
        CatalogueError: there is none; the message names the nearest.
    """
    for rule in among:
        if name.lower() in (rule.id.lower(), rule.slug):
            return rule
    names = {n.lower(): r for r in among for n in (r.id, r.slug)}
    meant = name.lower()
    if meant.startswith("rdd"):
        meant = meant.translate(LIKE_DIGITS)  # an O typed for a 0
    close = difflib.get_close_matches(meant, names, n=3, cutoff=0.5)
    nearest = dict.fromkeys(f"{names[n].id} ({names[n].slug})" for n in close)
    hint = f" Did you mean {', '.join(nearest)}?" if nearest else " `guide list` shows all."
    raise CatalogueError(f"There is no rule {name!r}.{hint}")
