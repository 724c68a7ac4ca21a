"""Runs what a rule's proof runs, and does to it what its page advises: what tests of advice share."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from restate_guide.catalogue import ROOT, rules
from restate_guide.lab import Lab as LabInProof
from restate_guide.lab import Result, Stimulus, load
from restate_guide.lab.server import STATUSES
from tests.conftest import Lab

SNIPPETS = ROOT / "snippets"
PAGES = {rule.id: rule.text for rule in rules()}
"""The Markdown of each rule, read once."""
LATER = "invocation_retry_policy=restate.InvocationRetryPolicy(initial_interval=timedelta(hours=1))"
"""An option of a service or handler: what fails backs off for longer than any test lasts."""


def instead(
    lab: Lab,
    rule: Path,
    prove: Callable[[LabInProof], Awaitable[None]],
    stimulus: Stimulus | None = None,
    snippet: Path | None = None,
    **changes: Any,
) -> Result:
    """Runs a don't with calls of the test's own.

    Args:
        rule: the folder of its snippets.
        stimulus: another one than the proof's.
        snippet: another one than the don't.
        changes: what else of the proof is to be otherwise.
    """

    async def calls(in_proof: LabInProof) -> None:
        await prove(in_proof)

    proof = dataclasses.replace(load(rule), prove=calls, **changes)
    return lab.run(lab.laboratory.result(proof, snippet or proof.snippet("dont"), stimulus))


def afterwards(
    lab: Lab,
    rule: Path,
    then: Callable[[LabInProof], Awaitable[None]],
    stimulus: Stimulus | None = None,
    variant: str = "dont",
) -> Result:
    """Runs a don't, or what else stands beside it, as its proof does, and does something about it then."""
    proof = load(rule)

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await then(in_proof)

    return instead(lab, rule, prove, stimulus, proof.snippet(variant))


def in_place(lab: Lab, rule: Path, stimulus: Stimulus | None = None) -> Result:
    """Runs a don't; the worker that takes over has the fixed code."""
    proof = load(rule)
    fixed = dataclasses.replace(stimulus or proof.stimulus, successor="do")
    return lab.run(lab.laboratory.result(proof, proof.snippet("dont"), fixed))


async def pause_at_work(in_proof: LabInProof, target: str) -> None:
    """Pauses an invocation that waits for its step; what is accepted has yet to come to the attempt."""
    assert await in_proof.operate("pause", target) == 202
    await in_proof.until_still(0.3)


async def until_status(in_proof: LabInProof, target: str, status: str) -> None:
    """Waits until an invocation has a status."""
    stored = status in ("paused", "completed", "suspended", "scheduled")
    table = STATUSES if stored else "sys_invocation"
    await in_proof.until_row(
        f"select id from {table} where target = '{target}' and status = '{status}'"
    )


async def resume_on(in_proof: LabInProof, target: str, snippet: str = "do") -> None:
    """Registers a snippet as a new deployment, and resumes on it what is paused, to its end."""
    await until_status(in_proof, target, "paused")
    await in_proof.deploy(snippet)
    assert await in_proof.operate("resume", target, deployment="latest") == 200
    await until_status(in_proof, target, "completed")


async def deployment(in_proof: LabInProof, service: str) -> str:
    """The id of the deployment that new calls of a service go to."""
    return str((await in_proof.admin("GET", f"/services/{service}"))["deployment_id"])


async def resume_on_one_before_the_latest(
    in_proof: LabInProof, target: str, snippet: str, latest: str = "do"
) -> None:
    """Registers two snippets, one after the other, and resumes what is paused on the first, by its id."""
    await until_status(in_proof, target, "paused")
    await in_proof.deploy(snippet)
    first = await deployment(in_proof, target.partition("/")[0])
    await in_proof.deploy(latest)
    assert await in_proof.operate("resume", target, deployment=first) == 200
    await until_status(in_proof, target, "completed")


def queries(rule: str, invocation: str = "inv_…") -> list[str]:
    """The queries on the page of a rule (`RDD307`) that can be asked, with an invocation's id put in."""
    found = re.findall(r"^```sql\n(.*?)^```", PAGES[rule], re.M | re.S)
    asked = [sql.replace("inv_…", invocation) for sql in found]
    return [sql for sql in asked if "…" not in sql]


def changed(folder: Path, snippet: str, *changes: tuple[str, str]) -> Path:
    """A copy of a snippet (`communication/wrong-call-kind/dont`) with some of its lines written otherwise."""
    source = SNIPPETS / f"{snippet}.py"
    text = source.read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {source}"
        text = text.replace(old, new)
    copy = folder / source.name
    copy.write_text(text)
    return copy


def as_on_lambda(services: str) -> tuple[str, str]:
    """A change of a snippet whose app serves these: each answer comes as a whole, when the attempt ends.

    That is how the SDK's adapter for AWS Lambda gives it: `ResponseCollector` in its aws_lambda.py.
    """
    served = f"restate.app([{services}])"
    whole = f"""service = {served}


async def app(scope, receive, send):
    said = []

    async def collect(message):
        said.append(message)

    await service(scope, receive, collect)
    for message in said:
        await send(message)"""
    return f"app = {served}", whole
