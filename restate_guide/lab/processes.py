"""The processes of one run, started and ended through the keeper."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from restate_guide.lab import keeper
from restate_guide.lab.errors import LabError


class Processes:
    """A run's folder, its workers' listening socket, and its processes by name."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        """Port of the listening socket that every worker of the run inherits."""
        self._process = process
        self._ended: dict[str, asyncio.Future[int]] = {}
        self._listening = asyncio.create_task(self._listen())

    async def start(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Starts a process; its output goes to NAME.log in the folder."""
        self._ended[name] = asyncio.get_running_loop().create_future()
        await self._ask(start=name, argv=list(argv), env=dict(env))

    async def kill(self, name: str) -> None:
        """Ends a process with SIGKILL and waits until it is gone."""
        await self._ask(kill=name)
        await self.ended(name)

    async def ended(self, name: str) -> int:
        """Waits for the end of a process; its exit code, negative for a signal."""
        return await asyncio.shield(self._ended[name])

    def is_running(self, name: str) -> bool:
        return name in self._ended and not self._ended[name].done()

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
            said = json.loads(line)
            if "ended" in said and not (ended := self._ended[said["ended"]]).done():
                ended.set_result(said["code"])

    async def close(self) -> None:
        """Ends every process of the run and removes its folder."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening
        shutil.rmtree(self.folder, ignore_errors=True)  # only if the keeper itself was killed


@contextlib.asynccontextmanager
async def processes() -> AsyncIterator[Processes]:
    """A keeper for the time of one run."""
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
        raise LabError("The lab's keeper did not start; is the temporary folder writable?") from None
    kept = Processes(process, Path(hello["folder"]), hello["port"])
    try:
        yield kept
    finally:
        await asyncio.shield(kept.close())
