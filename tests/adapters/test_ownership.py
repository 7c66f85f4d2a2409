"""One daemon for each root: the lock between real processes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from forgetful_fuse import forgetful
from strangers import as_nobody, public_folder

from rodin_watchd.adapters.ownership import Lock, holder
from rodin_watchd.errors import AlreadyRunningError, DiskError

HOLD = """
import sys
from pathlib import Path
from rodin_watchd.adapters.ownership import Lock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have a process hold the lock."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.communicate(timeout=30)  # its standard input ends, and so does it


def test_second_holder_is_refused(tmp_path: Path) -> None:
    """The second one is refused, told host and process of the first, and gets the lock when the first has ended."""
    with held(tmp_path / "lock") as first:
        with pytest.raises(AlreadyRunningError) as refused, Lock(tmp_path / "lock"):
            pass
        assert f"process {first.pid} on {socket.gethostname()}" in refused.value.message
        assert holder(tmp_path / "lock") == {"host": socket.gethostname(), "pid": first.pid}
    assert holder(tmp_path / "lock") is None
    with Lock(tmp_path / "lock"):
        assert holder(tmp_path / "lock") == {"host": socket.gethostname(), "pid": os.getpid()}
    assert holder(tmp_path / "lock") is None


def test_a_lock_that_somebody_has_written_into_is_held_all_the_same(tmp_path: Path) -> None:
    """Only who holds it is not known then."""
    with held(tmp_path / "lock"):
        (tmp_path / "lock").write_bytes(b"[" * 4096)
        with pytest.raises(AlreadyRunningError, match="unknown who"), Lock(tmp_path / "lock"):
            pass


def test_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    """After kill -9 nobody holds the lock, whatever the file says."""
    with held(tmp_path / "lock") as first:
        first.kill()
    assert (tmp_path / "lock").stat().st_size > 0
    assert holder(tmp_path / "lock") is None
    with Lock(tmp_path / "lock"):
        pass


def test_asking_never_keeps_a_daemon_from_starting(tmp_path: Path) -> None:
    """While others ask for the holder all the time, the lock can be taken and each of them gets a true answer."""
    path, stop = tmp_path / "lock", threading.Event()
    answers: set[int | None] = set()

    def ask() -> None:
        while not stop.is_set():
            found = holder(path)
            answers.add(found.get("pid") if found else None)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(300):
            with Lock(path):
                pass
    finally:
        stop.set()
        for thread in asking:
            thread.join()
    assert answers <= {None, os.getpid()}


def test_another_user_learns_the_holder() -> None:
    """Another user with the right to read is told who holds the lock."""
    with public_folder() as folder:
        with held(folder / "lock") as first:
            assert as_nobody(lambda: holder(folder / "lock")) == {"host": socket.gethostname(), "pid": first.pid}
        assert as_nobody(lambda: holder(folder / "lock")) is None


def test_file_that_says_nothing(tmp_path: Path) -> None:
    """A lock that is held while its file holds no sense is held all the same."""
    with held(tmp_path / "lock"):
        for content in ("", "[]", "{", '{"pid": 1}'):
            (tmp_path / "lock").write_text(content)
            with pytest.raises(AlreadyRunningError, match="unknown who"), Lock(tmp_path / "lock"):
                pass
        assert (tmp_path / "lock").read_text() == '{"pid": 1}'


def test_nobody_holds_a_lock_that_never_was(tmp_path: Path) -> None:
    """Without a file nobody holds the lock, and asking makes none."""
    assert holder(tmp_path / "lock") is None
    assert not (tmp_path / "lock").exists()


def test_lock_that_cannot_be_written(tmp_path: Path) -> None:
    """A missing folder, or a link in the file's place, is told as the disk's fault, and leaves no descriptor open."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (tmp_path / "missing/lock", tmp_path / "link"):
        with pytest.raises(DiskError, match="cannot be written"), Lock(path):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not (tmp_path / "elsewhere").exists()


def test_lock_is_not_inherited(tmp_path: Path) -> None:
    """A child process that outlives the holder does not keep the lock."""
    with contextlib.ExitStack() as stack:
        with Lock(tmp_path / "lock"):
            child = stack.enter_context(subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False))
        assert child.poll() is None
        assert holder(tmp_path / "lock") is None


def test_a_lock_on_a_share_that_died(tmp_path: Path) -> None:
    """Its descriptor cannot be closed without an error; the lock is taken in what is there now, and given back."""
    with contextlib.ExitStack() as mounts:
        place = mounts.enter_context(forgetful(tmp_path / "disk", tmp_path / "mount", "fuse.sshfs"))
        with Lock(place / "lock") as lock:
            mounts.close()
            lock.keep()
            lock.keep()
            assert holder(place / "lock") is not None
        with Lock(place / "lock"):
            pass
    with contextlib.ExitStack() as mounts:
        place = mounts.enter_context(forgetful(tmp_path / "disk", tmp_path / "mount", "fuse.sshfs"))
        with Lock(place / "lock"):
            mounts.close()
