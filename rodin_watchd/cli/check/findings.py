"""What a check found, and how it is printed."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rodin_watchd.adapters.spool.sharing import umask
from rodin_watchd.adapters.spool.writers import has_capability
from rodin_watchd.client.journal import daemon_of, journal_of
from rodin_watchd.config import Config
from rodin_watchd.errors import RodinWatchdError


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `advice` says what to do."""

    name: str
    text: str
    verdict: Level = Level.OK
    advice: str = ""


def problem(name: str, error: RodinWatchdError) -> Finding:
    """Return an error as what a check found."""
    return Finding(name, error.message, Level.PROBLEM, error.advice_given)


MARKS = {Level.OK: "ok", Level.WARNING: "warning", Level.PROBLEM: "PROBLEM"}


def line_of(finding: Finding) -> str:
    """Return a finding as a line for people."""
    return f"{MARKS[finding.verdict]:<8} {finding.name}: {finding.text} {finding.advice}".rstrip()


# ---- Whose rights `check` judges: those of the running service where it may, else those of whoever asks -------------


_STATUS_LINE = re.compile(r"^(Uid|Gid|Groups|Umask):[ \t]*(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class User:
    """Who writes, or would write: by the effective ids of a process."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int
    serves: bool  # the running service; else this process
    has_lease: bool  # the capability CAP_LEASE

    @property
    def name(self) -> str:
        """The user's name."""
        return user_name(self.uid)

    def may_give(self, gid: int) -> bool:
        """Return whether files may be given to a group, chown(2)."""
        return self.uid == 0 or gid in (self.gid, *self.groups)


def user_of(config: Config) -> User:
    """Return the running service, if it is on this machine and can be seen; else this process."""
    with contextlib.suppress(OSError):  # hidden, or gone at this moment
        daemon = daemon_of(config)
        if daemon and daemon.get("host") == socket.gethostname():
            return _serving(int(daemon["pid"]))
    return User(os.geteuid(), os.getegid(), tuple(os.getgroups()), umask(), serves=False, has_lease=has_capability())


def _serving(pid: int) -> User:
    """Read who a process is: proc_pid_status(5). Raises OSError."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    found = {line[1]: line[2].split() for line in _STATUS_LINE.finditer(text)}
    mask = int(found.get("Umask", ["022"])[0], 8)
    uid, gid, groups = int(found["Uid"][1]), int(found["Gid"][1]), tuple(map(int, found["Groups"]))
    return User(uid, gid, groups, mask, serves=True, has_lease=has_capability(str(pid)))


@contextlib.contextmanager
def acting_as(user: User) -> Iterator[None]:
    """Have the kernel judge rights as that user's, ACLs and all. Only root can; for others nothing changes.

    For a process with one thread that does nothing else meanwhile.
    """
    with contextlib.ExitStack() as back:
        if os.geteuid() == 0 != user.uid:
            uids, gids, groups = os.getresuid(), os.getresgid(), os.getgroups()
            with contextlib.suppress(PermissionError):  # root of a container, without the capability
                os.setgroups(user.groups)
                back.callback(os.setgroups, groups)
                os.setresgid(user.gid, user.gid, user.gid)
                back.callback(os.setresgid, *gids)
                os.setresuid(user.uid, user.uid, 0)
                back.callback(os.setresuid, *uids)
        yield


def user_findings(path: Path, config: Config) -> Iterator[Finding]:
    """Notice that the journal is another user's than the one whose rights are judged."""
    owner, user = _owner_of(journal_of(config)), user_of(config)
    judged = user.uid if os.geteuid() == 0 else os.geteuid()
    if owner in (None, judged):
        return
    name = user_name(owner)
    text = f"The journal belongs to {name}, and this user is {user_name(judged)}: permissions here are not those of the service."
    command = f"runuser -u {name} -- rodin-watchd check --config {shlex.quote(str(path.absolute()))}"
    yield Finding("user", text, Level.WARNING, f"Run it as the user of the service; as root: `{command}`.")


def _owner_of(journal: Path) -> int | None:
    """Return whose the journal is, by its folder if that is closed; None before the first start. Raises OSError."""
    try:
        return journal.stat().st_uid
    except FileNotFoundError:
        return None
    except PermissionError:
        return journal.parent.stat().st_uid


def user_name(uid: int) -> str:
    """Return a user's name, its number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
