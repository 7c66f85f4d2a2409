"""Whether a program has a file open for writing: asked of the real kernel, with programs that do."""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from strangers import NOBODY, public_folder

from rodin_watchd.adapters.spool import writers
from rodin_watchd.adapters.spool.writers import has_capability, has_hole, is_open_for_writing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")

WRITER = "import os, sys; os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND); print(flush=True); sys.stdin.read()"


def asked(path: Path) -> bool | None:
    """Ask about a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return is_open_for_writing(descriptor)
    finally:
        os.close(descriptor)


@pytest.fixture
def chair(tmp_path: Path) -> Path:
    """Give a file on a filesystem whose answer is the truth; skip elsewhere."""
    path = tmp_path / "chair.obj"
    path.write_bytes(b"v 0 0 0\n")
    if asked(path) is None:
        pytest.skip("the filesystem of the temporary folder grants no leases")
    return path


def test_a_file_at_rest_is_open_nowhere(chair: Path) -> None:
    """However often it is asked, and whoever reads it meanwhile."""
    with chair.open("rb"):
        assert [asked(chair) for _ in range(3)] == [False, False, False]


def test_another_program_that_writes_is_seen(chair: Path) -> None:
    """From its opening to its end, also after the file got another name."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(chair)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdin
        assert writer.stdout
        writer.stdout.readline()
        assert asked(chair) is True
        moved = chair.rename(chair.with_name("moved.obj"))
        assert asked(moved) is True
        writer.stdin.close()
        writer.wait()
        assert asked(moved) is False


def test_a_map_that_is_written_is_seen(chair: Path) -> None:
    """A program may close the file and still write it through memory."""
    with chair.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        file.close()
        assert asked(chair) is True


def test_whoever_opens_the_file_in_the_moment_of_the_question_goes_on(chair: Path) -> None:
    """The question ends no process, neither ours by the lease's signal nor the writer's, and fails no open."""
    stop, failed = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            try:
                with chair.open("ab") as file:
                    file.write(b"x")
            except OSError as error:
                failed.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    answers = {asked(chair) for _ in range(3000)}
    stop.set()
    thread.join()
    assert (failed, answers <= {True, False}) == ([], True)


PYTHON = shutil.which("python3", path="/usr/bin:/bin")
"""One that another user can read, too."""

ASK = "\nprint(has_capability(), is_open_for_writing(os.open(sys.argv[1], os.O_RDONLY)))"


@pytest.mark.usefixtures("chair")
@pytest.mark.parametrize("caps", ["-all", "-all,+lease"])
@pytest.mark.skipif(not (PYTHON and shutil.which("setpriv") and has_capability()), reason="needs root and another user")
def test_of_another_users_file_something_is_known_with_the_capability_alone(caps: str) -> None:
    """As the units give it: no other right of root, and no way to get one."""
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    user += [f"--{name}-caps={caps}" for name in ("inh", "ambient")]
    with public_folder() as folder, (folder / "chair.obj").open("xb") as writer:
        assert asked(Path(writer.name)) is True
        code = Path(writers.__file__).read_text() + ASK
        command = [*user, f"--bounding-set={caps}", PYTHON or "", "-c", code, writer.name]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert answer == (["True", "True"] if "lease" in caps else ["False", "None"])


def test_our_lease_does_not_stay(chair: Path) -> None:
    """Else the next program that opens the file would wait for us."""
    descriptor = os.open(chair, os.O_RDONLY)
    assert is_open_for_writing(descriptor) is False
    assert fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_UNLCK
    os.close(os.open(chair, os.O_WRONLY | os.O_NONBLOCK))
    os.close(descriptor)


def test_what_no_lease_exists_for_is_not_known() -> None:
    """A pipe, or a file of the kernel."""
    reading, writing = os.pipe()
    assert is_open_for_writing(reading) is None
    with Path("/proc/self/status").open("rb") as status:
        assert is_open_for_writing(status.fileno()) is None
    os.close(reading)
    os.close(writing)


def test_holes(chair: Path) -> None:
    """At the end and in the middle; not where every byte was written."""
    with chair.open("r+b") as file:
        assert not has_hole(file.fileno(), 8)
        file.truncate(1_000_000)
        assert has_hole(file.fileno(), 1_000_000)
        file.seek(999_990)
        file.write(b"end of file")
        file.flush()
        assert has_hole(file.fileno(), file.tell())
