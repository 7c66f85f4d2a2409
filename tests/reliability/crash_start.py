"""Starting the real daemon so that it kills itself at a chosen effect on the world outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from crash_scene import KEY, Scene

HERE = Path(__file__).parent
SOURCE = HERE / "crash_shim.c"
RUN_SECONDS = 60

NO_COMPILER = "" if shutil.which("gcc") else "gcc is missing: the crash points cannot be compiled in"
"""Why no process can be killed at a chosen effect, or ""."""


@dataclass(frozen=True)
class Crash:
    """Where a process kills itself: at its effect number `at`, counted from 1, before or after it. 0: nowhere."""

    at: int = 0
    after: bool = False


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, the effects it had, what it logged."""

    code: int
    effects: tuple[str, ...]
    log: str

    @property
    def killed(self) -> bool:
        """Whether it was killed, as was asked; one that takes too long ends by SIGALRM."""
        return self.code == -signal.SIGKILL

    @property
    def fault(self) -> str:
        """What is wrong with a run that was not killed."""
        if self.code in (0, 1) and "Traceback" not in self.log:
            return ""
        return f"a run without a crash ended with {self.code}: {self.log[-2000:]}"


class Start(Protocol):
    """Runs the daemon until it is idle, or killed."""

    def __call__(self, scene: Scene, crash: Crash) -> Ended:
        """Run it."""


def build(folder: Path) -> Path:
    """Compile the library that counts and kills; raises CalledProcessError."""
    library = folder / "crash_shim.so"
    subprocess.run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def arguments(scene: Scene) -> list[str]:
    """Return the command line that is run."""
    return ["rodin-watchd", "run", "--config", str(scene.config), "--until-idle"]


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment, with the key and nothing else of the project's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RODIN", "STATE_", "CREDENT"))}
    return {**kept, "RODIN_API_KEY": KEY, "PYTHONDONTWRITEBYTECODE": "1", **more}


def cold(library: Path) -> Start:
    """Start `python -m rodin_watchd run` each time."""

    def start(scene: Scene, crash: Crash) -> Ended:
        effects = _fresh(scene.root.parent / "effects.log")
        when = "after" if crash.after else "before"
        preloaded = environment(
            LD_PRELOAD=str(library), CRASH_AT=str(crash.at), CRASH_WHEN=when, CRASH_LOG=str(effects)
        )
        command = [sys.executable, "-m", "rodin_watchd", *arguments(scene)[1:]]
        done = subprocess.run(command, check=False, env=preloaded, capture_output=True, text=True, timeout=RUN_SECONDS)
        return Ended(done.returncode, tuple(effects.read_text().splitlines()), done.stderr)

    return start


@contextmanager
def warm(library: Path) -> Iterator[Start]:
    """Fork a process that has imported everything each time, and run the same program in it: a tenth of the time."""
    command = [sys.executable, str(HERE / "warm_start.py")]
    preloaded = environment(LD_PRELOAD=str(library))
    with subprocess.Popen(command, env=preloaded, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        yield _warm_start(process.stdin, process.stdout)
        process.stdin.close()


def _warm_start(orders: IO[str], codes: IO[str]) -> Start:
    def start(scene: Scene, crash: Crash) -> Ended:
        effects, log = _fresh(scene.root.parent / "effects.log"), _fresh(scene.root.parent / "daemon.log")
        order = {
            "arguments": arguments(scene),
            "at": crash.at,
            "after": crash.after,
            "effects": str(effects),
            "log": str(log),
            "seconds": RUN_SECONDS,
        }
        print(json.dumps(order), file=orders, flush=True)
        code = int(codes.readline())
        return Ended(code, tuple(effects.read_text().splitlines()), log.read_text())

    return start


def _fresh(path: Path) -> Path:
    path.write_text("")
    return path
