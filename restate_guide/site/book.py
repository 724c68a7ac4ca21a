"""The book: all rules with their evidence, as one value that is read again once a file changed."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from restate_guide import catalogue
from restate_guide.catalogue import CatalogueError, Rule
from restate_guide.lab import evidence
from restate_guide.lab.evidence import AsideObserved, Evidence


@dataclass(frozen=True)
class Entry:
    """A rule and what was recorded of it."""

    rule: Rule
    evidence: Evidence

    @property
    def promised(self) -> Mapping[str, int]:
        """How often each effect and each log line may happen, as the do's verdict has it."""
        values = self.evidence.do.verdict.values
        return {**values.get("effects", {}), **values.get("lines", {})}

    def aside(self, name: str) -> AsideObserved:
        """One of its further claims.

        Raises:
            CatalogueError: there is none of this name.
        """
        if name not in self.evidence.asides:
            raise CatalogueError(
                f"{self.rule.id} has no aside {name!r}.{nearest(name, self.evidence.asides)}"
            )
        return self.evidence.asides[name]


@dataclass(frozen=True)
class Book:
    """All rules, by id."""

    entries: Mapping[str, Entry]

    def find(self, name: str) -> Entry:
        """The rule with this id.

        Raises:
            CatalogueError: there is none; the message names the nearest.
        """
        rule = catalogue.find(name, [entry.rule for entry in self.entries.values()])
        return self.entries[rule.id]

    def chapter(self, name: str) -> list[Entry]:
        """The rules of a chapter, by its folder.

        Raises:
            CatalogueError: there is no such chapter.
        """
        if name not in catalogue.CHAPTERS:
            hint = nearest(name, catalogue.CHAPTERS)
            raise CatalogueError(f"There is no chapter {name!r}.{hint}")
        return [entry for entry in self.entries.values() if entry.rule.chapter == name]


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint at the names most like the one that isn't there."""
    known = list(names)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
    return f" Did you mean {' or '.join(close)}?" if close else ""


def open_book(root: Path) -> Book:
    """The book of a checkout. It is read once, and again after one of its files has changed.

    Raises:
        CatalogueError: a rule isn't whole.
    """
    return _read(root, tuple(files_of(root / "docs" / "rules")), tuple(files_of(root / "snippets")))


@lru_cache(maxsize=1)
def _read(root: Path, *_as_of: tuple[tuple[str, int], ...]) -> Book:
    """Reads the book; the argument `_as_of` makes that happen once for each state of its files."""
    entries = {}
    for rule in catalogue.rules(root):
        path = rule.folder / "evidence.json"
        try:
            entries[rule.id] = Entry(rule, evidence.read(path))
        except ValidationError as error:
            raise CatalogueError(
                f"{path.relative_to(root)} is not the evidence that this version of the guide "
                f"records: `make update` records it anew. ({error.error_count()} errors, the first "
                f"at {error.errors()[0]['loc']}.)"
            ) from None
    return Book(entries)


def files_of(folder: Path) -> Iterator[tuple[str, int]]:
    """The files in a folder and below, each with the time of its last change."""
    with os.scandir(folder) as found:
        for entry in found:
            if entry.name.startswith((".", "__")):
                continue  # caches of tools
            if entry.is_dir():
                yield from files_of(Path(entry.path))
            else:
                yield entry.path, entry.stat().st_mtime_ns
