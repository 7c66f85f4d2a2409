"""The notifier: has the calls made that plugins are owed, and records what comes of them. The main thread's alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from rodin_watchd.core.names import printable
from rodin_watchd.core.notifications import CHOICE, HOOK_OF, Notice, waiting_id
from rodin_watchd.core.sets import WaitingSet
from rodin_watchd.core.store import DONE, FAILED, Store
from rodin_watchd.core.waits import LONGEST_WAIT_SECONDS, is_due
from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.log_lines import NOBODY, fields, fields_of_plugin
from rodin_watchd.model import HookRun, Job
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.jobs import JobStore
from rodin_watchd.service.plugins import PluginNews, Plugins, Ran
from rodin_watchd.service.pool import CallRan, Pool
from rodin_watchd.v1 import Waiting

log = logging.getLogger("rodin_watchd")

_MOST_AT_ONCE = 64
"""How many owed calls are looked at in one tick."""


class Notifier:
    """Owed calls by the journal, `plugins.workers` at once."""

    def __init__(self, job_store: JobStore, store: Store, plugins: Plugins, pool: Pool, clock: Clock) -> None:
        self._job_store = job_store
        self._store = store
        self._plugins = plugins
        self._pool = pool
        self._clock = clock
        self._names = sorted(plugins.names)
        self._due: list[HookRun] = []
        self._seen: tuple[int, list[str]] = (-1, [])
        self._owed_waiting: set[str] = set()

    # ---- what is owed -----------------------------------------------------------------------------------------------

    def owe_waiting(self, waiting: Iterable[WaitingSet]) -> None:
        """Owe calls for sets that have lacked a file for long, once for each state of their files."""
        if not self._plugins.of("rodin_waiting"):
            return
        now, owed = self._clock.now(), set()
        for found in (found for found in waiting if found.late):
            candidate = found.candidate
            event_id = waiting_id(candidate.folder, candidate.name, found.entries)
            owed.add(event_id)
            if event_id not in self._owed_waiting:
                names = tuple(printable(member.path) for member in candidate.members)
                text = Waiting(printable(candidate.name), printable(candidate.folder), names, found.reason)
                self._store.owe(event_id, "", self._plugins.announcer.of_waiting(text, found.plugins, now), now)
        self._owed_waiting = owed

    def hand_out(self) -> None:
        """Give owed calls whose time has come to the pool, as far as there are places."""
        if not self._names:
            return
        self._look()
        ready = [run for run in self._due if self._is_due(run) and not self._pool.is_calling(run)]
        for run in ready:
            if self._pool.free < 1 or not self._pool.has_place_for(run):
                continue
            job = self._store.job(run.job_id) if run.job_id else None
            self._pool.hand_out_call(run, job, _place(run))

    def _look(self) -> None:
        """Read again what is owed by plugins that are not set aside, if anything changed."""
        pairs = [(name, hook) for hook, names in self._plugins.announcer.plugins.items() for name in names]
        able = [f"{name}:{hook}" for name, hook in pairs if not self._plugins.rests(name, hook)]
        seen = (self._store.changes, able)
        if seen != self._seen:
            self._due = self._store.due_runs(able, _MOST_AT_ONCE)
            self._seen = seen

    def _is_due(self, run: HookRun) -> bool:
        return is_due(run.not_before, self._clock.now(), LONGEST_WAIT_SECONDS)

    def next_due_seconds(self) -> list[float]:
        """Return in how many seconds a call may become due; those that are overdue wait for a place."""
        now = self._clock.now()
        return [run.not_before - now for run in self._due if run.not_before > now]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is owed now. What is to be repeated after a wait does not count: the next start finds it."""
        return not any(run.attempts == 0 for run in self._due)

    # ---- what came of it --------------------------------------------------------------------------------------------

    def take(self, message: Ran | CallRan | PluginNews) -> None:
        """Record what came of a call."""
        if isinstance(message, PluginNews):
            now = self._clock.now()
            if message.kind == "plugin-back" and Notice("plugin-aside", message.plugin) not in self._job_store.notices:
                return  # that is known: the plugin worked before its news came
            code = message.problem.code if message.problem else ""
            about = fields_of_plugin(message.plugin, message.hook, problem=message.problem)
            self._job_store.report(message.kind, message.message, now, about, subject=message.plugin, code=code)
            return
        run = message.run
        # Recorded after the call, so a crash in between repeats it: people get a notification twice rather than never.
        self._store.note_run(run, _words(run), self._clock.now())
        level = logging.INFO if run.outcome == DONE else logging.WARNING
        job = self._store.job(run.job_id) if run.job_id else None
        call = fields_of_plugin(
            run.plugin, run.hook, attempt=run.attempts, seconds=run.seconds, problem=message.problem
        )
        extra = {"action": "plugin", **call, **(fields(job) if job else NOBODY)}
        log.log(level, "plugin %s", _words(run).splitlines()[0], extra=extra)
        if isinstance(message, CallRan):
            self._pool.release_call(run)

    # ---- once more --------------------------------------------------------------------------------------------------

    def repeat(self, job: Job, plugin: str) -> str:
        """Owe a job's last announcement once more, to one plugin or to all; and the last of its choice. Raises CommandRefusedError."""
        hooks = (HOOK_OF.get(job.state, "rodin_delivered" if job.place else ""), CHOICE)
        wanted = [(hook, name) for hook in hooks for name in self._plugins.of(hook) if plugin in ("", name)]
        if not wanted:
            raise CommandRefusedError(
                "No plugin in use got an event of this job." if not plugin else f"{plugin} got no event."
            )
        found = {(run.hook, run.plugin) for run in self._store.runs_of([job.id])}
        again = {hook: [name for other, name in wanted if other == hook and (hook, name) in found] for hook in hooks}
        if not any(again.values()):
            raise CommandRefusedError(
                "There is nothing to repeat: no such plugin got an event of this job.", advice=" "
            )
        for hook, names in again.items():
            self._store.repeat_runs(job.id, hook, names, self._clock.now())
        return " ".join(f"{hook} is called again: {', '.join(names)}." for hook, names in again.items() if names)


def _place(run: HookRun) -> str:
    """Return where the folder is that a hook is given, "" for none: the place at which the event left it."""
    return str(run.arguments["job"]["place"]) if run.hook in ("rodin_delivered", "rodin_failed", CHOICE) else ""


def _words(run: HookRun) -> str:
    """Say in a line what came of a call; what the plugin said follows."""
    if run.outcome == DONE:
        head = f"{run.plugin}: {run.hook} done in {run.seconds:.1f} s"
    else:
        again = "is given up" if run.outcome == FAILED and run.id else "failed"
        head = f"{run.plugin}: {run.hook} {again} (attempt {run.attempts}): {run.told}"
    return f"{head}\n{run.output}".rstrip()
