"""The machine that the service runs on: the filesystems of its folders, its time zone, and what a process shows of itself.

SQLite's write-ahead log must not be on a network filesystem, and a network filesystem reports no change that another
machine made. Both are known only by the filesystem's type, which Linux shows in /proc/self/mountinfo
(proc_pid_mountinfo(5)). Elsewhere the answer is "unknown, not a network": nothing is refused on a guess.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final
from zoneinfo import ZoneInfo

_MOUNTINFO = Path("/proc/self/mountinfo")

_NETWORK_KINDS = frozenset(
    (
        *("afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"),
        *("orangefs", "panfs", "pvfs2", "smb3", "smbfs"),
        *("gfs2", "ocfs2"),  # one disk under several machines: each sees only its own events
        *("9p", "drvfs", "fakeowner", "prl_fs", "vboxsf", "virtiofs", "vmhgfs"),  # a virtual machine's host
    )
)
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs"})  # the root of a rootless container; `fuseblk` is a disk by its name

_MOUNT_POINT_FIELD = 4
_OPTIONAL_FIELDS = 6  # from here on, any number of them, ended by a lone "-"
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Filesystem:
    """A mounted filesystem: its type as the kernel names it, whether other machines share it, and where it is."""

    kind: str
    network: bool
    mount_point: str


_UNKNOWN = Filesystem(kind="unknown", network=False, mount_point="")


def filesystem_of(path: Path) -> Filesystem:
    """Return the filesystem that `path` is on, or would be on if it existed; symbolic links are followed.

    Where mounts cannot be read the kind is "unknown" and `network` is False. Nothing is raised, for a missing path or a loop
    of symbolic links either: that is on the filesystem of the folder that it is in. May be repeated; a later mount changes the answer.
    """
    return holding(_mounted(), os.path.realpath(path))


def _mounted() -> tuple[Filesystem, ...]:
    try:
        text = _MOUNTINFO.read_bytes().decode(errors="surrogateescape")  # bytes: a name may hold a carriage return
    except OSError:
        return ()
    return parse_mountinfo(text)


def filesystems_in(path: Path) -> Mapping[str, Filesystem]:
    """Return the filesystem that `path` is on, as `filesystem_of`, by "", and those that are mounted below, by the path relative to it.

    Nothing is raised. May be repeated; a later mount changes the answer. What a later mount covers is left out.
    """
    mounts, resolved = (
        _mounted(),
        os.path.realpath(path),
    )  # unlike Path.resolve, raises nothing for a loop, which anybody can make
    return {"": holding(mounts, resolved), **mounted_below(mounts, resolved)}


def shares_in(path: Path) -> Mapping[str, str]:
    """Return which of the filesystems in `path` are shares, by the path relative to it: the kind of a network filesystem, "" of a local one."""
    return {at: found.kind if found.network else "" for at, found in filesystems_in(path).items()}


def mounted_below(filesystems: tuple[Filesystem, ...], path: str) -> Mapping[str, Filesystem]:
    """Return those that are mounted below the absolute `path`, by the path relative to it."""
    top = path.rstrip("/") + "/"
    below: dict[str, Filesystem] = {}
    for found in filesystems:
        point = found.mount_point.rstrip("/") + "/"
        if point.startswith(top) and point != top:
            below = {at: known for at, known in below.items() if not f"{top}{at}/".startswith(point)}
            below[point[len(top) : -1]] = found
        elif point != "/" and top.startswith(point):
            below = {}
    return below


def holding(filesystems: tuple[Filesystem, ...], path: str) -> Filesystem:
    """Return the filesystem with the longest mount point above the absolute `path`; of equals the last, the topmost."""
    above = {path, *map(str, PurePosixPath(path).parents)}
    candidates = [found for found in reversed(filesystems) if found.mount_point in above]
    return max(candidates, key=lambda found: len(found.mount_point), default=_UNKNOWN)


@lru_cache(maxsize=1)
def parse_mountinfo(text: str) -> tuple[Filesystem, ...]:
    """Read the text of a mountinfo file, in its order; lines of another form are passed over.

    Bytes that are not UTF-8 are expected as lone surrogates (PEP 383) and stay so. The newest answer is kept: in most
    ticks nothing was mounted.
    """
    return tuple(found for line in text.split("\n") if (found := _parse_line(line)) is not None)


def _parse_line(line: str) -> Filesystem | None:
    fields = line.split(" ")
    try:
        kind = fields[fields.index("-", _OPTIONAL_FIELDS) + 1]
    except (ValueError, IndexError):
        return None
    return Filesystem(kind=kind, network=_is_network(kind), mount_point=_unescaped(fields[_MOUNT_POINT_FIELD]))


def _unescaped(field: str) -> str:
    """Undo the kernel's octal escapes: space, tab, newline, backslash, and in some versions `#`."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)


def _is_network(kind: str) -> bool:
    """Return whether other machines may write there; a FUSE filesystem is taken for one unless known to be local."""
    fuse = kind == "fuse" or kind.startswith("fuse.")
    return kind in _NETWORK_KINDS or (fuse and kind not in _LOCAL_FUSE)


# ---- This machine's time zone, for instants that people read --------------------------------------------------------


def since_boot() -> float:
    """Return the seconds since the machine was started, also those for which it was suspended (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def local_zone() -> tzinfo:
    """Return this machine's time zone with its rules, else its present offset."""
    name = os.environ.get("TZ", "").lstrip(":")
    with contextlib.suppress(OSError, ValueError, KeyError):
        if name:
            return ZoneInfo(name)
        with Path("/etc/localtime").open("rb") as rules:
            return ZoneInfo.from_file(rules)
    return datetime.now().astimezone().tzinfo or UTC


# ---- What this process hides of itself, so that the API key stays in it: its memory, and its environment ------------


_PR_SET_DUMPABLE = 4  # prctl(2)


def hide_memory() -> None:
    """Let no core dump be made of this process, and nobody but root look into its memory and its environment.

    A limit of 0 alone would not do: the kernel ignores it for dumps that it pipes to a program (core(5)). Holds for
    children until they execute another program. Where the system knows no such wish, the limit is all there is.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


_M_ARENA_MAX = -8  # mallopt(3)


def share_memory_pool() -> None:
    """Let all threads take memory from one pool: each pool of its own would keep what one large answer took. Where the library can."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def return_memory() -> None:
    """Give memory back to the system that was needed for a while, as by a start. May be repeated. Where the library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def collect_seldom() -> None:
    """Look for garbage in what comes from now on alone, and less often: a look at a large inbox makes values by the ten thousand.

    Nearly all of them are freed at once, by their counts of references (https://docs.python.org/3.11/library/gc.html).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_VALUES)


_NEW_VALUES: Final = 20_000
"""So many more values than were freed are made before the next look; Python's own number is 700."""


def give_way(niceness: int) -> None:
    """Let other processes go first: this thread, and those that it starts, take no core from one that works (SCHED_BATCH).

    For the main thread, before any other is started. Where the system does not allow it, nothing changes.
    """
    with contextlib.suppress(OSError):
        os.nice(niceness)
    with contextlib.suppress(OSError, AttributeError):  # Linux alone
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def hide_variable(name: str) -> None:
    """Take a variable out of the environment: from children, from `ps e`, and from `/proc/PID/environ`.

    Removing it is not enough for the last two: they show the memory in which the process was given its environment.
    """
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    if address := getenv(os.fsencode(name)):
        ctypes.memset(address, ord("*"), len(ctypes.string_at(address)))
    os.environ.pop(name, None)
