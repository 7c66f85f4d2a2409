"""What a daemon is made of: its parts, and what it hands to the daemon that takes its place. Built here, before it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Self, TypeAlias

from rodin_watchd.adapters.host import shares_in
from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.adapters.systemd import Pulse
from rodin_watchd.adapters.watcher import Watcher
from rodin_watchd.config import Config
from rodin_watchd.core.approval import Gate
from rodin_watchd.core.pauses import PAUSES, TASK_LIMIT, TaskLimit, remembered_pauses
from rodin_watchd.core.store import Store
from rodin_watchd.core.waits import RateBudget
from rodin_watchd.errors import Problem
from rodin_watchd.service.admission import Admission
from rodin_watchd.service.balance import AccountBalance
from rodin_watchd.service.budget import NOTHING_OVER, Budget, BudgetDay, CallBudget, OverBudget
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.commands import Commands, Outside
from rodin_watchd.service.dispatcher import Dispatcher, Payments, Progress
from rodin_watchd.service.housekeeping import Alarms, OldJobs, Sweeper
from rodin_watchd.service.intake import Intake
from rodin_watchd.service.jobs import JobStore
from rodin_watchd.service.mounts import Standing
from rodin_watchd.service.notifier import Notifier
from rodin_watchd.service.opening import Base
from rodin_watchd.service.pool import MessageQueue, Pool
from rodin_watchd.service.receipts import Choices, Writing
from rodin_watchd.service.reception import Reception
from rodin_watchd.service.steps.tools import Tools
from rodin_watchd.service.web_page import WebPage


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
        """Begin a tick: return whether files woke us, and be ready for the next wake-up."""
        self._event.clear()
        files = self._files.is_set()
        if files:
            self._files.clear()  # before the look: what comes after asks for another one
        return files

    def wait(self, seconds: float) -> bool:
        """Sleep until woken, for so long at most; return whether it was."""
        return self._event.wait(seconds)


_BURST_CALLS = 10
"""So many calls may go at once at least, after a rest."""

SPARE_WORKERS = 4
"""Threads besides those that `api.max_in_flight` uploads may hold: a long upload never holds up a delivery."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What goes from a daemon to the one that takes its place after a reload; a first daemon gets `of_start`.

    Everything that decides over money is in here, in the base, or in the journal: a reload begins nothing again that
    bounds what is paid.
    """

    pulse: Pulse
    wake: Wake
    pool: Pool
    progress: Progress = field(default_factory=Progress)
    gate: Gate | None = None
    over_budget: OverBudget = NOTHING_OVER
    journal_problem: Problem | None = None
    receipts: Writing | None = None

    @classmethod
    def of_start(cls, config: Config, tools: Tools, pulse: Pulse, wake: Wake, messages: MessageQueue) -> Self:
        """Return what a first daemon begins with; `messages` wake it."""
        return cls(pulse, wake, Pool(tools, workers_of(config), messages))


def workers_of(config: Config) -> int:
    """Return how many steps may run at once."""
    on_farm = config.farm.calls if config.plugins.farm_names else 0
    return config.api.max_in_flight + SPARE_WORKERS + config.plugins.workers + on_farm


OpenWatcher: TypeAlias = Callable[[Callable[[], None]], Watcher]
"""Begins to watch the inbox, and calls what it is given at each file event."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What acts in a daemon, each part with a task of its own; `Daemon` says in which order."""

    tools: Tools
    workers: int
    wake: Wake
    pool: Pool
    store: Store
    job_store: JobStore
    standing: Standing
    day: BudgetDay
    budget: Budget
    admission: Admission
    dispatcher: Dispatcher
    notifier: Notifier
    commands: Commands
    watcher: Watcher
    reception: Reception
    sweeper: Sweeper
    alarms: Alarms
    old_jobs: OldJobs
    choices: Choices
    page: WebPage


def parts_of(
    config: Config, tools: Tools, base: Base, open_watcher: OpenWatcher, clock: Clock, handover: Handover
) -> Parts:
    """Build the parts of a daemon on this base, which go on with what another one hands over; nothing acts yet."""
    job_store, store, standing, pool, spool = base.job_store, base.store, base.standing, handover.pool, tools.spool
    budget = Budget(config.budget, job_store, store, base.budget_day, clock.now, handover.over_budget)
    admission = Admission(config, job_store, store, budget, clock, handover.gate)
    progress = handover.progress.of_account(tools.client.account)
    account = AccountBalance(config, progress.account, job_store, store, clock, progress.proving)
    rate = RateBudget(config.api.requests_per_minute, max(_BURST_CALLS, config.api.max_in_flight))
    calls = CallBudget(store, clock.monotonic, rate)
    pauses = remembered_pauses(store.meta(PAUSES), account.name)
    limit = TaskLimit.of_data(store.meta(TASK_LIMIT), account.name)
    money = Payments(budget, calls, account, base.submit_count, pauses, limit)
    notifier = Notifier(job_store, store, tools.plugins, pool, clock)
    choices = Choices(job_store, store, tools, clock, handover.wake, handover.receipts)
    inbox = Inbox(spool.inbox, standing.mounts_keeper.inside.anchor)
    watcher = open_watcher(handover.wake.for_files)
    intake = Intake(
        inbox,
        config.intake,
        tools.plugins.known,
        having_copied=job_store.having_copied,
        look_at_mounts=partial(shares_in, spool.inbox),
    )
    return Parts(
        tools=tools,
        workers=workers_of(config),
        wake=handover.wake,
        pool=pool,
        store=store,
        job_store=job_store,
        standing=standing,
        day=base.budget_day,
        budget=budget,
        admission=admission,
        dispatcher=Dispatcher(config, job_store, pool, money, clock, progress),
        notifier=notifier,
        commands=Commands(
            job_store,
            store,
            admission,
            Outside(notifier.repeat, spool.is_corrected, spool.foreign_in, spool.archive_failed, choices.choose),
            clock.now,
            tools.zone,
        ),
        watcher=watcher,
        reception=Reception(config, job_store, intake, watcher, admission, clock),
        sweeper=Sweeper(store, clock.monotonic),
        alarms=Alarms(job_store, store, tools.zone, clock.now),
        old_jobs=OldJobs(job_store, store, base.copy_old_jobs, config.store.keep_days, clock),
        choices=choices,
        page=base.page,
    )
