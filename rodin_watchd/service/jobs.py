"""The job store: the live jobs in memory, always equal to the store's; the main thread's alone."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace
from itertools import chain
from typing import Any

from rodin_watchd.core import machine
from rodin_watchd.core.claims import version_in_inbox
from rodin_watchd.core.dedup import (
    bought_before,
    fingerprints,
    made_before,
    origins,
    paid_with,
    refused_before,
    twin_of,
)
from rodin_watchd.core.failures import MOST_FAILED, is_open, newest_results, resolves
from rodin_watchd.core.kinds import kind_of
from rodin_watchd.core.machine import ENDED, LOSS, SENDING, SUBMITS, Loss, noted
from rodin_watchd.core.notifications import (
    NOTICE_KINDS,
    PLUGIN_NEWS,
    Notice,
    Notices,
    all_noticed,
    end_of,
    noticed,
)
from rodin_watchd.core.pauses import (
    PAUSES,
    PLACE_WANTED,
    TASK_LIMIT,
    Pauses,
    PlaceWanted,
    TaskLimit,
    place_wanted,
    remembered_pauses,
)
from rodin_watchd.core.proof import NO_TRAFFIC, Settled, Traffic
from rodin_watchd.core.refusals import BESIDE, MOST_DOCUMENTED, MOST_FOR_A_SET
from rodin_watchd.core.schedule import vendor_seconds
from rodin_watchd.core.store import NO_META, SILENT, Announcer, Beside, CommandReply, Store
from rodin_watchd.errors import CommandRefusedError, DiskError, DuplicateSetError, Lane, Problem
from rodin_watchd.log_lines import NOBODY, LogValue, fields, fields_of_plugin, fields_of_problem
from rodin_watchd.model import Entry, Job, ServiceEvent, Signature, State, Transition

log = logging.getLogger("rodin_watchd")

_BAD_NEWS = frozenset(
    {
        *("paused", "offline", "copied", "alarm", "set-aside", "files-gone", "restored", "root-restored"),
        "journal-written-out",
        *("low-balance", "inquiry", "balance-doubted", "balance-unwatched", "crowd", "plugin-aside", "plugin-left-out"),
    }
)
"""Actions that are logged as warnings, whatever the state of the job."""

_OF_SUBJECTS = frozenset({"paused", "resumed"})
"""Events whose words begin with what they are about."""

_NEWEST_EVENTS = 1000
"""So far back a start looks for notices that have not ended."""

_MOST_UNWRITTEN = 1000
"""So many service events wait for room on the journal's disk, the newest."""

MOST_HISTORY = 50
"""So many of the newest tasks of a kind are the forecast for the next one."""

MOST_RECENT = 20
"""So many ended jobs are remembered for the status page."""


class JobStore:
    """Live jobs by id, read from the store once and written through it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._announcer: Announcer = SILENT  # until plugins are loaded
        live = [state for state in State if state not in ENDED]
        self._jobs = {job.id: job for job in store.jobs(live)}
        self.returns = 0  # how many sets went back into the inbox: grows while this runs
        failed = store.jobs((State.FAILED,), MOST_FAILED + 1)
        self.failures: tuple[Job, ...] = tuple(filter(is_open, failed[:MOST_FAILED]))  # the newest ones, newest first
        self.has_older_failures = len(failed) > MOST_FAILED  # whether there may be more
        self.recent = newest_results(store.jobs((State.ARCHIVED,), MOST_RECENT), failed, MOST_RECENT)  # newest first
        self._histories: dict[str, list[float]] = {}
        self._copied: dict[frozenset[tuple[str, Signature]], str] | None = (
            None  # jobs by what stays in the inbox; None: not asked for yet
        )
        self._unwritten: deque[ServiceEvent] = deque(maxlen=_MOST_UNWRITTEN)
        self._unlogged: list[Transition] | None = (
            None  # moves that are not durable yet; None: each is, once it is known
        )
        events = store.service_events(_NEWEST_EVENTS, kinds=NOTICE_KINDS)
        self.notices: Notices = all_noticed(reversed(list(events)))  # what people were given notice of, until it ends
        self._traffic = NO_TRAFFIC  # of this root's jobs at the vendor, since this store was opened
        self.look_for_loss()

    def announce_to(self, announcer: Announcer) -> None:
        """Owe calls to these plugins for each move, and each event of the service, from now on."""
        self._announcer = announcer

    def look_for_loss(self) -> None:
        """Learn from the journal what is missing in it."""
        found = self._store.meta(LOSS)
        self.loss: Loss | None = Loss(*found) if found else None

    def pauses_elsewhere(self, account: str) -> Sequence[Pauses]:
        """Return what daemons of other roots have paused that spend from this account."""
        stored = self._store.meta_elsewhere(PAUSES)
        return [remembered_pauses(one, account) for one in stored if one["account"] == account]

    def places_wanted_elsewhere(self) -> Sequence[PlaceWanted]:
        """Return which sets of other roots wait for a place at the vendor."""
        return [PlaceWanted.of_data(one) for one in self._store.meta_elsewhere(PLACE_WANTED)]

    def want_place(self, account: str, since_at: float | None, now: float) -> None:
        """Let daemons of other roots leave a place to a set that was taken then (UTC), or to none. Raises as `commit`."""
        stored = self._store.meta(PLACE_WANTED)
        known = PlaceWanted.of_data(stored) if stored else None
        wanted = None if since_at is None else place_wanted(known, account, since_at, now)
        if wanted != known and (known or self._store.shared_now() is not None):
            self._store.set_meta(PLACE_WANTED, wanted and asdict(wanted))

    def task_limit(self, account: str) -> TaskLimit | None:
        """Return what any daemon has learned of how many tasks the vendor runs at once for an account."""
        return TaskLimit.of_data(self._store.meta(TASK_LIMIT), account)

    def accept_loss(self, now: float, reply: CommandReply) -> None:
        """Forget what is missing in the journal, with the answer to the command. Raises as `commit`."""
        self.commit([], now, {LOSS: None}, reply)
        self.loss = None

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The jobs that have not ended."""
        return self._jobs

    @property
    def elsewhere(self) -> Sequence[Job]:
        """The live jobs of other roots that the bounds of the account are about, as they were at the last look (`Store.changed_outside`)."""
        return self._store.elsewhere()

    @property
    def everywhere(self) -> Iterator[Job]:
        """Those, and all live jobs of this root."""
        return chain(self._jobs.values(), self.elsewhere)

    @property
    def traffic(self) -> Traffic:
        """What grows with each move of a job at the vendor, in all roots."""
        return self._traffic.and_of(self._store.traffic_elsewhere())

    def commit(
        self,
        transitions: Sequence[Transition],
        now: float,
        meta: Mapping[str, Any] = NO_META,
        reply: CommandReply | None = None,
        settled: Sequence[Settled] = (),
        confirmed: tuple[int, int] = (0, 0),
    ) -> None:
        """Make these moves, and `meta`, durable in one transaction, each move with its event, then known.

        The answer to the command that asked for them is in that transaction, and `settled`: what purchases were after all,
        and which the balance has `confirmed`. Raises DiskError, JournalError.
        """
        if transitions or meta or settled:
            if any(self._is_charge(transition.job) for transition in transitions):
                meta = {**meta, BESIDE: sorted(self._store.open_of(self.sending))}
            self._store.commit(transitions, now, meta, self._announcer, Beside(reply, settled, confirmed))
            self._take_in(transitions)

    @contextlib.contextmanager
    def together(self, *, decides: bool = False) -> Iterator[None]:
        """Make all moves within the context durable in one transaction; they are known at once, and logged at its end.

        `decides`: nobody else writes between what is read within it and its end.

        Whoever acts on them outside of the journal waits for the end. Where anything is raised, nothing of them is known
        any more; but service events are reported all the same. Raises as `commit`.
        """
        before = dict(self._jobs), self.recent, self.failures, self._traffic
        moves = self._unlogged = []
        try:
            with self._store.together(decides=decides):
                yield
        except BaseException:
            self._jobs, self.recent, self.failures, self._traffic = before
            self._histories.clear()  # asked for once more
            self._copied = None
            raise
        else:
            for transition in moves:
                _log_move(transition)
        finally:
            self._unlogged = None
            self._write_events()

    @property
    def sending(self) -> list[str]:
        """The ids of the jobs whose submits are under way, in all roots."""
        return [job.id for job in self.everywhere if job.state in SENDING]

    def _is_charge(self, job: Job) -> bool:
        """Return whether a job as it is to be committed was charged once more."""
        known = self._jobs.get(job.id)
        return known is not None and job.charges > known.charges

    def _take_in(self, transitions: Sequence[Transition]) -> None:
        for transition in transitions:
            job = transition.job
            known = self._jobs.get(job.id)
            self._traffic = self._traffic.after(known.state if known else None, job.state)
            self._know(job)
            if self._unlogged is None:
                _log_move(transition)
            else:
                self._unlogged.append(transition)

    def refuse_open_commands(self, reason: str) -> None:
        """Answer every command that waits with a refusal: it may have been carried out elsewhere, or before. Raises DiskError."""
        for command in self._store.open_commands():
            self._store.commit((), 0.0, beside=Beside(CommandReply(command.id, reason, ok=False)))

    def try_writing(self) -> None:
        """Write nothing, as a transaction. Raises as every writing call would now."""
        self._store.commit((), 0.0)

    @property
    def submits(self) -> int:
        """How many submits were allowed to send their last bytes, as far as this store knows."""
        return int(self._store.meta(SUBMITS) or 0)

    def note(self, job: Job) -> None:
        """Change a waiting time or a word of the vendor, which need not survive a restart."""
        self._jobs[job.id] = job

    def start(self, now: float, paused: Mapping[Lane, Problem]) -> None:
        """Report a start that ends what the run before had paused: this run checks it again, all but what is still `paused`."""
        lanes = {Notice("paused", lane): problem for lane, problem in paused.items()}
        if any(notice.kind == "paused" and notice not in lanes for notice in self.notices):
            self.report("started", "The service was started; it checks again what was paused.", now)
        for notice, problem in lanes.items():
            if notice not in self.notices:
                self.report("paused", problem.message, now, subject=notice.subject, code=problem.code)

    def end_notices(self, causes: AbstractSet[Notice], now: float) -> None:
        """End every notice that was begun, in this run or before, and whose cause is not among these any more."""
        for notice in self.notices.keys() - causes:
            while begun := self.notices.get(notice):
                event = end_of(notice, begun, now)
                about = fields_of_plugin(event.subject) if event.kind in PLUGIN_NEWS else NOBODY
                log.info("%s: %s", event.kind, event.message, extra={"action": event.kind, **about})
                self._note_event(event)

    def report(
        self,
        kind: str,
        message: str,
        now: float,
        about: Mapping[str, LogValue] = NOBODY,
        *,
        subject: str = "",
        code: str = "",
    ) -> None:
        """Log, and journal as a service event; while the journal's disk is full it waits, and a restart loses it.

        `about` are the fields of the job, or of the plugin, that it is about, if it is about one. `subject` and `code` are for programs: what
        the event is about, and the code of the error that it is about.
        """
        named = f"{subject}: {message}" if subject and kind in _OF_SUBJECTS else message
        begun = self.notices.get(Notice(kind, subject))
        if begun and (begun.event.message, begun.event.code) == (
            named,
            code,
        ):  # a run before, or another daemon, reported it
            return
        log.log(_level(kind), "%s: %s", kind, named, extra={"action": kind, **about})
        self._note_event(ServiceEvent(now, kind, named, subject, code))

    def report_of_job(self, job: Job, kind: str, message: str, now: float) -> None:
        """Report what concerns a job and the service as well: one line, an event of each history. Raises as `commit`."""
        self.commit([noted(job, kind, message)], now)
        self._note_event(ServiceEvent(now, kind, message, job.id))

    def _note_event(self, event: ServiceEvent) -> None:
        self.notices = noticed(self.notices, event)
        self._unwritten.append(event)
        if self._unlogged is None:  # a transaction that is taken back must not take events with it
            self._write_events()

    def _write_events(self) -> None:
        with contextlib.suppress(DiskError):
            while self._unwritten:
                self._store.note_service_event(self._unwritten[0], self._announcer)
                self._unwritten.popleft()

    def _know(self, job: Job) -> None:
        if job.state is State.ARCHIVED and job.id not in self._jobs:  # it had ended before: it is no newer result
            self.recent = tuple(job if other.id == job.id else other for other in self.recent)
            return
        duration_class = kind_of(job).duration_class(job.options)
        history = self._histories.get(duration_class)
        if history is not None and job.state is State.GENERATED and (seconds := vendor_seconds(job)) is not None:
            self._histories[duration_class] = [seconds, *history][:MOST_HISTORY]
        self.returns += job.state is State.RETURNED
        if job.originals and self._copied is not None:
            self._copied[version_in_inbox(job.originals)] = job.id
        if job.state in ENDED:
            self._jobs.pop(job.id, None)
        else:
            self._jobs[job.id] = job
        newest = (
            (job,) if job.state is State.ARCHIVED or is_open(job) else ()
        )  # what is back in the inbox is shown there
        self.recent = (*newest, *(other for other in self.recent if other.id != job.id))[:MOST_RECENT]
        if is_open(job) or any(other.id == job.id for other in self.failures):
            others = tuple(other for other in self.failures if other.id != job.id)
            self.failures = (*filter(is_open, (job,)), *others)[:MOST_FAILED]
            self.has_older_failures |= len(others) == MOST_FAILED

    def having_copied(self, files: Iterable[Entry]) -> Job | None:
        """Return the newest job that has, or had, copies of these files of the inbox as they are, and of no others."""
        if self._copied is None:
            found = reversed(self._store.with_originals())
            self._copied = {version_in_inbox(job.originals): job.id for job in found}
        job_id = self._copied.get(version_in_inbox(files))
        return (self._jobs.get(job_id) or self._store.job(job_id)) if job_id else None

    def history(self, job: Job) -> list[float]:
        """Return how long tasks like this job's took, in seconds."""
        duration_class = kind_of(job).duration_class(job.options)
        if duration_class not in self._histories:
            self._histories[duration_class] = self._store.durations(duration_class, MOST_HISTORY)
        return self._histories[duration_class]

    def duplicate(self, job: Job) -> DuplicateSetError | None:
        """Return why a staged job would pay for something that nobody agreed to pay for, if it would."""
        if other := self.live_twin(job):
            return bought_before(self._shown(other), job, self._store.place_elsewhere(other.id))
        if job.task:
            return None
        if job.consent:
            return self.bought_meanwhile(job)
        same = self._store.same_content(fingerprints(job), job.id, job.dropped)
        if same:
            return bought_before(self._shown(same), root=self._store.place_elsewhere(same.id))
        return self._made_before(job) or self.refused_before(job)

    def _shown(self, job: Job) -> Job:
        """Return a job with its place as people of this root find it: that of a job of another root is in that one's folder."""
        root = self._store.place_elsewhere(job.id) if job.place else ""
        return replace(job, place=f"{root}/{job.place}") if root else job

    def _made_before(self, job: Job) -> DuplicateSetError | None:
        """Return why a staged job is no set but a result of this service, if it is: a copy that came without its receipt."""
        found = (self._store.made(origin, job.id) for origin in origins(job))
        return next((made_before(self._shown(made), job) for made in found if made), None)

    def live_twin(self, job: Job) -> Job | None:
        """Return another job under way that buys the same, in any root."""
        return twin_of(job, self._jobs.values()) or self._store.live_elsewhere(fingerprints(job), job.dropped)

    def place_elsewhere(self, job: Job) -> str:
        """Return where the root of a job is, HOST:FOLDER, "" for a job of this root."""
        return self._store.place_elsewhere(job.id)

    def refused_before(self, job: Job) -> DuplicateSetError | None:
        """Return why a content is not sent again that the vendor has refused too often, if it has."""
        if not job.fingerprint:
            return None
        unclear, tries, _ = self._store.failed_tries(job.fingerprint, job.dropped)
        if unclear < MOST_FOR_A_SET and tries < MOST_DOCUMENTED:
            return None
        newest = self._store.newest_with(job.fingerprint, job.dropped)
        times = unclear if unclear >= MOST_FOR_A_SET else tries
        return None if newest is None else refused_before(self._shown(newest), times)

    def bought_meanwhile(self, job: Job) -> DuplicateSetError | None:
        """Return why a job must not be sent, if another one was bought since it was staged that means the same.

        The schema allows one live job for each fingerprint; but two that version 1 kept apart may be alive.
        """
        same = self._store.bought(fingerprints(job), job.id, job.consent or None, job.dropped)
        if same is None:
            return None
        same, root = self._shown(same), self._store.place_elsewhere(same.id)
        return paid_with(same, job.again) if job.consent else bought_before(same, root=root)

    def unsure_purchases(self, job: Job) -> tuple[int, ...]:
        """Return the submits of a job that may have been charged, and that its consent does not allow to pay for once more."""
        return self._store.unknown_of(job.id, job.consent)

    def had_task_before(self, job: Job, other: Job) -> bool:
        """Return whether a job had its task before the newest upload of another one began."""
        return self._store.had_task_before(job.id, other.id)

    def resolved_by(self, job: Job) -> list[Transition]:
        """Return that failed sets were delivered, if a job is one that did: to be committed with its move."""
        if job.state is not State.ARCHIVED:
            return []
        return [machine.resolve_failure(failed, job) for failed in self.failures if resolves(job, failed)]

    def holder_of_task(self, job: Job) -> Job | None:
        """Return the job that has or ever had the same task of the vendor, this one included."""
        return self._store.with_task(job.task.uuid) if job.task else None

    def refuse_clash(self, job: Job) -> None:
        """Raise CommandRefusedError if a job as a person wants it has the task that another one has now."""
        others = self._store.having_task(job.task.uuid) if job.task else []
        for other in (other for other in others if other.id != job.id):
            raise CommandRefusedError(f"That task belongs to job {other.id}.")


def _log_move(transition: Transition) -> None:
    """Log one line for one state change."""
    job, action = transition.job, transition.action
    level = logging.WARNING if job.state in (State.HELD, State.FAILING) else _level(action)
    text = f": {' / '.join(transition.message.splitlines())}" if transition.message else ""
    concerns_plugin = job.problem is not None and transition.code == job.problem.code
    about = {**fields(job), **(fields_of_problem(job.problem, job.attempts) if concerns_plugin else NOBODY)}
    log.log(level, "%s %s (job %s)%s", action, about["set"], job.id, text, extra={"action": action, **about})


def _level(action: str) -> int:
    return logging.WARNING if action in _BAD_NEWS else logging.INFO
