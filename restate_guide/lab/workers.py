"""The lab's side of the workers: starts them, kills them, and keeps what they report of attempts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from restate_guide.lab.errors import SnippetError
from restate_guide.lab.processes import Nursery
from restate_guide.lab.reading import AttemptReports
from restate_guide.lab.stimulus import Stimulus
from restate_guide.lab.trace import Moment

ENDED_BY_SIGKILL = -9
Say = Callable[..., None]
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What the workers of one run have to know."""

    snippet: Path
    stimulus: Stimulus
    folder: Path
    """The run's own, within the lab's."""
    listener: socket.socket
    """It outlives the workers: a call made while none runs waits for the next one."""
    env: dict[str, str]
    nursery: Callable[[int], Nursery]
    """The nursery of the hash seed for the worker of this number."""


class Workers:
    """The workers of a run, one after another, and the attempts that they made."""

    def __init__(self, plan: Plan, say: Say) -> None:
        self.attempts: list[AttemptReports] = []
        self.asleep: list[str] = []
        """Invocations that wait in a durable sleep, or have."""
        self.woken = False
        """Whether something came to a worker in a sleep, and it waits to be killed."""
        self.changed = asyncio.Condition()
        """Notified whenever something was heard."""
        self.heard_at = time.monotonic()
        """When something was last heard."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Has an exception once a worker is broken in a way that no stimulus asked for."""
        self.start_seconds = 0.0
        """From the fork of the first worker until it served."""
        self._plan = plan
        self._say = say
        self.others: dict[int, str] = {}
        """Files that workers serve which don't serve the run's own snippet, by number of the worker."""
        self._serving = 0
        self._heard_out: dict[int, asyncio.Event] = {}
        self._beside: dict[int, socket.socket] = {}
        """Listening sockets of the processes that serve beside the first worker and its successors."""

    async def start(self) -> None:
        """Starts the first worker; each next one starts when the one before it was killed."""
        self._reports = await asyncio.start_unix_server(
            self._hear, str(self._plan.folder / "reports.sock")
        )
        self._began = time.monotonic()
        self._watching = asyncio.create_task(self._serve())

    async def kill(self, number: int | None = None) -> None:
        """Kills the worker that serves, or the one of this number; nothing, if that is gone already."""
        number = self._serving if number is None else number
        await self._plan.nursery(number).kill(self._name(number))

    async def close(self) -> None:
        self._watching.cancel()
        if self._serving and not self.failed.done():
            await self.kill()
        for number, listener in self._beside.items():
            await self._plan.nursery(number).kill(self._name(number))
            listener.close()
        self._reports.close()
        if self.failed.done():
            self.failed.exception()  # it has been raised, or the run failed for another reason

    def _name(self, number: int) -> str:
        return f"{self._plan.folder.name}/worker-{number}"

    async def unless_broken(self, task: asyncio.Task[T]) -> T:
        """The task's result, or the error of a worker that broke in the meantime."""
        either: set[asyncio.Future[Any]] = {task, self.failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self.failed.done():
            task.cancel()
            self.failed.result()
        return task.result()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for a condition that something heard brings about."""
        async with self.changed:
            await self.changed.wait_for(condition)

    async def notify(self) -> None:
        self.heard_at = time.monotonic()
        async with self.changed:
            self.changed.notify_all()

    async def deploy(self, snippet: Path, attribute: str = "app") -> int:
        """Starts one more process, which serves at an address of its own until the run ends.

        Args:
            attribute: what of the snippet it serves; `app` is what handlers are served from.

        Returns:
            Its port on loopback.
        """
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        number = self._plan.stimulus.workers + len(self._beside) + 1
        self._beside[number] = listener
        await self._fork(number, snippet, listener, attribute)
        return int(listener.getsockname()[1])

    async def _fork(
        self, number: int, snippet: Path, listener: socket.socket, attribute: str = "app"
    ) -> None:
        self._heard_out[number] = asyncio.Event()
        if snippet != self._plan.snippet:
            self.others[number] = snippet.name
        await self._plan.nursery(number).fork(
            {
                "worker": self._name(number),
                "number": number,
                "snippet": str(snippet),
                "attribute": attribute,
                "reports": str(self._plan.folder / "reports.sock"),
                "crash": dict(self._plan.stimulus.crash_at) if number == 1 else {},
                "log": str(self._log(number)),
                "env": {
                    **self._plan.env,
                    **(self._plan.stimulus.successor_env if number > 1 else {}),
                },
            },
            listener,
        )

    def _log(self, number: int) -> Path:
        return self._plan.folder / f"worker-{number}.log"

    async def _serve(self) -> None:
        """Starts one worker after another; fails if one ends without being killed."""
        stimulus = self._plan.stimulus
        for number in range(1, stimulus.workers + 1):
            other = stimulus.successor if number > 1 else stimulus.predecessor
            snippet = self._plan.snippet
            await self._fork(
                number, snippet.with_stem(other) if other else snippet, self._plan.listener
            )
            self._serving = number
            code = await self._plan.nursery(number).ends.of(self._name(number))
            await self._heard_out[number].wait()
            if code != ENDED_BY_SIGKILL or number == stimulus.workers:
                if not self.failed.done():
                    log = self._log(number).read_text()
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
                if number in self.others:
                    report["line"] = None  # it would be looked for in the run's own snippet
                match report["report"]:
                    case "worker":
                        number = report["number"]
                    case "serving" if number == 1:
                        self.start_seconds = time.monotonic() - self._began
                    case "broken":
                        error = f"{self._plan.snippet.name} fails:\n{report['traceback']}"
                        self.failed.set_exception(SnippetError(error))
                    case _ if report.get("attempt") is not None:
                        self._heed(number, report)
                await self.notify()
        self._heard_out[number].set()
        writer.close()

    def note(self, invocation: str, moment: Moment) -> None:
        """Enters what befell an invocation from outside into its last attempt."""
        own = [attempt for attempt in self.attempts if attempt.invocation == invocation]
        if own:
            own[-1].moments.append(moment)

    def find(self, worker_number: int, local: int) -> AttemptReports | None:
        """An attempt by its number within its worker."""
        return next(
            (a for a in self.attempts if (a.worker, a.local) == (worker_number, local)), None
        )

    def _heed(self, worker_number: int, report: dict[str, Any]) -> None:
        """Enters a report into its attempt."""
        if report["report"] == "attempt":
            attempt = AttemptReports(
                worker_number,
                report["attempt"],
                report["invocation"],
                report["known"],
                self.others.get(worker_number, ""),
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
        if report["report"] == "woken":
            self.woken = True
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
                # After a suspension it is refused, and its number is the next attempt's.
                if attempt.ends != "suspended":
                    attempt.commands[report["command"]] = report
                text = " ".join(filter(None, (report["type"], report["name"], report["detail"])))
                replayed, within = report["replayed"], report["step"]
                return Moment("command", report["line"], command, replayed, text, within)
            case "executing":
                return Moment("executing", line, command, False, name)
            case "executed" | "result" as what:
                failed = report["failed"]
                text = f"{name} failed: {failed}" if failed else name
                return Moment(what, line, command, False, text)
            case "line":
                return Moment("line", report["line"], report["step"], None, report["text"])
            case "row":
                return Moment("row", report["line"], report["step"], None, report["text"])
            case "error":
                return Moment("error", report["line"] or line, command, None, report["message"])
            case "suspended" if attempt.ends != "suspended":
                return Moment("suspended")
            case "output":
                return Moment("output", attempt.commands[max(attempt.commands)]["line"])
            case _:
                return None


@contextlib.asynccontextmanager
async def workers(plan: Plan, say: Say) -> AsyncIterator[Workers]:
    """The workers for the time of one run."""
    crew = Workers(plan, say)
    await crew.start()
    try:
        yield crew
    finally:
        await crew.close()
