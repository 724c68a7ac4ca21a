"""How a run is told: which of several attempts or tries it was that wrote into the journal."""

from __future__ import annotations

import re

import restate

from restate_guide import catalogue
from restate_guide.catalogue import ROOT
from restate_guide.lab.evidence import read
from restate_guide.site.story import Mark, Story, stories


def told(rule: str, variant: str) -> Story:
    """The story of the first invocation."""
    found = read(ROOT / "snippets" / rule / "evidence.json")
    return stories(getattr(found, variant).trace)[0]


def test_only_the_last_try_writes_the_failure_of_a_step() -> None:
    attempts = told("errors/kill-skips-compensation", "do").attempts
    fails = [step for attempt in attempts for step in attempt.steps if " fails: " in step.words]
    assert [step.mark for step in fails] == [None, None, Mark("written", "4")]


def test_a_result_is_told_of_the_attempt_that_wrote_it() -> None:
    """RDD604: the first attempt's letter-1 was thrown away; the journal holds letter-2."""
    done = [
        "".join(str(getattr(word, "text", word)) for word in step.words)
        for attempt in told("operations/long-step-default-timeouts", "dont").attempts
        for step in attempt.steps
        if any(" is done" in str(word) for word in step.words)
    ]
    assert len(done) == 2
    assert "doesn’t hold this result" in done[0] and "letter-2" not in done[0]
    assert "letter-2" in done[1]


def test_a_command_after_the_output_is_refused() -> None:
    """RDD312, RDD409: what a context is asked for when its handler has returned."""
    for rule, command in (
        ("communication/context-outside-a-handler", "OneWayCall"),
        ("concurrency/task-outlives-handler", "mail"),
    ):
        (attempt,) = told(rule, "dont").attempts
        output, late = attempt.steps[-2:]
        assert output.kind == "end" and not output.lines
        assert late.kind == "harm" and late.mark is None
        assert command in str(late.words), late.words
        assert late.words[-1] == " is refused: the attempt is over"


def test_a_command_after_a_suspension_is_refused_and_writes_nothing() -> None:
    """RDD508: the step in the finally block; its number is that of the next attempt's first step."""
    found = read(ROOT / "snippets" / "errors" / "finally-runs-on-suspension" / "evidence.json")
    trace = found.asides["step"].trace
    refused = [
        step
        for attempt in stories(trace)[0].attempts
        for step in attempt.steps
        if step.words[-1] == " is refused: the attempt is suspended"
    ]
    assert len(refused) == 2 and not any(step.mark for step in refused)
    written = {e.index: (e.name, e.line) for e in trace.invocations[0].journal}
    assert written[5][0] == written[6][0] == "count" and written[5] != written[7]


def test_the_command_that_the_journal_contradicts_is_told_and_none_after_it() -> None:
    """RDD402: another coroutine asks for its step before the error ends the attempt."""
    found = read(ROOT / "snippets" / "concurrency" / "gather-of-coroutines" / "evidence.json")
    first, *replays = stories(found.asides["named"].trace)[0].attempts
    assert Mark("written", "7") in [step.mark for step in first.steps]
    assert len(replays) == 2
    for attempt in replays:
        marks = [step.mark for step in attempt.steps if step.mark]
        assert marks[-1] == Mark("refused", "≠ 4")
        assert not [mark for mark in marks if mark.how == "written"]


def test_a_cause_speaks_of_code_that_stands_in_the_dont() -> None:
    for rule in catalogue.rules():
        run = rule.snippet("dont") + (rule.folder / "evidence.json").read_text()
        for code in re.findall(r"`(.+?)`", rule.cause):
            name = code.removesuffix("()")
            assert name in run or hasattr(restate, name), f"{rule.id} has no {name!r}"
