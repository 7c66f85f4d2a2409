"""`rodin-watchd accept`: a person says that a folder which was moved to another disk is the service's folder all the same."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from rodin_watchd.adapters.filesystems import filesystem_of
from rodin_watchd.adapters.journal.extent import ROOT_ID
from rodin_watchd.adapters.spool.grounds import Grounds, read_mark
from rodin_watchd.cli.act import ask
from rodin_watchd.cli.context import config_option, journal_of, load, reader
from rodin_watchd.config import Config
from rodin_watchd.core.grounds import PATHS, Ground, Mark, Seen, Traces, is_inside_mark
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.names import printable
from rodin_watchd.core.restored import LOSS, Loss
from rodin_watchd.errors import CommandRefusedError, FolderGoneError
from rodin_watchd.service.commands import ACCEPT, SEEN
from rodin_watchd.service.inside import remembered_inside
from rodin_watchd.service.places import place_of
from rodin_watchd.service.traces import traces_of, why_copied

_SHARE_PARTS = 2
"""Of a path in the inbox, at least."""

JOURNAL: Final = "journal"
"""What is accepted besides folders: that something is missing in the journal."""


@click.command(epilog="Example: rodin-watchd accept outbox")
@config_option
@click.argument("folder", metavar="FOLDER")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def accept(config_file: Path | None, folder: str, *, yes: bool) -> None:
    """Accept what lies at FOLDER now, after it was moved to another disk or share.

    FOLDER is root, inbox, outbox, failed, archive, work, or a share in the inbox: inbox/team. The service knows its folders
    by device and by a mark that it leaves in them; one that is neither is taken for a share that is not mounted. This
    leaves the mark in the folder that is there now; the service, running or not, needs nothing else. `accept root` also
    lets a root be served that was copied or moved, or whose journal is lost for good: nothing is known then of what was
    paid elsewhere, or before. `accept journal` says that you know of the submits that are missing in a journal that is older
    than what was paid; the notice of them ends.
    """
    config = load(config_file)
    if folder == JOURNAL:
        _accept_loss(config, yes=yes)
        return
    where, grounds = _path_of(folder), Grounds(config.folders.root)
    path = config.folders.root / where
    there = filesystem_of(path)
    seen = grounds.look_at(where, Path(there.mount_point))
    if seen is None:
        raise FolderGoneError(
            f"There is no folder {path}.", advice="Mount the share or disk first, or make the folder."
        )
    mark = _mark(config, folder if where else Ground.ROOT.value, grounds)
    if not where and mark.journal:
        mark = replace(mark, accepted_from=_before(seen.mark, mark, journal_of(config)))
    if not yes:
        click.echo(f"{path} {_said(seen)}, on {there.kind} mounted at {there.mount_point}.")
        _warn(seen.mark, mark)
        click.confirm(f"Is this the {folder} that the service is to use from now on?", abort=True)
    grounds.leave_mark_at(where, mark, replace=True)
    if not where:
        _mark_all_with(config, grounds, mark, seen.mark)
    click.echo(f"Accepted: the service uses {path}.")


def _path_of(folder: str) -> str:
    """Return where a folder lies, relative to the root. Raises BadParameter for one that cannot be accepted."""
    if folder in set(Ground):
        return PATHS[Ground(folder)]
    parts = folder.split("/")
    if parts[0] != INBOX or len(parts) < _SHARE_PARTS or not {"", ".", ".."}.isdisjoint(parts):
        names = ", ".join((*(ground.value for ground in Ground), JOURNAL))
        raise click.BadParameter(f"{folder} is none of {names}, and no folder in the inbox (inbox/NAME).")
    return folder


def _accept_loss(config: Config, *, yes: bool) -> None:
    with reader(config) as journal:
        found = journal.meta(LOSS)
        if not found:
            raise CommandRefusedError("Nothing is missing in the journal, as far as the service knows.", advice=" ")
        loss = Loss(*found)
        if not yes:
            click.echo(f"{loss.reason}: {loss.counted}. What was paid for by {loss.them} could be paid for once more.")
            click.confirm(
                "Have you looked into the vendor's account, and is there no newer journal or backup?", abort=True
            )
        ask(config, journal, ACCEPT, {SEEN: loss.number})


def _before(there: Mark | None, wanted: Mark, journal: Path) -> str:
    """Return the journal that an accepted copy named before, "" if it is none: what may have been sent is held at the next start.

    A root without a mark may be a copy of one whose mark was left behind: it stands for its own journal, if there is one.
    """
    if there is None:
        return wanted.journal if journal.exists() else ""
    return there.journal if why_copied(there, journal) else there.accepted_from


def _warn(there: Mark | None, wanted: Mark) -> None:
    """Say what it means to accept a folder that another service may be using."""
    if there is None or not there.journal or there.journal == wanted.journal:
        return
    click.echo(
        f"Its mark names another journal: {printable(there.journal, 500)}. A service with that journal must not run any "
        "more, neither on this folder nor on another copy of it: both would pay for the same sets."
    )


def _mark_all_with(config: Config, grounds: Grounds, root: Mark, before: Mark | None) -> None:
    """Mark the folders of an accepted root anew that were marked with it, and the shares in its inbox. Raises OSError."""
    with_it = {root.root_id, before.root_id if before else root.root_id}
    shares = _shares(config)
    names = {PATHS[ground]: ground.value for ground in Ground if ground is not Ground.ROOT}
    for path, name in {**names, **{share: share for share in shares}}.items():
        mark = read_mark(config.folders.root / path)
        if mark and mark.root_id in with_it and (mark.ground == name or (path in shares and is_inside_mark(mark))):
            grounds.leave_mark_at(path, replace(root, ground=name, accepted_from="", traces=Traces()), replace=True)


def _shares(config: Config) -> frozenset[str]:
    """Return where shares were mounted in the inbox that carried the service's mark, relative to the root."""
    if not journal_of(config).exists():
        return frozenset()
    with reader(config) as journal:
        return frozenset(f"{INBOX}/{path}" for path in remembered_inside(journal).known)


def _said(seen: Seen) -> str:
    mark = f"carries the mark of another {seen.mark.ground}" if seen.mark else "carries no mark"
    return f"{'is empty' if seen.empty else 'is not empty'} and {mark}"


def _mark(config: Config, name: str, grounds: Grounds) -> Mark:
    """Return the mark to leave: the journal's, or the root's where no journal knows it yet."""
    path, root_id = journal_of(config), ""
    if path.exists():
        with reader(config) as journal:
            root_id = str(journal.meta(ROOT_ID) or "")
    if root_id:
        return Mark(root_id, name, place_of(path), traces=traces_of(path))
    root = grounds.mark(Ground.ROOT)
    return Mark(root.root_id if root else secrets.token_hex(8), name)
