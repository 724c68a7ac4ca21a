"""Makes the pictures in the README: `make build`, then `.venv/bin/python -m tools.screenshots`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from playwright.sync_api import sync_playwright

from tests.browser import RULE, Files, launch, serving

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "assets" / "screenshots"


class Picture(NamedTuple):
    name: str
    url: str
    width: int
    height: int
    scheme: Literal["light", "dark"] = "light"


TAKEN = (
    Picture("rule", RULE, 1200, 1500),
    Picture("front-dark", "", 1200, 1300, "dark"),
    Picture("table", "table/", 1200, 800),
    Picture("rule-phone", RULE, 390, 1180),
    Picture("rule-phone-dark", RULE, 390, 1180, "dark"),
    Picture("table-phone", "table/", 390, 1180),
    Picture("quiz-phone-dark", "quiz/", 390, 1180, "dark"),
)


def main(site: Path = ROOT / "site") -> None:
    """Shows each page of a built site in Chromium, and keeps what is seen of it."""
    with serving(Files, site) as origin, sync_playwright() as playwright:
        browser = launch(playwright, "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
        for taken in TAKEN:
            with browser.new_context(
                viewport={"width": taken.width, "height": taken.height},
                color_scheme=taken.scheme,
            ) as context:
                page = context.new_page()
                page.add_init_script("Math.random = () => 0.42")  # the quiz asks the same
                answer = page.goto(origin + taken.url)
                if answer is None or not answer.ok:
                    raise SystemExit(f"{site} has no page {taken.url!r}: `make build` makes it.")
                page.screenshot(path=PICTURES / f"{taken.name}.png")
        browser.close()


if __name__ == "__main__":
    main()
