"""A worker of the farm: carries out plugins' calls that daemons have asked for, with the same limits as a daemon would.

A plugin works on a copy of the files in a local folder of this worker. What it made goes to a place of that attempt alone; whether it
counts is decided when the reply is published.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from rodin_watchd.adapters.host import filesystem_of
from rodin_watchd.adapters.plugin_host import PluginCall, PluginHost, ProcessLimits, Ready, clean_environ
from rodin_watchd.adapters.plugin_host.finding import FoundPlugin
from rodin_watchd.adapters.spool.farm_files import ShareFiles
from rodin_watchd.adapters.spool.mounts import read_mark
from rodin_watchd.adapters.systemd import Pulse
from rodin_watchd.config import Config
from rodin_watchd.core.farm import Attempt, CallQueue, CallWorker, FarmState, Offer
from rodin_watchd.core.mounts import Mount
from rodin_watchd.errors import (
    ConfigError,
    DiskError,
    FarmFilesError,
    JournalError,
    PluginError,
    PluginGreedyError,
    PluginUnfitError,
)
from rodin_watchd.hooks.leftovers import remove, size_of
from rodin_watchd.log_lines import Trouble, fields_of_plugin, why
from rodin_watchd.service.farm import FarmFiles, bucket_of, data_of, data_of_error
from rodin_watchd.service.plugins import START_SECONDS
from rodin_watchd.settings import STATE_VARIABLE, journal_path

log = logging.getLogger("rodin_watchd")

_AGAIN_SECONDS: Final = 2.0
_UNFIT_SECONDS: Final = 300.0
"""How long a worker takes no calls of a plugin that cannot be loaded there: it would fail them all, faster than others make them."""

_LOOK_SECONDS: Final = 5.0
"""How often it is looked what else there is: calls that this worker cannot take, a share that went away."""


# ---- A folder of the worker's own ------------------------------------------------------------------------------------


@contextlib.contextmanager
def own_folder(config: Config, environ: Mapping[str, str]) -> Iterator[Path]:
    """Give a local folder that no other worker uses, emptied, until the end. Raises ConfigError, OSError."""
    if config.folders.state is None and not environ.get(STATE_VARIABLE):
        raise ConfigError(
            "A worker needs a folder of its own: its share may not be mounted.",
            advice="Set folders.state to a local folder.",
        )
    state = journal_path(config, environ).parent
    state.mkdir(parents=True, exist_ok=True)
    if filesystem_of(state).network:
        raise ConfigError(
            f"The state folder {state} is on a network share: a worker's own files would be moved over the network.",
            advice="Set folders.state to a folder on a local disk.",
        )
    for number in count(1):
        folder = state / f"worker-{number}"
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _empty(folder)
            yield folder
            _empty(folder)
            return
        finally:
            os.close(lock)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != "lock":
            remove(path)


# ---- Carrying out calls ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reachable:
    """Files of calls that this worker can reach, and whether it still can."""

    files: FarmFiles
    is_there: Callable[[], bool]


class UsedHost:
    """A plugin's host, and how many calls it carries out."""

    def __init__(self, plugin: str, host: PluginHost) -> None:
        self.plugin = plugin
        self.host = host
        self._calls = 0

    def begin(self) -> None:
        """Count a call."""
        self._calls += 1

    def end(self) -> None:
        """Count it no more."""
        self._calls -= 1

    def is_idle_of(self, plugin: str) -> bool:
        """Return whether it is of a plugin, and carries out nothing."""
        return self.plugin == plugin and not self._calls


class Executor:
    """Carries out calls in plugins' processes, each on a copy of its files. To be closed."""

    def __init__(self, config: Config, plugins: Mapping[str, FoundPlugin], folder: Path) -> None:
        self._config = config
        self._plugins = plugins
        self._folder = folder
        self._places: Mapping[str, Reachable] = {}
        self._threads = ThreadPoolExecutor(config.plugins.workers, thread_name_prefix="call")
        self._lock = threading.Lock()
        self._hosts: dict[str, UsedHost] = {}  # by plugin, limits and table
        self._unfit: dict[str, tuple[str, float]] = {}  # by plugin: why, and when that was found (monotonic)

    def reach(self, places: Mapping[str, Reachable]) -> None:
        """Take files from these places from now on."""
        self._places = places

    def unfit(self, now: float) -> Mapping[str, str]:
        """Return the plugins that cannot be used on this machine, and why, as far as that was found lately."""
        return {name: why for name, (why, at) in self._unfit.items() if now - at < _UNFIT_SECONDS}

    async def carry_out(self, attempt: Attempt) -> Mapping[str, Any] | None:
        """Carry out an attempt and return the reply; None where this machine cannot, so that another one has to."""
        begun = asyncio.get_running_loop().run_in_executor(self._threads, self._carried_out, attempt)
        try:
            return await asyncio.shield(begun)
        except asyncio.CancelledError:
            _log(attempt, "is given back: this worker stops")
            self.end_calls()
            raise

    def end_calls(self) -> None:
        """End all of the plugins' processes; a later call has new ones."""
        with self._lock:
            hosts, self._hosts = list(self._hosts.values()), {}
        for one in hosts:
            one.host.close()

    def close(self) -> None:
        """End all; may be repeated."""
        self.end_calls()
        self._threads.shutdown()

    def published(self, attempt: Attempt, is_newest: bool) -> None:
        """Remove what an attempt made that came too late."""
        if is_newest:
            return
        _log(attempt, "came too late, and is discarded: it was made again elsewhere", logging.WARNING)
        place = self._places.get(attempt.place)
        if place and attempt.files:
            with contextlib.suppress(FarmFilesError, OSError):
                place.files.discard(attempt.files, attempt.number)

    def _carried_out(self, attempt: Attempt) -> Mapping[str, Any] | None:
        _log(attempt, "begins")
        try:
            reply = self._called(attempt)
        except PluginUnfitError as error:
            self._unfit[attempt.plugin] = error.message, time.monotonic()
            _log(attempt, f"is given back, for another worker: {error.message}", logging.ERROR)
            return None
        except (FarmFilesError, OSError) as error:
            _log(attempt, f"is given back, for another worker: {_cause(error)}", logging.WARNING)
            return None
        except PluginError as error:
            _log(attempt, f"failed: {error.message}", logging.WARNING)
            return data_of_error(error)
        _log(attempt, f"is done in {reply['seconds']:.1f} s")
        return reply

    def _called(self, attempt: Attempt) -> Mapping[str, Any]:
        place = self._places[attempt.place]
        request = attempt.request
        with tempfile.TemporaryDirectory(prefix="call-", dir=self._folder, ignore_cleanup_errors=True) as home:
            directory = Path(home, "files")
            given = {}
            if attempt.files:
                self._fetch(attempt, place, directory)
                given = {"directory": str(directory)}
            call = PluginCall(
                attempt.plugin,
                attempt.hook,
                {**request["arguments"], **given},
                self._table(attempt),
                request["seconds"],
                request["own"],
                self._watch(attempt, directory),
            )
            with self._host(attempt) as host:
                try:
                    host.load(attempt.plugin)
                except (
                    PluginError
                ) as error:  # the daemon could load it, and has checked its table: something is missing here
                    raise PluginUnfitError(error.message) from error
                reply = host.call(call)
            if request["returns"]:
                place.files.publish(attempt.files, attempt.number, directory)
            return data_of(reply)

    def _fetch(self, attempt: Attempt, place: Reachable, directory: Path) -> None:
        """Copy the files that the call is about. A published folder that people have taken away is missing for the plugin, too."""
        try:
            place.files.fetch(attempt.files, directory)
        except FileNotFoundError as error:
            if not place.is_there():
                raise FarmFilesError("the share is not there any more") from error
            if attempt.request["returns"]:
                raise PluginError(
                    f"The files for a call of the plugin {attempt.plugin} are not there any more."
                ) from None

    def _table(self, attempt: Attempt) -> Mapping[str, Any]:
        """Return the plugin's settings: the service's, and over them what this machine's own table says."""
        return {**attempt.request["settings"], **self._config.plugins.table(attempt.plugin).settings}

    def _watch(self, attempt: Attempt, directory: Path) -> Callable[[], None]:
        most = attempt.request["disk_bytes"]

        def look() -> None:
            if size_of(directory) > most:
                raise PluginGreedyError(
                    f"The plugin {attempt.plugin} wrote more than {most // 1_000_000:,} MB and was ended."
                )
            if shutil.disk_usage(self._folder).free < self._config.folders.reserve_bytes // 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))

        return look

    @contextlib.contextmanager
    def _host(self, attempt: Attempt) -> Iterator[PluginHost]:
        """Give the host for a plugin, with the limits and the table that the call came with; one with others ends after its last call."""
        request, table = attempt.request, self._table(attempt)
        limits = ProcessLimits(request["memory_bytes"], request["disk_bytes"], START_SECONDS)
        known = json.dumps([attempt.plugin, limits.memory_bytes, limits.file_bytes, table], sort_keys=True)
        with self._lock:
            used = self._hosts.get(known) or UsedHost(attempt.plugin, self._new_host(attempt.plugin, limits, table))
            self._hosts[known] = used
            used.begin()
        try:
            yield used.host
        finally:
            with self._lock:
                used.end()
                others = [key for key, one in self._hosts.items() if key != known and one.is_idle_of(attempt.plugin)]
                left = [self._hosts.pop(key) for key in others]
            for one in left:
                one.host.close()

    def _new_host(self, name: str, limits: ProcessLimits, table: Mapping[str, Any]) -> PluginHost:
        plugin, settings = self._plugins[name], self._config.plugins
        state = journal_path(self._config, os.environ).parent / "plugin-state"
        environ = {**clean_environ(os.environ, settings.pass_environment), "XDG_STATE_HOME": str(state)}
        ready = Ready(plugin.source, limits, table, plugin.vet)
        return PluginHost([ready], settings.workers, environ, self._folder / "plugins", clears=False)


def _cause(error: FarmFilesError | OSError) -> str:
    return error.message if isinstance(error, FarmFilesError) else why(error)


def _log(attempt: Attempt, words: str, level: int = logging.INFO) -> None:
    about = fields_of_plugin(attempt.plugin, attempt.hook, attempt=attempt.number)
    message = "farm-call: plugin %s: %s of %s %s"
    event = attempt.request["event_id"]
    log.log(level, message, attempt.plugin, attempt.hook, event, words, extra={"action": "farm-call", **about})


# ---- The worker ------------------------------------------------------------------------------------------------------


class FarmService:
    """A worker process: connects, takes calls, and goes on when the database or the share comes back. `stop` is for any thread."""

    def __init__(
        self,
        config: Config,
        queues: tuple[str, ...],
        open_queue: Callable[[], CallQueue],
        executor: Executor,
        pulse: Pulse,
    ) -> None:
        self._config = config
        self._queues = queues
        self._open_queue = open_queue
        self._executor = executor
        self._pulse = pulse
        self._versions: Mapping[str, str] = {}
        self._stopping = False
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: CallWorker | None = None
        self._away = Trouble("root-away")
        self._trouble = Trouble("farm")
        self._refused: set[str] = set()

    def stop(self) -> None:
        """Take nothing more, and let `run` end."""
        self._stopping = True
        worker, loop = self._worker, self._loop
        if worker:
            worker.stop()
        if loop:
            loop.call_soon_threadsafe(self._woken.set)

    async def run(self, versions: Mapping[str, str], scratch: Path) -> None:
        """Work until `stop`, with these plugins. Raises ConfigError for a share of another installation; JournalError at the start."""
        self._versions = versions
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_quiet)
        bucket = bucket_of(self._config, scratch)
        began = False
        while not self._stopping:
            try:
                async with self._open_queue().opened() as queue:
                    began = True
                    await self._serve(queue, bucket)
            except (DiskError, JournalError) as error:
                if isinstance(error, JournalError) and not began:
                    raise
                self._trouble.begins(f"{error.message} {error.advice_in_full}")
                self._pulse.beat(f"waits: {error.message}", looked=began)
            await self._rest(_AGAIN_SECONDS)
        self._pulse.stop()

    async def _serve(self, queue: CallQueue, bucket: FarmFiles | None) -> None:
        places = await self._places(queue, bucket)
        if not places:
            return
        self._executor.reach(places)
        unfit = self._executor.unfit(time.monotonic())
        offer = Offer(
            self._queues,
            tuple(places),
            {name: version for name, version in self._versions.items() if name not in unfit},
            unfit,
            self._config.plugins.workers,
            self._config.farm.silent_seconds,
            self._config.service.stop_seconds,
        )
        self._worker = queue.worker(offer, self._executor.carry_out, self._executor.published)
        if self._stopping:
            return
        looking = asyncio.create_task(self._look(queue, offer, places))
        try:
            await self._worker.run()
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    async def _places(self, queue: CallQueue, bucket: FarmFiles | None) -> Mapping[str, Reachable]:
        """Return where this worker can reach files of calls; nothing while that has to be waited for."""
        found: dict[str, Reachable] = {}
        if bucket and self._config.farm.files:
            found[self._config.farm.files] = Reachable(bucket, lambda: True)
        root = self._config.folders.root
        mark, known = read_mark(root), await queue.roots()
        if mark is None or mark.mount != Mount.ROOT:
            if not found:
                self._wait(f"{root} has no mark of a service: mount the share there, or correct folders.root.")
        elif any(mark.root_id == root_id for root_id, _, _ in known):
            found[mark.root_id] = Reachable(ShareFiles(root), lambda: self._has_mark(mark.root_id))
        elif known:
            there = ", ".join(f"{host}:{folder}" for _, host, folder in known)
            raise ConfigError(
                f"{root} is the root of another installation: its mark is not that of {there}.",
                advice="Mount the same share there, or correct folders.root or store.url.",
            )
        elif not found:
            self._wait("no service has a plugin on the farm yet: start `rodin-watchd run` with where = “farm”.")
        if found:
            self._away.ends("the files can be reached.")
        return found

    def _wait(self, words: str) -> None:
        self._away.begins(words)
        self._pulse.beat(f"waits: {words}", looked=True)

    def _has_mark(self, root_id: str) -> bool:
        mark = read_mark(self._config.folders.root)
        return mark is not None and mark.root_id == root_id

    async def _look(self, queue: CallQueue, offer: Offer, places: Mapping[str, Reachable]) -> None:
        """Report to the service manager how it is, and log what this worker cannot take, until the share goes away."""
        while True:
            if self._stopping:
                self._pulse.wait("stopping: waits for calls under way")
            elif not all(place.is_there() for place in places.values()) and self._worker:
                self._wait(f"the share at {self._config.folders.root} is not there any more.")
                self._worker.stop()
            else:
                with contextlib.suppress(DiskError, JournalError):  # the engine says so
                    self._tell(await queue.state(), offer)
                    self._trouble.ends("the queue can be reached again.")
            await asyncio.sleep(1.0 if self._stopping else _LOOK_SECONDS)

    def _tell(self, state: FarmState, offer: Offer) -> None:
        own = [one for one in state.workers if (one.host, one.pid) == (socket.gethostname(), os.getpid())]
        self._pulse.beat(
            f"queues {', '.join(offer.queues)}: {sum(len(one.calls) for one in own)} under way", looked=True
        )
        if self._worker and (self._executor.unfit(time.monotonic()).keys() != offer.unfit.keys()):
            self._worker.stop()  # one is tried again
        if self._worker and any(one.silent_seconds > offer.silent_seconds for one in own):
            self._trouble.begins("this worker was silent for too long: it begins again.")
            self._worker.stop()  # its calls are made elsewhere by now
        for calls in state.waiting:
            version = offer.plugins.get(calls.plugin)
            if calls.queue not in offer.queues or calls.place not in offer.places or calls.plugin in offer.unfit:
                continue
            if version == calls.version:
                continue
            has = (
                f"has {version}"
                if version
                else f"has no such plugin in use (a table [plugins.{calls.plugin}] in its configuration)"
            )
            words = (
                f"refused: calls of the plugin {calls.plugin}: the service has {calls.version}, this worker {has}. Install the same one "
                "here, and start this worker again; another worker takes them."
            )
            if words not in self._refused:
                self._refused.add(words)
                log.warning("farm: %s", words, extra={"action": "farm"})

    async def _rest(self, seconds: float) -> None:
        if not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), seconds)


def _quiet(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log in a line what nobody waited for: the engine ends a call that was made again elsewhere, say."""
    log.debug("farm: %s: %r", context.get("message"), context.get("exception"), extra={"action": "farm"})
