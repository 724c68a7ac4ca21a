"""The page Start here, done as a reader does it: its file, its server, its kill, its words."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab.server import find_binary
from tests.ports import free_port

pytestmark = pytest.mark.server

PAGE = (ROOT / "docs" / "start.md").read_text()
FILE = (ROOT / "snippets" / "start" / "orders.py").read_text()
LIMIT = 60.0
"""Seconds; a bound on a hang."""


def shown(title: str) -> str:
    """A block of the page, by its title."""
    found = re.search(rf'^```text title="{title}"\n(.*?)^```', PAGE, re.M | re.S)
    assert found, title
    return found[1]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; what was started in it is ended with it."""
    yield tmp_path
    for note in tmp_path.glob("*.pid"):
        try:
            os.killpg(int(note.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            continue


def start(folder: Path, name: str, argv: list[str], **env: str) -> subprocess.Popen[str]:
    with (folder / f"{name}.txt").open("w") as log:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder), **env},
            stdout=log,
            stderr=subprocess.STDOUT if name == "server" else subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
    (folder / f"{name}.pid").write_text(str(process.pid))
    return process


def test_the_page_is_what_a_reader_sees(folder: Path) -> None:
    ingress, admin, worker, node = (free_port() for _ in range(4))
    ours = {"9080": worker, "9070": admin, "seconds=10": "seconds=2"}  # other ports, less waiting
    text = FILE
    for theirs, mine in ours.items():
        assert theirs in text
        text = text.replace(theirs, mine if isinstance(mine, str) else str(mine))
    (folder / "orders.py").write_text(text)
    start(
        folder,
        "server",
        [str(find_binary()), "--base-dir", str(folder / "data")],
        RESTATE_BIND_IP="127.0.0.1",
        RESTATE_BIND_PORT=str(node),
        RESTATE_INGRESS__BIND_PORT=str(ingress),
        RESTATE_ADMIN__BIND_PORT=str(admin),
        RESTATE_DISABLE_TELEMETRY="true",
        RESTATE_LOG_FILTER="warn",
    )
    until(lambda: answers(f"http://127.0.0.1:{admin}/health"))
    until(lambda: answers(f"http://127.0.0.1:{ingress}/restate/health"))

    def serve(name: str) -> subprocess.Popen[str]:
        return start(folder, name, [sys.executable, "orders.py"], PYTHONUNBUFFERED="1")

    def printed(name: str) -> str:
        return (folder / f"{name}.txt").read_text()

    def journal() -> list[tuple[int, str, str]]:
        sql = "SELECT index, entry_type, name FROM sys_journal ORDER BY id, index"
        assert sql in PAGE
        asked = httpx.post(
            f"http://127.0.0.1:{admin}/query",
            json={"query": sql},
            headers={"accept": "application/json"},
        )
        rows = asked.raise_for_status().json()["rows"]
        return [(row["index"], row["entry_type"], row.get("name") or "") for row in rows]

    first = serve("first")

    def registered() -> bool:
        return "Orders" in httpx.get(f"http://127.0.0.1:{admin}/services").text

    until(registered)
    as_json = "-H 'content-type: application/json' -d"
    assert f"curl localhost:8080/Orders/place {as_json} '\"order-1\"'" in PAGE
    caller = start(
        folder,
        "caller",
        [
            sys.executable,
            "-c",
            "import httpx, sys; print(httpx.post(sys.argv[1], json='order-1', timeout=60).text)",
            f"http://127.0.0.1:{ingress}/Orders/place",
        ],
    )
    until(lambda: "charging" in printed("first") and len(journal()) == 4)
    pattern = re.search(r"^pkill -9 -f '(.+)'$", PAGE, re.M)
    assert pattern and re.search(pattern[1], f"{sys.executable} orders.py")
    first.kill()  # as that line would, which knows no other orders.py from this one
    first.wait()
    until(lambda: len(journal()) == 5)  # the sleep is over, and no service is there
    assert printed("first") == shown("The service")

    serve("second")
    assert caller.wait(LIMIT) == 0
    assert printed("second") == shown("The service, started again")
    assert printed("caller") == shown("The caller")
    table = re.findall(r"^\| (\d) \| ([\w: ]+?) \| (\w*) ?\|$", PAGE, re.M)
    assert [(int(index), kind, name) for index, kind, name in table] == journal()


def test_the_handler_on_the_page_is_the_one_in_the_file() -> None:
    block = re.search(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    assert block
    assert block[1] in FILE


def test_the_file_brings_what_it_needs() -> None:
    """Its header pins what the guide's own lock pins."""
    named = re.findall(r'"([\w-]+==[\d.]+)"', FILE.partition('# ///\n"""')[0])
    lock = (ROOT / "requirements.lock").read_text()
    assert len(named) == 3
    assert all(re.search(rf"^{re.escape(name)} ", lock, re.M) for name in named)
