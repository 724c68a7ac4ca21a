"""Puts a trace together from the server's tables, the workers' reports and the ledger outside."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from restate_guide.lab.outside import Received
from restate_guide.lab.server import Server
from restate_guide.lab.stable import Stable
from restate_guide.lab.trace import (
    Attempt,
    Call,
    Effect,
    Entry,
    Failure,
    Invocation,
    Moment,
    State,
    Trace,
)

Json = Any
ENDS = ("output", "error", "suspended", "killed", "cut off")
NOT_A_RESULT = {"CallInvocationId"}
"""Notifications that only tell the id of what was called; the result is another one."""
CONNECTION_BROKE = "the connection to the worker broke"
_adapter = TypeAdapter(Trace)


@dataclass
class AttemptReports:
    """What was heard of one attempt, while the run goes on."""

    worker: int
    local: int
    """Its number within its worker."""
    invocation: str
    known: int
    file: str = ""
    """The file that its worker served, where it isn't the run's own snippet."""
    moments: list[Moment] = field(default_factory=list)
    commands: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The reports of the commands issued, by index."""
    began: float = field(default_factory=time.time)
    ended: float | None = None

    @property
    def ends(self) -> str:
        return next((m.what for m in reversed(self.moments) if m.what in ENDS), "")

    def took_result_of(self, command: int | None) -> bool:
        return any(m.what == "result" and m.command == command for m in self.moments)

    def end(self, moment: Moment | None = None) -> None:
        """The attempt is over, in this way if it hasn't told of another one."""
        self.ended = time.time()
        if moment is not None and not self.ends:
            self.moments.append(moment)


@dataclass(frozen=True)
class Tables:
    """Rows of the server's tables that belong to a run."""

    invocations: list[dict[str, Any]]
    journal: list[dict[str, Any]]
    events: list[dict[str, Any]]
    state: list[dict[str, Any]]


async def read_tables(server: Server, services: Sequence[str], called: Sequence[str]) -> Tables:
    """Reads what the server holds of these services.

    Args:
        called: ids of invocations whose callers were answered, in the order of the calls.
    """
    names = ", ".join(f"'{service}'" for service in services)
    invocations = await server.query(
        "select id, target, status, invoked_by, invoked_by_id, created_at from "
        f"sys_invocation where target_service_name in ({names}) order by created_at, target"
    )
    if not invocations:  # the server refuses a list of ids that is empty, or has an empty one
        return Tables([], [], [], [])
    ids = ", ".join(f"'{row['id']}'" for row in invocations)
    journal, events, state = await asyncio.gather(
        server.query(
            "select id, index, entry_type, name, entry_json, appended_at from sys_journal "
            f"where id in ({ids}) order by id, index"
        ),
        server.query(
            "select id, event_type, event_json from sys_journal_events "
            f"where id in ({ids}) order by id, appended_at"
        ),
        server.query(
            "select service_name, service_key, key, value_utf8 from state "
            f"where service_name in ({names}) order by service_name, service_key, key"
        ),
    )
    ordered = callers_first(as_called(invocations, called), journal)
    return Tables(ordered, journal, events, state)


def as_called(rows: Sequence[dict[str, Any]], called: Sequence[str]) -> list[dict[str, Any]]:
    """Invocations in the order of their times, but for those of known calls, which are in that of the calls.

    A server takes its times from a thread that keeps a clock for it. Where that one gets no processor,
    two calls that are milliseconds apart have the same time (seen with its sleep made longer).
    """
    by_id = {row["id"]: row for row in rows}
    in_order = (by_id[id] for id in dict.fromkeys(called) if id in by_id)
    return [next(in_order) if row["id"] in called else row for row in rows]


def callers_first(
    rows: Sequence[dict[str, Any]], journal: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Invocations in the order in which they were made, each followed by those that it made.

    Times alone don't tell: a call and the call that it makes, or two calls that are made side by side,
    can fall into one millisecond. The caller's journal names them in their order.
    """
    known = {row["id"] for row in rows}
    called = [j for j in journal if j["entry_type"] == "Notification: CallInvocationId"]
    place = {find(json.loads(j["entry_json"]), "invocation_id"): j["index"] for j in called}

    def with_calls(row: dict[str, Any]) -> list[dict[str, Any]]:
        made = [other for other in rows if other.get("invoked_by_id") == row["id"]]
        made.sort(key=lambda other: place.get(other["id"], 0))
        return [row, *(called for other in made for called in with_calls(other))]

    roots = [row for row in rows if row.get("invoked_by_id") not in known]
    return [row for root in roots for row in with_calls(root)]


def payload(data: Sequence[int]) -> Json:
    """What stands in a payload: JSON, else text, else its length."""
    raw = bytes(data)
    try:
        return json.loads(raw)
    except ValueError:
        pass
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return f"{len(raw)} bytes"


def find(entry: Json, *names: str) -> Json:
    """The first value of one of these names, at any depth of an entry."""
    if isinstance(entry, dict):
        for name in names:
            if name in entry:
                return entry[name]
        for inner in entry.values():
            if (found := find(inner, *names)) is not None:
                return found
    return None


def value_of(entry: Json) -> Json:
    """The data that a journal entry holds, or None."""
    if (failure := find(entry, "Failure")) is not None:
        return {"failure": failure.get("message", ""), "code": failure.get("code")}
    data = find(entry, "Success", "payload", "value", "parameter")
    return payload(data) if isinstance(data, list) else None


def read_journal(rows: Sequence[dict[str, Any]], attempts: Sequence[AttemptReports]) -> list[Entry]:
    """The entries of one invocation, each with the line and the attempt that wrote it."""
    entries: list[Entry] = []
    by_completion: dict[int, int] = {}
    commands = 0
    for row in rows:
        side, _, kind = row["entry_type"].partition(": ")
        entry = json.loads(row["entry_json"])
        if side == "Command":
            command: int | None = commands
            commands += 1
            for name in ("completion_id", "result_completion_id", "invocation_id_completion_id"):
                if (completion := find(entry, name)) is not None:
                    by_completion[completion] = commands - 1
        else:
            completion = find(entry, "completion_id")
            command = by_completion.get(completion) if completion is not None else None
        reports = [a for a in attempts if command in a.commands]
        began_without = [a for a in attempts if a.known <= row["index"]]
        writer = began_without[-1] if began_without else None
        if (
            side == "Notification" and kind != "Run"
        ):  # the server's; the attempt may be over by then
            took = [a for a in began_without if a.took_result_of(command)]
            writer = took[0] if took else None
        first_report = reports[0].commands[command] if reports and command is not None else {}
        value = value_of(entry)
        if kind == "Sleep" and side == "Command":
            value = first_report.get("detail")
        entries.append(
            Entry(
                index=row["index"],
                type=row["entry_type"],
                name=row.get("name") or first_report.get("name", "") or "",
                command=command,
                value=value,
                line=first_report.get("line"),
                attempt=attempts.index(writer) + 1 if writer else None,
            )
        )
    return entries


def read_failures(rows: Sequence[dict[str, Any]]) -> list[Failure]:
    failures = []
    for row in rows:
        event = json.loads(row["event_json"])
        error = event.get("last_failure", event)
        if "error_code" not in error:
            continue  # an operator's pause, not an error's
        code = error.get("restate_doc_error_code", "")
        failures.append(
            Failure(
                event=row["event_type"],
                status=error["error_code"],
                code=code,
                # Which words a broken connection gets depends on where it broke.
                message=CONNECTION_BROKE if code == "RT0010" else error["error_message"],
                command=error.get("related_command_index"),
            )
        )
    return failures


def with_journal(reports: AttemptReports, journal: Sequence[Entry]) -> tuple[Moment, ...]:
    """The attempt's moments, results marked with whether the journal had them when it began."""
    answered_at = {
        entry.command: entry.index
        for entry in journal
        if entry.type.startswith("Notification")
        and entry.command is not None
        and entry.type.partition(": ")[2] not in NOT_A_RESULT
    }
    moments = []
    for moment in reports.moments:
        if moment.what == "result" and moment.command in answered_at:
            known = answered_at[moment.command] < reports.known
            moment = Moment(**{**asdict(moment), "from_journal": known})
        moments.append(moment)
    return tuple(in_order_of_commands(moments))


def in_order_of_commands(moments: Sequence[Moment]) -> list[Moment]:
    """Steps that run side by side, in the order of their commands: which begins first is chance."""
    ordered: list[Moment] = []
    for chance, together in itertools.groupby(
        moments, lambda m: m.what in ("executing", "effect", "row") and m.command is not None
    ):
        group = list(together)
        ordered += sorted(group, key=lambda m: m.command or 0) if chance else group
    return ordered


def unknown_to_server(
    rows: Sequence[dict[str, Any]], attempts: Sequence[AttemptReports]
) -> list[dict[str, Any]]:
    """What workers served and the server has no invocation of: somebody else sent it, or it was purged."""
    known = {row["id"] for row in rows}
    strangers = dict.fromkeys(a.invocation for a in attempts if a.invocation not in known)
    said = {
        "target": "an invocation",
        "status": "unknown to the server",
        "invoked_by": "nobody knows",
    }
    return [{"id": id, **said} for id in strangers]


def build_trace(
    tables: Tables,
    attempts: Sequence[AttemptReports],
    ledger: Sequence[Received],
    calls: Sequence[Call],
    rows: Mapping[str, list[dict[str, Json]]],
    measured: Mapping[str, Json],
    answers: Mapping[str, list[dict[str, Json]]],
    varies: Mapping[str, str],
) -> Trace:
    """The trace of a run, with stable names for all that changes from run to run."""
    invocations = []
    numbers: dict[tuple[int, int], tuple[str, int]] = {}
    for row in [*tables.invocations, *unknown_to_server(tables.invocations, attempts)]:
        own = [a for a in attempts if a.invocation == row["id"]]
        for number, attempt in enumerate(own, 1):
            numbers[attempt.worker, attempt.local] = (row["id"], number)
        journal = read_journal([j for j in tables.journal if j["id"] == row["id"]], own)
        invocations.append(
            Invocation(
                id=row["id"],
                target=row["target"],
                status=row["status"],
                invoked_by=row["invoked_by"],
                attempts=tuple(
                    Attempt(
                        n,
                        a.worker,
                        a.known,
                        a.ends or "cut off",  # type: ignore[arg-type]
                        with_journal(a, journal),
                        a.file,
                    )
                    for n, a in enumerate(own, 1)
                ),
                journal=tuple(journal),
                failures=tuple(read_failures([e for e in tables.events if e["id"] == row["id"]])),
            )
        )
    order = {invocation.id: n for n, invocation in enumerate(invocations)}
    effects = []
    for received in ledger:
        origin = received.origin
        invocation, attempt_number = numbers.get(
            (origin.get("worker") or 0, origin.get("attempt") or 0), (None, None)
        )
        effects.append(
            Effect(
                received.effect,
                received.body,
                received.idempotency_key,
                received.duplicate,
                invocation,
                attempt_number,
                origin.get("line"),
                origin.get("step"),
                received.failed,
            )
        )
    effects.sort(key=lambda e: (order.get(e.invocation or "", -1), e.attempt or 0))
    state = [
        State(row["service_name"], row["service_key"], row["key"], json_or_text(row["value_utf8"]))
        for row in tables.state
    ]
    trace = Trace(
        tuple(calls),
        tuple(invocations),
        tuple(effects),
        tuple(state),
        dict(rows),
        dict(measured),
        dict(answers),
    )
    stable: Trace = _adapter.validate_python(Stable(varies).json(asdict(trace)))
    return stable


def json_or_text(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return text


def seconds_waited(
    tables: Tables, attempts: Sequence[AttemptReports], held: Sequence[tuple[float, float]]
) -> float:
    """Seconds that the scenario itself had to wait: sleeps, held answers, the server's retry pauses."""
    spans = list(held)
    sleeps: dict[tuple[str, int], float] = {}
    for row in tables.journal:
        at = datetime.fromisoformat(row["appended_at"]).timestamp()
        key = (row["id"], find(json.loads(row["entry_json"]), "completion_id"))
        if row["entry_type"] == "Command: Sleep":
            sleeps[key] = at
        elif row["entry_type"] == "Notification: Sleep":
            spans.append((sleeps[key], at))
    for failed in attempts:
        later = [a.began for a in attempts if a.invocation == failed.invocation]
        following = [began for began in later if began > failed.began]
        if failed.ends == "error" and failed.ended and following:
            spans.append((failed.ended, min(following)))
    total, reached = 0.0, 0.0
    for start, end in sorted(spans):  # overlapping spans count once
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def read_database(path: Path) -> dict[str, list[dict[str, Json]]]:
    """All rows of the SQLite file that the snippet wrote to, by table; empty if there is none."""
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        tables = database.execute(
            "select name from sqlite_master where type = 'table' order by name"
        )
        return {
            table: [
                dict(row) for row in database.execute(f'select * from "{table}" order by rowid')
            ]
            for (table,) in tables.fetchall()
        }
