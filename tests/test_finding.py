"""Finding a rule in a browser: the table of all, the quiz, and the search."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from restate_guide.catalogue import ROOT
from restate_guide.site.book import Entry, open_book
from restate_guide.site.words import symptom
from tests.browser import flawless

pytestmark = pytest.mark.browser

ENTRIES = list(open_book(ROOT).entries.values())


@pytest.fixture(scope="module")
def context(chromium: Browser) -> Iterator[BrowserContext]:
    with chromium.new_context(viewport={"width": 1440, "height": 900}) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page with nothing kept from before."""
    with flawless(context) as page:
        yield page
        page.evaluate("localStorage.clear()")


# The table


@pytest.fixture
def table(page: Page, plain: str) -> Page:
    page.goto(f"{plain}table/", wait_until="domcontentloaded")
    return page


def shown(page: Page) -> list[str]:
    """The rules that the table shows, by id, in its order."""
    found: list[str] = page.locator("table.rules.all tbody").evaluate(
        "body => [...body.rows].filter(row => row.checkVisibility())"
        ".map(row => row.querySelector('.rule-id').textContent)"
    )
    return found


def ids(wanted: Callable[[Entry], bool] = lambda entry: True) -> list[str]:
    found = [entry.rule.id for entry in ENTRIES if wanted(entry)]
    assert found, "the guide has such rules"
    return found


def facet(page: Page, name: str) -> Locator:
    return page.locator(".facets fieldset button", has_text=name)


def test_a_facet_is_included_then_excluded_then_off(table: Page) -> None:
    assert shown(table) == ids()
    facet(table, "critical").click()
    assert shown(table) == ids(lambda e: e.rule.severity == "critical")
    assert facet(table, "critical").get_attribute("aria-pressed") == "true"
    facet(table, "critical").click()
    assert shown(table) == ids(lambda e: e.rule.severity != "critical")
    assert "not these" in (facet(table, "critical").get_attribute("aria-label") or "")
    facet(table, "critical").click()
    assert shown(table) == ids()


def test_facets_narrow_each_other_and_values_of_one_add_up(table: Page) -> None:
    facet(table, "critical").click()
    facet(table, "high").click()
    facet(table, "Determinism").click()
    facet(table, "Effect repeated").click()
    facet(table, "Effect repeated").click()
    wanted = ids(
        lambda e: (
            e.rule.severity in ("critical", "high")
            and e.rule.chapter == "determinism"
            and e.rule.symptom != "effect-repeated"
        )
    )
    assert shown(table) == wanted
    assert f"{len(wanted)} of {len(ENTRIES)} rules" in table.locator(".count").inner_text()
    table.get_by_role("button", name="Show all").click()
    assert shown(table) == ids()


def test_all_words_have_to_be_there_in_any_order(table: Page) -> None:
    words = table.get_by_label("Words")
    words.fill("CHARGE key idempotency")
    assert "RDD102" in shown(table)
    few = shown(table)
    words.fill("charge")
    assert set(few) < set(shown(table)) < set(ids())
    words.fill("charge nosuchword")
    assert shown(table) == []
    assert "0 of" in table.locator(".count").inner_text()


@pytest.mark.parametrize("apostrophe", ["'", "’"])
def test_an_apostrophe_is_found_however_it_is_written(table: Page, apostrophe: str) -> None:
    table.get_by_label("Words").fill(f"don{apostrophe}t undo")
    assert shown(table) == ["RDD504", "RDD507"]


def test_columns_sort_up_and_down(table: Page) -> None:
    head = table.locator("thead th", has_text="Severity")
    order = ("critical", "high", "medium")
    head.get_by_role("button").click()
    ranked = sorted(ENTRIES, key=lambda e: (order.index(e.rule.severity), e.rule.id))
    assert shown(table) == [e.rule.id for e in ranked]
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").click()
    ranked = sorted(ENTRIES, key=lambda e: (-order.index(e.rule.severity), e.rule.id))
    assert shown(table) == [e.rule.id for e in ranked]
    assert head.get_attribute("aria-sort") == "descending"
    by_symptom = table.locator("thead th", has_text="Symptom")
    by_symptom.get_by_role("button").click()
    ranked = sorted(ENTRIES, key=lambda e: (symptom(e.rule.symptom).title, e.rule.id))
    assert shown(table) == [e.rule.id for e in ranked]


def test_the_address_keeps_it_all(table: Page) -> None:
    table.get_by_label("Words").fill("charge")
    facet(table, "high").click()
    facet(table, "high").click()
    facet(table, "Determinism").click()
    table.locator("thead th", has_text="Rule").get_by_role("button").click()
    before = shown(table)
    assert len(before) > 1
    assert before == sorted(before, reverse=True)
    table.reload(wait_until="domcontentloaded")
    assert shown(table) == before
    assert table.get_by_label("Words").input_value() == "charge"
    assert facet(table, "high").get_attribute("aria-pressed") == "mixed"


@pytest.mark.parametrize("query", ["?sort=99", "?sort=x&in=no:such", "?q=%00&out=severity"])
def test_a_wrong_address_shows_a_table(page: Page, plain: str, query: str) -> None:
    page.goto(f"{plain}table/{query}", wait_until="domcontentloaded")
    page.get_by_label("Words").fill("")
    assert sorted(shown(page)) == ids()


def test_the_table_works_by_keyboard(table: Page) -> None:
    table.get_by_label("Words").focus()
    table.keyboard.type("charge")
    table.keyboard.press("Tab")
    expect(facet(table, "critical")).to_be_focused()
    table.keyboard.press("Space")
    assert set(shown(table)) <= set(ids(lambda e: e.rule.severity == "critical"))
    expect(facet(table, "critical")).to_be_focused()
    button = table.locator("thead th", has_text="Rule").get_by_role("button")
    button.focus()
    table.keyboard.press("Enter")
    assert shown(table) == sorted(shown(table), reverse=True)
    expect(button).to_be_focused()


def test_without_javascript_the_table_and_the_quiz_are_complete(
    chromium: Browser, plain: str
) -> None:
    with chromium.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{plain}table/")
        rows = page.locator("table.rules.all tbody tr")
        assert rows.count() == len(ENTRIES)
        assert rows.last.is_visible()
        assert page.locator(".facets").count() == 0
        page.goto(f"{plain}quiz/")
        assert page.locator(".question .listing").count() == len(ENTRIES)
        assert page.locator(".question .listing").last.is_visible()
        page.locator(".answer summary").first.click()
        assert page.locator(".answer .rule-link").first.is_visible()


# The quiz


@pytest.fixture
def quiz(page: Page, plain: str) -> Page:
    page.goto(f"{plain}quiz/", wait_until="domcontentloaded")
    return page


def question(page: Page) -> Locator:
    """The one question that is asked."""
    found = page.locator(".question:not([hidden])")
    assert found.count() == 1
    return found


def lines(page: Page, guilty: bool) -> Locator:
    """The lines of the question that can be pressed, and did it or did not."""
    named = (question(page).get_attribute("data-guilty") or "").split()
    first = int(question(page).get_attribute("data-first") or "")
    those = ", ".join(f":nth-child({int(number) - first + 1})" for number in named)
    kind = f":is({those})" if guilty else f":not({those})"
    return question(page).locator(f".l[role=button]{kind}")


def test_the_guilty_line_is_told_from_another(quiz: Page) -> None:
    assert not question(quiz).locator(".answer").is_visible()
    lines(quiz, guilty=False).first.click()
    assert "Not this one" in quiz.locator(".result").inner_text()
    assert not question(quiz).locator(".answer").is_visible()
    lines(quiz, guilty=True).first.click()
    assert quiz.locator(".result").inner_text() == "Found it."
    assert question(quiz).locator(".answer .rule-link").is_visible()
    assert quiz.locator(".score").inner_text() == "0 of 1 found at the first try."
    asked = question(quiz).locator("h2").inner_text()
    quiz.get_by_role("button", name="Next").click()
    assert question(quiz).locator("h2").inner_text() != asked
    lines(quiz, guilty=True).first.click()
    assert quiz.locator(".result").inner_text() == "That’s the one."
    assert quiz.locator(".score").inner_text() == "1 of 2 found at the first try."


def test_three_wrong_lines_show_the_answer(quiz: Page) -> None:
    for at in range(3):
        lines(quiz, guilty=False).nth(at).click()
    assert quiz.locator(".result").inner_text() == "It was another one."
    assert lines(quiz, guilty=True).and_(quiz.locator(".right")).count() > 0
    assert question(quiz).locator(".answer .rule-link").is_visible()


def test_the_same_line_again_is_no_further_try(quiz: Page) -> None:
    for _ in range(3):
        lines(quiz, guilty=False).first.click()
    assert not question(quiz).locator(".answer").is_visible()


def test_every_question_can_be_answered_and_names_no_rule(quiz: Page) -> None:
    unanswerable = quiz.locator(".question").evaluate_all(
        "all => all.filter(one => !one.dataset.guilty.split(' ').every(line =>"
        " one.querySelectorAll('.l')[line - one.dataset.first]?.role === 'button'))"
        ".map(one => one.textContent)"
    )
    assert unanswerable == []
    assert "RDD" not in question(quiz).inner_text()


def test_the_score_is_kept_in_this_browser_only(quiz: Page) -> None:
    asked: list[str] = []
    quiz.on("request", lambda request: asked.append(request.url))
    lines(quiz, guilty=True).first.click()
    assert [url for url in asked if not url.endswith("favicon.svg")] == []
    assert quiz.context.cookies() == []
    kept = quiz.evaluate("({...localStorage})")
    assert kept["guide.quiz"] == '{"asked":1,"right":1}'
    quiz.reload(wait_until="domcontentloaded")
    assert quiz.locator(".score").inner_text() == "1 of 1 found at the first try."
    quiz.get_by_role("button", name="Forget the score").click()
    quiz.reload(wait_until="domcontentloaded")
    assert quiz.locator(".score").inner_text() == "Press the line that did it."


def test_the_quiz_works_by_keyboard(quiz: Page) -> None:
    lines(quiz, guilty=True).first.press("Enter")
    assert quiz.locator(".result").inner_text() == "That’s the one."
    quiz.get_by_role("button", name="Next").press("Enter")
    expect(question(quiz).locator(".l[role=button]").first).to_be_focused()
    lines(quiz, guilty=True).first.press("Space")
    assert quiz.locator(".score").inner_text() == "2 of 2 found at the first try."


# The search


def test_a_stroke_opens_the_search_and_it_finds_the_rule(page: Page, origin: str) -> None:
    page.goto(f"{origin}quiz/")
    page.keyboard.press("/")
    search = page.locator(".md-search__input")
    expect(search).to_be_focused()
    rules = ids(lambda e: e.rule.symptom == "journal-mismatch")
    mismatching = re.compile("|".join(["RT0016", *rules]))
    for words, found in (
        ("RT0016", "RT0016: journal mismatch"),
        ("Journal mismatch", "ournal mismatch"),
        ("Found a mismatch between the code paths taken during the previous", mismatching),
        ("TypeError: Object of type coroutine is not JSON serializable", "RDD116"),
        ("unsupported entry type, this handler type cannot write state", "RDD202"),
    ):
        search.fill(words)
        search.press("End")  # a key that comes up is what the theme looks for
        expect(page.locator(".md-search-result__item").first).to_contain_text(found)
