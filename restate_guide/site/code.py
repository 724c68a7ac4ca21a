"""Code as lines of coloured tokens, and what differs between the two halves of a pair."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest

from pygments import token as kinds
from pygments.lexers.python import PythonLexer

COLOURED = (
    # The first that a token's type lies in wins; few colours, so that marks of change stand out.
    (kinds.Comment, "c"),
    (kinds.String, "s"),
    (kinds.Keyword.Constant, "m"),
    (kinds.Keyword, "k"),
    (kinds.Operator.Word, "k"),
    (kinds.Number, "m"),
    (kinds.Name.Function, "f"),
    (kinds.Name.Class, "f"),
    (kinds.Name.Decorator, "f"),
)

ALIKE = 0.6
"""From this ratio on, two lines count as one that was changed, and their words are compared."""

FEW = 3
"""With more changes than these in one line, marks on words would be confetti."""


@dataclass(frozen=True)
class Token:
    text: str
    style: str = ""
    """One of the letters in COLOURED, or nothing."""
    changed: bool = False
    """Whether the other half of the pair has another token here."""


@dataclass(frozen=True)
class Line:
    number: int
    tokens: tuple[Token, ...]
    changed: bool = False
    """Whether the other half of the pair lacks this line."""


Row = tuple[Line | None, Line | None]
"""One row of a pair side by side: don't and do; None where one has no such line."""


@lru_cache(maxsize=512)
def lines(source: str) -> tuple[Line, ...]:
    """The lines of a Python file."""
    found: list[list[Token]] = [[]]
    for kind, value in PythonLexer(stripnl=False).get_tokens(source):
        style = next(
            (letter for within, letter in COLOURED if kinds.is_token_subtype(kind, within)), ""
        )
        for at, part in enumerate(value.split("\n")):
            if at:
                found.append([])
            if part:
                found[-1].append(Token(part, style))
    while found and not found[-1]:
        found.pop()
    return tuple(Line(number, _merged(tokens)) for number, tokens in enumerate(found, 1))


def _merged(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """Neighbours of one style as one token: a page has thousands of them."""
    merged: list[Token] = []
    for token in tokens:
        if merged and (merged[-1].style, merged[-1].changed) == (token.style, token.changed):
            merged[-1] = replace(token, text=merged[-1].text + token.text)
        else:
            merged.append(token)
    return tuple(merged)


@lru_cache(maxsize=512)
def rows(dont: str, do: str) -> tuple[Row, ...]:
    """Both files side by side: what is the same stands in one row, what differs is marked."""
    before, after = lines(dont), lines(do)
    matcher = difflib.SequenceMatcher(None, dont.splitlines(), do.splitlines(), autojunk=False)
    found: list[Row] = []
    for how, a, b, c, d in matcher.get_opcodes():
        if how == "equal":
            found.extend(zip(before[a:b], after[c:d], strict=True))
        else:
            found.extend(_differing(before[a:b], after[c:d]))
    return tuple(found)


def _differing(before: Sequence[Line], after: Sequence[Line]) -> Iterator[Row]:
    """Rows of two blocks that differ: like stands beside like, the rest beside a gap."""
    if not before or not after:
        for line in before:
            yield replace(line, changed=True), None
        for line in after:
            yield None, replace(line, changed=True)
        return
    alike, at, to = max(
        (
            (_likeness(one, other), i, j)
            for i, one in enumerate(before)
            for j, other in enumerate(after)
        ),
        key=lambda found: found[0],
    )
    if alike < ALIKE:
        yield from _in_turn(before, after)
        return
    yield from _differing(before[:at], after[:to])
    yield _compared(before[at], after[to])
    yield from _differing(before[at + 1 :], after[to + 1 :])


def _in_turn(before: Sequence[Line], after: Sequence[Line]) -> Iterator[Row]:
    """Rows of two blocks that have nothing in common."""
    for left, right in zip_longest(before, after):
        yield (
            replace(left, changed=True) if left else None,
            replace(right, changed=True) if right else None,
        )


def _likeness(left: Line, right: Line) -> float:
    """From 0 to 1: how much of two lines is the same, word by word."""
    sides = [[word.text for word in _words(line)] for line in (left, right)]
    return difflib.SequenceMatcher(None, sides[0], sides[1], autojunk=False).ratio()


def _compared(left: Line, right: Line) -> Row:
    """Two lines that stand in each other's place, with the words marked that differ."""
    sides = [_words(left), _words(right)]
    texts = [[word.text for word in side] for side in sides]
    matcher = difflib.SequenceMatcher(None, texts[0], texts[1], autojunk=False)
    changes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    if len(changes) <= FEW:
        for _, a, b, c, d in changes:
            sides[0][a:b] = [replace(word, changed=True) for word in sides[0][a:b]]
            sides[1][c:d] = [replace(word, changed=True) for word in sides[1][c:d]]
    return (
        Line(left.number, _merged(sides[0]), changed=True),
        Line(right.number, _merged(sides[1]), changed=True),
    )


def _words(line: Line) -> list[Token]:
    """A line's tokens, cut further into words, as whole tokens are too coarse to compare."""
    return [replace(token, text=word) for token in line.tokens for word in words_of(token.text)]


def words_of(text: str) -> list[str]:
    """Words, runs of spaces, and single signs."""
    return re.findall(r"\w+|\s+|.", text)


def heart(source: str) -> range:
    """The lines of a snippet that its rule is about: its functions and classes, no more."""
    body = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    if not body:
        return range(1, source.count("\n") + 1)
    first = min([body[0].lineno, *(d.lineno for d in body[0].decorator_list)])
    return range(first, (body[-1].end_lineno or body[-1].lineno) + 1)
