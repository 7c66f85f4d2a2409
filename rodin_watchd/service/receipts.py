"""Which job of a set a person has chosen: in the store first, then in the receipts of its jobs and on its contact sheet.

The receipts come after the store, so a crash, or a folder that cannot be written, leaves a set in the list of those whose
receipts are to be looked at: the next start, or the next try, writes what the store has by then. Plugins are notified last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from rodin_watchd.adapters.spool.beneath import NO_FOLDER_ERRNOS
from rodin_watchd.adapters.spool.moving import archived_place
from rodin_watchd.core import machine
from rodin_watchd.core.condensing import refuse_condensed
from rodin_watchd.core.layout import ARCHIVE, RECEIPT
from rodin_watchd.core.names import printable
from rodin_watchd.core.receipt import with_choice
from rodin_watchd.core.store import CommandReply, Store
from rodin_watchd.errors import DiskError
from rodin_watchd.model import Job, State, Transition
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.housekeeping import SOON_SECONDS, InThread, Reported
from rodin_watchd.service.jobs import JobStore
from rodin_watchd.service.steps.tools import Tools

CHOICES: Final = "choices"
"""The journal's key: by set, the jobs whose choice has changed, until the receipts of the set are written."""


class Writing(NamedTuple):
    """The receipts of one set, being written."""

    thread: InThread
    batch_id: str
    jobs: Sequence[Job]  # of the set, as they are written
    told: Mapping[str, str]  # by job, what came of it


class Choices:
    """Commits choices, and has them written into receipts, one set at a time. The main thread's alone, but for the writing itself.

    `writing` is what the daemon before has begun to write, if it has: two threads at the same receipts could leave the older choice.
    """

    def __init__(
        self,
        job_store: JobStore,
        store: Store,
        tools: Tools,
        clock: Clock,
        wake: Callable[[], None],
        writing: Writing | None,
    ) -> None:
        self._job_store = job_store
        self._store = store
        self._spool = tools.spool
        self._sheets = tools.sheets
        self._clock = clock
        self._wake = wake
        self._owed: dict[str, list[str]] = dict(store.meta(CHOICES) or {})
        self._writing = writing
        self._not_before = clock.monotonic()
        self._reported = Reported(job_store, "receipts", "They are written again.", clock)

    @property
    def trouble(self) -> str:
        """Why the receipts of a set cannot be written for now, "" if they can."""
        return self._reported.words

    @property
    def writing(self) -> Writing | None:
        """What is being written, for the daemon that takes this one's place."""
        return self._writing

    @property
    def is_idle(self) -> bool:
        """Whether no receipt is to be written now; what cannot be written for now does not count."""
        return self._writing is None and (not self._owed or bool(self.trouble))

    # ---- what a person asks for -------------------------------------------------------------------------------------

    def choose(self, choice: Transition, command_id: int) -> str:
        """Commit a choice, or that it is taken back, with the answer to the command, which is returned.

        Another job of the set that was chosen before is not chosen any more. Raises CommandRefusedError, as `JobStore.commit`.
        """
        job, batch_id = choice.job, choice.job.batch.id if choice.job.batch else ""
        others = [other for other in self._store.siblings(job) if other.chosen and other.id != job.id]
        moves = [*(machine.choose(other, chosen=False) for other in others if job.chosen), choice]
        for move in moves:
            refuse_condensed(move.job)
        changed = dict.fromkeys((*self._owed.get(batch_id, ()), *(move.job.id for move in moves)))
        owed = {**self._owed, batch_id: list(changed)}
        words = self._answer(job, [move.job for move in moves[:-1]])
        self._job_store.commit(moves, self._clock.now(), {CHOICES: owed}, CommandReply(command_id, words))
        self._owed, self._not_before = owed, self._clock.monotonic()
        return words

    def _answer(self, job: Job, before: Iterable[Job]) -> str:
        words = [f"“{printable(job.title)}” (job {job.id}) is {'chosen' if job.chosen else 'not chosen any more'}."]
        words += [f"“{printable(other.title)}” (job {other.id}) was chosen before." for other in before]
        return " ".join([*words, *([] if self._spool.has_place(job) else [_is_gone(job)])])

    # ---- writing it -------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Have receipts written that are due, and note what came of it. Raises DiskError when the journal's disk is full."""
        if self._writing is not None:
            if not self._writing.thread.is_alive():
                writing, self._writing = self._writing, None
                self._take(writing)
        elif self._owed and self._clock.monotonic() >= self._not_before:
            self._begin(next(iter(self._owed)))

    def close(self) -> None:
        """Wait a while for what is being written; what is not noted then is written again after the next start."""
        if self._writing is not None:
            self._writing.thread.join(_END_SECONDS)

    def _begin(self, batch_id: str) -> None:
        jobs, told = self._jobs(batch_id), dict[str, str]()
        thread = InThread("receipts", lambda: self._write(jobs, told), self._wake)
        self._writing = Writing(thread, batch_id, jobs, told)
        thread.start()

    def _jobs(self, batch_id: str) -> list[Job]:
        """Return the delivered jobs of a set of which one has another choice; of what follows them only those with a choice of their own."""
        changed = filter(None, map(self._store.job, self._owed[batch_id]))
        siblings = {other.id: other for job in changed for other in self._store.siblings(job)}
        return [job for job in siblings.values() if job.state is State.ARCHIVED]

    def _write(self, jobs: Sequence[Job], told: dict[str, str]) -> None:
        """Write the receipts of a set, and its sheet. In a thread. Raises DiskError."""
        shown = None
        for job in jobs:
            told[job.id] = self._written(job)
            shown = job if not told[job.id] else shown
        if shown:
            self._sheets.remake(self._spool, shown, shown.place)

    def _written(self, job: Job) -> str:
        """Write one receipt, in the outbox and in the archive; return why that in the outbox was not changed, "" if it is right."""
        rewrite = partial(with_choice, job=job)
        self._spool.confirm(ARCHIVE)
        if archived := archived_place(self._spool.root, job):
            self._rewritten(archived, rewrite)
        is_written = self._rewritten(job.place, rewrite)
        if is_written is None:
            return _is_gone(job)
        foreign = f"The receipt in {printable(job.place)} is not as the service wrote it, so it was not changed."
        return "" if is_written else foreign

    def _rewritten(self, place: str, rewrite: Callable[[bytes], bytes]) -> bool | None:
        """Return whether the receipt in a folder is right now; None where there is no such folder."""
        try:
            return self._spool.rewrite_ours(place, RECEIPT, rewrite)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in NO_FOLDER_ERRNOS:
                return None
            raise DiskError.of(f"{printable(place)}/{RECEIPT} cannot be written", error) from error

    def _take(self, writing: Writing) -> None:
        batch_id, now = writing.batch_id, self._clock.now()
        if writing.thread.error is not None:
            self._owed[batch_id] = self._owed.pop(batch_id)  # the other sets come first
            self._reported.begin(writing.thread.error)
            self._not_before = self._clock.monotonic() + SOON_SECONDS
            return
        self._reported.end()
        jobs = {job.id: job for job in self._jobs(batch_id)}
        if {job.id: job.chosen for job in writing.jobs} != {job.id: job.chosen for job in jobs.values()}:
            return  # another choice was made meanwhile: it is written again
        rest = {other: changed for other, changed in self._owed.items() if other != batch_id}
        moves = [
            machine.choice_written(jobs[job_id], writing.told[job_id] or _WRITTEN[jobs[job_id].chosen])
            for job_id in self._owed[batch_id]
            if job_id in jobs
        ]
        self._job_store.commit(moves, now, {CHOICES: rest or None})
        self._owed = rest


def _is_gone(job: Job) -> str:
    return f"The folder {printable(job.place)} is not there any more, so its receipt was not changed."


_WRITTEN: Final = {True: "Its receipt has `chosen = true`.", False: "Its receipt has `chosen = false`."}

_END_SECONDS: Final = 10.0
"""How long the end waits for receipts that are being written."""
