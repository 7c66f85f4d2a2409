"""Who may use what is published: mode and group of files and folders, set before they appear under their names.

What is published was made in the hidden work folder and comes by a rename, so it inherits nothing from the folder that it
goes into. Hence a set-gid folder's group and bit are given here, as the kernel gives them to what is made in place
(inode(7)). What belongs to another user (an artist's input, moved) stays as it is: only its owner may change it.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import logging
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rodin_watchd.adapters.spool.beneath import file_in, folder_in, sync_folder
from rodin_watchd.errors import ConfigError

log = logging.getLogger("rodin_watchd")

_UMASK: Final = re.compile(r"^Umask:\s*([0-7]+)$", re.MULTILINE)
_NO_MORE: Final = 0o777
"""A umask that gives nothing to anybody."""

_NO_MODES_ERRNOS: Final = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


@dataclass(frozen=True, slots=True)
class Sharing:
    """The mode of files (None: by the umask) and the group (None: by set-gid folders). Any thread."""

    mode: int | None = None
    gid: int | None = None

    def tree(self, folder: int, into: int, *, widen: bool) -> None:
        """Make an open folder, and all below it, what it has to be in the open folder `into`, durably. May be repeated.

        `widen`: without a mode, what a program has made narrower than the umask says gets what the umask says. A file that
        we may move but not read is left as it is. Raises OSError for a folder that cannot be read, and where nothing can be
        made durable; what the filesystem refuses is logged, for a result must not be lost for it.
        """
        self._tree(folder, os.fstat(into), umask() if widen and self.mode is None else _NO_MORE)

    def _tree(self, folder: int, above: os.stat_result, mask: int) -> None:
        self._folder(folder, above, mask)
        with os.scandir(folder) as found:
            entries = list(found)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                with folder_in(folder, entry.name) as inner:
                    self._tree(inner, os.fstat(folder), mask)
            elif entry.is_file(follow_symlinks=False):
                with contextlib.suppress(PermissionError), file_in(folder, entry.name) as file:
                    self._file(file, above, mask)
                    os.fsync(file)  # after its mode: that is to be durable, too
        sync_folder(folder)

    def folder(self, made: int, parent: int) -> None:
        """Make an open folder that was just made what it has to be in its open parent."""
        self._folder(made, os.fstat(parent), _NO_MORE)

    def file(self, made: int, parent: int) -> None:
        """Do the same with a file."""
        self._file(made, os.fstat(parent), _NO_MORE)

    def _folder(self, descriptor: int, above: os.stat_result, mask: int) -> None:
        before = os.fstat(descriptor)
        mode = stat.S_IMODE(before.st_mode)
        mode = mode | (0o777 & ~mask) if self.mode is None else (mode & stat.S_ISGID) | folder_mode(self.mode)
        self._give(descriptor, before, self._gid(above), mode | (above.st_mode & stat.S_ISGID))

    def _file(self, descriptor: int, above: os.stat_result, mask: int) -> None:
        before = os.fstat(descriptor)
        mode = stat.S_IMODE(before.st_mode) | (0o666 & ~mask) if self.mode is None else self.mode
        self._give(descriptor, before, self._gid(above), mode)

    def _gid(self, above: os.stat_result) -> int:
        """Return the group of what is in a folder; -1: whatever it is."""
        if self.gid is not None:
            return self.gid
        return above.st_gid if above.st_mode & stat.S_ISGID else -1

    def _give(self, descriptor: int, before: os.stat_result, gid: int, mode: int) -> None:
        """Give group, then mode: changing the group can take bits away (chown(2))."""
        if os.geteuid() not in (0, before.st_uid):
            return
        try:
            if gid not in (-1, before.st_gid):
                os.fchown(descriptor, -1, gid)
                before = os.fstat(descriptor)
            if stat.S_IMODE(before.st_mode) != mode:
                os.fchmod(descriptor, mode)
        except OSError as error:
            if error.errno not in _NO_MODES_ERRNOS:
                raise
            message = "sharing: mode or group of published files cannot be set: %s"
            log.warning(message, os.strerror(error.errno or 0), extra={"action": "sharing"})


def folder_mode(mode: int) -> int:
    """Return the mode of folders next to files of this mode: who may read those may enter."""
    return mode | (mode & 0o444) >> 2


PLAIN: Final = Sharing()
"""Nothing is configured: umask and set-gid folders hold."""


def sharing_of(mode: int | None, group: str | None) -> Sharing:
    """Return what the configuration means on this machine. Raises ConfigError for a group that this user cannot give."""
    may_give = (os.getegid(), *os.getgroups()).__contains__ if os.geteuid() else lambda _gid: True
    return Sharing(mode, None if group is None else usable_gid(group, may_give))


def usable_gid(group: str, may_give: Callable[[int], bool]) -> int:
    """Return the number of a group by its name or number. Raises ConfigError if there is none, or it may not be given."""
    try:
        gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        advice = f"Make it (`groupadd {group}`), or name another one in output.group."
        raise ConfigError(f"There is no group “{group}” on this machine (output.group).", advice=advice) from None
    if not may_give(gid):
        advice = f"Add it to the group (`usermod -aG {group} USER`), and start the service again."
        raise ConfigError(
            f"The user of the service does not belong to the group “{group}” (output.group).", advice=advice
        )
    return gid


def umask_for(mode: int) -> int:
    """Return the umask by which folders are made with the right mode from the start, and files too.

    A set-gid folder's mode cannot be changed later where RestrictSUIDSGID= of systemd.exec(5) holds.
    """
    return 0o777 & ~folder_mode(mode)


def umask() -> int:
    """Return the umask of this process, without changing it where the system shows it (proc_pid_status(5))."""
    with contextlib.suppress(OSError):
        if found := _UMASK.search(Path("/proc/self/status").read_text(encoding="ascii", errors="replace")):
            return int(found[1], 8)
    found_by_setting = os.umask(0o077)
    os.umask(found_by_setting)
    return found_by_setting
