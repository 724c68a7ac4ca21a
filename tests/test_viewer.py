"""The replay viewer in a browser, held against the evidence of every rule."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from restate_guide.site.book import Entry, open_book
from restate_guide.site.links import line_id
from restate_guide.site.story import Code, Step, stories
from tests.browser import ROOT, RULE, Site

# In one process: one browser, one window.
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("viewer")]

ENTRIES = list(open_book(ROOT).entries.values())
VARIANTS = ("dont", "do")

SHOWN = """story => shown(story)"""
"""What a story shows at its step."""

AT_EACH = """(story, steps) => steps.map(step => {
    const slider = story.querySelector("input");
    slider.value = step;
    slider.dispatchEvent(new Event("input", {bubbles: true}));
    return shown(story);
})"""
"""What it shows when its slider is put to one step after another."""

DEFINE = """window.shown = story => {
    const rows = [...story.querySelectorAll(".steps li")];
    const side = story.closest(".run").classList.contains("dont") ? "dont" : "do";
    const lines = document.querySelectorAll(`.pair .side.${side} .l.running`);
    return {
        rows: rows.length,
        now: rows.flatMap((row, at) => row.classList.contains("now") ? [at + 1] : []),
        later: rows.filter(row => row.classList.contains("later")).length,
        visible: rows.find(row => row.matches(".now"))?.checkVisibility(),
        said: story.querySelector(".now .what").textContent,
        running: [...lines].map(line => line.id),
        live: story.querySelector("[aria-live=polite]").textContent,
        slider: story.querySelector("input").getAttribute("aria-valuetext"),
        max: Number(story.querySelector("input").max),
    };
};"""


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Iterator[Page]:
    with chromium.new_context(viewport={"width": 1440, "height": 900}) as context:
        context.add_init_script(DEFINE)
        yield context.new_page()


def steps_of(entry: Entry, variant: str) -> list[Step]:
    """The rows of a variant's story, as its evidence yields them."""
    observed = entry.evidence.dont if variant == "dont" else entry.evidence.do
    return [
        step
        for story in stories(observed.trace, entry.promised)
        for attempt in story.attempts
        for step in attempt.steps
    ]


def text(step: Step) -> str:
    said = "".join(word.text if isinstance(word, Code) else word for word in step.words)
    return " ".join(said.split())


def agrees(entry: Entry, variant: str, at: int, shown: dict[str, Any]) -> None:
    """What is shown is the step of this number, and nothing but that."""
    steps = steps_of(entry, variant)
    step = steps[at - 1]
    where = f"{entry.rule.id} {variant} step {at}"
    assert shown["rows"] == shown["max"] == len(steps), where
    assert shown["now"] == [at], where
    assert shown["visible"], where
    assert shown["later"] == len(steps) - at, where
    assert " ".join(shown["said"].split()) == text(step), where
    assert text(step) in shown["live"], where
    assert shown["slider"] == f"step {at} of {len(steps)}", where
    lines = {line_id(entry.rule, variant, number) for number in step.lines}
    assert set(shown["running"]) == lines, where


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.rule.id)
def test_every_step_shows_what_the_evidence_holds(page: Page, plain: str, entry: Entry) -> None:
    page.goto(plain + entry.rule.url, wait_until="domcontentloaded")
    for variant in VARIANTS:
        story = page.locator(f".happened > .run.{variant} .story")
        steps = len(steps_of(entry, variant))
        agrees(entry, variant, steps, story.evaluate(SHOWN))
        middle = (steps + 1) // 2
        at_each = [1, middle, min(middle + 1, steps), steps]
        for at, shown in zip(at_each, story.evaluate(AT_EACH, at_each), strict=True):
            agrees(entry, variant, at, shown)


def test_the_longest_run_is_drawn_soon_after_its_page(page: Page, plain: str) -> None:
    longest = max(ENTRIES, key=lambda entry: len(steps_of(entry, "dont") + steps_of(entry, "do")))
    late, took = [], []
    for _ in range(3):  # the machine may be busy with other tests
        page.goto(plain + longest.rule.url)
        took.append(page.evaluate("performance.getEntriesByName('replay')[0].duration"))
        late.append(
            page.evaluate(
                "performance.getEntriesByName('replay-ready')[0].startTime"
                " - performance.getEntriesByType('navigation')[0].domContentLoadedEventStart"
            )
        )
    assert min(took) < 100
    assert min(late) < 100


def test_buttons_and_their_arrow_keys_step(page: Page, plain: str) -> None:
    page.goto(plain + RULE)
    story = page.locator(".happened > .run.dont .story")
    last = int(story.locator("input").get_attribute("max") or "")

    def now() -> list[int]:
        found: list[int] = story.evaluate(SHOWN)["now"]
        return found

    story.get_by_role("button", name="From the start").click()
    assert now() == [1]
    story.get_by_role("button", name="Previous step").click(force=True)  # disabled
    assert now() == [1]
    story.get_by_role("button", name="Next step").click()
    assert now() == [2]
    story.get_by_role("button", name="Next step").press("ArrowRight")
    assert now() == [3]
    story.get_by_role("button", name="Next step").press("ArrowLeft")
    assert now() == [2]
    story.get_by_role("button", name="Previous step").press("End")
    assert now() == [last]
    assert page.locator(".happened > .run.do .story .later").count() == 0, "do has its own control"


def test_what_is_repeated_or_read_is_tied_to_where_it_came_from(page: Page, plain: str) -> None:
    page.goto(plain + RULE)
    for variant, kind in (("dont", "too-often"), ("do", "known")):
        story = page.locator(f".happened > .run.{variant} .story")
        rows = story.locator(".steps li")
        at = rows.evaluate_all(
            "(rows, kind) => rows.findIndex(row => row.querySelector(`.mark.${kind}`)) + 1", kind
        )
        story.locator("input").fill(str(at))
        story.locator(f".thread.{kind}").wait_for()  # it grows
        assert story.locator(".origin .mark.took-effect").count() == 1
        story.locator("input").press("Home")
        assert not story.locator(".thread").is_visible()
        assert not rows.nth(at - 1).locator(".mark").is_visible(), "it has not come about yet"


def test_without_javascript_there_is_no_control(chromium: Browser, origin: str) -> None:
    with chromium.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(origin + RULE)
        assert page.locator(".replay, .now, .later, .running").count() == 0
        assert page.locator(".happened .mark.too-often").is_visible()


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_for_who_wants_less_motion(
    chromium: Browser, origin: str, motion: str
) -> None:
    with chromium.new_context(
        reduced_motion="reduce" if motion == "reduce" else "no-preference"
    ) as context:
        page = context.new_page()
        page.goto(origin + RULE)
        page.locator(".run.dont .replay input").press("Home")
        mark = page.locator(".run.dont .now .mark")
        moves = mark.evaluate(
            "mark => [getComputedStyle(mark).animationName, getComputedStyle(mark).transitionDuration]"
        )
        assert moves == ["none" if motion == "reduce" else "arrives", "0s"]


def test_on_paper_all_has_happened(page: Page, plain: str) -> None:
    page.goto(plain + RULE)
    page.locator(".run.dont .replay input").press("Home")
    page.emulate_media(media="print")
    try:
        assert not page.locator(".replay").first.is_visible()
        assert page.locator(".later .mark").first.is_visible()
    finally:
        page.emulate_media(media="screen")


def test_it_works_under_a_strict_policy(chromium: Browser, origin: str) -> None:
    """The theme has scripts in its pages, which such a policy refuses; the viewer has none."""
    with chromium.new_context() as context:
        page = context.new_page()
        page.route(
            "**/run-action-not-idempotent/",
            lambda route: route.fulfill(
                response=(answer := route.fetch()),
                headers={**answer.headers, "content-security-policy": "default-src 'self'"},
            ),
        )
        page.goto(origin + RULE, wait_until="domcontentloaded")
        page.locator(".run.dont .replay input").fill("5")
        page.locator(".run.dont .thread").wait_for()


def test_it_works_from_a_folder(chromium: Browser, site: Site) -> None:
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto((site.offline / f"{RULE.rstrip('/')}.html").as_uri())
        page.locator(".run.do .replay input").press("Home")
        assert page.locator(".run.do .now").first.is_visible()


def test_it_weighs_little(site: Site) -> None:
    files = [site.folder / "assets" / name for name in ("viewer.js", "viewer.css")]
    weight = sum(len(gzip.compress(file.read_bytes())) for file in files)
    assert weight <= 15 * 1024, f"{weight} bytes"
