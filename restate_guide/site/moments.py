"""One rule in three moments, for the front page: the code, what happened, the fix."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from restate_guide.site import code, happened
from restate_guide.site.book import Entry
from restate_guide.site.code import Line
from restate_guide.site.elements import Content, el, prose
from restate_guide.site.links import rule_link
from restate_guide.site.pair import label, listing
from restate_guide.site.story import stories


def moments(entry: Entry) -> Element:
    """The don't and what came of it, the do and what came of it, and the way to the whole page."""
    rule, evidence = entry.rule, entry.evidence
    return el(
        "section",
        _moment("1", "The code", [label("dont")], listing(rule, "dont", _heart(entry, "dont"))),
        _moment(
            "2",
            "What happened",
            el("span", evidence.dont.verdict.short, class_="measured dont"),
            el("p", prose(evidence.stimulus)),
            _story(entry, "dont"),
        ),
        _moment("3", "The fix", [label("do")], listing(rule, "do", _heart(entry, "do"))),
        _moment(
            None,
            "The same again",
            el("span", evidence.do.verdict.short, class_="measured do"),
            _story(entry, "do"),
            el("p", rule_link(rule), class_="whole"),
        ),
        class_="moments",
    )


def _moment(number: str | None, title: str, measured: Content, *content: Content) -> Element:
    counted = el("span", number, class_="number") if number else None
    return el(
        "div",
        el("h2", counted, el("span", title), measured),
        content,
        class_="moment",
    )


def _heart(entry: Entry, variant: str) -> list[Line]:
    """The snippet without its imports, marked against the other half of its pair."""
    rule = entry.rule
    rows = code.rows(rule.snippet("dont"), rule.snippet("do"))
    shown = code.heart(rule.snippet(variant))
    lines = [row[0] if variant == "dont" else row[1] for row in rows]
    return [line for line in lines if line and line.number in shown]


def _story(entry: Entry, variant: str) -> Element:
    observed = entry.evidence.dont if variant == "dont" else entry.evidence.do
    line = happened.line_links(entry.rule, variant)
    return el(
        "div",
        el(
            "div",
            [happened.invocation(told, line, alone=True) for told in stories(observed.trace)],
            class_="story",
        ),
        class_=f"run {variant}",
    )
