"""The rules for the tree itself: what is pinned, what is locked, what no file may name."""

import importlib.util
import json
import re
import resource
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCK_FILES = ["requirements.lock", "requirements-node.lock", "package-lock.json"]

# The patterns are written so that they don't match themselves.
PACKAGE_REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org|docker\.io|ghcr\.io"
)
MACHINE_PATH = re.compile(r"""(?<![\w.~/-])/(?:work|root|home|Users|opt)/[\w.]|/tmp/[\w.]""")


def tracked_text() -> Iterator[tuple[str, str]]:
    """Every text file that git knows or would add, and its content."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listing.stdout.split("\0"):
        file = ROOT / name
        if name and file.is_file():
            content = file.read_bytes()
            if b"\0" not in content:  # a picture
                yield name, content.decode()


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, content in tracked_text()
        for number, line in enumerate(content.splitlines(), 1)
        if pattern.search(line)
    ]


def python_dependencies() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups: dict[str, list[str]] = settings["dependency-groups"]
    return [
        *settings["build-system"]["requires"],
        *settings["project"]["dependencies"],
        *(dependency for group in groups.values() for dependency in group),
    ]


def test_no_file_names_a_package_registry() -> None:
    assert lines_that_match(PACKAGE_REGISTRY) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_that_match(MACHINE_PATH) == []


@pytest.mark.parametrize("name", LOCK_FILES)
def test_lock_files_hold_hashes_and_no_addresses(name: str) -> None:
    lock = (ROOT / name).read_text()
    assert "://" not in lock
    assert re.search(r"sha256:[0-9a-f]{64}|sha512-[\w+/]{86}==", lock)


@pytest.mark.parametrize("dependency", python_dependencies())
def test_python_dependencies_are_pinned_and_say_why(dependency: str) -> None:
    assert re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+", dependency)
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    listed = [line for line in lines if line.strip().startswith(f'"{dependency}"')]
    assert all(re.search(r",\s+# \w", line) for line in listed), listed


def test_python_dependencies_are_locked_as_pinned() -> None:
    locks = "".join((ROOT / name).read_text().lower() for name in LOCK_FILES[:2])
    locked = set(re.findall(r"^[\w.-]+==[\w.]+", locks, re.MULTILINE))
    assert {dependency.lower() for dependency in python_dependencies()} <= locked


def test_restate_server_is_locked_for_every_platform() -> None:
    pinned = json.loads((ROOT / "package.json").read_text())["optionalDependencies"]
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert packages.pop("")["optionalDependencies"] == pinned
    assert {
        name.removeprefix("node_modules/"): package["version"] for name, package in packages.items()
    } == pinned
    assert all(package["integrity"] for package in packages.values())
    assert {name.split("restate-server-")[1] for name in pinned} == {
        "linux-x64",
        "linux-arm64",
        "darwin-x64",
        "darwin-arm64",
    }


def test_make_help_teaches_every_command() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    taught = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {"help", "serve", "test", "build", "offline", "update", "bench", "clean"} <= commands
    assert set(re.findall(r"^  make (\w+) +\S", taught, re.MULTILINE)) == commands


def test_a_second_setup_has_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(sys.prefix) == ROOT / ".venv", "run the tests with `make test`"

    # First with no hands: a setup that did something would pull .venv from under the other tests.
    spec = importlib.util.spec_from_file_location("setup_tool", ROOT / "tools" / "setup.py")
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    done: list[str] = []
    monkeypatch.setattr(tool.Setup, "run", lambda setup, doing, *rest, **more: done.append(doing))
    monkeypatch.setattr(tool.Stamp, "put", lambda stamp: None)
    monkeypatch.setattr(tool.Stamp, "lift", lambda stamp: None)
    monkeypatch.setattr(sys, "argv", ["setup.py", "test"])
    assert (tool.main(), done) == (0, []), "run `make test`, which sets up first"

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    real = subprocess.run(
        [sys.executable, ROOT / "tools" / "setup.py", "test"], capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (real.returncode, real.stdout, real.stderr) == (0, "", "")
    # Processor time: the clock on the wall also counts what other tests do meanwhile.
    used = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    assert used < 0.5


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff_agrees(command: list[str]) -> None:
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr


@pytest.mark.xdist_group("mypy")
def test_mypy_agrees() -> None:
    mypy = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert mypy.returncode == 0, mypy.stdout + mypy.stderr


def test_every_picture_of_the_readme_shows_something_else() -> None:
    """Taken without a built site, they once showed the same error, all of them."""
    named = re.findall(r"docs/assets/screenshots/[\w-]+\.png", (ROOT / "README.md").read_text())
    assert named
    assert len({(ROOT / name).read_bytes() for name in named}) == len(named)
