"""The farm as the daemon uses it: has plugins' calls carried out by workers, and waits for them.

One thread asks the database, for all calls together; whoever has a call made waits for it in a thread of the pool. A call that
was asked for before, by this daemon before a restart or by another one that had the root, is waited for, not made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from rodin_watchd.adapters.plugin_host import ChildReply, PluginCall
from rodin_watchd.adapters.spool.farm_files import ShareFiles
from rodin_watchd.config import Config
from rodin_watchd.core.farm import NO_FARM, CallQueue, CallState, FarmCall, reasons
from rodin_watchd.errors import (
    ConfigError,
    DiskError,
    FarmFilesError,
    FarmWaitEndedError,
    JournalError,
    PluginCrashedError,
    PluginError,
    PluginGreedyError,
    PluginMemoryError,
    PluginSettingsError,
    PluginStartError,
    PluginTimeoutError,
)
from rodin_watchd.log_lines import Trouble

_T = TypeVar("_T")

_LOOK_SECONDS: Final = 0.25
"""How often it is looked whether a call has ended, while any is waited for."""

_SHOW_SECONDS: Final = 2.0
"""How often it is looked what workers there are."""

_IDLE_SECONDS: Final = 600.0
_AGAIN_SECONDS: Final = 2.0
_JOIN_SECONDS: Final = 5.0
_TRIES: Final = 3
"""How often a call is asked for once more whose files were removed by somebody."""


class FarmFiles(Protocol):
    """Moves the files of calls between the daemon and workers (`spool.farm_files`, `bucket`). Raises FarmFilesError, OSError."""

    def lay_in(self, source: Path) -> str:
        """Have a folder ready for workers; return its key."""

    def fetch(self, key: str, target: Path) -> None:
        """Bring what was laid in to a new folder."""

    def publish(self, key: str, attempt: int, source: Path) -> None:
        """Leave what an attempt made."""

    def take(self, key: str, attempt: int, target: Path) -> None:
        """Bring what an attempt made to a new folder."""

    def discard(self, key: str, attempt: int) -> None:
        """Remove what an attempt made."""

    def remove(self, key: str) -> None:
        """Remove all of a call's files."""


@dataclass(frozen=True, slots=True)
class FarmRoot:
    """Whose calls these are, and where their files are."""

    id: str
    folder: Path
    place: str
    files: FarmFiles


def farm_root(config: Config, root_id: str, scratch: Path) -> FarmRoot:
    """Return whose calls a configuration's are, and where their files are. Raises ConfigError without the extra `s3`."""
    bucket = bucket_of(config, scratch)
    files = bucket or ShareFiles(config.folders.root)
    return FarmRoot(root_id, config.folders.root, config.farm.files or root_id, files)


def bucket_of(config: Config, scratch: Path) -> FarmFiles | None:
    """Return the files in the bucket that a configuration names, if it does. Raises ConfigError without the extra `s3`."""
    farm = config.farm
    if farm.files is None:
        return None
    try:
        from rodin_watchd.adapters.bucket import BucketFiles  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("boto3", "botocore"):
            raise
        raise ConfigError(
            "farm.files names a bucket, but boto3 is not installed.",
            advice=f'Run: {shlex.quote(sys.executable)} -m pip install "rodin-watchd[s3]"',
        ) from None
    return BucketFiles(farm.files, farm.endpoint, farm.credentials_file, scratch)


class Farm:
    """The calls of one root. Any thread; works between `begin` and `close`."""

    def __init__(
        self, config: Config, open_queue: Callable[[], CallQueue], root: FarmRoot, versions: Mapping[str, str]
    ) -> None:
        self._config = config
        self._open_queue = open_queue
        self._root = root
        self._versions = versions  # of the plugins that are called here
        self.most = config.farm.calls
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[CallState | None]] = {}
        self._forgotten: set[str] = set()
        self._ended = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None  # while the thread works
        self._woken = asyncio.Event()
        self._queue: Future[tuple[CallQueue, asyncio.AbstractEventLoop]] = Future()  # when it is open
        self._thread = threading.Thread(target=self._serve, name="farm", daemon=True)
        self._state = NO_FARM
        self._trouble, self._files_trouble = Trouble("farm"), Trouble("farm")

    def begin(self) -> None:
        """Connect, in a thread of its own; calls may be asked for from now on."""
        self._thread.start()

    def has(self, plugin: str) -> bool:
        """Return whether a plugin is called here."""
        return plugin in self._versions

    # ---- a call -----------------------------------------------------------------------------------------------------

    def call(
        self, event_id: str, job_id: str, call: PluginCall, source: Path | None, target: Path | None
    ) -> ChildReply:
        """Have a call carried out by a worker, and wait for it.

        It is about the folder `source`, of which the worker makes a copy; what it made of that is moved to `target`. Raises
        PluginError as the host does, FarmWaitEndedError, FarmFilesError.
        """
        try:
            reply = self._made(event_id, job_id, call, source, target)
        except FarmFilesError as error:
            self._files_trouble.begins(error.message)
            raise
        self._files_trouble.ends("the files of calls can be moved again.")
        return reply

    def _made(
        self, event_id: str, job_id: str, call: PluginCall, source: Path | None, target: Path | None
    ) -> ChildReply:
        for _ in range(_TRIES):
            number, files = self._asked(event_id, job_id, call, source, returns=target is not None)
            if (found := self._awaited(number)) is not None:
                with contextlib.suppress(FileNotFoundError):
                    return self._taken(found, files, target, call)
            self.drop(event_id, call.plugin)  # another daemon, or a person, has removed it or its files
        raise FarmFilesError(f"The files of a call of the plugin {call.plugin} were removed again and again.")

    def _asked(
        self, event_id: str, job_id: str, call: PluginCall, source: Path | None, *, returns: bool
    ) -> tuple[int, str]:
        """Return the number of the call, and the key of its files; it is asked for, unless it was before."""
        settings = self._config.plugins
        request = {
            "event_id": event_id,
            "returns": returns,
            "arguments": dict(call.arguments),
            "settings": dict(call.settings),
            "own": dict(call.own),
            "memory_bytes": settings.memory_bytes_of(call.plugin),
            "disk_bytes": settings.disk_bytes_of(call.plugin),
            "seconds": call.seconds,
        }
        asked = FarmCall(
            self._root.id,
            event_id,
            job_id,
            call.plugin,
            call.hook,
            settings.table(call.plugin).queue,
            self._root.place,
            self._versions[call.plugin],
            call.seconds,
            "",
            json.dumps(request),
        )
        known = self._done(lambda queue: queue.known(self._root.id, event_id, call.plugin))
        if known and known.may_be_awaited(asked):
            return known.id, known.files
        if known and known.state != "failed":
            self.drop(event_id, call.plugin)
        with _files_in_words():
            files = self._root.files.lay_in(source) if source else ""
        return self._done(lambda queue: queue.ask(replace(asked, files=files))), files

    def _awaited(self, number: int) -> CallState | None:
        """Wait until a call has ended; None if it is not there any more."""
        with self._lock:
            if self._ended.is_set():
                raise FarmWaitEndedError
            waiting = self._waiting[number] = Future()
        self._wake()
        try:
            return waiting.result()
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def _taken(self, found: CallState, files: str, target: Path | None, call: PluginCall) -> ChildReply:
        """Return the reply, with what was made in its place; raise what went wrong. Raises FileNotFoundError if it is gone."""
        data = found.reply
        if data is None:
            raise PluginCrashedError(
                f"The workers that the plugin {call.plugin} was called at were lost, one after the other.",
                command="`rodin-watchd workers` shows who is there; look at the logs of the workers, and at the memory of their machines.",
            )
        if not data["ok"]:
            self._remove_files(files)
            raise _error_of(data)
        if target is not None:
            with _files_in_words():
                self._root.files.take(files, found.attempt, target)
            call.watch()
        self._remove_files(files)
        return ChildReply(data["value"], data["output"], data["seconds"])

    def _remove_files(self, files: str) -> None:
        if files:
            with contextlib.suppress(
                FarmFilesError, OSError
            ):  # they go with the job's work folder, or by the bucket's own rule
                self._root.files.remove(files)

    def drop(self, event_id: str, plugin: str) -> None:
        """Forget a call: the next one of this event is made again. Raises FarmWaitEndedError."""
        self._done(lambda queue: queue.drop(self._root.id, event_id, plugin))

    def forget(self, job_id: str) -> None:
        """Forget the calls of a job's steps: it has ended."""
        with self._lock:
            self._forgotten.add(job_id)
        self._wake()

    # ---- what people read -------------------------------------------------------------------------------------------

    def notices(self, zone: tzinfo) -> list[str]:
        """Return which calls no worker takes, why, and what to do."""
        waiting = [
            f"{_counted(calls.count)} of the plugin {calls.plugin} {'waits' if calls.count == 1 else 'wait'} for a worker since "
            f"{datetime.fromtimestamp(calls.since_at, zone):%Y-%m-%d %H:%M}. {why}"
            for calls, why in reasons(self._state)
            if calls.root == self._root.id
        ]
        return [*waiting, *filter(None, (self._trouble.words, self._files_trouble.words))]

    # ---- the end ----------------------------------------------------------------------------------------------------

    def end_waits(self) -> None:
        """Let nobody wait any more: workers go on, and the next start waits for them. May be repeated."""
        with self._lock:
            self._ended.set()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(FarmWaitEndedError())

    def close(self) -> None:
        """End the thread; may be repeated."""
        self.end_waits()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if (loop := self._loop) is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(self._woken.set)

    def _done(self, make: Callable[[CallQueue], Coroutine[Any, Any, _T]]) -> _T:
        """Do something with the queue, as soon as it can be reached. Raises FarmWaitEndedError."""
        while not self._ended.is_set():
            try:
                return self._asked_of_thread(make)
            except TimeoutError:
                continue
            except CancelledError:  # the thread has ended
                break
            except (DiskError, JournalError) as error:
                self._trouble.begins(error.message)
                self._ended.wait(_AGAIN_SECONDS)
        raise FarmWaitEndedError

    def _asked_of_thread(self, make: Callable[[CallQueue], Coroutine[Any, Any, _T]]) -> _T:
        """Do something with the queue in its thread. Raises TimeoutError while it is not open, CancelledError after the end."""
        queue, loop = self._queue.result(_LOOK_SECONDS)
        coroutine = make(queue)
        try:
            asked = asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:  # the loop is closed
            coroutine.close()
            raise CancelledError from None
        return asked.result()

    def _serve(self) -> None:
        asyncio.run(self._work())

    async def _work(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        while not self._ended.is_set():
            try:
                async with self._open_queue().opened() as queue:
                    await queue.add_root(self._root.id, socket.gethostname(), str(self._root.folder))
                    self._queue.set_result((queue, loop))
                    await self._watch(queue)
            except (DiskError, JournalError) as error:
                self._trouble.begins(error.message)
                await self._rest(_AGAIN_SECONDS)
            finally:
                self._queue = Future()

    async def _watch(self, queue: CallQueue) -> None:
        """Hand out what has ended, and have made again what was lost, until the end. Raises DiskError, JournalError."""
        silent = self._config.farm.silent_seconds
        look_at = forget_at = 0.0
        renew_at = time.monotonic() + silent  # while the database was away no worker could give a sign of life
        while not self._ended.is_set():
            await self._hand_out(queue)
            now = time.monotonic()
            if self._waiting and now >= renew_at:
                await queue.renew_lost(self._root.id, silent)
                renew_at = now + silent / 6
            if self._waiting and now >= look_at:
                self._state = await queue.state()
                look_at = now + _SHOW_SECONDS
            elif not self._waiting:
                self._state = NO_FARM
            if self._forgotten or now >= forget_at:
                await self._forget(queue)
                forget_at = now + _IDLE_SECONDS
            self._trouble.ends("the queue can be reached again.")
            await self._rest(_LOOK_SECONDS if self._waiting else _IDLE_SECONDS)

    async def _hand_out(self, queue: CallQueue) -> None:
        with self._lock:
            numbers = list(self._waiting)
        if not numbers:
            return
        found = await queue.progress(numbers)
        with self._lock:
            for number in numbers:
                progress, waiting = found.get(number), self._waiting.get(number)
                if waiting and not waiting.done() and (progress is None or progress.has_ended):
                    waiting.set_result(progress)

    async def _forget(self, queue: CallQueue) -> None:
        with self._lock:
            forgotten = list(self._forgotten)
        await queue.forget(self._root.id, forgotten)
        with self._lock:
            self._forgotten -= set(forgotten)

    async def _rest(self, seconds: float) -> None:
        """Wait to be woken, for so long at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()


def _counted(count: int) -> str:
    return "A call" if count == 1 else f"{count} calls"


@contextlib.contextmanager
def _files_in_words() -> Iterator[None]:
    """Turn what the share raises into FarmFilesError; what is missing is for the caller."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FarmFilesError(f"The files of a call cannot be moved: {error.strerror or error}.") from error


# ---- What a call came to, as data ------------------------------------------------------------------------------------


_KINDS: Final = {
    kind.code: kind
    for kind in (
        PluginError,
        PluginSettingsError,
        PluginStartError,
        PluginCrashedError,
        PluginTimeoutError,
        PluginGreedyError,
        PluginMemoryError,
    )
}


def data_of(reply: ChildReply) -> Mapping[str, Any]:
    """Return a reply as a worker publishes it."""
    return {"ok": True, "value": reply.value, "output": reply.output, "seconds": reply.seconds}


def data_of_error(error: PluginError) -> Mapping[str, Any]:
    """Return what went wrong as a worker publishes it."""
    fields = {name: getattr(error, name) for name in ("code", "message", "output", "trace", "seconds")}
    return {"ok": False, **fields}


def _error_of(data: Mapping[str, Any]) -> PluginError:
    error = _KINDS.get(data["code"], PluginError)(data["message"], trace=data["trace"])
    error.has_run(data["output"], data["seconds"])
    return error
