"""Who can't see, or has no mouse: axe finds nothing on any kind of page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import RULE, findings, longest_rule

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


@pytest.fixture(
    scope="module", params=["desktop-light", "desktop-dark", "phone-light", "phone-dark"]
)
def page(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[Page]:
    """Sizes and schemes, each with each: some elements are there on one size only."""
    size, scheme = request.param.split("-")
    with chromium.new_context(
        viewport={"width": 1440 if size == "desktop" else 390, "height": 844},
        color_scheme=scheme,
        reduced_motion="reduce",
    ) as context:
        yield context.new_page()


@pytest.mark.parametrize("url", PAGES)
def test_axe_finds_nothing(page: Page, origin: str, url: str) -> None:
    page.goto(origin + url)
    assert findings(page, all_but_menu(url)) == []


def all_but_menu(url: str) -> dict[str, list[str]]:
    """What axe is to look at: the menu is the same on all pages, and long, and looked at on the first."""
    return {"exclude": [".md-sidebar--primary"] if url else []}


def test_axe_finds_nothing_wherever_the_viewer_stands(page: Page, origin: str) -> None:
    page.goto(origin + RULE)
    assert findings(page, all_but_menu(RULE)) == []
    last = int(page.locator(".run.dont .replay input").get_attribute("max") or "1")
    for at in ((last + 1) // 2, 1):
        page.locator(".run.dont .replay input").fill(str(at))
        # What is scrolled below a control that stays in sight is too small there, and nowhere else.
        page.evaluate("scrollTo(0, 0)")
        assert findings(page, ".pair, .happened > .run.dont") == [], f"at step {at}"


# It takes as long as all others together: each size once, and each scheme.
@pytest.mark.parametrize("page", ["desktop-dark", "phone-light"], indirect=True)
def test_axe_finds_nothing_on_the_longest_page(page: Page, origin: str) -> None:
    page.goto(origin + longest_rule().url)
    assert findings(page, all_but_menu(RULE)) == []


@pytest.mark.parametrize("page", ["phone-dark"], indirect=True)
def test_axe_can_find_something(page: Page, origin: str) -> None:
    page.goto(origin + RULE)
    page.evaluate("document.querySelector('.md-search__input').removeAttribute('aria-label')")
    page.evaluate("document.querySelector('.md-search__input').removeAttribute('placeholder')")
    assert any(finding.startswith("label: ") for finding in findings(page))
