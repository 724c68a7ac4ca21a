"""A rule's proof: which calls are made under which stimulus, and what each variant is to show."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from restate_guide.lab.errors import LabError
from restate_guide.lab.stimulus import Stimulus
from restate_guide.lab.symptoms import Holds, Outcome, Symptom

if TYPE_CHECKING:
    from restate_guide.lab.engine import Lab

Variant = Literal["do", "dont"]


@dataclass(frozen=True)
class Aside:
    """One more claim of a page that a run proves: another snippet, or another stimulus."""

    sentence: str
    """The claim, as the page says it."""
    snippet: str
    """Name of the file beside the proof, without `.py`."""
    stimulus: Stimulus
    outcome: Outcome
    prove: Callable[[Lab], Coroutine[None, None, None]] | None = None
    """Makes the calls, where they are others than the proof's."""
    server: Mapping[str, str] | None = None
    """Settings of its server, where they are others than the proof's."""
    right: Holds | None = None
    """What right looks like for its calls, where the outcome is a symptom, and not the proof's."""


@dataclass(frozen=True)
class Proof:
    """What a `proof.py` says, see CONTRIBUTING."""

    rule: str
    folder: Path
    stimulus_sentence: str
    """First line of the docstring: what is done to both variants, as a reader would say it."""
    stimulus: Stimulus
    promise: Holds
    """What the `do` is to show, and what right looks like for both."""
    symptom: Symptom
    """What the `dont` is to show."""
    prove: Callable[[Lab], Coroutine[None, None, None]]
    """Makes the calls."""
    asides: Mapping[str, Aside]
    server: Mapping[str, str]
    """Settings that its server needs beyond the lab's own, as environment variables."""
    env: Mapping[str, str]
    """Environment variables that its snippets read, beyond those that the lab sets for all."""
    varies: Mapping[str, str]
    """Patterns of what this rule's snippets make up anew in each run, by the kind they are named."""

    def judging(self, aside: Aside) -> Proof:
        """The proof by which an aside is judged: promise, calls and server may be its own."""
        outcome = aside.outcome if isinstance(aside.outcome, Holds) else None
        promise = outcome or aside.right or self.promise
        server = self.server if aside.server is None else aside.server
        return replace(self, promise=promise, prove=aside.prove or self.prove, server=server)

    def snippet(self, name: str) -> Path:
        """The file of a variant (`do`, `dont`) or of an aside's snippet."""
        return self.folder / f"{name}.py"


class Unwritten(SourceFileLoader):
    """Leaves no `__pycache__` beside the snippets: a site that is served would be built anew for it."""

    def set_data(self, *_: object, **__: object) -> None:
        pass


def load(folder: Path) -> Proof:
    """Reads the proof of the rule in a folder of snippets/.

    Raises:
        LabError: the proof lacks something; the message says what.
    """
    path = folder / "proof.py"
    name = f"proof_{folder.name}"
    spec = importlib.util.spec_from_file_location(name, path, loader=Unwritten(name, str(path)))
    if spec is None or spec.loader is None or not path.exists():
        raise LabError(f"{path} is missing.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        return Proof(
            rule=module.RULE,
            folder=folder.resolve(),
            stimulus_sentence=(module.__doc__ or "").strip().splitlines()[0],
            stimulus=module.STIMULUS,
            promise=module.EXPECTED["do"],
            symptom=module.EXPECTED["dont"],
            prove=module.prove,
            asides=getattr(module, "ASIDES", {}),
            server=getattr(module, "SERVER", {}),
            env=getattr(module, "ENV", {}),
            varies=getattr(module, "VARIES", {}),
        )
    except (AttributeError, KeyError, IndexError) as error:
        raise LabError(
            f"{path} needs a docstring, RULE, STIMULUS, EXPECTED['do'], EXPECTED['dont'] and "
            f"prove(lab); missing: {error}."
        ) from None
