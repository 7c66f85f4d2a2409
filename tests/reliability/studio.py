"""A studio: artists, a service that may be struck down at any moment, a vendor with moods; and what was ever dropped."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import requests
from click.testing import CliRunner
from ledgers import (
    Asked,
    Leaves,
    Told,
    check_budget,
    check_history,
    check_leaves,
    check_money,
    check_outbox,
    check_status,
)
from turnstile import Turnstile
from workshop import KEY, Workshop

from rodin_watchd.adapters.systemd import Manager, Pulse
from rodin_watchd.cli import commands as act
from rodin_watchd.cli.main import cli
from rodin_watchd.config import Config
from rodin_watchd.core.layout import MARK, SUBMITS_NOTE
from rodin_watchd.core.machine import RESTING
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.ledger import Charge
from rodin_watchd.emulator.server import Emulator
from rodin_watchd.model import Job, State
from rodin_watchd.service import pool
from rodin_watchd.service.reload import Serving, serving
from rodin_watchd.settings import journal_path

OURS = ("REPORT.txt", "report.toml", "job.toml")
SECTIONS = {"intake": {"incomplete_seconds": 60, "pair_minutes": 1}}
MOST_ROUNDS = 4000
MOST_DAYS = 60
LATEST_SECONDS = 3600.0  # no charge comes later
CAPS = ("per_day_credits", "per_folder_credits")
Sections = Mapping[str, Mapping[str, Any]]


class VendorClock:
    """The vendor's clock, which runs as fast as the studios' own: a late charge is late for them."""

    def __init__(self) -> None:
        """Start somewhere."""
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


class _Shop(Workshop):
    """A workshop whose service reads its configuration anew as the real one does: before the tick after it was asked."""

    def begin(self) -> None:
        """Start the service, with executors whose steps wait to be let go in the place of its threads."""
        self._service = ExitStack()
        self.turnstiles: list[Turnstile] = []
        self._service.enter_context(mock.patch.object(pool, "ThreadPoolExecutor", self._turnstile))
        clock = self.hands.clock()
        pulse = Pulse(Manager(), clock.monotonic)
        self.service: Serving = self._service.enter_context(serving(self.config, KEY, pulse, clock))
        self.daemon = self.service.daemon

    def _turnstile(self, _workers: int, **_names: str) -> Turnstile:
        self.turnstiles.append(Turnstile(lambda: len(self.daemon.parts.pool.messages)))
        return self.turnstiles[-1]

    def end(self) -> None:
        """Strike the service down: nothing more is committed, and what the workers do is never heard."""
        self._service.close()

    def do_reload(self, config: Config) -> bool:
        """Do the next part of a reload, if one was asked for, as `Serving.run` does between two ticks; tell whether it took effect."""
        if not self.service.reloads:
            return False
        before = self.daemon
        self.service.turn(lambda: (config, KEY), lambda _config: None)
        self.daemon = self.service.daemon
        return self.daemon is not before


class Studio:
    """One root folder with its service and its history. Everything happens in the test's thread, step by step."""

    def __init__(self, emulator: Emulator, budget: Mapping[str, object], clock: VendorClock) -> None:
        """Start the service in a new folder, with a budget as configured; `clock` is the vendor's."""
        self.root = Path(tempfile.mkdtemp(prefix="rodin-studio-"))
        self.emulator = emulator
        self.clock = clock
        self.emulator.set_faults()
        self._charged_before = len(self._all_charges())
        self.sections: Sections = {**SECTIONS, **({"budget": budget} if budget else {})}
        self.shop = _Shop(self.root, emulator.base_url, self.sections)
        self.caps: dict[str, object] = {
            name: budget.get(name) for name in CAPS if name in budget
        }  # the largest that were ever in force
        self.journal = journal_path(self.shop.config, os.environ)
        self.dropped: Counter[bytes] = Counter()  # by content: how many files of it the artists have not taken away
        self.synced: dict[str, bytes] = {}  # what a sync program thinks should be in the inbox
        self.leaves = Leaves()
        self.refusing = False  # whether the vendor ever charged and refused
        self.late = False  # whether it ever charged after its answer
        self.told = Told({}, ())
        self.runs = False
        self.start()

    # ---- the service ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the service; its steps wait to be let go."""
        self.shop.begin()
        self.runs = True

    @property
    def turnstiles(self) -> list[Turnstile]:
        """Where steps wait to be let go: those of the daemon of now, and of the ones before it."""
        return self.shop.turnstiles

    def crash(self) -> None:
        """Strike the service down: what waits is never begun, what was done is never heard."""
        for turnstile in self.turnstiles:
            turnstile.drop()
        self.shop.end()
        for turnstile in self.turnstiles:
            turnstile.shutdown(wait=True)
        self.runs = False

    def reload(self, sections: Sections) -> None:
        """Write another configuration and ask the service to read it, as SIGHUP does; it happens with the next ticks."""
        merged = {**SECTIONS, **{name: {**self.sections.get(name, {}), **keys} for name, keys in sections.items()}}
        self.sections = {**self.sections, **merged}
        self.shop.config = Workshop(self.root, self.emulator.base_url, self.sections).config
        if self.runs:
            self.shop.service.ask_reload()
        else:
            self._note_caps()

    def _note_caps(self) -> None:
        """Remember the largest budget that was ever in force; what was allowed once stays spent."""
        budget = self.sections.get("budget", {})
        largest: dict[str, object] = {
            name: max(float(str(self.caps[name])), float(budget[name])) for name in self.caps.keys() & budget.keys()
        }
        self.caps = largest  # without a cap for a while there is none to be judged by

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass, let the main loop turn once, and let uploads that it allowed to end do so."""
        self.shop.hands.seconds += seconds
        self.clock.seconds += seconds
        if self.shop.do_reload(self.shop.config):
            self._note_caps()
        self.shop.daemon.tick()
        for turnstile in self.turnstiles:
            turnstile.settle(asking=0)

    @property
    def waiting(self) -> int:
        """How many steps have not begun."""
        return sum(turnstile.waiting for turnstile in self.turnstiles)

    def work(self, pick: int) -> None:
        """Carry out one of the steps that wait."""
        busy = [turnstile for turnstile in self.turnstiles if turnstile.waiting]
        if busy:
            busy[pick % len(busy)].let_go(pick)

    def work_all(self) -> None:
        """Carry out all steps that wait."""
        while self.waiting:
            self.work(0)

    def until_idle(self) -> None:
        """Let it all come to rest; time passes fast while nothing else does."""
        for number in range(MOST_ROUNDS):
            self.tick(1.0 if number < 10 else 20.0 if number < 200 else 900.0)
            if not self.waiting and not self.shop.service.is_called() and self.shop.daemon.is_idle():
                break
            self.work_all()
        else:
            raise AssertionError(f"it never comes to rest:\n{self.shop.status()}\n{self.told.jobs}")
        self.tick(2.0)

    def ask(self, verb: str, *words: str, job: str = "") -> None:
        """Give a command by the command line, which sees the journal as it is now; nobody waits for the answer.

        What the person could see, and so agreed to, is noted.
        """
        if not self.journal.exists():
            return
        if job:
            ask = Asked(verb, job, Told.of(self.journal).period(job)[1])
            self.leaves.asked.add(ask)
            self.leaves.pay_again |= {ask} if "--pay-again" in words else set()
            self.leaves.not_charged |= {ask} if "--not-charged" in words else set()
        arguments = [verb, "--config", str(self.root / "config.toml"), *words, *([job] if job else [])]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(act, "ANSWER_SECONDS", 0.0)  # the daemon answers when the story lets it
            result = CliRunner().invoke(cli, arguments)
        assert result.exit_code in (0, 1), (arguments, result.output)

    def strike(self, *faults: str) -> None:
        """Put the vendor into a mood."""
        self.refusing |= any(fault.startswith(("charged-", "late-charge")) for fault in faults)
        self.late |= any(fault.startswith("late-charge") for fault in faults)
        self.emulator.set_faults(*map(parse_fault, faults))

    # ---- the artists ------------------------------------------------------------------------------------------------

    def put(self, name: str, data: bytes) -> None:
        """Drop a file, in place of what may lie there."""
        path = self.root / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            self.dropped[path.read_bytes()] -= 1
        path.with_name(".part").write_bytes(data)
        path.with_name(".part").replace(path)
        self.dropped[data] += 1
        self.synced[name] = data
        self._note_leave(path, data)

    def _note_leave(self, path: Path, data: bytes) -> None:
        if path.suffix == ".toml":
            self.leaves.note_sidecar(data)

    def sync(self, pick: int) -> None:
        """Copy in again all files of one set that are gone from the inbox, as a program does that knows only its source."""
        stems = sorted({name.rpartition(".")[0] for name in self.synced})
        stem = stems[pick % len(stems)] if stems else ""
        for name, data in list(self.synced.items()):
            if name.rpartition(".")[0] == stem and not (self.root / "inbox" / name).exists():
                self.put(name, data)

    def rewrite(self, path: Path) -> None:
        """Put the same bytes in place of a file: another inode, other times."""
        self.put(str(path.relative_to(self.root / "inbox")), path.read_bytes())

    def delete(self, path: Path) -> None:
        """Take a file away."""
        self.dropped[path.read_bytes()] -= 1
        path.unlink()

    def grow(self, path: Path, more: bytes) -> None:
        """Write on at the end of a file."""
        data = path.read_bytes()
        with path.open("ab") as file:
            file.write(more)
        self.dropped[data] -= 1
        self.dropped[data + more] += 1
        self._note_leave(path, data + more)

    def write_over(self, path: Path, data: bytes) -> None:
        """Write another content into a file, in place."""
        self.dropped[path.read_bytes()] -= 1
        path.write_bytes(data)
        self.dropped[data] += 1
        self._note_leave(path, data)

    def inbox(self) -> list[Path]:
        """Return the files in the inbox."""
        return _files(self.root / "inbox")

    def put_away(self) -> list[Path]:
        """Return the files of sets that failed or were archived."""
        return [path for top in ("failed", "archive") for path in _files(self.root / top) if path.name not in OURS]

    def jobs(self, *states: State) -> list[Job]:
        """Return the jobs in these states, in a fixed order."""
        found = (job for job in self.told.jobs.values() if job.state in states)
        return sorted(found, key=lambda job: (job.folder, job.name, job.created_at))

    # ---- what must hold ---------------------------------------------------------------------------------------------

    def charges(self) -> list[Charge]:
        """Return what the vendor has charged since the beginning."""
        return self._all_charges()[self._charged_before :]

    def settle(self) -> None:
        """Let all late charges come."""
        self.clock.seconds += LATEST_SECONDS
        requests.get(f"{self.emulator.base_url}/emulator/ledger", timeout=30)

    def _all_charges(self) -> list[Charge]:
        return self.emulator.charges  # the ledger as JSON holds all that other studios bought, too

    def check(self) -> None:
        """Check what holds at every moment."""
        before, self.told = self.told, Told.of(self.journal)
        check_history(before, self.told)
        check_leaves(self.told, self.leaves)
        check_money(self.told, self.charges(), self.leaves, refusing=self.refusing, late=self.late)
        check_budget(self.told, self.caps)
        check_outbox(self.root, self.told, self.charges())
        self._check_nothing_lost()

    def _check_nothing_lost(self) -> None:
        """Each file that was dropped is in one place; one that sets share is also where it was copied to."""
        work = [path for path in _files(self.root / ".rodin-watchd" / "work") if path.parent.name == "inputs"]
        kept = [*self.inbox(), *self.put_away(), *(path for path in work if path.name not in OURS)]
        there = Counter(path.read_bytes() for path in kept)
        copies = sum(file.shared for job in self.told.jobs.values() for file in job.files)
        for data, count in self.dropped.items():
            assert count <= there[data] <= count + copies, f"{count} dropped, {there[data]} kept: {data[:60]!r}"
        assert not there.keys() - self.dropped.keys(), "a file that nobody dropped"

    def check_status(self) -> None:
        """Check that STATUS.txt speaks of every set."""
        self.tick(2.0)
        self.told = Told.of(self.journal)
        taken = {file.source for job in self.jobs(State.CLAIMED, State.FAILING) for file in job.files}
        waiting = [path for path in self.inbox() if path.suffix in (".obj", ".glb")]
        names = [
            frozenset((path.stem, path.parent.name))
            for path in waiting
            if f"{path.relative_to(self.root)}" not in taken
        ]
        text = self.shop.status()
        shown = [frozenset((*both, *self._sidecars_that_name(both))) for both in names]
        check_status(text, self.told, shown)

    def _sidecars_that_name(self, names: frozenset[str]) -> list[str]:
        return [p.stem for p in self.inbox() if p.suffix == ".toml" and any(n in p.read_text() for n in names)]

    def end(self) -> None:
        """Let everything come to its end, with a vendor in a good mood and a person who decides, and check that it is one."""
        try:
            self.come_to_an_end()
        finally:
            self.close()

    def close(self) -> None:
        """Strike the service down and remove its folder."""
        if self.runs:
            self.crash()
        self.settle()  # into this one's time
        shutil.rmtree(self.root)

    def _until_all_rest(self) -> None:
        """Let it come to rest; what is over the budget of a day goes on the next day."""
        for _ in range(MOST_DAYS):
            self.ask("approve", "--all")
            self.until_idle()
            if {job.state for job in Told.of(self.journal).jobs.values()} <= RESTING:
                return
            self.shop.hands.seconds += DAY_SECONDS
            self.clock.seconds += DAY_SECONDS

    def come_to_an_end(self) -> None:
        """Let everything come to its end, and check that it is one."""
        self.strike()
        self.shop.hands.jump_seconds = 0.0
        if not self.runs:
            self.start()
        self.ask("resume")
        self._until_all_rest()
        self.check()
        self.check_status()
        assert {job.state for job in self.told.jobs.values()} <= RESTING
        for job in self.jobs(State.HELD):
            self.ask("resolve", "--give-up", job=job.id)
        self.until_idle()
        self.settle()
        self.check()
        assert {job.state for job in self.told.jobs.values()} <= {State.ARCHIVED, State.FAILED}
        assert _files(self.root / ".rodin-watchd" / "work") == []
        for job in self.told.jobs.values():
            assert job.place, f"{job.name} ended nowhere"


def _files(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name not in (".part", MARK, SUBMITS_NOTE)
    )
