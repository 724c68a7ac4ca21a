"""The WSGI application in front of `mkdocs serve`: lets in who may come in, and runs snippets.

It is guarded as a local notebook server is. Every path answers only to names of this machine, so that
another site can't be rebound to it. A run needs a POST of JSON from a page of our own, with the token
that was made when the server started and stands in our pages only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from restate_guide.catalogue import CatalogueError
from restate_guide.live.pool import Busy, Pool

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]

ROUTE = "/-/run"
LARGEST = 64 * 1024
"""Bytes of a request: a snippet has two thousand."""
LIVERELOAD = re.compile(rb"<script>([^<]*livereload\([^<]*)</script>")
"""What MkDocs puts into each page that it serves, for the page to follow what is edited."""
SCRIPTS = b"script-src 'self'"
"""In the page's policy: the script above has to be let in by its hash."""
PLACE = b'<meta name="guide-live" content="">'
"""Stands in the pages that have runs; the token is put into it while they are served."""


@dataclass(frozen=True)
class Refused(Exception):
    """A request that is not served."""

    status: str
    why: str


class Live:
    """Guards all paths of the served site, and serves the route for runs."""

    def __init__(self, inner: Wsgi, port: int, rules: Callable[[], Collection[str]]) -> None:
        self.token = secrets.token_urlsafe(32)
        self._quoted_token = f'"{self.token}"'.encode()
        self.pool = Pool()
        self._inner = inner
        self._rules = rules
        names = ("127.0.0.1", "localhost", "[::1]")
        self._hosts = {f"{name}:{port}" for name in names}
        self._origins = {f"http://{host}" for host in self._hosts}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            if environ.get("HTTP_HOST", "") not in self._hosts:
                raise Refused("421 Misdirected Request", "This server has no such name.")
            path = environ.get("PATH_INFO", "")
            if path == ROUTE:
                return self._run(environ, start_response)
            if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                raise Refused("405 Method Not Allowed", "Pages are read with GET.")
            return self._page(environ, start_response)
        except Refused as refused:
            drain(environ)
            headers = [("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff")]
            start_response(refused.status, headers)
            return [json.dumps({"error": refused.why}).encode()]

    def _run(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        request = self._allowed(environ)
        try:
            events = self.pool.run(request)
        except Busy:
            raise Refused(
                "429 Too Many Requests", "Two runs are under way. Wait for one, or stop it."
            ) from None
        start_response(
            "200 OK",
            [
                ("Content-Type", "application/x-ndjson"),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
            ],
        )
        return events

    def _allowed(self, environ: Environ) -> dict[str, Any]:
        """The request for a run, if it comes from a page of ours.

        Raises:
            Refused: it doesn't, or it is none.
        """
        if environ["REQUEST_METHOD"] != "POST":
            raise Refused("405 Method Not Allowed", "A run is asked for with POST.")
        if environ.get("HTTP_ORIGIN") not in self._origins:
            raise Refused("403 Forbidden", "Runs are asked for from this site's own pages.")
        if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") != "same-origin":
            raise Refused("403 Forbidden", "Runs are asked for from this site's own pages.")
        token = environ.get("HTTP_X_GUIDE_TOKEN", "")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise Refused(
                "403 Forbidden", "The page is of an earlier start of the server: reload it."
            )
        if environ.get("CONTENT_TYPE", "").partition(";")[0].strip() != "application/json":
            raise Refused("415 Unsupported Media Type", "A run is asked for with JSON.")
        length = environ.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal() or int(length) > LARGEST:
            raise Refused("413 Content Too Large", f"At most {LARGEST} bytes.")
        return self._understood(environ.pop("wsgi.input").read(int(length)))

    def _understood(self, body: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(body)
        except ValueError:
            raise Refused("400 Bad Request", "The body is not JSON.") from None
        match asked:
            case {"rule": str(rule), "variant": "do" | "dont" as variant, **rest} if (
                rest.keys() <= {"code"} and isinstance(rest.get("code", ""), str)
            ):
                try:
                    known = self._rules()
                except CatalogueError as error:  # somebody is editing
                    raise Refused("503 Service Unavailable", str(error)) from None
                if rule not in known:
                    raise Refused("404 Not Found", "There is no such rule.")
                code = {"code": rest["code"]} if "code" in rest else {}
                return {"rule": rule, "variant": variant, **code}
        raise Refused("400 Bad Request", "A rule, a variant (do or dont), and perhaps code.")

    def _page(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """A page of the site, with the token, and with MkDocs' own script let in."""
        answered: list[Any] = []

        def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> None:
            answered.extend((status, headers, *rest))

        body = self._inner(environ, started)
        status, headers, *rest = answered
        kind = dict((name.lower(), value) for name, value in headers).get("content-type", "")
        if kind.startswith("text/html") and "Content-Length" in dict(headers):
            page = b"".join(body).replace(PLACE, PLACE.replace(b'""', self._quoted_token), 1)
            if injected := LIVERELOAD.search(page):
                page = page.replace(SCRIPTS, SCRIPTS + b" " + hashed(injected[1]), 1)
            headers = [h for h in headers if h[0].lower() != "content-length"]
            headers.append(("Content-Length", str(len(page))))
            body = [page]
        start_response(status, headers, *rest)
        return body


def drain(environ: Environ) -> None:
    """Reads what a refused caller still sends: cut off in the middle, it would not hear the answer."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if "wsgi.input" in environ and length.isdecimal():
        environ.pop("wsgi.input").read(min(int(length), LARGEST))


def hashed(script: bytes) -> bytes:
    """A script as a policy names it."""
    return b"'sha256-" + base64.b64encode(hashlib.sha256(script).digest()) + b"'"
