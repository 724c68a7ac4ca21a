"""The Markdown extension: what directives show, what they refuse, and that evidence stays text."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest
from markdown import Markdown

from restate_guide.catalogue import CHAPTERS
from restate_guide.lab import evidence
from restate_guide.lab.evidence import AsideObserved, Evidence, Observed, Survived, Verdict
from restate_guide.lab.trace import (
    Attempt,
    Call,
    Effect,
    Entry,
    Failure,
    Invocation,
    Moment,
    Trace,
)
from restate_guide.site.extension import DirectiveError, GuideExtension
from restate_guide.site.story import Code, stories

PAGE = """---
id: {id}
title: {title}
severity: high
since: "1.0"
sources: [I, P1, py]
related: []
symptom: effect-repeated
cause: The `charge` carries no key.
corrects: {corrects}
---

# {title}

Do it once.

[[rule {id}]]

## Why

Because.

## When it does not apply

Never.

## Fix code that already runs

Slowly.
"""

DONT = 'def charge(order):\n    return post("/charges", order)\n'
DO = 'def charge(order, key):\n    return post("/charges", order, key)\n'
HOSTILE = (
    "<script>alert(1)</script> &lt;b&gt; {: onclick=evil } [[RDD999]] \x1b[31m `tick` "
    "\x02wzxhzdk:0\x03"
)

TRACE = Trace(
    calls=(Call("Checkout/pay", "order-1", 200, "charge-2"),),
    invocations=(
        Invocation(
            id="inv-1",
            target="Checkout/pay",
            status="completed",
            invoked_by="ingress",
            attempts=(
                Attempt(
                    1,
                    worker=1,
                    known_entries=1,
                    ends="killed",
                    moments=(
                        Moment("command", 2, 1, False, "Run charge"),
                        Moment("executing", 2, 1, False, "Run charge"),
                        Moment("effect", 2, 1, None, "POST /charges"),
                        Moment("killed"),
                    ),
                ),
                Attempt(
                    2,
                    worker=2,
                    known_entries=2,
                    ends="output",
                    moments=(
                        Moment("command", 2, 1, True, "Run charge"),
                        Moment("executing", 2, 1, False, "Run charge"),
                        Moment("effect", 2, 1, None, "POST /charges"),
                        Moment("executed", 2, 1, False, "Run charge"),
                        Moment("result", 2, 1, False, "Run charge"),
                        Moment("command", None, 2, False, "Output"),
                        Moment("output"),
                    ),
                ),
            ),
            journal=(
                Entry(0, "Command: Input", "", 0, "order-1", None, None),
                Entry(1, "Command: Run", "charge", 1, None, 2, 1),
                Entry(2, "Notification: Run", "charge", 1, "charge-2", 2, 2),
                Entry(3, "Command: Output", "", 2, "charge-2", None, 2),
            ),
            failures=(Failure("TransientError", 500, "RT0010", "the connection broke", None),),
        ),
    ),
    effects=(
        Effect("POST /charges", {"order": "order-1"}, None, False, "inv-1", 1, 2, 1),
        Effect("POST /charges", {"order": "order-1"}, "uuid-1", True, "inv-1", 2, 2, 1),
    ),
)

REPEATED = Verdict(
    "effect-repeated",
    "Effect repeated",
    "POST /charges ×2",
    "POST /charges happened 2 times.",
    {"effect": "POST /charges", "times": 2},
)
HOLDS = Verdict(
    "holds",
    "Holds",
    "POST /charges ×1",
    "All is well.",
    {"effects": {"POST /charges": 1}, "lines": {}},
)


def recorded(rule: str, trace: Trace = TRACE) -> Evidence:
    return Evidence(
        rule,
        "crash",
        "The worker dies.",
        {"restate-server": "1.7.12"},
        do=Observed(HOLDS, trace),
        dont=Observed(REPEATED, trace),
        survives=(Survived("replay", "the attempt ends at every await", 2),),
        asides={
            "journaled": AsideObserved(
                "Once `it` is journaled, it stays.", "dont", "killed later", HOLDS, trace
            ),
            "other": AsideObserved("Another file.", "other", "a plain call", HOLDS, trace),
        },
    )


def write_rule(root: Path, id: str, title: str, found: Evidence, corrects: str = "null") -> None:
    """A whole rule in a checkout."""
    slug = id.lower()
    page = root / "docs" / "rules" / "determinism" / f"{slug}.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(PAGE.format(id=id, title=title, corrects=corrects))
    folder = root / "snippets" / "determinism" / slug
    folder.mkdir(parents=True)
    (folder / "dont.py").write_text(DONT)
    (folder / "do.py").write_text(DO)
    (folder / "other.py").write_text('"""Another file."""\n')
    (folder / "proof.py").write_text("")
    (folder / "evidence.json").write_text(evidence.dumps(found))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_rule(tmp_path, "RDD101", "Charge `once`", recorded("RDD101"))
    write_rule(tmp_path, "RDD102", "Give a key", recorded("RDD102"), corrects="It is so.")
    return tmp_path


def render(root: Path, text: str) -> str:
    guide = GuideExtension(root=str(root))
    return Markdown(extensions=[guide, "admonition", "attr_list", "toc"]).convert(text)


def words(rendered: str) -> str:
    """What a reader sees: the text without tags, spaces collapsed."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", rendered)).split())


def test_a_rule_shows_its_pair_its_verdicts_and_its_trace(root: Path) -> None:
    shown = render(root, "# Charge\n\n[[rule RDD101]]\n")
    said = words(shown)
    for expected in (
        "− def charge (order):",
        "+ def charge (order , key ):",
        "Effect repeated : POST /charges ×2 . POST /charges happened 2 times.",
        "The worker dies.",
        "Attempt 1 : worker 1, has nothing to replay",
        "Attempt 2 : worker 2, has 2 journal entries to replay",
        "Step charge had begun, but the journal holds no result of it: it runs again",
        "Cause : The charge carries no key.",
        "known, and not done again",
        "the server sees RT0010",
        "restate-server 1.7.12",
        "the attempt ends at every await (2 attempts)",
        "table I of the original Go guide; its prompt P1; what Python code gets wrong",
    ):
        assert expected in said
    assert shown.startswith(
        '<h1 id="rdd101-charge"><span class="rule-id">RDD101</span> Charge</h1>'
    )


def test_line_numbers_of_a_trace_lead_to_lines_of_the_code(root: Path) -> None:
    shown = render(
        root, "[[rule RDD101]]\n\n[[aside RDD101 journaled]]\n\n[[aside RDD101 other]]\n"
    )
    ids = re.findall(r'id="([^"]+)"', shown)
    assert len(ids) == len(set(ids))
    targets = set(re.findall(r'href="#([^"]+)"', shown))
    assert "rdd101-dont-l2" in targets
    assert targets - {"rdd101-other-l2"} <= set(ids)  # that file has no second line


def test_an_aside_shows_its_code_only_where_the_page_has_not(root: Path) -> None:
    shown = render(
        root, "[[rule RDD101]]\n\n[[aside RDD101 journaled]]\n\n[[aside RDD101 other]]\n"
    )
    assert len(re.findall(r'<pre [^>]*class="listing"', shown)) == 3


def test_an_aside_stands_in_a_box(root: Path) -> None:
    shown = render(root, "!!! corrects\n\n    So:\n\n    [[aside RDD101 journaled]]\n")
    box = shown[shown.index("admonition") :]
    assert "Once <code>it</code> is journaled" in box
    assert words(box).endswith("known by its key")


def test_an_id_in_a_sentence_is_a_link(root: Path) -> None:
    shown = render(root, "See [[RDD102]], *and* [[RDD101]].")
    assert words(shown) == "See RDD102 Give a key , and RDD101 Charge once ."
    assert shown.count('href="/rules/determinism/rdd102.md"') == 1


def test_code_is_left_alone(root: Path) -> None:
    shown = render(root, "`[[RDD102]]` and\n\n    [[rule RDD102]]\n")
    assert "[[RDD102]]" in shown
    assert "[[rule RDD102]]" in shown


def test_a_chapter_a_list_of_symptoms_and_of_corrections(root: Path) -> None:
    assert (
        words(render(root, "[[rules determinism]]")).count("Effect repeated POST /charges ×2") == 2
    )
    chapters = words(render(root, "[[chapters]]"))
    assert chapters.startswith("Determinism About the chapter: Determinism Rule Without it")
    assert chapters.endswith("Still to come " + ", ".join([*CHAPTERS.values()][1:]) + ".")
    assert 'href="/symptoms/journal-mismatch.md"' in render(root, "[[symptoms]]")
    said = words(render(root, "[[corrects]]"))
    assert "“It is so.”" in said
    assert "RDD101" not in said


def test_the_front_page_shows_the_functions_only(root: Path) -> None:
    dont = root / "snippets" / "determinism" / "rdd101" / "dont.py"
    dont.write_text('"""Charges."""\n\nimport os\n\n\n' + DONT)
    said = words(render(root, "[[moments RDD101]]"))
    assert "import os" not in said
    assert "6 − def charge" in said
    assert "Charges." in said


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[rule RDD10]]", r"page\.md:1: \[\[rule RDD10\]\]: There is no rule 'RDD10'.* RDD101"),
        ("See [[RDD103]].", r"page\.md:1: \[\[RDD103\]\]: There is no rule 'RDD103'.* RDD102"),
        ("[[aside RDD101 journal]]", r"RDD101 has no aside 'journal'. Did you mean journaled"),
        ("[[rules determinsm]]", r"no chapter 'determinsm'. Did you mean determinism"),
        ("[[rul RDD101]]", r"no directive 'rul'. Did you mean rule"),
        ("[[rule]]", r"It takes 1 words after 'rule', not 0"),
        ("See [[rule RDD101]].", r"It stands alone on its line"),
    ],
)
def test_what_is_not_there_fails_and_names_the_page_and_the_nearest(
    root: Path, text: str, complaint: str
) -> None:
    (root / "docs" / "page.md").write_text(text)
    with pytest.raises(DirectiveError, match=complaint):
        render(root, text)


def hostile_trace() -> Trace:
    """A trace in which everything that comes from outside is hostile."""
    invocation = TRACE.invocations[0]
    moments = (
        Moment("command", 2, 1, False, f"Run {HOSTILE}"),
        Moment("line", 2, None, None, HOSTILE),
        Moment("error", 2, None, None, HOSTILE),
    )
    return Trace(
        calls=(Call(HOSTILE, HOSTILE, 500, HOSTILE),),
        invocations=(
            replace(
                invocation,
                attempts=(replace(invocation.attempts[0], ends="error", moments=moments),),
                journal=(Entry(0, f"Command: {HOSTILE}", HOSTILE, 1, HOSTILE, 2, 1),),
                failures=(Failure("TransientError", 500, "", f"{HOSTILE}\n{HOSTILE}", None),),
            ),
        ),
        effects=(Effect(HOSTILE, HOSTILE, HOSTILE, False, "inv-1", 1, 2, 1),),
        measured={HOSTILE: HOSTILE},
    )


def test_nothing_in_the_evidence_becomes_markup(tmp_path: Path) -> None:
    hostile = recorded("RDD101", hostile_trace())
    hostile = replace(
        hostile,
        stimulus=HOSTILE,
        dont=replace(hostile.dont, verdict=replace(REPEATED, short=HOSTILE, sentence=HOSTILE)),
    )
    write_rule(tmp_path, "RDD101", "Charge once", hostile)
    shown = render(tmp_path, "# Charge\n\n[[rule RDD101]]\n\n[[aside RDD101 journaled]]\n")
    assert "<script" not in shown
    assert not re.search(r"<[^>]*onclick", shown)
    assert "\x1b" not in shown
    assert "\x02" not in shown
    # What is shown is what was recorded: the entity that stood there as text still stands there.
    assert html.unescape(shown).count("&lt;b&gt;") >= 10
    assert "␛[31m" in shown


def test_a_saved_file_is_read_again_and_an_unchanged_one_is_not(root: Path) -> None:
    assert "Give a key" in render(root, "[[RDD102]]")
    page = root / "docs" / "rules" / "determinism" / "rdd102.md"
    page.write_text(page.read_text().replace("Give a key", "Give two keys"))
    assert "Give two keys" in render(root, "[[RDD102]]")


def told(trace: Trace) -> list[str]:
    """The words of all steps of a trace."""
    return [
        "".join(word.text if isinstance(word, Code) else word for word in step.words)
        for story in stories(trace)
        for attempt in story.attempts
        for step in attempt.steps
    ]


def test_a_command_in_a_step_is_told_also_where_the_server_has_no_such_step() -> None:
    invocation = TRACE.invocations[0]
    inside = Moment("command", 2, 2, False, "SetState tea", within=1)
    attempt = Attempt(1, worker=1, known_entries=1, ends="killed", moments=(inside,))
    known = replace(invocation, attempts=(attempt,))
    unknown = replace(known, journal=())
    assert told(replace(TRACE, invocations=(known,), effects=())) == [
        "SetState tea is asked for, inside step charge"
    ]
    assert told(replace(TRACE, invocations=(unknown,), effects=())) == [
        "SetState tea is asked for, inside a step"
    ]


def test_a_mismatch_says_what_the_journal_has_and_what_the_code_asks_for() -> None:
    invocation = TRACE.invocations[0]
    mismatch = "Found a mismatch between the code paths"
    attempt = Attempt(
        2,
        worker=2,
        known_entries=3,
        ends="error",
        moments=(
            Moment("command", 2, 1, True, "Run refund"),
            Moment("error", 2, None, None, f'VMException("(570) {mismatch}")'),
        ),
    )
    trace = replace(
        TRACE,
        invocations=(
            replace(
                invocation,
                status="paused",
                attempts=(attempt, replace(attempt, number=3), replace(attempt, number=4)),
                failures=(Failure("Paused", 570, "RT0016", mismatch, 1),),
            ),
        ),
    )
    assert told(trace) == [
        "The code asks for step refund, but the journal has step charge here",
        "RT0016 journal mismatch: the attempt ends",
        "The code asks for step refund, but the journal has step charge here",
        "RT0016 journal mismatch: the attempt ends; the server pauses the invocation",
    ]
    assert [a.numbers for a in stories(trace)[0].attempts] == [(2, 3), (4,)]


def test_many_answers_from_the_journal_are_told_as_one() -> None:
    invocation = TRACE.invocations[0]
    moments = tuple(
        Moment(what, 2, n, True, f"Run {n}") for n in range(1, 6) for what in ("command", "result")
    )
    journal = tuple(
        Entry(2 * n + side - 2, f"{kind}: Run", str(n), n, n if side else None, 2, 1)
        for n in range(1, 6)
        for side, kind in enumerate(("Command", "Notification"), 1)
    )
    attempt = Attempt(1, worker=1, known_entries=11, ends="output", moments=moments)
    trace = replace(
        TRACE, invocations=(replace(invocation, attempts=(attempt,), journal=journal),), effects=()
    )
    assert told(trace) == ["1, 2, 3, 4, 5: all from the journal"]


def test_what_does_not_happen_is_told() -> None:
    invocation = TRACE.invocations[0]
    moments = (Moment("command", 2, 1, False, "Run charge"), Moment("output"))
    journal = tuple(entry for entry in invocation.journal if entry.index != 2)
    forgotten = replace(
        invocation,
        attempts=(Attempt(1, worker=1, known_entries=1, ends="output", moments=moments),),
        journal=journal,
    )
    assert told(replace(TRACE, invocations=(forgotten,), effects=()))[:2] == [
        "Step charge is issued",
        "The handler returns",
    ]
    waiting = replace(
        forgotten,
        status="suspended",
        attempts=(replace(forgotten.attempts[0], moments=(Moment("suspended"),)),),
    )
    assert told(replace(TRACE, invocations=(waiting,), effects=())) == [
        "The attempt is suspended, until something comes from outside",
        "Nothing more happens: the invocation stays suspended, and no timer will wake it",
    ]


def test_an_end_that_no_worker_heard_of_is_told() -> None:
    """The server refuses a command, or breaks an attempt off: its log of errors has the reason."""
    invocation = TRACE.invocations[0]
    asked = (Moment("command", 2, 1, False, "SetState tea"),)
    refused = Failure("TransientError", 500, "RT0017", "this handler type cannot write state", None)
    attempts = (
        Attempt(1, worker=1, known_entries=1, ends="output", moments=(*asked, Moment("output"))),
        Attempt(
            2, worker=1, known_entries=1, ends="suspended", moments=(*asked, Moment("suspended"))
        ),
    )
    trace = replace(
        TRACE,
        invocations=(
            replace(
                invocation, status="paused", attempts=attempts, journal=(), failures=(refused,)
            ),
        ),
        effects=(),
    )
    ends = "The server ends the attempt: RT0017 this handler type cannot write state"
    assert told(trace) == [
        "SetState tea is asked for",
        "The handler returns",
        ends,
        "SetState tea is asked for",
        f"{ends}; the server pauses the invocation",
    ]
    heard = replace(refused, code="RT0010")
    unrefused = replace(trace.invocations[0], failures=(heard,))
    assert "The attempt is suspended, until something comes from outside" in told(
        replace(trace, invocations=(unrefused,))
    )


def test_what_comes_about_too_often_says_so() -> None:
    trace = replace(TRACE, effects=(TRACE.effects[0], replace(TRACE.effects[1], duplicate=False)))
    said = [
        "".join(word.text if isinstance(word, Code) else word for word in step.words)
        for attempt in stories(trace, {"POST /charges": 1})[0].attempts
        for step in attempt.steps
        if step.kind == "effect"
    ]
    assert [words.endswith(" for the second time") for words in said] == [False, True]
