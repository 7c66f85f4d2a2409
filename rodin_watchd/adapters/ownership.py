"""One daemon for each root: a lock file that says who holds it, and on a network share a lease with a heartbeat."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from rodin_watchd.errors import AlreadyRunningError, DiskError
from rodin_watchd.own_file import WRITE, refuse_foreign

_FLOCK = struct.Struct("hhqqi")  # fcntl(2), struct flock: type, whence, start, length, pid
_NO_LOCKS_ERRNOS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_WHOLE_FILE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class Lock:
    """Hold the lock while the process lives, as a context manager; the kernel frees it even after `kill -9`.

    Entering raises AlreadyRunningError, which names the holder, or DiskError when the file cannot be written or locked;
    a lock that is not needed now, because something else keeps others off, may be one that the filesystem does not know.
    """

    def __init__(self, path: Path, is_needed: Callable[[], bool] = lambda: True) -> None:
        self._path = path
        self._is_needed = is_needed
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._descriptor = self._taken()
        return self

    def _taken(self) -> int:
        with _lock_errors(self._path):
            descriptor = os.open(self._path, WRITE, 0o644)
            try:
                self._acquire(descriptor)
                refuse_foreign(descriptor, self._path, is_lock)
                _sign(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        return descriptor

    def keep(self) -> None:
        """Take the lock again if the file at its path is not the one that is held: a share that was away may be back.

        Cheap, and to be called often. Raises AlreadyRunningError if somebody else was faster, DiskError.
        """
        if not self._is_held():
            fresh, before = self._taken(), self._descriptor
            self._descriptor = fresh
            _close(before)

    def confirm(self) -> None:
        """Do the same: it always looks."""
        self.keep()

    def _is_held(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except OSError:  # removed; or a descriptor of a share that was lost (ESTALE)
            return False

    def __exit__(self, *_error: object) -> None:
        _close(self._descriptor)

    def _acquire(self, descriptor: int) -> None:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"Another rodin_watchd serves this folder: {_holder_text(holder(self._path) or {})}."
            ) from None
        except OSError as error:
            if self._is_needed() or error.errno not in _NO_LOCKS_ERRNOS:
                raise


def _close(descriptor: int) -> None:
    """Close a file that nothing was written to since; of a share that has died the kernel says that, and closes it (close(2))."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


@contextlib.contextmanager
def _lock_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError.of(f"The lock {path} cannot be written", error) from error


def is_lock(head: bytes) -> bool:
    """Return whether a file that begins like this is a lock of ours."""
    return _parsed(head).keys() == {"host", "pid"}


def _sign(descriptor: int) -> None:
    """Write who holds the lock."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)


def holder(path: Path) -> dict[str, Any] | None:
    """Return host and pid of the daemon that holds the lock, {} if it does not say, None when nobody does.

    Raises PermissionError without the right to read the file. Asking takes no lock, not even for a moment: it never keeps a daemon from starting.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WHOLE_FILE)
        return None if _FLOCK.unpack(answer)[0] == fcntl.F_UNLCK else _parsed(os.read(descriptor, 4096))
    finally:
        os.close(descriptor)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):  # anybody may have written it
        return {}
    return fields if isinstance(fields, dict) else {}


def _holder_text(found: dict[str, Any]) -> str:
    return f"process {found['pid']} on {found['host']}" if {"pid", "host"} <= found.keys() else "unknown who"


# ---- A lease: keeps a second daemon off a root on a network share, where locks may not reach from one machine to another ----


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
    boot: str  # proc_sys_kernel(5), random/boot_id: another one means that the machine was started again
    space: str  # the PID namespace: equal numbers in two containers are two processes
    started: str  # proc_pid_stat(5), starttime: a number that was given again is another process
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


def process_text(me: Holder) -> str:
    """Return a process as a store keeps it."""
    return json.dumps(asdict(me))


def has_ended_here(process: str, me: Holder) -> bool:
    """Return whether a stored process was one of this very machine and is known to have ended."""
    holder = holder_of(process.encode())
    return holder is not None and is_dead_here(holder, me)


def is_dead_here(holder: Holder, me: Holder) -> bool:
    """Return whether the holder was a process of this very machine and is known to have ended."""
    if (holder.host, holder.boot, holder.space) != (me.host, me.boot, me.space) or not holder.boot:
        return False
    return holder.pid == me.pid or _started(holder.pid) != holder.started


class Lease:
    """Hold the lease, as a context manager; for one thread. `keep` has to be called at least every few seconds.

    `monotonic` gives seconds that never go back, `wait` lets them pass. Entering raises AlreadyRunningError, which names
    the holder, or DiskError when the file cannot be read or written. It takes `LEASE_SECONDS` where a holder may be alive.
    A lease is held from the first moment at which `is_needed` returns that it is, at the start or later.
    """

    def __init__(
        self,
        path: Path,
        monotonic: Callable[[], float],
        wait: Callable[[float], None],
        me: Holder | None = None,
        is_needed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._path = path
        self._monotonic = monotonic
        self._wait = wait
        self._me = me or myself()
        self._is_needed = is_needed
        self._is_held = False
        self._kept_at = 0.0

    def __enter__(self) -> Self:
        if self._is_needed():
            with _lease_errors(self._path):
                self._take()
            self._is_held = True
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

        For moments when time alone does not show it: no clock knows how long a machine was suspended. Raises
        AlreadyRunningError when another one took over, DiskError, also for a lease that cannot be understood.
        One that was not needed until now is made, if nobody holds it: whoever has it was there first.
        """
        self._is_held = self._is_held or self._is_needed()
        if not self._is_held:
            self._kept_at = self._monotonic()
            return
        with _lease_errors(self._path):
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
            raise DiskError(
                f"The lease {self._path} names no holder.", advice="If this does not change, remove that file."
            )
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
        """Make the file if there is none; return whether it was made."""
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
        fields = json.loads(data or b"")
        return Holder(**fields) if isinstance(fields, dict) else None
    except (ValueError, TypeError, RecursionError):
        return None


def _taken(data: bytes | None, what: str) -> AlreadyRunningError:
    holder = holder_of(data)
    who = holder.words if holder else "unknown who"
    return AlreadyRunningError(f"Another rodin_watchd ({who}) {what}.")


def _bytes(holder: Holder) -> bytes:
    """Return what stands in the file; always as long, because a share may still remember the length of the one before."""
    fields: dict[str, Any] = asdict(holder)
    return json.dumps(fields).encode().ljust(_LENGTH_BYTES)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:  # opened again each time: only then does an NFS client ask the server
            return file.read(_LIMIT_BYTES)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _lease_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError.of(f"The lease {path} cannot be written", error) from error


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
