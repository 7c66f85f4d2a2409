"""The service's files under fixed names: what somebody else keeps under such a name is never removed or written over."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import Vendor, Workshop, workshop

from rodin_watchd.core.layout import HIDDEN, PLUGIN_SCRATCH
from rodin_watchd.errors import PluginLoadError

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
