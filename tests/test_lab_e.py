"""The story of a step that is tried again: which try wrote its failure into the journal."""

from __future__ import annotations

from restate_guide.catalogue import ROOT
from restate_guide.lab import evidence
from restate_guide.site.story import Mark, stories


def test_only_the_last_try_writes_the_failure_of_a_step() -> None:
    folder = ROOT / "snippets" / "errors" / "kill-skips-compensation"
    (story,) = stories(evidence.read(folder / "evidence.json").do.trace)
    fails = [step for told in story.attempts for step in told.steps if " fails: " in step.words]
    assert [step.mark for step in fails] == [None, None, Mark("written", "4")]
