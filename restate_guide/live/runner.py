"""The runner: a process with a lab of its own, in which live runs are made.

It is started by the pool as `python -m restate_guide.live.runner`, and waits for requests on standard
input. What happens goes to standard output: the run's number and JSON in a line, and at the run's end
a line with its number alone. When standard input closes, because the server of the pages ended or was
killed, everything ends.

    {"run": 7, "rule": "RDD102", "variant": "dont", "code": "..."}   ->  7 {"kind": "call", ...}
    {"stop": 7}                                                      ->  7
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
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
SERVERS = 2
"""Kept ready, one for each run at a time."""
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


def say(run: int, said: Json | None) -> None:
    """Something happened in a run; None: it has ended."""
    words = "" if said is None else json.dumps(said, ensure_ascii=False)
    sys.stdout.write(f"{run} {words}\n")
    sys.stdout.flush()


async def perform(lab: Laboratory, request: Json) -> None:
    """Makes one run, and tells of it."""
    try:
        async with contextlib.aclosing(events(lab, request)) as happening:
            async for said in happening:
                say(request["run"], said)
    finally:
        lab.prepare(SERVERS)  # a run that broke early has not
        say(request["run"], None)


async def serve(lab: Laboratory, requests: asyncio.StreamReader) -> None:
    """Does what the pool asks until it is gone."""
    running: dict[int, asyncio.Task[None]] = {}
    try:
        while line := await requests.readline():
            request = json.loads(line)
            if "stop" in request:
                if (run := running.pop(request["stop"], None)) is not None:
                    run.cancel()
            else:
                running[request["run"]] = asyncio.create_task(perform(lab, request))
    finally:
        for run in running.values():
            run.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


async def main() -> None:
    requests = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    async with laboratory(LIMITS, ahead=SERVERS) as lab:
        lab.prepare(SERVERS)
        with contextlib.suppress(CatalogueError):  # somebody is editing
            open_book(ROOT)  # takes longer than all else until a run's first event
        serving = asyncio.create_task(serve(lab, requests))
        broken = asyncio.create_task(lab.until_broken())
        await asyncio.wait({serving, broken}, return_when=asyncio.FIRST_COMPLETED)
        if broken.done():
            os._exit(1)  # at once, so that the next run gets another lab; the keeper tidies up
        for task in (serving, broken):
            task.cancel()
        await asyncio.gather(serving, broken, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
