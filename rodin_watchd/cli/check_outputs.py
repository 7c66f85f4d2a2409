"""What `check` finds about what the service writes: whose it will be, with which mode, and who can use it."""

from __future__ import annotations

import grp
import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rodin_watchd.adapters.spool.sharing import folder_mode, usable_gid
from rodin_watchd.cli.check_folders import PUBLISHED
from rodin_watchd.cli.check_user import User, user_of
from rodin_watchd.cli.findings import Finding, Verdict
from rodin_watchd.config import Config

K = TypeVar("K")


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
    user, output = user_of(config), config.output
    gid = None if output.group is None else usable_gid(output.group, user.may_give)
    root = config.folders.root
    folders = [folder for name in PUBLISHED if (folder := root / name).is_dir()]
    looks = {folder: look_in(folder.stat(), user, output.file_mode, gid) for folder in folders}
    yield from _unusable(root, looks, user, configured=gid is not None)
    whose = "the running service" if user.serves else "this user, with this umask,"
    for text, alike in _grouped((str(look), folder) for folder, look in looks.items()).items():
        yield Finding("outputs", f"What {whose} publishes in {_names(alike)} will be {text}.")


def look_in(folder: os.stat_result, user: User, mode: int | None, gid: int | None) -> Look:
    """Return how it will look in a folder, by the configured mode and group; None: by umask and set-gid folders."""
    set_gid = folder.st_mode & stat.S_ISGID
    files = 0o666 & ~user.umask if mode is None else mode
    folders = 0o777 & ~user.umask if mode is None else folder_mode(mode)
    inherited = folder.st_gid if set_gid and user.may_give(folder.st_gid) else user.gid
    return Look(user.name, inherited if gid is None else gid, files, folders | set_gid)


def _unusable(root: Path, looks: Mapping[Path, Look], user: User, *, configured: bool) -> Iterator[Finding]:
    """Notice files that nobody else may read, that those whose the folder is may not, or whose folders they cannot enter."""
    closed = [folder for folder, look in looks.items() if not look.mode & 0o044]
    if closed:
        text = f"Nobody but {user.name} will be able to read what is published in {_names(closed)}."
        yield Finding("outputs", text, Verdict.WARNING, 'Set output.mode, to "0664" for example, and output.group.')
    narrow = {folder: look for folder, look in looks.items() if look.mode & 0o044 == 0o040}
    strange = {f: look for f, look in narrow.items() if not configured and f.stat().st_gid != look.gid}
    yield from _strange(strange, user)
    yield from _barred(root, {folder: look for folder, look in narrow.items() if folder not in strange})


def _strange(looks: Mapping[Path, Look], user: User) -> Iterator[Finding]:
    """Notice folders of a group that will not be able to read what is published there."""
    pairs = (((folder.stat().st_gid, look.gid), folder) for folder, look in looks.items())
    for (owner, reader), folders in _grouped(pairs).items():
        whose, name = f"{_names(folders)}: the group of the folder is", group_name(owner)
        text = f"{whose} {name}, but only {group_name(reader)} will be able to read what is published there."
        yield Finding("outputs", text, Verdict.WARNING, _handing_over(folders, owner, user))


def _handing_over(folders: Iterable[Path], gid: int, user: User) -> str:
    """Say how results get the group of the folders: no folder is taken from the group that has it."""
    setting = f'set output.group = "{group_name(gid)}"'
    if user.may_give(gid):
        return f"Run `chmod g+s {shlex.join(map(str, folders))}`, or {setting}."
    return f"Run `usermod -aG {group_name(gid)} {user.name}`, {setting}, and start the service anew."


def _barred(root: Path, looks: Mapping[Path, Look]) -> Iterator[Finding]:
    """Notice folders that the group which may read the files cannot enter, each once."""
    ways = (((way, look.gid), folder) for folder, look in looks.items() for way in (root, folder))
    for (way, gid), folders in _grouped(ways).items():
        if not _lets_in(way.stat(), gid):
            text = f"The group {group_name(gid)} may read what is published in {_names(folders)}, but not enter {way}."
            yield Finding("outputs", text, Verdict.WARNING, f"Run: {_opening(way, gid, is_root=way == root)}")


def _lets_in(folder: os.stat_result, gid: int) -> bool:
    return bool(folder.st_mode & 0o001 or (folder.st_gid == gid and folder.st_mode & 0o010))


def _opening(way: Path, gid: int, *, is_root: bool) -> str:
    """Return the command that lets a group in. Only the configured group takes another one's place, and never the root's."""
    place = shlex.quote(str(way))
    if way.stat().st_gid == gid:
        return f"chmod g+rx {place}"
    return f"chmod o+x {place}" if is_root else f"chgrp {group_name(gid)} {place} && chmod g+rxs {place}"


def _grouped(pairs: Iterable[tuple[K, Path]]) -> dict[K, list[Path]]:
    """Return folders by what they have in common."""
    found: dict[K, list[Path]] = {}
    for key, folder in pairs:
        found.setdefault(key, []).append(folder)
    return found


def _names(folders: Iterable[Path]) -> str:
    return ", ".join(folder.name for folder in folders)


def group_name(gid: int) -> str:
    """Return a group's name, its number if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
