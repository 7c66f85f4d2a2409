"""Stories of a system that refuses: single calls that fail at each place, full disks, no inodes, few descriptors."""

from __future__ import annotations

import errno
import random
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from crash_scene import Scene, all_kinds
from crash_start import Crash
from mounts import disk, why_no_mounts
from place_stories import ROOM
from stories import SEED, Attack, Attempt, Bench, SceneMaker, Story, scattered, usual

FULL_SECONDS = 1.0
"""For how long a disk stays full."""

FEWEST, MOST = 10, 60
"""Descriptors: with fewer the program cannot even read its config, with more it wants for nothing."""

HUNGRY_SECONDS = 8
DISK_MEGABYTES, INODES = 24, 400


# ---- single calls ---------------------------------------------------------------------------------------------------


def _failing(error: int) -> Callable[[Bench, random.Random], Iterator[Attack]]:
    """Give a plan in which each call that can end with an error does so once."""

    def plan(bench: Bench, chance: random.Random) -> Iterator[Attack]:
        for at in scattered(bench.effects(usual, Crash(error=error)), chance):
            yield partial(_fail, Crash(at, error=error))

    return plan


def _fail(crash: Crash, attempt: Attempt) -> None:
    attempt.run(crash)


# ---- full disks -----------------------------------------------------------------------------------------------------


def on_disks(*folders: str, inodes: int = 0) -> SceneMaker:
    """Return what makes a scene in which these folders ("": the root) are small disks, with so many inodes."""

    @contextmanager
    def scene(folder: Path, base_url: str) -> Iterator[Scene]:
        with ExitStack() as stack:
            for path in folders:
                stack.enter_context(disk(folder / "root" / path, megabytes=DISK_MEGABYTES, inodes=inodes))
            made = Scene(folder / "root", base_url, more=ROOM)
            made.drop(all_kinds(SEED))
            yield made

    return scene


def _fill(folder: Path) -> None:
    """Write a file until its disk is full."""
    folder.mkdir()
    with (folder / "filler").open("wb", buffering=0) as file, _until_full():
        while True:
            file.write(bytes(4096))


def _take_inodes(folder: Path) -> None:
    """Make files until there are no inodes left."""
    with _until_full():
        folder.mkdir()
        for number in range(2 * INODES):
            (folder / f"{number}").touch()


@contextmanager
def _until_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _full_for_a_while(
    scene: SceneMaker, folders: Sequence[str], fill: Callable[[Path], None]
) -> Callable[[Bench, random.Random], Iterator[Attack]]:
    """Give a plan that fills a disk at each effect of a run, and makes room again while the run goes on."""

    def plan(bench: Bench, chance: random.Random) -> Iterator[Attack]:
        for number, at in enumerate(scattered(bench.effects(scene), chance)):
            yield partial(_full, at, folders[number % len(folders)], fill)

    return plan


def _full(at: int, folder: str, fill: Callable[[Path], None], attempt: Attempt) -> None:
    filler = attempt.scene.root / folder / ".filler"
    emptied = threading.Timer(FULL_SECONDS, shutil.rmtree, (filler,))

    def fills() -> bool:
        fill(filler)
        emptied.start()
        return True

    attempt.run(Crash(at, act=fills))
    if emptied.ident is not None:
        emptied.join()


def _disk_story(name: str, *folders: str, inodes: bool = False) -> Story:
    scene = on_disks(*folders, inodes=INODES if inodes else 0)
    plan = _full_for_a_while(scene, folders, _take_inodes if inodes else _fill)
    return Story(name, plan, scene, missing=why_no_mounts, copies=folders != ("",))


# ---- descriptors ----------------------------------------------------------------------------------------------------


def _few_descriptors(_bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for number in scattered(MOST - FEWEST, chance):
        yield partial(_hungry, FEWEST + number)


def _hungry(descriptors: int, attempt: Attempt) -> None:
    attempt.run(Crash(descriptors=descriptors, seconds=HUNGRY_SECONDS))
    attempt.strikes.append(f"with {descriptors} descriptors")


PUBLISHED = ("outbox", "archive", "failed")
FAULT_STORIES = (
    *(
        Story(f"a call fails with {errno.errorcode[e]}", _failing(e))
        for e in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE)
    ),
    _disk_story("disk full", ""),
    _disk_story("no inodes left", "", inodes=True),
    _disk_story("disk of outbox, archive or failed full", *PUBLISHED),
    _disk_story("no inodes left in outbox, archive or failed", *PUBLISHED, inodes=True),
    Story("few descriptors", _few_descriptors),
)
