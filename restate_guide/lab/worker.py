"""The worker: serves one snippet, and reports what passes between it and Restate's SDK.

A process of its own, forked by the nursery. The snippet knows nothing of it. What is reported is read
at the border between the SDK and its core (one object for each attempt), never from what the snippet
says of itself: which command was issued on which line, which part of the journal the server had sent
with the attempt, how the attempt ended. Requests made through httpx carry a header with their origin,
which the Outside strips into its ledger.

Reports go as JSON lines to a Unix socket of the lab's; what is written there survives SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib.util
import json
import logging
import os
import random
import re
import signal
import socket
import sqlite3
import ssl
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import httpx
import hypercorn.asyncio
import hypercorn.config
import restate
import restate.server
import restate.server_context
from restate.vm import (
    DoProgressWaitExternalProgress,
    Failure,
    NotReady,
    Suspended,
    VMWrapper,
)

ATTEMPTS = 3
"""Attempts that the lab's deployments get before the server pauses the invocation; the default, 70
with growing pauses, takes more than an hour to come to the same end."""

HTTPX_DEFAULT = 5.0  # seconds: what a request has that sets no timeout of its own
LOADED_MACHINE = 60.0  # seconds: the outside is in the lab, and slow only where the machine is

MESSAGE_HEADER = 8  # bytes: type, flags, length of the body (big endian)


class Reports:
    """The line to the lab."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lock = threading.Lock()  # steps that are plain functions run in threads

    def say(self, report: str, **fields: Any) -> None:
        with self.lock:
            self.socket.sendall((json.dumps({"report": report, **fields}) + "\n").encode())


def line_in(snippet: str) -> int | None:
    """The line of the snippet that is running: the innermost frame of its file on this stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == snippet:
            return frame.f_lineno
        frame = frame.f_back
    return None


def written_by_snippet(snippet: str) -> bool:
    """Whether the snippet itself prints or logs here, not a library that it waits for."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.endswith("logging/__init__.py"):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename == snippet


def known_entries(start_message: bytes) -> int:
    """How many journal entries the server sent with the attempt.

    Field 3 of the protocol's StartMessage, protobuf wire format. The SDK's core reads it too, but
    keeps it to itself.
    """
    at = MESSAGE_HEADER

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = start_message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    end = MESSAGE_HEADER + int.from_bytes(start_message[4:MESSAGE_HEADER], "big")
    while at < end:
        field, wire = divmod(varint(), 8)
        if wire == 0:
            value = varint()
            if field == 3:
                return value
        elif wire == 2:
            length = varint()
            at += length
        else:
            at += 8 if wire == 1 else 4
    return 0


class Recorder:
    """Everything that one worker reports, and the point at which it is to die."""

    def __init__(self, snippet: str, number: int, reports: Reports, crash: dict[str, str]) -> None:
        self.snippet = snippet
        self.number = number
        self.reports = reports
        self.crash = crash
        self.attempts = 0
        self.slept = ""
        """The invocation that was the first to wait in a durable sleep."""

    def say(self, report: str, **fields: Any) -> None:
        self.reports.say(report, **fields)

    def crash_if(self, **point: Any) -> None:
        """Dies by SIGKILL, in the middle of everything, where the stimulus says so."""
        if point.items() <= self.crash.items():
            os.kill(os.getpid(), signal.SIGKILL)


current_attempt: contextvars.ContextVar[RecordingVM | None] = contextvars.ContextVar(
    "current_attempt", default=None
)
current_step: contextvars.ContextVar[int | None] = contextvars.ContextVar(
    "current_step", default=None
)


class RecordingVM(VMWrapper):
    """The SDK's core, of which there is one for each attempt, with every command reported."""

    recorder: Recorder

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recorder.attempts += 1
        self.attempt = self.recorder.attempts
        self.start_message = b""
        self.known = 0
        self.next_command = 1  # the input is command 0
        self.commands: dict[int, tuple[int, str, str]] = {}  # by handle
        self.failed_step: tuple[int, str] | None = None
        self.pending_sleep = False
        self.is_asleep = False
        self.invocation = ""

    def say(self, report: str, **fields: Any) -> None:
        self.recorder.say(report, attempt=self.attempt, **fields)

    def notify_input(self, input_buf: bytes) -> None:
        if self.is_asleep and self.dies_asleep():
            self.say("woken")
            return  # and no end of it comes to the handler; what it has sent goes out meanwhile
        if not self.known:
            self.start_message += input_buf
            length = int.from_bytes(self.start_message[4:MESSAGE_HEADER], "big")
            if len(self.start_message) >= MESSAGE_HEADER + length > MESSAGE_HEADER:
                self.known = known_entries(self.start_message)
        super().notify_input(input_buf)

    def dies_asleep(self) -> bool:
        """Whether the stimulus has a sleep never end in this worker: the lab is about to kill it."""
        return self.recorder.crash.get("in") == "sleep"

    def sys_input(self) -> Any:
        invocation = super().sys_input()
        current_attempt.set(self)
        self.invocation = invocation.invocation_id
        self.say("attempt", invocation=invocation.invocation_id, known=self.known)
        return invocation

    def issue(self, kind: str, name: str, run: Callable[[], Any], detail: str = "") -> Any:
        """Reports a command, then hands it to the core.

        The output is the SDK's to write: a line on the stack would be of what wraps the app.
        """
        command = self.next_command
        self.next_command += 1
        self.say(
            "command",
            command=command,
            type=kind,
            name=name,
            line=None if kind == "Output" else line_in(self.recorder.snippet),
            step=current_step.get(),
            replayed=self.is_replaying(),
            detail=detail,
        )
        issued = run()
        handle = getattr(issued, "result_handle", getattr(issued, "handle", issued))
        if isinstance(handle, int):
            self.commands[handle] = (command, kind, name)
        return issued

    def sys_run(self, name: str) -> Any:
        return self.issue("Run", name, lambda: super(RecordingVM, self).sys_run(name))

    def sys_sleep(self, millis: int, name: str | None = None) -> Any:
        issue = super().sys_sleep
        self.pending_sleep = True
        return self.issue("Sleep", name or "", lambda: issue(millis, name), f"{millis / 1000:g} s")

    def sys_call(
        self,
        service: str,
        handler: str,
        parameter: bytes,
        key: str | None = None,
        *a: Any,
        **kw: Any,
    ) -> Any:
        issue = super().sys_call
        name = target(service, key, handler)
        return self.issue("Call", name, lambda: issue(service, handler, parameter, key, *a, **kw))

    def sys_send(
        self,
        service: str,
        handler: str,
        parameter: bytes,
        key: str | None = None,
        delay: int | None = None,
        *a: Any,
        **kw: Any,
    ) -> Any:
        issue = super().sys_send
        return self.issue(
            "OneWayCall",
            target(service, key, handler),
            lambda: issue(service, handler, parameter, key, delay, *a, **kw),
            f"in {delay / 1000:g} s" if delay else "",
        )

    def take_notification(self, handle: int) -> Any:
        taken = super().take_notification(handle)
        if handle in self.commands and not isinstance(taken, (NotReady, Suspended, Exception)):
            command, kind, name = self.commands[handle]
            if kind == "Sleep" and self.recorder.slept == self.invocation and self.dies_asleep():
                self.say("woken")  # suspended in its sleep, and begun anew at the sleep's end
                threading.Event().wait()
            failed = taken.message if isinstance(taken, Failure) else None
            self.say("result", command=command, failed=failed)
            if kind == "Sleep":
                self.pending_sleep = self.is_asleep = False
            if kind == "Run":
                self.recorder.crash_if(after_step=name)
        return taken

    def do_progress(self, unresolved_future: Any) -> Any:
        progress = super().do_progress(unresolved_future)
        if isinstance(progress, Suspended):
            self.say("suspended")
        if isinstance(progress, Exception) and self.failed_step:
            command, message = self.failed_step  # to be tried again: this attempt ends with it
            self.failed_step = None
            self.say("error", command=command, message=message, line=None)
        waits = isinstance(progress, DoProgressWaitExternalProgress)
        if waits and self.pending_sleep and not self.is_asleep:
            self.is_asleep = True
            self.recorder.slept = self.recorder.slept or self.invocation
            self.say("asleep")
        return progress

    def propose_run_completion_success(self, handle: int, output: bytes) -> None:
        self.recorder.crash_if(acted=self.commands[handle][2])
        self.say("executed", command=self.commands[handle][0], failed=None)
        super().propose_run_completion_success(handle, output)

    def propose_run_completion_failure(self, handle: int, output: Failure) -> None:
        self.say("executed", command=self.commands[handle][0], failed=output.message)
        super().propose_run_completion_failure(handle, output)

    def propose_run_completion_transient(
        self, handle: int, failure: Failure, *a: Any, **kw: Any
    ) -> None:
        self.step_failed(handle, failure)
        super().propose_run_completion_transient(handle, failure, *a, **kw)

    def propose_run_completion_transient_with_delay_override(
        self, handle: int, failure: Failure, *a: Any, **kw: Any
    ) -> None:
        self.step_failed(handle, failure)
        super().propose_run_completion_transient_with_delay_override(handle, failure, *a, **kw)

    def step_failed(self, handle: int, failure: Failure) -> None:
        """Whether the step is tried again, by ending the attempt, shows in what comes next."""
        command = self.commands[handle][0]
        self.failed_step = command, failure.message
        self.say("executed", command=command, failed=failure.message)

    def sys_write_output_success(self, output: bytes) -> None:
        self.recorder.crash_if(before="answer")
        self.issue("Output", "", lambda: super(RecordingVM, self).sys_write_output_success(output))

    def sys_write_output_failure(self, output: Failure) -> None:
        self.recorder.crash_if(before="answer")
        self.issue("Output", "", lambda: super(RecordingVM, self).sys_write_output_failure(output))

    def sys_end(self) -> None:
        super().sys_end()  # type: ignore[no-untyped-call]
        self.say("output")

    def notify_error(self, error: str, stacktrace: str, *args: Any, **kwargs: Any) -> None:
        lines = re.findall(rf'File "{re.escape(self.recorder.snippet)}", line (\d+)', stacktrace)
        self.say("error", message=error, line=int(lines[-1]) if lines else None)
        super().notify_error(error, stacktrace, *args, **kwargs)


def target(service: str, key: str | None, handler: str) -> str:
    """What is called, as the ingress would name it."""
    return "/".join(part for part in (service, key, handler) if part is not None)


def record_simple_commands() -> None:
    """The commands whose first argument is their name, and those that have none."""
    named = {
        "sys_get_state": "GetState",
        "sys_set_state": "SetState",
        "sys_clear_state": "ClearState",
        "sys_get_promise": "GetPromise",
        "sys_peek_promise": "PeekPromise",
        "sys_complete_promise_success": "CompletePromise",
        "sys_complete_promise_failure": "CompletePromise",
        "sys_resolve_awakeable": "SendSignal",
        "sys_reject_awakeable": "SendSignal",
        "sys_resolve_signal": "SendSignal",
        "sys_reject_signal": "SendSignal",
        "sys_cancel": "SendSignal",
        "attach_invocation": "AttachInvocation",
    }
    unnamed = {"sys_get_state_keys": "GetStateKeys", "sys_clear_all_state": "ClearAllState"}

    def recorded(method: str, kind: str, has_name: bool) -> Callable[..., Any]:
        original = getattr(VMWrapper, method)

        def record(vm: RecordingVM, *args: Any, **kwargs: Any) -> Any:
            name = str(args[0]) if has_name and args else ""
            return vm.issue(kind, name, lambda: original(vm, *args, **kwargs))

        return record

    for method, kind in named.items():
        setattr(RecordingVM, method, recorded(method, kind, has_name=True))
    for method, kind in unnamed.items():
        setattr(RecordingVM, method, recorded(method, kind, has_name=False))


def record_attempts(recorder: Recorder) -> None:
    """Has the SDK use a recording core for each attempt, and reports where attempts and steps end."""
    RecordingVM.recorder = recorder
    record_simple_commands()
    restate.server.VMWrapper = RecordingVM  # type: ignore[attr-defined]
    context = restate.server_context.ServerInvocationContext
    run_step, finished = context.create_run_coroutine, context.on_attempt_finished

    async def create_run_coroutine(self: Any, handle: int, *args: Any, **kwargs: Any) -> None:
        command = self.vm.commands[handle][0]
        current_step.set(command)  # in the step's own task: what it does carries its number
        self.vm.say("executing", command=command)
        await run_step(self, handle, *args, **kwargs)

    def on_attempt_finished(self: Any) -> None:
        self.vm.say("finished")
        finished(self)  # type: ignore[no-untyped-call]

    context.create_run_coroutine = create_run_coroutine  # type: ignore[method-assign]
    context.on_attempt_finished = on_attempt_finished  # type: ignore[method-assign]


def record_requests(recorder: Recorder) -> None:
    """Marks each request that the snippet makes with httpx with where it comes from."""

    def mark(request: httpx.Request) -> None:
        attempt = current_attempt.get()
        origin = {
            "worker": recorder.number,
            "attempt": attempt.attempt if attempt else None,
            "line": line_in(recorder.snippet),
            "step": current_step.get(),
        }
        request.headers[os.environ["ORIGIN_HEADER"]] = json.dumps(origin)
        limits = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            part: LOADED_MACHINE if limit == HTTPX_DEFAULT else limit
            for part, limit in limits.items()
        }

    send, send_async = httpx.Client.send, httpx.AsyncClient.send

    def marked(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        mark(request)
        return send(client, request, **options)

    async def marked_async(
        client: httpx.AsyncClient, request: httpx.Request, **options: Any
    ) -> httpx.Response:
        mark(request)
        return await send_async(client, request, **options)

    httpx.Client.send = marked  # type: ignore[method-assign,assignment]
    httpx.AsyncClient.send = marked_async  # type: ignore[method-assign,assignment]


def read_certificates_once() -> None:
    """Has httpx clients share their certificates: to read them takes 40 ms of processor time."""
    ssl.create_default_context = functools.cache(ssl.create_default_context)  # type: ignore[assignment]
    httpx.create_ssl_context()


class RecordingConnection(sqlite3.Connection):
    """A connection to SQLite: reports each statement that changed rows, with the values in it."""

    recorder: Recorder

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_trace_callback(self._began)
        self._statement = ""

    def _began(self, statement: str) -> None:
        self._statement = statement

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        before = self.total_changes
        cursor = super().execute(sql, parameters)
        attempt = current_attempt.get()
        if attempt and self.total_changes > before:
            attempt.say(
                "row",
                text=" ".join(self._statement.split()),
                line=line_in(self.recorder.snippet),
                step=current_step.get(),
            )
        return cursor


def record_rows(recorder: Recorder) -> None:
    """Has the snippet's connections to SQLite report what they change."""
    RecordingConnection.recorder = recorder
    connect = sqlite3.connect
    sqlite3.connect = functools.partial(connect, factory=RecordingConnection)  # type: ignore[assignment]


class RecordingStream:
    """Standard output or error: passes everything on, and reports the lines that the snippet wrote."""

    def __init__(self, stream: TextIO, recorder: Recorder) -> None:
        self.stream = stream
        self.recorder = recorder

    def write(self, text: str) -> int:
        if text.strip() and written_by_snippet(self.recorder.snippet):
            attempt = current_attempt.get()
            self.recorder.say(
                "line",
                attempt=attempt.attempt if attempt else None,
                text=text.rstrip("\n"),
                line=line_in(self.recorder.snippet),
                step=current_step.get(),
            )
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def limit_attempts() -> None:
    """Adds the lab's retry policy to what the worker announces, where the snippet sets none.

    Through the announcement and not through the server's settings, so that it also holds on a server
    that the lab did not start.
    """
    announce = restate.server.compute_discovery_json  # type: ignore[attr-defined]

    def announce_limited(endpoint: Any, version: int, discovered_as: Any) -> str:
        manifest = json.loads(announce(endpoint, version, discovered_as))
        for service in manifest["services"]:
            if "retryPolicyInitialInterval" in service:
                continue  # with pauses of its own, it has the server's number of attempts as well
            service["retryPolicyInitialInterval"] = 20
            service.setdefault("retryPolicyMaxInterval", 20)
            service.setdefault("retryPolicyMaxAttempts", ATTEMPTS)
            service.setdefault("retryPolicyOnMaxAttempts", "PAUSE")
        return json.dumps(manifest)

    restate.server.compute_discovery_json = announce_limited  # type: ignore[attr-defined]


def load(snippet: str, attribute: str) -> Any:
    """Imports the snippet as a module; the ASGI application in it."""
    sys.dont_write_bytecode = True  # a site that is served would be built anew for it
    spec = importlib.util.spec_from_file_location(Path(snippet).stem, snippet)
    assert spec is not None and spec.loader is not None
    sys.path.insert(0, str(Path(snippet).parent))  # as for a script: what stands beside it
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return getattr(module, attribute)


def main(
    snippet: str,
    attribute: str,
    reports_path: str,
    number: int,
    listener: int,
    crash: dict[str, str],
) -> int:
    """Serves the snippet until killed.

    Args:
        attribute: name of the ASGI application in it, as a rule `app`.
        number: which worker of its run this is, counted from 1.
        listener: file descriptor of the listening socket, which outlives the worker.
        crash: the point at which to die; see `Recorder.crash_if`.
    """
    reports = Reports(reports_path)
    reports.say("worker", number=number, pid=os.getpid())
    recorder = Recorder(snippet, number, reports, crash)
    record_attempts(recorder)
    record_requests(recorder)
    record_rows(recorder)
    limit_attempts()
    sys.stdout = RecordingStream(sys.stdout, recorder)
    sys.stderr = RecordingStream(sys.stderr, recorder)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    # Pinned: a worker and its successor draw different numbers, and the same in every run.
    random.seed(number)
    try:
        app = load(snippet, attribute)
    except BaseException:
        reports.say("broken", traceback=traceback.format_exc())
        return 1
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener}"]
    config.errorlog = None
    reports.say("serving")
    asyncio.run(hypercorn.asyncio.serve(app, config))
    return 0
