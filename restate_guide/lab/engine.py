"""The engine: runs one snippet under one stimulus on a real server, and yields events as they happen.

The tests, the command line and the web page are thin users of `Laboratory.run`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import httpx

from restate_guide.lab.diagnosis import diagnose
from restate_guide.lab.errors import LabError
from restate_guide.lab.gate import Gate
from restate_guide.lab.limits import NO_LIMITS, Limits
from restate_guide.lab.outside import ORIGIN_HEADER, Outside, Received, outside
from restate_guide.lab.processes import Nursery, Processes, processes, start_nursery
from restate_guide.lab.proof import Proof
from restate_guide.lab.reading import (
    build_trace,
    find,
    read_database,
    read_tables,
    seconds_waited,
)
from restate_guide.lab.server import (
    INGRESS_URL,
    STATUSES,
    OwnServers,
    Server,
    external_urls,
    running_server,
)
from restate_guide.lab.stimulus import Stimulus
from restate_guide.lab.symptoms import Outcome
from restate_guide.lab.trace import Call, Moment, Trace
from restate_guide.lab.workers import Plan, Say, Workers, workers

Json = Any

PATIENCE = 30.0
"""Seconds after which a call is a hang, on a machine under full load."""
POLL = 0.02
"""Seconds between two looks into the server's tables, where there is no event to wait for."""
LONG_POLL = 0.16
"""Seconds at the most, where what is looked for stays once it has come: a look costs the machine 4 ms."""


Kind = Literal["stage", "attempt", "moment", "effect", "call", "answer", "verdict"]


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    trace: Trace
    outcome: Outcome
    seconds: float
    """Wall time of the run."""
    waited: float
    """Seconds of it that the scenario itself had to wait: sleeps, slow answers, pauses of retries."""
    server_start: float
    """Seconds until the server was healthy."""
    worker_start: float
    """Seconds until the first worker served; it starts beside the server."""
    versions: dict[str, str]
    """Of the server and the SDK."""


@dataclass(frozen=True)
class Event:
    """Something that happened in a run."""

    at: float
    """Seconds since the run began."""
    kind: Kind
    text: str
    line: int | None = None
    """Line of the snippet, where there is one."""
    result: Result | None = field(default=None, repr=False)
    """Comes with the last event, the verdict."""


class Lab:
    """What a proof has in its hands: calls at the ingress, the outside world, the server's tables."""

    def __init__(
        self,
        snippet: Path,
        stimulus: Stimulus,
        server: Server,
        service: Outside,
        crew: Workers,
        worker_url: str,
        say: Say,
    ) -> None:
        self.snippet = snippet.stem
        """Name of the snippet that runs: `do`, `dont`, or an aside's."""
        self.outside = service
        self.worker_url = worker_url
        """Where the server reaches the worker, and so could anybody else."""
        self.calls: list[Call] = []
        self.measured: dict[str, Json] = {}
        self.answers: dict[str, list[dict[str, Json]]] = {}
        self.invocation_ids: dict[int, str] = {}
        """What the ingress told the callers in its header `x-restate-id`, by the call's place in `calls`."""
        self.given_up: list[tuple[float, float]] = []
        """From when until when calls waited that got no answer."""
        self._calls_under_way = 0
        self._snippet = snippet
        self._stimulus = stimulus
        self.server = server
        """For tests that do what no proof does; a proof keeps to the methods below."""
        self._workers = crew
        self._say = say

    async def call(
        self,
        target: str,
        body: Json = None,
        *,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> Json:
        """Calls a handler at the ingress (`Checkout/pay`, `Cart/cart-1/add`) and waits for its answer.

        Args:
            patience: seconds of silence after which the call counts as one that waits for ever: as
                long as the worker reports something, a loaded machine is slow and nothing hangs.

        Returns:
            The answer's body; None if the invocation was paused, or the call waits for ever.
        """
        key = {"idempotency-key": idempotency_key} if idempotency_key else {}
        sent = {**key, **(headers or {})}
        content = {} if body is None else {"json": body}
        request = self.server.ingress.post(f"/{target}", headers=sent, **content)
        return await self._answer(target, body, sent, request, patience)

    async def post(
        self,
        url: str,
        path: str,
        body: Json = None,
        *,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> Json:
        """Sends a real request from outside, to what `serve` has returned; otherwise like `call`."""
        async with httpx.AsyncClient(base_url=url, timeout=None, verify=False) as caller:
            content = {} if body is None else {"json": body}
            request = caller.post(path, headers=headers, **content)
            return await self._answer(f"POST {path}", body, headers or {}, request, patience)

    async def _answer(
        self,
        target: str,
        body: Json,
        headers: Mapping[str, str],
        request: Coroutine[None, None, httpx.Response],
        patience: float,
    ) -> Json:
        """Enters a call into the trace, and waits for its answer."""
        place = len(self.calls)
        self.calls.append(Call(target, body, None, None, dict(headers)))
        self._calls_under_way += 1
        self._say("call", f"calling {target}")
        began = time.time()
        answering = asyncio.create_task(request)
        paused = asyncio.create_task(self._paused(target))
        try:
            ends: set[asyncio.Future[Any]] = {answering, paused, self._workers.failed}
            try:
                await self._first_of(ends, patience)
            except asyncio.CancelledError:
                self.calls[place] = replace(self.calls[place], abandoned=True)
                self._say("answer", f"{target}: the caller hangs up")
                raise
            if not answering.done():
                if not paused.done():
                    self.given_up.append((began, time.time()))
                self._say("answer", f"{target}: no answer")
                return None
            response = answering.result()
            answer = decoded(response)
            self.invocation_ids[place] = response.headers.get("x-restate-id", "")
            self.calls[place] = replace(
                self.calls[place], status=response.status_code, answer=answer
            )
            self._say("answer", f"{target}: {response.status_code} {response.text}")
            return answer
        finally:
            self._calls_under_way -= 1
            for task in (answering, paused):
                task.cancel()
            await asyncio.gather(answering, paused, return_exceptions=True)

    async def _first_of(self, ends: set[asyncio.Future[Any]], patience: float) -> None:
        """Waits until one of these is done; or for `PATIENCE`; or until nothing moves any more.

        Nothing moves when the workers were silent for so long, and the server has nothing due.
        """
        silent = time.monotonic()
        limit = silent + max(patience, PATIENCE)
        done: set[asyncio.Future[Any]] = set()
        while not done:
            silent = max(silent, self._workers.heard_at)
            left = min(silent + patience, limit) - time.monotonic()
            if left > 0:
                waiting = asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                done, _ = await waiting
            elif time.monotonic() < limit and (
                await self._something_is_due() or self._workers.heard_at > silent
            ):  # heard meanwhile: on a busy machine the lab itself may be what was silent
                silent = time.monotonic()
            else:
                return

    async def _something_is_due(self) -> bool:
        """Whether another call is under way, or the server is about to begin or wake an attempt."""
        if self._calls_under_way > 1:
            return True
        under_way = await self.query(
            "select id, status from sys_invocation where status != 'completed'"
        )
        if any(row["status"] in ("backing-off", "ready", "scheduled") for row in under_way):
            return True
        attempts = self._workers.attempts
        known = {attempt.invocation for attempt in attempts}
        at_work = {attempt.invocation for attempt in attempts if attempt.ended is None}
        for row in (row for row in under_way if row["status"] == "running"):
            # Running, but no worker has it: an attempt is on its way, or has just ended.
            if row["id"] not in at_work and (row["id"] in known or self.server.is_own):
                return True
        sleeps = await self.query(
            f"select j.entry_type from sys_journal j join {STATUSES} i on i.id = j.id "
            "where i.status != 'completed' and j.entry_type in ('Command: Sleep', 'Notification: Sleep')"
        )
        asked = sum(row["entry_type"] == "Command: Sleep" for row in sleeps)
        return bool(asked > len(sleeps) - asked)

    async def until_effect(self, effect: str, times: int = 1) -> None:
        """Waits until an effect has arrived outside."""
        async with asyncio.timeout(PATIENCE):
            await self._workers.until(
                lambda: sum(r.effect == effect for r in self.outside.ledger) >= times
            )

    async def until_result(self, command: str) -> None:
        """Waits until some attempt has the result of a command, named like `Run charge`."""
        async with asyncio.timeout(PATIENCE):
            await self._workers.until(
                lambda: any(
                    moment.what == "result" and moment.text == command
                    for attempt in self._workers.attempts
                    for moment in attempt.moments
                )
            )

    async def until_all_completed(self) -> None:
        """Waits until no invocation is under way, also none whose caller hung up or sent a message."""
        async with asyncio.timeout(PATIENCE):
            for wait in _waits():
                if not await self._under_way():
                    return
                await asyncio.sleep(wait)

    async def _under_way(self) -> bool:
        """Whether an invocation is not completed, or not there yet.

        A message is delivered a moment after it was journaled, and its sender may have ended by then.
        Who calls waits for the answer instead, and what is cancelled before it began leaves no row.
        """
        rows = await self.query(f"select id, status from {STATUSES}")
        if any(row["status"] != "completed" for row in rows):
            return True
        served = {attempt.invocation for attempt in self._workers.attempts}
        there = served | {row["id"] for row in rows}
        sent = await self.query(
            "select id, entry_json from sys_journal where entry_type = 'Command: OneWayCall'"
        )
        return any(
            find(json.loads(row["entry_json"]), "invocation_id") not in there
            for row in sent
            if row["id"] in served
        )

    async def until_row(self, sql: str) -> None:
        """Waits until a query of the server's tables finds something."""
        async with asyncio.timeout(PATIENCE):
            while not await self.query(sql):
                await asyncio.sleep(POLL)

    async def until_no_row(self, sql: str) -> None:
        """Waits until a query of the server's tables finds nothing any more."""
        async with asyncio.timeout(PATIENCE):
            while await self.query(sql):
                await asyncio.sleep(POLL)

    async def until_still(self, seconds: float) -> None:
        """Waits until nothing moves: the workers were silent for so long, and the server has nothing due."""
        await self._first_of({self._workers.failed}, seconds)

    async def until_any(self, *waits: Coroutine[Any, Any, Any]) -> None:
        """Waits until one of several things has happened, and gives up waiting for the others."""
        waiting = [asyncio.create_task(wait) for wait in waits]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def operate(self, action: str, target: str, **parameters: str) -> int:
        """Does what an operator does to an invocation: one under way, or else one that is over.

        Args:
            action: `cancel`, `kill`, `pause`, `resume`, `purge` …, as in the admin API.
            target: of the invocation (`Checkout/pay`).
            parameters: of the admin API, for instance `deployment="latest"`.

        Returns:
            HTTP status of the admin API's answer.
        """
        rows = await self.query(
            f"select id from {STATUSES} where target = '{target}' order by status = 'completed'"
        )
        self._say("stage", f"the operator: {action} {target}")
        self._workers.note(rows[0]["id"], Moment("operator", text=f"{action} {target}"))
        path = f"/invocations/{rows[0]['id']}/{action}"
        return (await self.server.admin.patch(path, params=parameters)).status_code

    async def restart_server(self) -> None:
        """Kills the server, and starts it again on the same data.

        Raises:
            LabError: it is not the lab's own.
        """
        if self.server.restart is None:
            raise LabError("A server that the lab has not started can't be restarted by it.")
        self._say("stage", "the server is killed, and starts again")
        await self.server.restart()

    async def resolve_awakeable(self, id: str, value: Json) -> None:
        """Does what a system outside does that was told an awakeable's id: sends its result."""
        self._say("stage", "the awakeable is resolved from outside")
        response = await self.server.ingress.post(f"/restate/awakeables/{id}/resolve", json=value)
        response.raise_for_status()

    async def deploy(self, snippet: str) -> None:
        """Registers another snippet of the rule as a new deployment, at an address of its own."""
        port = await self._workers.deploy(self._snippet.with_stem(snippet))
        await self.server.register(port, request_response=self._stimulus.request_response)
        self._say("stage", f"{snippet}.py is registered as a new deployment")

    async def serve(self, attribute: str) -> str:
        """Serves another ASGI application of the snippet, for callers from outside; its URL."""
        return f"http://127.0.0.1:{await self._workers.deploy(self._snippet, attribute)}"

    async def query(self, sql: str) -> list[dict[str, Json]]:
        """Asks the server's own tables."""
        return await self.server.query(sql)

    async def ask(self, page: str, sql: str) -> None:
        """Enters what the server's tables answer to a query of a page into the trace."""
        self.answers[page] = await self.query(sql)

    async def admin(self, method: str, path: str, body: Json = None) -> Json:
        """Asks the admin API (`GET`, `/services/Checkout`), or changes what it sets; the answer, if any."""
        content = {} if body is None else {"json": body}
        answer = (await self.server.admin.request(method, path, **content)).raise_for_status()
        return answer.json() if answer.content else None

    def measure(self, name: str, value: Json) -> None:
        """Enters what the proof measured from outside into the trace."""
        self.measured[name] = value

    def measure_wait(self, blocked: Literal["worker", "key"], seconds: float) -> None:
        """Enters that the call made last has waited so long, as others kept its worker or key."""
        self.measure(f"{blocked} blocked for at least", seconds)
        self.calls[-1] = replace(self.calls[-1], waited=seconds)

    async def _paused(self, target: str) -> None:
        """Waits until an invocation of this target is paused, after an attempt that failed."""
        for wait in _waits():
            await self._workers.until(self._attempt_failed)
            rows = await self.query(
                f"select id from {STATUSES} where status = 'paused' and target = '{target}'"
            )
            if rows:
                return
            failed = any(a.ends == "error" for a in self._workers.attempts)
            # A worker doesn't hear of attempts that the server gave up: a look now and then.
            await asyncio.sleep(wait if failed else LONG_POLL)

    def _attempt_failed(self) -> bool:
        """Whether one ended before its answer, or was made again: the server may have refused something."""
        attempts = self._workers.attempts
        ended = any(attempt.ends in ("error", "suspended") for attempt in attempts)
        return ended or len(attempts) > len({attempt.invocation for attempt in attempts})


def decoded(response: httpx.Response) -> Json:
    """The answer as JSON where it is JSON, else as text."""
    try:
        return response.json()
    except ValueError:
        return response.text


class Laboratory:
    """What runs have in common: the keeper, the nurseries, and the servers."""

    def __init__(
        self, kept: Processes, servers: OwnServers, nurseries: list[Nursery], ahead: int
    ) -> None:
        self._processes = kept
        self._servers = servers
        self._nurseries = nurseries
        self._ahead = ahead
        self._runs = itertools.count(1)

    def prepare(self, servers: int) -> None:
        """Starts servers for the runs to come; by itself it does so when a run has begun."""
        self._servers.prepare(servers)

    async def until_broken(self) -> None:
        """Waits until a nursery is gone: something has killed it, and no run can come to its end."""
        ends = [asyncio.create_task(nursery.ended()) for nursery in self._nurseries]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    async def run(
        self, proof: Proof, snippet: Path, stimulus: Stimulus | None = None
    ) -> AsyncGenerator[Event, None]:
        """Runs a snippet as a proof says, and yields what happens; the last event is the verdict.

        Args:
            snippet: usually `proof.snippet("do")` or `proof.snippet("dont")`.
            stimulus: another one than the proof's own.

        Raises:
            LabError: the run could not be carried out; the message says what to do.
        """
        events: asyncio.Queue[Event] = asyncio.Queue()
        began = time.monotonic()

        def say(kind: Kind, text: str, line: int | None = None) -> None:
            events.put_nowait(Event(time.monotonic() - began, kind, text, line))

        async def perform() -> None:
            result = await self._perform(proof, snippet, stimulus or proof.stimulus, say)
            at = time.monotonic() - began
            events.put_nowait(Event(at, "verdict", result.outcome.sentence, None, result))

        performing = asyncio.create_task(perform())
        try:
            while not (performing.done() and events.empty()):
                getting = asyncio.create_task(events.get())
                await asyncio.wait({getting, performing}, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    yield getting.result()
                else:
                    getting.cancel()
            performing.result()
        finally:
            performing.cancel()
            with contextlib.suppress(asyncio.CancelledError, LabError):
                await performing

    async def result(self, proof: Proof, snippet: Path, stimulus: Stimulus | None = None) -> Result:
        """Runs a snippet to its verdict."""
        async with contextlib.aclosing(self.run(proof, snippet, stimulus)) as events:
            async for event in events:
                if event.result is not None:
                    return event.result
        raise AssertionError("a run without a verdict")

    async def _perform(self, proof: Proof, snippet: Path, stimulus: Stimulus, say: Say) -> Result:
        began = time.monotonic()
        folder = self._processes.folder / f"run-{next(self._runs)}"
        folder.mkdir()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.push_async_callback(self._processes.sweep, folder.name)
            say("stage", "starting server and worker")
            if urls := external_urls():
                if proof.server:
                    raise LabError(
                        f"{proof.rule} needs a server with {', '.join(proof.server)} set, and the lab "
                        f"can't set that on one that already runs. Unset {INGRESS_URL} for it."
                    )
                await stack.enter_async_context(_alone())
            # It is left last: what may still call it is gone by then.
            own = None
            if not urls:
                own = await stack.enter_async_context(self._servers.take(proof.server))
            witness = Witness(stimulus, say)
            service = await stack.enter_async_context(outside(witness.on_received))
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
            database = folder / "database.sqlite3"
            gate = await stack.enter_async_context(Gate.open())
            env = {
                "API_URL": service.url,
                "DATABASE": str(database),
                "INGRESS_URL": gate.url,
                "ORIGIN_HEADER": ORIGIN_HEADER,
                "TMPDIR": str(folder),
                **proof.env,
            }
            plan = Plan(snippet, stimulus, folder, listener, env, self._nursery)
            crew = witness.workers = await stack.enter_async_context(workers(plan, say))
            if urls:
                server = await stack.enter_async_context(running_server(*urls))
            else:
                assert own is not None
                server = (await own).server
            gate.leads_to(server)
            port = listener.getsockname()[1]
            if not server.is_own:
                await crew.unless_broken(asyncio.create_task(_refuse_taken(server, port)))
            registering = asyncio.create_task(
                server.register(port, request_response=stimulus.request_response)
            )
            registered = await crew.unless_broken(registering)
            services = [s["name"] for s in registered["services"]]
            if not server.is_own:
                stack.push_async_callback(_tidy, server, services)
            say("stage", "server and worker are ready")
            if server.is_own:
                self._servers.prepare(self._ahead)

            worker_url = f"http://127.0.0.1:{port}"
            lab = Lab(snippet, stimulus, server, service, crew, worker_url, say)
            proving = asyncio.create_task(proof.prove(lab))
            sleeping = asyncio.create_task(_kill_in_sleep(server, crew, stimulus))
            stack.callback(proving.cancel)
            stack.callback(sleeping.cancel)
            await crew.unless_broken(proving)

            called = [id for _, id in sorted(lab.invocation_ids.items())]
            tables = await read_tables(server, services, called)
            trace = build_trace(
                tables,
                crew.attempts,
                service.ledger,
                lab.calls,
                read_database(database),
                lab.measured,
                lab.answers,
                proof.varies,
            )
            versions = {
                "restate-server": await server.version(),
                "restate-sdk": version("restate-sdk"),
            }
            waited = seconds_waited(tables, crew.attempts, [*service.waited, *lab.given_up])
            say("stage", "ending server and worker")
        outcome = diagnose(trace, proof.promise)
        seconds = time.monotonic() - began
        return Result(
            trace, outcome, seconds, waited, server.start_seconds, crew.start_seconds, versions
        )

    def _nursery(self, worker: int) -> Nursery:
        return self._nurseries[(worker - 1) % len(self._nurseries)]


@contextlib.asynccontextmanager
async def laboratory(limits: Limits = NO_LIMITS, ahead: int = 2) -> AsyncIterator[Laboratory]:
    """Everything that runs need, for the time of the block; nothing is left after it.

    Args:
        limits: of each worker.
        ahead: servers that are seen to while a run goes on, for those to come; a proof's two
            variants run side by side. With none, the next run has the one before it emptied.
    """
    asyncio.get_running_loop().set_exception_handler(without_noise)
    async with processes() as kept, contextlib.AsyncExitStack() as stack:
        # Two hash seeds: the first worker's, and its successor's.
        starting = [start_nursery(kept, seed, limits) for seed in (1, 2)]
        nurseries = await asyncio.gather(*(stack.enter_async_context(n) for n in starting))
        servers = OwnServers(kept, ahead)
        stack.push_async_callback(servers.close)
        yield Laboratory(kept, servers, list(nurseries), ahead)


def without_noise(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Says what goes wrong in the loop, but for what httpx's anyio does.

    It sets the result of a wait for a Unix socket that was cancelled in the same moment.
    """
    is_noise = isinstance(context.get("exception"), asyncio.InvalidStateError)
    if not (is_noise and "Future.set_result" in context["message"]):
        loop.default_exception_handler(context)


class Witness:
    """Sees what arrives outside: enters it into its attempt, and kills the worker if asked to."""

    def __init__(self, stimulus: Stimulus, say: Say) -> None:
        self.workers: Workers | None = None
        self._crash_on = stimulus.crash_on_effect
        self._say = say

    async def on_received(self, received: Received) -> None:
        assert self.workers is not None
        origin = received.origin
        if origin.get("worker") in self.workers.others:
            origin["line"] = None
        attempt = self.workers.find(origin.get("worker") or 0, origin.get("attempt") or 0)
        if attempt is not None:
            text = received.effect
            text += " (known by its key)" * received.duplicate + " (refused)" * received.failed
            moment = Moment("effect", origin.get("line"), origin.get("step"), None, text)
            attempt.moments.append(moment)
        self._say("effect", received.effect, origin.get("line"))
        await self.workers.notify()
        if received.effect == self._crash_on:
            self._crash_on = None
            await self.workers.kill()


def _waits() -> Iterator[float]:
    """Seconds between looks for what stays once it has come: longer and longer."""
    wait = POLL
    while True:
        yield wait
        wait = min(1.5 * wait, LONG_POLL)


async def _kill_in_sleep(server: Server, crew: Workers, stimulus: Stimulus) -> None:
    """Kills the first worker once a durable sleep, or what ends the wait, stands in the journal."""
    if stimulus.crash_at.get("in") != "sleep":
        return
    await crew.until(lambda: bool(crew.asleep))
    journal = f"select index from sys_journal where id = '{crew.asleep[0]}'"
    while not (sleep := await server.query(f"{journal} and entry_type = 'Command: Sleep'")):
        await asyncio.sleep(POLL)
    if stimulus.crash_at.get("when") == "over":
        # The sleep's end as a rule; a cancel or another result may come before it. One that the
        # server journaled before it heard of the sleep is told by the worker alone.
        came = f"entry_type like 'Notification: %' and index > {sleep[0]['index']}"
        while not (crew.woken or await server.query(f"{journal} and {came}")):
            await asyncio.sleep(POLL)
        # Suspended in its sleep, it is begun anew; whether before the kill is not left to chance.
        await crew.until(
            lambda: any(a.invocation == crew.asleep[0] and not a.ended for a in crew.attempts)
        )
    await crew.kill(1)  # another handler, about to answer, may have ended it before


@contextlib.asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """On a server that the lab does not own, one run at a time: two would register the same services.

    Among all labs of this machine, by a lock on the temporary folder itself: no file is left of it.
    """
    folder = os.open(tempfile.gettempdir(), os.O_RDONLY)
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            await asyncio.sleep(POLL)
        yield
    finally:
        os.close(folder)


async def _refuse_taken(server: Server, port: int) -> None:
    """Runs nothing on a server that has a service of the same name: its invocations are somebody's.

    Raises:
        LabError: it has one.
    """
    would = await server.register(port, request_response=False, dry_run=True)
    there = (await server.admin.get("/services")).raise_for_status().json()["services"]
    if taken := {each["name"] for each in there} & {each["name"] for each in would["services"]}:
        raise LabError(
            f"The server has a service {', '.join(sorted(taken))} already, and a run would take its "
            f"place and remove its invocations. Use another server, or unset {INGRESS_URL}. If it is "
            "left of a run that was killed, delete its deployment."
        )


async def _tidy(server: Server, services: list[str]) -> None:
    """Leaves a server that the lab does not own without what the run has brought there."""
    names = ", ".join(f"'{service}'" for service in services)
    rows = await server.query(
        f"select id, status from sys_invocation where target_service_name in ({names})"
    )
    for row in rows:
        if row["status"] != "completed":
            await server.admin.patch(f"/invocations/{row['id']}/kill")
        await server.admin.patch(f"/invocations/{row['id']}/purge")
    state = f"select distinct service_name, service_key from state where service_name in ({names})"
    await server.clear_state(
        (row["service_name"], row["service_key"]) for row in await server.query(state)
    )
    for _ in range(100):  # a killed invocation may keep its key for a moment
        if not await server.query(state):
            break
        await asyncio.sleep(POLL)
    deployments = (await server.admin.get("/deployments")).raise_for_status().json()["deployments"]
    for each in deployments:
        if {service["name"] for service in each["services"]} & set(services):
            await server.admin.delete(f"/deployments/{each['id']}", params={"force": "true"})
