"""Strays: what no live job has of work folders and claimed files, and live jobs whose files are gone.

Set aside and reported, never deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from rodin_watchd.adapters.spool import Spool
from rodin_watchd.core.layout import FAILED
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.store import StoreReader
from rodin_watchd.core.wording import local, set_name
from rodin_watchd.errors import CommandRefusedError, DiskError
from rodin_watchd.log_lines import LogValue, fields, why
from rodin_watchd.model import Job, State
from rodin_watchd.service.jobs import JobStore

log = logging.getLogger("rodin_watchd")

GONE = "files-gone"
"""The action of the event that says that a job's files are not in the work folder any more."""

_WITH_INPUTS = frozenset({State.STAGED, State.UPLOADING, State.HELD})
_WITH_RESULTS = frozenset({State.DOWNLOADED, State.PROCESSED})


@dataclass(frozen=True, slots=True)
class Orphans:
    """Compares the work folder with the journal; for the main thread, between two ticks' steps."""

    spool: Spool
    job_store: JobStore
    store: StoreReader
    zone: tzinfo
    now: Callable[[], float]

    def look(self, away: frozenset[Mount]) -> None:
        """Set aside what belongs to no live job, and note whose files are gone. Does nothing while a folder is away."""
        if away & {Mount.ROOT, Mount.WORK, Mount.FAILED}:
            return
        if Mount.INBOX not in away:
            self._rescue()
        there = self.spool.work_folders()
        jobs = self.job_store.jobs
        to_follow = {job.then.job_id for job in jobs.values() if job.then}
        to_follow |= {one.job_id for job in jobs.values() for one in job.variants}
        for name in sorted(there - jobs.keys() - to_follow):
            self._set_aside(name)
        for job in list(jobs.values()):
            if job.state in _WITH_INPUTS | _WITH_RESULTS and not self._has_files(job):
                self._note(job)

    def _rescue(self) -> None:
        """Bring into the work folder what a job that is not live any more had claimed next to the files of the inbox."""
        for name, claims in sorted(self.spool.claimed().items()):
            for claim in claims if name not in self.job_store.jobs else ():
                try:
                    self.spool.rescue(name, claim)
                except (DiskError, OSError) as error:
                    message = "stray: %s belongs to no live job and cannot be set aside: %s"
                    log.warning(message, claim, why(error), extra={"action": "stray", **self._about(name)})

    def _set_aside(self, name: str) -> None:
        try:
            place = self.spool.set_aside(name, self._report(name))
        except (DiskError, OSError) as error:
            message = "stray: work folder %s belongs to no live job and cannot be set aside: %s"
            log.warning(message, name, why(error), extra={"action": "stray", **self._about(name)})
            return
        if place:
            message = f"The work folder {name} belongs to no live job; it is in {place} now."
            self.job_store.report("set-aside", message, self.now(), self._about(name), subject=name)

    def _about(self, name: str) -> Mapping[str, LogValue]:
        """Return the fields of a line about a work folder: it has the id of its job, known or not."""
        job = self._job(name)
        return fields(job) if job else {"job": name}

    def _report(self, name: str) -> str:
        job = self._job(name)
        whose = (
            f"It belongs to “{set_name(job.folder, job.title)}” (job {job.id}), which has ended: {job.state}."
            if job
            else "The journal knows no job of that name: the journal may have been restored from a backup, or be a new one."
        )
        return (
            f"SET ASIDE on {local(self.now(), self.zone)}\n\n"
            f"What: the service found the work folder {name}, which belongs to no live job.\n{whose}\n"
            "Cost: it may have been submitted and charged; the vendor's account shows it.\n"
            "What to do: check whether the result has been delivered. If not, and the account shows no charge, drop the files\n"
            f"from inputs/ into the inbox again. Nothing was deleted, and nothing in {FAILED}/ is ever touched again.\n"
        )

    def _job(self, name: str) -> Job | None:
        try:
            job = self.store.find(name)
        except CommandRefusedError:
            return None
        return job if job.id == name else None

    def _has_files(self, job: Job) -> bool:
        folder = self.spool.downloads(job.id) if job.state in _WITH_RESULTS else self.spool.inputs(job.id)
        return folder.is_dir() or (job.state is State.PROCESSED and self.spool.result(job.id).is_dir())

    def _note(self, job: Job) -> None:
        if any(event.action == GONE for event in self.store.events(job.id)):
            return
        message = f"The files of “{set_name(job.folder, job.title)}” are not in the work folder any more: somebody removed them."
        self.job_store.report_of_job(job, GONE, message, self.now())
