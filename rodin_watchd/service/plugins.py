"""Plugins at work: calls that are made once, recorded, given up and set aside. Any thread.

What a call came to goes to the main thread, which alone writes the journal, before the step that asked for it ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from rodin_watchd.adapters.plugin_host import (
    ChildReply,
    Loaded,
    PluginCall,
    PluginHost,
    ProcessLimits,
    Ready,
    clean_environ,
)
from rodin_watchd.adapters.plugin_host.finding import FoundPlugin, Origin, find
from rodin_watchd.config import Config
from rodin_watchd.config import PluginsSection as Settings
from rodin_watchd.core.notifications import MOST_TRIES, OWN, PluginAnnouncer, plugin_news
from rodin_watchd.core.pauses import Breaker
from rodin_watchd.core.store import DONE, DUE, FAILED
from rodin_watchd.core.waits import PLUGIN_CALL
from rodin_watchd.errors import (
    FarmFilesError,
    FarmWaitEndedError,
    PluginAsideError,
    PluginError,
    PluginLoadError,
    PluginSettingsError,
    Problem,
)
from rodin_watchd.log_lines import fields_of_plugin
from rodin_watchd.model import HookRun, Job, Step
from rodin_watchd.service.clock import Clock
from rodin_watchd.settings import journal_path, scratch_path

log = logging.getLogger("rodin_watchd")


@dataclass(frozen=True, slots=True)
class Ran:
    """A call for a job's step came to its end: to be recorded."""

    run: HookRun
    problem: Problem | None = None  # what went wrong


@dataclass(frozen=True, slots=True)
class PluginNews:
    """Something about a plugin that people should know."""

    kind: str
    plugin: str
    hook: str
    message: str
    problem: Problem | None = None  # what went wrong


Say: TypeAlias = Callable[[Ran | PluginNews], None]


_BEFORE: Final = ("rodin_accept", "rodin_options")
"""The hooks that are called while a set is staged."""


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """The folder that a call of a job's step is about."""

    source: Path  # is not changed
    copy: Path  # where the plugin's own copy goes: not there yet
    lay_out: Callable[[], None]  # makes that copy on this machine. Raises DiskError
    returns: bool = False  # what the plugin makes of the copy is wanted
    watch: Callable[[], None] = _nothing  # called now and then meanwhile; raises to end the call


class Farmed(Protocol):
    """Makes calls on other machines (`service.farm`)."""

    most: int  # calls at once

    def has(self, plugin: str) -> bool:
        """Return whether a plugin is called there."""

    def call(
        self, event_id: str, job_id: str, call: PluginCall, source: Path | None, target: Path | None
    ) -> ChildReply:
        """Have a call carried out, about a copy of `source`; what the plugin makes of that is moved to `target`, if it is wanted.

        Raises PluginError as the host does, FarmWaitEndedError, FarmFilesError.
        """

    def drop(self, event_id: str, plugin: str) -> None:
        """Forget a call: the next one of this event is made again. Raises FarmWaitEndedError."""

    def forget(self, job_id: str) -> None:
        """Forget the calls of a job's steps: it has ended."""

    def notices(self, zone: tzinfo) -> list[str]:
        """Return which calls nobody makes, why, and what to do."""

    def end_waits(self) -> None:
        """Let nobody wait any more. May be repeated."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where calls are made."""

    here: PluginHost
    farm: Farmed | None = None


class Plugins:
    """The plugins that are in use, in the order in which they are called. `say` takes what came of calls, in any thread."""

    def __init__(
        self,
        settings: Settings,
        hosts: Hosts,
        hooks: Mapping[str, Sequence[str]],
        known: frozenset[str],
        clock: Clock,
        say: Say,
    ) -> None:
        self.settings = settings
        self._host = hosts.here
        self._farm = hosts.farm
        self.announcer = PluginAnnouncer({hook: self._ordered(names) for hook, names in hooks.items()})
        self.known = known  # those that sets may have settings for, in use or not
        self.names = frozenset(name for names in hooks.values() for name in names)
        self._clock = clock
        self._say = say
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str], Any] = {}
        self._breakers: dict[tuple[str, str], Breaker] = {}  # by plugin and hook

    def _ordered(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(names, key=lambda name: (self.settings.table(name).order, name)))

    def of(self, hook: str) -> Sequence[str]:
        """Return the plugins that have a hook, in the order in which they are called."""
        return self.announcer.plugins.get(hook, ())

    def remember(self, runs: Sequence[HookRun]) -> None:
        """Take in what was recorded before a restart."""
        self._answers |= {(run.event_id, run.plugin): run.value for run in runs}

    def forget(self, job_id: str) -> None:
        """Forget a job's answers: it has ended."""
        with self._lock:
            for key in [key for key in self._answers if key[0].startswith(f"{job_id}.")]:
                del self._answers[key]
        if self._farm:
            self._farm.forget(job_id)

    def close(self) -> None:
        """End all calls and processes; what was not recorded is repeated after the next start."""
        self._host.close()

    # ---- calls of a job's steps -------------------------------------------------------------------------------------

    def check(self, plugin: str, table: Mapping[str, Any]) -> None:
        """Check what a set says to a plugin. Raises PluginError."""
        self._host.check(plugin, self.settings.table(plugin).settings, table, self.settings.timeout_of(plugin))

    def is_recorded(self, job: Job, hook: str, plugin: str) -> bool:
        """Return whether the call was made before, and its answer is known."""
        return (event_of(job, hook), plugin) in self._answers

    def drop(self, job: Job, hook: str, plugin: str) -> None:
        """Forget an answer whose effect is not there any more: the call is to be made again."""
        with self._lock:
            known = self._answers.pop((event_of(job, hook), plugin), None) is not None
        if known and self._farm and self._farm.has(plugin):
            self._farm.drop(event_of(job, hook), plugin)

    def ask(
        self,
        job: Job,
        hook: str,
        plugin: str,
        arguments: Mapping[str, Any],
        folder: WorkFolder,
        finish: Callable[[Any], Any] = lambda value: value,
    ) -> Any:  # noqa: ANN401 - JSON out
        """Make a call about a folder, or return what was recorded of it. `finish` makes its effect durable, and the answer to record.

        Raises PluginError; PluginAsideError while the plugin is set aside; DiskError, FarmFilesError, FarmWaitEndedError.
        """
        event_id = event_of(job, hook)
        with self._lock:
            if (event_id, plugin) in self._answers:
                return self._answers[event_id, plugin]
        run = HookRun(0, event_id, job.id, hook, plugin, FAILED, attempts=job.attempts + 1)
        _log_begin(run)
        try:
            value, ended = self._made(run, job, arguments, folder, finish)
        except PluginError as error:
            self._say(Ran(_failed(run, error), error.problem))
            raise
        with self._lock:
            self._answers[event_id, plugin] = value
        self._say(Ran(ended))
        return value

    def _made(
        self,
        run: HookRun,
        job: Job,
        arguments: Mapping[str, Any],
        folder: WorkFolder,
        finish: Callable[[Any], Any],
    ) -> tuple[Any, HookRun]:
        with self._counted_call(run.plugin, run.hook):
            reply = self._carried_out(run, job, self._call(run, arguments, job, folder.watch), folder)
            try:
                value = finish(reply.value)
            except PluginError as error:
                error.has_run(reply.output, reply.seconds)
                raise
        return value, replace(run, outcome=DONE, value=value, output=reply.output, seconds=reply.seconds)

    def _carried_out(self, run: HookRun, job: Job, call: PluginCall, folder: WorkFolder) -> ChildReply:
        if self._farm and self._farm.has(run.plugin):
            return self._farm.call(run.event_id, job.id, call, folder.source, folder.copy if folder.returns else None)
        folder.lay_out()
        return self._host.call(replace(call, arguments={**call.arguments, "directory": str(folder.copy)}))

    def _call(
        self, run: HookRun, arguments: Mapping[str, Any], job: Job | None, watch: Callable[[], None] = lambda: None
    ) -> PluginCall:
        own = job.plugins.get(run.plugin, {}) if job else run.arguments.get(OWN, {})
        table, seconds = self.settings.table(run.plugin).settings, self.settings.timeout_of(run.plugin)
        return PluginCall(run.plugin, run.hook, arguments, table, seconds, own, watch)

    @contextlib.contextmanager
    def _counted_call(self, plugin: str, hook: str) -> Iterator[None]:
        """Count what comes of a call; refuse it while the plugin is set aside from this hook."""
        if self.rests(plugin, hook):
            raise PluginAsideError(
                f"The plugin {plugin} kept failing in {hook} and is not called for a while.",
                retry_after_seconds=self._rest_left(plugin, hook),
            )
        try:
            yield
        except PluginError as error:
            self._count(plugin, hook, error)
            raise
        with self._lock:
            before = self._breakers.pop((plugin, hook), Breaker())
        if before.failures >= self.settings.failures_before_rest:
            self._say(PluginNews("plugin-back", plugin, hook, plugin_news(plugin, f"works again in {hook}.")))

    def _count(self, plugin: str, hook: str, error: PluginError) -> None:
        most, rest = self.settings.failures_before_rest, self.settings.rest_seconds
        with self._lock:
            before = self._breakers.get((plugin, hook), Breaker())
            after = before.after_failure(self._clock.monotonic(), most, rest)
            self._breakers[plugin, hook] = after
        if after.failures == most:
            message = f"failed {most} times in a row in {hook} and is not called for a while; it is tried again from time to time."
            words = plugin_news(plugin, f"{message} The last time: {error.message}")
            self._say(PluginNews("plugin-aside", plugin, hook, words, error.problem))

    def rests(self, plugin: str, hook: str) -> bool:
        """Return whether a plugin is set aside from a hook now."""
        with self._lock:
            return self._breakers.get((plugin, hook), Breaker()).is_open(self._clock.monotonic())

    @property
    def aside(self) -> frozenset[str]:
        """Which plugins kept failing in a hook and have not worked there since."""
        most = self.settings.failures_before_rest
        with self._lock:
            return frozenset(plugin for (plugin, _), breaker in self._breakers.items() if breaker.failures >= most)

    def is_on_farm(self, plugin: str) -> bool:
        """Return whether a plugin's calls are made on other machines."""
        return self._farm is not None and self._farm.has(plugin)

    @property
    def slow_steps(self) -> frozenset[Step]:
        """The steps that may wait long for a plugin: only so many are begun at once."""
        before = any(self.is_on_farm(plugin) for hook in _BEFORE for plugin in self.of(hook))
        return frozenset({Step.PROCESS, Step.STAGE} if before else {Step.PROCESS})

    @property
    def step_places(self) -> int:
        """How many of those steps may be under way at once."""
        hooks = ("rodin_process", *_BEFORE)
        waits = any(self.is_on_farm(plugin) for hook in hooks for plugin in self.of(hook))
        return self.settings.workers + (self._farm.most if self._farm and waits else 0)

    def call_places(self, plugin: str) -> int:
        """How many owed calls may be under way at once, where this plugin is called."""
        return self._farm.most if self._farm and self._farm.has(plugin) else self.settings.workers

    def end_waits(self) -> None:
        """Let nobody wait for other machines any more: the service stops. May be repeated."""
        if self._farm:
            self._farm.end_waits()

    def farm_notices(self, zone: tzinfo) -> list[str]:
        """Return which calls no worker makes, why, and what to do, for people."""
        return self._farm.notices(zone) if self._farm else []

    def notices(self) -> list[str]:
        """Return which plugins are set aside, for people."""
        pairs = sorted((name, hook) for hook, names in self.announcer.plugins.items() for name in names)
        return [
            plugin_news(name, f"keeps failing in {hook} and is not called for a while.")
            for name, hook in pairs
            if self.rests(name, hook)
        ]

    def _rest_left(self, plugin: str, hook: str) -> float:
        return max(self._breakers[plugin, hook].until - self._clock.monotonic(), 1.0)

    # ---- calls that are owed ----------------------------------------------------------------------------------------

    def make_call(self, run: HookRun, job: Job | None, directory: Path | None) -> Ran:
        """Make a call that is owed, and return what came of it; never raises."""
        now, tried = self._clock.now(), replace(run, attempts=run.attempts + 1)
        event = {**run.arguments["event"], "id": run.event_id, "attempt": tried.attempts}
        given = {name: value for name, value in run.arguments.items() if name != OWN}
        call = self._call(run, {**given, "event": event}, job)
        _log_begin(tried)
        try:
            with self._counted_call(run.plugin, run.hook):
                reply = self._announced(run, call, directory)
        except (FarmFilesError, FarmWaitEndedError) as error:
            return Ran(replace(run, not_before=now + PLUGIN_CALL.seconds(1, self._clock.chance())), error.problem)
        except PluginAsideError as error:
            return Ran(replace(run, not_before=now + (error.retry_after_seconds or 0.0)), error.problem)
        except PluginError as error:
            outcome = DUE if tried.attempts < MOST_TRIES else FAILED
            wait = PLUGIN_CALL.seconds(tried.attempts, self._clock.chance())
            return Ran(replace(_failed(tried, error), outcome=outcome, not_before=now + wait), error.problem)
        return Ran(replace(tried, outcome=DONE, told="", output=reply.output, seconds=reply.seconds))

    def _announced(self, run: HookRun, call: PluginCall, directory: Path | None) -> ChildReply:
        """Have an announcement made; by the configuration's table alone where the set's own settings are what is wrong."""
        try:
            return self._told(run, call, directory)
        except PluginSettingsError:
            if not call.own:
                raise
            return self._told(run, replace(call, own={}), directory)

    def _told(self, run: HookRun, call: PluginCall, directory: Path | None) -> ChildReply:
        if self._farm and self._farm.has(call.plugin):
            reply = self._farm.call(run.event_id, "", call, directory, None)
            self._farm.drop(run.event_id, call.plugin)  # `rerun` has it made once more, with the same event id
            return reply
        given = {"directory": str(directory)} if directory else {}
        return self._host.call(replace(call, arguments={**call.arguments, **given}))


def event_of(job: Job, hook: str) -> str:
    """Name a job's call of a hook: the same for each repetition, another one when the job is taken up again."""
    return f"{job.id}.{job.retries}.{hook}"


def _failed(run: HookRun, error: PluginError) -> HookRun:
    """Return what is to be recorded of a call that failed."""
    return replace(run, told=f"{error.message}\n{error.trace}".strip(), output=error.output, seconds=error.seconds)


def _log_begin(run: HookRun) -> None:
    about = fields_of_plugin(run.plugin, run.hook, attempt=run.attempts)
    message = "plugin %s: %s begins (attempt %d)"
    log.debug(message, run.plugin, run.hook, run.attempts, extra={"action": "plugin", **about})


# ---- Which plugins are there and which are in use: found, chosen by the configuration, loaded. Nothing of theirs runs here ----


START_SECONDS = 60.0
"""How long a plugin may take to load: large libraries come from a cold disk."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The plugins: all that were found, and those that were loaded and are in use."""

    found: Mapping[str, FoundPlugin]
    loaded: Mapping[str, Loaded]
    left_out: Mapping[str, Problem]  # optional ones that could not be loaded, with the reason

    def hooks(self) -> dict[str, list[str]]:
        """Return the names of the plugins in use by hook."""
        names = {hook for loaded in self.loaded.values() for hook in loaded.hooks}
        return {hook: [name for name, loaded in self.loaded.items() if hook in loaded.hooks] for hook in sorted(names)}


def chosen(config: Config) -> dict[str, FoundPlugin]:
    """Return the plugins that the configuration has in use, by name. Raises PluginLoadError.

    Installed ones and files are in use unless `enabled = false`; those that come with the project once they have a table.
    """
    _refuse_scratch(config)
    found = find(config.plugins.folders)
    for name in config.plugins.tables:
        if name not in found:
            near = get_close_matches(name, found, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise PluginLoadError(f"There is no plugin {name}, but the config has a table for it.{hint}")
    return {name: plugin for name, plugin in found.items() if is_chosen(config, plugin)}


def _refuse_scratch(config: Config) -> None:
    """Raise PluginLoadError for a plugins' folder in the one for temporary files, which is cleared at each start."""
    scratch = scratch_path(config, os.environ)
    for folder in config.plugins.folders:
        if folder.resolve().is_relative_to(scratch.resolve()):
            raise PluginLoadError(
                f"The plugins' folder {folder} is in {scratch}, which the service clears at each start.",
                advice="Move it to another place, and correct plugins.folders.",
            )


def is_chosen(config: Config, plugin: FoundPlugin) -> bool:
    """Return whether the configuration has a plugin in use."""
    has_table = plugin.name in config.plugins.tables
    return config.plugins.table(plugin.name).enabled and (has_table or plugin.origin is not Origin.SHIPPED)


@contextlib.contextmanager
def hosted(
    config: Config, plugins: Mapping[str, FoundPlugin], scratch: Path, *, clears: bool = True
) -> Iterator[PluginHost]:
    """Give the host for these plugins; it ends their processes at the end. `scratch` is for their temporary files alone."""
    ready = [ready_plugin(config, plugin) for plugin in plugins.values()]
    kept = str(journal_path(config, os.environ).parent / "plugin-state")
    environ = {**clean_environ(os.environ, config.plugins.pass_environment), "XDG_STATE_HOME": kept}
    host = PluginHost(ready, config.plugins.workers, environ, scratch, clears=clears)
    with contextlib.closing(host):
        yield host


def ready_plugin(config: Config, plugin: FoundPlugin) -> Ready:
    """Return what the host has to know of a plugin."""
    settings = config.plugins
    limits = ProcessLimits(settings.memory_bytes_of(plugin.name), settings.disk_bytes_of(plugin.name), START_SECONDS)
    configures = not settings.is_on_farm(plugin.name)  # what it looks for then is on the workers' machines
    return Ready(plugin.source, limits, settings.table(plugin.name).settings, plugin.vet, configures)


def loaded(
    config: Config, host: PluginHost, plugins: Mapping[str, FoundPlugin], loading: Callable[[str], None]
) -> Catalogue:
    """Load the plugins, each named to `loading` before, and check their settings.

    Raises PluginLoadError for the first that fails, unless it is optional.
    """
    good: dict[str, Loaded] = {}
    left_out: dict[str, Problem] = {}
    for name, plugin in plugins.items():
        loading(name)
        try:
            good[name] = check_plugin(config, host, plugin)
        except PluginLoadError as error:
            error.is_about(name)
            if not config.plugins.table(name).optional:
                raise
            left_out[name] = error.problem
    return Catalogue(plugins, good, left_out)


def check_plugin(config: Config, host: PluginHost, plugin: FoundPlugin) -> Loaded:
    """Load one plugin and check its table. Raises PluginLoadError with file, line and cause."""
    try:
        about = host.load(plugin.name)
        host.check(plugin.name, config.plugins.table(plugin.name).settings, {}, START_SECONDS)
    except PluginError as error:
        said = f"\n{error.output}".rstrip() if error.output else ""
        raise PluginLoadError(f"{error.message}{said}") from None
    return about
