"""Sets up what the Makefile's commands need: Python packages, restate-server, Chromium.

    python3 tools/setup.py site|test

It runs before anything is installed, so it uses the standard library only. What is done is
stamped: a second run looks at the stamps, needs no network and says nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
NODE_MODULES = ROOT / "node_modules"

# Within a venv, the Python that it was made from: .venv can't make itself anew.
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
PYTHON_VERSION = platform.python_version()


class Missing(Exception):
    """Something can't be had; the message says what, and the ways out."""


class Setup:
    """Runs the steps. `lock` is held by the commands too: see `only_one`."""

    def __init__(self, lock: int) -> None:
        self.lock = lock

    # The steps

    def python_packages(self) -> None:
        """Make .venv anew, unless it was made by this Python from this lock file."""
        requirements = ROOT / "requirements.lock"
        stamp = Stamp(VENV / "packages.stamp", PYTHON_VERSION, PYTHON, str(VENV), requirements)
        if stamp.holds():
            return
        if importlib.util.find_spec("ensurepip") is None:  # Debian keeps it in a package apart
            self.apt_install(
                f"Installing Python {PYTHON_VERSION}'s venv module",
                "python{}.{}-venv".format(*sys.version_info),
                way_out=f"{PYTHON} has no venv module. Install the package that holds it (as root: "
                "apt-get install python3-venv), or name another Python: PYTHON=python3.13 make …",
            )
        self.run(
            f"Making .venv with Python {PYTHON_VERSION}",
            [PYTHON, "-m", "venv", "--clear", VENV],
            way_out=f"{PYTHON} can't make a virtual environment in {VENV}. Name another Python: "
            "PYTHON=python3.13 make …",
        )
        self.pip_install(requirements)
        stamp.put()

    def project(self) -> None:
        """Install the project itself, editable, for its `guide` command."""
        stamp = Stamp(VENV / "project.stamp", ROOT / "pyproject.toml")
        if stamp.holds():
            return
        self.run(
            "Installing the project itself",
            [*PIP, "--no-deps", "--no-build-isolation", "--editable", ROOT],
            way_out="The project itself could not be installed into .venv: see pip's words above. "
            "`make clean` and another try start from nothing.",
        )
        stamp.put()

    def restate_server(self) -> None:
        """Install restate-server from npm, unless the environment has one or names one."""
        if os.environ.get("RESTATE_INGRESS_URL") and os.environ.get("RESTATE_ADMIN_URL"):
            return
        if named := os.environ.get("RESTATE_SERVER_BIN"):
            if not os.access(named, os.X_OK) or os.path.isdir(named):
                raise Missing(f"RESTATE_SERVER_BIN names {named}, which can't be executed.")
            return
        if shutil.which("restate-server"):
            return

        package, version = server_package()
        binary = NODE_MODULES / package / "bin" / "restate-server"
        stamp = Stamp(NODE_MODULES / "server.stamp", str(binary), ROOT / "package-lock.json")
        if stamp.holds():
            return
        ways_out = SERVER_WAYS_OUT.format(version=version)
        npm = shutil.which("npm")
        if npm is None:
            npm = str(VENV / "bin" / "npm")
            self.pip_install(ROOT / "requirements-node.lock")
        not_installed = (
            f"restate-server {version} could not be installed from npm, which needs a network the "
            f"first time. {ways_out}"
        )
        stamp.lift()
        self.run(f"Installing restate-server {version} with npm", [npm, "ci"], not_installed)
        if not binary.is_file():  # npm forgives an optional package that it can't fetch
            raise Missing(not_installed)
        self.run(
            "Starting restate-server once",
            [binary, "--version"],
            way_out=f"npm's restate-server {version} does not run on this machine. {ways_out}",
        )
        stamp.put()

    def chromium(self) -> None:
        """Install Debian's Chromium, a font for it, and a library that Playwright's driver needs.

        The one without windows will do, and takes half of the other's time.
        """
        found = shutil.which("chromium-headless-shell") or shutil.which("chromium")
        if found and (sys.platform != "linux" or has_library("libatomic.so.1")):
            return
        self.apt_install(
            "Installing Chromium",
            *("chromium-headless-shell", "fonts-dejavu-core", "libatomic1"),
            way_out="The browser tests need Chromium, a font and, on Linux, libatomic.so.1, which "
            "could not be installed. Install them (on Debian, as root: apt-get install "
            "chromium-headless-shell fonts-dejavu-core libatomic1), or put another Chromium on "
            "PATH under the name `chromium`. `make serve` needs no browser of its own.",
        )

    # What the steps are made of

    def pip_install(self, requirements: Path) -> None:
        # Wheels only, as nothing is compiled here; no resolving, as the lock names everything.
        self.run(
            f"Installing the Python packages of {requirements.name}",
            [*PIP, "--require-hashes", "--no-deps", "--only-binary=:all:", "-r", requirements],
            way_out=f"The Python packages of {requirements.name} could not be installed, which "
            "needs a network the first time. Where there is none, bring a folder of wheels from a "
            f"machine that has one (pip download -r {requirements.name} -d wheels, with Python "
            "{}.{}) and set PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels; ".format(*sys.version_info)
            + "or work in a container that was set up elsewhere.",
        )

    def apt_install(self, doing: str, *packages: str, way_out: str) -> None:
        """Install Debian packages, as root or through sudo."""
        sudo: list[str] = []
        if shutil.which("apt-get") is None:
            raise Missing(way_out)
        if os.geteuid() != 0:
            # Ask for the password now: later the prompt would drown in the progress line.
            print(f"{doing} needs root; sudo may ask for your password.", flush=True)
            if shutil.which("sudo") is None or subprocess.run(["sudo", "-v"]).returncode != 0:
                raise Missing(way_out)
            sudo = ["sudo", "-n"]
        apt_get = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "--yes"]
        self.run("Updating Debian's package lists", [*apt_get, "update"], way_out)
        self.run(doing, [*apt_get, "install", "--no-install-recommends", *packages], way_out)

    def run(self, doing: str, command: Sequence[str | Path], way_out: str) -> None:
        """Run a command and say what for; when it fails, show its last words and the way out."""
        with tempfile.TemporaryFile("w+") as output:
            try:
                with subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env={**os.environ, "PATH": f"{os.environ['PATH']}:{VENV / 'bin'}"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[self.lock],
                ) as process:
                    wait_and_tell(process, doing)
            except OSError as error:
                raise Missing(f"{way_out} ({error})") from None
            if process.returncode != 0:
                output.seek(0)
                last_words = output.read().strip().splitlines()[-8:]
                print(*(f"  | {line[:160]}" for line in last_words), sep="\n", file=sys.stderr)
                raise Missing(way_out)


class Stamp:
    """Notes in a file from what a step was done, so that it's done again only if that changes."""

    def __init__(self, file: Path, *made_from: str | Path) -> None:
        contents = (part if isinstance(part, str) else part.read_text() for part in made_from)
        self.file = file
        self.digest = hashlib.sha256("\0".join(contents).encode()).hexdigest()

    def holds(self) -> bool:
        return self.file.is_file() and self.file.read_text() == self.digest

    def put(self) -> None:
        self.file.write_text(self.digest)

    def lift(self) -> None:
        self.file.unlink(missing_ok=True)


PIP: list[str | Path] = [
    *(VENV / "bin" / "python", "-m", "pip", "install"),
    *("--disable-pip-version-check", "--no-input"),
]

SERVER_WAYS_OUT = (
    "Ways out: set RESTATE_SERVER_BIN to a restate-server {version} that you have; or start one "
    "elsewhere, for instance in a container (docker run --rm --network host "
    "restatedev/restate:{version}), and set RESTATE_INGRESS_URL=http://127.0.0.1:8080 and "
    "RESTATE_ADMIN_URL=http://127.0.0.1:9070."
)


def server_package() -> tuple[str, str]:
    """The npm package that holds restate-server for this machine, and its version."""
    system, machine = platform.system().lower(), platform.machine().lower()
    arch = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(machine, machine)
    package = f"@restatedev/restate-server-{system}-{arch}"
    packages: dict[str, str] = json.loads((ROOT / "package.json").read_text())[
        "optionalDependencies"
    ]
    if package not in packages:
        version = next(iter(packages.values()))
        raise Missing(
            f"There is no restate-server on npm for {system} on {machine}. "
            + SERVER_WAYS_OUT.format(version=version)
        )
    return package, packages[package]


def has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def wait_and_tell(process: subprocess.Popen[bytes], doing: str) -> None:
    """Wait for the command; on a terminal the line counts the seconds."""
    started = time.monotonic()
    terminal = sys.stdout.isatty()
    print(f"{doing} …", end="" if terminal else "\n", flush=True)
    while True:
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if terminal:
                print(f"\r{doing} … {time.monotonic() - started:.0f} s", end="", flush=True)
        else:
            break
    seconds = time.monotonic() - started
    if terminal:
        print(f"\r{doing} … {seconds:.1f} s")
    elif seconds > 1:
        print(f"  {seconds:.1f} s", flush=True)


@contextlib.contextmanager
def only_one() -> Iterator[int]:
    """Let one setup at a time work in this folder; this file itself is the lock.

    Commands inherit the lock. So if a setup is killed, the next one still waits for the pip or
    npm that the first one started.
    """
    with open(__file__) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another setup is at work in this folder: waiting for it …", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("goal", choices=["site", "test"], help="to read the guide, or to test it")
    goal = parser.parse_args().goal
    try:
        if sys.version_info < (3, 11):
            raise Missing(
                f"The guide needs Python 3.11 or later; {sys.executable} is {PYTHON_VERSION}. "
                "Name another one: PYTHON=python3.13 make …"
            )
        with only_one() as lock:
            setup = Setup(lock)
            setup.python_packages()
            setup.project()
            setup.restate_server()
            if goal == "test":
                setup.chromium()
    except Missing as missing:
        print(f"\n{textwrap.fill(str(missing), 88, break_on_hyphens=False)}\n", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next run goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
