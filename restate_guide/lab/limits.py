"""Bounds on what a worker may use, for code that nobody has read before."""

from __future__ import annotations

import resource
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """In bytes; None for no bound."""

    memory: int | None = None
    """Address space of one worker process."""
    file: int | None = None
    """Size of any file that it writes, its log included."""

    def environment(self) -> dict[str, str]:
        """As a nursery gets them."""
        bounds = {"LAB_MEMORY": self.memory, "LAB_FILE": self.file}
        return {name: str(bound) for name, bound in bounds.items() if bound is not None}


NO_LIMITS = Limits()


def apply(environment: dict[str, str]) -> None:
    """Bounds this process and all that it forks."""
    for name, kind in (("LAB_MEMORY", resource.RLIMIT_AS), ("LAB_FILE", resource.RLIMIT_FSIZE)):
        if bound := environment.get(name):
            resource.setrlimit(kind, (int(bound), int(bound)))
