"""What the tests share: one laboratory for each test process, one site and browser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from restate_guide.lab import Laboratory, laboratory
from tests.browser import chromium, origin, plain, playwright, site
from tests.served import served

__all__ = ["Lab", "chromium", "lab", "origin", "plain", "playwright", "served", "site"]

T = TypeVar("T")
THREAD = ThreadPoolExecutor(max_workers=1)
MOSTLY_WAIT = ("test_lab.py", "test_stopping.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has those that mostly wait begin early: in the last seconds nothing would run beside them."""
    items.sort(key=lambda item: item.path.name not in MOSTLY_WAIT)


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """Calls it in a thread: Playwright leaves an event loop running in the one of the tests."""
    return THREAD.submit(function, *arguments).result()


@dataclass(frozen=True)
class Lab:
    """A laboratory, and the event loop that it lives in.

    The loop runs in a thread of its own, and goes on between tests: a server that is started ahead
    becomes healthy then, and is not taken for one that hangs because nobody looked at it.
    """

    laboratory: Laboratory
    loop: asyncio.AbstractEventLoop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return await_in(self.loop, coroutine)


def await_in(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs it in a loop of another thread; it ends with the test, if that is broken off."""
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    finally:
        future.cancel()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Nurseries are slow to start, so all tests of a process share them; a server is empty for each run."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="lab")
    thread.start()
    manager = laboratory(ahead=0)
    try:
        yield Lab(await_in(loop, manager.__aenter__()), loop)
        await_in(loop, manager.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
