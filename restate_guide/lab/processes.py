"""The lab's processes, started and ended through the keeper; and the nurseries that fork workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from restate_guide.lab import keeper, nursery
from restate_guide.lab.errors import LabError
from restate_guide.lab.limits import Limits


class Ends:
    """When processes end, and how: exit codes by name, negative for a signal."""

    def __init__(self) -> None:
        self._codes: dict[str, asyncio.Future[int]] = {}

    def expect(self, name: str) -> None:
        self._codes[name] = asyncio.get_running_loop().create_future()

    def hear(self, said: Mapping[str, object]) -> None:
        ended, code = said.get("ended"), said.get("code")
        if isinstance(ended, str) and isinstance(code, int) and not self._codes[ended].done():
            self._codes[ended].set_result(code)

    async def of(self, name: str) -> int:
        """Waits for the end of a process; its exit code."""
        return await asyncio.shield(self._codes[name])


class Processes:
    """The lab's temporary folder, and its processes by name."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.folder = folder
        self.ends = Ends()
        self._process = process
        self._listening = asyncio.create_task(self._listen())

    async def start(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Starts a process; its output goes to NAME.log in the folder."""
        self.ends.expect(name)
        await self._ask(start=name, argv=list(argv), env=dict(env))

    async def kill(self, name: str) -> None:
        """Ends a process with SIGKILL and waits until it is gone."""
        await self._ask(kill=name)
        await self.ends.of(name)

    async def sweep(self, run: str) -> None:
        """Ends what a run's processes had detached from themselves."""
        self.ends.expect(run)
        await self._ask(sweep=run)
        await self.ends.of(run)

    def log(self, name: str) -> str:
        """What a process has printed so far."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / f"{name}.log").read_text(errors="replace")
        return ""

    async def _ask(self, **request: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps(request) + "\n").encode())
        await self._process.stdin.drain()

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.ends.hear(json.loads(line))

    async def close(self) -> None:
        """Ends every process and removes the folder."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening
        shutil.rmtree(self.folder, ignore_errors=True)  # only if the keeper itself was killed


@contextlib.asynccontextmanager
async def processes() -> AsyncIterator[Processes]:
    """A keeper, and with it processes that end when the block does, or when the lab is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", keeper.__file__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the lab; the keeper tidies up after it
        env={name: value for name, value in os.environ.items() if name in ("PATH", "TMPDIR")},
    )
    assert process.stdout is not None
    try:
        hello = json.loads(await process.stdout.readline())
    except ValueError:
        raise LabError(
            "The lab's keeper did not start; is the temporary folder writable?"
        ) from None
    kept = Processes(process, Path(hello["folder"]))
    try:
        yield kept
    finally:
        await asyncio.shield(kept.close())


class Nursery:
    """A process that has imported all a worker needs, and forks workers: 10 ms instead of 500.

    Of one hash seed, as that can't be changed once a process runs.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.ends = Ends()
        self._connection = connection
        self._listening = asyncio.create_task(self._listen())

    async def fork(self, request: nursery.Request, listener: socket.socket) -> None:
        """Starts a worker, which inherits the listening socket."""
        self.ends.expect(request["worker"])
        line = (json.dumps(request) + "\n").encode()
        socket.send_fds(self._connection, [line], [listener.fileno()])

    async def kill(self, worker: str) -> None:
        """Ends a worker with SIGKILL and waits until it is gone."""
        line = (json.dumps({"kill": worker}) + "\n").encode()
        await asyncio.get_running_loop().sock_sendall(self._connection, line)
        await self.ends.of(worker)

    async def ended(self) -> None:
        """Waits until the nursery itself is gone."""
        await asyncio.shield(self._listening)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        rest = b""
        while read := await loop.sock_recv(self._connection, 65536):
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                self.ends.hear(json.loads(line))

    def close(self) -> None:
        self._listening.cancel()
        self._connection.close()


@contextlib.asynccontextmanager
async def start_nursery(kept: Processes, hash_seed: int, limits: Limits) -> AsyncIterator[Nursery]:
    """A nursery of one hash seed, ready to fork."""
    name = f"nursery-{hash_seed}"
    path = str(kept.folder / f"{name}.sock")
    program = (sys.executable, "-P", nursery.__file__, path)
    # What the test runner or the shell has set is no business of a worker's.
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONHASHSEED": str(hash_seed),
        **limits.environment(),
    }
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        listener.setblocking(False)
        await kept.start(name, program, environment)
        accepting = asyncio.create_task(asyncio.get_running_loop().sock_accept(listener))
        died = asyncio.create_task(kept.ends.of(name))
        await asyncio.wait({accepting, died}, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if not accepting.done():
            accepting.cancel()
            raise LabError(f"No worker can be started:\n{kept.log(name)}")
        connection, _ = accepting.result()
    forks = Nursery(connection)
    try:
        yield forks
    finally:
        forks.close()
