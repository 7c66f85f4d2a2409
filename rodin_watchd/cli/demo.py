"""`rodin-watchd demo`: an emulated vendor, a real daemon, four sets; no key, no cost, nothing but this machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import click
from rich.live import Live
from rich.table import Table

from rodin_watchd.adapters.spool import Spool
from rodin_watchd.cli.context import needs_emulator, needs_web, program_to_type
from rodin_watchd.client.journal import store_at
from rodin_watchd.config import KEY_VARIABLE
from rodin_watchd.core.layout import CONFIG_NAME
from rodin_watchd.core.machine import RESTING
from rodin_watchd.core.status import PAGE
from rodin_watchd.core.store import StoreReader
from rodin_watchd.errors import ConfigError, DiskError, JournalBusyError, JournalError, RodinWatchdError
from rodin_watchd.model import Job, State

# ---- The demo's stage: its folder and config, the service as a child process, the sets, and what becomes of them ----


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
unproven_quiet_seconds = 1

[polling]
min_seconds = 0.5
max_seconds = 1
"""

WEB = """
[web]
enabled = true
listen = "{listen}"
"""

SIDECAR = """\
# Names its model and image, and sets options.
model = "bunny.glb"
image = "matcap-b.jpg"
prompt = "worn oak, brass fittings"
geometry_file_format = "obj"
"""

PRESET = """\
# Each image in this folder becomes a new model.
kind = "generate"
"""

TEXTS: Mapping[str, str] = {"worn-oak.toml": SIDECAR, "generate/_folder.toml": PRESET}
"""File in the inbox → what stands in it."""

SETS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "suzi": ("by base name", {"suzi.glb": "suzi.glb", "suzi.png": "matcap-a.png"}),
    "worn-oak": ("by sidecar", {"bunny.glb": "bunny.glb", "matcap-b.jpg": "matcap-b.jpg", "worn-oak.toml": ""}),
    "logo": ("by folder", {"logo/pmndrs.stl": "pmndrs.stl", "logo/reference.webp": "matcap-c.webp"}),
    "relief": ("a new model", {"generate/_folder.toml": "", "generate/relief.jpg": "matcap-b.jpg"}),
}
"""Set → (how it is asked for, file in the inbox → sample; "": the file is one of `TEXTS`)."""

Show: TypeAlias = Callable[[Mapping[str, Job | None]], None]
"""Shows the sets as they are: name → job, None while there is none."""


@dataclass(frozen=True, slots=True)
class Play:
    """Where the demo takes place."""

    root: Path
    base_url: str
    page: str = ""  # where the page in the browser is to listen; "": there is none

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
    page = WEB.format(listen=play.page) if play.page else ""
    play.config.write_text(CONFIG.format(base_url=play.base_url) + page, encoding="utf-8")
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


def _journal(play: Play, service: subprocess.Popen[bytes], until: float) -> StoreReader:
    """Open the journal as soon as the service has looked at the inbox once."""
    while True:
        with contextlib.suppress(JournalError, JournalBusyError), contextlib.ExitStack() as stack:
            journal = stack.enter_context(contextlib.closing(store_at(play.journal)))
            if journal.meta(PAGE) is not None:
                stack.pop_all()
                return journal
        _wait(play, service, until)


def _wait(play: Play, service: subprocess.Popen[bytes], until: float) -> None:
    """Wait a moment. Raises DemoError when the service ended or the time is over."""
    time.sleep(LOOK_SECONDS)
    if service.poll() is not None:
        message = (play.root / LOG).read_text(encoding="utf-8", errors="replace").strip()
        raise DemoError(f"The service ended with exit code {service.returncode}: {message[-1000:]}")
    if time.monotonic() > until:
        raise DemoError(f"Not all sets were delivered within {LONGEST_SECONDS:g} seconds; {LOG} says more.")


def drop(inbox: Path) -> None:
    """Copy the sets into the inbox, as people would."""
    samples = resources.files("rodin_watchd.emulator") / "samples"
    for _, files in SETS.values():
        for name, sample in files.items():
            path = inbox / name
            path.parent.mkdir(exist_ok=True)
            if not sample:
                path.write_text(TEXTS[name], encoding="utf-8")
                continue
            with resources.as_file(samples / sample) as source:
                shutil.copyfile(source, path)


# ---- What the demo shows: a live table on a terminal, else a line for each change; and its closing words ------------


WORDS: Mapping[State, str] = {
    State.CLAIMED: "taken",
    State.STAGED: "taken",
    State.UPLOADING: "uploading",
    State.SUBMITTING: "uploading",
    State.SUBMITTED: "at the vendor",
    State.GENERATED: "downloading",
    State.DOWNLOADED: "delivering",
    State.PROCESSED: "delivering",
    State.DELIVERED: "delivered",
    State.ARCHIVED: "delivered",
    State.FAILING: "failed",
    State.FAILED: "failed",
    State.HELD: "held",
}


def words(job: Job | None) -> str:
    """Say where a set is, in a word or two."""
    if job is None:
        return "waiting in the inbox"
    progress = f": {job.progress}" if job.state is State.SUBMITTED and job.progress else ""
    return f"{WORDS[job.state]}{progress}"


@contextlib.contextmanager
def shown() -> Iterator[Show]:
    """Give what shows the sets as they are now, in the way that suits the standard output."""
    if not sys.stdout.isatty():
        yield _Lines()
        return
    with Live(_table({}), auto_refresh=False) as live:
        yield lambda sets: live.update(_table(sets), refresh=True)


class _Lines:
    """Prints a line whenever a set has come further."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._said: dict[str, str] = {}

    def __call__(self, sets: Mapping[str, Job | None]) -> None:
        for name, job in sets.items():
            if self._said.get(name) != words(job):
                self._said[name] = words(job)
                click.echo(f"{time.monotonic() - self._started:5.1f} s  {name} ({SETS[name][0]}): {words(job)}")


def _table(sets: Mapping[str, Job | None]) -> Table:
    table = Table()
    for heading, width in (("set", 8), ("asked", 12), ("now", 40)):
        table.add_column(heading, min_width=width)  # the longest of its words: the table keeps its form
    for name, (asked, _) in SETS.items():
        table.add_row(name, asked, words(sets.get(name)))
    return table


def keep_open(play: Play, service: subprocess.Popen[bytes]) -> None:
    """Let people look at the page until Ctrl-C, or until the service ends."""
    click.echo(
        f"\nThe page: http://{play.page}/ (Ctrl-C ends the demo; more sets can be dropped into {play.root / 'inbox'})"
    )
    with contextlib.suppress(KeyboardInterrupt):
        service.wait()


def page_address() -> str:
    """Return a free address for the page."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def closing_words(play: Play, jobs: list[Job], spent: str) -> str:
    """Say where the results are, what they would have cost, and how to go on."""
    places = sorted(job.place for job in jobs)
    results = [f"  {place}/  {', '.join(_files(play.root / place))}" for place in places]
    first = play.root / places[0]
    config, port = shlex.quote(str(play.config)), urlsplit(play.base_url).port
    command = program_to_type()
    return f"""
The results are in {play.root}:
{chr(10).join(results)}
A picture of one:     {first / "preview.webp"}
Its receipt:          {first / "job.toml"}
The dropped files:    {play.root / "archive"}
It “cost” {spent} credits, at the emulated vendor: nothing was spent.

To try more with this folder, in two terminals:
  {command} emulator --port {port}
  {KEY_VARIABLE}={KEY} {command} run --config {config}
For real use:
  {command} init DIR"""


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@click.command(epilog="Example: rodin-watchd demo --dir ./demo")
@click.option(
    "--dir",
    "--keep",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder for the demo, new or empty. Default: a new temporary folder. It stays.",
)
@click.option("--web/--no-web", "wants_page", default=None, help="The page in the browser. Default: on a terminal.")
def demo(folder: Path | None, *, wants_page: bool | None) -> None:
    """Show the whole service on this machine, in less than a minute: an emulated vendor, the real service, four sets.

    No API key, no cost, no network. On a terminal it shows the page in the browser, too, until Ctrl-C; --no-web leaves it out.
    The folder with the results stays.
    """
    has_page = has_web(wanted=wants_page)
    with needs_emulator():
        from rodin_watchd.emulator.api import EmulatorSettings  # noqa: PLC0415 - the same
        from rodin_watchd.emulator.server import Emulator  # noqa: PLC0415 - an optional extra
    _end_like_ctrl_c()
    root = _new_folder(folder)
    click.echo(
        f"In {root}: an emulated vendor, a real service, and four sets are dropped: three textures, and a new model. This takes a quarter of a minute."
    )
    try:
        with Emulator(EmulatorSettings(api_keys=(KEY,), waiting_seconds=1.5, generating_seconds=4.0)) as vendor:
            play = Play(root, vendor.base_url, page_address() if has_page else "")
            if play.page:
                click.echo(f"Watch it in the browser: http://{play.page}/")
            with running(play) as service:
                with shown() as show:
                    jobs = watched(play, service, show)
                click.echo(closing_words(play, jobs, vendor.ledger()["spent"]))
                if play.page:
                    keep_open(play, service)
    except KeyboardInterrupt:
        click.echo(f"\nStopped. The files up to now are in {root}.")
        raise SystemExit(1) from None
    except RodinWatchdError as error:
        error.advise(f"All files are in {root}.")
        raise


def has_web(*, wanted: bool | None) -> bool:
    """Return whether the page in the browser is shown. Raises ConfigError where it is wanted, and not installed."""
    if wanted is False or (wanted is None and not sys.stdout.isatty()):
        return False
    try:
        with needs_web():
            import rodin_watchd.web.app  # noqa: F401, PLC0415 - an optional extra
    except ConfigError:
        if wanted:
            raise
        return False
    return True


def _end_like_ctrl_c() -> None:
    """Let whatever ends the demo end its service, too; what is ignored (nohup) stays so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _new_folder(folder: Path | None) -> Path:
    """Make the folder. Raises DiskError if it cannot be made or holds something."""
    try:
        if folder is None:
            return Path(tempfile.mkdtemp(prefix="rodin-demo-"))
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DiskError(f"{folder} is not empty.", advice="The demo needs its own folder.")
    except OSError as error:
        advice = "Name another one with --dir."
        raise DiskError(f"{folder} cannot be made: {error.strerror}.", advice=advice) from None
    return folder.absolute()
