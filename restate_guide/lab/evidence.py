"""The evidence: what both variants of a rule did, as recorded beside them and shown on its page."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from restate_guide.lab.engine import Lab, Laboratory, Result
from restate_guide.lab.proof import Proof
from restate_guide.lab.stimulus import REPLAYS, Stimulus
from restate_guide.lab.symptoms import Outcome
from restate_guide.lab.trace import Trace

Json = Any


@dataclass(frozen=True)
class Verdict:
    """An outcome in words, and its measured values."""

    kind: str
    """Slug of the symptom, or `holds`."""
    title: str
    short: str
    sentence: str
    values: dict[str, Json]


@dataclass(frozen=True)
class Observed:
    """What one variant did."""

    verdict: Verdict
    trace: Trace


@dataclass(frozen=True)
class Survived:
    """A stimulus under which the `do` gave the right result and repeated no effect."""

    mode: str
    title: str
    attempts: int
    """How many attempts it took."""


@dataclass(frozen=True)
class AsideObserved:
    """What was seen of one more claim of the page."""

    sentence: str
    snippet: str
    stimulus: str
    verdict: Verdict
    trace: Trace


@dataclass(frozen=True)
class Evidence:
    """Contents of an `evidence.json`: the same to the byte whenever the proof is run again."""

    rule: str
    mode: str
    """The kind of stimulus: normal, crash, replay, late …"""
    stimulus: str
    """What was done to both, as a reader would say it."""
    proven_on: dict[str, str]
    """Versions of server and SDK."""
    do: Observed
    dont: Observed
    survives: tuple[Survived, ...]
    """The replay stimuli that the `do` was put through as well, and came through."""
    asides: dict[str, AsideObserved]
    """The page's further claims, by name."""


_adapter = TypeAdapter(Evidence)


def observed(result: Result) -> Observed:
    return Observed(verdict(result.outcome), result.trace)


def verdict(outcome: Outcome) -> Verdict:
    """An outcome as it is recorded."""
    values = {name: value for name, value in asdict(outcome).items() if value != {}}
    return Verdict(outcome.kind, outcome.title, outcome.short, outcome.sentence, values)


@dataclass(frozen=True)
class Proven:
    """All runs of one rule's proof, as they came out."""

    proof: Proof
    do: Result
    dont: Result
    survived: dict[Stimulus, Result]
    asides: dict[str, Result]

    def failures(self) -> list[str]:
        """Where a run came to something else than the proof expects; none if the rule holds."""
        expected = [
            ("do", self.proof.promise, self.do),
            ("dont", self.proof.symptom, self.dont),
            *((f"do, {s.title}", self.proof.promise, r) for s, r in self.survived.items()),
            *((f"aside {n}", self.proof.asides[n].outcome, r) for n, r in self.asides.items()),
        ]
        return [
            f"{self.proof.rule} {what}: expected {outcome!r}, but saw {result.outcome!r}"
            for what, outcome, result in expected
            if result.outcome != outcome
        ]

    def results(self) -> list[Result]:
        """Of all runs."""
        return [self.do, self.dont, *self.survived.values(), *self.asides.values()]

    def evidence(self) -> Evidence:
        return Evidence(
            rule=self.proof.rule,
            mode=self.proof.stimulus.mode,
            stimulus=self.proof.stimulus_sentence,
            proven_on=self.do.versions,
            do=observed(self.do),
            dont=observed(self.dont),
            survives=tuple(
                Survived(s.mode, s.title, sum(len(i.attempts) for i in r.trace.invocations))
                for s, r in self.survived.items()
            ),
            asides={
                name: AsideObserved(
                    aside.sentence,
                    aside.snippet,
                    aside.stimulus.title,
                    verdict(self.asides[name].outcome),
                    self.asides[name].trace,
                )
                for name, aside in self.proof.asides.items()
            },
        )


def asked(proof: Proof, questions: Mapping[str, str]) -> Proof:
    """The proof, which also asks the server what pages ask it, once its own calls are made."""

    async def ask(lab: Lab) -> None:
        await proof.prove(lab)
        for page, sql in questions.items():
            await lab.ask(page, sql)

    return replace(proof, prove=ask)


async def prove(
    laboratory: Laboratory,
    proof: Proof,
    questions: Mapping[str, str] | None = None,
    at_a_time: int = 2,
) -> Proven:
    """Runs all that a rule's evidence consists of.

    Args:
        questions: queries that the server is asked after the don't, by the page that shows the answer.
        at_a_time: how many of the runs.
    """
    slots = asyncio.Semaphore(at_a_time)

    async def one(snippet: str, stimulus: Stimulus, judged_by: Proof = proof) -> Result:
        async with slots:
            return await laboratory.result(judged_by, proof.snippet(snippet), stimulus)

    under = dict.fromkeys([proof.stimulus, *REPLAYS])  # some proofs are under a replay themselves
    runs = [
        one("dont", proof.stimulus, asked(proof, questions or {})),
        *(one("do", stimulus) for stimulus in under),
        *(one(a.snippet, a.stimulus, proof.judging(a)) for a in proof.asides.values()),
    ]
    dont, *rest = await asyncio.gather(*runs)
    do = dict(zip(under, rest, strict=False))
    asides = dict(zip(proof.asides, rest[len(under) :], strict=True))
    return Proven(proof, do[proof.stimulus], dont, {s: do[s] for s in REPLAYS}, asides)


def dumps(recorded: Evidence) -> str:
    """The text of an `evidence.json`: fields in the order of their types, and none that says nothing."""
    return _adapter.dump_json(recorded, indent=1, exclude_defaults=True).decode() + "\n"


def read(path: Path) -> Evidence:
    """Reads an `evidence.json`.

    Raises:
        pydantic.ValidationError: it isn't one, or one of another version of the guide.
    """
    return _parsed(path.read_text())


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Evidence:
    """The evidence that a file holds; kept, as a server of the site reads all of them at each save."""
    return _adapter.validate_json(text)
