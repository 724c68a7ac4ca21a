"""The evidence: what both variants of a rule did, as recorded beside them and shown on its page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from restate_guide.lab.engine import Result
from restate_guide.lab.proof import Proof
from restate_guide.lab.symptoms import Outcome
from restate_guide.lab.trace import Trace

Json = Any


@dataclass(frozen=True)
class Verdict:
    """An outcome in words, and its measured values."""

    kind: str
    """Slug of the symptom, or `holds`."""
    title: str
    short: str
    sentence: str
    values: dict[str, Json]


@dataclass(frozen=True)
class Observed:
    """What one variant did."""

    verdict: Verdict
    trace: Trace


@dataclass(frozen=True)
class Evidence:
    """Contents of an `evidence.json`: the same to the byte whenever the proof is run again."""

    rule: str
    mode: str
    """The kind of stimulus: normal, crash, replay, late …"""
    stimulus: str
    """What was done to both, as a reader would say it."""
    proven_on: dict[str, str]
    """Versions of server and SDK."""
    do: Observed
    dont: Observed


_adapter = TypeAdapter(Evidence)


def observed(result: Result) -> Observed:
    return Observed(verdict(result.outcome), result.trace)


def verdict(outcome: Outcome) -> Verdict:
    """An outcome as it is recorded."""
    return Verdict(
        outcome.kind, outcome.title, outcome.short, outcome.sentence, values=asdict(outcome)
    )


def evidence(proof: Proof, do: Result, dont: Result) -> Evidence:
    """Puts the two runs of a proof together."""
    return Evidence(
        rule=proof.rule,
        mode=proof.stimulus.mode,
        stimulus=proof.stimulus_sentence,
        proven_on=do.versions,
        do=observed(do),
        dont=observed(dont),
    )


def dumps(recorded: Evidence) -> str:
    """The text of an `evidence.json`; fields in the order of their types."""
    return json.dumps(asdict(recorded), indent=1, ensure_ascii=False) + "\n"


def read(path: Path) -> Evidence:
    """Reads an `evidence.json`.

    Raises:
        pydantic.ValidationError: it isn't one, or one of another version of the guide.
    """
    return _adapter.validate_json(path.read_text())
