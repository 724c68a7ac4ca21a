"""The runner: a process for one live run, with its own lab, ready before it is needed.

It is started by the pool as `python -m restate_guide.live.runner`, opens a laboratory, says so, and
waits for one request on standard input. What happens goes to standard output, as JSON lines. When
standard input closes, because the reader left or the server was killed, everything ends.

    {"rule": "RDD102", "variant": "dont", "code": "..."}   ->  {"kind": "call", "text": ..., ...}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from markdown.serializers import to_html_string

from restate_guide.catalogue import ROOT, CatalogueError
from restate_guide.lab import Event, LabError, Laboratory, Proof, laboratory, load
from restate_guide.lab.errors import SnippetError
from restate_guide.lab.evidence import verdict
from restate_guide.lab.limits import Limits
from restate_guide.site import happened
from restate_guide.site.book import Entry, open_book

LIMITS = Limits(memory=1 << 30, file=8 << 20)
"""Of a worker: what it may allocate, and how large a file of its own may get; in bytes."""
SECONDS = 60.0
"""How long a run may take."""
EVENTS = 4000
"""How many events a run may have: an endless print is ended."""

Json = dict[str, Any]


async def events(lab: Laboratory, request: Json) -> AsyncGenerator[Json, None]:
    """What happens in one run, the last one with its verdict or its error."""
    rule = open_book(ROOT).find(request["rule"]).rule
    proof, variant = load(rule.folder), request["variant"]
    with contextlib.ExitStack() as stack:
        snippet = proof.snippet(variant)
        if request.get("code") is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="guide-edit-")))
            for other in rule.folder.glob("*.py"):
                (folder / other.name).write_text(other.read_text())
            snippet = folder / f"{variant}.py"
            snippet.write_text(request["code"])
        count = 0
        try:
            async with (
                asyncio.timeout(SECONDS),
                contextlib.aclosing(lab.run(proof, snippet)) as happening,
            ):
                async for event in happening:
                    count += 1
                    if count > EVENTS:
                        yield {"kind": "error", "text": f"Ended: more than {EVENTS} events."}
                        return
                    yield told(event, proof, rule.id, variant)
        except TimeoutError:
            yield {"kind": "error", "text": f"Ended: it took longer than {SECONDS:g} seconds."}
        except SnippetError as error:
            yield {"kind": "error", **traceback_of(str(error), snippet)}
        except LabError as error:
            yield {"kind": "error", "text": str(error)}


def told(event: Event, proof: Proof, rule: str, variant: str) -> Json:
    """An event as the page gets it."""
    said: Json = {"kind": event.kind, "at": round(event.at, 3), "text": event.text}
    if event.line is not None:
        said["line"] = event.line
    if event.result is not None:
        found = verdict(event.result.outcome)
        entry = open_book(ROOT).find(rule)
        expected = {"holds": "gone", proof.symptom.kind: "there"}
        said |= {
            "harm": expected.get(found.kind, "other"),
            "title": found.title,
            "short": found.short,
            "text": found.sentence,
            "html": html(entry, variant, event),
        }
    return said


def html(entry: Entry, variant: str, event: Event) -> str:
    """The run as the page shows a recorded one."""
    assert event.result is not None
    line = happened.line_links(entry.rule, variant)
    shown = happened.trace(entry, event.result.trace, line)
    return "".join(to_html_string(element) for element in shown)


def traceback_of(message: str, snippet: Path) -> Json:
    """A snippet's own error: its traceback without our frames, and the line that it is on."""
    lines = message.replace(str(snippet), snippet.name).splitlines()
    ours = f'File "{snippet.name}", line '
    own = [at for at, line in enumerate(lines) if ours in line]
    if own:
        lines = ["Traceback (most recent call last):", *lines[own[0] :]]
    numbers = [line.partition(ours)[2].partition(",")[0] for line in lines if ours in line]
    return {"text": "\n".join(lines), **({"line": int(numbers[-1])} if numbers else {})}


def say(said: Json) -> None:
    sys.stdout.write(json.dumps(said, ensure_ascii=False) + "\n")
    sys.stdout.flush()


async def main() -> None:
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def run() -> None:
        async with laboratory(LIMITS, ahead=0) as lab:
            lab.prepare(1)
            with contextlib.suppress(CatalogueError):  # somebody is editing
                open_book(ROOT)  # takes longer than all else until a run's first event
            say({"kind": "ready"})
            if line := await reader.readline():
                async with contextlib.aclosing(events(lab, json.loads(line))) as happening:
                    async for said in happening:
                        say(said)

    running = asyncio.create_task(run())

    with contextlib.suppress(asyncio.CancelledError, BrokenPipeError):
        watching = asyncio.create_task(watch(reader, running))
        await running
        watching.cancel()


async def watch(reader: asyncio.StreamReader, running: asyncio.Task[None]) -> None:
    """Ends the run once standard input is at its end."""
    while not reader.at_eof():
        await asyncio.sleep(0.1)
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main())
