"""The MkDocs hook that writes each page a second time, as plain Markdown, for programs and for copying.

It is made of the page's HTML, in which all that directives, includes and docstrings stand for is in place.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

VOID = {"area", "br", "col", "hr", "img", "input", "link", "meta", "path", "source", "wbr"}
BLOCKS = {
    *("article", "blockquote", "dd", "details", "div", "dl", "dt", "figcaption", "figure"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "nav", "ol", "p", "pre", "section"),
    *("summary", "svg", "table", "ul"),
}
UNSEEN = {"button", "script", "style"}
APART = {"label", "measured", "number"}
"""Classes of what the style sets apart, where nothing but a blank does it in text."""

Nodes = list["Node | str"]


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Writes the twin beside the page: x/index.md beside x/index.html."""
    target = Path(config.site_dir, page.file.dest_uri).with_suffix(".md")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(markdown(page.content or ""))
    return output


@functools.lru_cache(maxsize=512)
def markdown(html: str) -> str:
    """A page's content as Markdown; kept, as a save while the site is served changes few pages."""
    reader = _Reader()
    reader.feed(html)
    return "\n\n".join(_blocks(reader.open[0].children)) + "\n"


@dataclass
class Node:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    children: Nodes = field(default_factory=list)

    @property
    def classes(self) -> set[str]:
        return set(self.attributes.get("class", "").split())

    @property
    def seen(self) -> bool:
        """Whether it says something in a text: no button, no picture of what is said elsewhere."""
        hidden = self.attributes.get("aria-hidden") == "true" or "download" in self.attributes
        return not (hidden or self.tag in UNSEEN or self.classes & {"headerlink", "g"})

    def find(self, *tags: str) -> Iterator[Node]:
        """The elements below it with these tags, in their order."""
        for child in self.children:
            if isinstance(child, Node):
                if child.tag in tags:
                    yield child
                yield from child.find(*tags)

    @property
    def text(self) -> str:
        return "".join(
            child if isinstance(child, str) else child.text if child.seen else ""
            for child in self.children
        )


class _Reader(HTMLParser):
    """Reads HTML into nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("page", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        if tag in [node.tag for node in self.open]:
            while self.open.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def _blocks(children: Nodes) -> Iterator[str]:
    """Paragraphs and the like; what stands between blocks without being one is a paragraph."""
    between: Nodes = []
    for child in [*children, None]:
        if isinstance(child, str) or (child and child.tag not in BLOCKS):
            between.append(child)
            continue
        if said := _inline(between).strip():
            yield said
        between = []
        if child and child.seen:
            yield from _block(child)


def _block(node: Node) -> Iterator[str]:
    match node.tag:
        case "h1" | "h2" | "h3" | "h4" | "h5" | "h6":
            yield f"{'#' * int(node.tag[1])} {_inline(node.children).strip()}"
        case "pre":
            yield _fenced(node.text.strip("\n"), _language(node))
        case "hr":
            yield "---"
        case "ul" | "ol":
            yield "\n".join(_items(node))
        case "table":
            yield _table(node)
        case "dl":
            yield "\n".join(_definitions(node))
        case "summary":
            yield f"**{node.text.strip()}**"
        case "svg":
            yield from (
                desc.text.strip() for desc in node.find("desc") if "down" not in node.classes
            )
        case _ if "admonition" in node.classes or node.tag == "blockquote":
            yield _behind("> ", "\n\n".join(_blocks(node.children)))
        case _:
            yield from _blocks(node.children)


def _inline(children: Nodes) -> str:
    """A sentence, on one line."""
    return re.sub(r"\s+", " ", "".join(map(_word, children)))


def _word(node: Node | str) -> str:
    if isinstance(node, str):
        return re.sub(r"([\\`*\[<])|(?<!\w)_|_(?!\w)", r"\\\g<0>", node)
    if not node.seen:
        return ""
    said = _inline(node.children)
    match node.tag:
        case "code":
            return _code(node.text)
        case "strong" | "b" | "em" | "i" if said.strip():
            mark = "**" if node.tag in ("strong", "b") else "*"
            return f"{mark}{said.strip()}{mark}"
        case "a" if not node.attributes.get("href", "#").startswith("#"):
            return f"[{said.strip()}]({node.attributes['href']})"
        case "span" if "at" in node.classes and said:
            return f"{'lines' if ',' in said else 'line'} {said}: "
        case _:
            return f" {said} " if node.classes & APART else said


def _code(text: str) -> str:
    """Code within a sentence, between more backticks than there are in it."""
    text = " ".join(text.split())
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    blank = " " if "`" in text else ""
    return f"{ticks}{blank}{text}{blank}{ticks}"


def _fenced(text: str, language: str) -> str:
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"


def _language(pre: Node) -> str:
    """What the guide's own listings are in."""
    if "diff" in pre.classes:
        return "diff"
    return "python" if "listing" in pre.classes and "said" not in pre.classes else ""


def _items(node: Node) -> Iterator[str]:
    items = [child for child in node.children if isinstance(child, Node) and child.tag == "li"]
    for number, item in enumerate(items, 1):
        sign = "- " if node.tag == "ul" else f"{number}. "
        yield sign + _behind(" " * len(sign), "\n\n".join(_blocks(item.children))).lstrip()


def _definitions(node: Node) -> Iterator[str]:
    for each in node.find("dt", "dd"):
        said = " ".join(_blocks(each.children))
        yield f"- **{said}**" if each.tag == "dt" else f"  {said}"


def _table(node: Node) -> str:
    rows = [
        [_inline(cell.children).strip().replace("|", "\\|") for cell in row.find("th", "td")]
        for row in node.find("tr")
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines[:1], "|" + "---|" * len(rows[0]), *lines[1:]])


def _behind(sign: str, text: str) -> str:
    """Text with something before each of its lines."""
    return "\n".join((sign + line).rstrip() for line in text.split("\n"))
