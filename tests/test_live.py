"""Live runs as an attacker sees them, and as they end: nothing served or left that should not be."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Playwright

from restate_guide.catalogue import ROOT
from restate_guide.live.app import LARGEST
from tests.browser import launch
from tests.conftest import apart
from tests.served import IDLE, LIMIT, RULE, SETTINGS, Json, Served, until

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("live")]

DONT, DO = RULE.snippet("dont"), RULE.snippet("do")


def crowd() -> float:
    """How much longer than its processor time something takes now: 1.0 on an idle machine."""
    began, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.1:
        pass
    return (time.monotonic() - began) / (time.process_time() - used)


def verdict(events: list[Json]) -> Json:
    return next(event for event in events if event["kind"] == "verdict")


# What it is for


def test_a_run_tells_what_happens_and_what_it_came_to(served: Served) -> None:
    events = served.run()
    kinds = [event["kind"] for event in events if event["kind"] != "beat"]
    assert kinds[0] == "stage"
    assert {"call", "attempt", "moment", "effect", "answer"} <= set(kinds)
    assert verdict(events)["harm"] == "there"
    assert "POST /charges" in verdict(events)["html"]


def test_mended_code_is_told_to_be_mended(served: Served) -> None:
    assert verdict(served.run(code=DO))["harm"] == "gone"
    assert verdict(served.run(code=DONT))["harm"] == "there"


def test_an_error_in_the_code_comes_with_its_line(served: Served) -> None:
    broken = DONT.replace("import httpx\n", "import httpx\nimport no_such_module\n")
    failed = next(event for event in served.run(code=broken) if event["kind"] == "error")
    assert failed["line"] == broken.splitlines().index("import no_such_module") + 1
    assert "ModuleNotFoundError" in failed["text"]
    assert str(ROOT) not in failed["text"], "only the reader's own lines"


# How soon, and how often


def test_a_run_begins_soon(served: Served) -> None:
    """Also the third of three in a row, for which no server is ready yet.

    Half a second, or what becomes of it where other processes want the processor too.
    """
    served.run()  # the runner has started

    def slowest_of_three() -> float:
        waited = []
        for _ in range(3):
            asked = time.monotonic()
            events = served.events()
            next(event for event in events if event["kind"] != "beat")
            waited.append(time.monotonic() - asked)
            assert verdict(list(events))["harm"] == "there"
        return max(waited)

    assert any(slowest_of_three() <= 0.5 * crowd() for _ in range(5))


def test_run_after_run_leaves_the_server_as_it_was(served: Served) -> None:
    served.run()  # what is loaded once is loaded
    files, memory = served.held()
    with ThreadPoolExecutor(2) as two:
        variants = ["dont", "do"] * 3
        runs = two.map(lambda variant: verdict(served.run(variant=variant))["harm"], variants)
        assert list(runs) == ["there", "gone"] * 3
    until(lambda: served.held()[0] <= files)
    assert served.held()[1] - memory < 4 << 20


# Who may ask


@pytest.mark.parametrize("host", ["evil.test", "evil.test:{port}", "127.0.0.1:1", "localhost", ""])
@pytest.mark.parametrize("path", ["/", "/-/run", "/livereload/1/1", "/no-such-page/"])
def test_a_foreign_host_gets_nothing(served: Served, host: str, path: str) -> None:
    answer = httpx.get(
        served.url + path, headers={"host": host.format(port=served.port)}, timeout=LIMIT
    )
    assert answer.status_code == 421
    assert "guide-live" not in answer.text


def test_this_machines_names_are_served(served: Served) -> None:
    answer = httpx.get(served.url, headers={"host": f"localhost:{served.port}"}, timeout=LIMIT)
    assert answer.status_code == 200


BODY = json.dumps({"rule": RULE.id, "variant": "dont"})


@pytest.mark.parametrize(
    ("changed", "body", "status"),
    [
        ({"x-guide-token": ""}, BODY, 403),
        ({"x-guide-token": "wrong"}, BODY, 403),
        ({"origin": "http://evil.test"}, BODY, 403),
        ({"origin": "null"}, BODY, 403),
        ({"sec-fetch-site": "cross-site"}, BODY, 403),
        ({"sec-fetch-site": "same-site"}, BODY, 403),
        ({"content-type": "text/plain"}, BODY, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, BODY, 415),
        ({}, " " * (LARGEST + 1), 413),
        ({}, "{", 400),
        ({}, "[]", 400),
        ({}, json.dumps({"rule": RULE.id, "variant": "proof"}), 400),
        ({}, json.dumps({"rule": RULE.id, "variant": "../do"}), 400),
        ({}, json.dumps({"rule": RULE.id, "variant": "do", "folder": "/"}), 400),
        ({}, json.dumps({"rule": RULE.id, "variant": "do", "code": 1}), 400),
        ({}, json.dumps({"rule": "../../etc", "variant": "do"}), 404),
        ({}, json.dumps({"rule": "RDD999", "variant": "do"}), 404),
    ],
)
def test_a_request_that_is_not_ours_is_refused(
    served: Served, changed: dict[str, str], body: str, status: int
) -> None:
    headers = {**served.headers(), **changed}
    answer = httpx.post(f"{served.url}/-/run", content=body, headers=headers, timeout=LIMIT)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("missing", ["origin", "x-guide-token", "content-type"])
def test_a_request_that_lacks_something_is_refused(served: Served, missing: str) -> None:
    headers = {name: value for name, value in served.headers().items() if name != missing}
    assert httpx.post(
        f"{served.url}/-/run", content=BODY, headers=headers, timeout=LIMIT
    ).status_code in (
        403,
        415,
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_other_methods_run_nothing(served: Served, method: str) -> None:
    answer = httpx.request(method, f"{served.url}/-/run", headers=served.headers(), timeout=LIMIT)
    assert answer.status_code == 405
    if method not in ("GET", "HEAD"):
        assert httpx.request(method, served.url, timeout=LIMIT).status_code == 405


ATTACK = """async ([url, token]) => {
    const form = document.createElement("form");
    form.method = "post"; form.action = url; form.enctype = "text/plain"; form.target = "frame";
    const field = document.createElement("input");
    field.name = '{"rule": "RDD102", "variant": "dont", "a'; field.value = '": 1}';
    form.append(field); document.body.append(form); form.submit();
    const tried = [];
    for (const options of [
        {method: "POST", mode: "no-cors", body: '{"rule": "RDD102", "variant": "dont"}'},
        {method: "POST", headers: {"content-type": "application/json", "x-guide-token": token}, body: "{}"},
    ]) {
        tried.push(await fetch(url, options).then((answer) => answer.type, (error) => error.name));
    }
    tried.push(await fetch(new URL("/", url)).then((page) => page.text(), (error) => error.name));
    return tried;
}"""


@pytest.mark.browser
def test_another_page_in_the_browser_can_run_nothing_and_read_nothing(
    served: Served, chromium: Browser
) -> None:
    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<iframe name=frame></iframe>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil) as evil:
        threading.Thread(target=evil.serve_forever, daemon=True).start()
        with chromium.new_context() as context:
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{evil.server_port}/")
            answers: list[tuple[str, int]] = []
            page.on("response", lambda answer: answers.append((answer.url, answer.status)))
            route = f"{served.url}/-/run"
            tried = page.evaluate(ATTACK, [route, served.token])
            page.wait_for_timeout(200)  # the form's answer
            assert tried == ["opaque", "TypeError", "TypeError"], tried
            posted = [status for url, status in answers if url == route]
            assert posted
            assert set(posted) <= {403, 405}
        evil.shutdown()


@pytest.mark.browser
def test_a_rebound_name_gets_nothing(served: Served, playwright: Playwright) -> None:
    """The browser takes another site's name for this machine; what it asks for still says the name."""
    rules = "MAP evil.test 127.0.0.1"
    browser = launch(playwright, rules)
    try:
        answer = browser.new_page().goto(f"http://evil.test:{served.port}/")
        assert answer is not None
        assert answer.status == 421
        assert served.token not in answer.text()
    finally:
        browser.close()


# How it ends


def test_children_that_detach_are_ended_with_the_run(served: Served) -> None:
    until(lambda: len(served.descendants()) == IDLE)
    code = DONT.replace(
        "import os\n",
        "import os\nimport subprocess\n"
        "subprocess.Popen(['sleep', '4711'], start_new_session=True)\n"
        "if os.fork() == 0:\n    os.closerange(3, 99)\n    os.setsid()\n"
        "    if os.fork():\n        os._exit(0)\n"
        "    import time\n    time.sleep(4711)\n",
        1,
    )
    assert verdict(served.run(code=code))["harm"] == "there"
    until(lambda: not sleeping())
    until(lambda: len(served.descendants()) == IDLE)


def sleeping() -> list[str]:
    """What still runs of the children that had detached themselves."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cmdline").read_bytes() == b"sleep\0004711\0":
                found.append(process.name)
    return found


def test_a_run_that_kills_what_started_it_takes_no_other_with_it(served: Served) -> None:
    code = DONT.replace("import os\n", "import os\n\nos.kill(os.getppid(), 9)\n", 1)
    assert served.run(code=code)[-1]["text"] == "Ended, and all that ran beside it."
    assert verdict(served.run())["harm"] == "there", "the next one has another lab"


def test_an_endless_print_is_ended(served: Served) -> None:
    code = DONT.replace(
        "    response =", "    while True:\n        print('x' * 100)\n    response ="
    )
    events = served.run(code=code)
    assert any(event["kind"] == "error" and "Ended" in event["text"] for event in events), events[
        -1
    ]
    assert httpx.get(served.url, timeout=LIMIT).status_code == 200


def test_memory_is_bounded(served: Served) -> None:
    code = DONT.replace("    response =", "    hoard = bytearray(8 << 30)\n    response =")
    assert "MemoryError" in verdict(served.run(code=code))["text"]


def test_a_reader_who_leaves_ends_the_run(served: Served) -> None:
    waits = "import subprocess\n    subprocess.run(['sleep', '4711'])\n"
    code = DONT.replace("    response =", f"    {waits}    response =")
    body = json.dumps({"rule": RULE.id, "variant": "dont", "code": code})
    with httpx.stream(
        "POST", f"{served.url}/-/run", content=body, headers=served.headers(), timeout=LIMIT
    ) as answer:
        lines = answer.iter_lines()  # kept: with the iterator goes the connection
        assert any('"attempt"' in line for line in lines)
        until(lambda: bool(sleeping()))
    until(lambda: not sleeping())
    assert verdict(served.run())["harm"] == "there", "its slot is free again"


def test_fifty_at_once_are_two_runs_and_refusals(served: Served) -> None:
    async def all_at_once() -> list[int]:
        headers = served.headers()
        async with httpx.AsyncClient(
            timeout=LIMIT, limits=httpx.Limits(max_connections=60)
        ) as client:
            asked = [
                client.post(f"{served.url}/-/run", content=BODY, headers=headers) for _ in range(50)
            ]
            answers = await asyncio.gather(*asked, client.get(served.url))
        assert answers[-1].status_code == 200, "pages are served meanwhile"
        return [answer.status_code for answer in answers[:-1]]

    statuses = apart(asyncio.run, all_at_once())
    assert set(statuses) == {200, 429}
    assert statuses.count(200) <= 10
    assert verdict(served.run())["harm"] == "there"


@pytest.mark.parametrize(
    "by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name
)
def test_a_server_that_ends_in_a_run_leaves_nothing_running(
    tmp_path: Path, by: signal.Signals
) -> None:
    code = DONT.replace("    response =", "    import time\n    time.sleep(4711)\n    response =")
    body = json.dumps({"rule": RULE.id, "variant": "dont", "code": code})
    with Served(tmp_path) as served:
        with (
            contextlib.suppress(httpx.TransportError),
            httpx.stream(
                "POST", f"{served.url}/-/run", content=body, headers=served.headers(), timeout=LIMIT
            ) as answer,
        ):
            lines = answer.iter_lines()  # kept: with the iterator goes the connection
            assert any('"attempt"' in line for line in lines)
            assert len(served.descendants()) >= IDLE
            served.end(by)
        until(lambda: not served.descendants())
        until(lambda: not served.left())
        if by != signal.SIGKILL:
            assert not list(served.temporary.iterdir()), "not even its pages"


def test_a_taken_address_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mkdocs.yml").write_text(SETTINGS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "mkdocs", "serve", "--dev-addr", address]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)
    assert ended.returncode == 1
    told = ended.stdout + ended.stderr
    assert f"Nothing can listen on {address}: Address already in use." in told
    assert "ADDRESS=" in told and "Traceback" not in told
    assert "Documentation built" not in told


def test_guide_live_0_serves_pages_without_runs(tmp_path: Path) -> None:
    with Served(tmp_path, GUIDE_LIVE="0") as served:
        assert 'name="guide-live" content=""' in httpx.get(served.page, timeout=LIMIT).text
        answer = httpx.post(f"{served.url}/-/run", content=BODY, timeout=LIMIT)
        assert answer.status_code == 404
