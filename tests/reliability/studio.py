"""A studio: artists, a service that may be struck down at any moment, a vendor with moods; and what was ever dropped."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ledgers import Told, check_history, check_money, check_outbox, check_status
from turnstile import Turnstile
from workshop import Workshop, seen_now

from rodin_watchd.adapters.journal import insert_command
from rodin_watchd.config import journal_path
from rodin_watchd.core.layout import MARK
from rodin_watchd.core.machine import DAY_SECONDS, RESTING
from rodin_watchd.emulator.ledger import Charge
from rodin_watchd.emulator.server import Emulator, parse_fault
from rodin_watchd.model import Job, State

OURS = ("REPORT.txt", "report.toml", "job.toml")
SECTIONS = {"intake": {"incomplete_seconds": 60, "pair_minutes": 1}}
MOST_ROUNDS = 4000
MOST_DAYS = 60


class Studio:
    """One root folder with its service and its history. Everything happens in the test's thread, step by step."""

    def __init__(self, emulator: Emulator, budget: Mapping[str, object]) -> None:
        """Start the service in a new folder, with a budget as configured."""
        self.root = Path(tempfile.mkdtemp(prefix="rodin-studio-"))
        self.emulator = emulator
        self.emulator.set_faults()
        self._charged_before = len(self._all_charges())
        self.shop = Workshop(self.root, emulator.base_url, {**SECTIONS, **({"budget": budget} if budget else {})})
        self.journal = journal_path(self.shop.config, os.environ)
        self.dropped: Counter[bytes] = Counter()  # by content: how many files of it the artists have not taken away
        self.told = Told({}, ())
        self.runs = False
        self.start()

    # ---- the service ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the service; its steps wait to be let go."""
        daemon = self.shop.start()
        pool = daemon._pool
        pool._threads = self.steps = Turnstile(pool._messages.qsize)  # type: ignore[assignment]  # an Executor as well
        self.runs = True

    def crash(self) -> None:
        """Strike the service down: what waits is never begun, what was done is never heard."""
        self.shop.crash()
        self.runs = False

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass, let the main loop turn once, and let uploads that it allowed to end do so."""
        self.shop.hands.seconds += seconds
        self.shop.daemon.tick()
        self.steps.settle(asking=0)

    def work(self, pick: int) -> None:
        """Carry out one of the steps that wait."""
        if self.steps.waiting:
            self.steps.let_go(pick)

    def work_all(self) -> None:
        """Carry out all steps that wait."""
        while self.steps.waiting:
            self.steps.let_go(0)

    def until_idle(self) -> None:
        """Let it all come to rest; time passes fast while nothing else does."""
        for number in range(MOST_ROUNDS):
            self.tick(1.0 if number < 10 else 20.0 if number < 200 else 900.0)
            if not self.steps.waiting and self.shop.daemon.is_idle():
                break
            self.work_all()
        else:
            raise AssertionError(f"it never comes to rest:\n{self.shop.status()}\n{self.told.jobs}")
        self.tick(2.0)

    def ask(self, verb: str, **arguments: object) -> None:
        """Leave a command, as the command line does; nobody waits for the answer."""
        if self.journal.exists():
            seen = seen_now(self.journal, verb, str(arguments.get("job", "")))
            insert_command(self.journal, verb, {**seen, **arguments}, self.shop.hands.seconds)

    def strike(self, *faults: str) -> None:
        """Put the vendor into a mood."""
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

    def _all_charges(self) -> list[Charge]:
        return self.emulator._shop._ledger.charges  # the ledger as JSON holds all that other studios bought, too

    def check(self) -> None:
        """Check what holds at every moment."""
        before, self.told = self.told, Told.of(self.journal)
        check_history(before, self.told)
        check_money(self.told, self.charges())
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
            self._come_to_an_end()
        finally:
            if self.runs:
                self.crash()
            shutil.rmtree(self.root)

    def _until_all_rest(self) -> None:
        """Let it come to rest; what is over the budget of a day goes on the next day."""
        for _ in range(MOST_DAYS):
            self.ask("approve")
            self.until_idle()
            if {job.state for job in Told.of(self.journal).jobs.values()} <= RESTING:
                return
            self.shop.hands.seconds += DAY_SECONDS

    def _come_to_an_end(self) -> None:
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
            self.ask("resolve", job=job.id, how="give-up")
        self.until_idle()
        self.check()
        assert {job.state for job in self.told.jobs.values()} <= {State.ARCHIVED, State.FAILED}
        assert _files(self.root / ".rodin-watchd" / "work") == []
        for job in self.told.jobs.values():
            assert job.place, f"{job.name} ended nowhere"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (".part", MARK))
