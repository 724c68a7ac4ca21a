"""What the tests share: one laboratory for each test process, one site and browser."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from restate_guide.lab import Laboratory, laboratory
from tests.browser import chromium, origin, playwright, site

__all__ = ["Lab", "chromium", "lab", "origin", "playwright", "site"]

T = TypeVar("T")


@dataclass(frozen=True)
class Lab:
    """A laboratory, and the event loop that it lives in."""

    laboratory: Laboratory
    runner: asyncio.Runner

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Nurseries are slow to start, so all tests of a process share them; servers are shared by none."""
    with asyncio.Runner() as runner:
        manager = laboratory()
        opened = runner.run(manager.__aenter__())
        yield Lab(opened, runner)
        runner.run(manager.__aexit__(None, None, None))
