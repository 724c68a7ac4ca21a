"""From the Go guide: no row, prompt or primitive of the original lacks its answer."""

from __future__ import annotations

import json
import re

import pytest

from restate_guide import catalogue
from restate_guide.catalogue import ROOT

PAGE = (ROOT / "docs" / "from-go.md").read_text()
LISTED = json.loads((ROOT / "tests" / "go_guide.json").read_text())
"""Made from the original once: the first column of its tables, its prompts, what it calls by name."""

ANSWERS = re.findall(r"^\| (.+?) \| (.+?) \|(?: (.+?) \|)?$", PAGE, re.M)


@pytest.mark.parametrize("kind", ["rows", "prompts"])
def test_every_row_and_prompt_has_its_answer(kind: str) -> None:
    answered = [name for name, python, here in ANSWERS if python and here]
    answered += [name.partition(" ")[0] for name in answered]  # a prompt by its number
    assert [name for name in LISTED[kind] if name not in answered] == []


def test_every_primitive_has_its_answer() -> None:
    _, _, primitives = PAGE.partition("## The primitives")
    named = set(re.findall(r"\b[A-Z]\w+", " ".join(re.findall(r"^\| (.+?) \|", primitives, re.M))))
    assert set(LISTED["primitives"]) - named == set()


def test_every_rule_with_a_source_in_the_guide_is_named() -> None:
    named = set(re.findall(r"\[\[(RDD\d+)\]\]", PAGE))
    sourced = {rule.id for rule in catalogue.rules() if set(rule.sources) != {"py"}}
    assert sourced - named == set()
