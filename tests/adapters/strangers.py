"""What only root can set up: another user's process, another filesystem."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar, cast

import pytest

T = TypeVar("T")

NOBODY = 65534
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def as_nobody(act: Callable[[], T], groups: Sequence[int] = ()) -> T:
    """Do something as another user, without any right but those of these groups, in a forked process; return what it returns."""
    if not IS_ROOT:
        pytest.skip("only root may act as another user")
    receiver, sender = os.pipe()
    with warnings.catch_warnings(action="ignore"):  # Python 3.12 on: this process may have threads
        child = os.fork()
    if child == 0:
        _answer_as_nobody(act, sender, groups)
    os.close(sender)
    with os.fdopen(receiver, "rb") as answer:
        data = answer.read()
    os.waitpid(child, 0)
    told, result = pickle.loads(data)  # noqa: S301 - our own child wrote it
    assert told == "", told
    return cast("T", result)


def _answer_as_nobody(act: Callable[[], object], sender: int, groups: Sequence[int]) -> NoReturn:
    try:
        os.setgroups(groups)
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        answer = pickle.dumps(("", act()))
    except BaseException:  # noqa: BLE001 - the child must not go on as pytest
        answer = pickle.dumps((traceback.format_exc(), None))
    os.write(sender, answer)
    os._exit(0)


def listed(folder: Path) -> list[str]:
    """List the names in a folder, in order."""
    return sorted(entry.name for entry in folder.iterdir())


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """Give a folder that every user can reach; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def filled_up(path: Path) -> None:
    """Write to a file until its disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


@contextlib.contextmanager
def bound(folder: Path, place: Path) -> Iterator[Path]:
    """Show a folder at another place as well, as a mount of its own; it is made if it is missing."""
    if not IS_ROOT:
        pytest.skip("only root may mount a folder")
    for path in (folder, place):
        path.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "--bind", str(folder), str(place)], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def mounted(folder: Path, size: str = "16m", disk: Path | None = None) -> Iterator[Path]:
    """Mount another filesystem on a folder: the one of a `disk`, or an empty one in memory."""
    if not IS_ROOT:
        pytest.skip("only root may mount a filesystem")
    folder.mkdir(exist_ok=True)
    what = ["-o", "loop", str(disk)] if disk else ["-t", "tmpfs", "-o", f"size={size}", "tmpfs"]
    if subprocess.run(["mount", *what, str(folder)], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
