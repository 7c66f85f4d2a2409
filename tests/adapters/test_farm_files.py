"""The files of the farm's calls on a share: each attempt has a place of its own, and no key leads out of the work folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from rodin_watchd.adapters.spool.farm_files import ShareFiles


def laid_in(root: Path) -> tuple[ShareFiles, str]:
    """Give the files of a job, with a folder that was laid in."""
    built = root / ".rodin-watchd" / "work" / "j1" / "built"
    built.mkdir(parents=True)
    (built / "model.glb").write_text("model")
    files = ShareFiles(root)
    return files, files.lay_in(built)


def test_attempts_do_not_touch_each_other(tmp_path: Path) -> None:
    """A late one is discarded, the newest one is taken, and nothing is left."""
    root, first, second = tmp_path / "root", tmp_path / "first", tmp_path / "second"
    files, key = laid_in(root)
    for copy in (first, second):
        files.fetch(key, copy)
        (copy / "made.txt").write_text(copy.name)
    files.publish(key, 2, second)
    files.publish(key, 1, first)
    files.discard(key, 1)
    taken = root / ".rodin-watchd" / "work" / "j1" / "taken"
    files.take(key, 2, taken)
    assert (taken / "made.txt").read_text() == "second"
    with pytest.raises(FileNotFoundError):
        files.take(key, 1, tmp_path / "other")
    files.remove(key)
    assert sorted(path.name for path in (root / ".rodin-watchd" / "work" / "j1").iterdir()) == ["built", "taken"]


def test_an_attempt_that_was_published_twice_counts_once(tmp_path: Path) -> None:
    """A worker that repeats it, after the network cut off the answer, replaces its own."""
    files, key = laid_in(tmp_path / "root")
    copy = tmp_path / "copy"
    files.fetch(key, copy)
    files.publish(key, 1, copy)
    (copy / "more.txt").touch()
    files.publish(key, 1, copy)
    files.take(key, 1, tmp_path / "taken")
    assert (tmp_path / "taken" / "more.txt").exists()


@pytest.mark.parametrize("key", ["../outside", ".rodin-watchd/work/../../../outside", "/etc", "outbox/chair"])
def test_no_key_leads_elsewhere(tmp_path: Path, key: str) -> None:
    """Whoever can write into the database moves or removes nothing with it."""
    files, _ = laid_in(tmp_path / "root")
    outside = tmp_path / "outside-1"
    outside.mkdir()
    for act in (files.discard, lambda key, number: files.take(key, number, tmp_path / "taken")):
        with pytest.raises(PermissionError):
            act(key, 1)
    files.remove(key)
    with pytest.raises(OSError, match=r"."):
        files.fetch(key, tmp_path / "copy")
    assert outside.exists()


def test_a_published_folder_is_read_where_it_is(tmp_path: Path) -> None:
    """It is not copied on the share, and never removed; one that is a link is not followed."""
    root = tmp_path / "root"
    (root / "outbox" / "chair").mkdir(parents=True)
    files = ShareFiles(root)
    assert files.lay_in(root / "outbox" / "chair") == "outbox/chair"
    files.remove("outbox/chair")
    files.fetch("outbox/chair", tmp_path / "copy")
    (root / "outbox" / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match=r"."):
        files.fetch("outbox/link", tmp_path / "other")
