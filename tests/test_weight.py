"""What pages weigh, gzipped: what a phone with a poor line has to wait for."""

from __future__ import annotations

import functools
import gzip
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser

from restate_guide import catalogue
from tests.browser import RULE, Site

PAGE, PAGE_AND_INDEX = 100_000, 200_000
"""Bytes: markup, style and scripts of a page; the same with all that search needs."""
LOADED = re.compile(r'<(?:link rel="stylesheet" href|script src)="([^"]+)"')


@functools.cache
def weight(path: Path) -> int:
    return len(gzip.compress(path.read_bytes()))


def loaded(page: Path) -> set[Path]:
    """The page and the files that it asks for. Pictures are in the style; there are no fonts."""
    files = {(page.parent / unquote(link)).resolve() for link in LOADED.findall(page.read_text())}
    return {page.resolve(), *files}


def searched(site: Site) -> set[Path]:
    return {
        site.folder / "search" / "search_index.json",
        *(site.folder / "assets/javascripts/workers").glob("search.*.js"),
    }


def test_rule_pages_are_light(site: Site) -> None:
    index = sum(map(weight, searched(site)))
    for rule in catalogue.rules():
        page = sum(map(weight, loaded(site.folder / rule.url / "index.html")))
        assert page <= PAGE, f"{rule.id}: {page} bytes"
        assert page + index <= PAGE_AND_INDEX, f"{rule.id}: {page} bytes, and {index} of the index"


def test_the_heaviest_page_is_no_heavier_than_a_rule_may_be(site: Site) -> None:
    pages = {path: sum(map(weight, loaded(path))) for path in site.folder.rglob("index.html")}
    heaviest = max(pages, key=lambda path: pages[path])
    assert pages[heaviest] <= PAGE, f"{heaviest}: {pages[heaviest]} bytes"


def test_the_pictures_of_the_readme_are_not_in_the_site(site: Site) -> None:
    assert not list(site.folder.rglob("*phone*.png"))


@pytest.mark.browser
def test_a_page_asks_for_what_was_weighed_and_nothing_else(
    chromium: Browser, origin: str, site: Site
) -> None:
    asked: set[str] = set()
    with chromium.new_context() as context:
        context.on("request", lambda request: asked.add(request.url))
        page = context.new_page()
        page.goto(origin + RULE)
        page.wait_for_load_state("networkidle")
    weighed = {*loaded(site.folder / RULE / "index.html"), *searched(site)}
    addresses = {origin + str(path.relative_to(site.folder.resolve())) for path in weighed}
    sent = {url for url in asked if not url.startswith("data:") and "favicon" not in url}
    assert {url + "index.html" if url.endswith("/") else url for url in sent} == addresses
