"""The outside world: the HTTP service that snippets act on, and the ledger of what it received.

It is a real server on loopback, in the lab's own process. It behaves as a good payment or mail API
does: `POST /charges` creates a charge and answers 201 with its id; the same `idempotency-key` again
creates nothing and answers what the first one was answered; `GET` answers what the proof has set,
or what a `PUT` to the same path has put there since. It can be slow (`hold`) and unwell (`fail`).
What is counted as an effect is what was created here, whatever the snippet believes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import hypercorn.asyncio
import hypercorn.config

ORIGIN_HEADER = "x-lab-origin"
"""The header in which a worker says where a request comes from; it is not passed on."""

Json = Any
"""What `json.loads` returns."""


@dataclass(frozen=True)
class Received:
    """One request, as it stands in the ledger."""

    effect: str
    """Method and path: `POST /charges`."""
    body: Json
    idempotency_key: str | None
    duplicate: bool
    """Whether its idempotency key had been seen before, so that nothing was created."""
    failed: bool
    """Whether it was refused, so that nothing was created."""
    origin: dict[str, int | None]
    """Process, attempt, line and step that sent it; empty if it didn't come from a worker."""


@dataclass
class Outside:
    """The ledger, and what the service does beside keeping it."""

    url: str
    on_received: Callable[[Received], Awaitable[None]]
    """Called after a request is in the ledger and before it is answered: here a worker is killed."""
    ledger: list[Received] = field(default_factory=list)
    answers: dict[str, Json] = field(default_factory=dict)
    """What a request is answered, by effect; for others an id is made up."""
    unwell: dict[str, list[int]] = field(default_factory=dict)
    """Statuses with which the next requests are refused, by effect; 0 for one that is not."""
    held: dict[str, tuple[asyncio.Event, float]] = field(default_factory=dict)
    """Requests that wait for an event, and for how many seconds at the most."""
    waited: list[tuple[float, float]] = field(default_factory=list)
    """From when until when requests were held back, in seconds since the epoch."""
    _created: dict[tuple[str, str], Json] = field(default_factory=dict)
    _before: dict[str, str] = field(default_factory=dict)
    _arrived: defaultdict[str, asyncio.Event] = field(
        default_factory=lambda: defaultdict(asyncio.Event)
    )
    _counts: dict[str, int] = field(default_factory=dict)

    def hold(self, effect: str, *, at_most: float) -> asyncio.Event:
        """Has a request wait for its answer until the returned event is set, or `at_most` seconds."""
        event = asyncio.Event()
        self.held[effect] = (event, at_most)
        return event

    def fail(self, effect: str, *, times: int, status: int = 503, after: int = 0) -> None:
        """Has requests refused with this status, so many `after` the next; nothing happens."""
        self.unwell[effect] = [0] * after + [status] * times

    def in_order(self, *effects: str) -> None:
        """Has requests that are sent side by side arrive in this order, whichever is faster."""
        self._before.update(zip(effects[1:], effects, strict=False))

    async def receive(
        self, effect: str, body: Json, key: str | None, origin: dict[str, int | None]
    ) -> tuple[int, Json]:
        """Enters a request into the ledger; the status and body to answer with."""
        if effect in self._before:
            await self._arrived[self._before[effect]].wait()
        self._arrived[effect].set()
        duplicate = key is not None and (effect, key) in self._created
        refusals = self.unwell.get(effect)
        refused = (refusals.pop(0) or None) if refusals else None
        received = Received(effect, body, key, duplicate, refused is not None, origin)
        self.ledger.append(received)
        answer: Json = {"error": "unavailable"}
        if refused is None:
            answer = self._created[effect, key] if duplicate and key else self._create(effect)
            if effect.startswith("PUT "):
                self.answers[f"GET {effect.removeprefix('PUT ')}"] = answer = body
            if key is not None:
                self._created[effect, key] = answer
        # Looked at first: who hears of this request may have the next one held otherwise.
        held = self.held.get(effect)
        await self.on_received(received)
        if held is not None:
            event, limit = held
            began = time.time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), limit)
            self.waited.append((began, time.time()))
        if refused is not None:
            return refused, answer
        return (200 if duplicate or effect.startswith("GET ") else 201), answer

    def _create(self, effect: str) -> Json:
        if effect in self.answers:
            return self.answers[effect]
        noun = effect.rpartition("/")[2].removesuffix("s")
        self._counts[effect] = self._counts.get(effect, 0) + 1
        return {"id": f"{noun}-{self._counts[effect]}"}

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """The service as an ASGI application."""
        if scope["type"] != "http":
            return
        body = b""
        while (event := await receive())["type"] == "http.request":
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        status, answer = await self.receive(
            f"{scope['method']} {scope['path']}",
            json.loads(body) if body else None,
            headers.get("idempotency-key"),
            json.loads(headers.get(ORIGIN_HEADER, "{}")),
        )
        content = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": content})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


@contextlib.asynccontextmanager
async def outside(on_received: Callable[[Received], Awaitable[None]]) -> AsyncIterator[Outside]:
    """The service, listening on a free port of loopback for the time of one run."""
    listener = socket.create_server(("127.0.0.1", 0))
    service = Outside(f"http://127.0.0.1:{listener.getsockname()[1]}", on_received)
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]  # Hypercorn owns it now, and closes it
    config.errorlog = None
    config.graceful_timeout = 10  # handlers end with their callers, which are gone already
    closing = asyncio.Event()
    serving = asyncio.create_task(
        hypercorn.asyncio.serve(service.app, config, shutdown_trigger=closing.wait)
    )
    try:
        yield service
    finally:
        closing.set()
        await serving
