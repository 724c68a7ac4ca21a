"""The gate: a port on loopback that leads to the server's ingress, for snippets that call it from outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from restate_guide.lab.server import Server


class Gate:
    """Passes bytes between callers and the ingress, which in a server of the lab's is a Unix socket."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self.url = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator[Gate]:
        """A gate for the time of one run, on a free port."""
        gate = cls()
        listening = await asyncio.start_server(gate._pass, "127.0.0.1", 0)
        gate.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        try:
            yield gate
        finally:
            listening.close()

    def leads_to(self, server: Server) -> None:
        self._server = server

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._server is not None
        to_server, from_server = await self._server.connect_ingress()
        both = (pour(reader, from_server), pour(to_server, writer))
        await asyncio.gather(*both, return_exceptions=True)


async def pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Passes on what comes, until it ends."""
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()
