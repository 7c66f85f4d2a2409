"""`rodin-watchd explain`: why a file or set waits, is ignored or was refused, and where it went.

It looks at the folder itself, by the daemon's own rules, and into the journal; the daemon need not run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from enum import StrEnum
from pathlib import Path

import click

from rodin_watchd.adapters.host import local_zone, shares_in
from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.adapters.spool.mounts import Mounts
from rodin_watchd.adapters.spool.moving import RECEIPTS, job_named_at
from rodin_watchd.cli.context import json_option, print_json
from rodin_watchd.cli.options import config_option, load
from rodin_watchd.client.journal import daemon_of, has_store, place_of, reader
from rodin_watchd.config import Config
from rodin_watchd.core.approval import Pass
from rodin_watchd.core.claims import bill, taken_paths, version_in_inbox
from rodin_watchd.core.layout import FAILED, HIDDEN, INBOX, OWN_PREFIX, SHEET, Claim, owner_of
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import match_key, printable, split_name
from rodin_watchd.core.pairing import Candidate
from rodin_watchd.core.sets import ReadySet, View, WaitingSet
from rodin_watchd.core.sidecar import PRESET_NAME, read_preset
from rodin_watchd.core.status import PAGE, Page, ended_line, job_line
from rodin_watchd.core.store import ROOT_ID, StoreReader
from rodin_watchd.core.toml_text import LIMIT_BYTES
from rodin_watchd.core.wording import advice_in_full, local, of_originals, set_name
from rodin_watchd.errors import CommandRefusedError, SidecarError
from rodin_watchd.model import Entry, Job, Role, State
from rodin_watchd.service.intake import quiet_of, view_at_rest
from rodin_watchd.service.mounts import inbox_anchor

# ---- What `explain` answers: a verdict for programs, sentences for people, and the jobs it speaks of ----------------


class FileState(StrEnum):
    """What is with a file or set, in a word."""

    READY = "ready"
    SETTLING = "settling"
    WAITING = "waiting"
    REFUSED = "refused"
    IGNORED = "ignored"
    TAKEN = "taken"
    DELIVERED = "delivered"
    FAILED = "failed"
    HELD = "held"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer about one path."""

    verdict: FileState
    sentences: tuple[str, ...]
    jobs: tuple[str, ...] = ()

    def followed_by(self, sentences: Iterable[str]) -> Explanation:
        """Return the answer with more sentences."""
        return replace(self, sentences=(*self.sentences, *sentences))


_VERDICTS = {State.ARCHIVED: FileState.DELIVERED, State.FAILED: FileState.FAILED, State.HELD: FileState.HELD}


def about_job(opening: str, job: Job, zone: tzinfo) -> Explanation:
    """Return the answer about what belongs to a job."""
    sentences = [opening, job_sentence(job, zone)]
    if job.state is State.FAILED and job.problem:
        sentences.append(f"What to do: {advice_in_full(job)}")
    sentences.append(f"`rodin-watchd show {job.id}` has its complete history.")
    return Explanation(_VERDICTS.get(job.state, FileState.TAKEN), tuple(sentences), (job.id,))


def job_sentence(job: Job, zone: tzinfo) -> str:
    """Say how it stands with a job."""
    line = ended_line(job) if job.state in ENDED else job_line(job)
    since = f" ({local(line.since_at, zone)})" if line.since_at is not None else ""
    return f"Job {job.id}, “{line.name}”: {line.text.rstrip('.')}.{since}"


def about_past(journal: StoreReader | None, place: str, zone: tzinfo) -> Explanation:
    """Return the answer about a path where nothing is now: what became of a file or set of that name."""
    name = place.rpartition("/")[2]
    nothing = f"There is nothing at “{printable(place)}”"
    jobs = _jobs_of(journal, name) if journal else []
    if not jobs:
        return Explanation(FileState.UNKNOWN, (f"{nothing}, and no job ever had a file or set of this name.",))
    answer = about_job(f"{nothing} now; a job took “{printable(name)}”.", jobs[0], zone)
    others = tuple(job.id for job in jobs[1:])
    return replace(answer, jobs=(*answer.jobs, *others)).followed_by(
        [f"Older jobs with that name: {', '.join(others[:10])}."] if others else []
    )


def _jobs_of(journal: StoreReader, name: str) -> list[Job]:
    """Return the jobs with an input of this name, newest first, or the one job with this id or set name."""
    if jobs := journal.with_file(name):
        return jobs
    try:
        job = journal.find(name)
    except CommandRefusedError:
        return []
    return [job] if name in (job.id, job.name) else []


# ---- What `explain` says of a path in the inbox: by looking now, with the daemon's own rules ------------------------


MOST_SETS = 10
"""Of a folder with more sets, the rest is counted."""


@dataclass(frozen=True, slots=True)
class InboxState:
    """Where the question is asked: the service's configuration, its journal if there is one, the zone of people."""

    config: Config
    journal: StoreReader | None
    zone: tzinfo

    @property
    def inbox(self) -> Path:
        """The folder where sets are dropped."""
        return self.config.folders.root / INBOX


def in_inbox(scene: InboxState, path: str) -> Explanation:
    """Answer for a path relative to the inbox, "" for the inbox itself. Raises DiskError, JournalError."""
    live = scene.journal.jobs(state for state in State if state not in ENDED) if scene.journal else []
    taken = taken_paths(live)
    if answer := _about_taking(scene, path, live, taken):
        return answer
    view = view_of(scene, taken)
    if sets := _sets_at(view, path):
        return _about_copied(scene, sets, path) or _about_sets(scene, sets, path)
    if reason := _why_ignored(view.ignored, path):
        return Explanation(FileState.IGNORED, (reason, "It stays where it is; the service does nothing with it."))
    if path.rpartition("/")[2].casefold() == PRESET_NAME and (scene.inbox / path).is_file():
        return _about_preset(scene.inbox / path, path)
    if (scene.inbox / path).is_dir():
        return Explanation(FileState.IGNORED, (f"“{printable(path) or INBOX}” is a folder without files of a set.",))
    return about_past(scene.journal, path, scene.zone)


def _about_taking(scene: InboxState, path: str, live: Sequence[Job], taken: frozenset[str]) -> Explanation | None:
    """Answer for what a job is about to take, and for what the service itself made in the inbox; None if it is neither."""
    if path in taken:
        job = next(job for job in live if any(file.source == f"{INBOX}/{path}" for file in job.files))
        return about_job(f"“{printable(path)}” is being taken.", job, scene.zone)
    own = next((part for part in path.split("/") if part.startswith(OWN_PREFIX)), "")
    return _about_own(scene, own, path, live) if own else None


def _about_own(scene: InboxState, name: str, path: str, live: Sequence[Job]) -> Explanation:
    """Answer for what the service itself made in the inbox."""
    claim = Claim.of_name(name)
    if claim is None:
        return Explanation(
            FileState.IGNORED, (f"“{printable(path)}” belongs to the service. Please do not remove it.",)
        )
    job_id = claim.job_id
    opening = f"“{printable(path)}” is hidden while job {job_id} takes its files."
    if job := next((job for job in live if job.id == job_id), None):
        return about_job(opening, job, scene.zone)
    root_id = str(scene.journal.meta(ROOT_ID) or "") if scene.journal else ""
    if claim.owner not in ("", owner_of(root_id)):
        return Explanation(
            FileState.TAKEN, (opening, "That job belongs to another service, which uses this folder, too.")
        )
    moved = f"No live job has that id: the service moves it to {FAILED}/set-aside-{job_id} at its next start, or within a day."
    return Explanation(FileState.TAKEN, (opening, moved))


def view_of(scene: InboxState, taken: frozenset[str]) -> View:
    """Return what the inbox comes to if nobody touches it any more."""
    anchor = inbox_anchor(Mounts(scene.config.folders.root), scene.journal, place_of(scene.config))
    return view_at_rest(Inbox(scene.inbox, anchor), scene.config, taken)


# ---- what is meant --------------------------------------------------------------------------------------------------


def _sets_at(view: View, path: str) -> list[ReadySet | WaitingSet]:
    """Return the sets that have this file; else those in this folder or of this name; else the one that lacks it."""
    sets: list[ReadySet | WaitingSet] = [*view.ready, *view.waiting]
    for belongs in (_has, _is_in, _lacks):
        if found := [decided for decided in sets if belongs(decided.candidate, path)]:
            return found
    return []


def _has(candidate: Candidate, path: str) -> bool:
    return any(member.path == path for member in candidate.members)


def _is_in(candidate: Candidate, path: str) -> bool:
    """Return whether the path is the inbox, a folder above the set, or the set's own name."""
    above = not path or any(member.path.startswith(f"{path}/") for member in candidate.members)
    return above or _is_named(candidate, path)


def _lacks(candidate: Candidate, path: str) -> bool:
    """Return whether a file of this name, which is not there, would be of the set."""
    folder, _, name = path.rpartition("/")
    return bool(candidate.missing) and _is_named(candidate, f"{folder}/{split_name(name)[0]}".lstrip("/"))


def _is_named(candidate: Candidate, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return (candidate.folder, match_key(candidate.name)) == (folder, match_key(name))


def _why_ignored(ignored: Mapping[str, str], path: str) -> str:
    """Say why a file, or a folder that it is in, is ignored; "" if it is not."""
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        place = "/".join(parts[:depth])
        if place in ignored:
            within = "" if place == path else f", and so are the files in it: “{printable(path)}”"
            return f"“{printable(place)}” is ignored: {ignored[place]}{within}."
    return ""


# ---- what is said ---------------------------------------------------------------------------------------------------


def _about_sets(scene: InboxState, sets: Sequence[ReadySet | WaitingSet], path: str) -> Explanation:
    """Answer for one set or several, with what the service itself and earlier jobs have to do with it."""
    answers = [_about_set(scene, decided) for decided in sets]
    verdicts = [answer.verdict for answer in answers]
    lines = [sentence for answer in answers[:MOST_SETS] for sentence in answer.sentences]
    if len(sets) > MOST_SETS:
        lines.append(f"And {len(sets) - MOST_SETS:,} more sets.")
    lines += _waits_for_approval(scene, sets)
    if not _OF_SERVICE.isdisjoint(verdicts):
        lines += _service_says(scene)
    job = _earlier_job(scene.journal, path)
    if job:
        lines.append(f"A file of this name was taken before: {job_sentence(job, scene.zone)}")
    return Explanation(min(verdicts, key=list(FileState).index), tuple(lines), (job.id,) if job else ())


def _about_copied(scene: InboxState, sets: Sequence[ReadySet | WaitingSet], path: str) -> Explanation | None:
    """Answer for a set that stays in the inbox because the service may not move it; None if it is no such set."""
    versions = [version_in_inbox(_entries(decided)) for decided in sets]
    for job in scene.journal.with_originals() if scene.journal else ():
        is_back = job.state is State.RETURNED and State.FAILED not in job.times
        if not is_back and version_in_inbox(job.originals) in versions:
            return about_job(f"“{printable(path)}”: {of_originals(job)}", job, scene.zone)
    return None


def _entries(decided: ReadySet | WaitingSet) -> Iterable[Entry]:
    return decided.entries if isinstance(decided, WaitingSet) else decided.entries.values()


_OF_SERVICE = frozenset({FileState.READY, FileState.SETTLING, FileState.REFUSED})
"""What goes on without a person, if the service runs."""


def _about_set(scene: InboxState, decided: ReadySet | WaitingSet) -> Explanation:
    config, candidate = scene.config, decided.candidate
    name = set_name(candidate.folder, candidate.name)
    files = ", ".join(f"{member.role} “{printable(member.name)}”" for member in candidate.members)
    what = f"“{name}” is {'an incomplete set' if candidate.missing else 'a set'}: {files}."
    if isinstance(decided, WaitingSet):
        return _about_waiting(config, decided, what)
    if decided.problem:
        refused = f"It will be refused: {decided.problem.message}"
        moved = f"The service moves it to {FAILED}/{name}, with a report; nothing is charged."
        return Explanation(
            FileState.REFUSED,
            (what, refused, moved, f"What to do: {decided.problem.advice} {decided.problem.command}".rstrip()),
        )
    price = scene.journal.price if scene.journal else lambda wanted: wanted.listed
    told = bill(decided, config.defaults, price)
    jobs = (f"{told[:1].upper()}{told[1:]}: all are afforded, or none is begun.",) if told else ()
    return Explanation(FileState.READY, (what, *jobs, _taken_when(scene, candidate)))


def _taken_when(scene: InboxState, candidate: Candidate) -> str:
    settings = scene.config.intake
    wait, mounted = settings.sidecar_wait_seconds, shares_in(scene.inbox)
    quiet = quiet_of(settings).seconds((member.path for member in candidate.members), mounted)
    sidecar = f", and {wait:g} seconds have passed for a sidecar" if wait and not candidate.member(Role.SIDECAR) else ""
    return (
        "It is complete: it is taken when no program has its files open any more, and they have not changed for "
        f"{quiet:g} seconds ({settings.unproven_quiet_seconds:g} where the content cannot show that a file is "
        f"whole){sidecar}."
    )


def _about_waiting(config: Config, waiting: WaitingSet, what: str) -> Explanation:
    if not waiting.settling:
        return Explanation(
            FileState.WAITING, (what, f"It is not taken: {waiting.reason}.", "It stays there until this changes.")
        )
    minutes = config.intake.incomplete_seconds / 60
    after = f"If this does not change for {minutes:g} minutes, the set is refused; copy the file again before that."
    return Explanation(FileState.SETTLING, (what, f"It is not taken yet: {waiting.reason}.", after))


def _waits_for_approval(scene: InboxState, sets: Sequence[ReadySet | WaitingSet]) -> list[str]:
    """Say whether somebody has to approve these sets."""
    gate = scene.journal.gate() if scene.journal and scene.config.budget.hold_above_sets is not None else {}
    names = [f"{decided.candidate.folder}/{decided.candidate.name}".lstrip("/") for decided in sets]
    waiting = {key.name for key, verdict in gate.items() if verdict is Pass.HELD}
    held = sum(name in waiting for name in names)
    if not held:
        return []
    who = "It waits" if len(sets) == 1 else f"{held:,} of them wait"
    return [
        f"{who} for approval (budget.hold_above_sets): nothing is taken until somebody runs `rodin-watchd approve`."
    ]


def _service_says(scene: InboxState) -> list[str]:
    """Say what of the service itself keeps a set from going on."""
    try:
        daemon = daemon_of(scene.config)
    except PermissionError:
        return ["This user cannot see whether the service runs."]
    if daemon is None:
        return ["The service is not running, so nothing is taken: `rodin-watchd run` starts it."]
    found = scene.journal.meta(PAGE) if scene.journal else None
    return [f"The service says: {notice}" for notice in Page.of_data(found).notices] if found else []


def _earlier_job(journal: StoreReader | None, path: str) -> Job | None:
    name = path.rpartition("/")[2]
    jobs = journal.with_file(name) if journal and name else []
    return jobs[0] if jobs else None


def _about_preset(file: Path, path: str) -> Explanation:
    """Answer for a `_folder.toml`; it is in force, or it holds up all sets of its folder."""
    what = f"“{printable(path)}” has options for all sets in its folder and below."
    try:
        with file.open("rb") as stream:
            read_preset(stream.read(LIMIT_BYTES + 1), printable(path))
    except OSError as error:
        trouble = f"It cannot be read: {error.strerror}."
    except SidecarError as error:
        trouble = error.message
    else:
        return Explanation(FileState.READY, (what, "It has no mistakes."))
    return Explanation(FileState.WAITING, (what, f"All these sets wait until it is corrected: {trouble}"))


@click.command(epilog="Example: rodin-watchd explain inbox/chair.glb")
@config_option
@json_option
@click.argument("path", type=click.Path(path_type=Path))
def explain(config_file: Path | None, path: Path, *, as_json: bool) -> None:
    """Explain why a file or set waits, is ignored or was refused, or where it is now, and what to do.

    PATH is a file, a folder, or the name of a set, relative to the current folder, the inbox or the root. It need not
    exist any more.

    --json prints one object: path, verdict (ready, settling, waiting, refused, ignored, taken, delivered, failed, held,
    elsewhere, unknown), text (a list of sentences) and jobs (their ids).
    """
    config = load(config_file)
    answer = answer_to(config, path)
    if as_json:
        fields = {"path": str(path), "verdict": answer.verdict.value, "text": answer.sentences, "jobs": answer.jobs}
        print_json(fields)
    else:
        click.echo("\n".join(answer.sentences))


def answer_to(config: Config, path: Path) -> Explanation:
    """Return the answer. Raises JournalError or DiskError when it cannot be had."""
    root = config.folders.root
    place = locate(root, path, Path.cwd())
    if place is None:
        text = f"“{printable(str(path))}” is not in the folders of this service, which are in {root}."
        return Explanation(FileState.ELSEWHERE, (text,))
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(reader(config)) if has_store(config) else None
        return _explained(InboxState(config, journal, local_zone()), place)


def _explained(scene: InboxState, place: str) -> Explanation:
    """Answer for a place relative to the root."""
    top, _, rest = place.partition("/")
    if top == INBOX:
        return in_inbox(scene, rest)
    if top in RECEIPTS and rest:
        return _published(scene, place)
    if place.startswith(_WORK) and (job := _job(scene, place.removeprefix(_WORK).partition("/")[0])):
        return about_job(f"“{printable(place)}” is in the service's work folder.", job, scene.zone)
    if os.path.lexists(scene.config.folders.root / place):
        text = f"“{printable(place)}” is no file of a set; drop sets into {INBOX}/."
        return Explanation(FileState.ELSEWHERE, (text,))
    return about_past(scene.journal, place, scene.zone)


_WORK = f"{HIDDEN}/work/"


def _published(scene: InboxState, place: str) -> Explanation:
    """Answer for a place in `outbox/`, `failed/` or `archive/`: the nearest receipt names its job."""
    root, name = scene.config.folders.root, printable(place)
    top = place.partition("/")[0]
    folder = place
    while folder != top:
        if found := job_named_at(root, folder):
            job = _job(scene, str(found[0]))
            if job:
                return about_job(f"“{name}” was put there by the service.", job, scene.zone)
            text = f"“{name}” belongs to job {printable(str(found[0]))}, which this journal does not know."
            return Explanation(FileState.ELSEWHERE, (text,))
        folder = folder.rpartition("/")[0]
    group = place.removesuffix(f"/{SHEET}")
    if job := _of_several_in(scene, group):
        return about_job(f"“{name}” belongs to a set that makes several jobs; one of them:", job, scene.zone)
    if os.path.lexists(root / place):
        text = f"“{name}” was not put there by the service, or its {RECEIPTS[top]} is gone."
        return Explanation(
            FileState.ELSEWHERE, (text, f"Drop sets into {INBOX}/; the service does nothing with files here.")
        )
    return about_past(scene.journal, place, scene.zone)


def _of_several_in(scene: InboxState, group: str) -> Job | None:
    """Return a job whose set makes several, and has a folder each in this one; None where there is none."""
    root = scene.config.folders.root
    try:
        names = sorted(os.listdir(root / group))  # noqa: PTH208 - names that are not UTF-8, too
    except OSError:
        return None
    named = filter(None, (job_named_at(root, f"{group}/{name}") for name in names))
    jobs = (_job(scene, str(found[0])) for found in named)
    return next((job for job in jobs if job and job.batch), None)


def _job(scene: InboxState, job_id: str) -> Job | None:
    try:
        job = scene.journal.find(job_id) if scene.journal else None
    except CommandRefusedError:
        return None
    return job if job and job.id == job_id else None


def locate(root: Path, path: Path, cwd: Path) -> str | None:
    """Return the path relative to the root, with "/"; None if it is not below it.

    A relative one is looked for from `cwd`, then from the inbox, then from the root (from the root before the inbox, if
    it begins with one of the folders); one that is nowhere is taken for one that was in one of the folders. What the
    path's last part links to does not count.
    """
    tops = (INBOX, *RECEIPTS)
    bases = (cwd, root, root / INBOX) if path.parts[:1] and path.parts[0] in tops else (cwd, root / INBOX, root)
    places = [place for base in bases if (place := _below(root, base / path)) is not None]
    there = [place for place in places if os.path.lexists(root / place)]
    was = [place for place in places if place.partition("/")[0] in tops]
    return next(iter((*there, *was, *places)), None)


def _below(root: Path, path: Path) -> str | None:
    """Return a path relative to the root, by its words alone or, where the root has several names, by what is there."""
    plain = Path(os.path.normpath(path))
    # Unlike Path.resolve, realpath raises nothing for a loop of links, which anybody can make.
    there = Path(os.path.realpath(root)), Path(os.path.realpath(plain.parent), plain.name)
    for start, whole in ((root, plain), there):
        if whole.is_relative_to(start):
            return whole.relative_to(start).as_posix()
    return None
