"""The record: when each rule's evidence was recorded, on which Python, in how long.

Kept apart from the evidence, which is the same to the byte in every run.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from restate_guide.catalogue import ROOT, Rule
from restate_guide.lab.evidence import Proven


@dataclass(frozen=True)
class Recorded:
    """One recording of a rule's evidence."""

    on: str
    """Date, UTC, ISO 8601."""
    python: str
    """Version of Python that served the snippets."""
    runs: int
    """How many runs it took: both variants, the do's replays, the asides."""
    seconds: float
    """Wall time of these runs, added up."""


_adapter = TypeAdapter(dict[str, Recorded])


def path(root: Path = ROOT) -> Path:
    return root / "snippets" / "record.json"


def read(root: Path = ROOT) -> dict[str, Recorded]:
    """What is recorded, by id of the rule."""
    return _adapter.validate_json(path(root).read_text()) if path(root).exists() else {}


def enter(rule: Rule, proven: Proven, root: Path = ROOT) -> None:
    """Notes that a rule's evidence has just been recorded."""
    results = proven.results()
    recorded = read(root)
    recorded[rule.id] = Recorded(
        on=datetime.now(UTC).date().isoformat(),
        python=platform.python_version(),
        runs=len(results),
        seconds=round(sum(result.seconds for result in results), 1),
    )
    in_order = dict(sorted(recorded.items()))
    path(root).write_text(_adapter.dump_json(in_order, indent=1).decode() + "\n")
