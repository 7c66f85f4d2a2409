"""The daemon: one loop in one thread that decides and commits; workers do the rest.

One tick: take what the workers did, decide, commit jobs and events in one transaction; take people's commands; look at
the inbox when something woke us or it is time, commit claims; hand due steps to the pool; show how the service is. Between ticks the loop
sleeps until a file event, a worker's outcome or the next due time. Only this thread writes the journal.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Mapping

from rodin_watchd.core.claims import MOVING
from rodin_watchd.core.machine import hold_unsent
from rodin_watchd.core.notifications import Notice
from rodin_watchd.core.store import TOO_OLD
from rodin_watchd.errors import AlreadyRunningError, DiskError, JournalError, JournalGoneError, Problem, StoreAwayError
from rodin_watchd.model import Job, State, Transition
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.parts import Handover, Parts
from rodin_watchd.service.status import Display

log = logging.getLogger("rodin_watchd")

LONGEST_SLEEP_SECONDS = 1.0
"""How late a command of a person may be noticed."""


class Daemon:
    """The service's main loop. All methods but `stop` and `wake` are for the main thread.

    With the handover of a daemon on the same base it has the place of that one as soon as `take_over` is called; until
    then it changes nothing.
    """

    def __init__(self, parts: Parts, display: Display, clock: Clock, handover: Handover) -> None:
        self.parts = parts
        self.pulse = handover.pulse
        self._display = display
        self._clock = clock
        self._problem = handover.journal_problem  # why nothing at all moves
        self._stopping = False

    @property
    def failed(self) -> int:
        """How many jobs failed since the start, or are held now."""
        return self.parts.dispatcher.failed + sum(job.state is State.HELD for job in self.parts.job_store.jobs.values())

    @property
    def watching(self) -> str:
        """How changes are noticed, for people."""
        return self.parts.watcher.description

    def stop(self) -> None:
        """Ask the loop to end; any thread, or a signal handler."""
        self._stopping = True
        self.parts.wake()

    def wake(self) -> None:
        """Have the loop go round once more; any thread."""
        self.parts.wake()

    def run(self, *, until_idle: bool = False, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Work until `stop` is called, until something interrupts, or until nothing moves any more."""
        while not (self._stopping or interrupted()):
            self.tick()
            if until_idle and self.is_idle():
                break
            self.sleep()

    def tick(self) -> None:
        """Do all that is due now, and return. While the journal's disk is full nothing moves, and nothing is lost."""
        if self.parts.wake.take():
            self.parts.reception.wake(wholly=False)
        try:
            self._act()
            if self._problem is not None:  # a tick that had nothing to write proves nothing
                self.parts.job_store.try_writing()
        except DiskError as error:
            self._stand_still(error.problem)
        except (AlreadyRunningError, JournalError):  # this daemon ends, and can store nothing
            self.parts.dispatcher.log_answers()
            raise
        else:
            self._go_on()
            self._end_notices()
        self.parts.sweeper.sweep()
        self.parts.page.keep()
        self._display.show(self._problem, stops=self._stopping)
        self.pulse.beat(self._display.headline, looked=self.parts.reception.looks > 0)

    def _stand_still(self, problem: Problem) -> None:
        """Say once that nothing moves, and why; another cause is reported again."""
        if self._problem is None or self._problem.code != problem.code:
            self.parts.job_store.report(
                "paused", problem.message, self._clock.now(), subject="everything", code=problem.code
            )
        self._problem = problem

    def _go_on(self) -> None:
        """Report that what kept everything still is over."""
        if over := self._problem:
            self.parts.job_store.report(
                "resumed", f"{over.message} This has ended.", self._clock.now(), subject="everything", code=over.code
            )
        self._problem = None

    def _end_notices(self) -> None:
        """End what people were given notice of and is not so any more, also where a reload or a start has ended its cause."""
        parts = self.parts
        if not parts.job_store.notices:
            return
        paused = {
            "intake": parts.reception.problem,
            "backup": parts.standing.housekeeping.trouble,
            "archive-file": parts.old_jobs.trouble,
            "receipts": parts.choices.trouble,
            "budget": parts.budget.over.reported,
        }
        causes = {Notice("paused", subject) for subject, cause in paused.items() if cause}
        causes |= {Notice("plugin-aside", plugin) for plugin in parts.tools.plugins.aside}
        causes |= {Notice("crowd", "approval")} if parts.admission.waits else set()
        parts.job_store.end_notices(causes | parts.dispatcher.causes, self._clock.now())

    def _act(self) -> None:
        parts, mounts = self.parts, self.parts.standing.mounts_keeper
        was_copied = mounts.copied
        changed = parts.standing.check()
        self._hold_unsent()  # before anything is handed out: a copied root must send nothing
        if changed:
            parts.tools.spool.try_renames()
        if changed or was_copied != mounts.copied:
            parts.reception.wake()
        parts.day.today()  # a clock that is set now is seen now
        parts.dispatcher.settle_open_submits()
        before = (parts.commands.paused, parts.commands.approvals)
        parts.commands.take(parts.pool.busy)  # before an upload is allowed to end: it may be the one to be canceled
        parts.dispatcher.look_elsewhere()
        if parts.dispatcher.take_messages(self.why_drop, parts.notifier.take):
            parts.wake()  # the rest in the next tick, at once
        # Again: some commands wait for a step to end, and its outcome may just have come.
        if parts.commands.awaited:
            parts.commands.take(parts.pool.busy)
        if before != (parts.commands.paused, parts.commands.approvals):
            parts.reception.wake()
        parts.alarms.announce()
        parts.standing.housekeeping.keep()
        parts.old_jobs.keep()
        parts.choices.keep()
        parts.reception.take_in(paused=not self._spends, stopped=parts.dispatcher.is_stopped)
        mounts.keep_inside()
        parts.dispatcher.hand_out(submits=self._spends, away=frozenset(mounts.away))
        parts.notifier.owe_waiting(parts.reception.view.waiting)
        parts.notifier.hand_out()

    @property
    def _spends(self) -> bool:
        """Whether sets may be taken and submitted, as far as people and the root's mark have a say in it."""
        return not (self.parts.commands.paused or self.parts.standing.mounts_keeper.copied)

    def _hold_unsent(self) -> None:
        """Hold what was about to be sent while the root is taken for a copy: it may have been sent from elsewhere.

        So is what was about to be sent when a person accepted the root, once.
        """
        parts, mounts = self.parts, self.parts.standing.mounts_keeper
        if not (reason := mounts.copied):
            return
        now = self._clock.now()
        for job in list(parts.job_store.jobs.values()):
            if job.id not in parts.pool.busy:
                parts.job_store.commit(self._unsent(job, reason, now), now)
        if not any(self._unsent(job, reason, now) for job in parts.job_store.jobs.values()):
            if mounts.is_accepted:
                parts.job_store.refuse_open_commands(TOO_OLD)
            mounts.finish_acceptance()

    def _unsent(self, job: Job, reason: str, now: float) -> tuple[Transition, ...]:
        return hold_unsent(job, reason, now, self.parts.budget.price, self.parts.tools.client.account)

    def why_drop(self, job_ids: Collection[str]) -> Mapping[str, str]:
        """Return for each of these jobs whose upload must not send its last bytes, why not."""
        why, awaited = self._why_drop_all(), "A person's command waits for this job."
        commands = self.parts.commands
        return {job_id: why or awaited for job_id in job_ids if why or job_id in commands.awaited}

    def _why_drop_all(self) -> str:
        try:
            self.parts.standing.confirm()  # the last moment before money is spent
            self.parts.commands.look()
        except DiskError as error:  # it is not known whether the folders are still ours
            return error.message
        if self._stopping:
            return "The service is stopping."
        return "The service was paused." if self.parts.commands.paused else ""

    def sleep(self) -> None:
        """Wait for a wake-up or the next due time."""
        due = (
            *self.parts.dispatcher.next_due_seconds(),
            *self.parts.reception.next_due_seconds(),
            *self.parts.notifier.next_due_seconds(),
        )
        longest = min(LONGEST_SLEEP_SECONDS, self.pulse.longest_sleep_seconds)
        self.parts.wake.wait(min((longest, *due)) if self._problem is None else longest)

    def drain(self, seconds: float, answer_seconds: float = 0.0) -> bool:
        """Let steps that are under way end, for so long, and start nothing; return whether all ended.

        Uploads are dropped before their last bytes; one that has sent them is given `answer_seconds`, if that is longer,
        because its answer cannot be asked for again. What ends in time is committed. A journal that is missing and cannot be
        written out yet, and a database that is away, are given the same time. Ends with `close`.
        """
        self._stopping = True
        self.pulse.stop()
        self.parts.tools.plugins.end_waits()
        began = self._clock.monotonic()
        while self.parts.pool.busy or self._is_store_gone:
            limit_seconds = max(seconds, answer_seconds) if self.parts.dispatcher.awaits_answer() else seconds
            if self._clock.monotonic() - began >= limit_seconds:
                break
            self.pulse.wait(f"stopping: waits for {_under_way(len(self.parts.pool.busy))}")
            self.parts.wake.wait(0.2)
            self.parts.wake.take()
            self._take_last()
            self._display.show(self._problem, stops=True)
        self._take_last()
        self.close()
        self._display.show(self._problem, stops=True, ended=True)
        if ended := not self.parts.pool.busy:
            self.parts.standing.free()
        return ended

    @property
    def _is_store_gone(self) -> bool:
        return self._problem is not None and self._problem.code in (JournalGoneError.code, StoreAwayError.code)

    def _take_last(self) -> None:
        """Commit what the steps did; what cannot be committed is redone at the next start. Looks whether a cause is over."""
        try:
            self.parts.standing.check()
            self.parts.dispatcher.take_messages(self.why_drop, self.parts.notifier.take, sys.maxsize)
            self.parts.job_store.try_writing()
        except DiskError as error:
            self._stand_still(error.problem)
        else:
            self._go_on()

    def close(self) -> None:
        """Stop watching, start nothing more, let no upload send its last bytes; may be repeated.

        Waits for nothing but a backup that is being made, and for that not long.
        """
        self.parts.watcher.close()
        self.parts.pool.close()
        self.parts.standing.housekeeping.close()
        self.parts.old_jobs.close()
        self.parts.choices.close()

    @property
    def handover(self) -> Handover:
        """What the daemon that takes this one's place goes on with; to be taken when this one ticks no more."""
        parts = self.parts
        return Handover(
            self.pulse,
            self.parts.wake,
            parts.pool,
            parts.dispatcher.progress,
            parts.admission.gate,
            parts.budget.over,
            self._problem,
            parts.choices.writing,
        )

    def take_over(self) -> Callable[[], None]:
        """Go on where the daemon of the handover is, which does nothing more and is let go; its steps under way go on.

        Returns what waits until those have ended, and with them the use of that daemon's tools.
        """
        self.parts.job_store.announce_to(self.parts.tools.plugins.announcer)
        return self.parts.pool.renew(self.parts.tools, self.parts.workers)

    def let_go(self) -> None:
        """Stop watching: another daemon has this one's place."""
        self.parts.watcher.close()

    # ---- idleness ---------------------------------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Return whether nothing settles, is claimed or moves; or only a person can make it move."""
        parts = self.parts
        is_still = parts.reception.is_settled and parts.notifier.is_idle and parts.choices.is_idle
        if parts.pool.busy or self._problem or not is_still:
            return False
        moving = any(turn in MOVING for _, turn in parts.reception.claims.waiting)
        return not (moving and not self._stands_still()) and not parts.dispatcher.can_move(submits=self._spends)

    def needs_person(self) -> bool:
        """Return whether the service, or a set, stands still until somebody acts: pays, corrects the key, resumes, approves.

        A set over the budget counts: who cannot wait for another day has to raise it.
        """
        return self._stands_still() or self.parts.budget.waits or self.parts.admission.waits

    def _stands_still(self) -> bool:
        return not self._spends or self.parts.dispatcher.unpaid


def _under_way(steps: int) -> str:
    """Say what a stop waits for."""
    if not steps:
        return "the journal to be written"
    return f"{steps} running step{'' if steps == 1 else 's'}"
