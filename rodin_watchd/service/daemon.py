"""The daemon: one loop in one thread that decides and commits; workers do the rest.

One tick: take what the workers did, decide, commit job and event in one transaction; take people's commands; look at
the inbox when something woke us or it is time, commit claims; hand due steps to the pool; tell. Between ticks the loop
sleeps until a file event, a worker's outcome or the next due time. Only this thread writes the journal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.adapters.store.backup import TOO_OLD
from rodin_watchd.adapters.watcher import Watcher
from rodin_watchd.config import Config
from rodin_watchd.core.approval import Gate
from rodin_watchd.core.claims import MOVING
from rodin_watchd.core.health import headline
from rodin_watchd.core.machine import hold_unsent
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.retention import alarms
from rodin_watchd.core.status import Line, Page
from rodin_watchd.core.wording import local
from rodin_watchd.errors import DiskError, FolderGoneError, JournalGoneError, RootCopiedError
from rodin_watchd.model import Job, State, Transition
from rodin_watchd.problem import Problem
from rodin_watchd.service.admission import Admission
from rodin_watchd.service.budget import NOTHING_OVER, Budget, OverBudget
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.commands import Commands
from rodin_watchd.service.dispatcher import Dispatcher, Payments, Progress
from rodin_watchd.service.health import Snapshot
from rodin_watchd.service.housekeeping import Alarms, Sweeper
from rodin_watchd.service.intake import Intake, quiet_seconds
from rodin_watchd.service.notifier import Notifier
from rodin_watchd.service.opening import Base
from rodin_watchd.service.pool import MessageQueue, Pool
from rodin_watchd.service.pulse import Pulse
from rodin_watchd.service.reception import Reception
from rodin_watchd.service.status import StatusWriter, page_of, pause_notices, turn_line, waiting_line
from rodin_watchd.service.steps.tools import Tools

# ---- What ends the main loop's sleep --------------------------------------------------------------------------------


class Wake:
    """Ends the loop's sleep; `for_files` also asks for a look at the inbox. Any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._files = threading.Event()

    def __call__(self) -> None:
        """Wake the loop."""
        self._event.set()

    def for_files(self) -> None:
        """Wake the loop and have the inbox looked at."""
        self._files.set()
        self._event.set()

    def take(self) -> bool:
        """Begin a tick: tell whether files woke us, and be ready for the next wake-up."""
        self._event.clear()
        files = self._files.is_set()
        if files:
            self._files.clear()  # before the look: what comes after asks for another one
        return files

    def wait(self, seconds: float) -> None:
        """Sleep until woken, for so long at most."""
        self._event.wait(seconds)


log = logging.getLogger("rodin_watchd")

LONGEST_SLEEP_SECONDS = 1.0
"""How late a command of a person may be noticed."""

TELL_SECONDS = 1.0
"""STATUS.txt is rewritten at most this often."""

CLOCK_JUMP_SECONDS = 2.0
"""By less than this, instants on the status page do not follow a clock that is being adjusted: the page would flicker."""

COPIES = (
    "Sets are copied, not moved, out of the inbox: it is on another filesystem than the service's work folder. That works; "
    "it is slower, and takes twice the room for a while."
)
"""What people must know where a rename does not do."""

SPARE_WORKERS = 4
"""Threads beside those that `api.max_in_flight` uploads may hold: a long upload never holds up a delivery."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What goes from a daemon to the one that takes its place after a reload; a first daemon gets `of_start`.

    Everything that decides over money is in here, in the base, or in the journal: a reload begins nothing anew that
    bounds what is paid.
    """

    pulse: Pulse
    wake: Wake
    pool: Pool
    progress: Progress = field(default_factory=Progress)
    gate: Gate | None = None
    over_budget: OverBudget = NOTHING_OVER
    journal_problem: Problem | None = None

    @classmethod
    def of_start(cls, config: Config, tools: Tools, pulse: Pulse, wake: Wake, messages: MessageQueue) -> Self:
        """Return what a first daemon begins with; `messages` wake it."""
        return cls(pulse, wake, Pool(tools, workers_of(config), messages))


def workers_of(config: Config) -> int:
    """Return how many steps may run at once."""
    return config.api.max_in_flight + SPARE_WORKERS + config.plugins.workers


class Daemon:
    """The service's main loop. All methods but `stop` and `wake` are for the main thread.

    With the handover of a daemon on the same base it has the place of that one as soon as `take_over` is called; until
    then it changes nothing.
    """

    def __init__(
        self,
        config: Config,
        tools: Tools,
        base: Base,
        open_watcher: Callable[[Callable[[], None]], Watcher],
        clock: Clock,
        handover: Handover,
    ) -> None:
        job_store, standing = base.job_store, base.standing
        self.pulse = handover.pulse
        self._clock = clock
        self._job_store = job_store
        self._zone = tools.zone
        self._tools = tools
        self._plugins = tools.plugins
        self._workers = workers_of(config)
        self._wake = handover.wake
        self._pool = handover.pool
        self._day = base.budget_day
        self._budget = Budget(config.budget, job_store, self._day, clock.now, handover.over_budget)
        self._admission = Admission(config, job_store, self._budget, clock, handover.gate)
        money = Payments(self._budget, base.submit_count)
        self._dispatcher = Dispatcher(
            config, job_store, self._pool, money, clock, handover.progress.of_account(tools.client.account)
        )
        self._notifier = Notifier(job_store, tools.plugins, self._pool, config.folders.root, clock)
        self._commands = Commands(job_store, self._admission, self._notifier.repeat, clock.now, tools.zone)
        self._watcher = open_watcher(self._wake.for_files)
        self._standing = standing
        inbox = Inbox(tools.spool.inbox, standing.mounts_keeper.inside.anchor)
        intake = Intake(inbox, config.intake, quiet_seconds(config), tools.plugins.known)
        self._reception = Reception(config, job_store, intake, self._watcher, self._admission, clock)
        self._sweeper = Sweeper(job_store.journal, clock.monotonic)
        self._housekeeping = standing.housekeeping
        self._monitor = standing.monitor
        self._alarms = Alarms(job_store, tools.zone, clock.now)
        self._status_writer = StatusWriter(tools.spool, job_store.journal, tools.zone)
        self._offset = clock.now() - clock.monotonic()
        self._journal_problem = handover.journal_problem
        self._stopping = False
        self._ended = False
        self._told_at = float("-inf")
        self._seen = (-1, 0.0)
        self._waiting: tuple[Line, ...] = ()  # made anew only for another look: there may be 10,000

    @property
    def failed(self) -> int:
        """How many jobs failed since the start, or are held now."""
        return self._dispatcher.failed + sum(job.state is State.HELD for job in self._job_store.jobs.values())

    @property
    def watching(self) -> str:
        """How changes are noticed, for people."""
        return self._watcher.description

    def stop(self) -> None:
        """Ask the loop to end; any thread, or a signal handler."""
        self._stopping = True
        self._wake()

    def wake(self) -> None:
        """Have the loop go round once more; any thread."""
        self._wake()

    def run(self, *, until_idle: bool = False, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Work until `stop` is called, until something interrupts, or until nothing moves any more."""
        while not (self._stopping or interrupted()):
            self.tick()
            if until_idle and self.is_idle():
                break
            self.sleep()

    def tick(self) -> None:
        """Do all that is due now, and return. While the journal's disk is full nothing moves, and nothing is lost."""
        if self._wake.take():
            self._reception.wake()
        try:
            self._act()
            if self._journal_problem is not None:  # a tick that had nothing to write proves nothing
                self._job_store.journal.try_writing()
        except DiskError as error:
            self._stand_still(error.problem)
        else:
            self._go_on()
        self._tell(force=False)
        self._sweeper.sweep()
        self.pulse.beat(self._headline(), looked=self._reception.looks > 0)
        self._monitor.tick(self._scene)

    def _stand_still(self, problem: Problem) -> None:
        """Tell once that nothing moves, and why; another cause is told anew."""
        if self._journal_problem is None or self._journal_problem.code != problem.code:
            self._job_store.tell("paused", problem.message, self._clock.now(), subject="everything", code=problem.code)
        self._journal_problem = problem

    def _go_on(self) -> None:
        """Tell that what kept everything still is over."""
        if over := self._journal_problem:
            self._job_store.tell(
                "resumed", f"{over.message} That is over.", self._clock.now(), subject="everything", code=over.code
            )
        self._journal_problem = None

    def _act(self) -> None:
        was_copied = self._standing.mounts_keeper.copied
        changed = self._standing.check()
        self._hold_unsent()
        if changed or was_copied != self._standing.mounts_keeper.copied:
            self._reception.wake()
        self._day.today()  # a clock that is set now is seen now
        self._dispatcher.settle_open_submits()
        before = (self._commands.paused, self._commands.approvals)
        self._commands.take(self._pool.busy)  # before an upload is allowed to end: it may be the one to be canceled
        self._dispatcher.take_messages(self._why_drop, self._notifier.take)
        if self._commands.awaited:
            self._commands.take(self._pool.busy)
        if before != (self._commands.paused, self._commands.approvals):
            self._reception.wake()
        self._alarms.ring()
        self._housekeeping.keep()
        self._reception.take_in(paused=not self._spends)
        self._standing.mounts_keeper.keep_inside()
        self._dispatcher.hand_out(submits=self._spends, away=frozenset(self._standing.mounts_keeper.away))
        self._notifier.mind(self._reception.view.waiting)
        self._notifier.hand_out()

    @property
    def _spends(self) -> bool:
        """Whether sets may be taken and submitted, as far as people and the root's mark have a say in it."""
        return not (self._commands.paused or self._standing.mounts_keeper.copied)

    def _hold_unsent(self) -> None:
        """Hold what was about to be sent while the root is taken for a copy: it may have been sent from elsewhere.

        So is what was about to be sent when a person accepted the root, once.
        """
        if not (reason := self._standing.mounts_keeper.copied):
            return
        now = self._clock.now()
        for job in list(self._job_store.jobs.values()):
            if job.id not in self._pool.busy:
                self._job_store.commit(self._unsent(job, reason, now), now)
        if not any(self._unsent(job, reason, now) for job in self._job_store.jobs.values()):
            if self._standing.mounts_keeper.is_accepted:
                self._job_store.refuse_open_commands(TOO_OLD)
            self._standing.mounts_keeper.finish_acceptance()

    def _unsent(self, job: Job, reason: str, now: float) -> tuple[Transition, ...]:
        return hold_unsent(job, reason, now, self._job_store.journal.price(), self._tools.client.account)

    def _scene(self) -> Snapshot:
        """Return what the monitor is to see."""
        reception, away = self._reception, frozenset(self._standing.mounts_keeper.away)
        moving = (
            self._job_store.jobs,
            self._pool.busy,
            reception.view,
            reception.claims,
            self._dispatcher.pauses,
            away,
        )
        stopped = (
            reception.problem,
            self._stopping,
            self._budget.waits,
            self._admission.waits,
            self._status_writer.trouble,
        )
        by_request, copied_root = self._commands.paused, bool(self._standing.mounts_keeper.copied)
        lost = self._job_store.loss.submits if self._job_store.loss else 0
        return Snapshot(*moving, by_request, copied_root, self._journal_problem, lost, *map(bool, stopped))

    def _why_drop(self, job_id: str) -> str:
        """Return why an upload must not send its last bytes, or ""."""
        try:
            self._standing.confirm()  # the last moment before money is spent
        except DiskError as error:  # nobody can tell whether the folders are still ours
            return error.message
        if self._stopping:
            return "The service is stopping."
        if self._commands.paused:
            return "The service was paused."
        return "A person's command waits for this job." if job_id in self._commands.awaited else ""

    def sleep(self) -> None:
        """Wait for a wake-up or the next due time."""
        due = (
            *self._dispatcher.next_due_seconds(),
            *self._reception.next_due_seconds(),
            *self._notifier.next_due_seconds(),
        )
        longest = min(LONGEST_SLEEP_SECONDS, self.pulse.longest_sleep_seconds)
        self._wake.wait(min((longest, *due)) if self._journal_problem is None else longest)

    def drain(self, seconds: float, answer_seconds: float = 0.0) -> bool:
        """Let steps that are under way end, for so long, and start nothing; return whether all ended.

        Uploads are dropped before their last bytes; one that has sent them is given `answer_seconds`, if that is longer,
        because its answer cannot be asked for again. What ends in time is committed. A journal that is missing and cannot be
        written out yet is given the same time. Ends with `close`.
        """
        self._stopping = True
        self.pulse.stop()
        began = self._clock.monotonic()
        while self._pool.busy or self._is_journal_gone:
            patience = max(seconds, answer_seconds) if self._dispatcher.awaits_answer() else seconds
            if self._clock.monotonic() - began >= patience:
                break
            self.pulse.wait(f"stopping: waits for {_under_way(len(self._pool.busy))}")
            self._wake.wait(0.2)
            self._wake.take()
            self._take_last()
            self._monitor.tick(self._scene)
        self._take_last()
        self.close()
        self._ended = True
        self._tell(force=True)
        return not self._pool.busy

    @property
    def _is_journal_gone(self) -> bool:
        return self._journal_problem is not None and self._journal_problem.code == JournalGoneError.code

    def _take_last(self) -> None:
        """Commit what the steps did; what cannot be committed is redone at the next start. Looks whether a cause is over."""
        try:
            self._standing.check()
            self._dispatcher.take_messages(self._why_drop, self._notifier.take)
            self._job_store.journal.try_writing()
        except DiskError as error:
            self._stand_still(error.problem)
        else:
            self._go_on()

    def close(self) -> None:
        """Stop watching, start nothing more, let no upload send its last bytes; may be repeated.

        Waits for nothing but a backup that is being made, and for that not long.
        """
        self._watcher.close()
        self._pool.close()
        self._housekeeping.close()

    @property
    def handover(self) -> Handover:
        """What the daemon that takes this one's place goes on with; to be taken when this one ticks no more."""
        told, problem = self._budget.over, self._journal_problem
        return Handover(
            self.pulse, self._wake, self._pool, self._dispatcher.progress, self._admission.gate, told, problem
        )

    def take_over(self) -> Callable[[], None]:
        """Go on where the daemon of the handover is, which does nothing more and is let go; its steps under way go on.

        Returns what waits until those have ended, and with them the use of that daemon's tools.
        """
        self._job_store.announce_to(self._plugins.announcer)
        self._dispatcher.take_over()
        return self._pool.renew(self._tools, self._workers)

    def let_go(self) -> None:
        """Stop watching: another daemon has this one's place."""
        self._watcher.close()

    # ---- idleness ---------------------------------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Tell whether nothing settles, is claimed or moves; or only a person can make it move."""
        if self._pool.busy or self._journal_problem or not (self._reception.is_settled and self._notifier.is_idle):
            return False
        moving = any(turn in MOVING for _, turn in self._reception.claims.waiting)
        return not (moving and not self._stands_still()) and not self._dispatcher.can_move(submits=self._spends)

    def needs_person(self) -> bool:
        """Tell whether the service, or a set, stands still until somebody acts: pays, mends the key, resumes, approves.

        A set over the budget counts: who cannot wait for another day has to raise it.
        """
        return self._stands_still() or self._budget.waits or self._admission.waits

    def _stands_still(self) -> bool:
        return not self._spends or self._dispatcher.unpaid

    # ---- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, *, force: bool) -> None:
        """Write the status page, if it changed and the last time is a moment ago."""
        monotonic = self._clock.monotonic()
        if force or monotonic - self._told_at >= TELL_SECONDS:
            self._told_at = monotonic
            self._status_writer.tell(self._page(self._clock.now() - monotonic))

    def _page(self, offset: float) -> Page:
        if abs(offset - self._offset) > CLOCK_JUMP_SECONDS:
            self._offset = offset
        seen = (self._reception.looks, self._offset)
        if seen != self._seen:
            self._seen, self._waiting = seen, self._waiting_lines()
        ignored = self._reception.view.ignored.values()
        return page_of(self._notices(), self._waiting, self._job_store.jobs.values(), self._job_store.recent, ignored)

    def _waiting_lines(self) -> tuple[Line, ...]:
        lines = [waiting_line(w, self._offset) for w in self._reception.view.waiting]
        lines += [turn_line(ready, turn) for ready, turn in self._reception.claims.waiting]
        return tuple(lines)

    def _headline(self) -> str:
        """Return how the service is, in a line."""
        problems = (self._journal_problem, self._reception.problem, *self._dispatcher.problems())
        codes = [problem.code for problem in problems if problem]
        codes += [FolderGoneError.code] if self._standing.mounts_keeper.away else []
        codes += [RootCopiedError.code] if self._standing.mounts_keeper.copied else []
        codes += ["by request"] if self._commands.paused else []
        waiting = len(self._reception.view.waiting) + len(self._reception.claims.waiting)
        return headline(self._job_store.jobs.values(), waiting=waiting, codes=codes)

    def _notices(self) -> list[str]:
        """Return what people must know of the service as a whole.

        What ends by itself may end while nobody is there to take the notice away: a service that has ended says of when it is.
        """
        pressing = alarms(self._job_store.jobs.values(), self._clock.now(), self._zone)
        owners, passing = pause_notices(self._dispatcher.pauses, self._zone)
        lost = [self._job_store.loss.notice(self._zone)] if self._job_store.loss else []
        notices = [*pressing, *lost, *self._standing.notices(), *owners]
        if self._commands.paused:
            notices.append("Paused by request: nothing is taken or submitted (`rodin-watchd resume` goes on).")
        if self._tools.spool.copies:
            notices.append(COPIES)
        notices += [*self._admission.notices(), *self._dispatcher.notices(), *self._plugins.notices()]
        problems = filter(None, (self._journal_problem, self._reception.problem))
        known = FolderGoneError.code if self._standing.mounts_keeper.away else ""  # told above
        passing += [f"{problem.message} {problem.advice}" for problem in problems if problem.code != known]
        as_of = f"When the service stopped ({local(self._clock.now(), self._zone)}): " if self._ended else ""
        notices += [f"{as_of}{notice}" for notice in passing]
        watching = "" if Mount.INBOX in self._standing.mounts_keeper.away else self._reception.trouble
        return [*notices, *filter(None, (watching, self._housekeeping.trouble, self._status_writer.trouble))]


def _under_way(steps: int) -> str:
    """Say what a stop waits for."""
    if not steps:
        return "the journal to be written out"
    return f"{steps} step{'' if steps == 1 else 's'} under way"
