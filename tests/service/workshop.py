"""A daemon in a folder of its own, with a vendor on this machine and a clock that the test turns.

Nothing sleeps: the loop ticks, waits for the daemon's own wake-up while a step is under way, and else turns the clock.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import shutil
import sqlite3
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import tomli_w
from click.testing import CliRunner, Result
from PIL import Image

from rodin_watchd.adapters.heartbeat import read_heartbeat, sign_path
from rodin_watchd.adapters.plugin_host import PluginHost
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal, insert_command
from rodin_watchd.cli.main import cli
from rodin_watchd.config import PluginsSection as PluginSettings
from rodin_watchd.config import load_config
from rodin_watchd.core.balance import trust_key
from rodin_watchd.core.commands import Seen
from rodin_watchd.core.layout import HIDDEN, MARK, SUBMITS_NOTE
from rodin_watchd.core.status import PAGE, Page
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.ledger import LedgerSnapshot
from rodin_watchd.emulator.server import Emulator
from rodin_watchd.errors import CommandRefusedError, DiskError, JournalError
from rodin_watchd.model import Job, State
from rodin_watchd.service.assembly import assembled
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.commands import APPROVE, PAUSE, RESUME, SEEN
from rodin_watchd.service.daemon import Daemon
from rodin_watchd.service.plugins import Hosts, Plugins
from rodin_watchd.service.pool import Pool
from rodin_watchd.settings import journal_path

KEY = "key-of-the-tests-123"
TIMEOUT_SECONDS = 20.0
LOOK_SECONDS = 0.002
MOST_TICKS = 3000
STEP_SECONDS = 0.5
LONGEST_STEP_SECONDS = 30.0
QUIET_TICKS = 3
"""After so many ticks that changed nothing all of it has been told, too: the clock may be turned to what is due next."""
START_AT = 1_800_000_000.0
SAMPLES = Path(__file__).parent.parent / "samples"
QUIET_SECONDS = 2.0
ENDED = (State.ARCHIVED, State.FAILED)

_CUBE = "\n".join(
    [f"v {x} {y} {z}" for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    + ["f 1 2 4", "f 1 4 3", "f 5 7 8", "f 5 8 6", "f 1 5 6", "f 1 6 2", "f 3 4 8", "f 3 8 7", "f 1 3 7", "f 1 7 5"]
)


def model(word: str) -> bytes:
    """Return a small OBJ; another word makes another content."""
    return f"# {word!a}\n{_CUBE}\n".encode()


def glb(word: str) -> bytes:
    """Return a GLB that proves its own completeness; another word makes another content."""
    data = (SAMPLES / "pmndrs.glb").read_bytes()
    length = int.from_bytes(data[12:16], "little")
    text = data[20 : 20 + length].rstrip(b" ")
    assert text.endswith(b"}")
    text = text[:-1] + f',"extras":{{"word":"{word.encode().hex()}"}}}}'.encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    whole = 20 + len(text) + len(rest)
    return (
        b"glTF"
        + (2).to_bytes(4, "little")
        + whole.to_bytes(4, "little")
        + len(text).to_bytes(4, "little")
        + (b"JSON" + text + rest)
    )


def image(word: str) -> bytes:
    """Return a small PNG; another word makes another content."""
    out = io.BytesIO()
    colours = (word.encode("utf-8", "backslashreplace") * 48)[:48]
    Image.frombytes("RGB", (4, 4), colours).save(out, "PNG")
    return out.getvalue()


def seen_now(journal: Path, verb: str, job: str) -> dict[str, object]:
    """Return what a person sees now of what a command is about, as an argument of the command."""
    with contextlib.closing(JournalReader(journal)) as reader:
        if verb == PAUSE:
            return {}
        if verb in (RESUME, APPROVE):
            return {SEEN: reader.newest_command(PAUSE) if verb == RESUME else reader.newest_held()}
        with contextlib.suppress(CommandRefusedError):
            return {SEEN: Seen.of(reader.find(job)).as_data()}
        return {}


class Hands:
    """The hands of a clock: they move when the test says so."""

    def __init__(self) -> None:
        """Start at a fixed instant."""
        self.seconds = 0.0
        self.jump_seconds = 0.0  # of the wall clock alone

    def clock(self) -> Clock:
        """Return the clock that has these hands."""
        return Clock(lambda: START_AT + self.seconds + self.jump_seconds, lambda: 5000.0 + self.seconds, lambda: 0.5)


def no_plugins(folder: Path) -> Plugins:
    """Return what stands for plugins where there is none."""
    host = PluginHost([], 1, {}, folder / "scratch")
    return Plugins(PluginSettings(), Hosts(host), {}, frozenset(), Hands().clock(), lambda _message: None)


class Workshop:
    """One root folder and the daemon that serves it; the daemon can be stopped abruptly and started again."""

    def __init__(self, root: Path, base_url: str, sections: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the config; `sections` go over what suits most tests."""
        self.root = root
        self.hands = Hands()
        self.dropped: list[bytes] = []
        defaults: dict[str, dict[str, Any]] = {
            "api": {"base_url": base_url, "requests_per_minute": 100_000},
            "intake": {
                "watcher": "polling",
                "rescan_seconds": 1,
                "sidecar_wait_seconds": 0,
                "quiet_seconds": QUIET_SECONDS,
                "unproven_quiet_seconds": QUIET_SECONDS,
            },
            "polling": {"min_seconds": 1, "max_seconds": 2},
        }
        told = {name: {**defaults.get(name, {}), **sections.get(name, {})} for name in {*defaults, *sections}}
        (root / "config.toml").write_text(tomli_w.dumps(told))
        self.config = load_config(root / "config.toml")
        self._stack = ExitStack()

    # ---- the daemon -------------------------------------------------------------------------------------------------

    def start(self, *, safe_mode: bool = False) -> Daemon:
        """Start a daemon as the command line does."""
        assembly = assembled(self.config, KEY, self.hands.clock(), safe_mode=safe_mode)
        self.daemon = self._stack.enter_context(assembly)
        return self.daemon

    def crash(self) -> None:
        """Drop the daemon between two ticks: nothing more is committed, and what the workers do is never heard."""
        self._stack.close()
        self.join()

    def join(self) -> None:
        """Wait until the steps of a daemon that was closed have ended."""
        self.daemon.parts.pool.renew(self.daemon.parts.tools, 1)()

    @contextmanager
    def without_workers(self) -> Iterator[None]:
        """Let no step be handed out for a while: sets are claimed, and that is all."""
        with mock.patch.object(Pool, "free", 0):
            yield

    @contextmanager
    def running_clock(self) -> Iterator[None]:
        """Let the clock run by itself for a while, fast: for a daemon that runs its own loop."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(0.01):
                self.hands.seconds += STEP_SECONDS

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @property
    def inquires(self) -> bool:
        """Whether a proof by balance is under way."""
        return self.daemon.parts.dispatcher.progress.proving.inquiry is not None

    def restart(self, between: Callable[[], object] = lambda: None) -> Daemon:
        """Crash when the steps under way have done all that they can on their own; start again on the same folder.

        `between` is done while no daemon runs.
        """
        self.rest()
        self.crash()
        between()
        return self.start()

    def rest(self) -> None:
        """Wait until the steps under way have done all that they can on their own."""
        pool, pause = self.daemon.parts.pool, threading.Event()
        for _ in range(int(TIMEOUT_SECONDS / LOOK_SECONDS)):
            if len(pool.messages) >= len(pool.busy):
                return
            pause.wait(LOOK_SECONDS)
        raise AssertionError("a step hangs")

    def until_in_step(self, done: Callable[[], bool]) -> None:
        """Tick until `done`, each time when all steps have had their say: what begins together goes on together."""
        for _ in range(MOST_TICKS):
            self.daemon.tick()
            if done():
                return
            self.rest()
            self.hands.seconds += 0.5
        raise AssertionError(f"it never came true:\n{self.status()}")

    def until(
        self, done: Callable[[], bool], *, step_seconds: float | None = None, busy_seconds: float | None = None
    ) -> None:
        """Tick until `done`, turning the clock between the ticks while no step is under way.

        Without `step_seconds` it is turned by little while anything changes, and then to when the daemon has something to do.
        With `busy_seconds` a step under way holds the clock up for so long only.
        """
        quiet, changes = 0, -1
        for _ in range(MOST_TICKS):
            self.daemon.tick()
            if done():
                return
            before, changes = changes, self.store.changes
            quiet = quiet + 1 if changes == before else 0
            if self.daemon.parts.pool.busy:
                woken = self.daemon.parts.wake.wait(TIMEOUT_SECONDS if busy_seconds is None else busy_seconds)
                assert woken or busy_seconds is not None, "a step hangs"
                if woken:
                    continue
            is_quiet = quiet >= QUIET_TICKS and not self.daemon.parts.pool.busy
            self.hands.seconds += step_seconds if step_seconds is not None else self._next_step(is_quiet=is_quiet)
        raise AssertionError(f"it never came true:\n{self.status()}\n{[(j.name, j.state) for j in self.jobs()]}")

    def _next_step(self, *, is_quiet: bool) -> float:
        """Return by how many seconds the clock is turned: while it is quiet to when something is due, if that is known."""
        if not is_quiet:
            return STEP_SECONDS
        again = self.daemon.parts.reception.view.again_at - self.hands.clock().monotonic()
        due = min(
            (again, *self.daemon.parts.dispatcher.next_due_seconds(), *self.daemon.parts.notifier.next_due_seconds())
        )
        return min(max(due, STEP_SECONDS), LONGEST_STEP_SECONDS) if math.isfinite(due) else STEP_SECONDS

    def idle(self, *, step_seconds: float | None = None) -> None:
        """Let the inbox be looked at, tick until nothing moves any more, then let the status page be written."""
        self.hands.seconds += 1.0
        self.until(self.daemon.is_idle, step_seconds=step_seconds)
        self.hands.seconds += 1.0
        self.daemon.tick()

    def ticks(self, count: int, *, step_seconds: float = 0.0) -> None:
        """Tick so often, waiting for no worker."""
        for _ in range(count):
            self.hands.seconds += step_seconds
            self.daemon.tick()

    def command(self, verb: str, **arguments: object) -> dict[str, Any]:
        """Leave a command as the command line does, about what is to be seen now, and return the daemon's answer."""
        return self.answer_to(self.leave(verb, **{**self.seen(verb, arguments), **arguments}))

    def seen(self, verb: str, arguments: Mapping[str, object]) -> dict[str, object]:
        """Return what a person sees now of what a command is about, as the command line leaves it; also while nobody serves."""
        return seen_now(self.journal, verb, str(arguments.get("job", "")))

    def leave(self, verb: str, **arguments: object) -> int:
        """Leave a command as it stands, and return its number."""
        return insert_command(self.journal, verb, arguments, self.hands.seconds)

    def answer_to(self, number: int) -> dict[str, Any]:
        """Let the daemon work until it has answered a command; return the answer."""
        answers: list[dict[str, Any]] = []

        def answered() -> bool:
            answers[:] = filter(None, [self.store.answer(number)])
            return bool(answers)

        self.until(answered, step_seconds=0.0, busy_seconds=TIMEOUT_SECONDS)
        return answers[0]

    def at_terminal(self, *words: str) -> Result:
        """Run a command of the command line on this root."""
        return CliRunner().invoke(cli, [*words, "--config", str(self.root / "config.toml")])

    def told(self, *words: str) -> str:
        """Return what a command of the command line prints, in one line."""
        return " ".join(self.at_terminal(*words).output.split())

    def has_seen_the_balance_fall(self) -> None:
        """Put into the journal what a service knows that has bought from this account before."""
        account = self.daemon.parts.dispatcher.progress.account
        self.store.set_meta(trust_key(account), {"moves": True})

    # ---- the folders ------------------------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """Return a path below the root."""
        return self.root / name

    def drop(self, name: str | bytes, data: bytes) -> Path:
        """Write a file into the inbox, folders and all."""
        path = self.root / "inbox" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.dropped.append(data)
        return path

    def drop_set(self, name: str, sidecar: str | None = None) -> None:
        """Drop a set by base name, of a content of its own."""
        self.drop(f"{name}.obj", model(name))
        self.drop(f"{name}.png", image(name))
        if sidecar is not None:
            self.drop(f"{name}.toml", sidecar.encode())

    def found(self, top: str) -> set[str]:
        """Return the files below a top folder, relative to it, without the service's mark."""
        there = self.root / top
        files = (path for path in there.rglob("*") if path.is_file() or path.is_symlink())
        return {str(path.relative_to(there)) for path in files if path.name not in (MARK, SUBMITS_NOTE)}

    def work_folders(self) -> set[str]:
        """Return what lies in the hidden work folder, without the service's mark."""
        return {path.name for path in (self.root / HIDDEN / "work").iterdir() if path.name != MARK}

    def assert_nothing_lost(self) -> None:
        """Check that every byte that was dropped is in the inbox, in `failed/` or in the archive."""
        kept = set()
        for top in ("inbox", "failed", "archive"):
            for path in (self.root / top).rglob("*"):
                if path.is_file():
                    kept.add(path.read_bytes())
        assert [data[:80] for data in self.dropped if data not in kept] == []

    def status(self) -> str:
        """Return what people can read of the service: STATUS.txt, and the notices that `status` has for whoever runs it."""
        text = self.page()
        if not text:
            return ""
        with contextlib.suppress(JournalError, DiskError, TypeError):  # the journal may be away, or have no page yet
            text += "\n".join(self.notices())
        return text

    def report(self, place: str) -> str:
        """Return the REPORT.txt of a failed set."""
        return self.path(f"failed/{place}/REPORT.txt").read_text()

    def report_data(self, place: str) -> dict[str, Any]:
        """Return the report.toml of a failed set."""
        return tomllib.loads(self.path(f"failed/{place}/report.toml").read_text())

    # ---- the journal ------------------------------------------------------------------------------------------------

    @property
    def journal(self) -> Path:
        """Where the journal lies."""
        return journal_path(self.config, os.environ)

    def copy_of_journal(self, copy: Path) -> Path:
        """Copy the journal as it is now to a file of its own, and return that."""
        with (
            contextlib.closing(sqlite3.connect(self.journal)) as here,
            contextlib.closing(sqlite3.connect(copy)) as there,
        ):
            here.backup(there)
        return copy

    def put_in_place(self, copy: Path) -> Callable[[], None]:
        """Return what puts a copy in the journal's place, while no daemon runs."""

        def put() -> None:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.journal}{suffix}").unlink(missing_ok=True)
            shutil.copy(copy, self.journal)

        return put

    def purchases(self, *columns: str) -> list[Any]:
        """Return these columns of the journal's purchases, oldest first; of a single one its values."""
        query = f"SELECT {', '.join(columns)} FROM purchases ORDER BY id"  # noqa: S608 - the test's own words
        with contextlib.closing(sqlite3.connect(self.journal)) as journal:
            rows = journal.execute(query).fetchall()
        return rows if len(columns) > 1 else [value for (value,) in rows]

    @property
    def store(self) -> Journal:
        """The daemon's own connection to the journal."""
        store = self.daemon.parts.store
        assert isinstance(store, Journal)
        return store

    def page(self) -> str:
        """Return STATUS.txt alone, which is all that whoever drops files can read; "" where it is not there."""
        try:
            return self.path("STATUS.txt").read_text()
        except FileNotFoundError:
            return ""

    def notices(self) -> tuple[str, ...]:
        """Return what `status` says of the service as a whole."""
        return Page.of_data(self.store.meta(PAGE)).notices

    def standstill(self) -> str:
        """Return why nothing moves, as the sign of life has it for `health` and `status`, also where the journal cannot be written."""
        sign = read_heartbeat(sign_path(self.journal))
        return sign.health.standstill if sign else ""

    def event_kinds(self) -> list[str]:
        """Return the kinds of the service's events, oldest first."""
        return [event.kind for event in reversed(self.store.service_events())]

    def jobs(self) -> list[Job]:
        """Return all jobs, as the journal has them."""
        return self.store.jobs()

    def job(self, name: str) -> Job:
        """Return the only job of a set."""
        [job] = [job for job in self.jobs() if job.name == name]
        return job

    def states(self) -> dict[str, State]:
        """Return each job's state by the set's name."""
        return {job.name: job.state for job in self.jobs()}

    def is_in(self, name: str, state: State) -> Callable[[], bool]:
        """Return whether a set's job is in a state, as a question for `until`."""
        return lambda: self.states().get(name) is state

    def actions(self, job: Job) -> list[str]:
        """Return a job's history in single words."""
        return [event.action for event in self.store.events(job.id)]


class Vendor:
    """An emulator, and what its ledger has said since the test began."""

    def __init__(self, emulator: Emulator) -> None:
        """Take over a running one; several tests may share it."""
        self.emulator = emulator
        ledger = emulator.ledger()
        self._charges_before, self._uploads_before = len(ledger["charges"]), _whole(ledger)

    @property
    def charges(self) -> int:
        """How often it charged; never twice for the same, and the key never went astray."""
        ledger = self.emulator.ledger()
        assert ledger["key_leaks"] == []
        new = ledger["charges"][self._charges_before :]
        bought = {(row["model_sha256"], row["image_sha256"], str(sorted(row["options"].items()))) for row in new}
        assert len(bought) == len(new)
        return len(new)

    @property
    def charges_in_all(self) -> int:
        """How often it charged since it runs, for the same or not."""
        return len(self.emulator.ledger()["charges"])

    @property
    def uploads(self) -> int:
        """How many submits came whole; those that were dropped are noticed too late to be counted."""
        return _whole(self.emulator.ledger()) - self._uploads_before


def _whole(ledger: LedgerSnapshot) -> int:
    return ledger["uploads"]["accepted"] + ledger["uploads"]["refused"]


@contextlib.contextmanager
def emulated(*faults: str, **settings: Any) -> Iterator[Vendor]:  # noqa: ANN401 - any setting of the emulator
    """Run an emulator whose tasks are done at once."""
    wanted = replace(EmulatorSettings(preview_pixels=64, api_keys=(KEY,), instant=True), **settings)
    with Emulator(replace(wanted, faults=tuple(parse_fault(fault) for fault in faults))) as emulator:
        yield Vendor(emulator)


@contextlib.contextmanager
def workshop(root: Path, base_url: str, **sections: Mapping[str, Any]) -> Iterator[Workshop]:
    """Give a workshop whose daemon runs; its threads end with it."""
    root.mkdir(exist_ok=True)
    shop = Workshop(root, base_url, sections)
    shop.start()
    try:
        yield shop
    finally:
        shop.crash()


def lockstep(one: Workshop, two: Workshop, ticks: int) -> None:
    """Let both work side by side."""
    for _ in range(ticks):
        for shop in (one, two):
            shop.ticks(1, step_seconds=0.5)
            shop.rest()


@contextlib.contextmanager
def working(
    root: Path, *faults: str, balance: Decimal = Decimal(100), fresh: bool = False, **sections: Mapping[str, Any]
) -> Iterator[tuple[Workshop, Vendor]]:
    """Give a workshop with an emulated vendor, whose account holds so many credits.

    Unless it is `fresh`, its service has seen the balance fall by what a set cost before.
    """
    with emulated(*faults, balance=balance) as vendor, workshop(root, vendor.emulator.base_url, **sections) as shop:
        if not fresh:
            shop.has_seen_the_balance_fall()
        yield shop, vendor
