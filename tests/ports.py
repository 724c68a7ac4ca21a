"""A port on loopback, for what a test starts by itself."""

from __future__ import annotations

import contextlib
import secrets
import socket


def free_port() -> int:
    """A port that nobody listens on.

    Below those that a kernel hands out: one of these could be taken before the caller listens on it.
    """
    while True:
        port = secrets.choice(range(20_000, 30_000))
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
