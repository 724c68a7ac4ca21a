"""The keeper: starts the lab's processes and ends all of them, whatever becomes of the lab.

It is a process of its own between the lab and everything that the lab starts. It owns the lab's
temporary folder and every child. When its standard input closes — the lab ended, failed or was killed
with SIGKILL — it kills what is left, grandchildren included, and removes the folder.

Uses the standard library only and is started with `python -I -S`, so that it is there in a moment.

Requests are JSON lines on standard input, answers JSON lines on standard output::

    {"start": "1/server", "argv": [...], "env": {...}}   ->  {"started": "1/server", "pid": 4711}
    {"kill": "1/server"}                                 ->  {"ended": "1/server", "code": -9}
    {"sweep": "run-1"}                                   ->  {"ended": "run-1", "code": 0}
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Collection
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LONGEST_FOLDER = 70  # leaves room for the name of a Unix socket within the 107 bytes of its address


def prctl() -> Callable[[int, int], object]:
    """Linux's prctl, or nothing where there is none: there the end of standard input has to do."""
    if not sys.platform.startswith("linux"):
        return lambda option, argument: None
    libc = ctypes.CDLL(None, use_errno=True)
    return lambda option, argument: libc.prctl(option, argument, 0, 0, 0)


class Keeper:
    """Children by name, and what it takes to end them."""

    def __init__(self) -> None:
        self.prctl = prctl()
        self.prctl(PR_SET_CHILD_SUBREAPER, 1)  # children that detach themselves stay ours
        self.names: dict[int, str] = {}
        self.folder = tempfile.mkdtemp(prefix="guide-")
        if len(self.folder) > LONGEST_FOLDER:
            os.rmdir(self.folder)
            self.folder = tempfile.mkdtemp(prefix="guide-", dir="/tmp")

    def say(self, **words: Any) -> None:
        os.write(1, (json.dumps(words) + "\n").encode())

    def start(self, name: str, argv: list[str], env: dict[str, str]) -> None:
        """Starts a child in a session of its own, its output in the folder as NAME.log."""
        log = os.open(f"{self.folder}/{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        keeper = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                self.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != keeper:  # the keeper died before prctl took effect
                    os._exit(1)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(log, 1)
                os.dup2(log, 2)
                for ignored in (signal.SIGINT, signal.SIGPIPE):
                    signal.signal(ignored, signal.SIG_DFL)
                os.execvpe(argv[0], argv, env)
            except OSError as error:
                os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
            os._exit(127)
        os.close(log)
        self.names[pid] = name
        self.say(started=name, pid=pid)

    def kill(self, name: str) -> None:
        for pid, known in self.names.items():
            if known == name:
                os.kill(pid, signal.SIGKILL)  # a child not yet reaped: the id can't be another's

    def reap(self) -> None:
        """Collects what has ended, and says so."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self.names.pop(pid, None)
            if name is not None:
                self.say(ended=name, code=os.waitstatus_to_exitcode(status))

    def sweep(self) -> None:
        """Kills what was handed to us as its parents are gone: children that a worker had detached."""
        while strangers := set(self.children()) - self.names.keys():
            kill_all(strangers)

    def end(self) -> None:
        """Kills every descendant, then removes the folder."""
        while children := self.children():
            kill_all(children)
        shutil.rmtree(self.folder, ignore_errors=True)

    def children(self) -> list[int]:
        """Own children, and on Linux also the orphans that were handed to us."""
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as listed:
                return [int(pid) for pid in listed.read().split()]
        except OSError:
            return list(self.names)

    def serve(self) -> None:
        """Does what the lab asks until the lab is gone."""
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        ended = False

        def stop(*_: object) -> None:
            nonlocal ended
            ended = True

        for harmless in (signal.SIGINT, signal.SIGPIPE):
            signal.signal(harmless, signal.SIG_IGN)
        for ending in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

        waiting = selectors.DefaultSelector()
        waiting.register(0, selectors.EVENT_READ)
        waiting.register(woken, selectors.EVENT_READ)
        rest = b""
        self.say(folder=self.folder)
        while not ended:
            for key, _ in waiting.select():
                if key.fd == woken:
                    os.read(woken, 4096)
                    self.reap()
                    continue
                read = os.read(0, 65536)
                if not read:
                    return
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    self.obey(json.loads(line))

    def obey(self, request: dict[str, Any]) -> None:
        if "start" in request:
            self.start(request["start"], request["argv"], request["env"])
        elif "sweep" in request:
            self.sweep()
            self.say(ended=request["sweep"], code=0)
        else:
            self.kill(request["kill"])


def kill_all(children: Collection[int]) -> None:
    """Ends children, and collects what is left of them."""
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    keeper = Keeper()
    try:
        keeper.serve()
    except BrokenPipeError:
        pass  # the lab is gone, and with it whoever would read what we say
    finally:
        keeper.end()
