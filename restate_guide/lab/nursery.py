"""The nursery: a process that has imported all a worker needs, and forks workers on request.

Importing the SDK takes half a second of processor time, a fork ten milliseconds. It is started by the
keeper as `python -P nursery.py SOCKET` and connects to the lab's Unix socket. Requests and answers are
JSON lines; the listening socket that a worker is to serve on comes along as a file descriptor.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, TypedDict


class Request(TypedDict):
    """What the lab sends to have a worker forked."""

    worker: str
    """Its name, `3/worker-1`."""
    number: int
    snippet: str
    attribute: str
    """What of the snippet is served."""
    reports: str
    """Path of the Unix socket for its reports."""
    crash: dict[str, str]
    log: str
    env: dict[str, str]


def beside(name: str) -> ModuleType:
    """A module of this folder by its file: the guide's package would bring the whole lab along."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Nursery:
    """The workers forked so far, by process id."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.keeper = beside("keeper")
        self.prctl = self.keeper.prctl()
        self.names: dict[int, str] = {}
        self.worker = beside("worker")
        self.worker.read_certificates_once()
        gc.freeze()  # a worker that collects garbage would copy the pages that it shares with us

    def say(self, **words: Any) -> None:
        self.connection.sendall((json.dumps(words) + "\n").encode())

    def fork(self, request: Request, listener: int) -> None:
        nursery = os.getpid()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.setsid()
                self.prctl(self.keeper.PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != nursery:
                    os._exit(1)
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                self.connection.close()
                log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.environ.update(request["env"])
                code = self.worker.main(
                    request["snippet"],
                    request["attribute"],
                    request["reports"],
                    request["number"],
                    listener,
                    request["crash"],
                )
            finally:
                os._exit(code)
        os.close(listener)
        self.names[pid] = request["worker"]
        self.say(started=request["worker"], pid=pid)

    def kill(self, name: str) -> None:
        for pid, known in self.names.items():
            if known == name:
                os.kill(pid, signal.SIGKILL)  # a child not yet reaped: the id can't be another's

    def reap(self) -> None:
        """Collects what has ended, and says so."""
        while self.names:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self.say(ended=self.names.pop(pid), code=os.waitstatus_to_exitcode(status))

    def serve(self) -> None:
        """Does what the lab asks until the lab is gone."""
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        waiting = selectors.DefaultSelector()
        waiting.register(self.connection, selectors.EVENT_READ)
        waiting.register(woken, selectors.EVENT_READ)
        rest = b""
        listeners: list[int] = []
        while True:
            for key, _ in waiting.select():
                if key.fd == woken:
                    os.read(woken, 4096)
                    self.reap()
                    continue
                read, sent, _, _ = socket.recv_fds(self.connection, 65536, 16)
                if not read:
                    return
                listeners += sent
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    request = json.loads(line)
                    if "kill" in request:
                        self.kill(request["kill"])
                    else:
                        self.fork(request, listeners.pop(0))


if __name__ == "__main__":
    beside("limits").apply(dict(os.environ))  # workers inherit them
    to_lab = socket.socket(socket.AF_UNIX)
    nursery = Nursery(to_lab)  # imports the SDK before the lab is told that we are ready
    to_lab.connect(sys.argv[1])
    nursery.serve()
