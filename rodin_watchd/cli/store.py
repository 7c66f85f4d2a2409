"""The commands about the store as a whole."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import click

from rodin_watchd.adapters.ownership import Lock
from rodin_watchd.adapters.spool.mounts import Mounts
from rodin_watchd.adapters.store.factory import add_root, copy_store
from rodin_watchd.cli.commands import mark_all_with
from rodin_watchd.cli.options import config_option, load
from rodin_watchd.client.journal import place_of, reader
from rodin_watchd.config import Config
from rodin_watchd.core.mounts import Mark, Mount
from rodin_watchd.core.store import ROOT_ID
from rodin_watchd.errors import CommandRefusedError, DiskError
from rodin_watchd.service.journal_guard import stamp_of
from rodin_watchd.service.mounts import traces_of
from rodin_watchd.settings import StorePlace, lock_path, place_named


@click.group(epilog="Example: rodin-watchd store copy --to postgresql://rodin@db.example/rodin")
def store() -> None:
    """Copy the store from the journal to a database, or back; have several roots in one."""


@store.command(epilog="Example: rodin-watchd store copy --to postgresql://rodin@db.example/rodin")
@config_option
@click.option(
    "--to", "target", metavar="URL|FOLDER", required=True, help="A PostgreSQL database, or the folder of a journal."
)
@click.option(
    "--password-file", type=click.Path(path_type=Path, dir_okay=False), help="File with the password for that database."
)
def copy(config_file: Path | None, target: str, password_file: Path | None) -> None:
    """Copy the whole store to another place: jobs, their history, and what was paid for. The service must be stopped.

    All tables are copied in one transaction, and compared. Then the source is marked: no service pays from it any more, and
    the marks in the folders name the new place. What is in the target's place is put aside if it is a copy or was moved,
    else the command is refused. It may be repeated until a service has begun with the copy. The configuration is not
    changed: the command prints what to write there.
    """
    config = load(config_file)
    here, there = place_of(config), place_named(config, os.environ, target, password_file)
    if there.name == here.name:
        raise CommandRefusedError(f"The store is in {here.shown} already.")
    now = time.time()
    with contextlib.ExitStack() as stack:
        for lock in dict.fromkeys((here.path.with_name("lock"), lock_path(config), there.path.with_name("lock"))):
            _make_folder(lock.parent)
            stack.enter_context(Lock(lock))
        mounts = Mounts(config.folders.root)
        jobs = copy_store(here, there, now, stamp_of(now))
        _mark_again(config, mounts, there)
    click.echo(
        f"Copied and compared: {jobs:,} jobs are in {there.shown} now. {here.shown[0].upper()}{here.shown[1:]} is not used any more."
    )
    click.echo(f"Now write into the configuration, then start the service:\n{_setting(config, there)}")


@store.command("add-root", epilog="Example: rodin-watchd store add-root --config /srv/second/config.toml")
@config_option
def add(config_file: Path | None) -> None:
    """Make the folder of this configuration another root of the store in the database. The next start of the service adopts it.

    All roots of a store share the account, its budget, and what was bought. A root that was never served needs this where the
    store has roots already: a share that is not mounted looks like an empty folder, and must not become one by itself.
    """
    config = load(config_file)
    place = place_of(config)
    if place.address is None:
        raise CommandRefusedError(
            "The store is a journal, which has one root.", advice="Set [store] url: docs/nodes.md."
        )
    root_id = add_root(place)
    click.echo(
        f"{config.folders.root} is a root of {place.shown} now ({root_id}). Start the service on it: `rodin-watchd run`."
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError.of(f"The folder {folder} cannot be made", error) from error


def _mark_again(config: Config, mounts: Mounts, there: StorePlace) -> None:
    """Have the marks in the folders name the new place, where they are this service's."""
    with reader(config) as source:
        root_id = str(source.meta(ROOT_ID) or "")
    before = mounts.mark(Mount.ROOT)
    if not root_id:
        return
    if before is None or before.root_id != root_id:
        click.echo(
            "The root does not have this service's mark: `rodin-watchd accept root` accepts it, when the service uses the copy."
        )
        return
    mark = Mark(root_id, Mount.ROOT.value, there.name, before.accepted_from, traces_of(there))
    mounts.leave_mark_at("", mark, replace=True)
    mark_all_with(config, mounts, mark, before)


def _setting(config: Config, there: StorePlace) -> str:
    if there.address:
        return f'[store]\nurl = "{there.address.url}"'
    state = f'[folders]\nstate = "{there.path.parent}"'
    return f"{state}\nand remove `url` from [store]" if config.store.url else state
