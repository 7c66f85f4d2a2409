"""What `explain` says of a path in the inbox: by looking now, with the daemon's own rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from rodin_watchd.adapters.journal import JournalReader
from rodin_watchd.adapters.journal.extent import ROOT_ID
from rodin_watchd.adapters.spool.grounds import Grounds
from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.cli.answer import Answer, Verdict, about_job, about_past, job_sentence
from rodin_watchd.cli.context import daemon_of, journal_of
from rodin_watchd.config import Config
from rodin_watchd.core.approval import Pass
from rodin_watchd.core.layout import FAILED, INBOX, OWN_PREFIX, Claim, owner_of
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import match_key, printable, split_name
from rodin_watchd.core.pairing import Candidate
from rodin_watchd.core.sidecar import PRESET_NAME, read_preset
from rodin_watchd.core.status import PAGE, Page, set_name
from rodin_watchd.core.toml_text import LIMIT_BYTES
from rodin_watchd.errors import SidecarError
from rodin_watchd.model import Job, Role, State
from rodin_watchd.service.claims import taken_paths
from rodin_watchd.service.intake import Intake, ReadySet, View, WaitingSet
from rodin_watchd.service.keeper import inbox_anchor
from rodin_watchd.service.quiet import quiet_seconds

MOST_SETS = 10
"""Of a folder with more sets, the rest is counted."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where the question is asked: the service's configuration, its journal if there is one, the zone of people."""

    config: Config
    journal: JournalReader | None
    zone: tzinfo

    @property
    def inbox(self) -> Path:
        """The folder where sets are dropped."""
        return self.config.folders.root / INBOX


def in_inbox(scene: Scene, path: str) -> Answer:
    """Answer for a path relative to the inbox, "" for the inbox itself. Raises DiskError, JournalError."""
    live = scene.journal.jobs(state for state in State if state not in ENDED) if scene.journal else []
    taken = taken_paths(live)
    if answer := _about_taking(scene, path, live, taken):
        return answer
    view = view_of(scene, taken)
    if sets := _sets_at(view, path):
        return _about_sets(scene, sets, path)
    if reason := _why_ignored(view.ignored, path):
        return Answer(Verdict.IGNORED, (reason, "It stays where it is; nothing happens to it."))
    if path.rpartition("/")[2].casefold() == PRESET_NAME and (scene.inbox / path).is_file():
        return _about_preset(scene.inbox / path, path)
    if (scene.inbox / path).is_dir():
        return Answer(Verdict.IGNORED, (f"“{printable(path) or INBOX}” is a folder without any file of a set.",))
    return about_past(scene.journal, path, scene.zone)


def _about_taking(scene: Scene, path: str, live: Sequence[Job], taken: frozenset[str]) -> Answer | None:
    """Answer for what a job is about to take, and for what the service itself made in the inbox; None if it is neither."""
    if path in taken:
        job = next(job for job in live if any(file.source == f"{INBOX}/{path}" for file in job.files))
        return about_job(f"“{printable(path)}” is being taken.", job, scene.zone)
    own = next((part for part in path.split("/") if part.startswith(OWN_PREFIX)), "")
    return _about_own(scene, own, path, live) if own else None


def _about_own(scene: Scene, name: str, path: str, live: Sequence[Job]) -> Answer:
    """Answer for what the service itself made in the inbox."""
    claim = Claim.of_name(name)
    if claim is None:
        return Answer(Verdict.IGNORED, (f"“{printable(path)}” is the service's own. Please leave it there.",))
    job_id = claim.job_id
    opening = f"“{printable(path)}” is hidden while job {job_id} takes its files."
    if job := next((job for job in live if job.id == job_id), None):
        return about_job(opening, job, scene.zone)
    root_id = str(scene.journal.meta(ROOT_ID) or "") if scene.journal else ""
    if claim.owner not in ("", owner_of(root_id)):
        return Answer(Verdict.TAKEN, (opening, "That job is another service's, which uses this folder too."))
    moved = f"No live job has that id: the service moves it to {FAILED}/set-aside-{job_id} at its next start, or within a day."
    return Answer(Verdict.TAKEN, (opening, moved))


def view_of(scene: Scene, taken: frozenset[str]) -> View:
    """Look at the inbox twice and return what it comes to if nobody touches it any more.

    How long files have been unchanged cannot be seen in one look, so the second look pretends that the time has passed
    for which the daemon would wait; a file that changes between the two is found to be changing.
    """
    quiet = quiet_seconds(scene.config)
    anchor = inbox_anchor(Grounds(scene.config.folders.root), scene.journal, journal_of(scene.config))
    intake = Intake(Inbox(scene.inbox, anchor), scene.config.intake, quiet)
    intake.look(0.0, frozenset(), taken)
    return intake.look(quiet + scene.config.intake.sidecar_wait_seconds, frozenset(), taken)


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
    """Tell whether the path is the inbox, a folder above the set, or the set's own name."""
    above = not path or any(member.path.startswith(f"{path}/") for member in candidate.members)
    return above or _is_named(candidate, path)


def _lacks(candidate: Candidate, path: str) -> bool:
    """Tell whether a file of this name, which is not there, would be of the set."""
    folder, _, name = path.rpartition("/")
    return bool(candidate.missing) and _is_named(candidate, f"{folder}/{split_name(name)[0]}".lstrip("/"))


def _is_named(candidate: Candidate, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return (candidate.folder, match_key(candidate.name)) == (folder, match_key(name))


def _why_ignored(ignored: Mapping[str, str], path: str) -> str:
    """Say why a file, or a folder that it lies in, is ignored; "" if it is not."""
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        place = "/".join(parts[:depth])
        if place in ignored:
            within = "" if place == path else f", and so is what lies in it: “{printable(path)}”"
            return f"“{printable(place)}” is ignored: {ignored[place]}{within}."
    return ""


# ---- what is said ---------------------------------------------------------------------------------------------------


def _about_sets(scene: Scene, sets: Sequence[ReadySet | WaitingSet], path: str) -> Answer:
    """Answer for one set or several, with what the service itself and earlier jobs have to do with it."""
    answers = [_about_set(scene.config, decided) for decided in sets]
    verdicts = [answer.verdict for answer in answers]
    told = [sentence for answer in answers[:MOST_SETS] for sentence in answer.sentences]
    if len(sets) > MOST_SETS:
        told.append(f"And {len(sets) - MOST_SETS:,} more sets.")
    told += _waits_for_approval(scene, sets)
    if not _OF_SERVICE.isdisjoint(verdicts):
        told += _service_says(scene)
    job = _earlier_job(scene.journal, path)
    if job:
        told.append(f"A file of this name was taken before: {job_sentence(job, scene.zone)}")
    return Answer(min(verdicts, key=list(Verdict).index), tuple(told), (job.id,) if job else ())


_OF_SERVICE = frozenset({Verdict.READY, Verdict.SETTLING, Verdict.REFUSED})
"""What goes on without a person, if the service runs."""


def _about_set(config: Config, decided: ReadySet | WaitingSet) -> Answer:
    candidate = decided.candidate
    name = set_name(candidate.folder, candidate.name)
    files = ", ".join(f"{member.role} “{printable(member.name)}”" for member in candidate.members)
    what = f"“{name}” is {'an incomplete set' if candidate.missing else 'a set'}: {files}."
    if isinstance(decided, WaitingSet):
        return _about_waiting(config, decided, what)
    if decided.problem:
        refused = f"It is going to be refused: {decided.problem.message}"
        moved = f"The service moves it to {FAILED}/{name}, with a report; nothing is charged."
        return Answer(Verdict.REFUSED, (what, refused, moved, f"What to do: {decided.problem.advice}"))
    return Answer(Verdict.READY, (what, _taken_when(config, candidate)))


def _taken_when(config: Config, candidate: Candidate) -> str:
    wait = config.intake.sidecar_wait_seconds
    sidecar = f", and {wait:g} seconds were left for a sidecar" if wait and not candidate.member(Role.SIDECAR) else ""
    return (
        "It is complete: it is taken when its files were closed by whoever wrote them, or have not changed for "
        f"{quiet_seconds(config):g} seconds{sidecar}."
    )


def _about_waiting(config: Config, waiting: WaitingSet, what: str) -> Answer:
    if not waiting.settling:
        return Answer(
            Verdict.WAITING, (what, f"It is not taken: {waiting.reason}.", "It stays there until that changes.")
        )
    minutes = config.intake.incomplete_seconds / 60
    after = f"If that lasts unchanged for {minutes:g} minutes, the set is refused; copy the file again before."
    return Answer(Verdict.SETTLING, (what, f"It is not taken yet: {waiting.reason}.", after))


def _waits_for_approval(scene: Scene, sets: Sequence[ReadySet | WaitingSet]) -> list[str]:
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


def _service_says(scene: Scene) -> list[str]:
    """Say what of the service itself keeps a set from going on."""
    try:
        daemon = daemon_of(scene.config)
    except PermissionError:
        return ["Whether the service runs is not visible to this user."]
    if daemon is None:
        return ["The service is not running, so nothing is taken: `rodin-watchd run` starts it."]
    told = scene.journal.meta(PAGE) if scene.journal else None
    return [f"The service says: {notice}" for notice in Page.of_data(told).notices] if told else []


def _earlier_job(journal: JournalReader | None, path: str) -> Job | None:
    name = path.rpartition("/")[2]
    jobs = journal.with_file(name) if journal and name else []
    return jobs[0] if jobs else None


def _about_preset(file: Path, path: str) -> Answer:
    """Answer for a `_folder.toml`; it is in force, or it holds up all sets of its folder."""
    what = f"“{printable(path)}” holds options for all sets in its folder and below."
    try:
        with file.open("rb") as stream:
            read_preset(stream.read(LIMIT_BYTES + 1), printable(path))
    except OSError as error:
        trouble = f"It cannot be read: {error.strerror}."
    except SidecarError as error:
        trouble = error.message
    else:
        return Answer(Verdict.READY, (what, "It is in order."))
    return Answer(Verdict.WAITING, (what, f"All these sets wait until it is mended: {trouble}"))
