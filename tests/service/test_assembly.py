"""Putting the service together, and what it refuses to start with."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import KEY, Hands, Workshop

from rodin_watchd.adapters.ownership import holder
from rodin_watchd.errors import AlreadyRunningError, ConfigError, DiskError, FolderGoneError, RootAwayError
from rodin_watchd.service.assembly import assembled
from rodin_watchd.settings import lock_path

NOWHERE = "http://127.0.0.1:9"


def config_of(root: Path, **sections: dict[str, object]) -> Workshop:
    """Return a workshop whose daemon is not started."""
    return Workshop(root, NOWHERE, sections)


def test_the_parts_are_freed_at_the_end(tmp_path: Path) -> None:
    """After the end another daemon can serve the folder."""
    shop = config_of(tmp_path)
    for _ in range(2):
        with assembled(shop.config, KEY, Hands().clock()) as daemon:
            assert holder(lock_path(shop.config)) is not None
            assert "polling" in daemon.watching
        assert holder(lock_path(shop.config)) is None


def test_a_missing_root_is_told(tmp_path: Path) -> None:
    """A root that is not there is not made: it may be a share that is not mounted."""
    shop = config_of(tmp_path, folders={"root": str(tmp_path / "missing")})
    with pytest.raises(FolderGoneError, match="does not exist"), assembled(shop.config, KEY):
        pass
    assert not (tmp_path / "missing").exists()


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The path of the state folder stands in the message."""
    (tmp_path / "file").write_text("")
    shop = config_of(tmp_path, folders={"state": str(tmp_path / "file" / "state")})
    with pytest.raises(DiskError, match=r"file/state"), assembled(shop.config, KEY):
        pass


def test_an_unusable_key_is_told_without_the_key(tmp_path: Path) -> None:
    """The message says what is wrong with the key, not what it is; the lock is free again."""
    shop = config_of(tmp_path)
    with pytest.raises(ConfigError) as caught, assembled(shop.config, "se cret"):
        pass
    assert "se cret" not in str(caught.value)
    assert holder(lock_path(shop.config)) is None


def test_two_roots_cannot_share_a_journal(tmp_path: Path) -> None:
    """A second daemon on the same state folder would move the first one's jobs; later the journal knows its own root."""
    folders: dict[str, object] = {"state": str(tmp_path / "state")}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first, second = (config_of(tmp_path / name, folders=folders) for name in ("one", "two"))
    with assembled(first.config, KEY), pytest.raises(AlreadyRunningError), assembled(second.config, KEY):
        pass
    with pytest.raises(RootAwayError, match="two is away"), assembled(second.config, KEY):
        pass
    assert holder(lock_path(first.config)) is None
