"""What the pages on calls and their keys claim beside their asides, done on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import PLAIN, Result, Stimulus, crash_before_journal, load
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab

CHAPTER = ROOT / "snippets" / "communication"


def changed(folder: Path, snippet: str, *changes: tuple[str, str]) -> Path:
    """A copy of a snippet (`wrong-call-kind/dont`) with some of its lines written otherwise."""
    source = CHAPTER / f"{snippet}.py"
    text = source.read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {source}"
        text = text.replace(old, new)
    copy = folder / source.name
    copy.write_text(text)
    return copy


def run(
    lab: Lab,
    slug: str,
    snippet: Path,
    calls: Callable[[LabInProof], Awaitable[object]] | None = None,
    answers: Sequence[object] | None = None,
    stimulus: Stimulus = PLAIN,
) -> Result:
    """Runs a snippet as its rule's proof does, or with other calls, which have other answers."""
    proof = load(CHAPTER / slug)
    if calls is not None:

        async def prove(in_proof: LabInProof) -> None:
            await calls(in_proof)

        proof = dataclasses.replace(proof, prove=prove)
    if answers is not None:
        promise = dataclasses.replace(proof.promise, answers=list(answers))
        proof = dataclasses.replace(proof, promise=promise)
    return lab.run(lab.laboratory.result(proof, snippet, stimulus))


@pytest.mark.server
def test_step_at_the_ingress_with_a_key_calls_once(lab: Lab, tmp_path: Path) -> None:
    """RDD301: a key drawn before the step brings it through the crash that repeats it without."""
    keyed = changed(
        tmp_path,
        "ingress-client-in-handler/step",
        ("def call_goodbye(user: str)", "def call_goodbye(user: str, key: str)"),
        ("service_call(goodbye, user)", "service_call(goodbye, user, idempotency_key=key)"),
        ("call_goodbye, user=user)", "call_goodbye, user=user, key=str(ctx.uuid()))"),
    )
    result = run(lab, "ingress-client-in-handler", keyed, stimulus=crash_before_journal("goodbye"))
    assert result.outcome.kind == "holds", result.outcome


@pytest.mark.server
@pytest.mark.parametrize(("variant", "end"), [("do", "failure"), ("dont", "success")])
def test_cancel_reaches_a_call_through_the_context_only(lab: Lab, variant: str, end: str) -> None:
    """RDD301."""
    called = "select completion_result, invoked_by_target from sys_invocation"
    called += " where target = 'Mails/goodbye' and status = 'completed'"
    found = []

    async def cancel(in_proof: LabInProof) -> None:
        mailed = in_proof.outside.hold("POST /mails", at_most=20.0)
        closing = asyncio.create_task(in_proof.call("Accounts/close", "ann"))
        await in_proof.until_effect("POST /mails")
        assert await in_proof.operate("cancel", "Accounts/close") == 202
        await in_proof.until_row(
            called
            if variant == "do"
            else "select j.id from sys_journal j join sys_invocation i on i.id = j.id "
            "where i.target = 'Accounts/close' and j.entry_type = 'Notification: Signal'"
        )
        mailed.set()
        await closing
        await in_proof.until_all_completed()
        found.extend(await in_proof.query(called))

    slug = "ingress-client-in-handler"
    result = run(lab, slug, CHAPTER / slug / f"{variant}.py", cancel)
    assert result.trace.calls[0].status == 409
    assert result.trace.effect_counts()["POST /mails"] == 1
    caller = {"invoked_by_target": "Accounts/close"} if variant == "do" else {}
    assert found == [{"completion_result": end, **caller}]


@pytest.mark.server
@pytest.mark.parametrize("kind", ["service_send", "object by generic_call", "workflow"])
def test_other_calls_without_a_key_go_to_the_empty_one(lab: Lab, tmp_path: Path, kind: str) -> None:
    """RDD302."""
    call = "    return await ctx.service_call(add, arg=10)"
    changes = {
        "service_send": [(call, "    ctx.service_send(add, arg=10)\n    return 0")],
        "object by generic_call": [
            (call, '    return int(await ctx.generic_call("Points", "add", b"10"))')
        ],
        "workflow": [
            ('restate.VirtualObject("Points")', 'restate.Workflow("Points")'),
            ("@points.handler()", "@points.main()"),
            ("ctx: restate.ObjectContext", "ctx: restate.WorkflowContext"),
        ],
    }[kind]
    snippet = changed(tmp_path, "wrong-call-kind/dont", *changes)
    keys = []

    async def place(in_proof: LabInProof) -> None:
        await in_proof.call("Orders/place", "ann")
        await in_proof.until_all_completed()
        keys.extend(
            await in_proof.query(
                "select target from sys_invocation where target_service_name = 'Points' "
                "and target_service_key = ''"
            )
        )

    result = run(lab, "wrong-call-kind", snippet, place, [0 if kind == "service_send" else 10])
    assert [row["target"] for row in keys] == ["Points//add"], result.trace.invocations
    assert [(state.key, state.value) for state in result.trace.state] == [("", 10)]


@pytest.mark.server
@pytest.mark.parametrize("where", ["a shared handler", "another key"])
def test_calls_that_stand_in_no_queue_of_the_callers(lab: Lab, tmp_path: Path, where: str) -> None:
    """RDD304."""
    changes = {
        "a shared handler": [
            ("@cart.handler()\nasync def empty(", '@cart.handler(kind="shared")\nasync def empty('),
            ('    ctx.clear("items")\n', '    await ctx.get("items")\n'),
        ],
        "another key": [("key=ctx.key()", 'key="bob"')],
    }[where]
    snippet = changed(tmp_path, "self-call-same-key/dont", *changes)
    result = run(lab, "self-call-same-key", snippet)
    assert [call.answer for call in result.trace.calls] == ["", ["pot"]]


@pytest.mark.server
def test_signal_answers_in_a_service(lab: Lab, tmp_path: Path) -> None:
    """RDD305: between two invocations, addressed by the id of the one that waits."""
    signal = changed(
        tmp_path,
        "promise-outside-workflow/dont",
        ("ctx: restate.WorkflowContext", "ctx: restate.Context"),
        ("ctx.promise(", "ctx.signal("),
        ('answer_to="answer"', "answer_to=ctx.request().id"),
        ("await answer.value()", "await answer"),
        (
            "\n\napp =",
            "\n\n@expenses.handler()\nasync def reply(ctx: restate.Context, id: str) -> None:\n"
            '    ctx.resolve_signal(id, "answer", "granted")\n\n\napp =',
        ),
    )

    async def answer(in_proof: LabInProof) -> None:
        claiming = asyncio.create_task(in_proof.call("Expenses/claim", "train ticket"))
        await in_proof.until_effect("POST /mails")
        await in_proof.call("Expenses/reply", in_proof.outside.ledger[0].body["answer to"])
        await claiming

    result = run(lab, "promise-outside-workflow", signal, answer, ["granted", ""])
    assert result.outcome.kind == "holds", result.outcome


@pytest.mark.server
def test_claim_with_a_promise_is_killed_and_made_anew(lab: Lab) -> None:
    """RDD305: the fixed code asks once more, and is answered."""
    slug = "promise-outside-workflow"
    proof = load(CHAPTER / slug)

    async def fix(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await in_proof.deploy("do")
        assert await in_proof.operate("kill", "Expenses/claim") == 200
        await in_proof.until_all_completed()
        claiming = asyncio.create_task(in_proof.call("Expenses/claim", "train ticket"))
        await in_proof.until_effect("POST /mails", times=2)
        await in_proof.resolve_awakeable(in_proof.outside.ledger[1].body["answer to"], "granted")
        await claiming

    trace = run(lab, slug, CHAPTER / slug / "dont.py", fix).trace
    assert trace.calls[-1].answer == "granted"


def test_type_checker_finds_the_promise_unless_the_annotation_lies(tmp_path: Path) -> None:
    """RDD305."""
    lies = changed(tmp_path, "promise-outside-workflow/dont").rename(tmp_path / "lies.py")
    true = ("ctx: restate.WorkflowContext", "ctx: restate.Context")
    changed(tmp_path, "promise-outside-workflow/dont", true)
    command = [sys.executable, "-m", "mypy", "--strict", lies.name, "dont.py"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert '"Context" has no attribute "promise"' in checked.stdout
    assert "dont.py" in checked.stdout
    assert "lies.py" not in checked.stdout


@pytest.mark.server
@pytest.mark.parametrize(
    ("key", "outcome"),
    [
        ('f"give-{pledge}-{os.urandom(8).hex()}"', "effect-repeated"),  # drawn by each request
        ('dict(scope["headers"])[b"x-drawn-once"].decode()', "holds"),  # drawn by the page, once
    ],
)
def test_when_a_key_is_drawn_counts(lab: Lab, tmp_path: Path, key: str, outcome: str) -> None:
    """RDD308."""
    snippet = changed(tmp_path, "time-in-idempotency-key/do", ('f"give-{pledge}"', key))

    async def twice(in_proof: LabInProof) -> None:
        edge = await in_proof.serve("edge")
        headers = {"x-drawn-once": "7f3a"}
        release = in_proof.outside.hold("POST /debits", at_most=20.0)
        path = "/pledges/pledge-1"
        first = asyncio.create_task(in_proof.post(edge, path, headers=headers))
        await in_proof.until_effect("POST /debits")
        first.cancel()
        await asyncio.wait({first})
        release.set()
        await in_proof.post(edge, path, headers=headers)
        await in_proof.until_all_completed()

    assert run(lab, "time-in-idempotency-key", snippet, twice).outcome.kind == outcome
