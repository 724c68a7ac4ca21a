"""What the pages of the chapter errors say about invocations under way, done on a real server."""

from __future__ import annotations

import dataclasses

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import LATE_REPLAY, Stimulus, crash_after_step, load
from tests.conftest import Lab

CHAPTER = ROOT / "snippets" / "errors"

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    ("slug", "stimulus", "outcome"),
    [
        ("bare-except", crash_after_step("charge"), "holds"),
        ("finally-runs-on-suspension", LATE_REPLAY, "holds"),
    ],
)
def test_fixed_code_in_place(lab: Lab, slug: str, stimulus: Stimulus, outcome: str) -> None:
    """The worker that takes over has the fixed code: does an invocation under way get through?"""
    proof = load(CHAPTER / slug)
    in_place = dataclasses.replace(stimulus, successor="do")
    result = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), in_place))
    assert result.outcome.kind == outcome, result.outcome
