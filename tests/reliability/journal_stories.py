"""Stories of the journal: deleted, swapped, emptied, locked, cut, copied with its root, inside the steps and around kills."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from crash_scene import Scene, base_name_set, failing_set, folder_set
from crash_start import Crash
from crash_truth import MARK_OF_ROOT, Violation, after_kill, bought_twice, conserved
from stories import SEED, Attack, Attempt, Bench, Story, conserves, holds, scattered

from rodin_watchd.emulator.ledger import ChargeRow

LOCKED_SECONDS = 2.0
PARTS = ("", "-wal", "-shm", "-journal")


@contextmanager
def three(folder: Path, base_url: str) -> Iterator[Scene]:
    """Give a scene with a set by base name, a folder, and a set whose task fails at the vendor."""
    scene = Scene(folder / "root", base_url)
    scene.drop([base_name_set(SEED), folder_set(SEED + 1), failing_set(SEED + 2)])
    yield scene


def _parts(journal: Path) -> list[Path]:
    return [path for part in PARTS if (path := Path(f"{journal}{part}")).exists()]


def put(scene: Scene, kept: Path) -> None:
    """Put journal files that were kept in the place of those that are there."""
    for path in _parts(scene.journal):
        path.unlink()
    for path in kept.iterdir():
        shutil.copy2(path, scene.journal.with_name(path.name))


def keep(scene: Scene, kept: Path) -> None:
    """Copy the journal's files, as an administrator does who knows nothing of logs: the file and what lies beside it."""
    kept.mkdir()
    for path in _parts(scene.journal):
        shutil.copy2(path, kept / path.name)


def _kept(attempt: Attempt) -> Path:
    return attempt.scene.root.parent / "kept"


# ---- what is done ---------------------------------------------------------------------------------------------------


def delete(scene: Scene) -> None:
    """Remove the journal, and what lies beside it."""
    for path in _parts(scene.journal):
        path.unlink()


def delete_log(scene: Scene) -> None:
    """Remove the write-ahead log alone."""
    Path(f"{scene.journal}-wal").unlink(missing_ok=True)


def empty(scene: Scene) -> None:
    """Put an empty file in the journal's place."""
    if scene.journal.exists():
        delete(scene)
        scene.journal.write_bytes(b"")


Deed = Callable[[Scene], None]


def _each(attack: Callable[..., object]) -> Callable[[Bench, random.Random], Iterator[Attack]]:
    """Give a plan that makes an attack at each effect."""

    def plan(bench: Bench, chance: random.Random) -> Iterator[Attack]:
        for at in scattered(bench.effects(three), chance):
            yield partial(attack, at)

    return plan


def _while_it_runs(deed: Deed) -> Callable[[Bench, random.Random], Iterator[Attack]]:
    def attack(at: int, attempt: Attempt) -> None:
        def act() -> bool:
            if not _is_closed(attempt.scene):
                deed(attempt.scene)
            return True

        attempt.run(Crash(at, act=act))

    return _each(attack)


def _is_closed(scene: Scene) -> bool:
    """Tell whether the service has closed its journal: what is done to it from then on is done while no service runs."""
    return not Path(f"{scene.journal}-wal").exists() and bool(scene.history())


def _while_it_stands(deed: Deed) -> Callable[[Bench, random.Random], Iterator[Attack]]:
    """Give a plan that does something after a kill; when the service then refuses to start, what was there is put back."""

    def attack(at: int, attempt: Attempt) -> None:
        attempt.run(Crash(at))
        keep(attempt.scene, _kept(attempt))
        deed(attempt.scene)
        attempt.run()
        if not attempt.scene.history():
            put(attempt.scene, _kept(attempt))

    return _each(attack)


def _log_lost(at: int, attempt: Attempt) -> None:
    """Remove the write-ahead log after a kill."""
    attempt.run(Crash(at))
    delete_log(attempt.scene)
    attempt.forget()


def _older_copy(bench: Bench, chance: random.Random) -> Iterator[Attack]:
    """Take a copy at one effect, kill the daemon at a later one, and put the copy in the journal's place."""
    total = bench.effects(three)
    for at in scattered(total, chance):
        yield partial(_put_older, at, chance.randint(0, total), running=False)


def _older_copy_while_it_runs(bench: Bench, chance: random.Random) -> Iterator[Attack]:
    """Take a copy before the start, and put it in the journal's place under the running daemon."""
    for at in scattered(bench.effects(three), chance):
        yield partial(_put_older, at, 0, running=True)


def _put_older(at: int, later: int, attempt: Attempt, *, running: bool) -> None:
    def copies() -> bool:
        keep(attempt.scene, _kept(attempt))
        return False

    def swaps() -> bool:
        if not _is_closed(attempt.scene):
            put(attempt.scene, _kept(attempt))
        return True

    attempt.run(Crash(at, act=copies))
    if not _kept(attempt).exists():
        return
    if running:
        attempt.run(Crash(at, act=swaps))
    else:
        attempt.run(Crash(later))
        put(attempt.scene, _kept(attempt))
        attempt.forget()


def _locked(at: int, attempt: Attempt) -> None:
    def locks() -> bool:
        if not attempt.scene.journal.exists():
            return True
        other = sqlite3.connect(attempt.scene.journal, isolation_level=None, check_same_thread=False)
        try:
            other.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:  # the daemon stands in a transaction of its own
            other.close()
            return True
        releases.append(threading.Timer(LOCKED_SECONDS, other.close))
        releases[-1].start()
        return True

    releases: list[threading.Timer] = []
    attempt.run(Crash(at, act=locks))
    for release in releases:
        release.join()


def _copied_root(at: int, attempt: Attempt) -> None:
    """Copy the whole root with `cp -a` inside a step, and run the copy while the first service stands there."""

    def copies() -> bool:
        root = attempt.scene.root
        if not (root / MARK_OF_ROOT).exists():  # a copy of what no service knows yet is a root of its own
            return True
        place = root.parent / "copy" / "root"
        place.parent.mkdir()
        copying = ["cp", "-a", str(root), str(place)]
        subprocess.run(copying, check=False, capture_output=True)  # fails for what other threads move away meanwhile
        copy = Scene(place, attempt.bench.vendor.base_url)
        attempt.scene.others.append(copy)
        attempt.run(scene=copy, start=attempt.bench.second)
        return at % 2 == 0

    attempt.run(Crash(at, act=copies))


# ---- judges ---------------------------------------------------------------------------------------------------------


def nothing_twice(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """No content was charged twice, and no byte is gone: more cannot be asked of a service whose history somebody took away."""
    return [*bought_twice(charges), *after_kill(attempt.scene)]


def one_pays(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Of a root and its copy one pays for each content; what the copy did is no matter of the first one, which ends as ever."""
    first, copies = attempt.scene, attempt.scene.others
    of_copies = {job.task.uuid for copy in copies for job, _ in copy.history().values() if job.task}
    known = {job.task.uuid for job, _ in first.history().values() if job.task}
    mine = [charge for charge in charges if charge["task_uuid"] in known or charge["task_uuid"] not in of_copies]
    return list(dict.fromkeys([*bought_twice(charges), *conserved([first], mine), *holds(attempt)]))


_STANDS, _RUNS = "after a kill", "while it runs"
JOURNAL_STORIES = (
    Story(f"journal deleted {_STANDS}", _while_it_stands(delete), three),
    Story(f"journal deleted {_RUNS}", _while_it_runs(delete), three, conserves),
    Story(f"journal emptied {_STANDS}", _while_it_stands(empty), three),
    Story(f"journal emptied {_RUNS}", _while_it_runs(empty), three, conserves),
    Story(f"older journal put back {_STANDS}", _older_copy, three, nothing_twice),
    Story(f"older journal put back {_RUNS}", _older_copy_while_it_runs, three, conserves),
    Story(f"journal's log deleted {_STANDS}", _each(_log_lost), three, nothing_twice),
    Story(f"journal's log deleted {_RUNS}", _while_it_runs(delete_log), three, conserves),
    Story("journal locked by another program", _each(_locked), three),
    Story("root copied, both started", _each(_copied_root), three, one_pays),
)
