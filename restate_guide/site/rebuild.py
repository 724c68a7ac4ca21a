"""The MkDocs hook that makes builds quick: nothing is made twice that would come out the same.

A save is to be seen at once. Most of a build goes into the Markdown of pages and into what search
reads of them, and a save touches few pages. So what a page became is kept while the site is served,
with all that it was made from, and made again once any of that is another.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import BytecodeCache, Environment, Template
from jinja2.bccache import Bucket
from material.plugins.search.plugin import SearchIndex  # type: ignore[import-untyped]
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from restate_guide import catalogue
from restate_guide.site.book import files_of, open_book
from restate_guide.site.extension import DIRECTIVE, SEARCHED, UNSEARCHED

LISTING = '<div class="highlight"><pre><span></span><code>'
QUERY, FILE, COMMAND = '<span class="k">(?:SELECT|WITH)<', '<span class="sd">', "curl<"
SIGNATURE = '<div class="doc-signature highlight">'
LEFT_OUT = re.compile(
    f"<!--{UNSEARCHED}-->.*?<!--{SEARCHED}-->"
    f"|(?:{LISTING}(?:{QUERY}|{FILE}|{COMMAND})|{SIGNATURE}).*?</pre></div>",
    re.S,
)
"""What a page says that search need not find: queries, commands, whole files and signatures are long, and
the text says what they are for."""
OF_DOCSTRINGS = re.compile(r'<link rel="stylesheet" href="[^"]*_mkdocstrings\.css">\s*')
"""The style of docstrings, which only pages with some need."""
INCLUDING = re.compile(r"^(:::|--8<--) ", re.M)
"""Begins the lines of pages that show docstrings or files which belong to no rule."""
SHOWS_CODE = {"quiz"}
"""Directives that name no rule and yet show code of theirs."""


@dataclass(frozen=True)
class Became:
    """What the Markdown of a page became, as `mkdocs.structure.pages.Page` holds it."""

    content: str | None
    toc: Any
    title: str | None
    anchors: set[str] | None
    links: Mapping[str, dict[str, str]]
    """Links to anchors, by the file that the page links to."""


@dataclass(frozen=True)
class Sources:
    """What pages are made from beside their own text, as it was when a build began."""

    rules: tuple[catalogue.Rule, ...]
    by_rule: Mapping[str, object]
    """The state of each rule's page, pair and evidence, by its id."""
    lists: object
    """Of what lists show: what rules say in a sentence, and what was recorded of them."""
    code: object
    """Of all snippets of rules."""
    others: object
    """Of files that belong to no rule: recipes, what pages about symptoms show."""

    def of(self, markdown: str) -> object:
        """What a page is made from: the rules that it shows, or of all rules what its lists show.

        A link to a rule (`[[RDD102]]`) shows its title only.
        """
        found: list[object] = [self.rules]
        if INCLUDING.search(markdown):
            found.append(self.others)
        for says in DIRECTIVE.findall(markdown):
            words = says.split()
            names = [word for word in words if word in self.by_rule]
            if names == words:
                continue
            found += [self.by_rule[name] for name in names]
            if not names:
                found += [self.lists, self.others]
            if says in SHOWS_CODE:
                found.append(self.code)
        return tuple(found)


became: dict[str, tuple[object, Became]] = {}
"""By a page's file: what it was made from, and what it became."""
indexed: dict[str, tuple[str | None, list[dict[str, Any]]]] = {}
"""By a page's address: its content, and its entries in the search index."""
whole: dict[str, tuple[object, str]] = {}
"""By a page's address: what its template was filled with, and what came of it."""
sources: list[Sources] = []
"""Those of the build that is under way."""


class QuickIndex(SearchIndex):  # type: ignore[misc]  # Material has no types
    """Material's search index, which doesn't parse what it would leave out, nor anything twice."""

    def add_entry_from_context(self, page: Page) -> None:
        content, known = page.content, indexed.get(page.url)
        if known is None or known[0] != content:
            before = len(self.entries)
            page.content = LEFT_OUT.sub("", content or "")
            if lines := errors_of(str(page.meta.get("id", ""))):
                page.meta["tags"] = lines
            super().add_entry_from_context(page)
            page.content = content
            for at, entry in enumerate(self.entries[before:]):
                # As results show them, code is text like other text.
                entry["text"] = entry["text"].replace("<code>", "").replace("</code>", "")
                if at:  # The lines of the log lead to the page, not to each of its sections.
                    entry.pop("tags", None)
            indexed[page.url] = content, self.entries[before:]
        else:
            self.entries += known[1]


def errors_of(rule: str) -> list[str]:
    """What the server's log said of a rule's don't: whoever pastes the line finds the rule."""
    book = open_book(catalogue.ROOT)
    if rule not in book.entries:
        return []
    failures = book.find(rule).evidence.dont.trace.failures()
    lines = [f.message.strip().partition("\n")[0] for f in failures if f.code != "RT0010"]
    return list(dict.fromkeys(lines))


class Compiled(BytecodeCache):
    """Templates, compiled: each build has an environment of its own, which would compile them anew."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._known:
            bucket.bytecode_from_string(self._known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key] = bucket.bytecode_to_string()


class Kept(Template):
    """The template of a page, which is filled in again only if the page or what is around it changed."""

    around: object = None
    """What menus and links to neighbours show (all pages, with their ids and titles), and the state of
    the settings and the templates themselves."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        page = args[0].get("page") if args else None
        if page is None:
            return super().render(*args, **kwargs)
        filled_with = (self.name, page.content, page.title, page.meta, self.around)
        if page.url not in whole or whole[page.url][0] != filled_with:
            whole[page.url] = filled_with, super().render(*args, **kwargs)
        return whole[page.url][1]


of_the_theme, of_docstrings = Compiled(), Compiled()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Called when the plugins are ready."""
    search: Any = config.plugins["material/search"]
    search.search_index = QuickIndex(**search.config)
    return config


def on_pre_build(config: MkDocsConfig) -> None:
    """Looks once at all that pages are made from."""
    root = catalogue.ROOT
    rules = tuple(catalogue.rules(root))
    folders = (root / "docs" / "rules", root / "docs" / "symptoms", root / "snippets")
    by_folder: dict[Path, list[tuple[str, int]]] = {}
    for folder in folders:
        for name, changed in files_of(folder) if folder.is_dir() else ():
            by_folder.setdefault(Path(name).parent, []).append((name, changed))
            by_folder.setdefault(Path(name), []).append((name, changed))
    by_rule = {r.id: (*by_folder[r.folder], *by_folder[r.page]) for r in rules}
    evidence = tuple(file for r in rules for file in by_folder[r.folder / "evidence.json"])
    code = tuple(file for r in rules for file in by_folder[r.folder])
    of_rules = {*(r.folder for r in rules), *(r.page.parent for r in rules)}
    others = tuple(
        file
        for folder, files in by_folder.items()
        if folder not in of_rules and folder.is_dir()
        for file in files
    )
    lists = (tuple(r.sentence for r in rules), evidence)
    docstrings: Any = config.plugins["mkdocstrings"]
    docstrings.get_handler("python").env.bytecode_cache = of_docstrings
    sources[:] = [Sources(rules, by_rule, lists, code, others)]


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Has the page take what it became before, if that still holds."""
    made_from = (markdown, sources[0].of(markdown), frozenset(files.src_uris))
    page.render = partial(render, page, made_from, page.render)  # type: ignore[method-assign]
    return markdown


def render(
    page: Page,
    made_from: object,
    anew: Callable[[MkDocsConfig, Files], None],
    config: MkDocsConfig,
    files: Files,
) -> None:
    """Stands in for `Page.render`."""
    name = page.file.src_uri
    if name not in became or became[name][0] != made_from:
        anew(config, files)
        links = {file.src_uri: links for file, links in (page.links_to_anchors or {}).items()}
        content, title, anchors = page.content, page._title_from_render, page.present_anchor_ids
        became[name] = made_from, Became(content, page.toc, title, anchors, links)
        return
    kept = became[name][1]
    page.content, page.toc, page._title_from_render = kept.content, kept.toc, kept.title
    page.present_anchor_ids = kept.anchors
    page.links_to_anchors = {files.src_uris[file]: links for file, links in kept.links.items()}


def on_env(env: Environment, config: MkDocsConfig, files: Files, **_: Any) -> Environment:
    """Gives templates what they need to be quick; the menu finds its pages by their files."""
    env.bytecode_cache = of_the_theme
    pages = {file.src_uri: file.page for file in files.documentation_pages()}
    env.globals["page_at"] = pages
    env.template_class = Kept
    menus = [(p.url, p.title, p.meta.get("id")) for p in pages.values() if p]
    own = config.theme.custom_dir
    settings = os.stat(config.config_file_path).st_mtime_ns
    Kept.around = menus, settings, list(files_of(Path(own)) if own else ())
    return env


def on_post_page(output: str, **_: Any) -> str:
    """Takes the comments out of the page, which have done their work."""
    if 'class="doc ' not in output:
        output = OF_DOCSTRINGS.sub("", output)
    return output.replace(f"<!--{UNSEARCHED}-->", "").replace(f"<!--{SEARCHED}-->", "")
