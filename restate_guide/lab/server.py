"""A restate-server: one of the lab's own, or one that already runs; and what its tables say."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import itertools
import os
import platform
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from restate_guide.lab.errors import LabError
from restate_guide.lab.processes import Processes

INGRESS_URL = "RESTATE_INGRESS_URL"
ADMIN_URL = "RESTATE_ADMIN_URL"
SERVER_BIN = "RESTATE_SERVER_BIN"

WAYS_OUT = (
    f"Run `make test` once with a network, set {SERVER_BIN} to a restate-server binary, or set "
    f"{INGRESS_URL} and {ADMIN_URL} to a server that already runs (a container will do)."
)

#: One small node without telemetry. Names checked with `restate-server --dump-config`: a name that
#: the server doesn't know is ignored without a word.
SETTINGS = {
    "RESTATE_LISTEN_MODE": "unix",
    "RESTATE_NODE_NAME": "n",
    "RESTATE_DEFAULT_NUM_PARTITIONS": "1",
    "RESTATE_ROCKSDB_TOTAL_MEMORY_SIZE": "32 MB",
    "RESTATE_DISABLE_TELEMETRY": "true",
    "RESTATE_LOG_FILTER": "warn",
}

STATUSES = "sys_invocation_status"
"""Says of each invocation whether it is over, paused, suspended, waiting or under way. The view
`sys_invocation` also tells whether it runs or backs off, and takes the server three times as long."""

START_LIMIT = 30.0
"""Seconds that a server may take to become healthy, on a machine under full load."""


FOUND = """
select status as what, id as name, '' as key from sys_invocation_status
union all
select entry_type, id, '' from sys_journal
where entry_type in ('Command: Sleep', 'Notification: Sleep')
union all
select 'delayed message', id, '' from sys_journal
where entry_type = 'Command: OneWayCall' and entry_json not like '%"invoke_time":0%'
union all
select distinct 'state', service_name, service_key from state
"""
"""What a run has left. The server's timers stand in no table: a sleep that has not come is known by its
command alone, and could wake the next invocation of the same id, as those have that are made from an
idempotency key or a workflow's."""

TABLES = (
    "sys_invocation_status",
    "sys_journal",
    "sys_journal_events",
    "sys_inbox",
    "sys_keyed_service_status",
    "sys_locks",
    "sys_promise",
    "state",
    "sys_deployment",
    "sys_service",
)
"""All that a server holds of runs."""
COUNTS = "select " + ", ".join(f"(select count(*) from {name}) as {name}" for name in TABLES)


NO_PARTITION_YET = (
    "node lookup for partition",
    "doesn't exist on this node",
    "expecting a partition store",
    "was shut down or removed",
)
"""A young server is healthy and takes invocations a moment before its query engine knows which node
leads the partition; until then it answers a query with one of these errors."""


def find_binary() -> Path:
    """The restate-server to start: RESTATE_SERVER_BIN, then PATH, then the project's node_modules.

    Raises:
        LabError: there is none.
    """
    if named := os.environ.get(SERVER_BIN):
        if os.access(named, os.X_OK):
            return Path(named)
        raise LabError(f"{SERVER_BIN} is set to {named}, which can't be executed.")
    if found := shutil.which("restate-server"):
        return Path(found)
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    package = f"@restatedev/restate-server-{sys.platform}-{machine}"
    binary = Path(__file__).parents[2] / "node_modules" / package / "bin" / "restate-server"
    if binary.exists():
        return binary
    raise LabError(f"There is no restate-server for {sys.platform}-{machine} here. {WAYS_OUT}")


Connect = Callable[[], Coroutine[None, None, tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Server:
    """The ingress and the admin interface of one restate-server."""

    def __init__(
        self,
        ingress: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        own: bool,
        connect_ingress: Connect,
    ) -> None:
        self.ingress = ingress
        self.admin = admin
        self.connect_ingress = connect_ingress
        """Opens a bare connection to the ingress."""
        self.is_own = own
        """Whether the lab started it."""
        self.start_seconds = 0.0
        """Until it was healthy, where the lab started it."""
        self.restart: Callable[[], Awaitable[None]] | None = None
        """Kills it and starts it again on its data, where the lab started it."""
        self.was_restarted = False
        self.data: Path | None = None
        """Its data folder, where the lab started it."""

    async def version(self) -> str:
        return str((await self.admin.get("/version")).raise_for_status().json()["version"])

    async def register(
        self, port: int, *, request_response: bool, dry_run: bool = False
    ) -> dict[str, Any]:
        """Registers the worker that listens on a port of this machine.

        Args:
            request_response: speak HTTP/1.1, so that the server can't stream: every await that the
                journal can't answer yet ends the attempt, and the next one replays from the start.
            dry_run: only ask what would be registered.
        """
        uri = f"http://127.0.0.1:{port}"
        answer = await self.admin.post(
            "/deployments",
            json={"uri": uri, "use_http_11": request_response, "dry_run": dry_run},
        )
        if answer.is_error:
            raise LabError(f"The server refused the worker: {answer.text}")
        registered: dict[str, Any] = answer.json()
        return registered

    async def query(self, sql: str) -> list[dict[str, Any]]:
        """Asks the server's own tables (sys_invocation, sys_journal …)."""
        limit = time.monotonic() + START_LIMIT
        while True:
            answer = await self.admin.post(
                "/query", json={"query": sql}, headers={"accept": "application/json"}
            )
            early = answer.is_error and any(why in answer.text for why in NO_PARTITION_YET)
            if not early or time.monotonic() > limit:
                break
            await asyncio.sleep(0.005)
        if answer.is_error:
            raise LabError(f"The server can't answer {sql!r}: {answer.text}")
        rows: list[dict[str, Any]] = answer.json()["rows"]
        return rows

    async def emptied(self) -> bool:
        """Removes invocations that are over or paused, all state and all deployments.

        Returns:
            Whether the server is as empty as a fresh one, and has nothing to do any more.
        """
        found = await self.query(FOUND)
        left = collections.Counter(row["what"] for row in found)
        asleep = left.pop("Command: Sleep", 0) - left.pop("Notification: Sleep", 0)
        if asleep or left.keys() - {"completed", "paused", "state"}:
            return False
        for action, of in (("kill", ("paused",)), ("purge", ("paused", "completed"))):
            for row in found:
                if row["what"] in of:
                    await self.admin.patch(f"/invocations/{row['name']}/{action}")
        await self.clear_state((row["name"], row["key"]) for row in found if row["what"] == "state")
        answer = (await self.admin.get("/deployments")).raise_for_status()
        for each in answer.json()["deployments"]:
            await self.admin.delete(f"/deployments/{each['id']}", params={"force": "true"})
        for _ in range(10):  # what was removed is there for a moment
            (counts,) = await self.query(COUNTS)
            if not any(counts.values()):
                return True
            await asyncio.sleep(0.01)
        return False

    async def clear_state(self, keys: Iterable[tuple[str, str]]) -> None:
        """Clears what is held for these keys, each a service and a key of it."""
        for service, key in keys:
            cleared = {"object_key": key, "new_state": {}}
            await self.admin.post(f"/services/{service}/state", json=cleared)

    async def healthy(self) -> None:
        """Waits until ingress and admin interface answer."""
        for client, path in ((self.ingress, "/restate/health"), (self.admin, "/health")):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(path)).is_success:
                        break
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def own_server(
    binary: Path, processes: Processes, folder: Path, settings: Mapping[str, str]
) -> AsyncIterator[Server]:
    """A server of one's own, with a fresh data folder inside an empty folder, and no TCP port."""
    data, name = folder / "data", f"{folder.name}/server"
    env = {name: value for name, value in os.environ.items() if not name.startswith("RESTATE_")}
    began = time.monotonic()
    argv = [str(binary), "--base-dir", str(data)]

    async def start() -> None:
        await processes.start(name, argv, {**env, **SETTINGS, **settings, "TMPDIR": str(folder)})

    await start()

    def client(interface: str) -> httpx.AsyncClient:
        socket = str(data / "n" / f"{interface}.sock")
        transport = httpx.AsyncHTTPTransport(uds=socket, verify=False)  # reads no certificates
        return httpx.AsyncClient(transport=transport, base_url=f"http://{interface}", timeout=None)

    async with client("ingress") as ingress, client("admin") as admin:
        connect = functools.partial(asyncio.open_unix_connection, data / "n" / "ingress.sock")
        server = Server(ingress, admin, True, connect)
        server.data = data / "n"

        async def restart() -> None:
            server.was_restarted = True
            await processes.kill(name)
            await start()
            async with asyncio.timeout(START_LIMIT):
                await server.healthy()

        server.restart = restart
        healthy = asyncio.create_task(server.healthy())
        died = asyncio.create_task(processes.ends.of(name))
        try:
            await asyncio.wait(
                {healthy, died}, timeout=START_LIMIT, return_when=asyncio.FIRST_COMPLETED
            )
            if not healthy.done():
                log = processes.log(name)
                raise LabError(f"restate-server ({binary}) did not become healthy.\n{log}")
            server.start_seconds = time.monotonic() - began
            yield server
        finally:
            healthy.cancel()
            died.cancel()
            await processes.kill(name)
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Started:
    """A server of one's own, and how it is ended."""

    server: Server
    stack: contextlib.AsyncExitStack


class OwnServers:
    """Servers of one's own: some started ahead, and one that a run has left empty is used again.

    To start one takes a third of the processor time of a whole run.
    """

    def __init__(self, processes: Processes, ahead: int) -> None:
        self._processes = processes
        self._kept = max(ahead, 1)
        """So many wait for runs to come at the most: one that idles takes 3 % of a processor."""
        self._numbers = itertools.count(1)
        self._ahead = collections.deque[asyncio.Task[Started]]()

    @functools.cached_property
    def _binary(self) -> Path:
        """Found once: servers for later runs start at any time, whatever the environment says by then."""
        return find_binary()

    async def _start(self, settings: Mapping[str, str]) -> Started:
        folder = self._processes.folder / f"server-{next(self._numbers)}"
        folder.mkdir()
        stack = contextlib.AsyncExitStack()
        starting = own_server(self._binary, self._processes, folder, settings)
        server = await stack.enter_async_context(starting)
        return Started(server, stack)

    async def _again(self, used: Started) -> Started:
        """The same server, if it can be emptied; else another one in its place."""
        async with contextlib.AsyncExitStack() as otherwise:
            otherwise.push_async_exit(used.stack)
            with contextlib.suppress(httpx.HTTPError, LabError):
                if not used.server.was_restarted and await used.server.emptied():
                    otherwise.pop_all()
                    return used
        return await self._start({})

    def prepare(self, count: int) -> None:
        """Sees to it that so many servers are there, or starting, for the runs to come."""
        while len(self._ahead) < count:
            self._ahead.append(asyncio.create_task(self._start({})))

    @contextlib.asynccontextmanager
    async def take(self, settings: Mapping[str, str]) -> AsyncIterator[asyncio.Task[Started]]:
        """A server for the time of one run, empty when it begins; it may be starting still.

        The block must not end before all that could call the server.
        """
        if self._ahead and not settings:
            starting = self._ahead.popleft()
        else:
            starting = asyncio.create_task(self._start(settings))
        try:
            yield starting
        except BaseException:
            await ended(starting)
            raise
        if settings or len(self._ahead) >= self._kept:
            await ended(starting)
        else:
            self._ahead.append(asyncio.create_task(self._again(await starting)))

    async def close(self) -> None:
        """Ends the servers that nobody took."""
        while self._ahead:
            await ended(self._ahead.popleft())


async def ended(starting: asyncio.Task[Started]) -> None:
    """Ends a server that may be starting still."""
    if not starting.done():
        starting.cancel()
    with contextlib.suppress(asyncio.CancelledError, LabError):
        await (await starting).stack.aclose()


@contextlib.asynccontextmanager
async def running_server(ingress_url: str, admin_url: str) -> AsyncIterator[Server]:
    """A server that somebody else started."""
    async with (
        httpx.AsyncClient(base_url=ingress_url, timeout=None) as ingress,
        httpx.AsyncClient(base_url=admin_url, timeout=None) as admin,
    ):
        host, port = ingress.base_url.host, ingress.base_url.port or 80
        server = Server(
            ingress, admin, False, functools.partial(asyncio.open_connection, host, port)
        )
        try:
            await asyncio.wait_for(server.healthy(), timeout=5.0)
        except TimeoutError:
            raise LabError(
                f"No healthy restate-server answers at {INGRESS_URL}={ingress_url} and "
                f"{ADMIN_URL}={admin_url}. Start it, or unset both to let the lab start one."
            ) from None
        yield server


def external_urls() -> tuple[str, str] | None:
    """Ingress and admin URL of a server that already runs, where the environment names one.

    Raises:
        LabError: only one of the two is set.
    """
    ingress, admin = os.environ.get(INGRESS_URL), os.environ.get(ADMIN_URL)
    if bool(ingress) != bool(admin):
        raise LabError(f"Set both {INGRESS_URL} and {ADMIN_URL}, or neither.")
    return (ingress, admin) if ingress and admin else None
