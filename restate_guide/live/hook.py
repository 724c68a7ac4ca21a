"""The MkDocs hook: puts live runs before `mkdocs serve`, and a policy for scripts into every page.

`GUIDE_LIVE=0` serves the site without runs, as a published one is.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort
from mkdocs.livereload import LiveReloadServer

from restate_guide.catalogue import ROOT
from restate_guide.live.app import Live, hashed
from restate_guide.site.book import open_book

INLINE = re.compile(
    r"<script(?![^>]*\bsrc=)(?![^>]*\btype=\"application/json\")[^>]*>(.*?)</script>", re.S
)
"""A script within a page: the theme has some, to set colours before the first paint."""
POLICY_PLACE = "<!-- policy -->"

running: list[Live] = []
"""What this process serves: at most one."""
commands: list[str] = []
"""The command that was given, until its first build begins."""


def on_startup(command: str, **_: Any) -> None:
    """Notes the command; a server that is told to end takes its pages with it, as with Ctrl-C."""
    commands.append(command)
    if command == "serve":
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def on_config(config: MkDocsConfig) -> None:
    """Looks, before the first build, whether the address is free: MkDocs does so only after it.

    Raises:
        Abort: nothing can listen there.
    """
    if commands and commands.pop() == "serve":
        family = socket.AF_INET6 if ":" in config.dev_addr.host else socket.AF_INET
        try:
            socket.create_server(config.dev_addr, family=family).close()
        except OSError as error:
            raise Abort(
                f"Nothing can listen on {config.dev_addr}: {os.strerror(error.errno or 0)}.\n"
                "For another port: make serve ADDRESS=127.0.0.1:8001"
            ) from None


def on_serve(server: LiveReloadServer, config: MkDocsConfig, **_: Any) -> LiveReloadServer:
    """Called once, when the server starts."""
    if os.environ.get("GUIDE_LIVE") != "0":
        inner = server.get_app()
        assert inner is not None
        live = Live(inner, config.dev_addr.port, lambda: open_book(ROOT).entries.keys())
        live.pool.prepare()
        running.append(live)
        server.set_app(live)
        server.request_queue_size = (
            128  # five callers at a time are not many for a page with its files
        )
    return server


def on_shutdown() -> None:
    """Ends what runs."""
    while running:
        running.pop().pool.close()


def on_post_page(output: str, **_: Any) -> str:
    """Puts the policy into a page."""
    return with_policy(output)


def on_post_template(output_content: str, template_name: str, **_: Any) -> str:
    """And into the page for addresses that aren't there."""
    return with_policy(output_content) if template_name.endswith(".html") else output_content


def with_policy(page: str) -> str:
    """The page with a content security policy that lets its own scripts run, and no others."""
    hashes = " ".join(hashed(script.encode()).decode() for script in INLINE.findall(page))
    policy = (
        f"default-src 'self'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; worker-src 'self' blob:; frame-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return page.replace(POLICY_PLACE, meta, 1)
