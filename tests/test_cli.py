"""The command `guide`, as a reader meets it: what it prints, and with which exit code it ends."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from click.testing import CliRunner, Result

from restate_guide import catalogue, cli
from restate_guide.lab import EffectRepeated, Proof, load
from tests.conftest import apart


def guide(*arguments: str) -> Result:
    return apart(CliRunner().invoke, cli.main, arguments)


def test_help_teaches() -> None:
    told = guide("--help").output
    assert "guide run RDD102 --dont" in told
    for command in ("list", "explain", "run", "update", "bench"):
        assert f"  {command} " in told
        assert guide(command, "--help").exit_code == 0


def test_list_names_every_rule() -> None:
    told = guide("list")
    assert told.exit_code == 0
    assert all(rule.id in told.output for rule in catalogue.rules())


def test_list_as_json() -> None:
    listed = json.loads(guide("list", "--chapter", "determinism", "--json").output)
    assert [rule["id"] for rule in listed] == [
        rule.id for rule in catalogue.rules() if rule.chapter == "determinism"
    ]
    assert listed[0].keys() >= {"id", "title", "severity", "symptom", "url"}


@pytest.mark.parametrize("name", ["RDD102", "rdd102", "run-action-not-idempotent"])
def test_explain_shows_rule_why_and_fix(name: str) -> None:
    told = guide("explain", name)
    assert told.exit_code == 0
    for part in ("RDD102", "POST /charges happened 2 times", "Why", "Fix code that already runs"):
        assert part in told.output
    assert "[[RDD" not in told.output
    assert "!!!" not in told.output


def test_explain_works_for_every_rule() -> None:
    for rule in catalogue.rules():
        told = guide("explain", rule.id)
        assert told.exit_code == 0, told.output
        assert not re.search(r"\[\[(RDD|rule|aside)", told.output)


@pytest.mark.parametrize(
    ("name", "nearest"), [("RDD1O2", "RDD102"), ("run-action-idempotent", "RDD102")]
)
@pytest.mark.parametrize("command", ["explain", "run", "update"])
def test_unknown_rule_names_the_nearest(command: str, name: str, nearest: str) -> None:
    told = guide(command, name)
    assert told.exit_code == 2
    assert nearest in told.output


def test_run_without_a_rule_says_what_to_do() -> None:
    told = guide("run")
    assert told.exit_code == 2
    assert "guide list" in told.output


@pytest.mark.server
def test_run_shows_events_tables_and_verdict() -> None:
    told = guide("run", "RDD102", "--dont")
    assert told.exit_code == 0, told.output
    for part in (
        "starting server and worker",
        "worker 1 is killed, worker 2 takes over",
        "attempts",
        "Notification: Run",
        "What reached the outside world",
        "✗ don't: POST /charges happened 2 times.",
    ):
        assert part in told.output
    assert "\x1b[" not in told.output, "colour is for terminals"


@pytest.mark.server
def test_run_as_json_lines() -> None:
    told = guide("run", "RDD102", "--do", "--json")
    events: list[dict[str, Any]] = [json.loads(line) for line in told.output.splitlines()]
    assert events[0]["kind"] == "stage"
    assert [event["kind"] for event in events].count("verdict") == 1
    assert events[-1]["verdict"]["kind"] == "holds"
    assert len(events[-1]["trace"]["effects"]) == 2
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)


@pytest.mark.server
def test_run_that_differs_from_its_rule_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def expecting_more(folder: Any) -> Proof:
        return dataclasses.replace(load(folder), symptom=EffectRepeated("POST /charges", times=3))

    monkeypatch.setattr(cli, "load", expecting_more)
    told = guide("run", "RDD102", "--dont")
    assert told.exit_code == 1
    assert "times=3" in told.output
