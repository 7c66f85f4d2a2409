"""What must be true after a crash, and what must be true once a service without crashes has come to rest.

Each function looks at the folders, the journal and the vendor's ledger from outside and returns what is wrong.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from crash_scene import MARK, DroppedSet, End, Scene, sha256

from rodin_watchd.core.machine import RESTING
from rodin_watchd.emulator.ledger import ChargeRow
from rodin_watchd.errors import ChargedTaskLostError
from rodin_watchd.model import Event, Job, State

RECEIPT_OF = {"outbox": "job.toml", "archive": "job.toml", "failed": "report.toml"}
MARK_OF_ROOT = ".rodin-watchd-root"
OF_THE_ROOT = frozenset({MARK_OF_ROOT, ".rodin-watchd-submits"})
TEXTS = frozenset({"job.toml", "report.toml", "REPORT.txt"})


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


def after_kill(scene: Scene, *, copies: bool = False) -> list[Violation]:
    """Return what is wrong right after the process was killed, before anybody repairs anything.

    `copies`: the folders are on several filesystems, so that a file may be in two places while it is moved.
    """
    return [*_unfound(scene, places=2 if copies else 1), *_half_published(scene.root, settled=False)]


def _unfound(scene: Scene, *, places: int = 1, settled: bool = False) -> Iterator[Violation]:
    """Find bytes that are not where they must be: each dropped file in one place, one that n sets share in 1 to n.

    At rest a file that n sets share is in n places; but artists who changed what lay there may have kept it from some.
    """
    inventory, copies = scene.inventory, _copies(scene.root)
    for digest, name in inventory.names.items():
        found, least, most = copies.get(digest, []), inventory.least(digest), inventory.most(digest) * places
        if settled and not inventory.meddled:
            least = most
        if len(found) < least and not found:
            yield Violation(Kind.LOST, f"the bytes of {name} are nowhere")
        elif len(found) < least:
            kind = Kind.WRONG if settled and inventory.least(digest) <= len(found) else Kind.LOST
            yield Violation(kind, f"{name}: wanted {least} times, found {found}")
        elif len(found) > most:
            yield Violation(Kind.WRONG, f"{name}: wanted {most} times at most, found {found}")


def _copies(root: Path) -> dict[str, list[str]]:
    """Return where each content is; a hidden name (a claim, a copy that is being made) counts only where it is not seen."""
    folders = [root / "inbox", root / "archive", root / "failed", *(root / ".rodin-watchd" / "work").glob("*/inputs")]
    seen: dict[str, list[str]] = {}
    hidden: dict[str, list[str]] = {}
    for top, path in ((folder, path) for folder in folders for path in _files(folder)):
        inside = path.relative_to(top).parts
        if path.name in TEXTS or path.name.endswith(".part") or path.name in OF_THE_ROOT:
            continue
        into = hidden if any(part.startswith(".") for part in inside) else seen
        into.setdefault(sha256(path.read_bytes()), []).append(str(path.relative_to(root)))
    return {**hidden, **seen}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def _half_published(root: Path, *, settled: bool) -> Iterator[Violation]:
    """Find what is visible and not whole: all that its receipt lists must be there, and nothing else.

    Not `settled`, it was killed in any moment: a folder of folders is made before the first of them comes into it.
    """
    for top in RECEIPT_OF:
        for folder in published(root, top):
            if (settled or any(folder.iterdir())) and (wrong := _not_whole(folder, _end_of(folder, top))):
                yield Violation(Kind.PARTIAL, f"{folder.relative_to(root)}: {wrong}")


def published(root: Path, top: str) -> list[Path]:
    """Return the visible folders below a top folder that hold files, or nothing at all; not what was set aside, which is no set."""
    inside = [path for path in (root / top).rglob("*") if path.is_dir()] if (root / top).is_dir() else []
    seen = [path for path in inside if not any(p.startswith((".", "set-aside-")) for p in path.relative_to(root).parts)]
    return [
        path for path in seen if not _is_inner(path, top) and all(_is_inner(below, top) for below in _folders(path))
    ]


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir()]


def _is_inner(folder: Path, top: str) -> bool:
    """Tell whether a folder is a part of a published one: of a result, or what came of a failed job, beside its report."""
    return any((above / RECEIPT_OF[_end_of(above, top)]).is_file() for above in folder.parents)


def _end_of(folder: Path, top: str) -> str:
    """Return what a folder is published as: one in the archive may be that of a failed set, which was cleared."""
    return "failed" if top == "archive" and (folder / RECEIPT_OF["failed"]).is_file() else top


def _not_whole(folder: Path, top: str) -> str:
    try:
        told = receipt(folder, top)
    except (OSError, ValueError) as error:
        return f"its receipt cannot be read: {error}"
    if top == "failed" and not (folder / "REPORT.txt").read_text().strip():
        return "its report is empty"
    listed = told["results"] if top == "outbox" else told["inputs"]
    wanted = {entry["name"]: entry.get("sha256", "") for entry in listed}
    files = folder.rglob("*") if top == "outbox" else folder.iterdir()
    names = {path.relative_to(folder).as_posix() for path in files if path.is_file()} - {*TEXTS}
    there = {name: sha256((folder / name).read_bytes()) for name in names}
    if top == "failed":
        wanted = {name: digest for name, digest in wanted.items() if name in there or not _left_behind(told, name)}
    if wanted.keys() != there.keys():
        return f"its receipt lists {sorted(wanted)}, there is {sorted(there)}"
    undigested = top == "failed"  # a set may be refused before its files are read
    changed = [n for n, digest in wanted.items() if there[n] != digest and not (undigested and not digest)]
    return f"not what its receipt says: {changed}" if changed else ""


def _left_behind(told: Mapping[str, Any], name: str) -> bool:
    """Tell whether a report says of a file that it could not be taken with the others."""
    return any(name in words for words in (told["problem"]["message"], *told["problem"]["notes"]))


def receipt(folder: Path, top: str) -> dict[str, Any]:
    """Return what the receipt in a published folder says."""
    return tomllib.loads((folder / RECEIPT_OF[top]).read_text())


def told_job(folder: Path) -> str:
    """Return whose result an entry of the outbox is, "" where that cannot be read."""
    try:
        return str(receipt(folder, "outbox")["job"]["id"])
    except (OSError, ValueError):
        return ""


class Placed:
    """The published folders of a root as they are now, by the jobs that their receipts name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.outbox = self._by_job("outbox")
        self.archive = self._by_job("archive")

    def _by_job(self, top: str) -> Mapping[str, Sequence[Path]]:
        found: dict[str, list[Path]] = {}
        for folder in published(self.root, top):
            found.setdefault(told_job(folder), []).append(folder)
        return found


def in_doubt(scene: Scene) -> set[str]:
    """Return the jobs of which the journal, as it lies there, says `submitting` without an answer."""
    return {job.id for job, _ in scene.history().values() if job.state is State.SUBMITTING and job.answer is None}


# ---- at rest --------------------------------------------------------------------------------------------------------


def at_rest(scene: Scene, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Return what is wrong when a run without a crash has ended; `charges` are the vendor's for this scene."""
    history = scene.history()
    jobs = [job for job, _ in history.values()]
    disputed, placed = disputed_in(scene.sets, jobs, charges), Placed(scene.root)
    found = [*_unfound(scene, settled=True), *_half_published(scene.root, settled=True), *_left_over(scene.root, jobs)]
    found += _inbox_left(scene.root)
    for dropped in scene.sets:
        found += wrong_set(placed, dropped, jobs_of(dropped, jobs), charges, disputed)
    found += unwritten(scene, jobs)
    known = {dropped.bought for dropped in scene.sets}
    strange = [c for c in charges if (c["model_sha256"], c["image_sha256"]) not in known]
    return [*found, *(Violation(Kind.WRONG, f"charged for what nobody dropped: {c}") for c in strange)]


def unwritten(scene: Scene, jobs: Iterable[Job]) -> Iterator[Violation]:
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


def jobs_of(dropped: DroppedSet, jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs that a set became."""
    return [job for job in jobs if any(file.source == f"inbox/{dropped.model}" for file in job.files)]


def disputed_in(sets: Iterable[DroppedSet], jobs: Sequence[Job], charges: Iterable[ChargeRow]) -> set[str]:
    """Return the jobs that have the task of another set, which is held for that."""
    held = {d.bought for d in sets if any(job.state is State.HELD for job in jobs_of(d, jobs))}
    theirs = {row["task_uuid"] for row in charges if (row["model_sha256"], row["image_sha256"]) in held}
    return {job.id for job in jobs if job.state is not State.HELD and job.task and job.task.uuid in theirs}


def wrong_set(
    placed: Placed, dropped: DroppedSet, jobs: list[Job], charges: Sequence[ChargeRow], disputed: Collection[str]
) -> Iterator[Violation]:
    """Find what is wrong with the end of a set that makes one job."""
    bought = [c for c in charges if (c["model_sha256"], c["image_sha256"]) == dropped.bought]
    if len(bought) > 1:
        yield Violation(Kind.DUPLICATE, f"{dropped.name} was charged {len(bought)} times")
    if len(jobs) != 1:
        kind = Kind.DUPLICATE if jobs else Kind.LOST
        yield Violation(kind, f"{dropped.name} became {len(jobs)} jobs: {[str(job.state) for job in jobs]}")
        return
    if jobs[0].id not in disputed:
        yield from _wrong_end(placed, dropped, jobs[0], bought)


def _wrong_end(placed: Placed, dropped: DroppedSet, job: Job, bought: Sequence[ChargeRow]) -> Iterator[Violation]:
    told = f"{dropped.name} (job {job.id}, {job.state})"
    outbox = placed.outbox.get(job.id, ())
    if len(outbox) != (job.state is State.ARCHIVED):
        kind = Kind.DUPLICATE if len(outbox) > 1 else Kind.WRONG
        yield Violation(kind, f"{told} has {len(outbox)} entries in the outbox")
    if job.state is State.HELD:
        if dropped.end is End.REFUSED:
            yield Violation(Kind.WRONG, f"{told} was to be refused, not to be bought")
        return
    state, least = {
        End.DELIVERED: (State.ARCHIVED, 1),
        End.REFUSED: (State.FAILED, 0),
        End.FAILS: (State.FAILED, 1),
    }[dropped.end]
    if job.state is not state:
        yield Violation(Kind.WRONG, f"{told} was to be {state}: {job.problem}")
    elif len(bought) < least:
        yield Violation(Kind.WRONG, f"{told} was never charged")
    else:
        yield from _wrong_receipt(placed.root, job, bought)


def _wrong_receipt(root: Path, job: Job, bought: Sequence[ChargeRow]) -> Iterator[Violation]:
    """Compare with the ledger: the receipt, or the report, names the task that the vendor charged, and what it took."""
    tasks, cost = [row["task_uuid"] for row in bought], sum(float(row["credits"]) for row in bought)
    folder = root / job.place
    try:
        told = receipt(folder, _end_of(folder, folder.relative_to(root).parts[0]))
    except (OSError, ValueError) as error:
        yield Violation(Kind.WRONG, f"{job.name}: its receipt cannot be read: {error}")
        return
    named = [told["task"]["uuid"]] if "task" in told else []
    if named != tasks:
        yield Violation(Kind.LOST if tasks and not named else Kind.WRONG, f"{job.name}: charged {tasks}, told {named}")
    if told["job"]["credits"] != cost or job.charges != len(tasks):
        yield Violation(
            Kind.WRONG, f"{job.name}: told {told['job']['credits']} credits for {cost} in {len(tasks)} tasks"
        )


def _left_over(root: Path, jobs: Iterable[Job]) -> Iterator[Violation]:
    """Find what stayed in the work folder without being held, and what a copy or a claim left under a hidden name."""
    held = {job.id for job in jobs if job.state is State.HELD}
    work = root / ".rodin-watchd" / "work"
    left = [path for path in work.glob("*") if path.name not in {*held, *OF_THE_ROOT}]
    left += root.rglob(".*.part")
    for top in ("inbox", *RECEIPT_OF):
        left += [path for path in (root / top).rglob(".*") if path.name not in OF_THE_ROOT and path not in left]
    yield from (Violation(Kind.LITTER, str(path.relative_to(root))) for path in left)


def _inbox_left(root: Path) -> Iterator[Violation]:
    """Find what stayed in the inbox."""
    left = (path for path in (root / "inbox").rglob("*") if not path.name.startswith("."))
    yield from (Violation(Kind.LITTER, str(path.relative_to(root))) for path in left)


# ---- at rest, where artists or administrators meddled ---------------------------------------------------------------


def conserved(scenes: Sequence[Scene], charges: Sequence[ChargeRow]) -> list[Violation]:
    """Return what is wrong at rest where it cannot be foretold how each set ends: people acted inside the steps.

    Still, no content is nowhere, bought twice, or bought and not the content that lies there; no paid task is unknown; every
    job has ended or is held; no whole set waits in vain; nothing is left over. Several scenes are roots with one inbox, and
    one vendor: what is in any of them is there.
    """
    found: list[Violation] = []
    placed = [Placed(scene.root) for scene in scenes]
    jobs = {(number, job.id): job for number, scene in enumerate(scenes) for job, _ in scene.history().values()}
    for number, scene in enumerate(scenes):
        mine = [job for (of, _), job in jobs.items() if of == number]
        found += [
            *_half_published(scene.root, settled=True),
            *_left_over(scene.root, mine),
            *_waits_in_vain(scene.root),
        ]
        found += [violation for job in mine for violation in _not_ended(placed[number], job)]
    found += _unfound_in(scenes)
    found += bought_twice(charges)
    for charge in charges:
        found += _wrong_content(placed, jobs, charge)
    return found


def bought_twice(charges: Sequence[ChargeRow]) -> list[Violation]:
    """Return which contents the vendor charged more than once."""
    bought = Counter((c["model_sha256"], c["image_sha256"], str(sorted(c["options"].items()))) for c in charges)
    return [
        Violation(Kind.DUPLICATE, f"one content was charged {count} times: {what}")
        for what, count in bought.items()
        if count > 1
    ]


def _unfound_in(scenes: Sequence[Scene]) -> Iterator[Violation]:
    """Find what is in none of the roots often enough; one inbox of several roots counts once."""
    places: dict[str, set[str]] = {}
    for scene in scenes:
        for digest, found in _copies(scene.root).items():
            shared = {path for path in found if path.startswith("inbox/")}
            places.setdefault(digest, set()).update(shared, (f"{scene.root}/{path}" for path in {*found} - shared))
    inventory = scenes[0].inventory
    for digest, name in inventory.names.items():
        found, least, most = sorted(places.get(digest, ())), inventory.least(digest), inventory.most(digest)
        if len(found) < least:
            yield Violation(Kind.LOST, f"{name}: wanted {least} times, found {found}")
        elif len(found) > most:
            yield Violation(Kind.WRONG, f"{name}: wanted {most} times at most, found {found}")


def _not_ended(placed: Placed, job: Job) -> Iterator[Violation]:
    """Find a job that goes on, or has another number of results than its end has; what is back in the inbox is a set again."""
    told = f"{job.name} (job {job.id}, {job.state})"
    if job.state not in RESTING:
        yield Violation(Kind.WRONG, f"{told} has not ended: {job.problem}")
        return
    outbox = placed.outbox.get(job.id, ())
    if len(outbox) != (job.state is State.ARCHIVED):
        kind = Kind.DUPLICATE if len(outbox) > 1 else Kind.WRONG
        yield Violation(kind, f"{told} has {len(outbox)} entries in the outbox")


def _waits_in_vain(root: Path) -> Iterator[Violation]:
    """Find a model and an image of one name, or alone in one folder, that nobody has taken."""
    stems: dict[Path, set[str]] = {}
    for path in _files(root / "inbox"):
        alone = path.parent != root / "inbox"
        stems.setdefault(path.parent if alone else path.with_suffix(""), set()).add(path.suffix)
    for stem, suffixes in stems.items():
        if ".png" in suffixes and suffixes & {".stl", ".glb"}:
            yield Violation(Kind.LOST, f"a whole set waits in vain: {stem.relative_to(root)}")


def _wrong_content(
    placed: Sequence[Placed], jobs: Mapping[tuple[int, str], Job], charge: ChargeRow
) -> Iterator[Violation]:
    """Compare what was bought with what lies where the job of that task has ended."""
    bought = {charge["image_sha256"], *([charge["model_sha256"]] if charge["model_sha256"] else [])}
    owners = [(n, job) for (n, _), job in jobs.items() if job.task and job.task.uuid == charge["task_uuid"]]
    if not owners:
        held = any(job.state is State.HELD and bought <= {f.sha256 for f in job.files} for job in jobs.values())
        if not held:
            yield Violation(Kind.LOST, f"no job knows the paid task {charge['task_uuid']}")
    for number, job in owners:
        place = _inputs_place(placed[number], job)
        there = {sha256(path.read_bytes()) for path in _files(place)}
        if not bought <= {f.sha256 for f in job.files} or not bought <= there:
            told = f"{job.name} (job {job.id}, {job.state})"
            yield Violation(Kind.WRONG, f"{told}: bought {sorted(bought)}, {place} holds {sorted(there)}")


def _inputs_place(placed: Placed, job: Job) -> Path:
    """Return where the inputs of a job that has come to rest lie."""
    if job.state is State.HELD:
        return placed.root / ".rodin-watchd" / "work" / job.id / "inputs"
    if job.state is State.FAILED:
        return placed.root / job.place
    return next(iter(placed.archive.get(job.id, ())), placed.root / "archive" / "nowhere")


def torn(scenes: Sequence[Scene], sets: Iterable[DroppedSet]) -> list[Violation]:
    """Return which sets lie in more than one folder of several roots, at rest, besides what they share with others."""
    found, most = [], scenes[0].inventory.most
    for dropped in sets:
        wanted = {digest for digest in map(sha256, dropped.files.values()) if most(digest) == 1}
        folders = set()
        for scene in scenes:
            for digest, paths in _copies(scene.root).items():
                if digest in wanted:
                    folders |= {_home(scene, path) for path in paths}
        if len(folders) > 1:
            found.append(Violation(Kind.WRONG, f"{dropped.name} is torn: {sorted(folders)}"))
    return found


def _home(scene: Scene, path: str) -> str:
    return "inbox" if path.startswith("inbox/") else f"{scene.root}/{path.rpartition('/')[0]}"


# ---- over a whole trial ---------------------------------------------------------------------------------------------


class Looks:
    """What earlier looks at a scene have seen: it must still be there at each later one."""

    def __init__(self) -> None:
        self._published: dict[str, dict[str, str]] = {}  # folder, relative to the root -> name -> SHA-256
        self._jobs: dict[str, str] = {}  # job -> the uuid of its task, "" before it had one

    def look(self, scene: Scene) -> list[Violation]:
        """Return what an earlier look saw and this one does not."""
        there = {
            str(folder.relative_to(scene.root)): {p.name: sha256(p.read_bytes()) for p in _files(folder)}
            for top in RECEIPT_OF
            for folder in published(scene.root, top)
        }
        jobs = {job.id: job.task.uuid if job.task else "" for job, _ in scene.history().values()}
        gone = [
            Violation(
                Kind.LOST, f"{folder} is not what it was: {sorted(before.items() - there.get(folder, {}).items())}"
            )
            for folder, before in self._published.items()
            if before.items() - there.get(folder, {}).items()
        ]
        gone += [
            Violation(Kind.LOST, f"the journal has forgotten job {job}") for job in self._jobs.keys() - jobs.keys()
        ]
        gone += [
            Violation(Kind.LOST, f"the journal has forgotten the task of job {job}")
            for job, task in self._jobs.items()
            if task and jobs.get(job, task) != task
        ]
        self._published, self._jobs = there, jobs
        return gone


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

    Right is only: the last bytes were allowed to go, and then came no answer, or one that proves nothing; or the vendor gave
    its task to another set as well.
    """
    [number] = [number for number, event in enumerate(events) if event.state is State.HELD][-1:] or [0]
    if events[number].code == ChargedTaskLostError.code:
        return "another set has its task"
    before = events[number - 1] if number else None
    if before is None or before.state is not State.SUBMITTING:
        return ""
    return f"answered {before.message}" if before.action == "answered" else "no answer in the journal"
