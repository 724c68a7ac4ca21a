"""One rule in three moments, for the front page: the code, what happened, the fix."""

from __future__ import annotations

import ast
from xml.etree.ElementTree import Element

from restate_guide.site import code, happened
from restate_guide.site.book import Entry
from restate_guide.site.code import Line
from restate_guide.site.elements import Content, el, prose, slug
from restate_guide.site.links import rule_link
from restate_guide.site.pair import label, listing
from restate_guide.site.story import stories


def moments(entry: Entry) -> Element:
    """The don't and what came of it, the do and what came of it, and the way to the whole page."""
    rule, evidence = entry.rule, entry.evidence
    return el(
        "section",
        _moment("1", "The code", "dont", label("dont"), _code(entry, "dont")),
        _moment(
            "2",
            "What happened",
            "dont",
            el("span", evidence.dont.verdict.short, class_="measured"),
            [
                el("p", prose(evidence.stimulus)),
                happened.cause(rule),
                _story(entry, "dont"),
            ],
        ),
        _moment("3", "The fix", "do", label("do"), _code(entry, "do")),
        _moment(
            None,
            "The same again",
            "do",
            el("span", evidence.do.verdict.short, class_="measured"),
            [
                el("p", evidence.do.verdict.sentence),
                _story(entry, "do"),
                el("p", "The whole rule: ", rule_link(rule), class_="whole"),
            ],
        ),
        class_="moments",
    )


def _moment(
    number: str | None, title: str, variant: str, headed: Element, content: Content
) -> Element:
    counted = el("span", number, class_="number") if number else None
    return el(
        "div",
        el("h2", counted, el("span", title), headed, id=slug(title)),
        content,
        class_=f"moment {variant}",
    )


def _code(entry: Entry, variant: str) -> list[Element]:
    """The snippet in its own words, without its imports, marked against the other of the pair."""
    rule = entry.rule
    source = rule.snippet(variant)
    rows = code.rows(rule.snippet("dont"), rule.snippet("do"))
    lines: list[Line | None] = [
        line
        for line in (row[0 if variant == "dont" else 1] for row in rows)
        if line and line.number in code.heart(source)
    ]
    about, _, _ = (ast.get_docstring(ast.parse(source)) or "").partition("\n")
    return [el("p", prose(about)), listing(rule, variant, lines)]


def _story(entry: Entry, variant: str) -> Element:
    observed = entry.evidence.dont if variant == "dont" else entry.evidence.do
    told = stories(observed.trace, entry.promised)
    line = happened.line_links(entry.rule, variant)
    return el("div", happened.steps_of(told, line), class_="run")
