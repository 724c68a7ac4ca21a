"""The lab: runs a snippet on a real server and tells what happened."""

from restate_guide.lab.engine import Event, Lab, Laboratory, Result, laboratory
from restate_guide.lab.errors import LabError, SnippetError
from restate_guide.lab.proof import Aside, Proof, Variant, load
from restate_guide.lab.stimulus import (
    LATE_REPLAY,
    PLAIN,
    REPLAY_EVERY_AWAIT,
    REPLAYS,
    Stimulus,
    crash_after_effect,
    crash_after_step,
)
from restate_guide.lab.symptoms import (
    EffectMissing,
    EffectRepeated,
    Holds,
    JournalMismatch,
    LineRepeated,
    Outcome,
    PreconditionFailed,
    RetriedUntilPaused,
    SecretExposed,
    Symptom,
    WaitsForever,
    WorkerBlocked,
    WrongValue,
)
from restate_guide.lab.trace import Trace

__all__ = [
    "LATE_REPLAY",
    "PLAIN",
    "REPLAYS",
    "REPLAY_EVERY_AWAIT",
    "Aside",
    "EffectMissing",
    "EffectRepeated",
    "Event",
    "Holds",
    "JournalMismatch",
    "Lab",
    "LabError",
    "Laboratory",
    "LineRepeated",
    "Outcome",
    "PreconditionFailed",
    "Proof",
    "Result",
    "RetriedUntilPaused",
    "SecretExposed",
    "SnippetError",
    "Stimulus",
    "Symptom",
    "Trace",
    "Variant",
    "WaitsForever",
    "WorkerBlocked",
    "WrongValue",
    "crash_after_effect",
    "crash_after_step",
    "laboratory",
    "load",
]
