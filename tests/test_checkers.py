"""What a type checker and a linter find in the snippets, and what they miss, as the pages tell it."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from collections.abc import Awaitable
from pathlib import Path

import pytest
import restate

from restate_guide.catalogue import ROOT
from tests.fixes import SNIPPETS

READ = sorted(path for path in SNIPPETS.rglob("*.py") if path.name != "proof.py")
"""All code that readers copy."""


def name_of(snippet: Path) -> str:
    """Tells a snippet apart from all others; a recipe keeps its name, as others import it by that."""
    if snippet.parent.name == "recipes":
        return snippet.name
    return "_".join(snippet.relative_to(SNIPPETS).parts).replace("-", "_")


def loud(snippet: str) -> str:
    """A snippet without the comments that have a type checker be silent."""
    lines = (SNIPPETS / snippet).read_text().splitlines()
    return "\n".join([*(line.partition("  # type: ignore")[0] for line in lines), ""])


def rewritten(snippet: str, old: str, new: str) -> str:
    text = (SNIPPETS / snippet).read_text()
    assert old in text
    return text.replace(old, new)


ASKED = "# mypy: enable-error-code=unused-awaitable\n"
FUTURES = "concurrency/gather-returns-futures"
SLOT = "errors/options-in-the-wrong-slot"
STEP = "determinism/step-not-awaited"
PROMISE = "communication/promise-outside-workflow/dont.py"
MIXED = (
    "    return await fan_out([ctx.service_call(quote, name) for name in names])",
    """    from typing import Any

    both = [ctx.run_typed("price", price, carrier="sea"), ctx.sleep(timedelta(0))]
    return [found for found in await fan_out(both) if found is not None]""",
)
OTHERWISE = {
    "service.py": rewritten(
        "state/state-in-a-service/dont.py", "restate.ObjectContext", "restate.Context"
    ),
    "shared.py": rewritten(
        "state/write-in-shared-handler/dont.py",
        "restate.ObjectContext",
        "restate.ObjectSharedContext",
    ),
    "get_logger.py": rewritten(
        "determinism/plain-logging/dont.py", "logging.getLogger", "restate.getLogger"
    ),
    "promise.py": rewritten(PROMISE, "ctx: restate.WorkflowContext", "ctx: restate.Context"),
    **{
        f"futures_{name}.py": rewritten(
            f"{FUTURES}/{name}.py", "dict[str, Any]", "dict[str, str | list[str]]"
        )
        for name in ("do", "dont")
    },
    **{f"slot_{name}.py": loud(f"{SLOT}/{name}.py") for name in ("do", "dont")},
    **{
        f"step_{name}.py": ASKED + (SNIPPETS / STEP / f"{name}.py").read_text()
        for name in ("do", "dont")
    },
    **{
        f"hint_{name}.py": rewritten(
            "state/get-without-type-hint/do.py",
            'address = await ctx.get("address", type_hint=Address)',
            f"""found = await ctx.get("address", type_hint={hint})
    address = {first} if found else None""",
        )
        for name, hint, first in (
            ("list", "list[Address]", "found[0]"),
            ("dict", "dict[str, Address]", 'found["ann"]'),
            ("optional", "Address | None", "found"),
        )
    },
    "hint_enum.py": rewritten(
        "state/get-without-type-hint/do.py",
        "address = await ctx.get",
        """size = await ctx.get("size", type_hint=Size)
    print(size.name if size else None)
    address = await ctx.get""",
    )
    .replace("import restate\n", "import enum\n\nimport restate\n")
    .replace("customers = ", 'class Size(enum.StrEnum):\n    BIG = "big"\n\n\ncustomers = '),
    "mixed_bare.py": rewritten("recipes/quotes.py", *MIXED),
    "mixed_annotated.py": rewritten("recipes/quotes.py", *MIXED).replace(
        "both = ", "both: list[restate.RestateDurableFuture[Any]] = "
    ),
    "sync_op.py": loud("services/await-on-sync-op/dont.py"),
    "foreign.py": loud("data/foreign-awaitable/dont.py"),
    "sync_handler.py": loud("services/sync-handler/dont.py"),
    "type.py": loud("data/json-changes-the-type/dont.py"),
    "result.py": loud("data/result-not-serializable/dont.py"),
}
"""Snippets with something written otherwise than it stands there."""

# One process has mypy read all of them, once: most of its time goes into what they import. It keeps
# what it learns of that where the check of the project's own types finds it.
by_mypy = pytest.mark.xdist_group("mypy")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `mypy --strict` says of each file, by the file's name."""
    folder = tmp_path_factory.mktemp("typed")
    texts = {**{name_of(path): path.read_text() for path in READ}, **OTHERWISE}
    assert len(texts) == len(READ) + len(OTHERWISE), "two files of one name"
    for name, text in texts.items():
        (folder / name).write_text(text)
    kept = [f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={ROOT / '.mypy_cache'}"]
    command = [sys.executable, "-m", "mypy", "--strict", *kept, "."]
    checked = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert f"(checked {len(texts)} source files)" in checked.stdout, checked.stdout + checked.stderr
    said = dict.fromkeys(texts, "")
    for line in checked.stdout.splitlines()[:-1]:
        said[line.partition(":")[0]] += f"{line}\n"
    return said


@by_mypy
def test_types_hold_as_the_snippets_stand(found: dict[str, str]) -> None:
    assert "".join(found[name_of(snippet)] for snippet in READ) == ""


@by_mypy
def test_mypy_asks_what_type_futures_of_several_are_that_are_fanned_out(
    found: dict[str, str],
) -> None:
    """As the recipe's docstring says it: without the list's type they are objects."""
    assert 'incompatible type "list[object]"' in found["mixed_bare.py"]
    assert found["mixed_annotated.py"] == ""


@by_mypy
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("service.py", '"Context" has no attribute "get"'),
        ("shared.py", '"ObjectSharedContext" has no attribute "set"'),
        ("promise.py", '"Context" has no attribute "promise"'),
        ("get_logger.py", 'Call to untyped function "getLogger" in typed context'),
    ],
)
def test_mypy_finds_it_once_the_context_is_annotated_as_what_it_is(
    found: dict[str, str], name: str, error: str
) -> None:
    """RDD201, RDD202, RDD305: in the don'ts as they stand, whose annotation lies, it finds nothing."""
    assert error in found[name]


@by_mypy
@pytest.mark.parametrize(
    ("name", "code"),
    [("futures", "[dict-item]"), ("slot", "[call-overload]"), ("step", "[unused-awaitable]")],
)
def test_mypy_finds_the_dont_and_not_the_do(found: dict[str, str], name: str, code: str) -> None:
    """RDD407 with types in place of Any, RDD512 without the comment that silences it, RDD114 if asked."""
    assert code in found[f"{name}_dont.py"]
    assert code not in found[f"{name}_do.py"]


@by_mypy
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sync_op.py", 'Incompatible types in "await" (actual type "None"'),
        ("foreign.py", 'Argument 1 to "gather" has incompatible type'),
        (
            "hint_optional.py",
            'Argument "type_hint" to "get" of "KeyValueStore" has incompatible type',
        ),
    ],
)
def test_mypy_finds_the_dont_without_its_comment(
    found: dict[str, str], name: str, says: str
) -> None:
    """RDD707, RDD804; RDD209, whose hint is an optional one."""
    assert says in found[name]


@by_mypy
@pytest.mark.parametrize(
    "name",
    ["sync_handler.py", "type.py", "result.py", "hint_list.py", "hint_dict.py", "hint_enum.py"],
)
def test_mypy_never_finds_these(found: dict[str, str], name: str) -> None:
    """RDD706, RDD802, RDD801, RDD209."""
    assert found[name] == ""


def ruff(snippet: Path, *options: str) -> str:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", *options, str(snippet)]
    return subprocess.run(command, capture_output=True, text=True).stdout


def test_ruff_finds_the_loop_variable_in_a_lambda() -> None:
    """RDD513: by the rule that its page names."""
    for variant, found in (("dont", True), ("do", False), ("default", False)):
        path = SNIPPETS / "errors" / "late-binding-compensation" / f"{variant}.py"
        said = ruff(path, "--ignore-noqa", "--select=B023")
        assert ("B023" in said) == found, said


def test_ruff_asks_for_a_from_and_takes_none() -> None:
    """RDD510: so the don't is fine with it."""
    for variant, found in (("bare", True), ("dont", False), ("do", False)):
        path = SNIPPETS / "errors" / "raise-without-from" / f"{variant}.py"
        said = ruff(path, "--ignore-noqa", "--select=B904")
        assert ("B904" in said) == found, said


def test_a_linter_advises_the_sync_handler() -> None:
    """RDD706: `unused-async` finds the do, and not the don't."""
    folder = SNIPPETS / "services" / "sync-handler"
    said = ruff(folder / "do.py", "--preview", "--select=RUF029")
    assert "declared `async`" in said
    assert "delivered" in said
    assert "All checks passed!" in ruff(folder / "dont.py", "--preview", "--select=RUF029")


WRITES = (
    "set clear clear_all service_send object_send workflow_send resolve_awakeable reject_awakeable "
    "resolve_signal reject_signal cancel_invocation"
)
AT_ONCE = "uuid random key request"
AWAITED = (
    "get state_keys service_call object_call workflow_call run_typed sleep time signal "
    "attach_invocation"
)


def test_what_is_to_be_awaited() -> None:
    """RDD707: the table, by the annotations of the SDK."""

    def awaited(owner: type, name: str) -> bool:
        returned = inspect.signature(getattr(owner, name)).return_annotation
        kind = typing.get_origin(returned) or returned
        return isinstance(kind, type) and issubclass(kind, Awaitable)

    context = restate.WorkflowContext
    assert {name for name in AWAITED.split() if not awaited(context, name)} == set()
    assert {name for name in f"{WRITES} {AT_ONCE}".split() if awaited(context, name)} == set()
    assert all(awaited(restate.DurablePromise, name) for name in ("resolve", "reject", "peek"))
