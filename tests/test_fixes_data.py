"""What the pages of the chapter data tell operators to do, and what JSON does to which values."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from restate.serde import DefaultSerde

from restate_guide.lab import (
    JournalMismatch,
    crash_after_step,
)
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab
from tests.fixes import SNIPPETS, afterwards, in_place, instead, resume_on

CHAPTER = SNIPPETS / "data"


@pytest.mark.server
def test_step_that_never_gets_through_resumes_on_the_fixed_code(lab: Lab) -> None:
    """RDD801: one more courier is ordered."""

    async def fix(in_proof: LabInProof) -> None:
        await resume_on(in_proof, "Parcels/collect")
        await in_proof.until_all_completed()

    trace = afterwards(lab, CHAPTER / "result-not-serializable", fix).trace
    assert trace.effect_counts() == {"POST /pickups": 4}


@pytest.mark.server
def test_cancel_ends_a_step_that_never_gets_through(lab: Lab) -> None:
    """RDD801: and has it not executed once more."""
    target = "Parcels/collect"

    async def end(in_proof: LabInProof) -> None:
        assert await in_proof.operate("cancel", target) == 202
        await in_proof.until_all_completed()

    trace = afterwards(lab, CHAPTER / "result-not-serializable", end).trace
    assert trace.effect_counts() == {"POST /pickups": 3}


@pytest.mark.server
def test_fixed_code_in_place_does_not_get_through(lab: Lab) -> None:
    """RDD802."""
    outcome = in_place(lab, CHAPTER / "json-changes-the-type", crash_after_step("reduced")).outcome
    assert outcome.kind == "retried-until-paused", outcome


@pytest.mark.server
def test_input_that_the_model_refuses_meets_a_mismatch_in_place(lab: Lab) -> None:
    """RDD803: each attempt parses the input anew, and the journal goes on where this one fails."""

    async def in_words(in_proof: LabInProof) -> None:
        await in_proof.call("Insurance/insure", {"customer": "ann", "days": "three"})

    fixed = dataclasses.replace(crash_after_step("sign"), successor="do")
    outcome = instead(lab, CHAPTER / "no-schema-at-the-border", in_words, fixed).outcome
    assert outcome == JournalMismatch(command=1, was="run", now="handler return")


@pytest.mark.server
def test_input_that_the_model_takes_goes_on_in_place(lab: Lab) -> None:
    """RDD803: no command changes."""
    trace = in_place(lab, CHAPTER / "no-schema-at-the-border", crash_after_step("sign")).trace
    assert [call.status for call in trace.calls] == [200]
    assert trace.effect_counts() == {"POST /contracts": 1}


class Line(BaseModel):
    cents: int


class Everything(BaseModel):
    """What JSON has no type for, except sets of it."""

    day: date
    at: datetime
    price: Decimal
    id: UUID
    tags: set[int]
    raw: bytes
    by_row: dict[int, tuple[int, int]]


@pytest.mark.parametrize(
    "value",
    [
        date(2030, 5, 4),
        datetime(2030, 5, 4),
        Decimal("1.5"),
        UUID(int=0),
        {1},
        b"",
        [Line(cents=1)],
        {"a": Line(cents=1)},
    ],
    ids=repr,
)
def test_json_knows_none_of_these(value: Any) -> None:
    """RDD801."""
    with pytest.raises(TypeError, match="is not JSON serializable"):
        DefaultSerde[Any](type(value)).serialize(value)


def test_a_model_brings_all_of_them_back() -> None:
    """RDD801, RDD802."""
    value = Everything(
        day=date(2030, 5, 4),
        at=datetime(2030, 5, 4, 9),
        price=Decimal("1.50"),
        id=UUID(int=7),
        tags={1, 2},
        raw=b"abc",
        by_row={1: (3, 4)},
    )
    serde = DefaultSerde(Everything)
    assert serde.deserialize(serde.serialize(value)) == value


@pytest.mark.parametrize(
    "value", ["", "tea", 0, 7, 1.5, True, None, [1, "a", None], {"a": [1.5]}], ids=repr
)
def test_json_brings_these_back_as_they_were(value: Any) -> None:
    """RDD802."""
    serde = DefaultSerde[Any](type(value))
    again = serde.deserialize(serde.serialize(value))
    assert again == value
    assert type(again) is type(value)
