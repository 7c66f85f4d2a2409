"""The demo's stage: its folder and config, the service as a child process, the sets, and what becomes of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeAlias

from rodin_watchd.adapters.journal import JournalReader
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.api_key import KEY_VARIABLE
from rodin_watchd.core.layout import CONFIG_NAME
from rodin_watchd.core.machine import RESTING
from rodin_watchd.core.status import PAGE
from rodin_watchd.errors import JournalBusyError, JournalError, RodinWatchdError
from rodin_watchd.model import Job, State

KEY = "emulator-key"
LOOK_SECONDS = 0.2
LONGEST_SECONDS = 120.0
END_SECONDS = 5.0
LOG = "demo.log"

CONFIG = """\
# The demo's configuration: an emulated vendor on this machine, and shorter waits than usual.
[folders]
state = ".rodin-watchd"

[api]
base_url = "{base_url}"

[intake]
sidecar_wait_seconds = 1

[polling]
min_seconds = 0.5
max_seconds = 1
"""

SIDECAR = """\
# Names its model and image, and asks for more.
model = "bunny.glb"
image = "matcap-b.jpg"
prompt = "worn oak, brass fittings"
geometry_file_format = "obj"
"""

SETS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "suzi": ("by base name", {"suzi.glb": "suzi.glb", "suzi.png": "matcap-a.png"}),
    "worn-oak": ("by sidecar", {"bunny.glb": "bunny.glb", "matcap-b.jpg": "matcap-b.jpg", "worn-oak.toml": ""}),
    "logo": ("by folder", {"logo/pmndrs.stl": "pmndrs.stl", "logo/reference.webp": "matcap-c.webp"}),
}
"""Set → (how its files belong together, file in the inbox → sample; "" is the sidecar)."""

Show: TypeAlias = Callable[[Mapping[str, Job | None]], None]
"""Shows the sets as they are: name → job, None while there is none."""


@dataclass(frozen=True, slots=True)
class Play:
    """Where the demo takes place."""

    root: Path
    base_url: str

    @property
    def config(self) -> Path:
        """The service's config file."""
        return self.root / CONFIG_NAME

    @property
    def journal(self) -> Path:
        """The service's journal, where the config puts it."""
        return self.root / ".rodin-watchd" / "journal.sqlite3"


class DemoError(RodinWatchdError):
    """The demo did not come to its end."""

    code = "demo"
    advice = "Look into its log, and report it if it happens again."


@contextlib.contextmanager
def running(play: Play) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service as a child process of its own session, until the end; it never outlives the demo."""
    Spool(play.root).prepare()
    play.config.write_text(CONFIG.format(base_url=play.base_url), encoding="utf-8")
    environment = {**os.environ, KEY_VARIABLE: KEY, "NO_PROXY": "*", "no_proxy": "*"}
    command = [sys.executable, "-m", "rodin_watchd", "run", "--config", str(play.config)]
    with (
        (play.root / LOG).open("wb") as log,
        subprocess.Popen(  # noqa: S603 - this program itself
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        ) as service,
    ):
        try:
            yield service
        finally:
            service.terminate()
            try:
                service.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                service.kill()


def watched(play: Play, service: subprocess.Popen[bytes], show: Show) -> list[Job]:
    """Drop the sets as soon as the service watches, and show them until each has come to rest; return their jobs.

    Raises DemoError with the reason when one was not delivered, the service ended, or it takes too long.
    """
    until = time.monotonic() + LONGEST_SECONDS
    with contextlib.closing(_journal(play, service, until)) as journal:
        drop(play.root / "inbox")
        while True:
            jobs = {job.name: job for job in journal.jobs()}
            show({name: jobs.get(name) for name in SETS})
            if jobs.keys() >= SETS.keys() and all(job.state in RESTING for job in jobs.values()):
                return _delivered(list(jobs.values()))
            _wait(play, service, until)


def _delivered(jobs: list[Job]) -> list[Job]:
    for job in jobs:
        if job.state is not State.ARCHIVED:
            raise DemoError(f"“{job.name}” was not delivered: {job.problem.message if job.problem else job.state}")
    return jobs


def _journal(play: Play, service: subprocess.Popen[bytes], until: float) -> JournalReader:
    """Open the journal as soon as the service has looked at the inbox once."""
    while True:
        with contextlib.suppress(JournalError, JournalBusyError), contextlib.ExitStack() as stack:
            journal = stack.enter_context(contextlib.closing(JournalReader(play.journal)))
            if journal.meta(PAGE) is not None:
                stack.pop_all()
                return journal
        _wait(play, service, until)


def _wait(play: Play, service: subprocess.Popen[bytes], until: float) -> None:
    """Wait a moment. Raises DemoError when the service ended or the time is over."""
    time.sleep(LOOK_SECONDS)
    if service.poll() is not None:
        told = (play.root / LOG).read_text(encoding="utf-8", errors="replace").strip()
        raise DemoError(f"The service ended with exit code {service.returncode}: {told[-1000:]}")
    if time.monotonic() > until:
        raise DemoError(f"Not all sets were delivered within {LONGEST_SECONDS:g} seconds; {LOG} tells more.")


def drop(inbox: Path) -> None:
    """Copy the sets into the inbox, as people would."""
    samples = resources.files("rodin_watchd.emulator") / "samples"
    for _, files in SETS.values():
        for name, sample in files.items():
            path = inbox / name
            path.parent.mkdir(exist_ok=True)
            if not sample:
                path.write_text(SIDECAR, encoding="utf-8")
                continue
            with resources.as_file(samples / sample) as source:
                shutil.copyfile(source, path)
