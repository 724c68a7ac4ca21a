"""The pool: runners that are ready, and those that run; each serves one run and ends."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

SLOTS = 2
"""Runs at a time; one more is refused."""
OVERDUE = 90.0
"""Seconds after which a runner is killed that does not end by itself."""
BEAT = 1.0
"""Seconds between two signs of life, by which a reader who left is noticed."""


class Busy(Exception):
    """All slots are taken."""


class Runner:
    """One process, from its start to the end of its run."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "restate_guide.live.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the server, whose end the runner notices
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def run(self, request: Json) -> Iterator[bytes]:
        """Sends the request, and passes on what happens as JSON lines, with a beat in between."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write((json.dumps(request) + "\n").encode())
        self._process.stdin.flush()
        output = self._process.stdout.fileno()
        os.set_blocking(output, False)
        rest, ends = b"", time.monotonic() + OVERDUE
        yield beat()
        with selectors.DefaultSelector() as waiting:
            waiting.register(output, selectors.EVENT_READ)
            while time.monotonic() < ends:
                if not waiting.select(BEAT):
                    yield beat()
                    continue
                read = os.read(output, 65536)
                if not read:
                    return
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    yield line + b"\n"
        yield line_of({"kind": "error", "text": "Ended: the run did not come to an end."})

    def end(self) -> None:
        """Ends the run and all that belongs to it: its keeper notices, and tidies up."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def line_of(said: Json) -> bytes:
    return (json.dumps(said) + "\n").encode()


def beat() -> bytes:
    return line_of({"kind": "beat"})


class Pool:
    """Runners for the runs to come, and how many run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready: list[Runner] = []
        self._running: set[Runner] = set()
        self._closed = False

    def prepare(self) -> None:
        """Starts runners ahead, one for each free slot."""
        with self._lock:
            if self._closed:
                return
            while len(self._ready) + len(self._running) < SLOTS:
                self._ready.append(Runner())

    def run(self, request: Json) -> Iterator[bytes]:
        """A run's events as JSON lines; closing the iterator ends the run.

        Raises:
            Busy: as many run as may.
        """
        with self._lock:
            if self._closed or len(self._running) >= SLOTS:
                raise Busy
            runner = self._ready.pop(0) if self._ready else Runner()  # the readiest
            self._running.add(runner)
        return self._events(runner, request)

    def _events(self, runner: Runner, request: Json) -> Iterator[bytes]:
        try:
            yield from runner.run(request)
        finally:
            runner.end()
            with self._lock:
                self._running.discard(runner)
            self.prepare()

    def close(self) -> None:
        """Ends all runners."""
        with self._lock:
            self._closed = True
            runners = [*self._ready, *self._running]
            self._ready.clear()
        for runner in runners:
            runner.end()
