"""The index: all rules as data, for programs. It stands in the site as rules.json, with its schema."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from restate_guide import catalogue
from restate_guide.catalogue import CHAPTERS, ROOT, Rule, Severity
from restate_guide.lab import evidence
from restate_guide.lab.evidence import Observed


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Seen(Model):
    """What a run came to."""

    snippet: str = Field(description="Path of the file that was run, from the site's root.")
    kind: str = Field(description="Slug of the symptom, or `holds`.")
    short: str = Field(description="The symptom with its measured values, in a few words.")
    sentence: str = Field(description="The same as a sentence.")


class Claim(Seen):
    """One more claim of a rule's page, and what was seen of it."""

    claim: str
    stimulus: str = Field(description="What befell the worker.")


class IndexedRule(Model):
    """One rule."""

    id: str = Field(pattern=r"^RDD\d{3}$", description="Never changes.")
    title: str
    sentence: str = Field(description="The rule in one sentence, as Markdown.")
    chapter: str
    slug: str
    severity: Severity
    since: str = Field(description="Version of the guide that first had the rule.")
    sources: list[str] = Field(
        description="Tables (I to VIII) and prompts (P1 to A5) of the original Go guide, or `py`."
    )
    related: list[str] = Field(description="Ids of other rules.")
    corrects: str | None = Field(description="The widely read claim that the runs refute.")
    url: str = Field(description="The page, from the site's root.")
    stimulus: str = Field(description="What was done to both snippets.")
    mode: str = Field(description="normal, crash, replay, late, load, client or admin.")
    dont: Seen
    do: Seen
    survives: list[str] = Field(description="Replay stimuli that the do came through as well.")
    asides: list[Claim]
    proof: str = Field(description="Path of the proof, from the site's root.")
    evidence: str = Field(description="Path of the recorded evidence, from the site's root.")
    proven_on: dict[str, str] = Field(description="Versions of server and SDK.")


class Index(Model):
    """All rules of the guide."""

    title: str
    chapters: dict[str, str] = Field(description="Title of each chapter, by its folder.")
    rules: list[IndexedRule]


def build(root: Path = ROOT) -> Index:
    """The index of a checkout."""
    return Index(
        title="Restate in Python, do and don’t",
        chapters=CHAPTERS,
        rules=[_indexed(rule) for rule in catalogue.rules(root)],
    )


def _indexed(rule: Rule) -> IndexedRule:
    recorded = evidence.read(rule.folder / "evidence.json")
    folder = f"snippets/{rule.chapter}/{rule.slug}"

    def seen(variant: str, observed: Observed) -> Seen:
        found = observed.verdict
        return Seen(
            snippet=f"{folder}/{variant}.py",
            kind=found.kind,
            short=found.short,
            sentence=found.sentence,
        )

    return IndexedRule(
        id=rule.id,
        title=rule.title,
        sentence=rule.sentence,
        chapter=rule.chapter,
        slug=rule.slug,
        severity=rule.severity,
        since=rule.since,
        sources=list(rule.sources),
        related=list(rule.related),
        corrects=rule.corrects,
        url=rule.url,
        stimulus=recorded.stimulus,
        mode=recorded.mode,
        dont=seen("dont", recorded.dont),
        do=seen("do", recorded.do),
        survives=[survived.title for survived in recorded.survives],
        asides=[
            Claim(
                snippet=f"{folder}/{aside.snippet}.py",
                kind=aside.verdict.kind,
                short=aside.verdict.short,
                sentence=aside.verdict.sentence,
                claim=aside.sentence,
                stimulus=aside.stimulus,
            )
            for aside in recorded.asides.values()
        ],
        proof=f"{folder}/proof.py",
        evidence=f"{folder}/evidence.json",
        proven_on=recorded.proven_on,
    )


def files(root: Path = ROOT) -> dict[Path, str]:
    """The text of rules.json and of its schema, by where they stand."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Index.model_json_schema(),
    }
    return {
        root / "docs" / "rules.json": build(root).model_dump_json(indent=1) + "\n",
        root / "docs" / "rules.schema.json": json.dumps(schema, indent=1) + "\n",
    }


def write(root: Path = ROOT) -> None:
    """Writes both files into docs/."""
    for path, text in files(root).items():
        path.write_text(text)
