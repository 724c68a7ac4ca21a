"""A failing example must be reported as a failure: were it not, every other test would be worth nothing.

Some versions of pytest and pytest-examples end the whole session with an internal error when an
example fails (on Python 3.11), and the rest of the tests never run.
"""

import subprocess
import sys
from pathlib import Path

import pytest

# Runs every .py file beside it the way the project's own tests run the snippets.
TEST_FILE = '''
from pathlib import Path
import pytest
from pytest_examples import CodeExample, EvalExample

@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("example_*.py")), ids=str)
def test_example(path: Path, eval_example: EvalExample) -> None:
    eval_example.run_print_check(CodeExample.create(path.read_text(), path=path))

def test_runs_after_it() -> None:
    """A session that broke off would not come this far."""
'''

PASSES = """
print(6 * 7)
#> 42
"""

ASSERTION = """
assert 6 * 7 == 43
"""

EXCEPTION_IN_FUNCTION = """
def charge() -> None:
    raise ValueError("no such card")


charge()
"""

OTHER_PRINT = """
print(6 * 7)
#> 43
"""


def run_pytest(folder: Path, example: str) -> tuple[int, str]:
    """Run pytest on one example in a folder of its own: exit status and output."""
    (folder / "example_one.py").write_text(example)
    (folder / "test_examples.py").write_text(TEST_FILE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", folder],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_right_example_passes(tmp_path: Path) -> None:
    status, output = run_pytest(tmp_path, PASSES)
    assert (status, "2 passed" in output) == (0, True), output


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        pytest.param(ASSERTION, "AssertionError", id="assertion"),
        pytest.param(EXCEPTION_IN_FUNCTION, "ValueError: no such card", id="exception"),
        pytest.param(OTHER_PRINT, "Print output changed code", id="print"),
    ],
)
def test_a_wrong_example_fails(tmp_path: Path, example: str, reason: str) -> None:
    status, output = run_pytest(tmp_path, example)
    assert "INTERNALERROR" not in output, output
    assert (status, "1 failed, 1 passed" in output) == (1, True), output
    assert reason in output, output
