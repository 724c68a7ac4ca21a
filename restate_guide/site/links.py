"""Addresses within the site, as paths in docs/: the generator makes them URLs and checks them."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from restate_guide.catalogue import CHAPTERS, Rule
from restate_guide.site.elements import Content, el, prose, slug
from restate_guide.site.words import symptom


def rule_path(rule: Rule) -> str:
    return f"/rules/{rule.chapter}/{rule.slug}.md"


def rule_link(rule: Rule, *, with_title: bool = True) -> Element:
    """A link by the rule's id and title."""
    title: Content = [" ", el("span", prose(rule.title), class_="rule-title")]
    return el(
        "a",
        el("span", rule.id, class_="rule-id"),
        title if with_title else None,
        href=rule_path(rule),
        class_="rule-link",
    )


def chapter_link(chapter: str) -> Element:
    return el("a", CHAPTERS[chapter], href=f"/rules/{chapter}/index.md")


def symptom_link(kind: str) -> Element:
    return el("a", symptom(kind).title, href=f"/symptoms/{kind}.md")


def file_link(rule: Rule, name: str) -> Element:
    """A link to one of the rule's files, which stand in the site as they are."""
    address = f"/snippets/{rule.chapter}/{rule.slug}/{name}"
    return el("a", name, href=address, class_="file", data_search_exclude="true")


def line_id(rule: Rule, snippet: str, number: int) -> str:
    """The id of a line of code, unique on a page."""
    return f"{slug(rule.id)}-{slug(snippet)}-l{number}"
