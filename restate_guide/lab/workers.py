"""The lab's side of the workers: starts them, kills them, and keeps what they report of attempts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from restate_guide.lab import worker
from restate_guide.lab.errors import SnippetError
from restate_guide.lab.outside import ORIGIN_HEADER
from restate_guide.lab.processes import Processes
from restate_guide.lab.reading import AttemptReports
from restate_guide.lab.stimulus import Stimulus
from restate_guide.lab.trace import Moment

ENDED_BY_SIGKILL = -9
Say = Callable[..., None]


class Workers:
    """The workers of a run, of which one serves at a time, and the attempts that they made."""

    def __init__(
        self, snippet: Path, stimulus: Stimulus, processes: Processes, api_url: str, say: Say
    ) -> None:
        self.attempts: list[AttemptReports] = []
        self.asleep: list[str] = []
        """Invocations that wait in a durable sleep, or have."""
        self.changed = asyncio.Condition()
        """Notified whenever something was heard."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Has an exception once a worker is broken in a way that no stimulus asked for."""
        self._snippet = snippet
        self._stimulus = stimulus
        self._processes = processes
        self._api_url = api_url
        self._say = say
        self._serving = 0
        self._standby: dict[int, asyncio.StreamWriter] = {}
        self._heard_out: dict[int, asyncio.Event] = {}

    async def start(self) -> None:
        """Starts all workers: the first is let serve at once, the others stand by for their turn.

        They stand by because a Python process takes its time to import the SDK, and its hash seed
        can't be chosen later.
        """
        socket = str(self._processes.folder / "lab.sock")
        self._reports = await asyncio.start_unix_server(self._hear, socket)
        for number in range(1, self._stimulus.workers + 1):
            self._heard_out[number] = asyncio.Event()
            crash = dict(self._stimulus.crash_at) if number == 1 else {}
            program = (sys.executable, "-P", worker.__file__ or "", str(self._snippet), socket)
            environment = {
                "PATH": os.environ.get("PATH", ""),
                "PYTHONHASHSEED": str(number),
                "WORKER_NUMBER": str(number),
                "ORIGIN_HEADER": ORIGIN_HEADER,
                "API_URL": self._api_url,
            }
            await self._processes.start(
                f"worker-{number}", [*program, json.dumps(crash)], environment
            )
        self._watching = asyncio.create_task(self._watch())

    async def kill(self) -> None:
        """Kills the worker that serves."""
        await self._processes.kill(f"worker-{self._serving}")

    async def close(self) -> None:
        self._watching.cancel()
        self._reports.close()
        if self.failed.done():
            self.failed.exception()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for a condition that something heard brings about."""
        async with self.changed:
            await self.changed.wait_for(condition)

    async def notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _watch(self) -> None:
        """Lets one worker after another serve; fails if one ends without being killed."""
        for number in range(1, self._stimulus.workers + 1):
            ended = asyncio.create_task(self._processes.ended(f"worker-{number}"))
            standing_by = asyncio.create_task(self.until(lambda n=number: n in self._standby))  # type: ignore[misc]
            await asyncio.wait({ended, standing_by}, return_when=asyncio.FIRST_COMPLETED)
            if standing_by.done():
                self._serving = number
                self._standby[number].write(b"!")
            standing_by.cancel()
            code = await ended
            if number in self._standby:
                await self._heard_out[number].wait()
            if code != ENDED_BY_SIGKILL or number == self._stimulus.workers:
                if not self.failed.done():
                    log = self._processes.log(f"worker-{number}")
                    self.failed.set_exception(
                        SnippetError(f"Worker {number} ended with code {code}.\n{log}")
                    )
                return
            for attempt in self.attempts:
                if attempt.worker == number and attempt.ended is None:
                    attempt.end(Moment("killed"))
            self._say("stage", f"worker {number} is killed, worker {number + 1} takes over")

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One worker's reports, until its end."""
        number = 0
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                report = json.loads(line)
                match report["report"]:
                    case "standby":
                        number = report["number"]
                        self._standby[number] = writer
                    case "broken":
                        error = f"{self._snippet.name} can't be served:\n{report['traceback']}"
                        self.failed.set_exception(SnippetError(error))
                    case _ if report.get("attempt") is not None:
                        self._heed(number, report)
                await self.notify()
        if number:
            self._heard_out[number].set()
        writer.close()

    def find(self, worker_number: int, local: int) -> AttemptReports | None:
        """An attempt by its number within its worker."""
        return next(
            (a for a in self.attempts if (a.worker, a.local) == (worker_number, local)), None
        )

    def _heed(self, worker_number: int, report: dict[str, Any]) -> None:
        """Enters a report into its attempt."""
        if report["report"] == "attempt":
            attempt = AttemptReports(
                worker_number, report["attempt"], report["invocation"], report["known"]
            )
            self.attempts.append(attempt)
            self._say("attempt", f"an attempt begins, {attempt.known} journal entries known")
            return
        found = self.find(worker_number, report["attempt"])
        if found is None:
            return  # the SDK refused the attempt before it reached the handler
        attempt = found
        if report["report"] == "asleep":
            self.asleep.append(attempt.invocation)
            return
        if report["report"] == "finished":
            attempt.end(Moment("cut off"))
            return
        moment = self._moment(attempt, report)
        if moment is not None:
            attempt.moments.append(moment)
            self._say("moment", f"{moment.what} {moment.text}".strip(), line=moment.line)

    def _moment(self, attempt: AttemptReports, report: dict[str, Any]) -> Moment | None:
        """A report as a moment of its attempt."""
        command = report.get("command")
        issued = attempt.commands.get(command, {}) if command is not None else {}
        name = f"{issued.get('type', '')} {issued.get('name', '')}".strip()
        line = issued.get("line")
        match report["report"]:
            case "command":
                attempt.commands[report["command"]] = report
                text = " ".join(filter(None, (report["type"], report["name"], report["detail"])))
                return Moment("command", report["line"], command, report["replayed"], text)
            case "executing":
                return Moment("executing", line, command, False, name)
            case "executed" | "result" as what:
                failed = report["failed"]
                text = f"{name} failed: {failed}" if failed else name
                return Moment(what, line, command, False, text)  # type: ignore[arg-type]
            case "line":
                return Moment("line", report["line"], report["step"], None, report["text"])
            case "error":
                return Moment("error", report["line"], None, None, report["message"])
            case "suspended" if attempt.ends != "suspended":
                return Moment("suspended")
            case "output":
                return Moment("output", attempt.commands[max(attempt.commands)]["line"])
            case _:
                return None


@contextlib.asynccontextmanager
async def workers(
    snippet: Path, stimulus: Stimulus, processes: Processes, api_url: str, say: Say
) -> AsyncIterator[Workers]:
    """The workers for the time of one run."""
    crew = Workers(snippet, stimulus, processes, api_url, say)
    await crew.start()
    try:
        yield crew
    finally:
        await crew.close()
