"""Putting the service together from its configuration; the one place that knows all parts."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rodin_watchd.adapters.host import local_zone, shares_in
from rodin_watchd.adapters.plugin_host import PluginHost
from rodin_watchd.adapters.rodin_client import RodinClient, Route, Timeouts
from rodin_watchd.adapters.systemd import Manager, Pulse
from rodin_watchd.adapters.watcher import Watcher, open_watcher
from rodin_watchd.config import Config
from rodin_watchd.core.layout import FARM_SCRATCH, INBOX
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.store import DONE, ROOT_ID
from rodin_watchd.log_lines import fields_of_plugin
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.daemon import Daemon
from rodin_watchd.service.farm import Farm, farm_root
from rodin_watchd.service.jobs import JobStore
from rodin_watchd.service.opening import Base, opened
from rodin_watchd.service.parts import SPARE_WORKERS, Handover, OpenWatcher, Wake, parts_of
from rodin_watchd.service.plugins import Catalogue, Hosts, Plugins, Say, chosen, hosted, loaded
from rodin_watchd.service.pool import MessageQueue
from rodin_watchd.service.status import Display
from rodin_watchd.service.steps.tools import Tools
from rodin_watchd.settings import scratch_path

SYSTEM_CLOCK = Clock(time.time, time.monotonic, random.random)


def _ignore(_plugin: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class PluginStart:
    """How the plugins are started."""

    first: bool = True  # no others run next to them: what is left of earlier ones is removed
    safe_mode: bool = False  # none is
    on_load: Callable[[str], None] = _ignore  # gets each plugin's name before it is loaded, which may take a minute


@dataclass(frozen=True, slots=True)
class Hosted:
    """The plugins' processes."""

    host: PluginHost
    catalogue: Catalogue  # those that were loaded
    known: Sequence[str]  # those that the configuration has in use


@contextlib.contextmanager
def assembled(
    config: Config,
    key: str,
    clock: Clock = SYSTEM_CLOCK,
    wait: Callable[[float], None] = time.sleep,
    *,
    safe_mode: bool = False,
) -> Iterator[Daemon]:
    """Give a daemon that is ready to run; holds the lock, the journal and the connections until the end.

    `wait` lets seconds pass: on a share it may take some to see that nobody else serves the root. In `safe_mode` no plugin
    is loaded. Raises OwnerError or DiskError when it cannot run as it is set up, RootAwayError while a root that it knows is not mounted.
    """
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(opened(config, clock, wait))
        clock = base.clock
        load = stack.enter_context(hosting(config, PluginStart(safe_mode=safe_mode)))
        wake = Wake()
        messages, hosted = MessageQueue(wake), load()
        tools = stack.enter_context(equipped(config, key, base, clock, hosted, messages.put))
        base.begin(tools.client.account, tools.plugins.announcer)
        report_left_out(base.job_store, hosted, clock.now())
        handover = Handover.of_start(config, tools, Pulse(Manager(), clock.monotonic), wake, messages)
        daemon = daemon_of(config, tools, base, clock, handover)
        stack.callback(daemon.close)  # whatever ends it: no upload waits for ever for permission to send its last bytes
        yield daemon


def daemon_of(config: Config, tools: Tools, base: Base, clock: Clock, handover: Handover) -> Daemon:
    """Return a daemon that works with these tools, and goes on with what the one before hands over."""
    start = watcher_of(config, lambda: Mount.INBOX in base.standing.mounts_keeper.away)
    parts = parts_of(config, tools, base, start, clock, handover)
    return Daemon(parts, Display(parts, clock), clock, handover)


@contextlib.contextmanager
def hosting(config: Config, start: PluginStart) -> Iterator[Callable[[], Hosted]]:
    """Give what loads the plugins in use, in any thread; their processes end at the end, also in the middle of that.

    Raises PluginLoadError, as what is given does. In safe mode none is loaded; what they are owed waits for the next start.
    """
    known = chosen(config)
    used = {} if start.safe_mode else known
    place = scratch_path(config, os.environ)
    with hosted(config, used, place, clears=start.first) as host:
        yield lambda: Hosted(host, loaded(config, host, used, start.on_load), tuple(known))


@contextlib.contextmanager
def equipped(config: Config, key: str, base: Base, clock: Clock, hosted: Hosted, say: Say) -> Iterator[Tools]:
    """Give what the steps work with: client and plugins. Raises ConfigError."""
    meter = base.standing.monitor.meter
    with contextlib.closing(client_of(config, key, meter.api_call)) as client, farming(config, base, hosted) as farm:
        bounds = (config.results.max_file_bytes, config.folders.reserve_bytes)
        known = frozenset(hosted.known)
        plugins = Plugins(config.plugins, Hosts(hosted.host, farm), hosted.catalogue.hooks(), known, clock, say)
        plugins.remember([run for run in base.store.runs_of(base.job_store.jobs) if run.outcome == DONE])
        yield Tools(base.spool, client, plugins, clock.now, local_zone(), *bounds, meter, base.is_sure)


@contextlib.contextmanager
def farming(config: Config, base: Base, hosted: Hosted) -> Iterator[Farm | None]:
    """Give what has plugins' calls made on other machines; None where no plugin in use is called there. Raises ConfigError."""
    versions = {
        name: hosted.catalogue.found[name].version
        for name in hosted.catalogue.loaded
        if config.plugins.is_on_farm(name)
    }
    if not versions or base.open_farm is None:
        yield None
        return
    base.open_farm()  # without the extra: now, and not when the first call is to be made
    scratch = scratch_path(config, os.environ).with_name(FARM_SCRATCH)
    root = farm_root(config, str(base.store.meta(ROOT_ID)), scratch)
    with contextlib.closing(Farm(config, base.open_farm, root, versions)) as farm:
        farm.begin()
        yield farm


def report_left_out(job_store: JobStore, hosted: Hosted, now: float) -> None:
    """Report which plugins are not in use, though the configuration names them."""
    if unused := set(hosted.known) - set(hosted.catalogue.found):
        text = f"Started in safe mode, without these plugins: {', '.join(sorted(unused))}."
        job_store.report("safe-mode", text, now, subject="plugins")
    for name, problem in hosted.catalogue.left_out.items():
        about = fields_of_plugin(name, problem=problem)
        job_store.report("plugin-left-out", problem.message, now, about, subject=name)


def client_of(config: Config, key: str, count: Callable[[str, str], None] = lambda _call, _result: None) -> RodinClient:
    """Return the client for the vendor's API, to be closed by the caller; `count` as it says. Raises ConfigError."""
    timeouts = Timeouts(config.api.connect_seconds, config.api.read_seconds)
    most = config.api.max_in_flight + SPARE_WORKERS
    route = Route(private_links=config.api.allow_private_links)
    return RodinClient(config.api.base_url, key, timeouts=timeouts, max_calls=most, route=route, count=count)


def watcher_of(config: Config, is_away: Callable[[], bool] = lambda: False) -> OpenWatcher:
    """Return what starts the inbox's watcher, given whom it is to wake; `is_away` returns whether the inbox is not there now."""

    def start(wake: Callable[[], None]) -> Watcher:
        inbox = config.folders.root / INBOX
        return open_watcher(inbox, wake, config.intake.watcher, mounted=lambda: {} if is_away() else shares_in(inbox))

    return start
