"""Every rule, proven on a real server: its pair, the replays of its do, its asides, its evidence."""

from __future__ import annotations

import dataclasses
import functools
import json

import pytest

from restate_guide import catalogue
from restate_guide.catalogue import Rule
from restate_guide.lab import load
from restate_guide.lab.evidence import Proven, dumps, prove
from tests.conftest import Lab

RULES = catalogue.rules()


@pytest.fixture(scope="session")
def proofs(lab: Lab) -> functools._lru_cache_wrapper[Proven]:
    """The runs of a rule's proof; made once, judged by several tests."""

    @functools.cache
    def proven(rule: Rule) -> Proven:
        return lab.run(prove(lab.laboratory, load(rule.folder)))

    return proven


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
    assert json.loads(dumps(proofs(rule).evidence())) == json.loads(recorded), "run `make update`"
    assert dumps(proofs(rule).evidence()) == recorded


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
