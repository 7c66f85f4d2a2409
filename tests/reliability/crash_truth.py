"""What must be true after a crash, and what must be true once a service without crashes has come to rest.

Each function looks at the folders, the journal and the vendor's ledger from outside and returns what is wrong.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from crash_scene import MARK, DroppedSet, End, Scene, sha256

from rodin_watchd.core.layout import MARK as GROUND_MARK
from rodin_watchd.emulator.ledger import ChargeRow
from rodin_watchd.model import Event, Job, Role, State

RECEIPT_OF = {"outbox": "job.toml", "archive": "job.toml", "failed": "report.toml"}
TEXTS = frozenset({"job.toml", "report.toml", "REPORT.txt"})
PRICE = 0.5


class Kind(StrEnum):
    """How bad it is: the first two break a promise to whoever dropped a set."""

    DUPLICATE = "duplicate"  # paid twice, or delivered twice
    LOST = "lost"  # bytes, a set, or a paid task
    PARTIAL = "partial"  # something visible that is not whole
    WRONG = "wrong"  # receipts, ends or holds that do not fit the facts
    LITTER = "litter"  # something left over for good


@dataclass(frozen=True)
class Violation:
    """Something that must not be."""

    kind: Kind
    text: str


# ---- at any moment --------------------------------------------------------------------------------------------------


def after_kill(scene: Scene) -> list[Violation]:
    """Return what is wrong right after the process was killed, before anybody repairs anything."""
    return [*_unfound(scene, settled=False), *_half_published(scene.root)]


def _unfound(scene: Scene, *, settled: bool) -> Iterator[Violation]:
    """Find bytes that are not in one place; those that n sets share may be in 1 to n, and are in n at rest."""
    copies = _copies(scene.root)
    wanted = Counter(sha256(data) for dropped in scene.sets for data in dropped.files.values())
    for digest, sets in wanted.items():
        places = copies.get(digest, [])
        if not places:
            yield Violation(Kind.LOST, f"the bytes of {_name_of(scene.sets, digest)} are nowhere")
        elif len(places) > sets or (settled and len(places) != sets):
            yield Violation(Kind.WRONG, f"{_name_of(scene.sets, digest)}: {sets} wanted, found {places}")


def _copies(root: Path) -> dict[str, list[str]]:
    folders = [root / "inbox", root / "archive", root / "failed", *(root / ".rodin-watchd" / "work").glob("*/inputs")]
    found: dict[str, list[str]] = {}
    for path in (path for folder in folders for path in _files(folder)):
        if path.name not in TEXTS and not path.name.startswith("."):
            found.setdefault(sha256(path.read_bytes()), []).append(str(path.relative_to(root)))
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def _name_of(sets: Iterable[DroppedSet], digest: str) -> str:
    return next(path for dropped in sets for path, data in dropped.files.items() if sha256(data) == digest)


def _half_published(root: Path) -> Iterator[Violation]:
    """Find what is visible and not whole: all that its receipt lists must be there, and nothing else."""
    for top in RECEIPT_OF:
        for folder in published(root, top):
            if wrong := _not_whole(folder, top):
                yield Violation(Kind.PARTIAL, f"{folder.relative_to(root)}: {wrong}")


def published(root: Path, top: str) -> list[Path]:
    """Return the folders below a top folder that hold files, or nothing at all."""
    inside = [path for path in (root / top).rglob("*") if path.is_dir()] if (root / top).is_dir() else []
    return [path for path in inside if not any(entry.is_dir() for entry in path.iterdir())]


def _not_whole(folder: Path, top: str) -> str:
    try:
        told = receipt(folder, top)
    except (OSError, ValueError) as error:
        return f"its receipt cannot be read: {error}"
    if top == "failed" and not (folder / "REPORT.txt").read_text().strip():
        return "its report is empty"
    listed = told["results"] if top == "outbox" else told["inputs"]
    wanted = {entry["name"]: entry.get("sha256", "") for entry in listed}
    there = {path.name: sha256(path.read_bytes()) for path in _files(folder) if path.name not in TEXTS}
    if wanted.keys() != there.keys():
        return f"its receipt lists {sorted(wanted)}, there is {sorted(there)}"
    undigested = top == "failed"  # a set may be refused before its files are read
    changed = [n for n, digest in wanted.items() if there[n] != digest and not (undigested and not digest)]
    return f"not what its receipt says: {changed}" if changed else ""


def receipt(folder: Path, top: str) -> dict[str, Any]:
    """Return what the receipt in a published folder says."""
    return tomllib.loads((folder / RECEIPT_OF[top]).read_text())


def _told_job(folder: Path) -> str:
    """Return whose result an entry of the outbox is, "" where that cannot be read."""
    try:
        return str(receipt(folder, "outbox")["job"]["id"])
    except (OSError, ValueError):
        return ""


def in_doubt(scene: Scene) -> set[str]:
    """Return the jobs of which the journal, as it lies there, says `submitting` without an answer."""
    return {job.id for job, _ in scene.history().values() if job.state is State.SUBMITTING and job.answer is None}


# ---- at rest --------------------------------------------------------------------------------------------------------


def at_rest(scene: Scene, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Return what is wrong when a run without a crash has ended; `charges` are the vendor's for this scene."""
    history = scene.history()
    jobs = [job for job, _ in history.values()]
    found = [*_unfound(scene, settled=True), *_half_published(scene.root), *_left_over(scene.root, jobs)]
    for dropped in scene.sets:
        found += _wrong_set(scene.root, dropped, _jobs_of(dropped, jobs), charges)
    found += _untold(scene, jobs)
    known = {dropped.bought for dropped in scene.sets}
    strange = [c for c in charges if (c["model_sha256"], c["image_sha256"]) not in known]
    return [*found, *(Violation(Kind.WRONG, f"charged for what nobody dropped: {c}") for c in strange)]


def _untold(scene: Scene, jobs: Iterable[Job]) -> Iterator[Violation]:
    """Find results that the plugin has not marked or was not told of, or was told of as of two events."""
    if scene.told is None:
        return
    told = [line.split() for line in scene.told.read_text().splitlines()] if scene.told.exists() else []
    for job in (job for job in jobs if job.state is State.ARCHIVED):
        if not (scene.root / job.place / MARK).is_file():
            yield Violation(Kind.WRONG, f"{job.name} was delivered without the plugin's work")
        events = {event for told_of, event in told if told_of == job.id}
        if len(events) != 1:
            yield Violation(Kind.WRONG, f"the plugin was told of {job.name} by {len(events)} events")


def _jobs_of(dropped: DroppedSet, jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if _dropped_model(job) == f"inbox/{dropped.model}"]


def _dropped_model(job: Job) -> str:
    model = job.file(Role.MODEL)
    return model.source if model else ""


def _wrong_set(root: Path, dropped: DroppedSet, jobs: list[Job], charges: Sequence[ChargeRow]) -> Iterator[Violation]:
    tasks = [c["task_uuid"] for c in charges if (c["model_sha256"], c["image_sha256"]) == dropped.bought]
    if len(tasks) > 1:
        yield Violation(Kind.DUPLICATE, f"{dropped.name} was charged {len(tasks)} times")
    if len(jobs) != 1:
        kind = Kind.DUPLICATE if jobs else Kind.LOST
        yield Violation(kind, f"{dropped.name} became {len(jobs)} jobs: {[str(job.state) for job in jobs]}")
        return
    yield from _wrong_end(root, dropped, jobs[0], tasks)


def _wrong_end(root: Path, dropped: DroppedSet, job: Job, tasks: list[str]) -> Iterator[Violation]:
    told = f"{dropped.name} (job {job.id}, {job.state})"
    outbox = [folder for folder in published(root, "outbox") if _told_job(folder) == job.id]
    if len(outbox) != (job.state is State.ARCHIVED):
        kind = Kind.DUPLICATE if len(outbox) > 1 else Kind.WRONG
        yield Violation(kind, f"{told} has {len(outbox)} entries in the outbox")
    if job.state is State.HELD:
        if dropped.end is End.REFUSED:
            yield Violation(Kind.WRONG, f"{told} was to be refused, not to be bought")
        return
    state, bought = {
        End.DELIVERED: (State.ARCHIVED, 1),
        End.REFUSED: (State.FAILED, 0),
        End.FAILS: (State.FAILED, 1),
    }[dropped.end]
    if job.state is not state:
        yield Violation(Kind.WRONG, f"{told} was to be {state}: {job.problem}")
    elif len(tasks) < bought:
        yield Violation(Kind.WRONG, f"{told} was never charged")
    else:
        yield from _wrong_receipt(root, job, tasks)


def _wrong_receipt(root: Path, job: Job, tasks: list[str]) -> Iterator[Violation]:
    """Compare with the ledger: the receipt, or the report, names the task that the vendor charged, and its price."""
    folder = root / job.place
    told = receipt(folder, folder.relative_to(root).parts[0])
    named = [told["task"]["uuid"]] if "task" in told else []
    if named != tasks:
        yield Violation(Kind.LOST if tasks and not named else Kind.WRONG, f"{job.name}: charged {tasks}, told {named}")
    if told["job"]["credits"] != PRICE * len(tasks) or job.charges != len(tasks):
        yield Violation(Kind.WRONG, f"{job.name}: told {told['job']['credits']} credits for {len(tasks)} tasks")


def _left_over(root: Path, jobs: Iterable[Job]) -> Iterator[Violation]:
    """Find what stayed in the inbox, or in the work folder without being held."""
    held = {job.id for job in jobs if job.state is State.HELD}
    work = root / ".rodin-watchd" / "work"
    left = [path for path in work.iterdir() if path.name not in (*held, GROUND_MARK)]
    left += (path for path in (root / "inbox").rglob("*") if path.name != GROUND_MARK)
    left += root.rglob(".*.part")
    yield from (Violation(Kind.LITTER, str(path.relative_to(root))) for path in left)


# ---- what is held ---------------------------------------------------------------------------------------------------


def wrongly_held(scene: Scene, doubtful: Collection[str]) -> list[Violation]:
    """Return the jobs that are held though their history does not say why, and those in doubt that are not held.

    `doubtful` are those that `in_doubt` named after the crashes.
    """
    history = scene.history()
    held = {job.id: events for job, events in history.values() if job.state is State.HELD}
    loose = [history[i][0] for i in set(doubtful) - held.keys()]
    return [
        *(Violation(Kind.WRONG, f"{history[i][0].name} is held for no reason") for i in held if not why_held(held[i])),
        *(Violation(Kind.WRONG, f"{job.name} was in doubt, but is {job.state}") for job in loose),
    ]


def needlessly_held(scene: Scene, doubtful: Collection[str]) -> list[Violation]:
    """Return the jobs that are held though no crash fell between their last bytes and their answer: the vendor is sane."""
    held = [job for job, _ in scene.history().values() if job.state is State.HELD and job.id not in doubtful]
    return [Violation(Kind.WRONG, f"{job.name} is held without need") for job in held]


def why_held(events: Sequence[Event]) -> str:
    """Return by a job's history why it is held; "" if its history does not justify that.

    Right is only: the last bytes were allowed to go, and then came no answer, or one that proves nothing.
    """
    [number] = [number for number, event in enumerate(events) if event.state is State.HELD][-1:] or [0]
    before = events[number - 1] if number else None
    if before is None or before.state is not State.SUBMITTING:
        return ""
    return f"answered {before.message}" if before.action == "answered" else "no answer in the journal"
