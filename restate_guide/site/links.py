"""Addresses within the site, as paths in docs/: the generator makes them URLs and checks them."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from restate_guide.catalogue import CHAPTERS, Rule
from restate_guide.site.elements import Content, el, prose, slug
from restate_guide.site.words import symptom


def rule_path(rule: Rule) -> str:
    return f"/rules/{rule.chapter}/{rule.slug}.md"


def rule_link(rule: Rule, *, with_title: bool = True) -> Element:
    """A link by the rule's id and title; search has the title from the rule's own page."""
    name = el("span", prose(rule.title), class_="rule-title", data_search_exclude="true")
    title: Content = [" ", name]
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
    return el("a", name, href=_file(rule, name), class_="file", data_search_exclude="true")


def download_link(rule: Rule, name: str) -> Element:
    """A link that saves a file, under a name that tells whose it is and that Python can import."""
    return el(
        "a",
        "Download",
        href=_file(rule, name),
        download=f"{rule.id.lower()}_{name}",
        aria_label=f"Download {name} of {rule.id}",
        class_="download",
        data_search_exclude="true",
    )


def _file(rule: Rule, name: str) -> str:
    return f"/snippets/{rule.chapter}/{rule.slug}/{name}"


def line_id(rule: Rule, snippet: str, number: int) -> str:
    """The id of a line of code, unique on a page."""
    return f"{slug(rule.id)}-{slug(snippet)}-l{number}"
