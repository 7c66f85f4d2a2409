"""Stories of artists and their programs, who act between two system calls of the service: at each effect of a run."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from crash_scene import DroppedSet, Scene, base_name_set, folder_set, png, sha256, sidecar_sets, stl
from crash_start import Crash
from mounts import bound, why_no_mounts
from stories import SEED, Attack, Attempt, Bench, Story, conserves, scattered

IMPATIENT = "incomplete_seconds = 1\n"
"""In [intake]: what is not whole is refused soon, so that a run ends."""

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # renameat2(2)
_NEW_SEED = 700


class Artist:
    """Changes what lies in the inbox, and keeps the inventory true: what he wrote over or removed himself is nobody's loss."""

    def __init__(self, scene: Scene) -> None:
        self._inbox = scene.inbox
        self._sets = scene.sets
        self._inventory = scene.inventory
        self._inventory.meddled = True

    def _note(self, path: str, data: bytes) -> None:
        """Note what is dropped at a path: each set that names it may archive this version, whatever the others have taken."""
        self._inventory.dropped(path, data, sets=max(sum(path in one.files for one in self._sets), 1))

    def save_as(self, path: str, data: bytes) -> None:
        """Let a new file take the name at once, as programs save: in one rename, whether there is one of that name or not."""
        target = self._inbox / path
        target.parent.mkdir(exist_ok=True)
        hidden = target.with_name(f".{target.name}.new.tmp")
        hidden.write_bytes(data)
        self._note(path, data)
        if _exchange(hidden, target):
            self._inventory.taken(hidden.read_bytes())
            hidden.unlink()
        else:
            hidden.rename(target)

    def delete(self, path: str) -> None:
        """Remove a file, if it is still there."""
        target = self._inbox / path
        hidden = target.with_name(f".{target.name}.gone.tmp")
        with contextlib.suppress(FileNotFoundError):
            target.rename(hidden)
            self._inventory.taken(hidden.read_bytes())
            hidden.unlink()

    def write_over(self, path: str, data: bytes) -> None:
        """Write other bytes into the same file, as a plain copy does; into a new one where it is gone."""
        target = self._inbox / path
        try:
            with target.open("r+b") as file:
                self._inventory.taken(file.read())
                self._note(path, data)
                file.seek(0)
                file.write(data)
                file.truncate()
        except FileNotFoundError:
            self.save_as(path, data)

    def append(self, path: str, data: bytes) -> None:
        """Add bytes to a file, if it is still there."""
        with contextlib.suppress(FileNotFoundError), (self._inbox / path).open("r+b") as file:
            before = file.read()
            self._inventory.taken(before)
            self._note(path, before + data)
            file.write(data)

    def rename(self, old: str, new: str) -> None:
        """Give a file or a folder another name, if it is still there."""
        with contextlib.suppress(FileNotFoundError):
            (self._inbox / old).rename(self._inbox / new)

    def copy_again(self, dropped: DroppedSet) -> None:
        """Copy a set in once more: into the files that are still there, into new ones for those that are not."""
        for path, data in dropped.files.items():
            target = self._inbox / path
            target.parent.mkdir(exist_ok=True)
            if not target.exists():
                target.write_bytes(data)
                if self._inventory.least(
                    sha256(data)
                ):  # who gives the first one back keeps one of two that are the same
                    self._inventory.named_again(data)
                else:
                    self._note(path, data)
            elif target.read_bytes() != data:
                self.write_over(path, data)
            else:
                self._inventory.named_again(data)
                with target.open("r+b") as file:  # the same bytes, and another time
                    file.write(data)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two files in one step; False when the other is not there. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    if libc.renameat2(*names, _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code == errno.ENOENT:
        return False
    raise OSError(code, os.strerror(code), str(other))


# ---- what they do ---------------------------------------------------------------------------------------------------


def _new(path: str, chance: random.Random) -> bytes:
    seed = _NEW_SEED + chance.randrange(200)
    return png(seed) if path.endswith(".png") else stl(seed)


def replaces(artist: Artist, dropped: DroppedSet, chance: random.Random) -> None:
    """Replace one of the two files by a new version, in one rename."""
    path = chance.choice((dropped.model, dropped.image))
    artist.save_as(path, _new(path, chance))


def writes_over(artist: Artist, dropped: DroppedSet, chance: random.Random) -> None:
    """Write a new version into one of the two files."""
    path = chance.choice((dropped.model, dropped.image))
    artist.write_over(path, _new(path, chance))


def appends(artist: Artist, dropped: DroppedSet, chance: random.Random) -> None:
    """Append to one of the two files."""
    artist.append(chance.choice((dropped.model, dropped.image)), b"more\n")


def renames(artist: Artist, dropped: DroppedSet, chance: random.Random) -> None:
    """Rename the set, or one of its files, which makes a set of what is left no more."""
    folder, _, _ = dropped.model.rpartition("/")
    if folder:
        artist.rename(folder, f"{folder}-renamed")
        return
    paths = [dropped.model, dropped.image]
    for path in paths[: chance.randint(1, 2)]:
        artist.rename(path, f"renamed-{path}")


def deletes(artist: Artist, dropped: DroppedSet, chance: random.Random) -> None:
    """Delete one file, or both."""
    for path in chance.sample((dropped.model, dropped.image), chance.randint(1, 2)):
        artist.delete(path)


def copies_again(artist: Artist, dropped: DroppedSet, _chance: random.Random) -> None:
    """Copy the set in once more, as a program that keeps two folders alike does."""
    artist.copy_again(dropped)


Act = Callable[[Artist, DroppedSet, random.Random], None]
ACTS: Sequence[tuple[str, Act]] = (
    ("replaced", replaces),
    ("written over", writes_over),
    ("appended to", appends),
    ("renamed", renames),
    ("deleted", deletes),
    ("copied in again", copies_again),
)


# ---- scenes and judges ----------------------------------------------------------------------------------------------


def _drop(scene: Scene) -> Scene:
    scene.drop([base_name_set(SEED), folder_set(SEED + 1), *sidecar_sets(SEED + 2)])
    return scene


@contextmanager
def few(folder: Path, base_url: str) -> Iterator[Scene]:
    """Give a scene with a set by base name, a folder, and two sidecars that share an image, which is copied."""
    yield _drop(Scene(folder / "root", base_url, intake=IMPATIENT))


@contextmanager
def with_mounted_inbox(folder: Path, base_url: str) -> Iterator[Scene]:
    """Give the same with an inbox that no rename leaves: a bind mount."""
    with bound(folder / "share", folder / "root" / "inbox"):
        yield _drop(Scene(folder / "root", base_url, intake=IMPATIENT))


# ---- the plan -------------------------------------------------------------------------------------------------------


def inside_each_step(acts: Sequence[Act]) -> Callable[[Bench, random.Random], Iterator[Attack]]:
    """Give a plan that stops a run at each effect, does one of these acts there, and lets it go on, or kills it."""

    def plan(bench: Bench, chance: random.Random) -> Iterator[Attack]:
        for number, at in enumerate(scattered(bench.effects(few), chance)):
            act = acts[number % len(acts)]
            yield partial(_act, at, act, goes_on=number % 3 != 2, chance=random.Random(chance.random()))  # noqa: S311 - no secret

    return plan


def _act(at: int, act: Act, attempt: Attempt, *, goes_on: bool, chance: random.Random) -> None:
    artist = Artist(attempt.scene)

    def acts() -> bool:
        act(artist, chance.choice(attempt.scene.sets), chance)
        return goes_on

    attempt.run(Crash(at, act=acts))


ARTIST_STORIES = (
    *(Story(f"{name} inside a step", inside_each_step([act]), scene=few, judge=conserves) for name, act in ACTS),
    Story(
        "any of these, inbox mounted",
        inside_each_step([act for _, act in ACTS]),
        scene=with_mounted_inbox,
        judge=conserves,
        missing=why_no_mounts,
        copies=True,
    ),
)
