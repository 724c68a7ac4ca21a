"""The built site, where it is served, and the browser that shows it: what tests of pages share."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from restate_guide import catalogue
from restate_guide.catalogue import Rule

ROOT = Path(__file__).parent.parent
RULE = "rules/determinism/run-action-not-idempotent/"
"""The rule that tests of a rule's page look at."""

THEME = "/assets/javascripts/"
"""Where the theme's own scripts are, which take most of a page's time."""

STANDARD = {
    "type": "tag",
    "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
"""What pages are held to."""

COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""What of it depends on a page's colours: the rest is the same in both schemes."""


def longest_rule() -> Rule:
    """The rule with the most to show."""
    return max(catalogue.rules(), key=lambda rule: (rule.folder / "evidence.json").stat().st_size)


@dataclass(frozen=True)
class Site:
    """Two builds of the site, and what building them said."""

    folder: Path
    offline: Path
    output: str


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site, built once for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    online, offline, said = shared / "site", shared / "site-offline", shared / "site.txt"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            building = [build(online, {}), build(offline, {"OFFLINE": "true"})]
            output = "".join(process.communicate()[0] for process in building)
            assert [process.returncode for process in building] == [0, 0], output
            said.write_text(output)
    return Site(online, offline, said.read_text())


def build(folder: Path, settings: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class Files(http.server.SimpleHTTPRequestHandler):
    """The files of a site, which a browser may keep while it is open."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "max-age=600")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class WithoutTheme(Files):
    """The same, with nothing in the theme's own scripts."""

    def translate_path(self, path: str) -> str:
        return os.devnull if THEME in path else super().translate_path(path)


@contextlib.contextmanager
def serving(kind: type[Files], folder: Path) -> Iterator[str]:
    """A server of a folder; its address."""
    handler = functools.partial(kind, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def origin(site: Site) -> Iterator[str]:
    """Where the built site is served."""
    with serving(Files, site.folder) as url:
        yield url


@pytest.fixture(scope="session")
def plain(site: Site) -> Iterator[str]:
    """Where it is served without the theme's own scripts; routing them away would cost the cache."""
    with serving(WithoutTheme, site.folder) as url:
        yield url


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Debian's Chromium, for which no other host than this one exists."""
    expect.set_options(timeout=30_000)  # milliseconds: a bound on a hang, on a busy machine too
    browser = launch(playwright, "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
    yield browser
    browser.close()


def launch(playwright: Playwright, names: str) -> Browser:
    """Starts Chromium.

    Args:
        names: which host is what, as in its option --host-resolver-rules.
    """
    return playwright.chromium.launch(
        executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"),
        args=["--no-sandbox", f"--host-resolver-rules={names}"],
    )


@contextlib.contextmanager
def flawless(context: BrowserContext) -> Iterator[Page]:
    """A page on which nothing goes wrong."""
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    yield page
    page.close()
    assert wrong == []


def findings(page: Page, within: Any = None, what: dict[str, Any] = STANDARD) -> list[str]:
    """What axe finds, each with the element it finds it on.

    Args:
        within: axe's context, if not the whole page: a selector of elements to be looked at, or
            `{"exclude": [selector]}`.
        what: the rules that it looks for, as its option `runOnly` takes them.
    """
    found = Axe().run(page, within, options={"runOnly": what, "resultTypes": ["violations"]})
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]
