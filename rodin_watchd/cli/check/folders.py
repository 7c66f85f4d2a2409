"""What `check` finds about the folders: that they are there, are the right ones, can be used, and have room."""

from __future__ import annotations

import contextlib
import grp
import os
import secrets
import shlex
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from rodin_watchd.adapters.host import Filesystem, filesystem_of, filesystems_in
from rodin_watchd.adapters.spool import Spool, problem_of
from rodin_watchd.adapters.spool.beneath import folder_beneath
from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.adapters.spool.mounts import Mounts, service_above
from rodin_watchd.adapters.spool.sharing import folder_mode, usable_gid
from rodin_watchd.cli.check.findings import Finding, Level, User, acting_as, problem, user_name, user_of
from rodin_watchd.cli.check.service import folder_walls
from rodin_watchd.client.journal import has_store, journal_of, place_of, reader
from rodin_watchd.config import Config
from rodin_watchd.core.layout import ARCHIVE, FAILED, INBOX, OUTBOX, PROBE_PREFIX
from rodin_watchd.core.mounts import Mount, Whose, whose_root
from rodin_watchd.core.names import printable
from rodin_watchd.errors import FolderGoneError, JournalError, StoreAwayError
from rodin_watchd.model import Kind
from rodin_watchd.service.mounts import (
    Memory,
    accept_advice,
    advice_for,
    inbox_anchor,
    is_same_store,
    judged,
    refusal_of,
    remembered,
    root_seen,
)
from rodin_watchd.service.opening import refuse_network_journal

PUBLISHED: Final = (OUTBOX, FAILED, ARCHIVE)
_MEGABYTE: Final = 1_000_000
_MOST_NAMES: Final = 5


def folder_findings(path: Path, config: Config) -> Iterator[Finding]:
    """Compare the folders with those that the journal remembers; then look at those that are there."""
    away, walls = tuple(away_findings(config)), tuple(folder_walls(path, config))
    yield from away
    yield from walls
    if away:
        return
    user = user_of(config)
    with acting_as(user):
        known, inbox = bool(_remembered(config).root_id), inbox_of(config)
        found = [*_usable(Spool(config.folders.root), known=known)]
        if inbox.folder.is_dir() and all(finding.verdict is not Level.PROBLEM for finding in found):
            found += [*_held_fast(inbox), *_closed_shares(inbox)]
    if not any(finding.verdict is Level.PROBLEM for finding in found):
        found += _of_members(inbox.folder, user)
    yield from (finding for finding in found if not (walls and finding.verdict is Level.OK))


def _usable(spool: Spool, *, known: bool) -> Iterator[Finding]:
    """Look what this user may do with the folders; `known`: the journal knows the root, so that the start takes it as it is."""
    if not spool.root.is_dir():
        advice = f"Run `rodin-watchd init {shlex.quote(str(spool.root))}`, or bring the share back."
        yield Finding("folders", f"There is no folder {spool.root}.", Level.PROBLEM, advice)
        return
    if not known and (refusal := _bare(spool.mounts)):
        yield problem("folders", refusal)
        return
    missing = [folder for folder in spool.folders if _is_missing(folder)]
    if missing:
        text = f"Not in {spool.root} yet: {', '.join(str(folder.relative_to(spool.root)) for folder in missing)}."
        yield Finding("folders", text, Level.WARNING, "The start makes them, or `rodin-watchd init`.")
    there = (problem_of(folder) for folder in spool.folders if folder not in missing)
    problems = [text for text in there if text] if missing else spool.problems()
    for text in problems:
        yield Finding("folders", text, Level.PROBLEM, f"This user is {_user()}: change owner, mode or user.")
    if not (missing or problems) and spool.renames() is False:
        text = "inbox and work folder are on different filesystems: sets are copied, which needs twice the disk space for a while."
        yield Finding("folders", text, Level.WARNING, "You need not change this; on one filesystem it is faster.")
    if not (missing or problems):
        yield Finding("folders", f"Those in {spool.root} can be read and written by {_user()}.")
    if above := service_above(spool.root):
        text = f"{spool.root} is in {above}, which is a folder of another service."
        yield Finding(
            "folders", text, Level.WARNING, "Move one of them: a service does not touch folders of another service."
        )


def inbox_of(config: Config) -> Inbox:
    """Return the inbox as the service looks into it."""
    mounts, place = Mounts(config.folders.root), place_of(config)
    folder = mounts.path(Mount.INBOX)
    try:
        if has_store(config):
            with reader(config) as memory:
                return Inbox(folder, inbox_anchor(mounts, memory, place))
    except (JournalError, StoreAwayError, PermissionError):  # reported for the journal
        pass
    return Inbox(folder, inbox_anchor(mounts, None, place))


def _bare(mounts: Mounts) -> FolderGoneError | None:
    """Return why the start refuses a root in which nothing is ours, None if something is."""
    try:
        mounts.refuse_bare()
    except FolderGoneError as error:
        return error
    return None


def _is_missing(folder: Path) -> bool:
    try:
        folder.lstat()
    except FileNotFoundError:
        return True
    return False


def _closed_shares(inbox: Inbox) -> Iterator[Finding]:
    """Notice what is mounted in the inbox and is not, or cannot become, this service's."""
    for path in inbox.look().junk:
        try:
            with folder_beneath(inbox.folder, path) as folder:
                seen = Mounts(inbox.folder.parent).look_inside(path, folder)
        except OSError:  # a file
            continue
        there = inbox.folder / path
        if seen.mark and seen.is_shared:
            text = f"{there} has the mark of another service: nothing is taken from there."
            yield Finding("mounts", text, Level.WARNING, accept_advice(path))
        elif seen.own and not os.access(there, os.W_OK | os.X_OK):
            text = f"{there} is a share or disk in which {_user()} cannot write: nothing is taken from there."
            yield Finding("mounts", text, Level.WARNING, "Give the service's user write permission there.")


def _held_fast(inbox: Inbox) -> Iterator[Finding]:
    """Notice folders of the inbox out of which this user may not move what others drop there."""
    folder = inbox.folder
    folders = ["", *(entry.path for entry in inbox.look().entries if entry.kind is Kind.FOLDER)]
    fast = [folder / path for path in folders if not inbox.may_empty(path)]
    if fast:
        text = f"{_user()} has no permission to take files from {_listed(map(_described, fast))}."
        advice = (
            "Sets that it can read there are copied, and stay. To have them moved, give it write permission there, by a group for it "
            "and the people who drop files, or by an ACL: docs/shares.md."
        )
        yield Finding("folders", text, Level.WARNING, advice)


# ---- what a member of the group would make in the inbox: a folder by the defaults of Samba, `cp -r` and Syncthing ----


_STRANGERS: Final = (65_534, 65_533)  # nobody, or another one where the service is nobody


def _of_members(inbox: Path, user: User) -> list[Finding]:
    """Try a folder of mode 2755 that is another user's and has the inbox's group, with a file of mode 0644 in it."""
    try:
        status = inbox.stat()
        if user.uid == 0 or not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):  # then nobody else drops there
            return []
        with _members_folder(inbox, status, user) as made:
            readable, movable = _rights_in(made, user)
    except OSError:  # what may not be written is a finding of its own
        return []
    who = f"a member of the group {group_name(status.st_gid)}"
    what = f"A folder that {who} makes in the inbox with mode 2755 (the default of Samba, `cp -r` and Syncthing)"
    if not readable:
        return [Finding("folders", f"{what} cannot be read by {user.name}.", Level.WARNING, _HOW_TO_SHARE)]
    if movable:
        return [Finding("folders", f"{what} can be read and emptied by {user.name}.")]
    text = f"{what} can be read by {user.name}, not emptied: its sets are copied, delivered, and stay in the inbox."
    return [Finding("folders", text, advice=_HOW_TO_SHARE)]


_HOW_TO_SHARE: Final = "docs/shares.md says how folders become writable for the group."


@contextlib.contextmanager
def _members_folder(inbox: Path, status: os.stat_result, user: User) -> Iterator[Path]:
    """Make the folder, with a file; both are gone at the end. They are another user's only where root asks. Raises OSError."""
    made = inbox / f"{PROBE_PREFIX}{secrets.token_hex(4)}"
    file = made / "chair.obj"
    before = os.umask(0)  # an ACL of the inbox counts, as it does for others; this user's umask does not
    try:
        made.mkdir(0o755)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    finally:
        os.umask(before)
    try:
        with contextlib.suppress(PermissionError):
            for path in (file, made):
                os.chown(path, next(uid for uid in _STRANGERS if uid != user.uid), status.st_gid)
        yield made
    finally:
        file.unlink(missing_ok=True)
        made.rmdir()


def _rights_in(made: Path, user: User) -> tuple[bool, bool]:
    """Return whether the user may read the file in such a folder, and move it away."""
    status, file = made.stat(), (made / "chair.obj").stat()
    if (
        status.st_uid == user.uid == os.geteuid()
    ):  # ours, for only root may give it away: what its modes allow to others
        shift = 3 if user.may_give(status.st_gid) else 0
        return bool(file.st_mode >> shift & 4 and status.st_mode >> shift & 1), status.st_mode >> shift & 3 == 3
    with acting_as(user):
        return os.access(made / "chair.obj", os.R_OK), os.access(made, os.W_OK | os.X_OK)


def _described(folder: Path) -> str:
    status = folder.lstat()
    return f"{folder} ({stat.filemode(status.st_mode)}, {user_name(status.st_uid)}'s)"


def _listed(words: Iterable[str]) -> str:
    first, rest = (found := list(words))[:_MOST_NAMES], found[_MOST_NAMES:]
    return f"{', '.join(first)}{f' and {len(rest):,} more' if rest else ''}"


def _user() -> str:
    return user_name(os.geteuid())


# ---- mounts ---------------------------------------------------------------------------------------------------------


def mount_findings(config: Config) -> Iterator[Finding]:
    """Say that all folders are those that the journal knows; what is wrong was reported with the folders."""
    known = _remembered(config).known
    if known and not any(away_findings(config)):
        own = ", ".join(mount.value for mount in known if known[mount].own) or "none"
        yield Finding("mounts", f"All folders are those that the journal knows; separate mounts: {own}.")


def away_findings(config: Config) -> Iterator[Finding]:
    """Give what keeps the folders from being believed."""
    memory, place = _remembered(config), place_of(config)
    mounts = Mounts(config.folders.root)
    whose = whose_root(root_seen(mounts.mark(Mount.ROOT), memory, place))
    decides = whose.whose in (Whose.COPIED, Whose.EMPTIED, Whose.ANOTHERS)  # an accepted copy needs nobody any more
    if decides and (refusal := refusal_of(whose, config.folders.root, place)):
        yield problem("mounts", refusal)
    for mount in Mount if memory.known else ():
        now = mounts.glance(mount)
        verdict = judged(mounts, mount, now, memory, lambda named: bool(whose.copied) or is_same_store(named, place))
        if isinstance(verdict, str):
            yield Finding("mounts", f"{mounts.path(mount)}: {verdict}", Level.PROBLEM, advice_for(mount))
            if mount is Mount.ROOT:
                return  # all others are in it


def _remembered(config: Config) -> Memory:
    """Return what the journal remembers of the root; where it cannot be read, which is a finding of its own, a root of no known id."""
    try:
        if not has_store(config):
            return Memory()
        with reader(config) as journal:
            return remembered(journal)
    except (JournalError, StoreAwayError, PermissionError):
        return Memory("unknown")


# ---- filesystems ----------------------------------------------------------------------------------------------------


def filesystem_findings(config: Config) -> Iterator[Finding]:
    """Name the kinds of filesystems, and what a network share means. Raises JournalError for a journal on one."""
    mounts: dict[Filesystem, list[str]] = {}
    for name, mount in _filesystems(config.folders.root):
        mounts.setdefault(mount, []).append(name)
    for mount, names in mounts.items():
        yield Finding("filesystem", f"On {_kind(mount, names, config.intake.rescan_seconds)}: {', '.join(names)}.")
    if config.store.url:
        return
    path = journal_of(config)
    refuse_network_journal(path)
    yield Finding("filesystem", f"The journal is on {filesystem_of(path.parent).kind}, no network share.")


def _filesystems(root: Path) -> Iterator[tuple[str, Filesystem]]:
    """Give the filesystem of each folder in which people drop or find files, and those that are mounted in the inbox."""
    for path, mount in filesystems_in(root / INBOX).items():
        yield (printable(f"{INBOX}/{path}") if path else INBOX), mount
    for name in PUBLISHED:
        yield name, filesystem_of(root / name)


def _kind(mount: Filesystem, names: list[str], rescan_seconds: float) -> str:
    if not mount.network:
        return mount.kind
    takes = any(name.partition("/")[0] == INBOX for name in names)
    late = f" (changes by other machines are found every {rescan_seconds:g} s at best)" if takes else ""
    return f"{mount.kind}, a network share{late}"


def room_findings(config: Config) -> Iterator[Finding]:
    """Look at the room on each filesystem that takes results or inputs."""
    spool, devices = Spool(config.folders.root), dict[int, list[Path]]()
    for folder in (spool.work, *(spool.root / name for name in PUBLISHED)):
        if folder.is_dir():
            devices.setdefault(folder.stat().st_dev, []).append(folder)
    for folders in devices.values():
        names = ", ".join("unfinished results" if folder == spool.work else folder.name for folder in folders)
        takes = spool.work in folders
        yield room_finding(names, shutil.disk_usage(folders[0]).free, config.folders.reserve_bytes, takes=takes)


def room_finding(names: str, free_bytes: int, reserve_bytes: int, *, takes: bool) -> Finding:
    """Judge the free room; `takes`: of the filesystem on which sets are taken and downloaded, which stops below the reserve."""
    free, wanted = free_bytes // _MEGABYTE, reserve_bytes // _MEGABYTE
    if takes and free < wanted:
        advice = f"Nothing is taken or downloaded below {wanted:,} MB: make free space."
        return Finding("room", f"Only {free:,} MB are free for {names}.", Level.PROBLEM, advice)
    if free < max(wanted, 1):
        advice = "Files that do not fit there wait: make free space."
        verdict = Level.WARNING if free else Level.PROBLEM
        return Finding("room", f"Only {free:,} MB are free for {names}.", verdict, advice)
    return Finding("room", f"{free:,} MB are free for {names}.")


# ---- What `check` finds about what the service writes: whose it will be, with which mode, and who can use it --------


K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class FolderView:
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
        yield Finding("outputs", f"Files that {whose} publishes in {_names(alike)} will be {text}.")


def look_in(folder: os.stat_result, user: User, mode: int | None, gid: int | None) -> FolderView:
    """Return how it will look in a folder, by the configured mode and group; None: by umask and set-gid folders."""
    set_gid = folder.st_mode & stat.S_ISGID
    files = 0o666 & ~user.umask if mode is None else mode
    folders = 0o777 & ~user.umask if mode is None else folder_mode(mode)
    inherited = folder.st_gid if set_gid and user.may_give(folder.st_gid) else user.gid
    return FolderView(user.name, inherited if gid is None else gid, files, folders | set_gid)


def _unusable(root: Path, looks: Mapping[Path, FolderView], user: User, *, configured: bool) -> Iterator[Finding]:
    """Notice files that nobody else may read, that those whose the folder is may not, or whose folders they cannot enter."""
    closed = [folder for folder, look in looks.items() if not look.mode & 0o044]
    if closed:
        text = f"Only {user.name} will be able to read files that are published in {_names(closed)}."
        yield Finding("outputs", text, Level.WARNING, 'Set output.mode, to "0664" for example, and output.group.')
    narrow = {folder: look for folder, look in looks.items() if look.mode & 0o044 == 0o040}
    strange = {f: look for f, look in narrow.items() if not configured and f.stat().st_gid != look.gid}
    yield from _strange(strange, user)
    yield from _barred(root, {folder: look for folder, look in narrow.items() if folder not in strange})


def _strange(looks: Mapping[Path, FolderView], user: User) -> Iterator[Finding]:
    """Notice folders of a group that will not be able to read what is published there."""
    pairs = (((folder.stat().st_gid, look.gid), folder) for folder, look in looks.items())
    for (owner, group), folders in _grouped(pairs).items():
        whose, name = f"{_names(folders)}: the group of the folder is", group_name(owner)
        text = f"{whose} {name}, but only {group_name(group)} will be able to read files that are published there."
        yield Finding("outputs", text, Level.WARNING, _handing_over(folders, owner, user))


def _handing_over(folders: Iterable[Path], gid: int, user: User) -> str:
    """Say how results get the group of the folders: no folder is taken from the group that has it."""
    setting = f'set output.group = "{group_name(gid)}"'
    if user.may_give(gid):
        return f"Run `chmod g+s {shlex.join(map(str, folders))}`, or {setting}."
    return f"Run `usermod -aG {group_name(gid)} {user.name}`, {setting}, and start the service again."


def _barred(root: Path, looks: Mapping[Path, FolderView]) -> Iterator[Finding]:
    """Notice folders that the group which may read the files cannot enter, each once."""
    ways = (((way, look.gid), folder) for folder, look in looks.items() for way in (root, folder))
    for (way, gid), folders in _grouped(ways).items():
        if not _lets_in(way.stat(), gid):
            text = f"The group {group_name(gid)} may read files that are published in {_names(folders)}, but not enter {way}."
            yield Finding("outputs", text, Level.WARNING, f"Run: {_opening(way, gid, is_root=way == root)}")


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
