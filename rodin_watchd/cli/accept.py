"""`rodin-watchd accept`: a person says that a folder which was moved to another disk is the service's folder all the same."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import click

from rodin_watchd.adapters.filesystems import filesystem_of
from rodin_watchd.adapters.spool.grounds import Grounds
from rodin_watchd.cli.context import config_option, journal_of, load, reader
from rodin_watchd.config import Config
from rodin_watchd.core.grounds import Ground, Mark, Seen
from rodin_watchd.core.names import printable
from rodin_watchd.errors import FolderGoneError
from rodin_watchd.service.keeper import ROOT_ID, is_same_journal, place_of


@click.command(epilog="Example: rodin-watchd accept outbox")
@config_option
@click.argument("folder", type=click.Choice([ground.value for ground in Ground]))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def accept(config_file: Path | None, folder: str, *, yes: bool) -> None:
    """Accept what lies at FOLDER now, after it was moved to another disk or share.

    The service knows its folders by device and by a mark that it leaves in them; one that is neither is taken for a share
    that is not mounted. This leaves the mark in the folder that is there now; the service, running or not, needs nothing
    else. `accept root` also lets a root be served that was copied or moved, or whose journal is lost for good: nothing is
    known then of what was paid elsewhere, or before.
    """
    config = load(config_file)
    ground, grounds = Ground(folder), Grounds(config.folders.root)
    path = grounds.path(ground)
    there = filesystem_of(path)
    seen = grounds.look(ground, Path(there.mount_point))
    if seen is None:
        raise FolderGoneError(
            f"There is no folder {path}.", advice="Mount the share or disk first, or make the folder."
        )
    mark = _mark(config, ground, grounds)
    if ground is Ground.ROOT and mark.journal and seen.mark:
        mark = replace(mark, accepted_from=_before(seen.mark, journal_of(config)))
    if not yes:
        click.echo(f"{path} {_said(seen)}, on {there.kind} mounted at {there.mount_point}.")
        _warn(seen.mark, mark)
        click.confirm(f"Is this the {ground} that the service is to use from now on?", abort=True)
    grounds.leave_mark(ground, mark, replace=True)
    if ground is Ground.ROOT:
        _mark_all_with(grounds, mark, seen.mark)
    click.echo(f"Accepted: the service uses {path}.")


def _before(there: Mark, journal: Path) -> str:
    """Return the journal that an accepted root named before, "" if ours: what it may have sent is held at the next start."""
    return there.accepted_from if not there.journal or is_same_journal(there.journal, journal) else there.journal


def _warn(there: Mark | None, wanted: Mark) -> None:
    """Say what it means to accept a folder that another service may be using."""
    if there is None or not there.journal or there.journal == wanted.journal:
        return
    click.echo(
        f"Its mark names another journal: {printable(there.journal, 500)}. A service with that journal must not run any "
        "more, neither on this folder nor on another copy of it: both would pay for the same sets."
    )


def _mark_all_with(grounds: Grounds, root: Mark, before: Mark | None) -> None:
    """Mark the folders of an accepted root anew that were marked with it. Raises OSError."""
    with_it = {root.root_id, before.root_id if before else root.root_id}
    for ground in Ground:
        mark = grounds.mark(ground)
        if ground is not Ground.ROOT and mark and mark.root_id in with_it and mark.ground == ground.value:
            grounds.leave_mark(ground, replace(root, ground=ground.value, accepted_from=""), replace=True)


def _said(seen: Seen) -> str:
    mark = f"carries the mark of another {seen.mark.ground}" if seen.mark else "carries no mark"
    return f"{'is empty' if seen.empty else 'is not empty'} and {mark}"


def _mark(config: Config, ground: Ground, grounds: Grounds) -> Mark:
    """Return the mark to leave: the journal's, or the root's where no journal knows it yet."""
    path, root_id = journal_of(config), ""
    if path.exists():
        with reader(config) as journal:
            root_id = str(journal.meta(ROOT_ID) or "")
    if root_id:
        return Mark(root_id, ground.value, place_of(path))
    root = grounds.mark(Ground.ROOT)
    return Mark(root.root_id if root else secrets.token_hex(8), ground.value)
