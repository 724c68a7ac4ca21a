"""rules.json: it holds all rules as they are, and its schema holds it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from restate_guide import catalogue, index, record
from restate_guide.catalogue import ROOT

DOCS = ROOT / "docs"


def load(name: str) -> Any:
    return json.loads((DOCS / name).read_text())


def test_files_are_what_the_checkout_yields() -> None:
    for path, text in index.files().items():
        assert path.read_text() == text, f"{path.name}: run `make update`"


def test_index_holds_against_its_schema() -> None:
    schema = load("rules.schema.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(load("rules.json"), schema)


@pytest.mark.parametrize(
    "change", [{"id": "RDD1"}, {"severity": "bad"}, {"dont": None}, {"more": 1}]
)
def test_schema_refuses_a_broken_rule(change: dict[str, Any]) -> None:
    broken = load("rules.json")
    broken["rules"][0] |= change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, load("rules.schema.json"))


def test_every_path_leads_to_a_file_of_the_site() -> None:
    for rule in load("rules.json")["rules"]:
        paths = [rule["proof"], rule["evidence"], rule["do"]["snippet"], rule["dont"]["snippet"]]
        for path in [*paths, *(claim["snippet"] for claim in rule["asides"])]:
            assert (DOCS / path).is_file(), path
        assert (DOCS / rule["url"].rstrip("/")).with_suffix(".md").is_file()


def test_every_rule_was_recorded_with_its_time_and_python() -> None:
    recorded = record.read()
    assert list(recorded) == [rule.id for rule in catalogue.rules()]
    assert all(entry.runs >= 4 and entry.seconds > 0 for entry in recorded.values())
