"""`rodin-watchd explain`: why a file or set waits, is ignored or was refused, and where it went.

It looks at the folder itself, by the daemon's own rules, and into the journal; the daemon need not run.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from rodin_watchd.adapters.spool import RECEIPTS, told_by
from rodin_watchd.adapters.zone import local_zone
from rodin_watchd.cli.answer import Answer, Verdict, about_job, about_past
from rodin_watchd.cli.context import config_option, journal_of, json_option, load, print_json, reader
from rodin_watchd.cli.explain_inbox import Scene, in_inbox
from rodin_watchd.config import Config
from rodin_watchd.core.layout import HIDDEN, INBOX
from rodin_watchd.core.names import printable
from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.model import Job


@click.command(epilog="Example: rodin-watchd explain inbox/chair.glb")
@config_option
@json_option
@click.argument("path", type=click.Path(path_type=Path))
def explain(config_file: Path | None, path: Path, *, as_json: bool) -> None:
    """Tell why a file or set waits, is ignored or was refused, or where it went, and what to do.

    PATH is a file, a folder, or a set by its name; seen from here, from the inbox or from the root. It may be gone.

    --json prints one object: path, verdict (ready, settling, waiting, refused, ignored, taken, delivered, failed, held,
    elsewhere, unknown), text (a list of sentences) and jobs (their ids).
    """
    config = load(config_file)
    answer = answer_to(config, path)
    if as_json:
        told = {"path": str(path), "verdict": answer.verdict.value, "text": answer.sentences, "jobs": answer.jobs}
        print_json(told)
    else:
        click.echo("\n".join(answer.sentences))


def answer_to(config: Config, path: Path) -> Answer:
    """Return the answer. Raises JournalError or DiskError when it cannot be had."""
    root = config.folders.root
    place = locate(root, path, Path.cwd())
    if place is None:
        text = f"“{printable(str(path))}” is not in the folders of this service, which are in {root}."
        return Answer(Verdict.ELSEWHERE, (text,))
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(reader(config)) if journal_of(config).exists() else None
        return _explained(Scene(config, journal, local_zone()), place)


def _explained(scene: Scene, place: str) -> Answer:
    """Answer for a place relative to the root."""
    top, _, rest = place.partition("/")
    if top == INBOX:
        return in_inbox(scene, rest)
    if top in RECEIPTS and rest:
        return _published(scene, place)
    if place.startswith(_WORK) and (job := _job(scene, place.removeprefix(_WORK).partition("/")[0])):
        return about_job(f"“{printable(place)}” is in the service's work folder.", job, scene.zone)
    if os.path.lexists(scene.config.folders.root / place):
        text = f"“{printable(place)}” is no file of a set; sets are dropped into {INBOX}/."
        return Answer(Verdict.ELSEWHERE, (text,))
    return about_past(scene.journal, place, scene.zone)


_WORK = f"{HIDDEN}/work/"


def _published(scene: Scene, place: str) -> Answer:
    """Answer for a place in `outbox/`, `failed/` or `archive/`: the nearest receipt names its job."""
    root, name = scene.config.folders.root, printable(place)
    top = place.partition("/")[0]
    folder = place
    while folder != top:
        if told := told_by(root, f"{folder}/{RECEIPTS[top]}"):
            job = _job(scene, str(told[0]))
            if job:
                return about_job(f"“{name}” was put there by the service.", job, scene.zone)
            text = f"“{name}” belongs to job {printable(str(told[0]))}, which this journal does not know."
            return Answer(Verdict.ELSEWHERE, (text,))
        folder = folder.rpartition("/")[0]
    if os.path.lexists(root / place):
        text = f"“{name}” was not put there by the service, or its {RECEIPTS[top]} is gone."
        return Answer(Verdict.ELSEWHERE, (text, f"Sets are dropped into {INBOX}/; nothing happens to what is here."))
    return about_past(scene.journal, place, scene.zone)


def _job(scene: Scene, job_id: str) -> Job | None:
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
    for start, whole in ((root, plain), (root.resolve(), plain.parent.resolve() / plain.name)):
        if whole.is_relative_to(start):
            return whole.relative_to(start).as_posix()
    return None
