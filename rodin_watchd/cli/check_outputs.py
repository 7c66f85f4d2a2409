"""What `check` finds about what the service writes: whose it will be, with which mode, and who can use it."""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rodin_watchd.adapters.spool.sharing import sharing_of
from rodin_watchd.cli.context import daemon_of, journal_of
from rodin_watchd.cli.findings import Finding, Verdict
from rodin_watchd.config import Config
from rodin_watchd.core.layout import ARCHIVE, FAILED, OUTBOX

_STATUS_LINE = re.compile(r"^(Uid|Gid|Umask):[ \t]*(\S+)(?:[ \t]+(\S+))?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, or would write."""

    uid: int
    gid: int
    umask: int
    serves: bool  # the running service; else this process


@dataclass(frozen=True, slots=True)
class Look:
    """How something that is published will look."""

    owner: str
    gid: int
    mode: int  # of a file
    folder_mode: int

    def __str__(self) -> str:
        """Say it as `ls` does."""
        modes = f"{self.mode:04o} ({stat.filemode(stat.S_IFREG | self.mode)}), folders {self.folder_mode:04o}"
        return f"{self.owner}:{group_name(self.gid)}, files {modes}"


def output_findings(config: Config) -> Iterator[Finding]:
    """Say how what is published will look, and what keeps others from using it. Raises ConfigError."""
    sharing = sharing_of(config.output.file_mode, config.output.group)
    writer = writer_of(daemon_of(config))
    yield from _wrong_user(journal_of(config), writer)
    looks: dict[str, list[str]] = {}
    root = config.folders.root
    for folder in (path for path in (root / OUTBOX, root / FAILED, root / ARCHIVE) if path.is_dir()):
        look = look_in(folder.stat(), writer, sharing.mode, sharing.gid)
        looks.setdefault(str(look), []).append(folder.name)
        yield from _unusable(root, folder, look)
    whose = "the running service" if writer.serves else "this user, with this umask,"
    for text, names in looks.items():
        yield Finding("outputs", f"What {whose} publishes in {', '.join(names)} will be {text}.")


def writer_of(daemon: Mapping[str, Any] | None) -> Writer:
    """Return the running service, if it is on this machine and tells; else this process (proc_pid_status(5))."""
    mine = Path("/proc/self/status")
    running = daemon is not None and daemon.get("host") == socket.gethostname()
    status = Path(f"/proc/{daemon['pid']}/status") if daemon and running else mine
    serves = status != mine and status.is_file()
    text = (status if serves else mine).read_text(encoding="utf-8", errors="replace")
    found = {line[1]: line[3] or line[2] for line in _STATUS_LINE.finditer(text)}  # of the ids the second: effective
    return Writer(int(found["Uid"]), int(found["Gid"]), int(found.get("Umask", "022"), 8), serves)


def look_in(folder: os.stat_result, writer: Writer, mode: int | None, gid: int | None) -> Look:
    """Return how it will look in a folder, by the configured mode and group; None: by umask and set-gid folders."""
    set_gid = folder.st_mode & stat.S_ISGID
    files = 0o666 & ~writer.umask if mode is None else mode
    folders = 0o777 & ~writer.umask if mode is None else mode | (mode & 0o444) >> 2
    group = gid if gid is not None else folder.st_gid if set_gid else writer.gid
    return Look(user_name(writer.uid), group, files, folders | set_gid)


def _wrong_user(journal: Path, writer: Writer) -> Iterator[Finding]:
    """Notice that the journal is another user's: what this one would write, the service could not."""
    if not journal.exists() or (owner := journal.stat().st_uid) == writer.uid:
        return
    text = f"The journal is {user_name(owner)}'s, and this is {user_name(writer.uid)}: what it says of rights is not the service's."
    advice = f"Run it as the service does: `runuser -u {user_name(owner)} -- rodin-watchd check`."
    yield Finding("outputs", text, Verdict.WARNING, advice)


def _unusable(root: Path, folder: Path, look: Look) -> Iterator[Finding]:
    """Notice files that nobody else may read, and folders that those who may read cannot enter."""
    if not look.mode & 0o044:
        text = f"Nobody but {look.owner} will be able to read what is published in {folder.name}."
        yield Finding("outputs", text, Verdict.WARNING, 'Set output.mode, to "0664" for example, and output.group.')
        return
    if look.mode & 0o004:
        return
    for way in (root, folder):
        status = way.stat()
        if not (status.st_mode & 0o001 or (status.st_gid == look.gid and status.st_mode & 0o010)):
            name = group_name(look.gid)
            text = f"The group {name} may read what is published in {folder.name}, but not enter {way}."
            yield Finding("outputs", text, Verdict.WARNING, f"Run: chgrp {name} {way} && chmod g+rxs {way}")


def user_name(uid: int) -> str:
    """Return a user's name, its number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return a group's name, its number if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
