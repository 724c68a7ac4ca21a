"""The stimuli: what befalls a worker while a proof makes its calls.

Each is a value of one type, whose fields are all that the engine knows of it: adding one is a few
lines here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Mode = Literal["normal", "crash", "replay", "late"]


@dataclass(frozen=True)
class Stimulus:
    """What befalls a worker; by default nothing does."""

    mode: Mode
    title: str
    """In a reader's words, to follow "Stimulus:"."""
    workers: int = 1
    """How many worker processes serve, one after another, each with a hash seed of its own."""
    request_response: bool = False
    """Whether the server can't stream, so that an await which the journal can't answer ends the attempt."""
    crash_at: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The point at which the first worker kills itself with SIGKILL; see `Recorder.crash_if`."""
    successor: str | None = None
    """Name of the snippet that the second worker serves, where it isn't the same one."""
    predecessor: str | None = None
    """Name of the snippet that the first worker serves, where it isn't the same one."""
    successor_env: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Environment variables that are others for the second worker than for the first."""
    crash_on_effect: str | None = None
    """The effect on whose arrival outside the first worker is killed, before it is answered."""


PLAIN = Stimulus("normal", "a plain call")

REPLAY_EVERY_AWAIT = Stimulus(
    # The worker is registered for HTTP/1.1, as on AWS Lambda: the server can send nothing after the
    # request. An inactivity timeout of 0 does much the same over HTTP/2, but there the number of
    # attempts varies from run to run, and a step can be cut off and executed again.
    "replay",
    "each attempt ends where the journal has no answer yet, and the next one replays",
    request_response=True,
)

LATE_REPLAY = Stimulus(
    "late",
    "the worker is killed late, and a new process with another hash seed replays",
    workers=2,
    # Before the answer is for handlers without a durable sleep: the first that answers.
    # At the sleep's end, which the worker doesn't take: so the journal that is replayed holds it,
    # however fast the machine is.
    crash_at={"in": "sleep", "when": "over", "before": "answer"},
)

REPLAYS = (REPLAY_EVERY_AWAIT, LATE_REPLAY)
"""What every `do` must survive with the right result and no effect repeated."""


def late_replay_with(**env: str) -> Stimulus:
    """A late replay, by a process that was started with other environment variables."""
    named = ", ".join(f"{name}={value}" for name, value in env.items())
    return replace(
        LATE_REPLAY,
        title=f"the worker is killed late, and the process that replays has {named}",
        successor_env=env,
    )


def crash_after_effect(effect: str) -> Stimulus:
    """The worker is killed once an effect (`POST /charges`) has arrived outside, before the answer."""
    return Stimulus(
        "crash",
        f"the worker is killed when {effect} has arrived, before it gets an answer",
        workers=2,
        crash_on_effect=effect,
    )


def crash_after_step(step: str) -> Stimulus:
    """The worker is killed once the step of this name is journaled and the handler has its result."""
    return Stimulus(
        "crash",
        f"the worker is killed when the step {step!r} is in the journal",
        workers=2,
        crash_at={"after_step": step},
    )


def crash_before_journal(step: str) -> Stimulus:
    """The worker is killed once the action of a step has ended well, before the journal has its result."""
    return Stimulus(
        "crash",
        f"the worker is killed when the step {step!r} has acted, before the journal has its result",
        workers=2,
        crash_at={"acted": step},
    )


def deployed_over(predecessor: str) -> Stimulus:
    """While the handler of an older version sleeps, this one takes its place, at the same address."""
    return Stimulus(
        "late",
        f"it is deployed in place of {predecessor}.py while an invocation of that sleeps",
        workers=2,
        predecessor=predecessor,
        # At the sleep's end, which the first worker doesn't take: else it would depend on the machine's
        # speed whether the end is in the journals of the attempts that follow.
        crash_at={"in": "sleep", "when": "over"},
    )
