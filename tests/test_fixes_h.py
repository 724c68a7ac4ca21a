"""What the pages of services and data tell operators to do, and what a type checker says of them."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
import typing
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import restate
from pydantic import BaseModel
from restate.serde import DefaultSerde

from restate_guide.catalogue import ROOT
from restate_guide.lab import Lab as LabInProof
from restate_guide.lab import Result, Stimulus, crash_after_effect, crash_after_step, load
from tests.conftest import Lab

SNIPPETS = ROOT / "snippets"


def run(lab: Lab, slug: str, then: Callable[[LabInProof], Awaitable[None]]) -> Result:
    """Runs a don't as its proof does, and does something about it afterwards."""
    proof = load(SNIPPETS / slug)

    async def prove(in_proof: LabInProof) -> None:
        await proof.prove(in_proof)
        await then(in_proof)

    mended = dataclasses.replace(proof, prove=prove)
    return lab.run(lab.laboratory.result(mended, proof.snippet("dont")))


@pytest.mark.server
@pytest.mark.parametrize(
    ("slug", "target", "effects"),
    [
        ("services/sync-handler", "Shop/delivered", {"POST /emails": 1}),
        ("services/await-on-sync-op", "Parcels/p-1/scan", {}),
        ("data/result-not-serializable", "Parcels/collect", {"POST /pickups": 4}),
    ],
)
def test_paused_resumes_on_the_fixed_code(
    lab: Lab, slug: str, target: str, effects: dict[str, int]
) -> None:
    """RDD706, RDD707: what was done isn't done again. RDD801: one more courier is ordered."""

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.deploy("do")
        assert await in_proof.operate("resume", target, deployment="latest") == 200
        await in_proof.until_all_completed()

    assert run(lab, slug, fix).trace.effect_counts() == effects


@pytest.mark.server
def test_whoever_asks_again_has_it_done_again(lab: Lab) -> None:
    """RDD706: a second mail goes out."""

    async def ask_again(in_proof: LabInProof) -> None:
        await in_proof.call("Shop/delivered/send", "ann")
        await in_proof.until_effect("POST /emails", times=2)

    run(lab, "services/sync-handler", ask_again)


@pytest.mark.server
def test_cancel_ends_a_step_that_never_gets_through(lab: Lab) -> None:
    """RDD801: and has it not executed once more."""
    target = "Parcels/collect"

    async def end(in_proof: LabInProof) -> None:
        assert await in_proof.operate("cancel", target) == 202
        await in_proof.until_all_completed()

    trace = run(lab, "data/result-not-serializable", end).trace
    assert trace.effect_counts() == {"POST /pickups": 3}


@pytest.mark.server
def test_key_of_a_paused_invocation_is_free_once_it_has_resumed(lab: Lab) -> None:
    """RDD707: the next scan waits in the queue until then."""
    target = "Parcels/p-1/scan"

    async def fix(in_proof: LabInProof) -> None:
        await in_proof.call(f"{target}/send", "Hamburg")
        await in_proof.until_row("select id from sys_invocation where status = 'pending'")
        await in_proof.deploy("do")
        paused = await in_proof.query("select id from sys_invocation where status = 'paused'")
        assert len(paused) == 1
        # Not by its target: that is the waiting one's, too.
        resume = f"/invocations/{paused[0]['id']}/resume?deployment=latest"
        (await in_proof._server.admin.patch(resume)).raise_for_status()
        await in_proof.until_all_completed()

    trace = run(lab, "services/await-on-sync-op", fix).trace
    assert [(state.name, state.value) for state in trace.state] == [("place", "Hamburg")]


@pytest.mark.server
@pytest.mark.parametrize(
    ("slug", "stimulus", "outcome"),
    [
        ("services/workflow-run-twice", crash_after_effect("POST /accounts"), "journal-mismatch"),
        (
            "services/control-in-the-data-plane",
            crash_after_effect("PUT /books/dune"),
            "journal-mismatch",
        ),
        ("data/json-changes-the-type", crash_after_step("reduced"), "retried-until-paused"),
    ],
)
def test_fixed_code_in_place(lab: Lab, slug: str, stimulus: Stimulus, outcome: str) -> None:
    """RDD702, RDD705, RDD802: an invocation under way does not get through."""
    proof = load(SNIPPETS / slug)
    in_place = dataclasses.replace(stimulus, successor="do")
    result = lab.run(lab.laboratory.result(proof, proof.snippet("dont"), in_place))
    assert result.outcome.kind == outcome, result.outcome


@pytest.mark.parametrize(
    ("slug", "says"),
    [
        ("services/await-on-sync-op", 'Incompatible types in "await" (actual type "None"'),
        ("data/foreign-awaitable", 'Argument 1 to "gather" has incompatible type'),
        ("services/sync-handler", "Success: no issues found"),
        ("data/json-changes-the-type", "Success: no issues found"),
        ("data/result-not-serializable", "Success: no issues found"),
    ],
)
def test_what_mypy_says_of_the_dont(slug: str, says: str, tmp_path: Path) -> None:
    """RDD707 and RDD804 are found without their `type: ignore`; RDD706, RDD801 and RDD802 never."""
    code = (SNIPPETS / slug / "dont.py").read_text()
    lines = [line.partition("  # type: ignore")[0] for line in code.splitlines()]
    (tmp_path / "service.py").write_text("\n".join([*lines, ""]))
    command = [sys.executable, "-m", "mypy", "--strict", "service.py"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert says in checked.stdout


def test_a_linter_advises_the_sync_handler() -> None:
    """RDD706: `unused-async` finds the do, and not the don't."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--preview", "--select=RUF029"]
    folder = SNIPPETS / "services" / "sync-handler"
    found = subprocess.run([*command, folder / "do.py"], capture_output=True, text=True)
    assert "declared `async`" in found.stdout
    assert "delivered" in found.stdout
    subprocess.run([*command, folder / "dont.py"], check=True, capture_output=True)


class Line(BaseModel):
    cents: int


class Everything(BaseModel):
    """What JSON has no type for, except sets of it."""

    day: date
    at: datetime
    price: Decimal
    id: UUID
    tags: set[int]
    raw: bytes
    by_row: dict[int, tuple[int, int]]


@pytest.mark.parametrize(
    "value",
    [
        date(2030, 5, 4),
        datetime(2030, 5, 4),
        Decimal("1.5"),
        UUID(int=0),
        {1},
        b"",
        [Line(cents=1)],
        {"a": Line(cents=1)},
    ],
    ids=repr,
)
def test_json_knows_none_of_these(value: Any) -> None:
    """RDD801."""
    with pytest.raises(TypeError, match="is not JSON serializable"):
        DefaultSerde[Any](type(value)).serialize(value)


def test_a_model_brings_all_of_them_back() -> None:
    """RDD801, RDD802."""
    value = Everything(
        day=date(2030, 5, 4),
        at=datetime(2030, 5, 4, 9),
        price=Decimal("1.50"),
        id=UUID(int=7),
        tags={1, 2},
        raw=b"abc",
        by_row={1: (3, 4)},
    )
    serde = DefaultSerde(Everything)
    assert serde.deserialize(serde.serialize(value)) == value


@pytest.mark.parametrize(
    "value", ["", "tea", 0, 7, 1.5, True, None, [1, "a", None], {"a": [1.5]}], ids=repr
)
def test_json_brings_these_back_as_they_were(value: Any) -> None:
    """RDD802."""
    serde = DefaultSerde[Any](type(value))
    again = serde.deserialize(serde.serialize(value))
    assert again == value
    assert type(again) is type(value)


WRITES = (
    "set clear clear_all service_send object_send workflow_send resolve_awakeable reject_awakeable"
)
AT_ONCE = "uuid random key request"
AWAITED = "get state_keys service_call object_call workflow_call run_typed sleep time"


def test_what_is_to_be_awaited() -> None:
    """RDD707: the table, by the annotations of the SDK."""

    def awaited(owner: type, name: str) -> bool:
        returned = inspect.signature(getattr(owner, name)).return_annotation
        kind = typing.get_origin(returned) or returned
        return isinstance(kind, type) and issubclass(kind, Awaitable)

    context = restate.WorkflowContext
    assert {name for name in AWAITED.split() if not awaited(context, name)} == set()
    assert {name for name in f"{WRITES} {AT_ONCE}".split() if awaited(context, name)} == set()
    assert all(awaited(restate.DurablePromise, name) for name in ("resolve", "reject", "peek"))
