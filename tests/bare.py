"""Runs a snippet that belongs to no rule: what tests of pages and recipes share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from restate_guide.lab import PLAIN, EffectMissing, Holds, Proof, Result, Stimulus
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab


def run(
    lab: Lab,
    snippet: Path,
    prove: Callable[[LabInProof], Coroutine[None, None, None]],
    stimulus: Stimulus = PLAIN,
    env: Mapping[str, str] | None = None,
) -> Result:
    """Serves a snippet, makes the calls, and tells what happened; what is right, the test knows."""
    answers: list[Any] = []

    async def prove_and_note(in_proof: LabInProof) -> None:
        await prove(in_proof)
        answers.extend(call.answer for call in in_proof.calls)

    proof = Proof(
        rule=snippet.stem,
        folder=snippet.parent,
        stimulus_sentence="",
        stimulus=stimulus,
        promise=Holds(answers=answers),
        symptom=EffectMissing(""),
        prove=prove_and_note,
        asides={},
        server={},
        env=env or {},
        varies={},
    )
    return lab.run(lab.laboratory.result(proof, snippet))
