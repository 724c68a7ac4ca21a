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

from restate_guide.catalogue import ROOT
from restate_guide.lab import Lab as LabInProof
from tests.bare import run
from tests.conftest import Lab, apart
from tests.fixes import changed
from tests.ports import free_port

pytestmark = pytest.mark.server

FILE = ROOT / "snippets" / "stopping" / "worker.py"
LABEL = "POST /labels/p-1"
HANDLER = "            loop.add_signal_handler(each, asked.set)  # in place of the SDK's\n"
HOOK = "            restate.server.install_shutdown_hook(loop, asked.set, each)\n"
TRIGGER = ", shutdown_trigger=idle"
WAITING = "        while under_way:\n"
LIMIT = 60.0
"""Seconds; a bound on a hang."""


@contextmanager
def serving(folder: Path, port: int, api: str, how: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of one's own, as the page has it; ended with the block."""
    how, _, waits = how.partition(", ") if how.endswith(", sleeping") else (how, "", "")
    changes = [("9080", str(port))]
    if how == "serve alone":
        changes += [(TRIGGER, "")]
    if waits:
        parcels = 'restate.Service("Parcels"'
        limits = ", inactivity_timeout=timedelta(seconds=4), abort_timeout=timedelta(seconds=1)"
        changes += [(parcels, parcels + limits)]
    if waits or how == "sleeping":
        step = '    return await ctx.run_typed("label"'
        sleep = "    await ctx.sleep(timedelta(seconds=5))\n"
        changes += [
            (step, sleep + step),
            ("import os\n", "import os\nfrom datetime import timedelta\n"),
        ]
    if how.startswith("hook"):
        changes += [(HANDLER, HOOK), (WAITING, "        while False:\n")]
    if how == "hook":
        changes += [
            ("    config = Config()\n", "    config = Config()\n    config.graceful_timeout = 20\n")
        ]
    changed(folder, "stopping/worker", *changes)
    argv = [sys.executable, "worker.py"]
    if how.startswith("command"):
        argv = [str(Path(sys.executable).with_name("hypercorn")), "--bind", f"127.0.0.1:{port}"]
        argv += [*(["--graceful-timeout", "20"] if how != "command alone" else []), "worker:app"]
    if how.endswith("--workers 0"):
        argv += ["--workers", "0"]
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


def test_a_worker_that_nobody_has_called_does_not_end_either(tmp_path: Path) -> None:
    """Served by `serve` alone: Hypercorn calls the app at the start."""
    port = free_port()
    with serving(tmp_path, port, "", "serve alone") as worker:
        apart(asyncio.run, listening(port))
        worker.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(2.0)


STAYS = ("serve alone", "command --workers 0")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("worker.py", signal.SIGTERM),
        ("worker.py", signal.SIGINT),
        *((how, signal.SIGTERM) for how in ("command", "hook", *STAYS)),
    ],
)
def test_a_worker_ends_after_the_step_under_way_unless_the_sdk_took_the_signal(
    lab: Lab, tmp_path: Path, how: str, told: signal.Signals
) -> None:
    async def prove(in_proof: LabInProof) -> None:
        port = free_port()
        with serving(tmp_path, port, in_proof.outside.url, how) as worker:
            await listening(port)
            await in_proof.admin("POST", "/deployments", {"uri": f"http://127.0.0.1:{port}"})
            printed = in_proof.outside.hold(LABEL, at_most=20.0)
            sending = asyncio.create_task(in_proof.call("Parcels/send", "p-1"))
            await in_proof.until_effect(LABEL)
            worker.send_signal(told)
            await asyncio.sleep(1.0)
            assert worker.poll() is None and not sending.done()
            printed.set()
            assert await sending == "p-1-1"
            if how in STAYS:
                await asyncio.sleep(2.0)
                assert worker.poll() is None
                assert await in_proof.call("Parcels/send", "p-1") == "p-1-2"
            else:
                await ended(worker)
                assert worker.returncode == 0

    result = run(lab, FILE, prove)
    assert result.trace.effect_counts() == {LABEL: 2 if how in STAYS else 1}


PARCELS = ("p-1", "p-2")
REFUSED = "select id from sys_invocation where last_failure is not null"


@pytest.mark.parametrize(
    ("how", "meanwhile", "repeated"),
    [
        ("worker.py", "ends", None),
        ("worker.py", "comes", None),
        ("command", "ends", None),
        ("command, all told", "ends", "p-2"),
        ("hook", "ends", "p-2"),
        ("hook", "comes", "p-1, if Hypercorn broke the connection"),
    ],
)
def test_what_is_under_way_survives_that_another_attempt_ends_or_comes(
    lab: Lab, tmp_path: Path, how: str, meanwhile: str, repeated: str | None
) -> None:
    """Served as the page has it; by the SDK's hook alone Hypercorn breaks it off."""

    async def prove(in_proof: LabInProof) -> None:
        port = free_port()
        effects = {parcel: f"POST /labels/{parcel}" for parcel in PARCELS}
        printed = [in_proof.outside.hold(effects[parcel], at_most=20.0) for parcel in PARCELS]
        with serving(tmp_path, port, in_proof.outside.url, how) as worker:
            await listening(port)
            await in_proof.admin("POST", "/deployments", {"uri": f"http://127.0.0.1:{port}"})
            calls = []
            for parcel in PARCELS:
                if parcel == "p-2" and meanwhile == "comes":
                    worker.send_signal(signal.SIGTERM)
                    await asyncio.sleep(1.0)
                calls.append(asyncio.create_task(in_proof.call("Parcels/send", parcel)))
                if parcel == "p-2" and meanwhile == "comes" and how == "hook":
                    await in_proof.until_row(REFUSED)
                else:
                    await in_proof.until_effect(effects[parcel])
            if meanwhile == "ends":
                tell = os.killpg if how.endswith("all told") else os.kill
                tell(worker.pid, signal.SIGTERM)
            for each in printed:
                await asyncio.sleep(1.0)
                each.set()
            if repeated:
                await asyncio.sleep(1.0)
            else:
                await ended(worker)
                assert worker.returncode == 0
        with serving(tmp_path, port, in_proof.outside.url, "worker.py"):
            await listening(port)
            await asyncio.gather(*calls)

    result = run(lab, FILE, prove)
    if repeated and repeated.endswith("broke the connection"):
        # Not where the server heard of the refusal before it had sent the call's body.
        repeated = "p-1" if "KeyError" in (tmp_path / "log.txt").read_text() else None
    assert result.trace.effect_counts() == {
        f"POST /labels/{parcel}": 2 if parcel == repeated else 1 for parcel in PARCELS
    }


@pytest.mark.parametrize("how", ["command", "command alone", "hook", "hook alone", "worker.py"])
def test_before_python_3_12_hypercorns_graceful_timeout_breaks_off_a_longer_step(
    lab: Lab, tmp_path: Path, how: str
) -> None:
    async def prove(in_proof: LabInProof) -> None:
        port = free_port()
        printed = in_proof.outside.hold(LABEL, at_most=20.0)
        with serving(tmp_path, port, in_proof.outside.url, how) as worker:
            await listening(port)
            await in_proof.admin("POST", "/deployments", {"uri": f"http://127.0.0.1:{port}"})
            sending = asyncio.create_task(in_proof.call("Parcels/send", "p-1"))
            await in_proof.until_effect(LABEL)
            worker.send_signal(signal.SIGTERM)
            await asyncio.sleep(5.0)
            printed.set()
            await asyncio.sleep(1.0)
        with serving(tmp_path, port, in_proof.outside.url, "worker.py"):
            await listening(port)
            await sending

    waits = sys.version_info >= (3, 12, 1) or not how.endswith("alone")
    assert run(lab, FILE, prove).trace.effect_counts() == {LABEL: 1 if waits else 2}


def test_a_handler_that_waits_keeps_the_worker(lab: Lab, tmp_path: Path) -> None:
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
            assert time.monotonic() - asked >= 4.0
            assert await sending == "p-1-1"

    result = run(lab, FILE, prove)
    assert result.trace.effect_counts() == {LABEL: 1}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="no RT0001 in 30 s on 3.12.1 and 3.13.0")
@pytest.mark.parametrize(
    ("how", "told"), [("command alone", signal.SIGTERM), ("serve alone", signal.SIGINT)]
)
def test_a_wait_beyond_hypercorns_graceful_timeout_keeps_worker_and_handler_from_going_on(
    lab: Lab, tmp_path: Path, how: str, told: signal.Signals
) -> None:
    """The second one is what Start here says of Ctrl-C."""
    aborted = "select id from sys_journal_events where event_json like '%RT0001%'"
    going_on = "select id from sys_journal where name = 'label'"

    async def prove(in_proof: LabInProof) -> None:
        port = free_port()
        with serving(tmp_path, port, in_proof.outside.url, f"{how}, sleeping") as worker:
            await listening(port)
            await in_proof.admin("POST", "/deployments", {"uri": f"http://127.0.0.1:{port}"})
            sending = asyncio.create_task(in_proof.call("Parcels/send", "p-1"))
            await in_proof.until_row(
                "select id from sys_journal where entry_type = 'Command: Sleep'"
            )
            worker.send_signal(told)
            await in_proof.until_row(aborted)
            assert worker.poll() is None and not sending.done()
            assert not await in_proof.query(going_on)
            assert await in_proof.operate("kill", "Parcels/send") == 200
            await sending

    assert run(lab, FILE, prove).trace.effect_counts() == {}
