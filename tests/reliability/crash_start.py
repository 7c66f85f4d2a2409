"""Starting the real daemon so that it kills itself, stops, or is refused something at a chosen effect on the world outside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Protocol

from crash_scene import KEY, Scene

HERE = Path(__file__).parent
RUN_SECONDS = 120

NO_COMPILER = "" if shutil.which("gcc") else "gcc is missing: the crash points cannot be compiled in"
"""Why no process can be killed at a chosen effect, or ""."""


@dataclass(frozen=True)
class Crash:
    """What happens at a process's effect number `at`, counted from 1; 0: nothing.

    Without `error` and `act` the process kills itself, before the effect or after it.
    """

    at: int = 0
    after: bool = False
    error: int = 0  # the call is not made and ends with this error number; only calls that can end so are counted
    act: Callable[[], bool] | None = None  # done while the thread stands before the effect; returns whether it goes on
    descriptors: int = 0  # how many the process may have; 0: as many as this one
    seconds: int = RUN_SECONDS  # it ends by SIGALRM after so long

    @property
    def when(self) -> str:
        """Its name, as the library knows it."""
        if self.error:
            return "fail"
        if self.act:
            return "stop"
        return "after" if self.after else "before"


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

    def at(self, crash: Crash) -> str:
        """Return the effect of the crash, "" if the run had fewer; its line may not be the last: other threads go on."""
        found = (line for line in self.effects if crash.at and line.startswith(f"{crash.at} "))
        words = {
            "before": "before",
            "after": "after",
            "stop": "stopped before",
            "fail": os.strerror(crash.error) + " at",
        }
        return next((f"{words[crash.when]} {line.strip()}" for line in found), "")


class Start(Protocol):
    """Runs the daemon until it is idle, or killed."""

    def __call__(self, scene: Scene, crash: Crash) -> Ended:
        """Run it."""


def build(folder: Path, name: str = "crash_shim") -> Path:
    """Compile a library to be preloaded, usually the one that counts and kills; raises CalledProcessError."""
    library = folder / f"{name}.so"
    source = HERE / f"{name}.c"
    subprocess.run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def arguments(scene: Scene) -> list[str]:
    """Return the command line that is run."""
    return ["rodin-watchd", "run", "--config", str(scene.config), "--until-idle"]


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment, with the key and nothing else of the project's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RODIN", "STATE_", "CREDENT"))}
    return {**kept, "RODIN_API_KEY": KEY, "PYTHONDONTWRITEBYTECODE": "1", **more}


# ---- starting -------------------------------------------------------------------------------------------------------


def cold(library: Path) -> Start:
    """Start `python -m rodin_watchd run` each time."""

    def start(scene: Scene, crash: Crash) -> Ended:
        effects = _fresh(scene.root.parent / "effects.log")
        with _called(crash) as call:
            preloaded = environment(
                LD_PRELOAD=str(library),
                CRASH_AT=str(crash.at),
                CRASH_WHEN=crash.when,
                CRASH_ERRNO=str(crash.error),
                CRASH_CALL=call,
                CRASH_DESCRIPTORS=str(crash.descriptors),
                CRASH_LOG=str(effects),
            )
            command = [sys.executable, "-m", "rodin_watchd", *arguments(scene)[1:]]
            done = subprocess.run(
                command, check=False, env=preloaded, capture_output=True, text=True, timeout=crash.seconds
            )
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
        with _called(crash) as call:
            order = {
                "arguments": arguments(scene),
                "at": crash.at,
                "when": crash.when,
                "error": crash.error,
                "call": call,
                "descriptors": crash.descriptors,
                "effects": str(effects),
                "log": str(log),
                "seconds": crash.seconds,
            }
            print(json.dumps(order), file=orders, flush=True)
            code = int(codes.readline())
        return Ended(code, tuple(effects.read_text().splitlines()), log.read_text())

    return start


def _fresh(path: Path) -> Path:
    path.write_text("")
    return path


# ---- acting while the process stands at an effect -------------------------------------------------------------------


@contextmanager
def _called(crash: Crash) -> Iterator[str]:
    """Give the path of a socket at which `act` is done when the process calls; raises what `act` raises."""
    if crash.act is None:
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="call-") as folder, socket.socket(socket.AF_UNIX) as listening:
        path = str(Path(folder, "call"))
        listening.bind(path)
        listening.listen(1)
        raised: list[BaseException] = []
        thread = threading.Thread(target=_answer, args=(listening, crash.act, raised))
        thread.start()
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # ends a wait for a call that never came
            thread.join()
        if raised:
            raise raised[0]


def _answer(listening: socket.socket, act: Callable[[], bool], raised: list[BaseException]) -> None:
    try:
        connection, _ = listening.accept()
    except OSError:  # the run has ended before its effect
        return
    with connection:
        connection.recv(1024)
        try:
            goes_on = act()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the thread that waits for the run
            raised.append(error)
            return
        connection.sendall(b"g" if goes_on else b"k")


# ---- a daemon that is killed from outside ---------------------------------------------------------------------------


@contextmanager
def alive(
    scene: Scene, *, serving: bool, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[subprocess.Popen[bytes]]:
    """Give a daemon of its own process, if asked as soon as it serves; it runs until it is killed, at the end. `more`: environment."""
    command = [sys.executable, "-m", "rodin_watchd", *arguments(scene)[1:-1]]
    told = _fresh(scene.root.parent / f"{scene.root.name}.log")
    with told.open("w") as log, subprocess.Popen(command, env=environment(**more), stderr=log) as daemon:
        try:
            while serving and "watching:" not in told.read_text():
                assert passes(daemon, 0.02), told.read_text()
            yield daemon
        finally:
            daemon.kill()


def passes(daemon: subprocess.Popen[bytes], seconds: float) -> bool:
    """Let so much time pass; return whether the daemon still runs."""
    try:
        daemon.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False
