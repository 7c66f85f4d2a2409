"""The daemon: one loop in one thread that decides and commits; workers do the rest.

One tick: take what the workers did, decide, commit job and event in one transaction; take people's commands; look at
the inbox when something woke us or it is time, commit claims; hand due steps to the pool; tell. Between ticks the loop
sleeps until a file event, a worker's outcome or the next due time. Only this thread writes the journal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from rodin_watchd.adapters.journal import Command
from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.adapters.watcher import Watcher
from rodin_watchd.config import Config
from rodin_watchd.core.machine import RESTING
from rodin_watchd.core.status import Page
from rodin_watchd.errors import CommandRefusedError, Fault
from rodin_watchd.service.book import Book
from rodin_watchd.service.commands import JOB_VERBS, PAUSE, RESUME
from rodin_watchd.service.desk import Clock, Desk
from rodin_watchd.service.intake import Intake
from rodin_watchd.service.pool import Pool
from rodin_watchd.service.reception import Reception
from rodin_watchd.service.steps import Tools
from rodin_watchd.service.telling import Teller, page_of, pause_notices, turn_line, waiting_line

log = logging.getLogger("rodin_watchd")

LONGEST_SLEEP_SECONDS = 1.0
"""How late a command of a person may be noticed."""

TELL_SECONDS = 1.0
"""STATUS.txt is rewritten at most this often."""

SPARE_WORKERS = 4
"""Threads beside those that `api.max_in_flight` uploads may hold: a long upload never holds up a delivery."""


class Wake:
    """Ends the loop's sleep; `for_files` also asks for a look at the inbox. Any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._files = False

    def __call__(self) -> None:
        """Wake the loop."""
        self._event.set()

    def for_files(self) -> None:
        """Wake the loop and have the inbox looked at."""
        self._files = True
        self._event.set()

    def take(self) -> bool:
        """Begin a tick: tell whether files woke us, and be ready for the next wake-up."""
        self._event.clear()
        files, self._files = self._files, False
        return files

    def wait(self, seconds: float) -> None:
        """Sleep until woken, for so long at most."""
        self._event.wait(seconds)


class Daemon:
    """The service's main loop. All methods but `stop` are for the main thread."""

    def __init__(
        self,
        config: Config,
        tools: Tools,
        book: Book,
        open_watcher: Callable[[Callable[[], None]], Watcher],
        clock: Clock,
        quiet_seconds: float,
    ) -> None:
        self._wake = Wake()
        self._clock = clock
        self._book = book
        self._zone = tools.zone
        self._pool = Pool(tools, config.api.max_in_flight + SPARE_WORKERS, self._wake)
        self._desk = Desk(config, book, self._pool, clock)
        self._watcher = open_watcher(self._wake.for_files)
        intake = Intake(Inbox(tools.spool.inbox), config.intake, quiet_seconds)
        self._reception = Reception(config, book, intake, self._watcher, clock)
        self._teller = Teller(tools.spool, book.journal, tools.zone)
        self._paused = bool(book.journal.meta(PAUSE))
        self._stopping = False
        self._outside = -1
        self._told_at = float("-inf")

    @property
    def failed(self) -> int:
        """How many jobs failed or were held since the start."""
        return self._desk.failed

    @property
    def watching(self) -> str:
        """How changes are noticed, for people."""
        return self._watcher.description

    def stop(self) -> None:
        """Ask the loop to end; any thread, or a signal handler."""
        self._stopping = True
        self._wake()

    def run(self, *, until_idle: bool = False) -> None:
        """Work until `stop` is called, or until nothing moves any more."""
        self._desk.settle_open_submits()
        while not self._stopping:
            self.tick()
            if until_idle and self.is_idle():
                break
            self.sleep()

    def tick(self) -> None:
        """Do all that is due now, and return."""
        self._reception.woken |= self._wake.take()
        self._desk.take_messages(stopping=self._stopping)
        self._take_commands()
        self._reception.take_in(paused=self._paused)
        self._desk.hand_out(submits=not self._paused)
        self._tell(force=False)

    def sleep(self) -> None:
        """Wait for a wake-up or the next due time."""
        due = (*self._desk.next_due_seconds(), *self._reception.next_due_seconds())
        self._wake.wait(min((LONGEST_SLEEP_SECONDS, *due)))

    def drain(self, seconds: float) -> bool:
        """Let steps that are under way end, for so long, and start nothing; return whether all ended.

        Uploads are dropped before their last bytes. What ends in time is committed.
        """
        self._stopping = True
        self._watcher.close()
        deadline = self._clock.monotonic() + seconds
        while self._pool.busy and self._clock.monotonic() < deadline:
            self._wake.wait(0.2)
            self._wake.take()
            self._desk.take_messages(stopping=True)
        self._pool.close()
        self._tell(force=True)
        return not self._pool.busy

    # ---- idleness ---------------------------------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Tell whether nothing settles, is claimed or moves; or only a person can make it move."""
        if self._pool.busy:
            return False
        moving = any(job.state not in RESTING for job in self._book.jobs.values())
        return self.needs_person() or (not moving and self._reception.is_quiet)

    def needs_person(self) -> bool:
        """Tell whether the service stands still until somebody pays, mends the key, or resumes it."""
        return self._paused or any(p.problem.fault is Fault.ACCOUNT for p in self._desk.pauses.values())

    # ---- commands ---------------------------------------------------------------------------------------------------

    def _take_commands(self) -> None:
        """Carry out what people left in the journal; a job whose step is under way is left for a later tick."""
        outside = self._book.journal.changed_outside()
        if outside == self._outside:
            return
        left = [command for command in self._book.journal.open_commands() if not self._carry_out(command)]
        self._outside = -1 if left else outside

    def _carry_out(self, command: Command) -> bool:
        """Carry out a command and answer it; False when it has to wait for its job's step."""
        if command.arguments.get("job") in self._pool.busy:
            return False
        try:
            told = self._obey(command)
            self._book.journal.answer_command(command.id, ok=True, message=told)
        except CommandRefusedError as error:
            told = f"{error.message} {error.advice_given}"
            self._book.journal.answer_command(command.id, ok=False, message=told)
        log.info("command %s: %s", command.verb, told, extra={"action": "command"})
        return True

    def _obey(self, command: Command) -> str:
        if command.verb in (PAUSE, RESUME):
            self._paused = command.verb == PAUSE
            self._book.journal.set_meta(PAUSE, self._paused)
            self._reception.woken = True
            return "Paused: nothing is taken or submitted." if self._paused else "Resumed."
        if command.verb not in JOB_VERBS:
            raise CommandRefusedError(f"This version does not know the command “{command.verb}”.")
        now = self._clock.now()
        job = self._book.journal.find(str(command.arguments.get("job", "")))
        transition = JOB_VERBS[command.verb](self._book.jobs.get(job.id, job), command.arguments, now)
        self._book.commit([replace(transition, action=command.verb)], now)
        return f"Job {job.id} is {transition.job.state} now."

    # ---- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, *, force: bool) -> None:
        """Write the status page, if it changed and the last time is a moment ago."""
        monotonic = self._clock.monotonic()
        if force or monotonic - self._told_at >= TELL_SECONDS:
            self._told_at = monotonic
            self._teller.tell(self._page(self._clock.now() - monotonic))

    def _page(self, offset: float) -> Page:
        notices = pause_notices(self._desk.pauses, self._zone)
        if self._paused:
            notices.append("Paused by request: nothing is taken or submitted (`rodin-watchd resume` goes on).")
        if self._reception.problem:
            notices.append(self._reception.problem.message)
        if self._reception.trouble:
            notices.append(self._reception.trouble)
        waiting = [waiting_line(w, offset) for w in self._reception.view.waiting]
        waiting += [turn_line(ready, reason) for ready, reason in self._reception.claims.waiting]
        ignored = self._reception.view.ignored.values()
        return page_of(notices, waiting, self._book.jobs.values(), self._book.recent, ignored)
