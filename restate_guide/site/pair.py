"""The pair: don't and do side by side, with what differs marked by background, sign and word."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from restate_guide.catalogue import Rule
from restate_guide.site import code
from restate_guide.site.book import Entry
from restate_guide.site.code import Line
from restate_guide.site.elements import Content, classes, el
from restate_guide.site.links import download_link, file_link, line_id

NAMES = {"dont": "Don’t", "do": "Do"}
SIGNS = {"dont": "−", "do": "+"}
SPOKEN = {"dont": "only in don’t", "do": "only in do"}


def pair(entry: Entry) -> Element:
    """Both files whole, row by row."""
    rule = entry.rule
    rows = code.rows(rule.snippet("dont"), rule.snippet("do"))
    return el(
        "section",
        side(entry, "dont", [row[0] for row in rows]),
        side(entry, "do", [row[1] for row in rows]),
        class_="pair",
    )


def side(entry: Entry, variant: str, lines: Sequence[Line | None]) -> Element:
    """One half of a pair, headed by what it came to when it was run."""
    observed = entry.evidence.dont if variant == "dont" else entry.evidence.do
    return el(
        "figure",
        el(
            "figcaption",
            label(variant),
            " ",
            el("span", observed.verdict.short, class_="measured"),
            " ",
            file_link(entry.rule, f"{variant}.py"),
            " ",
            download_link(entry.rule, f"{variant}.py"),
        ),
        listing(entry.rule, variant, lines),
        class_=f"side {variant}",
    )


def label(variant: str) -> Element:
    """The word Don’t or Do with its sign, a cross or a check mark."""
    return el("span", NAMES[variant], class_=f"label {variant}")


def listing(rule: Rule, snippet: str, lines: Sequence[Line | None]) -> Element:
    """Lines of a file, with numbers; None makes a gap, so that rows of a pair stay level.

    Search leaves them out: they were a third of its index, and prose names what they call.
    """
    name = NAMES.get(snippet, snippet)
    return el(
        "pre",
        el("code", [_line(rule, snippet, line) for line in lines]),
        class_="listing",
        tabindex="0",
        role="region",
        aria_label=f"{name}: {snippet}.py of {rule.id}",
        data_search_exclude="true",
    )


def _line(rule: Rule, snippet: str, line: Line | None) -> Element:
    if line is None:
        return el("span", "\n", class_="l gap", aria_hidden="true")
    sign = SIGNS.get(snippet, "+") if line.changed else " "
    gutter = el("span", f"{line.number:>3} {sign} ", class_="g")  # text, so that it prints
    return el(
        "span",
        gutter,
        [_token(token) for token in line.tokens],
        "\n",
        class_=classes("l", "changed" if line.changed else None),
        id=line_id(rule, snippet, line.number),
    )


def _token(token: code.Token) -> Content:
    names = classes(token.style, "x" if token.changed else None)
    return el("span", token.text, class_=names) if names else token.text


def difference(entry: Entry) -> Element:
    """The pair as a unified diff, folded away."""
    return el(
        "details",
        el("summary", "The difference as a diff"),
        el(
            "pre",
            el("code", [_diff_line(line) for line in entry.rule.difference()]),
            class_="listing diff",
            tabindex="0",
            role="region",
            aria_label=f"{entry.rule.id}: diff from don’t to do",
        ),
        class_="more",
        data_search_exclude="true",
    )


def _diff_line(line: str) -> Element:
    kinds = {"-": "l dont changed", "+": "l do changed", "@": "l hunk"}
    return el("span", line + "\n", class_=kinds.get(line[:1], "l"))
