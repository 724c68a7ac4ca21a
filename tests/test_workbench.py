"""The workbench in a browser: a pair is run, edited, passed on and taken home from its page."""

from __future__ import annotations

import http.server
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser import THEME, findings, flawless
from tests.ports import free_port
from tests.served import IDLE, LIMIT, RULE, Served, interruptible, until

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.xdist_group("live")]

DONT, DO = RULE.snippet("dont"), RULE.snippet("do")
SCRIPTS = f"**{THEME}**"
ENDLESS = DONT.replace("    response =", "    import time\n    time.sleep(4711)\n    response =")


@pytest.fixture(scope="module")
def context(chromium: Browser) -> Iterator[BrowserContext]:
    with chromium.new_context(
        viewport={"width": 1440, "height": 1600},
        permissions=["clipboard-read", "clipboard-write"],
        reduced_motion="reduce",
    ) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """Its policy for scripts included, nothing goes wrong."""
    with flawless(context) as page:
        page.route(SCRIPTS, lambda route: route.fulfill(body="", content_type="text/javascript"))
        yield page


@pytest.fixture
def dont(page: Page, served: Served) -> Locator:
    """The don't on its page, under `mkdocs serve`."""
    page.goto(served.page, wait_until="domcontentloaded")
    return page.locator(".pair > .side.dont")


def press(where: Locator | Page, name: str) -> None:
    where.get_by_role("button", name=name, exact=True).click()


def edit(side: Locator, code: str) -> None:
    """Opens the editor, where it isn't, and replaces what is in it."""
    if not side.locator(".cm-content").count():
        press(side, "Edit")
    side.locator(".cm-content").fill(code)


def edited(side: Locator) -> str:
    lines = side.locator(".cm-line").all_text_contents()
    return "\n".join(lines)


def comes_to(side: Locator, words: str) -> None:
    expect(side.locator(".outcome")).to_contain_text(words)


def test_run_shows_a_run_of_ones_own(dont: Locator, page: Page) -> None:
    run = page.locator(".happened > .run.dont")
    recorded = run.locator(".story").inner_text()
    press(dont, "Run")
    run.locator(".live .steps li").first.wait_for()
    assert "Live" in run.locator(".liveness").inner_text()
    assert not run.locator(".recorded").is_visible()
    comes_to(dont, "The harm is still there")
    page.set_viewport_size({"width": 1280, "height": 600})  # the code goes on below it
    expect(dont.get_by_role("button", name="Run", exact=True)).to_be_in_viewport()
    expect(dont.locator(".outcome")).to_be_in_viewport(ratio=1)
    assert "Effect repeated" in run.locator(".live .verdict").inner_text()
    assert run.locator(".live .story").inner_text() == recorded
    run.locator(".live .replay input").press("Home")
    assert dont.locator(".l.running").count() == 1, "it is stepped through as the recorded one is"
    press(run, "Show the recorded run")
    assert run.locator(".story").count() == 1
    assert run.locator(".story").is_visible()


def test_run_of_the_do_holds(page: Page, served: Served) -> None:
    page.goto(served.page, wait_until="domcontentloaded")
    side = page.locator(".pair > .side.do")
    press(side, "Run")
    comes_to(side, "It holds")


def test_a_dont_with_the_code_of_the_do_holds(dont: Locator, page: Page) -> None:
    edit(dont, DO)
    assert edited(dont) == DO
    assert not dont.locator(".listing").is_visible(), "the editor stands in its place"
    assert dont.locator(".cm-changed").count() > 3
    press(dont, "Run")
    comes_to(dont, "The harm is gone")
    assert dont.locator(".outcome.good").is_visible()
    run = page.locator(".happened > .run.dont .live")
    assert "your edited code" in run.locator(".liveness").inner_text()
    assert run.locator(".steps li").count() > 3
    assert run.locator(".at a").count() == 0, "its lines are not those of the listing"
    press(dont, "Close")
    assert dont.locator(".listing").is_visible()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("import no_such_module", "ModuleNotFoundError"),
        ("checkout = = 1", "SyntaxError"),
    ],
)
def test_an_error_is_marked_on_its_line(dont: Locator, line: str, error: str) -> None:
    code = DONT.replace("import httpx\n", f"import httpx\n{line}\n")
    edit(dont, code)
    press(dont, "Run")
    comes_to(dont, error)
    assert dont.locator(".outcome.bad pre").is_visible()
    assert dont.locator(".cm-line.cm-error").all_text_contents() == [line]
    dont.locator(".cm-content").press("End")
    dont.locator(".cm-content").press("x")
    assert dont.locator(".cm-error").count() == 0, "it may be mended now"


def test_reset_brings_the_original_back(dont: Locator) -> None:
    edit(dont, "nothing is left")
    assert edited(dont) == "nothing is left"
    press(dont, "Reset")
    assert edited(dont) == DONT
    assert dont.locator(".cm-changed").count() == 0


def test_stop_ends_a_run(dont: Locator, page: Page, served: Served) -> None:
    until(lambda: len(served.descendants()) == IDLE)
    edit(dont, ENDLESS)
    press(dont, "Run")
    page.locator(".happened > .run.dont .live .attempt-head").wait_for()
    press(dont, "Stop")
    comes_to(dont, "Stopped.")
    assert "Stopped." in page.locator(".happened > .run.dont .live .verdict").inner_text()
    until(lambda: len(served.descendants()) == IDLE)
    expect(dont.get_by_role("button", name="Run", exact=True)).to_be_visible()


def test_a_link_shows_the_code_and_runs_nothing(
    dont: Locator, page: Page, context: BrowserContext
) -> None:
    code = DONT.replace("order-1", "order-2") + "\n# Ärger – ✗\n"
    edit(dont, code)
    press(dont, "Copy link")
    expect(page.locator(".spoken[role=status]").last).to_have_text("The link copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    other, asked = context.new_page(), []
    other.on("request", lambda request: asked.append(request.url))
    other.goto(link, wait_until="domcontentloaded")
    side = other.locator(".pair > .side.dont")
    comes_to(side, "Read it before you run it.")
    assert edited(side) == code
    assert not [url for url in asked if url.endswith("/-/run")]
    other.close()


@pytest.mark.parametrize("text", ["AAAA", "x", "a" * 70000], ids=["no code", "short", "long"])
def test_a_damaged_link_is_said_to_be_one(page: Page, served: Served, text: str) -> None:
    page.goto(f"{served.page}#edit=do:{text}", wait_until="domcontentloaded")
    comes_to(page.locator(".pair > .side.do"), "The link is damaged")


def test_copy_copies_what_is_shown(dont: Locator, page: Page) -> None:
    press(dont, "Copy")
    expect(page.locator(".spoken[role=status]").last).to_have_text("dont.py copied")
    assert page.evaluate("navigator.clipboard.readText()") == DONT


def test_a_download_runs_by_itself(dont: Locator, page: Page, tmp_path: Path) -> None:
    registered: list[str] = []

    class Admin(http.server.BaseHTTPRequestHandler):
        """Takes the place of a server: it is told where the file serves."""

        def do_POST(self) -> None:
            registered.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(201)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    press(dont, "Edit")
    with page.expect_download() as downloading:
        press(dont, "Download")
    assert downloading.value.suggested_filename == "rdd102_dont.py"
    file = tmp_path / "rdd102_dont.py"
    downloading.value.save_as(file)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Admin) as admin:
        threading.Thread(target=admin.serve_forever, daemon=True).start()
        port = free_port()
        code = file.read_text()
        assert {*re.findall(r"127\.0\.0\.1:(\d+)", code)} == {"9080", "9070"}
        file.write_text(code.replace(":9080", f":{port}").replace(":9070", f":{admin.server_port}"))
        running = subprocess.Popen(
            [sys.executable, file.name], cwd=tmp_path, preexec_fn=interruptible
        )
        try:
            until(lambda: bool(registered) or running.poll() is not None)
            assert f"http://127.0.0.1:{port}" in registered[0]
            described = httpx.get(
                f"http://127.0.0.1:{port}/discover",
                headers={"accept": "application/vnd.restate.endpointmanifest.v3+json"},
                timeout=LIMIT,
            ).text
            assert '"Checkout"' in described
            running.send_signal(signal.SIGINT)  # as Ctrl-C does
            running.wait(LIMIT)
        finally:
            running.kill()
            running.wait()
            admin.shutdown()


def test_without_the_server_a_line_says_how_to_have_it(page: Page, origin: str) -> None:
    page.goto(origin + RULE.url, wait_until="domcontentloaded")
    side = page.locator(".pair > .side.dont")
    assert page.get_by_role("button", name="Run", exact=True).count() == 0
    assert page.get_by_text("make serve").count() == 1
    edit(side, DO)
    assert edited(side) == DO
    assert page.get_by_text("make serve").count() == 1


def test_tab_leaves_the_editor(dont: Locator, page: Page) -> None:
    edit(dont, DONT)
    page.keyboard.press("Tab")
    expect(dont.get_by_role("button", name="Reset", exact=True)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(dont.locator(".cm-content")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    assert not dont.locator(".cm-content").evaluate("it => it === document.activeElement")
    assert edited(dont) == DONT


def test_letters_that_are_shortcuts_elsewhere_are_typed(dont: Locator, page: Page) -> None:
    page.unroute(SCRIPTS)
    page.reload(wait_until="domcontentloaded")
    edit(dont, "")
    page.keyboard.type("f, s, n, p, /, .")
    assert edited(dont) == "f, s, n, p, /, ."
    assert not page.locator("#__search").is_checked()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_workbench(page: Page, served: Served, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(served.page, wait_until="domcontentloaded")
    dont = page.locator(".pair > .side.dont")
    code = DONT.replace("import httpx\n", "import httpx\nimport no_such_module\n")
    edit(dont, code)
    press(dont, "Run")
    comes_to(dont, "ModuleNotFoundError")
    do = page.locator(".pair > .side.do")
    press(do, "Run")
    comes_to(do, "It holds")
    page.evaluate("scrollTo(0, 0)")
    assert findings(page) == []
