"""A lease: keeps a second daemon off a root on a network share, where locks may not reach from one machine to another.

The holder rewrites a small file every few seconds. Who wants to start looks at that file for as long as a holder may be
late at most, and believes what it *observes* by its own monotonic clock: nobody's file times, nobody else's clock. A
holder that finds another name in the file stops before it does anything else.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from rodin_watchd.errors import AlreadyRunningError, DiskError

HEARTBEAT_SECONDS = 5.0
"""How often the holder says that it lives."""

LEASE_SECONDS = 30.0
"""A holder that was silent for so long, as observed by one clock, is taken for dead."""

CONFIRM_SECONDS = 12.0
"""How long who took over a dead one's lease waits before it believes that it has it: any other holder has looked by then."""

_LOOK_SECONDS = 1.0
_LIMIT_BYTES = 4096
_LENGTH_BYTES = 1024
_NO_LINKS_ERRNOS = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease; `beat` counts its signs of life."""

    host: str
    pid: int
    boot: str  # proc_sys_kernel(5), random/boot_id: another one means that the machine was started anew
    space: str  # the PID namespace: equal numbers in two containers are two processes
    started: str  # proc_pid_stat(5), starttime: a number that was given anew is another process
    nonce: str
    beat: int = 0

    @property
    def words(self) -> str:
        """Who it is, for people."""
        return f"process {self.pid} on {self.host}"


def myself() -> Holder:
    """Return this process as a holder, with a nonce of its own."""
    pid = os.getpid()
    boot = _text(Path("/proc/sys/kernel/random/boot_id"))
    return Holder(socket.gethostname(), pid, boot, _space(), _started(pid), secrets.token_hex(8))


def is_dead_here(holder: Holder, me: Holder) -> bool:
    """Tell whether the holder was a process of this very machine and is known to have ended."""
    if (holder.host, holder.boot, holder.space) != (me.host, me.boot, me.space) or not holder.boot:
        return False
    return holder.pid == me.pid or _started(holder.pid) != holder.started


class Lease:
    """Hold the lease, as a context manager; for one thread. `keep` has to be called at least every few seconds.

    `monotonic` gives seconds that never go back, `wait` lets them pass. Entering raises AlreadyRunningError, which names
    the holder, or DiskError when the file cannot be read or written. It takes `LEASE_SECONDS` where a holder may be alive.
    """

    def __init__(
        self, path: Path, monotonic: Callable[[], float], wait: Callable[[float], None], me: Holder | None = None
    ) -> None:
        self._path = path
        self._monotonic = monotonic
        self._wait = wait
        self._me = me or myself()
        self._kept_at = 0.0

    def __enter__(self) -> Self:
        with _disk_errors(self._path):
            self._take()
        self._kept_at = self._monotonic()
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(OSError):
            if self._is_mine(_read(self._path)):
                self._path.unlink()

    def keep(self) -> None:
        """Do what `confirm` does, if it is time."""
        if self._monotonic() - self._kept_at >= HEARTBEAT_SECONDS:
            self.confirm()

    def confirm(self) -> None:
        """Make sure that the lease is still held, and say that this daemon lives.

        For moments when more than time has to tell: no clock knows how long a machine was suspended. Raises
        AlreadyRunningError when another one took over, DiskError, also for a lease that cannot be understood.
        """
        with _disk_errors(self._path):
            self._look()
            self._me = replace(self._me, beat=self._me.beat + 1)
            self._write()
        self._kept_at = self._monotonic()

    def _look(self) -> None:
        there = _read(self._path)
        if there is None and self._make():
            return
        there = _read(self._path) if there is None else there
        if holder_of(there) is None:
            raise DiskError(f"The lease {self._path} says nobody's name.", advice="If it stays so, remove that file.")
        if not self._is_mine(there):
            raise _taken(there, "took this folder over; this one stops")

    def _take(self) -> None:
        if self._make():
            return
        there = _read(self._path)
        holder = holder_of(there)
        dead = holder is not None and is_dead_here(holder, self._me)
        if not dead:
            watch(self._path, there, LEASE_SECONDS, self._monotonic, self._wait)
        self._write()
        if not dead:  # another starter may have watched the same silence
            self._wait(CONFIRM_SECONDS)
        if not self._is_mine(there := _read(self._path)):
            raise _taken(there, "was faster")

    def _make(self) -> bool:
        """Make the file if there is none; tell whether it was made."""
        part = self._part()
        try:
            os.link(part, self._path)  # fails if there is one, also over NFS (open(2), O_EXCL)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS_ERRNOS:
                raise
            return self._make_exclusively()
        finally:
            part.unlink()
        return True

    def _make_exclusively(self) -> bool:
        try:
            with self._path.open("xb") as file:
                file.write(_bytes(self._me))
        except FileExistsError:
            return False
        return True

    def _write(self) -> None:
        self._part().replace(self._path)

    def _part(self) -> Path:
        part = self._path.with_name(f".{self._path.name}.{self._me.nonce}.part")
        with part.open("wb") as file:
            file.write(_bytes(self._me))
            file.flush()
            os.fsync(file.fileno())
        return part

    def _is_mine(self, data: bytes | None) -> bool:
        holder = holder_of(data)
        return holder is not None and holder.nonce == self._me.nonce


def watch(
    path: Path, there: bytes | None, seconds: float, monotonic: Callable[[], float], wait: Callable[[float], None]
) -> None:
    """Watch a lease for so long. Raises AlreadyRunningError at the holder's first sign of life; returns if it vanishes."""
    began = monotonic()
    while there is not None and monotonic() - began < seconds:
        wait(_LOOK_SECONDS)
        now = _read(path)
        if now is None:
            return
        if now != there and holder_of(now):  # what is half-written is looked at once more
            raise _taken(now, "serves this folder")


def read_lease(path: Path) -> bytes | None:
    """Return what stands in the lease, None if nobody holds it or it cannot be read."""
    try:
        return _read(path)
    except OSError:
        return None


def holder_of(data: bytes | None) -> Holder | None:
    """Return who holds the lease; None when it does not say."""
    try:
        told = json.loads(data or b"")
        return Holder(**told) if isinstance(told, dict) else None
    except (ValueError, TypeError, RecursionError):
        return None


def _taken(data: bytes | None, what: str) -> AlreadyRunningError:
    holder = holder_of(data)
    who = holder.words if holder else "unknown who"
    return AlreadyRunningError(f"Another rodin_watchd ({who}) {what}.")


def _bytes(holder: Holder) -> bytes:
    """Return what stands in the file; always as long, because a share may still remember the length of the one before."""
    told: dict[str, Any] = asdict(holder)
    return json.dumps(told).encode().ljust(_LENGTH_BYTES)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:  # opened anew each time: only then does an NFS client ask the server
            return file.read(_LIMIT_BYTES)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError.of(f"The lease {path} cannot be kept", error) from error


def _started(pid: int) -> str:
    """Return when a process was started, in the kernel's own count; "" when there is none."""
    return next(iter(_text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[19:20]), "")


def _space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
