"""Every rule, proven on a real server: its pair, the replays of its do, its asides, its evidence."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import difflib
import functools
import time

import pytest

from restate_guide import catalogue
from restate_guide.catalogue import Rule
from restate_guide.lab import Lab as LabInProof
from restate_guide.lab import Proof, load
from restate_guide.lab.evidence import Proven, dumps, prove
from tests.conftest import Lab
from tests.fixes import queries

RULES = catalogue.rules()


@pytest.fixture(scope="session")
def proofs(lab: Lab) -> functools._lru_cache_wrapper[Proven]:
    """The runs of a rule's proof; made once, judged by several tests."""

    @functools.cache
    def proven(rule: Rule) -> Proven:
        proof = asking(load(rule.folder), queries(rule.id))
        # One run after another: a second server would be started for two, and other rules run beside.
        return lab.run(prove(lab.laboratory, proof, catalogue.questions(rule), at_a_time=1))

    return proven


LOOKS_UP = {
    "RDD101",
    "RDD106",
    "RDD113",
    "RDD204",
    "RDD205",
    "RDD207",
    "RDD310",
    "RDD403",
    "RDD409",
    "RDD411",
    "RDD506",
    "RDD507",
    "RDD513",
    "RDD603",
}
"""Rules whose page has a query that lists what is under way, or suspects: it tells no pair apart.

It has a test of its own, in tests/test_fixes_*.py."""
PATIENCE = 10.0  # seconds
FOUND: dict[str, dict[str, list[int]]] = collections.defaultdict(dict)
"""How many rows each query of a rule's page found once the proof's calls were made, by snippet."""


def asking(proof: Proof, asked: list[str]) -> Proof:
    """The proof, whose pair also asks the server what the page tells operators to ask it."""

    async def ask(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        limit = time.monotonic() + (PATIENCE if in_proof.snippet == "dont" else 0)
        while True:
            found = [len(await in_proof.query(sql)) for sql in asked]
            if all(found) or proof.rule in LOOKS_UP or time.monotonic() > limit:
                break
            await asyncio.sleep(0.05)  # what hangs may be about to suspend
        FOUND[proof.rule].setdefault(in_proof.snippet, found)

    asides = {
        n: dataclasses.replace(a, prove=a.prove or proof.prove) for n, a in proof.asides.items()
    }
    return dataclasses.replace(proof, prove=ask, asides=asides) if asked else proof


def grouped(rules: list[Rule]) -> list[object]:
    """One group for each rule, so that its tests come to one process and share its runs."""
    return [pytest.param(r, id=r.id, marks=pytest.mark.xdist_group(r.id)) for r in rules]


every_rule = pytest.mark.parametrize("rule", grouped(RULES))


@pytest.mark.server
@every_rule
def test_rule_holds(rule: Rule, proofs: functools._lru_cache_wrapper[Proven]) -> None:
    """The don't shows its symptom; the do keeps its promise, under every replay stimulus too."""
    proven = proofs(rule)
    if failures := proven.failures():
        pytest.fail("\n".join([*failures, "", dumps(proven.evidence())]), pytrace=False)


@pytest.mark.server
@every_rule
def test_evidence_is_what_the_runs_showed(
    rule: Rule, proofs: functools._lru_cache_wrapper[Proven]
) -> None:
    recorded = (rule.folder / "evidence.json").read_text()
    now = dumps(proofs(rule).evidence())
    if now != recorded:
        lines = recorded.splitlines(), now.splitlines()
        differ = difflib.unified_diff(*lines, "recorded", "now", lineterm="")
        pytest.fail("\n".join(["another evidence; if it is right: make update", *differ]), False)


@pytest.mark.server
@every_rule
def test_swapped_pair_is_red(rule: Rule, proofs: functools._lru_cache_wrapper[Proven]) -> None:
    """With do and don't swapped the proof fails, and says that each did what the other should."""
    proven = proofs(rule)
    swapped = dataclasses.replace(proven, do=proven.dont, dont=proven.do)
    promise, symptom = proven.proof.promise, proven.proof.symptom
    assert swapped.failures() == [
        f"{rule.id} do: expected {promise!r}, but saw {symptom!r}",
        f"{rule.id} dont: expected {symptom!r}, but saw {promise!r}",
    ]


@pytest.mark.server
@every_rule
def test_page_names_the_symptom_that_was_seen(
    rule: Rule, proofs: functools._lru_cache_wrapper[Proven]
) -> None:
    assert rule.symptom == proofs(rule).dont.outcome.kind


@pytest.mark.server
@pytest.mark.parametrize("rule", grouped([rule for rule in RULES if queries(rule.id)]))
def test_queries_of_the_page_find_the_dont_and_not_the_do(
    rule: Rule, proofs: functools._lru_cache_wrapper[Proven]
) -> None:
    """All of them were answered by the server; those that are to find the harm, find it."""
    proofs(rule)
    found = FOUND[rule.id]
    tells_apart = all(found["dont"]) and not any(found["do"])
    assert tells_apart == (rule.id not in LOOKS_UP), found
