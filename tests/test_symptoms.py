"""The pages on symptoms and error codes: none is missing, and what they show was recorded."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from restate_guide import catalogue
from restate_guide.catalogue import ROOT, SymptomPage
from restate_guide.lab import Lab as LabInProof
from restate_guide.lab import load
from restate_guide.site import seen
from restate_guide.site.book import open_book
from restate_guide.site.words import symptoms
from tests.bare import run
from tests.conftest import Lab
from tests.fixes import changed, instead

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


@pytest.mark.parametrize(
    "page", [page for page in PAGES if re.fullmatch(r"rt\d+|\d+", page.name)], ids=lambda p: p.name
)
def test_the_log_on_the_page_of_a_code_has_that_code(page: SymptomPage) -> None:
    for id in re.findall(r"^\[\[logged (RDD\d+)\]\]$", page.page.read_text(), re.M):
        error = seen.first_error(BOOK.find(id))
        assert page.name.upper() in (error.code, str(error.status))


def queries(page: str) -> list[str]:
    """Those on the page of a symptom, by its name."""
    text = (ROOT / "docs" / "symptoms" / f"{page}.md").read_text()
    return re.findall(r"^```sql\n(.*?)^```", text, re.M | re.S)


def further(page: str) -> str:
    """The one query of a page beside that whose answer it shows."""
    _, query = queries(page)
    return query.replace("1 minute", "1 millisecond")  # nobody waits for that here


@pytest.mark.server
@pytest.mark.parametrize(
    ("page", "rule", "finds"),
    [
        ("effect-repeated", "RDD401", True),  # suspended, and never failed
        ("retried-until-paused", "RDD116", True),
        ("retried-until-paused", "RDD102", False),
    ],
)
def test_a_further_query_finds_what_the_page_says(
    lab: Lab, page: str, rule: str, finds: bool
) -> None:
    entry = BOOK.find(rule)
    proof = load(entry.rule.folder)
    found = []

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        found.extend(await in_proof.query(further(page)))

    instead(lab, entry.rule.folder, prove)
    assert bool(found) == finds


@pytest.mark.server
def test_a_query_with_an_age_is_one(lab: Lab) -> None:
    """What the page has to be put before ORDER BY is SQL there."""
    page = next(page for page in PAGES if page.name == "waits-for-ever")
    age = re.search(r"`(AND created_at < [^`]+)`", page.page.read_text())
    assert age
    folder = BOOK.find(page.example).rule.folder
    found = []

    async def prove(in_proof: LabInProof) -> None:
        waiting = asyncio.create_task(load(folder).prove(in_proof))
        old = page.query.replace("ORDER BY", f"{age[1]} ORDER BY")
        await in_proof.until_row(page.query)
        found.extend(await in_proof.query(old))
        await waiting

    instead(lab, folder, prove)
    assert found == [], "nothing here is an hour old"


@pytest.mark.server
def test_a_delayed_send_holds_no_key(lab: Lab) -> None:
    """It is listed as scheduled, which the page's query leaves out."""
    page = next(page for page in PAGES if page.name == "key-blocked")
    folder = BOOK.find("RDD204").rule.folder
    found: dict[str, list[object]] = {}

    async def prove(in_proof: LabInProof) -> None:
        await in_proof.call("Seats/7a/hold", "ann")
        every = "select status from sys_invocation where status != 'completed'"
        for name, sql in (("all", every), ("page", page.query)):
            found[name] = [row["status"] for row in await in_proof.query(sql)]
        await in_proof.until_all_completed()

    run(lab, folder / "do.py", prove)
    assert found == {"all": ["scheduled"], "page": []}


@pytest.mark.server
def test_a_listed_service_tells_which_of_its_handlers_are_private(lab: Lab, tmp_path: Path) -> None:
    """Served without identity: the query lists a service, whose handlers may be closed one by one."""
    rule = "operations/internal-service-public"
    closed = ("@refunds.handler()", "@refunds.handler(ingress_private=True)")
    served: dict[str, bool] = {}

    async def prove(in_proof: LabInProof) -> None:
        (sql,) = queries("served-unverified")
        listed = {row["name"] for row in await in_proof.query(sql)}
        assert "Refunds" in listed
        for name in listed:
            told = await in_proof.admin("GET", f"/services/{name}")
            served.update({each["name"]: each["public"] for each in told["handlers"]})
        await in_proof.call("Refunds/refund", "order-1")

    snippet = changed(tmp_path, f"{rule}/dont", closed)
    trace = instead(lab, ROOT / "snippets" / rule, prove, snippet=snippet).trace
    assert served == {"refund": False, "claim": True}
    assert [call.status for call in trace.calls] == [400]
