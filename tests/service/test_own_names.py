"""The service's files under fixed names: what somebody else keeps under such a name is never removed or written over."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from workshop import Vendor, Workshop, workshop

from rodin_watchd.adapters.store.backup import make_backup
from rodin_watchd.core.layout import HIDDEN, PLUGIN_SCRATCH
from rodin_watchd.errors import ForeignFileError, PluginLoadError

PLUGIN = "from rodin_watchd.v1 import hookimpl\n\n@hookimpl\ndef rodin_delivered(job, directory, settings):\n    pass\n"


@pytest.mark.parametrize("folder", [f"{HIDDEN}/plugins", "plugins"])
@pytest.mark.parametrize("state", [HIDDEN, "."])
def test_the_owners_plugins_stay(tmp_path: Path, vendor: Vendor, folder: str, state: str) -> None:
    """Wherever their folder lies: in the state folder as well as elsewhere, and at each start and end."""
    (tmp_path / folder).mkdir(parents=True)
    mine = [tmp_path / folder / name for name in ("stamp.py", "notes.txt")]
    for path in mine:
        path.write_text(PLUGIN)
    folders = {"state": str(tmp_path / state)}
    with workshop(
        tmp_path, vendor.emulator.base_url, folders=folders, plugins={"folders": [str(tmp_path / folder)]}
    ) as shop:
        shop.drop_set("chair")
        shop.idle()
        shop.restart()
        assert (tmp_path / state / PLUGIN_SCRATCH).is_dir()
    assert all(path.read_text() == PLUGIN for path in mine)


def test_plugins_among_temporary_files_are_refused(tmp_path: Path, vendor: Vendor) -> None:
    """A folder of plugins in the one that is cleared at each start keeps the service from starting."""
    folder = tmp_path / HIDDEN / PLUGIN_SCRATCH / "run-mine"
    folder.mkdir(parents=True)
    (folder / "stamp.py").write_text(PLUGIN)
    shop = Workshop(tmp_path, vendor.emulator.base_url, {"plugins": {"folders": [str(folder)]}})
    with pytest.raises(PluginLoadError, match="which the service clears at each start"):
        shop.start()
    assert (folder / "stamp.py").exists()


NAMES = ("lock", "alive.json", "journal.ballast", "journal.backup.sqlite3")


def _lay(path: Path, kind: str) -> bytes:
    """Lay something of somebody else's there, and return its bytes."""
    if kind == "fifo":
        os.mkfifo(path)
        return b""
    if kind == "database":
        with sqlite3.connect(path) as made:
            made.execute("CREATE TABLE meta (mine TEXT)")
        made.close()
    else:
        path.write_text({"text": "three weeks of work", "json": '{"pid": 1, "mine": "all"}'}[kind])
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["text", "json", "database", "fifo"])
@pytest.mark.parametrize("name", NAMES)
def test_files_of_others_in_the_state_folder_keep_the_service_from_starting(
    tmp_path: Path, vendor: Vendor, name: str, kind: str
) -> None:
    """They stay as they are, the message names them, nothing is made; when they are gone it starts."""
    there = tmp_path / name
    mine = _lay(there, kind)
    before = {path.name for path in tmp_path.iterdir()} | {"config.toml"}
    shop = Workshop(tmp_path, vendor.emulator.base_url, {"folders": {"state": str(tmp_path)}})
    with pytest.raises(ForeignFileError, match=f"/{name} is not a file of this service"):
        shop.start()
    assert {path.name for path in tmp_path.iterdir()} == before
    if kind == "fifo":
        assert there.is_fifo()
    else:
        assert there.read_bytes() == mine
    there.unlink()
    shop.start()
    shop.crash()


@pytest.mark.parametrize("kind", ["text", "json", "database", "fifo"])
def test_files_of_others_that_come_later_stay_too(tmp_path: Path, vendor: Vendor, kind: str) -> None:
    """Whatever takes the place of the service's files while it runs: it goes on, waits for none, and leaves them alone."""
    state = tmp_path / "state"
    with workshop(tmp_path, vendor.emulator.base_url, folders={"state": str(state)}) as shop:
        shop.ticks(3, step_seconds=1.0)
        make_backup(shop.journal, 1.0)
        laid = {}
        for name in NAMES[1:]:
            (state / name).unlink()
            laid[name] = _lay(state / name, kind)
        shop.drop_set("chair")
        shop.idle()
        with pytest.raises(ForeignFileError):
            make_backup(shop.journal, 2.0)
        for name, mine in laid.items():
            assert (state / name).is_fifo() if kind == "fifo" else (state / name).read_bytes() == mine
        assert vendor.charges == 1


def test_its_own_files_are_written_over_at_each_start(tmp_path: Path, vendor: Vendor) -> None:
    """Also those that a crash left empty."""
    state = tmp_path / "state"
    with workshop(tmp_path, vendor.emulator.base_url, folders={"state": str(state)}) as shop:
        shop.ticks(3, step_seconds=1.0)
        make_backup(shop.journal, 1.0)
        shop.restart()
        shop.ticks(3, step_seconds=1.0)

        def leave_empty() -> None:
            for name in NAMES:
                os.truncate(state / name, 0)

        shop.restart(leave_empty)
        shop.ticks(3, step_seconds=1.0)
        make_backup(shop.journal, 2.0)
        assert all((state / name).stat().st_size for name in NAMES)
