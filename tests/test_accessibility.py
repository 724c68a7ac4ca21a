"""Who can't see, or has no mouse: axe finds nothing on any kind of page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page

from tests.browser import RULE, longest_rule

pytestmark = pytest.mark.browser

STANDARD = {
    "type": "tag",
    "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
PAGES = (
    "",
    "rules/",
    "rules/determinism/",
    "symptoms/",
    "corrects/",
    "how-it-is-proven/",
    "contributing/",
)


@pytest.fixture(scope="module", params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[1440, 390], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, chromium: Browser, scheme: str) -> Iterator[Page]:
    with chromium.new_context(
        viewport={"width": request.param, "height": 844},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    ) as context:
        yield context.new_page()


def findings(page: Page) -> list[str]:
    """What axe finds, each with the element it finds it on."""
    found = Axe().run(page, options={"runOnly": STANDARD, "resultTypes": ["violations"]})
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("url", PAGES)
def test_axe_finds_nothing(page: Page, origin: str, url: str) -> None:
    page.goto(origin + url)
    assert findings(page) == []


def test_axe_finds_nothing_wherever_the_viewer_stands(page: Page, origin: str) -> None:
    for url in (RULE, longest_rule().url):
        page.goto(origin + url)
        last = int(page.locator(".run.dont .replay input").get_attribute("max") or "1")
        for at in (last, (last + 1) // 2, 1):
            page.locator(".run.dont .replay input").fill(str(at))
            # What is scrolled below a control that stays in sight is too small there, and nowhere else.
            page.evaluate("scrollTo(0, 0)")
            assert findings(page) == [], f"{url} at step {at}"


def test_axe_can_find_something(page: Page, origin: str) -> None:
    page.goto(origin + RULE)
    page.evaluate("document.querySelector('.md-search__input').removeAttribute('aria-label')")
    page.evaluate("document.querySelector('.md-search__input').removeAttribute('placeholder')")
    assert any(finding.startswith("label: ") for finding in findings(page))
