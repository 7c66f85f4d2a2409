"""`rodin-watchd accept`: a person says that a folder which was moved to another disk is the service's folder all the same."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import click

from rodin_watchd.adapters.filesystems import filesystem_of
from rodin_watchd.adapters.spool.grounds import Grounds
from rodin_watchd.cli.context import config_option, journal_of, load, reader
from rodin_watchd.config import Config
from rodin_watchd.core.grounds import Ground, Mark, Seen
from rodin_watchd.errors import FolderGoneError
from rodin_watchd.service.keeper import ROOT_ID


@click.command(epilog="Example: rodin-watchd accept outbox")
@config_option
@click.argument("folder", type=click.Choice([ground.value for ground in Ground]))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def accept(config_file: Path | None, folder: str, *, yes: bool) -> None:
    """Accept what lies at FOLDER now, after it was moved to another disk or share.

    The service knows its folders by device and by a mark that it leaves in them; one that is neither is taken for a share
    that is not mounted. This leaves the mark in the folder that is there now; the service, running or not, needs nothing
    else. `accept root` also lets a root be served whose journal is lost for good: nothing is known then of what was paid.
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
    if not yes:
        click.echo(f"{path} {_said(seen)}, on {there.kind} mounted at {there.mount_point}.")
        click.confirm(f"Is this the {ground} that the service is to use from now on?", abort=True)
    grounds.leave_mark(ground, _mark(config, ground, seen))
    click.echo(f"Accepted: the service uses {path}.")


def _said(seen: Seen) -> str:
    mark = f"carries the mark of another {seen.mark.ground}" if seen.mark else "carries no mark"
    return f"{'is empty' if seen.empty else 'is not empty'} and {mark}"


def _mark(config: Config, ground: Ground, seen: Seen) -> Mark:
    """Return the mark to leave: the journal's, or a fresh one where no journal knows a root yet."""
    path, root_id = journal_of(config), ""
    if path.exists():
        with reader(config) as journal:
            root_id = str(journal.meta(ROOT_ID) or "")
    if not root_id:
        return Mark(seen.mark.root_id if seen.mark else secrets.token_hex(8), ground.value)
    return Mark(root_id, ground.value, f"{socket.gethostname()}:{path}" if ground is Ground.ROOT else "")
