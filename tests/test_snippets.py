"""The snippets as code: they run alone, they are clean, they differ in one idea."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from pytest_examples import CodeExample, EvalExample

from restate_guide import catalogue
from restate_guide.catalogue import ROOT, Rule

RULES = catalogue.rules()
SNIPPETS = sorted(
    path for rule in RULES for path in rule.folder.glob("*.py") if path.name != "proof.py"
)
OTHERS = sorted(
    path
    for name in ("start", "waiting", "recipes", "prompts")
    for path in (ROOT / "snippets" / name).glob("*.py")
)
"""Code that readers copy from pages that are about no rule."""
ALONE = [*SNIPPETS, *(path for path in OTHERS if path.parent.name == "prompts")]
"""What is copied by itself: recipes may need their neighbours."""
LONGEST_SNIPPET = 45
"""Lines; one screen."""
LARGEST_DIFFERENCE = 12
"""Lines added or removed between don't and do; the docstring's are not counted."""

every_snippet = pytest.mark.parametrize(
    "snippet", SNIPPETS, ids=[str(s.relative_to(ROOT / "snippets")) for s in SNIPPETS]
)
every_file = pytest.mark.parametrize(
    "snippet",
    [*SNIPPETS, *OTHERS],
    ids=[str(s.relative_to(ROOT / "snippets")) for s in [*SNIPPETS, *OTHERS]],
)
every_rule = pytest.mark.parametrize("rule", RULES, ids=[r.id for r in RULES])


class Snippet(CodeExample):
    """A whole file as an example of pytest-examples, which by itself reads only docstrings in it."""

    def in_py_file(self) -> bool:
        return False  # else black is made to collapse the blank lines that PEP 8 asks for

    @classmethod
    def load(cls, path: Path) -> CodeExample:
        example: CodeExample = cls.create(path.read_text(), path=path, prefix="python")
        example.group = uuid4()
        return example


@every_file
def test_is_clean(snippet: Path, eval_example: EvalExample) -> None:
    eval_example.set_config(
        line_length=88, quotes="double", target_version="py310", ruff_select=["E", "F", "I", "UP"]
    )
    eval_example.lint(Snippet.load(snippet))


@every_snippet
def test_runs(snippet: Path, eval_example: EvalExample) -> None:
    assert callable(eval_example.run(Snippet.load(snippet))["app"])


@pytest.mark.parametrize("snippet", ALONE, ids=lambda s: str(s.relative_to(ROOT / "snippets")))
def test_imports_nothing_of_the_project(snippet: Path) -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(snippet.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= {*sys.stdlib_module_names, "httpx", "pydantic", "restate"}


def test_work_in_an_empty_folder(tmp_path: Path) -> None:
    """Copied, and imported by a Python that finds nothing of ours; all in one process, for time's sake."""
    script = (
        "import importlib\n"
        f"for number in range({len(ALONE)}):\n"
        "    service = importlib.import_module(f'service_{number}')\n"
        "    assert callable(service.app), service\n"
    )
    for number, snippet in enumerate(ALONE):
        (tmp_path / f"service_{number}.py").write_text(snippet.read_text())
    command = [sys.executable, "-c", script]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@every_snippet
def test_fits_on_a_screen(snippet: Path) -> None:
    assert len(snippet.read_text().splitlines()) <= LONGEST_SNIPPET


@every_rule
def test_pair_differs_in_one_idea(rule: Rule) -> None:
    changed = [line for line in rule.difference() if re.match(r"[+-](?!\"\"\")", line)]
    assert 1 <= len(changed) <= LARGEST_DIFFERENCE, "\n".join(changed)


@every_rule
def test_pair_defines_the_same_handlers(rule: Rule) -> None:
    """What the proof calls in the one is in the other, under the same name."""

    def handlers(variant: str) -> list[str]:
        tree = ast.parse(rule.snippet(variant))
        services = re.findall(
            r"restate\.(?:Service|VirtualObject|Workflow)\('(\w+)'", ast.unparse(tree)
        )
        names = [
            f"{ast.unparse(node.decorator_list[0])} {node.name}".replace("kind='shared'", "")
            for node in ast.walk(tree)
            if isinstance(node, ast.AsyncFunctionDef) and node.decorator_list
        ]
        return services + names

    assert set(handlers("dont")) <= set(handlers("do")), "a do may have one more"
    assert handlers("dont")
