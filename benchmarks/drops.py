"""Ways to bring a set into a watched folder, by programs that write as people's programs do."""

from __future__ import annotations

import hashlib
import math
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from benchmarks.sets import MODEL, marked_glb, marked_png
from benchmarks.vendor import SAMPLES

IMAGE = SAMPLES / "matcap-a.png"
OBJ_FACES = 2_000

Files: TypeAlias = Mapping[str, bytes]
"""The files of a set by their paths below the inbox, in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class Place:
    """A watched folder, a folder on the same filesystem that is not watched, and how a writer pauses for so many seconds."""

    inbox: Path
    aside: Path
    pause: Callable[[float], object] = time.sleep


Write: TypeAlias = Callable[[Place, Sequence[Files]], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to bring sets: `write` brings all versions of a set, one after the other, and returns when the last is finished."""

    title: str
    write: Write
    versions: int = 1
    extension: str = ".glb"
    folder: bool = False  # a set is a folder of its own
    seconds: float = 1.0  # about how long it takes

    def name(self, number: int) -> str:
        """Return a set's name, which is not the beginning of another's."""
        letters = "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())
        return f"{letters}-{number:05}"

    def contents(self, number: int) -> tuple[Files, ...]:
        """Return each version of a set. Model and image take turns to be the file that is written last; a text is always the last."""
        name = self.name(number)
        below = f"{name}/{name}" if self.folder else name
        return tuple(self._version(below, number, version) for version in range(self.versions))

    def _version(self, below: str, number: int, version: int) -> Files:
        mark = f"{self.title} {number} {version}"
        model = (
            marked_glb(MODEL.read_bytes(), mark) if self.extension == ".glb" else f"# {mark}\n".encode() + text_model()
        )
        files = {below + ".png": marked_png(IMAGE.read_bytes(), mark), below + self.extension: model}
        return dict(reversed(files.items())) if number % 2 and self.extension == ".glb" else files


@dataclass(frozen=True, slots=True)
class Dropped:
    """A set that was brought: the digests of each of its versions by their paths, and when the last one was finished (UTC).

    What is taken after `watched_until` does not count.
    """

    kind: str
    name: str
    versions: tuple[Mapping[str, str], ...]
    finished_at: float
    watched_until: float = math.inf

    def watched(self, begun_at: float, ended_at: float) -> Dropped:
        """Return the set as one that could be taken between these two moments alone."""
        return replace(self, finished_at=max(self.finished_at, begun_at), watched_until=ended_at)


def digest_of(data: bytes) -> str:
    """Return the SHA-256."""
    return hashlib.sha256(data).hexdigest()


def digests(kind: Kind, number: int) -> tuple[Mapping[str, str], ...]:
    """Return the digests of each version of a set, before it is brought."""
    return tuple({path: digest_of(data) for path, data in files.items()} for files in kind.contents(number))


def bring(kind: Kind, place: Place, number: int) -> Dropped:
    """Bring one set."""
    kind.write(place, kind.contents(number))
    return Dropped(kind.title, kind.name(number), digests(kind, number), time.time())


def bring_at_once(kind: Kind, place: Place, numbers: Sequence[int]) -> list[Dropped]:
    """Write all sets aside, then rename their files into place, set by set."""
    waiting = [_aside(place, files) for number in numbers for files in kind.contents(number)]
    finished = []
    for paths in waiting:
        for source, target in paths:
            source.rename(target)
        finished.append(time.time())
    return [
        Dropped(kind.title, kind.name(number), digests(kind, number), at)
        for number, at in zip(numbers, finished, strict=True)
    ]


def text_model() -> bytes:
    """Return an OBJ of separate triangles: cut off after any line, it is still an OBJ."""
    corners = ((0, 0), (1, 0), (0, 1))
    lines = []
    for face in range(OBJ_FACES):
        lines += [f"v {x + face} {y} {face}" for x, y in corners]
        lines.append(f"f {3 * face + 1} {3 * face + 2} {3 * face + 3}")
    return "\n".join(lines).encode() + b"\n"


# ---- the ways ---------------------------------------------------------------------------------------------------------


def copied(place: Place, versions: Sequence[Files]) -> None:
    """Copy each file by `cp`."""
    for path, data in versions[0].items():
        _cp(place, path, data)


def paused(seconds: float) -> Write:
    """Copy the last file in two halves, with a pause between them while the file is open."""

    def write(place: Place, versions: Sequence[Files]) -> None:
        path, data = _all_but_last(place, versions[0])
        with path.open("wb", buffering=0) as file:
            _halves(file.write, data, partial(place.pause, seconds))

    return write


def reopened(seconds: float) -> Write:
    """Write half of the last file, close it, and append the rest after a while."""

    def write(place: Place, versions: Sequence[Files]) -> None:
        path, data = _all_but_last(place, versions[0])

        def append(part: bytes) -> None:
            with path.open("ab", buffering=0) as file:
                file.write(part)

        _halves(append, data, partial(place.pause, seconds))

    return write


def preallocated(seconds: float) -> Write:
    """Give the last file its full size first, without content, then fill it in two halves."""

    def write(place: Place, versions: Sequence[Files]) -> None:
        path, data = _all_but_last(place, versions[0])
        with path.open("wb", buffering=0) as file:
            file.truncate(len(data))
            _halves(file.write, data, partial(place.pause, seconds))

    return write


def renamed(place: Place, versions: Sequence[Files]) -> None:
    """Write each file under a hidden temporary name next to it, then rename it, as rsync does."""
    for path, data in versions[0].items():
        target = place.inbox / path
        temporary = target.with_name(f".{target.name}.Xy12Zw")
        temporary.write_bytes(data)
        temporary.rename(target)


def moved_folder(place: Place, versions: Sequence[Files]) -> None:
    """Fill a folder elsewhere on the same filesystem, then move it in."""
    (source, target), *_ = _aside(place, versions[0])
    source.parent.rename(target.parent)


def overwritten(seconds: float) -> Write:
    """Copy a set, and a while later another one over it."""

    def write(place: Place, versions: Sequence[Files]) -> None:
        first, second = versions
        copied(place, [first])
        place.pause(seconds)
        copied(place, [second])

    return write


def deleted(place: Place, versions: Sequence[Files]) -> None:
    """Copy a set, delete it after a second, and copy another one to the same names a second later."""
    first, second = versions
    copied(place, [first])
    _delete(place, first)
    copied(place, [second])


def begun_twice(place: Place, versions: Sequence[Files]) -> None:
    """Copy half of a set, delete that after a second, and copy all of it a second later."""
    path, data = _all_but_last(place, versions[0])
    path.write_bytes(data[: len(data) // 2])
    _delete(place, versions[0])
    copied(place, versions)


def _delete(place: Place, files: Files) -> None:
    place.pause(1)
    for path in files:
        (place.inbox / path).unlink(missing_ok=True)
    place.pause(1)


def _all_but_last(place: Place, files: Files) -> tuple[Path, bytes]:
    """Copy all files but the last; return where that belongs, and its content."""
    *others, (path, data) = files.items()
    copied(place, [dict(others)])
    return place.inbox / path, data


def _halves(write: Callable[[bytes], object], data: bytes, pause: Callable[[], object]) -> None:
    middle = len(data) // 2
    write(data[:middle])
    pause()
    write(data[middle:])


def _cp(place: Place, path: str, data: bytes) -> None:
    source = place.aside / path
    source.write_bytes(data)
    subprocess.run(["cp", source, place.inbox / path], check=True)
    source.unlink()


def _aside(place: Place, files: Files) -> list[tuple[Path, Path]]:
    """Write a set's files aside; return where each is, and where it belongs."""
    paths = [(place.aside / path, place.inbox / path) for path in files]
    for (source, _), data in zip(paths, files.values(), strict=True):
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(data)
    return paths


COPIED = Kind("copied (cp)", copied)
BEFORE = Kind("there before the start", copied)
DOWN = Kind("came while it was down", copied)
STARTED_DURING = Kind("copy pauses 12 s, started in its middle", paused(12), seconds=12)
MANY = Kind("all at once, renamed", renamed)

KINDS = (
    COPIED,
    Kind("copy pauses 1 s", paused(1)),
    Kind("copy pauses 3 s", paused(3), seconds=3),
    Kind("copy pauses 12 s", paused(12), seconds=12),
    Kind("copy pauses 40 s", paused(40), seconds=40),
    Kind("closed for 3 s, appended", reopened(3), seconds=3),
    Kind("closed for 12 s, appended", reopened(12), seconds=12),
    Kind("full size first, filled after 12 s", preallocated(12), seconds=12),
    Kind("renamed into place", renamed),
    Kind("folder moved in", moved_folder, folder=True),
    Kind("overwritten after 1 s", overwritten(1), versions=2),
    Kind("deleted after 1 s, another copied", deleted, versions=2),
    Kind("half copied, deleted, copied", begun_twice),
    Kind("overwritten after 20 s", overwritten(20), versions=2, seconds=20),
    Kind("OBJ: copy pauses 40 s", paused(40), extension=".obj", seconds=40),
    Kind("OBJ: closed for 12 s, appended", reopened(12), extension=".obj", seconds=12),
    Kind("OBJ: closed for 40 s, appended", reopened(40), extension=".obj", seconds=40),
)
"""What is brought while a watcher runs."""
