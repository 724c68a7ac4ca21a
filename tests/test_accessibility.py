"""Who can't see, or has no mouse: axe finds nothing on any kind of page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import COLOURS, RULE, STANDARD, findings, longest_rule

# In one process: one browser, and one window for each size and scheme.
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("accessibility")]

PAGES = (
    "",
    "rules/",
    "rules/determinism/",
    "symptoms/",
    "corrects/",
    "how-it-is-proven/",
    "contributing/",
)

WINDOWS = {
    "desktop-light": COLOURS,
    "desktop-dark": STANDARD,
    "phone-light": STANDARD,
    "phone-dark": COLOURS,
}
"""What axe looks for in each: everything once on each size, some elements being there on one only."""


@pytest.fixture(scope="module", params=WINDOWS)
def page(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[Page]:
    """Sizes and schemes, each with each."""
    size, scheme = request.param.split("-")
    with chromium.new_context(
        viewport={"width": 1440 if size == "desktop" else 390, "height": 844},
        color_scheme=scheme,
        reduced_motion="reduce",
    ) as context:
        yield context.new_page()


@pytest.fixture
def what(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What axe looks for in the window that the test has."""
    return WINDOWS[request.node.callspec.params["page"]]


@pytest.mark.parametrize("url", PAGES)
def test_axe_finds_nothing(page: Page, what: dict[str, Any], origin: str, url: str) -> None:
    page.goto(origin + url)
    assert findings(page, all_but_menu(url), what) == []


def all_but_menu(url: str) -> dict[str, list[str]]:
    """What axe is to look at: the menu is the same on all pages, and long, and looked at on the first."""
    return {"exclude": [".md-sidebar--primary"] if url else []}


def test_axe_finds_nothing_wherever_the_viewer_stands(
    page: Page, what: dict[str, Any], origin: str
) -> None:
    page.goto(origin + RULE)
    assert findings(page, all_but_menu(RULE), what) == []
    last = int(page.locator(".run.dont .replay input").get_attribute("max") or "1")
    for at in ((last + 1) // 2, 1):
        page.locator(".run.dont .replay input").fill(str(at))
        # What is scrolled below a control that stays in sight is too small there, and nowhere else.
        page.evaluate("scrollTo(0, 0)")
        assert findings(page, ".pair, .happened > .run.dont", what) == [], f"at step {at}"


# It takes as long as all others together.
@pytest.mark.parametrize("page", ["desktop-dark", "phone-light"], indirect=True)
def test_axe_finds_nothing_on_the_longest_page(page: Page, origin: str) -> None:
    page.goto(origin + longest_rule().url)
    assert findings(page, all_but_menu(RULE)) == []


@pytest.mark.parametrize("page", ["phone-dark"], indirect=True)
def test_axe_can_find_something(page: Page, origin: str) -> None:
    page.goto(origin + RULE)
    page.add_style_tag(content=".md-typeset p { color: #555 !important }")
    assert any(finding.startswith("color-contrast: ") for finding in findings(page, what=COLOURS))
    page.evaluate("document.querySelector('.md-search__input').removeAttribute('aria-label')")
    page.evaluate("document.querySelector('.md-search__input').removeAttribute('placeholder')")
    assert any(finding.startswith("label: ") for finding in findings(page))
