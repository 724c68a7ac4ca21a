"""A `mkdocs serve` with the guide's hook, as a reader starts it: what tests of live runs share."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from restate_guide import catalogue
from restate_guide.catalogue import ROOT
from restate_guide.lab import keeper
from tests.ports import free_port

Json = dict[str, Any]
LIMIT = 60.0
"""Seconds; a bound on a hang."""
RULE = catalogue.find("RDD102", catalogue.rules())
"""The rule that is served, and run."""
SETTINGS = f"""
INHERIT: {ROOT}/mkdocs.yml
docs_dir: {ROOT}/docs
exclude_docs: |
  *.md
  !/index.md
  !/{RULE.url.rstrip("/")}.md
hooks: ['{ROOT}/restate_guide/live/hook.py']
watch: []
theme: {{custom_dir: '{ROOT}/overrides'}}
plugins: []
extra: {{menu: []}}
"""
"""The guide's own, but for all other pages: they take long to build."""


END_WITH_US = keeper.prctl()
IDLE = 7
"""Processes that there are between two runs: MkDocs, the runner, its keeper, two nurseries, two servers."""


class Served:
    """A `mkdocs serve` of the front page and a rule, for the time of a `with` block."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        (folder / "mkdocs.yml").write_text(SETTINGS)
        # A short name: sockets lie in it, and pytest's folders are too long for one.
        self.temporary = Path(tempfile.mkdtemp(prefix="served-"))
        self.url = f"http://127.0.0.1:{self.port}"
        self.page = f"{self.url}/{RULE.url}"
        self.log = folder / "serve.log"
        command = [sys.executable, "-m", "mkdocs", "serve", "--dev-addr", f"127.0.0.1:{self.port}"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={
                    **os.environ,
                    "TMPDIR": str(self.temporary),
                    "PYTHONFAULTHANDLER": "1",
                    **environment,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=interruptible,
            )
        until(lambda: "Serving on" in self.log.read_text())

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.end()
        shutil.rmtree(self.temporary, ignore_errors=True)

    @property
    def token(self) -> str:
        found = re.search(
            r'name="guide-live" content="([^"]+)"', httpx.get(self.page, timeout=LIMIT).text
        )
        assert found
        return found[1]

    def headers(self) -> dict[str, str]:
        return {
            "origin": self.url,
            "sec-fetch-site": "same-origin",
            "x-guide-token": self.token,
            "content-type": "application/json",
        }

    def events(self, **request: str) -> Iterator[Json]:
        """What happens in a run, as it comes."""
        body = json.dumps({"rule": RULE.id, "variant": "dont", **request})
        with httpx.stream(
            "POST", f"{self.url}/-/run", content=body, headers=self.headers(), timeout=LIMIT
        ) as answer:
            assert answer.status_code == 200, answer.read()
            for line in answer.iter_lines():
                yield json.loads(line)

    def run(self, **request: str) -> list[Json]:
        """A run to its end."""
        return list(self.events(**request))

    def held(self) -> tuple[int, int]:
        """What the serving process holds: its open files, and bytes of memory."""
        process = Path(f"/proc/{self.process.pid}")
        resident = re.search(r"VmRSS:\s+(\d+) kB", (process / "status").read_text())
        assert resident
        return len(list((process / "fd").iterdir())), int(resident[1]) * 1024

    def descendants(self) -> set[int]:
        """All processes that belong to it: by its temporary folder, which they inherit or name."""
        mark = str(self.temporary).encode()
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes() + (process / "cmdline").read_bytes():
                    found.add(int(process.name))
        return found - {os.getpid()}

    def left(self) -> list[str]:
        """What lies in its temporary folder, but for the pages themselves."""
        return [p.name for p in self.temporary.iterdir() if not p.name.startswith("mkdocs_")]

    def end(self, by: signal.Signals = signal.SIGINT) -> None:
        """Has it end; if it doesn't, what its threads were doing is what the test fails with."""
        self.process.send_signal(by)
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            pytest.fail(f"{by.name} did not end it:\n{self.log.read_text()}")


def interruptible() -> None:
    """Called in a child: Ctrl-C ends it, also in a shell's background; and so does our own end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    END_WITH_US(keeper.PR_SET_PDEATHSIG, signal.SIGTERM)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served")) as served:
        yield served
        changed = "Detected file changes" in served.log.read_text()
        assert not changed, "a test wrote into docs or snippets, and a page was reloaded"
