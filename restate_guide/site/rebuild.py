"""The MkDocs hook that keeps, while the site is served, what of the last build still holds.

A save is to be seen at once. Most of a build goes into the Markdown of pages and into what search
reads of them, and a save touches one page in a hundred. So each page is kept, by all that it was
made from, and made again once any of that is another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from material.plugins.search.plugin import SearchIndex
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from restate_guide import catalogue
from restate_guide.site.extension import made_from

MADE_BY_A_PLUGIN = ":::"
"""Pages with this are made from docstrings, and their plugin has to be asked each time."""


@dataclass(frozen=True)
class Kept:
    """What the Markdown of a page became, see `Page.render`."""

    content: str | None
    toc: Any
    title: str | None
    anchors: set[str] | None
    links: Mapping[str, dict[str, str]]
    """Links to anchors on other pages, by the file that these are written in."""


pages: dict[str, tuple[object, Kept]] = {}
"""By the page's file: what it was made from, and what it became."""
found: dict[str, tuple[object, list[dict[str, Any]]]] = {}
"""By the page's address: its content, and what search holds of it."""


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files, **_: Any
) -> str:
    """Has the page take what is kept of it, if that still holds."""
    if MADE_BY_A_PLUGIN not in markdown:
        sources = (markdown, made_from(markdown, catalogue.ROOT), tuple(files.src_uris))
        render = page.render
        page.render = lambda *_: take(page, files, sources, render, config)  # type: ignore[method-assign]
    return markdown


def take(page: Page, files: Files, sources: object, render: Any, config: MkDocsConfig) -> None:
    """Renders the page, or gives it what it became when it was made from the same."""
    name = page.file.src_uri
    if name not in pages or pages[name][0] != sources:
        render(config, files)
        links = {file.src_uri: links for file, links in (page.links_to_anchors or {}).items()}
        kept = Kept(page.content, page.toc, page._title_from_render, page.present_anchor_ids, links)
        pages[name] = sources, kept
        return
    kept = pages[name][1]
    page.content, page.toc, page._title_from_render = kept.content, kept.toc, kept.title
    page.present_anchor_ids = kept.anchors
    page.links_to_anchors = {files.src_uris[file]: links for file, links in kept.links.items()}
