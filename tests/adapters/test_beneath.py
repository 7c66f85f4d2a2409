"""Walking, opening and writing in folders that strangers can write, with real links, FIFOs and disks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from strangers import mounted

from rodin_watchd.adapters.spool.beneath import (
    disk_errors,
    entry_of,
    file_beneath,
    folder_beneath,
    new_file,
    write_durably_in,
    write_whole_in,
)
from rodin_watchd.errors import DiskError
from rodin_watchd.model import Kind

both_ways = pytest.mark.parametrize("write", [write_durably_in, write_whole_in])


def written(write: Callable[[int, str, bytes], None], path: Path, data: bytes) -> None:
    """Write a file in one of the ways."""
    with folder_beneath(path.parent, "") as folder:
        write(folder, path.name, data)


def test_folder_is_opened_by_its_path(tmp_path: Path) -> None:
    """A folder at any depth is opened, and the root itself by an empty path."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    with folder_beneath(tmp_path, "a/b") as descriptor:
        assert os.listdir(descriptor) == ["file"]  # noqa: PTH208 - of a descriptor
    with folder_beneath(tmp_path, "") as descriptor:
        assert os.listdir(descriptor) == ["a"]  # noqa: PTH208 - of a descriptor


@pytest.mark.parametrize("path", ["link", "link/deep", "a/link", "a/link/deep"])
@pytest.mark.parametrize("make", [False, True])
def test_linked_folder_is_not_followed(tmp_path: Path, path: str, *, make: bool) -> None:
    """A link in the place of a folder, first, last or in between, is an error, also when folders are made."""
    (tmp_path / "outside/deep").mkdir(parents=True)
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "root/link").symlink_to(tmp_path / "outside")
    (tmp_path / "root/a/link").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="Not a directory"), folder_beneath(tmp_path / "root", path, make=make):
        pass
    assert [found.name for found in (tmp_path / "outside").rglob("*")] == ["deep"]


def test_folders_are_made_where_they_are_missing(tmp_path: Path) -> None:
    """Missing folders are made, existing ones kept, and nothing is made without being asked for."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").touch()
    with folder_beneath(tmp_path, "a/b/c", make=True):
        assert (tmp_path / "a/b/c").is_dir()
    assert (tmp_path / "a/file").exists()
    with pytest.raises(FileNotFoundError), folder_beneath(tmp_path, "missing"):
        pass
    with pytest.raises(FileNotFoundError), folder_beneath(tmp_path / "gone", "a", make=True):
        pass


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    """Neither a finished nor a failed walk leaves a descriptor behind."""
    (tmp_path / "a").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ("a", "a/missing"):
        try:
            with folder_beneath(tmp_path, path):
                pass
        except FileNotFoundError:
            assert path == "a/missing"
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_linked_file_is_not_followed(tmp_path: Path) -> None:
    """A link in the place of a file is an error."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"), file_beneath(tmp_path, "link"):
        pass


def test_fifo_holds_nobody_up(tmp_path: Path) -> None:
    """A FIFO without a writer is opened at once and tells what it is."""
    os.mkfifo(tmp_path / "fifo")
    with file_beneath(tmp_path, "fifo") as descriptor:
        assert entry_of("fifo", os.fstat(descriptor)).kind is Kind.OTHER


def test_every_kind_of_entry(tmp_path: Path) -> None:
    """Files, folders, links and all else are told apart without following anything."""
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    kinds = {name: entry_of(name, (tmp_path / name).lstat()).kind for name in ("file", "link", "folder")}
    assert kinds == {"file": Kind.FILE, "link": Kind.SYMLINK, "folder": Kind.FOLDER}
    assert entry_of("null", Path("/dev/null").lstat()).kind is Kind.OTHER
    entry = entry_of("file", (tmp_path / "file").lstat())
    assert (entry.signature.size, entry.links) == (5, 1)


@both_ways
def test_file_is_replaced_as_a_whole(tmp_path: Path, write: Callable[[int, str, bytes], None]) -> None:
    """A file is written and replaced under its name, and nothing else is left in the folder."""
    for data in (b"first", b"second"):
        written(write, tmp_path / "STATUS.txt", data)
        assert (tmp_path / "STATUS.txt").read_bytes() == data
    assert [found.name for found in tmp_path.iterdir()] == ["STATUS.txt"]


@both_ways
@pytest.mark.parametrize("name", ["STATUS.txt", ".STATUS.txt.part"])
def test_planted_link_is_not_written_through(
    tmp_path: Path, name: str, write: Callable[[int, str, bytes], None]
) -> None:
    """A link that somebody planted, under the file's name or its temporary one, is replaced, not followed."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / name).symlink_to("precious")
    written(write, tmp_path / "STATUS.txt", b"new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "STATUS.txt").read_text() == "new"
    assert not (tmp_path / "STATUS.txt").is_symlink()


@both_ways
def test_planted_fifo_holds_no_writing_up(tmp_path: Path, write: Callable[[int, str, bytes], None]) -> None:
    """A FIFO under the temporary name is replaced; opening it for writing would wait for ever."""
    os.mkfifo(tmp_path / ".STATUS.txt.part")
    written(write, tmp_path / "STATUS.txt", b"new")
    assert (tmp_path / "STATUS.txt").read_text() == "new"


def broken_off(folder: int) -> None:
    """Begin a file, and fail."""
    with new_file(folder, "part") as descriptor:
        os.write(descriptor, b"half")
        raise RuntimeError


def test_nothing_is_left_of_a_file_that_failed(tmp_path: Path) -> None:
    """A file whose writing fails disappears, and one that a crash left is replaced."""
    (tmp_path / "part").write_text("left by a crash, and longer")
    with folder_beneath(tmp_path, "") as folder:
        with new_file(folder, "part") as descriptor:
            os.write(descriptor, b"whole")
        assert (tmp_path / "part").read_text() == "whole"
        with pytest.raises(RuntimeError):
            broken_off(folder)
    assert list(tmp_path.iterdir()) == []


@both_ways
def test_full_disk_leaves_the_old_file(tmp_path: Path, write: Callable[[int, str, bytes], None]) -> None:
    """When the disk is full the old content stays, nothing half-written does, and it works again with room."""
    with mounted(tmp_path / "small", size="64k") as small:
        written(write, small / "STATUS.txt", b"old")
        with pytest.raises(OSError, match="No space"):
            written(write, small / "STATUS.txt", b"x" * 100_000)
        assert [(found.name, found.read_bytes()) for found in small.iterdir()] == [("STATUS.txt", b"old")]
        written(write, small / "STATUS.txt", b"new")
        assert (small / "STATUS.txt").read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.ESTALE])
def test_machine_is_blamed_for_its_errors(number: int) -> None:
    """What no set can cause is a DiskError that says what could not be done, and why."""
    with pytest.raises(DiskError, match=f"The box cannot be written: {os.strerror(number)}"):  # noqa: SIM117 - the order matters
        with disk_errors("The box cannot be written"):
            raise OSError(number, "raw")


def test_other_errors_pass(tmp_path: Path) -> None:
    """An error that tells of a file passes as it is."""
    with pytest.raises(FileNotFoundError), disk_errors("The box cannot be written"):
        (tmp_path / "missing").read_bytes()
