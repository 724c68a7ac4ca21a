"""How a run is told in which a step's result came too late for the journal."""

from __future__ import annotations

from restate_guide.catalogue import ROOT
from restate_guide.lab.evidence import read
from restate_guide.site.story import stories

EVIDENCE = ROOT / "snippets" / "operations" / "long-step-default-timeouts" / "evidence.json"


def test_a_result_is_told_of_the_attempt_that_wrote_it() -> None:
    """RDD604: the first attempt's letter-1 was thrown away; the journal holds letter-2."""
    (story,) = stories(read(EVIDENCE).dont.trace)
    done = [
        "".join(str(getattr(word, "text", word)) for word in step.words)
        for attempt in story.attempts
        for step in attempt.steps
        if any(" is done" in str(word) for word in step.words)
    ]
    assert len(done) == 2
    assert "doesn't hold this result" in done[0] and "letter-2" not in done[0]
    assert "letter-2" in done[1]
