"""The table on the page Awakeable, signal or promise, measured on a real server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import Lab as LabInProof
from restate_guide.lab import Result
from tests.bare import run
from tests.conftest import Lab

pytestmark = pytest.mark.server

FOLDER = ROOT / "snippets" / "waiting"


async def id_of(lab: LabInProof, target: str) -> str:
    rows = await lab.query(f"select id from sys_invocation where target = '{target}'")
    return str(rows[0]["id"])


def answers(result: Result) -> list[tuple[int | None, Any]]:
    """Status and answer of each call, those that somebody waited for first."""
    return [(call.status, call.answer) for call in result.trace.calls]


def test_signals_are_kept_before_the_wait_and_each_is_taken_once(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        billed = lab.outside.hold("POST /bills", at_most=20.0)
        collecting = asyncio.create_task(lab.call("Orders/collect", "order-1"))
        await lab.until_effect("POST /bills")
        invocation = await id_of(lab, "Orders/collect")
        await lab.call("Orders/paid", [invocation, "by card"])
        await lab.call("Orders/paid", [invocation, "by invoice"])
        billed.set()
        await collecting

    collected, *told = answers(run(lab, FOLDER / "signals.py", prove))
    assert collected == (200, ["by card", "by invoice"])
    assert [status for status, _ in told] == [200, 200]


def test_a_promise_is_kept_before_the_wait_and_refuses_a_second_answer(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        mailed = lab.outside.hold("POST /mails", at_most=20.0)
        running = asyncio.create_task(lab.call("Signup/ann/run"))
        await lab.until_effect("POST /mails")
        await lab.call("Signup/ann/approve", "Bea")
        await lab.call("Signup/ann/approve", "Carl")
        mailed.set()
        await running

    ran, first, second = answers(run(lab, FOLDER / "answers.py", prove))
    assert ran == (200, "Bea")
    assert first[0] == 200
    assert second[0] == 409


def test_a_second_answer_to_an_awakeable_is_taken_and_changes_nothing(lab: Lab) -> None:
    async def prove(lab: LabInProof) -> None:
        mailed = lab.outside.hold("POST /mails", at_most=20.0)
        asking = asyncio.create_task(lab.call("Desk/ask"))
        await lab.until_effect("POST /mails")
        id = lab.outside.ledger[0].body["answer to"]
        await lab.resolve_awakeable(id, "yes")
        await lab.resolve_awakeable(id, "no")
        mailed.set()
        await asking

    assert answers(run(lab, FOLDER / "answers.py", prove)) == [(200, "yes")]
