"""The page Stopping a worker: what a worker does on SIGTERM, by the way it is served."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypercorn.config import Config

from restate_guide.catalogue import ROOT
from restate_guide.lab import Lab as LabInProof
from tests.bare import run
from tests.conftest import Lab, apart
from tests.fixes import changed
from tests.ports import free_port

pytestmark = pytest.mark.server

FILE = ROOT / "snippets" / "stopping" / "worker.py"
LABEL = "POST /labels"
HOOK = "    install_shutdown_hook(asyncio.get_running_loop(), stopping.set)\n"
TRIGGER = ", shutdown_trigger=stopping.wait"
LIMIT = 60.0
"""Seconds; a bound on a hang."""

WAITS_FOR_ALL = sys.version_info >= (3, 12, 1)
"""Whether Hypercorn waits for all that is under way: `Server.wait_closed`, which it awaits first, does."""


@contextmanager
def serving(folder: Path, port: int, api: str, how: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of one's own, as the page has it; ended with the block."""
    changes = [("9080", str(port))]
    if how == "serve alone":
        changes += [(TRIGGER, ""), (HOOK, "")]
    if how == "sleeping":
        step = '    return await ctx.run_typed("label"'
        sleep = "    await ctx.sleep(timedelta(seconds=5))\n"
        changes += [
            (step, sleep + step),
            ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ]
    if how in ("short", "sleeping"):
        changes.append(("graceful_timeout = 20.0", "graceful_timeout = 0.5"))
    changed(folder, "stopping/worker", *changes)
    argv = [sys.executable, "worker.py"]
    if how == "command":
        argv = [str(Path(sys.executable).with_name("hypercorn")), "--bind", f"127.0.0.1:{port}"]
        argv += ["--graceful-timeout", "20", "worker:app"]
    env = {**os.environ, "API_URL": api}
    with (folder / "log.txt").open("ab") as log:
        worker = subprocess.Popen(
            argv, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield worker
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


async def listening(port: int) -> None:
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                return
            except OSError:
                await asyncio.sleep(0.05)


async def ended(worker: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(LIMIT):
        while worker.poll() is None:
            await asyncio.sleep(0.05)


def test_hypercorn_waits_for_three_seconds_unless_told_otherwise() -> None:
    assert Config().graceful_timeout == 3.0


def test_a_worker_that_nobody_has_called_does_not_end_either(tmp_path: Path) -> None:
    """Served by `serve` alone: Hypercorn calls the app at the start."""
    port = free_port()
    with serving(tmp_path, port, "", "serve alone") as worker:
        apart(asyncio.run, listening(port))
        worker.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(2.0)


@pytest.mark.parametrize("how", ["worker.py", "command", "serve alone"])
def test_a_worker_ends_on_sigterm_after_the_step_under_way_unless_the_sdk_took_it(
    lab: Lab, tmp_path: Path, how: str
) -> None:
    async def prove(in_proof: LabInProof) -> None:
        port = free_port()
        with serving(tmp_path, port, in_proof.outside.url, how) as worker:
            await listening(port)
            await in_proof.admin("POST", "/deployments", {"uri": f"http://127.0.0.1:{port}"})
            printed = in_proof.outside.hold(LABEL, at_most=20.0)
            sending = asyncio.create_task(in_proof.call("Parcels/send", "p-1"))
            await in_proof.until_effect(LABEL)
            worker.send_signal(signal.SIGTERM)
            await asyncio.sleep(1.0)
            assert worker.poll() is None and not sending.done()
            printed.set()
            assert await sending == "label-1"
            if how == "serve alone":
                await asyncio.sleep(2.0)
                assert worker.poll() is None
                assert await in_proof.call("Parcels/send", "p-2") == "label-2"
            else:
                await ended(worker)
                assert worker.returncode == 0

    result = run(lab, FILE, prove)
    assert result.trace.effect_counts() == {LABEL: 2 if how == "serve alone" else 1}


def test_a_handler_that_waits_keeps_the_worker_until_the_time_is_over(
    lab: Lab, tmp_path: Path
) -> None:
    """And goes on at the next worker; on newer Pythons it is over by then."""

    async def prove(in_proof: LabInProof) -> None:
        port = free_port()
        with serving(tmp_path, port, in_proof.outside.url, "sleeping") as worker:
            await listening(port)
            await in_proof.admin("POST", "/deployments", {"uri": f"http://127.0.0.1:{port}"})
            sending = asyncio.create_task(in_proof.call("Parcels/send", "p-1"))
            await in_proof.until_row(
                "select id from sys_journal where entry_type = 'Command: Sleep'"
            )
            asked = time.monotonic()
            worker.send_signal(signal.SIGTERM)
            await ended(worker)
            assert time.monotonic() - asked >= (4.0 if WAITS_FOR_ALL else 0.5)
            if WAITS_FOR_ALL:
                assert await sending == "label-1"
                return
            assert not sending.done()
        with serving(tmp_path, port, in_proof.outside.url, "sleeping"):
            await listening(port)
            assert await sending == "label-1"

    result = run(lab, FILE, prove)
    assert result.trace.effect_counts() == {LABEL: 1}


def test_a_step_that_takes_longer_is_executed_again_and_ends_before_the_process(
    lab: Lab, tmp_path: Path
) -> None:
    async def prove(in_proof: LabInProof) -> None:
        port = free_port()
        printed = in_proof.outside.hold(LABEL, at_most=20.0)
        with serving(tmp_path, port, in_proof.outside.url, "short") as worker:
            await listening(port)
            await in_proof.admin("POST", "/deployments", {"uri": f"http://127.0.0.1:{port}"})
            sending = asyncio.create_task(in_proof.call("Parcels/send", "p-1"))
            await in_proof.until_effect(LABEL)
            worker.send_signal(signal.SIGTERM)
            if WAITS_FOR_ALL:
                await asyncio.sleep(2.0)  # four times as long as it may take
            else:
                await in_proof.until_row(
                    "select id from sys_invocation where status = 'backing-off' or retry_count > 1"
                )
            assert worker.poll() is None
            printed.set()
            await ended(worker)
        with serving(tmp_path, port, in_proof.outside.url, "worker.py"):
            await listening(port)
            await sending

    result = run(lab, FILE, prove)
    assert result.trace.effect_counts() == {LABEL: 1 if WAITS_FOR_ALL else 2}
