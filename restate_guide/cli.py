"""The command line: `guide list`, `explain`, `run`, `update`, `bench`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import asdict
from functools import wraps
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from restate_guide import catalogue, index, record, terminal
from restate_guide.catalogue import CHAPTERS, CatalogueError, Rule
from restate_guide.lab import Event, LabError, Laboratory, Proof, Result, laboratory, load
from restate_guide.lab.evidence import dumps, prove, read, verdict

console = Console(highlight=False, soft_wrap=False)
errors = Console(stderr=True, highlight=False)

Command = Callable[..., Any]


def fails_clearly(command: Command) -> Command:
    """Turns the errors that a reader can mend into one paragraph and exit code 2."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (CatalogueError, LabError) as error:
            fail(str(error))

    return guarded


def fail(message: str) -> NoReturn:
    errors.print(f"[bold red]guide:[/] {terminal.escape(message)}")
    sys.exit(2)


def asynchronous(command: Callable[..., Coroutine[None, None, int]]) -> Command:
    """Runs a command in an event loop; what it returns is the exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        sys.exit(asyncio.run(command(*args, **kwargs)))

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="restate-guide")
def main() -> None:
    """Do and don't for Restate in Python, each proven on a real Restate server.

    \b
    guide list                    all rules
    guide explain RDD102          a rule, why it holds, and how to fix code that breaks it
    guide run RDD102 --dont       watch what the don't does, as it does it
    guide run --all               prove every rule

    A run has a server to itself; all are ended after the last one. With RESTATE_INGRESS_URL and
    RESTATE_ADMIN_URL set, the one that runs there is used instead.
    """


@main.command("list")
@click.option("--chapter", type=click.Choice(list(CHAPTERS)), help="Only the rules of one chapter.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@fails_clearly
def list_rules(chapter: str | None, as_json: bool) -> None:
    """List the rules: id, title, what goes wrong without it."""
    rules = [r for r in catalogue.rules() if chapter in (None, r.chapter)]
    if as_json:
        fields = ("id", "title", "chapter", "slug", "severity", "symptom", "url")
        click.echo(
            json.dumps([{name: getattr(r, name) for name in fields} for r in rules], indent=2)
        )
        return
    for name, title in CHAPTERS.items():
        of_chapter = [r for r in rules if r.chapter == name]
        if not of_chapter:
            continue
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, pad_edge=False
        )
        for heading in ("id", "rule", "severity", "the don't"):
            table.add_column(heading, style="cyan" if heading == "id" else "")
        for rule in of_chapter:
            recorded = read(rule.folder / "evidence.json")
            table.add_row(rule.id, rule.title, rule.severity, recorded.dont.verdict.short)
        console.print(table, "")


@main.command()
@click.argument("rule")
@fails_clearly
def explain(rule: str) -> None:
    """Explain a RULE (id or slug): what to do, why, what a run showed, and how to fix old code."""
    found = catalogue.find(rule, catalogue.rules())
    recorded = read(found.folder / "evidence.json")
    console.print(f"[bold cyan]{found.id}[/] [bold]{found.title}[/]  [dim]{found.severity}[/]\n")
    console.print(Markdown(plain(found.sentence)), "")
    console.print(f"[bold]{terminal.escape(recorded.stimulus)}[/]")
    for name, observed in (("dont", recorded.dont), ("do", recorded.do)):
        console.print(terminal.headline(name, observed.verdict))
        if name == "dont":
            console.print(Markdown(f"Cause: {found.cause}"))
    console.print("\n[bold]From don't to do[/]")
    console.print(terminal.difference(found.difference()), "")
    for heading in catalogue.SECTIONS:
        console.print(f"[bold]{heading}[/]")
        console.print(Markdown(plain(found.section(heading))), "")
    versions = ", ".join(f"{name} {number}" for name, number in recorded.proven_on.items())
    console.print(f"[dim]Proven on {versions}. See it happen: guide run {found.id} --dont[/]")


def plain(markdown: str) -> str:
    """A page's Markdown without what only the site can show."""
    without_directives = re.sub(r"^\s*\[\[(?:rule|aside) .*\]\]\n?", "", markdown, flags=re.M)
    titles = re.sub(r'^!!! \w+ "(.*)"$', r"**\1**", without_directives, flags=re.M)
    return re.sub(r"\[\[(RDD\d+)\]\]", r"\1", re.sub(r"^    ", "", titles, flags=re.M))


@main.command()
@click.argument("rule", required=False)
@click.option("--do", "variant", flag_value="do", help="Only the do.")
@click.option("--dont", "variant", flag_value="dont", help="Only the don't.")
@click.option("--all", "every", is_flag=True, help="Every rule: pairs, replays and asides.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines, for programs.")
@click.option("--jobs", default=2, show_default=True, help="With --all: rules at a time.")
@fails_clearly
@asynchronous
async def run(rule: str | None, variant: str | None, every: bool, as_json: bool, jobs: int) -> int:
    """Run a RULE's pair on a real server, and show what happens.

    Exit code 0 if each variant did what the rule says of it, 1 if one did not.
    """
    if every:
        return await run_all(jobs)
    if rule is None:
        raise click.UsageError("Name a rule, or say --all. `guide list` shows the rules.")
    found = catalogue.find(rule, catalogue.rules())
    proof = load(found.folder)
    as_expected = True
    async with laboratory() as lab:
        for name in (variant,) if variant else ("dont", "do"):
            show = as_json_lines if as_json else as_text
            result = await show(lab, found, proof, name)
            as_expected &= result.outcome == (proof.promise if name == "do" else proof.symptom)
    return 0 if as_expected else 1


async def as_json_lines(lab: Laboratory, rule: Rule, proof: Proof, name: str) -> Result:
    """Prints the events of a run as JSON lines; its result."""
    async for event in lab.run(proof, proof.snippet(name)):
        line: dict[str, Any] = {"rule": rule.id, "variant": name, **asdict(event)}
        del line["result"]
        if event.result is not None:
            line["verdict"] = asdict(verdict(event.result.outcome))
            line["trace"] = asdict(event.result.trace)
            line["seconds"] = event.result.seconds
        click.echo(json.dumps(line))
        if event.result is not None:
            return event.result
    raise AssertionError("a run without a verdict")


async def as_text(lab: Laboratory, rule: Rule, proof: Proof, name: str) -> Result:
    """Shows a run as it happens, then its trace as tables, then the verdict; its result."""
    console.print(f"\n[bold cyan]{rule.id}[/] [bold]{terminal.NAMES[name]}[/]: {rule.title}")
    console.print(f"[dim]{terminal.escape(proof.stimulus_sentence)}[/]\n")
    async for event in with_progress(lab.run(proof, proof.snippet(name))):
        if event.result is not None:
            console.print()
            for table in terminal.trace_tables(event.result.trace):
                console.print(table, "")
            console.print(terminal.headline(name, verdict(event.result.outcome)))
            expected = proof.promise if name == "do" else proof.symptom
            if event.result.outcome != expected:
                console.print(f"[bold red]Expected was[/] {terminal.escape(repr(expected))}")
            return event.result
        console.print(terminal.event_line(event))
    raise AssertionError("a run without a verdict")


async def with_progress(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    """The same events, with a spinner on a terminal while none comes."""
    quiet = contextlib.nullcontext() if not console.is_terminal else console.status("running")
    with quiet as status:
        async for event in events:
            if status is not None and event.kind == "stage":
                status.update(event.text)
            yield event


async def run_all(jobs: int) -> int:
    """Proves every rule, and says where a run came to something else than its rule says."""
    failures = []
    async for rule, proven in proven_rules(catalogue.rules(), jobs):
        for failure in proven.failures():
            failures.append(failure)
            console.print(f"[bold red]✗[/] {terminal.escape(failure)}")
        if not proven.failures():
            console.print(f"[green]✓[/] {rule.id} {rule.title}")
    console.print(f"\n{'All rules hold.' if not failures else f'{len(failures)} runs differ.'}")
    return 1 if failures else 0


async def proven_rules(rules: Sequence[Rule], jobs: int) -> AsyncIterator[tuple[Rule, Any]]:
    """Proves rules, some at a time, with a progress bar on a terminal; each as it is done."""
    slots = asyncio.Semaphore(jobs)
    columns = (TextColumn("proving"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    async with laboratory() as lab:

        async def one(rule: Rule) -> tuple[Rule, Any]:
            async with slots:
                return rule, await prove(lab, load(rule.folder), catalogue.questions(rule))

        with bar:
            task = bar.add_task("", total=len(rules))
            proving = [asyncio.create_task(one(rule)) for rule in rules]
            try:
                for done in asyncio.as_completed(proving):
                    yield await done
                    bar.advance(task)
            finally:
                for left in proving:
                    left.cancel()
                await asyncio.gather(*proving, return_exceptions=True)


@main.command()
@click.argument("rules", nargs=-1)
@click.option("--jobs", default=2, show_default=True, help="Rules at a time.")
@fails_clearly
@asynchronous
async def update(rules: tuple[str, ...], jobs: int) -> int:
    """Record the evidence of RULES (all, if none is named) anew.

    A rule whose runs don't show what it says keeps its old evidence. Exit code 1 if there is one.
    """
    known = catalogue.rules()
    chosen = [catalogue.find(name, known) for name in rules] or known
    failed = False
    async for rule, proven in proven_rules(chosen, jobs):
        path = rule.folder / "evidence.json"
        if proven.failures():
            failed = True
            for failure in proven.failures():
                console.print(f"[bold red]✗[/] {terminal.escape(failure)}")
            continue
        text = dumps(proven.evidence())
        changed = path.read_text() != text
        path.write_text(text)
        record.enter(rule, proven)
        console.print(f"[green]✓[/] {rule.id} {'changed' if changed else 'the same'}")
    if not failed:
        index.write()
    return 1 if failed else 0


@main.command()
@click.option("--chapter", type=click.Choice(list(CHAPTERS)), help="Only the rules of one chapter.")
@fails_clearly
@asynchronous
async def bench(chapter: str | None) -> int:
    """Measure each proof: its time, what of it its scenario has to wait for, and the rest.

    A proof is both variants under the rule's stimulus, side by side. Seconds of wall time.
    """
    rules = [r for r in catalogue.rules() if chapter in (None, r.chapter)]
    table = Table(box=None, pad_edge=False)
    for heading in ("rule", "proof", "waits", "rest", "server start", "worker start"):
        table.add_column(heading, justify="left" if heading == "rule" else "right")
    rests: list[float] = []
    results: list[Result] = []
    total = 0.0
    began = time.monotonic()
    async with laboratory() as lab:
        start = time.monotonic() - began
        for rule in rules:
            proof = load(rule.folder)
            began = time.monotonic()
            both = await asyncio.gather(
                *(lab.result(proof, proof.snippet(name)) for name in ("do", "dont"))
            )
            seconds = time.monotonic() - began
            last = max(both, key=lambda result: result.seconds)
            rests.append(seconds - last.waited)
            results += both
            total += seconds
            starts = (max(r.server_start for r in both), max(r.worker_start for r in both))
            numbers = (seconds, last.waited, rests[-1], *starts)
            table.add_row(rule.id, *(f"{number:.2f}" for number in numbers))
    console.print(table)
    console.print(
        f"\nlab start {start:.2f} s, once (the processes that workers are forked from)\n"
        f"server start {statistics.median(r.server_start for r in results):.2f} s at the median\n"
        f"worker start {statistics.median(r.worker_start for r in results):.2f} s at the median\n"
        f"rest {statistics.median(rests):.2f} s at the median, {max(rests):.2f} s at the most\n"
        f"{len(rules)} proofs in {total:.1f} s, one after another"
    )
    return 0
