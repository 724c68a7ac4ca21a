"""The pool: passes runs to the runner, two at a time, and starts another runner should that one end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
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
"""Seconds after which the runner is killed, with all that it runs, if a run does not end by itself."""
BEAT = 1.0
"""Seconds between two signs of life, by which a reader who left is noticed."""
PATIENCE = 5.0
"""Seconds that the runner has to end a run, or itself, when asked to."""

END = b""
"""Stands in a queue for the end of its run."""


class Busy(Exception):
    """All slots are taken."""


class Runner:
    """The process that runs are made in."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "restate_guide.live.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the server, whose end the runner notices
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._heard: dict[int, queue.SimpleQueue[bytes]] = {}
        """What each run has said and nobody has read yet."""
        self.has_ended = False
        threading.Thread(target=self._listen, daemon=True).start()

    def run(self, request: Json) -> Iterator[bytes]:
        """Has a run made, and passes on what happens as JSON lines, with a beat in between."""
        number, heard = next(self._numbers), queue.SimpleQueue[bytes]()
        with self._lock:
            self._heard[number] = heard
            if self.has_ended:
                heard.put(END)
        ends, line = time.monotonic() + OVERDUE, line_of({"kind": "beat"})
        self._tell({"run": number, **request})
        try:
            while line != END:
                yield line
                line = said(heard, BEAT)
                if time.monotonic() > ends:
                    yield line_of({"kind": "error", "text": "Ended: it did not come to an end."})
                    return
            if self.has_ended:
                yield line_of({"kind": "error", "text": "Ended, and all that ran beside it."})
        finally:
            self._tell({"stop": number})
            limit = time.monotonic() + PATIENCE
            while line != END:
                line = said(heard, BEAT)
                if time.monotonic() > limit:
                    self._process.kill()
            with self._lock:
                del self._heard[number]

    def end(self) -> None:
        """Ends the runner and all that belongs to it: its keeper notices, and tidies up."""
        assert self._process.stdin is not None
        with self._lock, contextlib.suppress(OSError):  # it may have ended by itself
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, request: Json) -> None:
        assert self._process.stdin is not None
        # If it has ended, every run hears of that.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(line_of(request))
            self._process.stdin.flush()

    def _listen(self) -> None:
        """Hands each line to the run that it belongs to, until the runner ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, _, words = line.partition(b" ")
            with self._lock:  # what is no run's, such as a print in a proof, is nobody's
                heard = self._heard.get(int(number)) if number.isdigit() else None
            if heard is not None:
                heard.put(words if words.strip() else END)
        with self._lock:
            self.has_ended = True
            for heard in self._heard.values():
                heard.put(END)


def said(heard: queue.SimpleQueue[bytes], patience: float) -> bytes:
    """The next line; a beat if none comes soon."""
    try:
        return heard.get(timeout=patience)
    except queue.Empty:
        return line_of({"kind": "beat"})


def line_of(words: Json) -> bytes:
    return (json.dumps(words) + "\n").encode()


class Pool:
    """The runner, and how many runs are under way in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._running = 0
        self._closed = False

    def prepare(self) -> None:
        """Starts the runner ahead of the first run."""
        with self._lock:
            self._ready()

    def _ready(self) -> Runner | None:
        """The runner; another one if it has ended. None once all is closed."""
        if self._runner is not None and self._runner.has_ended:
            self._runner.end()
            self._runner = None
        if self._runner is None and not self._closed:
            self._runner = Runner()
        return self._runner

    def run(self, request: Json) -> Iterator[bytes]:
        """A run's events as JSON lines; closing the iterator ends the run.

        Raises:
            Busy: as many run as may.
        """
        with self._lock:
            runner = self._ready()
            if runner is None or self._running >= SLOTS:
                raise Busy
            self._running += 1
        events = self._events(runner, request)
        next(events)
        return events

    def _events(self, runner: Runner, request: Json) -> Iterator[bytes]:
        try:
            yield b""  # taken at once: a reader who leaves before the first event frees the slot too
            yield from runner.run(request)
        finally:
            with self._lock:
                self._running -= 1

    def close(self) -> None:
        """Ends the runner, and with it what runs."""
        with self._lock:
            self._closed = True
            runner, self._runner = self._runner, None
        if runner is not None:
            runner.end()
