"""What pages say of waiting, polling and secrets: done to invocations that a don't has left."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import LATE_REPLAY, Result, Stimulus, load
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab

pytestmark = pytest.mark.server


def run(lab: Lab, folder: str, then: Callable[[LabInProof], Awaitable[None]]) -> Result:
    """Runs a don't as its proof does, and does something about it afterwards."""
    proof = load(ROOT / "snippets" / folder)

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await then(in_proof)

    mended = dataclasses.replace(proof, prove=prove)
    return lab.run(lab.laboratory.result(mended, proof.snippet("dont")))


def test_a_purged_journal_holds_no_token_and_the_outcome_stays(lab: Lab) -> None:
    """RDD311."""
    tokens = "select id from sys_journal where entry_json like '%for-this-proof-only%'"
    over = (
        "select id from sys_invocation where status = 'completed' and completion_result = 'success'"
    )

    async def purge(in_proof: LabInProof) -> None:
        assert len(await in_proof.query(tokens)) == 1
        assert await in_proof.operate("purge-journal", "Claims/file") == 200
        await in_proof.until_no_row(tokens)
        assert len(await in_proof.query(over)) == 1

    run(lab, "communication/secrets-in-headers", purge)


@pytest.mark.parametrize(
    ("folder", "stimulus", "outcome"),
    [("communication/context-outside-a-handler", LATE_REPLAY, "holds")],
)
def test_fixed_code_in_place(lab: Lab, folder: str, stimulus: Stimulus, outcome: str) -> None:
    """The worker that takes over has the fixed code: does an invocation under way get through?"""
    proof = load(ROOT / "snippets" / folder)
    in_place = dataclasses.replace(stimulus, successor="do")
    result = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), in_place))
    assert result.outcome.kind == outcome, result.outcome
