"""The lab itself: it leaves nothing behind, disturbs nobody, and says what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from restate_guide import catalogue
from restate_guide.catalogue import ROOT
from restate_guide.lab import (
    LATE_REPLAY,
    PLAIN,
    Holds,
    LabError,
    Laboratory,
    Result,
    SnippetError,
    WaitsForever,
    laboratory,
    load,
)
from restate_guide.lab import (
    Lab as LabInProof,
)
from restate_guide.lab.evidence import dumps, prove
from restate_guide.lab.processes import processes
from restate_guide.lab.server import ADMIN_URL, COUNTS, INGRESS_URL, SETTINGS, Server, find_binary
from tests.bare import run
from tests.conftest import Lab, apart
from tests.ports import free_port

CHARGE_TWICE = ROOT / "snippets" / "determinism" / "run-action-not-idempotent"

pytestmark = pytest.mark.server


def left_behind(folder: Path) -> list[str]:
    """Processes that name a temporary folder in their command line, and what still lies in it."""
    commands = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in command:
                commands.append(command)
    return commands + [str(path) for path in folder.iterdir()]


def assert_nothing_left(folder: Path) -> None:
    """Nothing is left, or soon isn't: the keeper of a killed lab works on its own."""
    until = time.monotonic() + 10
    while (left := left_behind(folder)) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder with a short name: sockets lie in it, and pytest's own are too long for one."""
    with tempfile.TemporaryDirectory(prefix="left-") as name:
        yield Path(name)


HANGING = """
import asyncio, signal, sys
from pathlib import Path
from dataclasses import replace
from restate_guide.lab import laboratory, load

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored

async def prove(lab):
    asyncio.create_task(lab.call("Checkout/pay", "order-1"))
    await lab.until_effect("POST /charges")
    print("running", flush=True)
    {ending}

async def main():
    proof = replace(load(Path(sys.argv[1])), prove=prove)
    async with laboratory() as lab:
        await lab.result(proof, proof.snippet("do"))

asyncio.run(main())
"""


@contextlib.contextmanager
def lab_process(folder: Path, ending: str) -> Iterator[subprocess.Popen[str]]:
    """A lab in a process of its own, in the middle of a run, with its own temporary folder."""
    command = [sys.executable, "-c", HANGING.format(ending=ending), str(CHARGE_TWICE)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            if "sleep" in ending:
                seen = left_behind(folder)
                assert any("restate-server" in command for command in seen)
                assert any("nursery.py" in command for command in seen)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    "ending",
    [
        "return",
        "raise RuntimeError('the proof fails')",
        "await asyncio.wait_for(asyncio.sleep(60), 0.1)",
    ],
    ids=["ends", "fails", "times out"],
)
def test_nothing_is_left_when_the_lab(ending: str, folder: Path) -> None:
    with lab_process(folder, ending) as process:
        process.wait(20)
    assert process.returncode == (0 if ending == "return" else 1)
    assert_nothing_left(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_after_signal(number: signal.Signals, folder: Path) -> None:
    with lab_process(folder, "await asyncio.sleep(60)") as process:
        process.send_signal(number)
        process.wait(20)
    assert process.returncode != 0
    assert_nothing_left(folder)


def test_nothing_is_left_when_the_keeper_is_killed(folder: Path) -> None:
    with lab_process(folder, "await asyncio.sleep(3)") as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        keepers = [
            int(pid)
            for pid in children
            if b"keeper.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(keepers) == 1
        os.kill(keepers[0], signal.SIGKILL)
        process.wait(20)
    assert_nothing_left(folder)


def test_detached_grandchildren_are_ended(folder: Path) -> None:
    """A child that starts another session and orphans it is still found."""
    script = f"import os, time; os.fork() or (os.setsid(), os.fork() or time.sleep(60)); '{folder}'"

    async def start_and_leave() -> list[str]:
        async with processes() as kept:
            await kept.start("forker", [sys.executable, "-c", script], {})
            await kept.ends.of("forker")
            return left_behind(folder)

    assert apart(asyncio.run, start_and_leave()) != []
    assert left_behind(folder) == []


def test_snippet_that_fails_is_told_with_its_traceback(lab: Lab, tmp_path: Path) -> None:
    proof = load(CHARGE_TWICE)
    broken = tmp_path / "do.py"
    broken.write_text("import restate\napp = restate.app([undefined])\n")
    with pytest.raises(SnippetError, match=r'do\.py", line 2[\s\S]*undefined'):
        lab.run(lab.laboratory.result(proof, broken))


async def servers_of(
    lab: Laboratory,
    rule: str,
    variant: str,
    then: Callable[[LabInProof], Awaitable[Any]] | None = None,
) -> tuple[Server, Server]:
    """The servers of two runs, one after the other; the second one is looked at before its calls.

    Args:
        then: what is done after the calls of the first.
    """
    proof = load(catalogue.find(rule, catalogue.rules()).folder)
    servers: list[Server] = []

    async def prove(in_proof: LabInProof) -> None:
        servers.append(in_proof.server)
        (rows,) = await in_proof.query(COUNTS)
        assert {table for table, count in rows.items() if count} == {
            "sys_deployment",
            "sys_service",
        }
        (first, *_) = (await in_proof.admin("GET", "/services"))["services"]
        assert (first["public"], first["revision"]) == (True, 1)
        await proof.prove(in_proof)
        if then and len(servers) == 1:
            await then(in_proof)

    for _ in range(2):
        result = await lab.result(dataclasses.replace(proof, prove=prove), proof.snippet(variant))
        assert result.outcome == (proof.promise if variant == "do" else proof.symptom)
    first, second = servers
    return first, second


async def hide(in_proof: LabInProof) -> None:
    (service, *_) = (await in_proof.admin("GET", "/services"))["services"]
    await in_proof.admin("PATCH", f"/services/{service['name']}", {"public": False})


@pytest.mark.parametrize(
    ("rule", "variant"),
    [
        pytest.param("RDD102", "dont", id="a step"),
        pytest.param("RDD208", "dont", id="state"),
        pytest.param("RDD103", "dont", id="a paused invocation that has its key"),
        pytest.param("RDD306", "do", id="a promise"),
        pytest.param("RDD307", "do", id="an idempotency key"),
    ],
)
def test_a_server_that_can_be_emptied_is_used_again(lab: Lab, rule: str, variant: str) -> None:
    """What was set of a service by an operator is gone, too."""
    first, second = lab.run(servers_of(lab.laboratory, rule, variant, hide))
    assert first is second


@pytest.mark.parametrize(
    ("rule", "variant", "then"),
    [
        pytest.param("RDD404", "dont", None, id="suspended"),
        pytest.param("RDD303", "dont", None, id="a queue"),
        pytest.param("RDD509", "do", None, id="a sleep that was cancelled"),
        pytest.param("RDD704", "do", None, id="a delayed message"),
        pytest.param("RDD102", "do", LabInProof.restart_server, id="restarted"),
    ],
)
def test_a_server_that_may_have_something_due_is_not_used_again(
    lab: Lab, rule: str, variant: str, then: Callable[[LabInProof], Awaitable[Any]] | None
) -> None:
    first, second = lab.run(servers_of(lab.laboratory, rule, variant, then))
    assert first is not second


def test_a_server_with_settings_of_its_own_is_used_once(lab: Lab) -> None:
    first, second = lab.run(servers_of(lab.laboratory, "RDD603", "dont"))
    assert first is not second


def test_the_next_run_is_not_disturbed_by_one_that_failed(lab: Lab) -> None:
    proof = load(CHARGE_TWICE)
    assert lab.run(lab.laboratory.result(proof, proof.snippet("do"))).outcome == proof.promise


def test_snippets_swapped_for_real_make_the_proof_red(lab: Lab, tmp_path: Path) -> None:
    for name, source in (("do", "dont"), ("dont", "do"), ("proof", "proof")):
        (tmp_path / f"{name}.py").write_text((CHARGE_TWICE / f"{source}.py").read_text())
    proof = dataclasses.replace(load(tmp_path), asides={})
    do, dont = (proof.promise, proof.symptom)
    failures = lab.run(prove(lab.laboratory, proof)).failures()
    assert failures[:2] == [
        f"RDD102 do: expected {do!r}, but saw {dont!r}",
        f"RDD102 dont: expected {dont!r}, but saw {do!r}",
    ]


def test_trace_knows_lines_and_what_the_journal_answered(lab: Lab) -> None:
    proof = load(CHARGE_TWICE)
    source = proof.snippet("dont").read_text().splitlines()
    trace = lab.run(lab.laboratory.result(proof, proof.snippet("dont"))).trace
    (invocation,) = trace.invocations
    assert [a.ends for a in invocation.attempts] == ["killed", "output"]
    run = next(e for e in invocation.journal if e.type == "Command: Run")
    assert run.line and "ctx.run_typed" in source[run.line - 1]
    assert run.attempt == 1
    assert all(e.line and "httpx.post" in source[e.line - 1] for e in trace.effects)
    assert [e.attempt for e in trace.effects] == [1, 2]
    replayed = [m for m in invocation.attempts[1].moments if m.from_journal]
    assert [(m.what, m.text) for m in replayed] == [("command", "Run charge")]
    assert "RT0010" in [f.code for f in invocation.failures]


def test_runs_side_by_side_on_a_loaded_machine(lab: Lab) -> None:
    """Four runs at once, beside processes that take all the processor time that there is."""
    proof = load(CHARGE_TWICE)
    burn = [sys.executable, "-c", "while True: pass"]
    with contextlib.ExitStack() as stack:
        for _ in range(os.cpu_count() or 2):
            stack.callback((burner := subprocess.Popen(burn)).wait)
            stack.callback(burner.kill)

        async def four() -> list[Result]:
            names = ("do", "dont", "do", "dont")
            runs = (lab.laboratory.result(proof, proof.snippet(name)) for name in names)
            return await asyncio.gather(*runs)

        outcomes = [result.outcome for result in lab.run(four())]
    assert outcomes == [proof.promise, proof.symptom] * 2


@contextlib.asynccontextmanager
async def second_server(tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """A server of somebody else's: on TCP ports, with its own settings; its ingress and admin URL."""
    ports = {name: free_port() for name in ("ingress", "admin", "node")}
    environment = {
        **SETTINGS,
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_BIND_PORT": str(ports["node"]),
        "RESTATE_INGRESS__BIND_PORT": str(ports["ingress"]),
        "RESTATE_ADMIN__BIND_PORT": str(ports["admin"]),
    }
    async with processes() as kept:
        command = [str(find_binary()), "--base-dir", str(kept.folder / "data")]
        environment["TMPDIR"] = str(kept.folder)
        await kept.start("server", command, environment)
        ingress, admin = (f"http://127.0.0.1:{ports[name]}" for name in ("ingress", "admin"))
        async with httpx.AsyncClient(base_url=admin) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("/health")).is_success:
                        break
                await asyncio.sleep(0.02)
        yield ingress, admin


def test_uses_a_server_that_already_runs_and_leaves_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = load(CHARGE_TWICE)
    questions = catalogue.questions(catalogue.find("RDD102", catalogue.rules()))

    async def run_on_it() -> None:
        async with second_server(tmp_path) as (ingress, admin), laboratory() as lab:
            monkeypatch.setenv(INGRESS_URL, ingress)
            monkeypatch.setenv(ADMIN_URL, admin)
            monkeypatch.setenv("RESTATE_SERVER_BIN", "/nonexistent")  # none of ours is started
            async with httpx.AsyncClient() as client:
                proven = await prove(lab, proof, questions)
                assert proven.failures() == []
                assert dumps(proven.evidence()) == (CHARGE_TWICE / "evidence.json").read_text()
                for rule, variant in (("RDD208", "dont"), ("RDD208", "do"), ("RDD704", "dont")):
                    other = load(catalogue.find(rule, catalogue.rules()).folder)
                    result = await lab.result(other, other.snippet(variant))
                    wanted = other.promise if variant == "do" else other.symptom
                    assert result.outcome == wanted, f"{rule} {variant}"
                assert (await client.get(f"{admin}/deployments")).json()["deployments"] == []
                for table in ("sys_invocation", "state"):
                    rows = await client.post(
                        f"{admin}/query",
                        json={"query": f"select * from {table}"},
                        headers={"accept": "application/json"},
                    )
                    assert rows.json()["rows"] == [], table

    apart(asyncio.run, run_on_it())


def test_a_server_that_has_a_service_of_the_same_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its invocations would be taken for the run's, and removed."""
    proof = load(CHARGE_TWICE)

    async def run_on_it() -> None:
        async with second_server(tmp_path) as (ingress, admin), laboratory() as lab:
            monkeypatch.setenv(INGRESS_URL, ingress)
            monkeypatch.setenv(ADMIN_URL, admin)
            async with httpx.AsyncClient(base_url=admin) as client:
                port = free_port()
                # -B: a `mkdocs serve` of another test follows this folder, and would reload its pages.
                argv = ["-B", "-m", "hypercorn", "do:app", "--bind", f"127.0.0.1:{port}"]
                with subprocess.Popen(
                    [sys.executable, *argv], cwd=CHARGE_TWICE, stderr=subprocess.DEVNULL
                ) as owners:
                    try:
                        uri = {"uri": f"http://127.0.0.1:{port}"}
                        async with asyncio.timeout(30):
                            while not (await client.post("/deployments", json=uri)).is_success:
                                await asyncio.sleep(0.2)
                        with pytest.raises(LabError, match="has a service Checkout already"):
                            await lab.result(proof, proof.snippet("do"))
                        left = (await client.get("/deployments")).json()["deployments"]
                        assert [each["uri"].rstrip("/") for each in left] == [uri["uri"]]
                    finally:
                        owners.terminate()

    apart(asyncio.run, run_on_it())


def test_one_url_without_the_other_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INGRESS_URL, "http://127.0.0.1:1")
    monkeypatch.delenv(ADMIN_URL, raising=False)
    proof = load(CHARGE_TWICE)
    with pytest.raises(LabError, match="Set both"):
        lab.run(lab.laboratory.result(proof, proof.snippet("do")))


def test_server_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    proof = load(CHARGE_TWICE)

    async def run() -> None:
        async with laboratory() as lab:
            await lab.result(proof, proof.snippet("do"))

    monkeypatch.setenv("RESTATE_SERVER_BIN", "/bin/false")
    with pytest.raises(LabError, match="did not become healthy"):
        apart(asyncio.run, run())


def test_a_laboratory_keeps_to_the_server_that_it_has_found(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server for the next run may be starting while other code changes the environment."""
    found = load(CHARGE_TWICE)
    assert lab.run(lab.laboratory.result(found, found.snippet("do"))).outcome == found.promise
    monkeypatch.setenv("RESTATE_SERVER_BIN", "/bin/false")
    started = dataclasses.replace(found, server={"RESTATE_LOG_FILTER": "error"})
    assert lab.run(lab.laboratory.result(started, found.snippet("do"))).outcome == found.promise


def test_missing_server_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTATE_SERVER_BIN", "/nonexistent")
    with pytest.raises(LabError, match="can't be executed"):
        find_binary()
    monkeypatch.delenv("RESTATE_SERVER_BIN")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("platform.machine", lambda: "sparc")
    with pytest.raises(LabError, match=r"RESTATE_SERVER_BIN.*RESTATE_INGRESS_URL.*container"):
        find_binary()


def test_call_that_waits_for_ever_is_seen(lab: Lab, tmp_path: Path) -> None:
    """A handler that waits for something that nobody sends, and one that an operator could find."""
    snippet = tmp_path / "do.py"
    snippet.write_text(
        "import restate\n"
        "svc = restate.Service('S')\n"
        "@svc.handler()\n"
        "async def wait(ctx: restate.Context) -> None:\n"
        "    _, arrived = ctx.awakeable()\n"
        "    await arrived\n"
        "app = restate.app([svc])\n"
    )

    async def call(in_proof: LabInProof) -> None:
        await in_proof.call("S/wait", patience=1.0)

    proof = dataclasses.replace(
        load(CHARGE_TWICE), prove=call, stimulus=PLAIN, promise=Holds(answers=[None])
    )
    assert lab.run(lab.laboratory.result(proof, snippet)).outcome == WaitsForever("running")


NAPS = '''"""One handler sleeps while another answers."""

import os
from datetime import timedelta

import httpx
import restate

naps = restate.Service("Naps")


def work() -> None:
    httpx.post(os.environ["API_URL"] + "/works").raise_for_status()


@naps.handler()
async def nap(ctx: restate.Context) -> str:
    await ctx.sleep(timedelta(seconds=1))
    await ctx.run_typed("work", work)
    return "awake"


@naps.handler()
async def ping(ctx: restate.Context) -> str:
    return "pong"


app = restate.app([naps])
'''


@pytest.mark.server
def test_a_late_replay_kills_one_worker_though_a_handler_sleeps_and_another_answers(
    lab: Lab, tmp_path: Path
) -> None:
    """The second worker was killed for the sleep's end when the first had died before an answer."""
    snippet = tmp_path / "naps.py"
    snippet.write_text(NAPS)

    async def prove(in_proof: LabInProof) -> None:
        worked = in_proof.outside.hold("POST /works", at_most=20.0)
        napping = asyncio.create_task(in_proof.call("Naps/nap"))
        await in_proof.until_row("select id from sys_journal where entry_type = 'Command: Sleep'")
        assert await in_proof.call("Naps/ping") == "pong"
        await in_proof.until_effect("POST /works")
        await in_proof.until_still(0.3)  # time enough to kill it
        worked.set()
        assert await napping == "awake"

    trace = run(lab, snippet, prove, LATE_REPLAY).trace
    assert {attempt.worker for each in trace.invocations for attempt in each.attempts} == {1, 2}
