"""The pages on symptoms and error codes: none is missing, and what they show was recorded."""

from __future__ import annotations

import pytest

from restate_guide import catalogue
from restate_guide.catalogue import ROOT, SymptomPage
from restate_guide.site import seen
from restate_guide.site.book import open_book
from restate_guide.site.words import symptoms

PAGES = catalogue.symptom_pages()
BOOK = open_book(ROOT)


def test_every_symptom_of_the_lab_and_every_code_that_a_run_met_has_a_page() -> None:
    wanted = {known.kind for known in symptoms()} | {code.lower() for code in seen.codes(BOOK)}
    assert {page.name for page in PAGES} == wanted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_its_own_query_found(page: SymptomPage) -> None:
    """The query is on the page; its answer is in the evidence of the rule that the page names."""
    entry = BOOK.find(page.example)
    assert entry.evidence.dont.trace.answers[page.name], "it found nothing"
    assert f"[[answer {page.example} {page.name}]]" in page.page.read_text()


@pytest.mark.parametrize("kind", [known.kind for known in symptoms()])
def test_every_symptom_is_shown_by_a_rule(kind: str) -> None:
    assert [entry for entry in BOOK.entries.values() if entry.rule.symptom == kind]
