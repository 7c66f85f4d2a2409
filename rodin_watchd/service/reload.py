"""Serving: a daemon, and the next one that takes its place when the configuration is read again.

A reload makes everything again but what must not be let go of: journal, locks, the steps under way, and what decides over
money (`parts.Handover`, `opening.Base`). The repairs of a start belong to the start alone. The new daemon is
complete before the old one is given up, so a configuration that cannot be used changes nothing; the old one works until then.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from rodin_watchd.adapters.spool.sharing import sharing_of
from rodin_watchd.adapters.systemd import Pulse
from rodin_watchd.config import Config
from rodin_watchd.errors import ConfigError, RodinWatchdError
from rodin_watchd.log_lines import log_error
from rodin_watchd.service.assembly import (
    SYSTEM_CLOCK,
    Hosted,
    PluginStart,
    daemon_of,
    equipped,
    hosting,
    report_left_out,
)
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.daemon import Daemon
from rodin_watchd.service.opening import Base, opened
from rodin_watchd.service.parts import Handover, Wake
from rodin_watchd.service.pool import MessageQueue

# ---- Loading: the plugins of the next configuration get ready while the loop goes on -------------


class Loading:
    """A configuration that takes effect when its plugins are loaded. The main thread's, but for `wake`, which is called then.

    Raises PluginLoadError. To be closed, unless what was loaded is taken.
    """

    def __init__(self, config: Config, key: str, start: PluginStart, wake: Callable[[], None]) -> None:
        self.config = config
        self.key = key
        self._stack = contextlib.ExitStack()
        load = self._stack.enter_context(hosting(config, start))
        thread = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self._hosted = thread.submit(load)
        self._hosted.add_done_callback(lambda _: wake())
        thread.shutdown(wait=False)

    @property
    def is_done(self) -> bool:
        """Whether all are loaded, or one cannot be."""
        return self._hosted.done()

    def take(self, stack: contextlib.ExitStack) -> Hosted:
        """Wait until all are loaded and return them; their processes end with `stack` then. Raises PluginLoadError."""
        hosted = self._hosted.result()
        stack.enter_context(self._stack.pop_all())
        return hosted

    def close(self) -> None:
        """End what is being loaded, or was loaded and not taken; may be repeated."""
        self._stack.close()


log = logging.getLogger("rodin_watchd")

Read: TypeAlias = Callable[[], tuple[Config, str]]
"""Reads the configuration and the API key. Raises ConfigError."""

FIXED = (
    "folders.root",
    "folders.state",
    "folders.lease",
    "store.url",
    "store.password_file",
    "metrics.listen",
    "metrics.textfile",
)
"""What is held open from start to end."""

LEVEL = "service.log_level"
"""What can change without another daemon."""

_JOIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Launch:
    """What a service is started with besides its configuration."""

    safe_mode: bool = False  # without plugins
    web_command: Sequence[str] = ()  # starts the page in the browser; (): there is none
    waits: bool = False  # for a root that is away, where the store is shared


WHOLE: Final = Launch()


class Serving:
    """The daemon of now. `stop` and `ask_reload` are for any thread, all else for the main thread."""

    def __init__(self, config: Config, base: Base, pulse: Pulse, clock: Clock, *, safe_mode: bool) -> None:
        self.config = config
        self._base = base
        self._pulse = pulse
        self._clock = clock
        self._safe_mode = safe_mode
        self._tools = contextlib.ExitStack()  # those of the daemon of now
        self._leaving: list[threading.Thread] = []
        self._daemon: Daemon | None = None
        self._loading: Loading | None = None
        self._key = ""
        self._stopping = False
        self._asked = False

    @property
    def daemon(self) -> Daemon:
        """The daemon that works now."""
        assert self._daemon is not None  # noqa: S101 - begun by `serving`
        return self._daemon

    def begin(self, key: str) -> None:
        """Make the first daemon. Raises OwnerError."""
        start = PluginStart(
            safe_mode=self._safe_mode, on_load=lambda name: self._pulse.wait(f"loads the plugin {name}")
        )
        with contextlib.ExitStack() as stack:
            load = stack.enter_context(hosting(self.config, start))
            wake = Wake()
            messages, hosted = MessageQueue(wake), load()
            tools = stack.enter_context(equipped(self.config, key, self._base, self._clock, hosted, messages.put))
            self._base.begin(tools.client.account, tools.plugins.announcer)
            report_left_out(self._base.job_store, hosted, self._clock.now())
            self._key = key
            handover = Handover.of_start(self.config, tools, self._pulse, wake, messages)
            self._daemon = daemon_of(self.config, tools, self._base, self._clock, handover)
            self._tools = stack.pop_all()

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping = True
        self.daemon.stop()

    def ask_reload(self) -> None:
        """Have the configuration read again before the next tick; or after, if one that was read is not taken yet."""
        self._asked = True
        self.daemon.wake()

    def run(self, read: Read, taken: Callable[[Config], None], *, until_idle: bool = False) -> None:
        """Work until `stop`, or until nothing moves; `taken` is called with each new configuration that took effect."""
        while True:
            self.daemon.run(until_idle=until_idle, interrupted=self.is_called)
            if self._stopping or not self.is_called():
                return
            self.turn(read, taken)

    @property
    def reloads(self) -> bool:
        """Whether a reload was asked for, or its plugins are being loaded."""
        return self._asked or self._loading is not None

    def is_called(self) -> bool:
        """Return whether the daemon of now is to make room: for the end, or for the next part of a reload."""
        return self._stopping or (self._loading.is_done if self._loading else self._asked)

    def turn(self, read: Read, taken: Callable[[Config], None]) -> None:
        """Do the next part of a reload: read another configuration, or take what was read; or say why not, and go on as before."""
        try:
            if self._loading:
                self._take(self._loading, taken)
            else:
                self._asked = False
                self._read(read, taken)
        except RodinWatchdError as error:
            self._pulse.reloaded("the new configuration was refused, see the log")
            log_error(logging.ERROR, "reload-refused", error)

    def _read(self, read: Read, taken: Callable[[Config], None]) -> None:
        """Read the configuration, and begin to load its plugins, if it takes another daemon. Raises RodinWatchdError."""
        self._pulse.reload("loads the new configuration")
        config, key = read()
        changed = changes(self.config, config)
        if changed == [LEVEL] and key == self._key:
            self._accept(config, changed, taken)
            return
        _refuse_fixed(changed)
        self._loading = Loading(config, key, PluginStart(first=False, safe_mode=self._safe_mode), self.daemon.wake)

    def _take(self, loading: Loading, taken: Callable[[Config], None]) -> None:
        """Let the configuration whose plugins are loaded take effect. Raises RodinWatchdError: then nothing has changed."""
        self._loading = None
        changed = changes(self.config, loading.config)
        with contextlib.closing(loading):
            self._renew(loading)
        self._key = loading.key
        self._accept(loading.config, changed, taken)

    def _accept(self, config: Config, changed: list[str], taken: Callable[[Config], None]) -> None:
        self.config = config
        self._base.page.use(config)
        self._pulse.reloaded("")
        _log_reload(changed, lambda: taken(config))

    def _renew(self, loading: Loading) -> None:
        """Put another daemon into the place of the one of now. Raises RodinWatchdError: then nothing has changed."""
        config, handover = loading.config, self.daemon.handover
        sharing = sharing_of(config.output.file_mode, config.output.group)
        with contextlib.ExitStack() as stack:
            hosted, say = loading.take(stack), handover.pool.messages.put
            tools = stack.enter_context(equipped(config, loading.key, self._base, self._clock, hosted, say))
            daemon = daemon_of(config, tools, self._base, self._clock, handover)
            before, self._daemon = self.daemon, daemon
            self._let_go(daemon.take_over())
            before.parts.tools.plugins.end_waits()  # those who waited for workers wait again, as it is configured now
            report_left_out(self._base.job_store, hosted, self._clock.now())
            self._tools = stack.pop_all()
            before.let_go()
            self._base.spool.share(sharing)

    def _let_go(self, wait: Callable[[], None]) -> None:
        """Close the tools of now when the last step that uses them has ended."""

        def leave(tools: contextlib.ExitStack = self._tools) -> None:
            wait()
            tools.close()

        self._leaving = [thread for thread in self._leaving if thread.is_alive()]
        self._leaving.append(threading.Thread(target=leave, name="leave", daemon=True))
        self._leaving[-1].start()

    def end_journal(self) -> None:
        """Close the journal, in its place: the process ends now, and nothing else is given back."""
        self._base.standing.end()

    def close(self) -> None:
        """Start nothing more and end plugins' processes; those of tools that are still in use end with this process."""
        if self._loading:
            self._loading.close()
        self.daemon.close()
        self._tools.close()
        for thread in self._leaving:
            thread.join(_JOIN_SECONDS)


@contextlib.contextmanager
def serving(
    config: Config,
    key: str,
    pulse: Pulse,
    clock: Clock = SYSTEM_CLOCK,
    wait: Callable[[float], None] = time.sleep,
    launch: Launch = WHOLE,
) -> Iterator[Serving]:
    """Give a service that is ready to run; the rest is as with `assembly.assembled`, whose daemon never reloads."""

    def tell(words: str, seconds: float) -> None:
        log.warning("upgrading: the service %s", words, extra={"action": "upgrading"})
        pulse.wait_long(words, seconds)

    said = ""

    def stand_by(words: str) -> None:
        nonlocal said
        if words != said:
            said = words
            log.info("standby: %s This one stands by.", words, extra={"action": "standby"})
        pulse.stand_by(f"stands by: {words}")

    with opened(config, clock, wait, launch.web_command, tell, stand_by, waits=launch.waits) as base:
        service = Serving(config, base, pulse, base.clock, safe_mode=launch.safe_mode)
        service.begin(key)
        with contextlib.closing(service):
            yield service


def _log_reload(changed: list[str], take: Callable[[], None]) -> None:
    """Log what changed, by the level before or after: whichever of them lets it through."""
    was_logged = log.isEnabledFor(logging.INFO)
    if not was_logged:
        take()
    log.info("reloaded: %s", ", ".join(changed) or "nothing changed", extra={"action": "reloaded"})
    if was_logged:
        take()


def _refuse_fixed(changed: list[str]) -> None:
    """Raise ConfigError for what is held open from start to end."""
    if fixed := [name for name in changed if name in FIXED]:
        raise ConfigError(
            f"{' and '.join(fixed)} cannot change while the service runs.",
            advice="Restart the service for that (`systemctl restart`), or undo the change.",
        )


def changes(before: Config, after: Config) -> list[str]:
    """Return the names of the settings that differ, without their values: plugins' may be secret."""
    return sorted(_differing(before.model_dump(), after.model_dump(), ""))


def _differing(before: dict[str, Any], after: dict[str, Any], prefix: str) -> Iterator[str]:
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differing(old, new, f"{prefix}{name}.")
        elif old != new:
            yield f"{prefix}{name}"
