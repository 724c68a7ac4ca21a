"""The Markdown extension through which pages show what the catalogue and the evidence hold.

Alone on a line:

    [[rule RDD102]]             the pair, what happened, the rule's facts
    [[aside RDD102 journaled]]  one more claim of the page, with what was seen of it
    [[rules determinism]]       the rules of a chapter
    [[chapters]]                all chapters with their rules
    [[corrects]]                what the guide corrects
    [[symptoms]]                every symptom and error code, with the rules that show it
    [[shown-by wrong-value]]    the rules whose don't shows a symptom
    [[met-by RT0016]]           the rules in whose runs an error code was met
    [[logged RDD104]]           what the server's log holds of a rule's don't
    [[answer RDD104 rt0016]]    what the server answered to a page's query, after a rule's don't
    [[show RDD505 do]]          one file of a pair, with what it came to
    [[run RDD505 do]]           what happened when it was run
    [[table]]                   all rules, to be narrowed and sorted
    [[quiz]]                    every don't without its name, and the answer folded away
    [[evidence]]                all that was proven
    [[changelog]]               what each version of the guide brought
    [[moments RDD102]]          a rule in three moments, for the front page

Within a sentence, `[[RDD102]]` is a link to the rule. This is a Python-Markdown extension, not an
MkDocs hook, so that other generators that run Python-Markdown show the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Comment, Element, SubElement

from markdown import Extension, Markdown
from markdown.blockparser import BlockParser
from markdown.blockprocessors import BlockProcessor
from markdown.inlinepatterns import InlineProcessor
from markdown.treeprocessors import Treeprocessor

from restate_guide import catalogue, record
from restate_guide.catalogue import CatalogueError
from restate_guide.site import code, finding, happened, lists, moments, rule_page, seen
from restate_guide.site.book import nearest, open_book
from restate_guide.site.elements import el
from restate_guide.site.links import rule_link
from restate_guide.site.pair import listing, side

DIRECTIVE = re.compile(r"\[\[([^\[\]\n]+)\]\]")
ALONE = re.compile(rf"(?:^[ ]*{DIRECTIVE.pattern}[ ]*(?:\n|\Z))+\Z", re.M)
PLACE = "guide-directive"
"""Tag of the element that keeps a directive's place until all text around it is parsed."""

UNSEARCHED, SEARCHED = "unsearched", "searched"
"""Comments around what search is to leave out, for who would rather not parse all of it."""

AFTER_QUOTES_BEFORE_CONTENTS = 5.5
"""So nothing takes what stands in the evidence for Markdown, or sets its quotes as printers do, and
headings get into the contents."""

AFTER_CONTENTS = 1
"""Their extension knows no comments."""


class DirectiveError(CatalogueError):
    """A page asks for something that isn't there; the message says which page, and what is near."""


class GuideExtension(Extension):
    """Renders the guide's directives."""

    def __init__(self, **settings: Any) -> None:
        self.config = {"root": [str(catalogue.ROOT), "The checkout with docs/ and snippets/."]}
        super().__init__(**settings)

    def extendMarkdown(self, md: Markdown) -> None:
        root = Path(self.getConfig("root"))
        md.parser.blockprocessors.register(Directives(md.parser), "guide", 75)
        md.inlinePatterns.register(RuleLinks(root), "guide", 175)
        md.treeprocessors.register(Rendering(root, md), "guide", AFTER_QUOTES_BEFORE_CONTENTS)
        md.treeprocessors.register(Fences(md), "guide-fences", AFTER_CONTENTS)


def makeExtension(**settings: Any) -> GuideExtension:
    """What Python-Markdown calls to load an extension by its module's name."""
    return GuideExtension(**settings)


class Directives(BlockProcessor):
    """Keeps a place for directives that stand alone on their lines."""

    def __init__(self, parser: BlockParser) -> None:
        super().__init__(parser)

    def test(self, parent: Element, block: str) -> bool:
        return ALONE.match(block) is not None

    def run(self, parent: Element, blocks: list[str]) -> None:
        for found in DIRECTIVE.finditer(blocks.pop(0)):
            SubElement(parent, PLACE, {"says": found[1]})


class RuleLinks(InlineProcessor):
    """Makes `[[RDD102]]` within a sentence a link."""

    def __init__(self, root: Path) -> None:
        super().__init__(DIRECTIVE.pattern)
        self._root = root

    def handleMatch(  # type: ignore[override]  # the base class serves two kinds of patterns
        self, m: re.Match[str], data: str
    ) -> tuple[Element, int, int]:
        # What stands in the link must not be parsed again, so it comes with all the rest.
        return Element(PLACE, {"says": m[1], "inline": "yes"}), m.start(0), m.end(0)


class Rendering(Treeprocessor):
    """Puts what a directive stands for into its place."""

    def __init__(self, root: Path, md: Markdown) -> None:
        super().__init__(md)
        self._root = root

    def run(self, root: Element) -> None:
        places = [
            (parent, child) for parent in root.iter() for child in parent if child.tag == PLACE
        ]
        if not places:
            return
        page = Page(self._root)
        for parent, place in places:
            says = place.get("says", "")
            try:
                shown = page.link(says) if place.get("inline") else page.show(says)
            except CatalogueError as error:
                raise DirectiveError(f"{where(says, self._root)}[[{says}]]: {error}") from None
            if shown:
                shown[-1].tail = place.tail
            at = list(parent).index(place)
            parent[at : at + 1] = shown
        if page.rule_id is not None:
            name_heading(root, page.rule_id)


class Fences(Treeprocessor):
    """Puts comments around the blocks that search is to leave out."""

    def run(self, root: Element) -> None:
        for at, child in reversed(list(enumerate(root))):
            if child.tag in ("span", "a"):
                continue
            if child.get("data-search-exclude") is None:
                self.run(child)
                continue
            after = Comment(SEARCHED)
            after.tail, child.tail = child.tail, None
            root[at : at + 1] = [Comment(UNSEARCHED), child, after]


class Page:
    """One page while it is rendered."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._book = open_book(root)
        self._listed: set[tuple[str, str]] = set()
        """Rules and snippets whose code the page shows: there is one listing of each."""
        self.rule_id: str | None = None
        """The rule that the page is about."""

    @cached_property
    def _directives(self) -> dict[str, tuple[Callable[..., list[Element]], int]]:
        """What each directive shows, and how many words it takes."""
        return {
            "rule": (self._rule, 1),
            "aside": (self._aside, 2),
            "rules": (self._rules, 1),
            "moments": (self._moments, 1),
            "chapters": (self._chapters, 0),
            "corrects": (self._corrects, 0),
            "symptoms": (self._symptoms, 0),
            "shown-by": (lambda kind: seen.shown_by(self._book, kind), 1),
            "met-by": (lambda code: seen.met_by(self._book, code), 1),
            "logged": (lambda name: seen.logged(self._book.find(name)), 1),
            "answer": (lambda name, page: seen.answered(self._book.find(name), page), 2),
            "show": (self._show, 2),
            "run": (self._run, 2),
            "table": (lambda: finding.table(self._book), 0),
            "quiz": (lambda: finding.quiz(self._book), 0),
            "evidence": (lambda: lists.proven(self._book, record.read(self._root)), 0),
            "changelog": (lambda: lists.changelog(self._book), 0),
        }

    def show(self, says: str) -> list[Element]:
        """What a directive alone on its line stands for.

        Raises:
            CatalogueError: there is no such directive, or not what it asks for.
        """
        name, *words = says.split()
        if not words and name.upper().startswith("RDD"):
            return [el("p", self.link(name))]
        if name not in self._directives:
            hint = nearest(name, self._directives)
            raise CatalogueError(f"There is no directive {name!r}.{hint}")
        show, takes = self._directives[name]
        if name == "aside" and len(words) > takes:
            words = [words[0], " ".join(words[1:])]  # an aside's name may have blanks
        if len(words) != takes:
            raise CatalogueError(f"It takes {takes} words after {name!r}, not {len(words)}.")
        return show(*words)

    def link(self, says: str) -> list[Element]:
        """What a directive within a sentence stands for."""
        if says.split()[0] in self._directives:
            raise CatalogueError("It stands alone on its line, with empty lines around it.")
        return [rule_link(self._book.find(says).rule)]

    def _rule(self, name: str) -> list[Element]:
        entry = self._book.find(name)
        self.rule_id = entry.rule.id
        self._listed |= {(entry.rule.id, "do"), (entry.rule.id, "dont")}
        return rule_page.rule(self._book, entry)

    def _aside(self, name: str, aside: str) -> list[Element]:
        entry = self._book.find(name)
        rule, snippet = entry.rule, entry.aside(aside).snippet
        shown = None
        if (rule.id, snippet) not in self._listed:
            self._listed.add((rule.id, snippet))
            shown = listing(rule, snippet, code.lines(rule.snippet(snippet)))
        return happened.aside(entry, aside, shown, happened.line_links(rule, snippet))

    def _rules(self, chapter: str) -> list[Element]:
        return [lists.rules(self._book.chapter(chapter))]

    def _chapters(self) -> list[Element]:
        return lists.chapters(self._book)

    def _moments(self, name: str) -> list[Element]:
        entry = self._book.find(name)
        self._listed |= {(entry.rule.id, "do"), (entry.rule.id, "dont")}
        return [moments.moments(entry)]

    def _corrects(self) -> list[Element]:
        return lists.corrects(list(self._book.entries.values()))

    def _symptoms(self) -> list[Element]:
        return seen.overview(self._book, catalogue.symptom_pages(self._root))

    def _show(self, name: str, variant: str) -> list[Element]:
        entry = self._book.find(name)
        self._listed.add((entry.rule.id, variant))
        source = code.lines(entry.rule.snippet(variant))
        return [
            el("div", side(entry, variant, source), class_="pair alone"),
            el("p", "The whole rule: ", rule_link(entry.rule), class_="whole"),
        ]

    def _run(self, name: str, variant: str) -> list[Element]:
        entry = self._book.find(name)
        return [el("section", happened.one(entry, variant), class_="happened alone")]


def name_heading(root: Element, rule_id: str) -> None:
    """Puts the rule's id into the page's heading, where search looks first."""
    heading = next((element for element in root if element.tag == "h1"), None)
    if heading is None:
        return
    name = el("span", rule_id, class_="rule-id")
    name.tail = f" {heading.text or ''}"
    heading.text = None
    heading.insert(0, name)


def where(says: str, root: Path) -> str:
    """The pages and lines on which a directive stands: an extension isn't told what it renders."""
    found = [
        f"{page.relative_to(root)}:{number}"
        for page in sorted((root / "docs").rglob("*.md"))
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if f"[[{says}]]" in line
    ]
    return f"{', '.join(found)}: " if found else ""
