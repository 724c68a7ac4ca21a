"""What the tests share: one laboratory for each test process, one site and browser."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from restate_guide.lab import Laboratory, laboratory
from tests.browser import chromium, origin, playwright, site
from tests.served import served

__all__ = ["Lab", "chromium", "lab", "origin", "playwright", "served", "site"]

T = TypeVar("T")


THREAD = ThreadPoolExecutor(max_workers=1)


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """Calls it in a thread: Playwright leaves an event loop running in the one of the tests."""
    return THREAD.submit(function, *arguments).result()


@dataclass(frozen=True)
class Lab:
    """A laboratory, and the event loop that it lives in."""

    laboratory: Laboratory
    runner: asyncio.Runner

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        result: T = apart(self.runner.run, coroutine)
        return result


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Nurseries are slow to start, so all tests of a process share them; servers are shared by none."""
    with contextlib.ExitStack() as stack:
        runner = asyncio.Runner()
        stack.callback(apart, runner.close)
        manager = laboratory(ahead=1)
        opened = apart(runner.run, manager.__aenter__())
        yield Lab(opened, runner)
        apart(runner.run, manager.__aexit__(None, None, None))
