"""Gives what changes from run to run a stable name: `inv-1`, `uuid-2`, `time-1`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Json = Any

UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
ALWAYS = {
    "inv": r"inv_[0-9A-Za-z]+",
    "awakeable": r"(?:prom_1|sign_1)[0-9A-Za-z_-]+",
    "uuid": UUID,
    "uuidhex": r"\b[0-9a-f]{32}\b",
    "deployment": r"dp_[0-9A-Za-z]+",
    "time": r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?",
    "outside": r"http://127\.0\.0\.1:\d+",
}
EPOCH_SECONDS = range(1_600_000_000, 2_600_000_000)


class Stable:
    """The names given so far; the first of its kind to be met is number 1.

    Args:
        varies: more patterns by kind, for what only one rule's snippets make up.
    """

    def __init__(self, varies: Mapping[str, str]) -> None:
        patterns = {**varies, **ALWAYS}
        self._kinds = list(patterns)
        self._pattern = re.compile("|".join(f"({pattern})" for pattern in patterns.values()))
        self._names: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def name(self, kind: str, value: str) -> str:
        if (kind, value) not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._names[kind, value] = f"{kind}-{self._counts[kind]}"
        return self._names[kind, value]

    def text(self, text: str) -> str:
        def replace(match: re.Match[str]) -> str:
            return self.name(self._kinds[(match.lastindex or 1) - 1], match[0])

        return self._pattern.sub(replace, text)

    def json(self, value: Json) -> Json:
        """The same value with stable names in it, named in the order in which they are met."""
        match value:
            case str():
                return self.text(value)
            case bool() | None:
                return value
            case int() | float() if (
                int(value) in EPOCH_SECONDS or int(value / 1000) in EPOCH_SECONDS
            ):
                return self.name("time", repr(value))
            case float():
                named = self.text(repr(value))
                return value if named == repr(value) else named
            case dict():
                return {self.text(key): self.json(item) for key, item in value.items()}
            case list() | tuple():
                return [self.json(item) for item in value]
            case _:
                return value
