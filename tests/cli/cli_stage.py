"""What the command line's tests share: a service's folder, its commands as child processes, sets to drop."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from click.testing import CliRunner, Result

from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.cli.main import cli
from rodin_watchd.core.kinds import TEXTURE
from rodin_watchd.errors import Fault, Problem, Scope
from rodin_watchd.model import (
    Answer,
    InputFile,
    Job,
    ResultFile,
    Role,
    Signature,
    State,
    Task,
    Transition,
)

SAMPLES = Path(__file__).parents[2] / "rodin_watchd" / "emulator" / "samples"
KEY = "emulator-key"
PROGRAM = (sys.executable, "-m", "rodin_watchd")
TIMEOUT_SECONDS = 60.0
SECRET = "a-token-nobody-may-see"  # noqa: S105 - what the tests look for

CONFIG = """\
[api]
base_url = "{base_url}"
[intake]
sidecar_wait_seconds = 0
quiet_seconds = 0.2
unproven_quiet_seconds = 0.2
[polling]
min_seconds = 0.1
max_seconds = 0.2
"""


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without what would steer the commands, with these changes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RODIN", "STATE_", "CREDENT"))}
    return {**kept, "TZ": "UTC", "COLUMNS": "200", **changes}


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _warm() -> tuple[socket.socket, int]:
    """Start the process that runs commands by forking, once for this one; it ends with it. Return how to reach it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        os.set_inheritable(theirs.fileno(), True)
        program = [sys.executable, str(Path(__file__).with_name("warm_commands.py")), str(theirs.fileno())]
        return ours, os.posix_spawn(program[0], program, os.environ)


@dataclass
class Stage:
    """A service's folder and its command line."""

    root: Path
    base_url: str = "http://127.0.0.1:9"  # the discard port: nobody is there
    environment: Mapping[str, str] = field(default_factory=lambda: environment(RODIN_API_KEY=KEY))

    def __post_init__(self) -> None:
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.config.write_text(CONFIG.format(base_url=self.base_url), encoding="utf-8")

    @property
    def config(self) -> Path:
        """The config file."""
        return self.root / "config.toml"

    @property
    def inbox(self) -> Path:
        """Where sets are dropped."""
        return self.root / "inbox"

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.root / ".rodin-watchd" / "journal.sqlite3"

    def command(self, name: str, *arguments: str | bytes) -> list[str | bytes]:
        """Return a whole command line for this service."""
        return [*PROGRAM, name, "--config", str(self.config), *arguments]

    def told(
        self, name: str, *arguments: str | bytes, typed: str = "", stdin: int | None = None, umask: int = 0o022
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in a process of its own, and return what it said; a traceback is a failure of any test.

        It reads what is `typed`, or from the descriptor `stdin`. Its process is forked from one that has imported the program.
        """
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as reads:
            reads.write(typed.encode())
            reads.seek(0)
            command = self.command(name, *arguments)
            code = self._run(command, umask, (reads.fileno() if stdin is None else stdin, said.fileno(), told.fileno()))
            run = subprocess.CompletedProcess(command, code, _text(said), _text(told))
        assert "Traceback" not in run.stderr, run.stderr
        return run

    def _run(self, command: Sequence[str | bytes], umask: int, streams: Sequence[int]) -> int:
        order = {
            "umask": umask,
            "arguments": ["rodin-watchd", *map(os.fsdecode, command[len(PROGRAM) :])],
            "environment": dict(self.environment),
            "folder": str(self.root),
            "seconds": int(TIMEOUT_SECONDS),
        }
        warm, _ = _warm()
        socket.send_fds(warm, [json.dumps(order).encode()], streams)
        return int(warm.recv(100))

    def data(self, name: str, *arguments: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Run a command with `--json` and return its data."""
        run = self.told(name, "--json", *arguments)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    def told_here(self, name: str, *arguments: str | bytes, typed: str = "") -> Result:
        """Run a command inside this process, which is faster, and return what it said; the project's errors pass."""
        words = [name, "--config", str(self.config), *map(os.fsdecode, arguments)]
        return CliRunner().invoke(cli, words, env=self.environment, input=typed, catch_exceptions=False)

    def data_here(self, name: str, *arguments: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Run a command with `--json` inside this process and return its data."""
        result = self.told_here(name, "--json", *arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def drop(self, model: str, model_sample: str, image: str, image_sample: str) -> None:
        """Copy a model and an image into the inbox."""
        for name, sample in ((model, model_sample), (image, image_sample)):
            shutil.copyfile(SAMPLES / sample, self.inbox / name)

    def install(self, name: str, code: str) -> None:
        """Write a plugin into the folder `own`."""
        folder = self.root / "own"
        folder.mkdir(mode=0o755)
        (folder / f"{name}.py").write_text(code)
        (folder / f"{name}.py").chmod(0o644)

    def journaled(self, *jobs: Job) -> None:
        """Put jobs into the journal as they are, each at its `created_at`, with an event."""
        self.journal.parent.mkdir(exist_ok=True)
        with closing(Journal(self.journal)) as journal:
            for at, alike in groupby(jobs, key=lambda job: job.created_at):
                journal.commit([Transition(job, job.state.value, "as the test wants it") for job in alike], at)


class Running:
    """A service as a child process, whose log is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, *patterns: str) -> None:
        """Read the log until each pattern has fitted one of the lines read; fails when the log ends before."""
        assert self.process.stderr
        wanted = set(patterns)
        for line in self.process.stderr:
            self.lines.append(line)
            wanted = {pattern for pattern in wanted if not re.search(pattern, line)}
            if not wanted:
                return
        raise AssertionError(f"no line fits {wanted} in:\n{''.join(self.lines)}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal and return its exit code."""
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=TIMEOUT_SECONDS)
        self.lines.append(rest)
        return self.process.returncode


def by_user(user: int, *groups: int) -> list[str]:
    """Return what stands before a command that a user with these groups runs, by whose rights it writes.

    It may read whatever it likes, because the interpreter may lie in a home that is closed.
    """
    reads = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    shared = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    return ["setpriv", f"--reuid={user}", f"--regid={user}", shared, *reads]


@contextmanager
def running(
    stage: Stage, *arguments: str, before: Sequence[str] = (), begun: str = "drop sets into"
) -> Iterator[Running]:
    """Run the service as a child process; it has begun when this returns, and is killed in the end if it still lives.

    `before` is a command that runs it.
    """
    command = [*before, *stage.command("run", *arguments)]
    with subprocess.Popen(command, env=stage.environment, stderr=subprocess.PIPE, text=True) as process:
        service = Running(process)
        try:
            service.until(begun)
            yield service
        finally:
            process.kill()


def a_job(**changes: Any) -> Job:  # noqa: ANN401 - any of a job's values
    """Return a delivered job with all its parts, but for these changes."""
    signature = Signature(4, 1_700_000_000_000_000_000, 12)
    job = Job(
        id="0123456789ab",
        name="chair",
        folder="oak",
        state=State.ARCHIVED,
        files=(
            InputFile(Role.MODEL, "inbox/oak/chair.glb", signature, sha256="aa" * 32),
            InputFile(Role.IMAGE, "inbox/oak/chair.png", signature, sha256="bb" * 32),
        ),
        options={"prompt": "worn oak", "seed": 7},
        created_at=1_700_000_000.0,
        fingerprint="f0" * 32,
        times={"archived": 1_700_000_100.0},
        task=Task("task-uuid-1", SECRET, 1_700_000_050.0),
        answer=Answer(201, SECRET.encode()),
        charges=1,
        results=(ResultFile("model.glb", "model.glb", 9, "cc" * 32),),
        place="outbox/oak/chair",
    )
    asked = replace(job, **changes)
    return replace(asked, spent=changes.get("spent", asked.charges * TEXTURE.list_price({})))


def a_failed_job(**changes: Any) -> Job:  # noqa: ANN401 - any of a job's values
    """Return a job that failed before anything was paid."""
    problem = Problem("file-refused", Fault.FILES, Scope.SET, "“lamp.png” cannot be used.", "Mend it.")
    given = {"id": "ba9876543210", "name": "lamp", "folder": "", "state": State.FAILED, "fingerprint": "", "charges": 0}
    files = (InputFile(Role.IMAGE, "inbox/lamp.png", Signature(4, 5, 6)),)
    failed = {"task": None, "answer": None, "results": (), "problem": problem, "place": "failed/lamp", "files": files}
    return a_job(**{**given, **failed, **changes})


def a_held_job(**changes: Any) -> Job:  # noqa: ANN401 - any of a job's values
    """Return a job whose submit has an unknown outcome."""
    problem = Problem("unknown-outcome", Fault.NETWORK, Scope.SET, "No answer came.", "Look into the account.")
    given = {
        "id": "cccccccccccc",
        "name": "vase",
        "state": State.HELD,
        "fingerprint": "ee" * 32,
        "charges": 0,
        "holds": 1,
    }
    return a_job(**{**given, "task": None, "answer": None, "results": (), "problem": problem, "place": "", **changes})
