"""Ask filesystems whom they see writing: the table of docs/intake.md ("When a file is complete"). As root: `python tools/lease_table.py`.

Each filesystem is made in a file, mounted for a moment, and asked in every situation by the service's own question. NFS and CIFS
need servers in the kernel of their own, and are not asked.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from rodin_watchd.adapters.spool.writers import is_open_for_writing

SIZE_BYTES: Final = 400_000_000
WORDS: Final = {True: "open", False: "not open", None: "not known"}
SITUATIONS: Final = (
    "at rest",
    "read",
    "open to append",
    "open to change",
    "mapped only",
    "moved while open",
    "afterwards",
)


def asked(path: Path) -> str:
    """Ask about a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return WORDS[is_open_for_writing(descriptor)]
    finally:
        os.close(descriptor)


def answers(folder: Path, writers: Path) -> Iterator[str]:
    """Ask in a folder in every situation, in the order of SITUATIONS; the programs that write reach it by `writers`."""
    here, there = folder / "chair.obj", writers / "chair.obj"
    there.write_bytes(b"v 0 0 0\n" * 1000)
    yield asked(here)
    with there.open("rb"):
        yield asked(here)
    for mode in ("ab", "r+b"):
        with there.open(mode):
            yield asked(here)
    with there.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        file.close()
        yield asked(here)
    with there.open("ab"):
        moved = here.rename(here.with_name("moved.obj"))
        yield asked(moved)
    yield asked(moved)
    moved.unlink()


def run(*command: str | Path) -> None:
    """Run a program that must succeed."""
    subprocess.run(command, check=True, capture_output=True)


def in_file(kind: str, *options: str) -> Callable[[ExitStack, Path], tuple[Path, Path]]:
    """Give what makes a filesystem in a file and mounts it."""

    def make(stack: ExitStack, home: Path) -> tuple[Path, Path]:
        image, place = home / "image", home / "place"
        with image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        run(f"mkfs.{kind}", *options, image)
        return mounted(stack, place, "-o", "loop", image)

    return make


def mounted(stack: ExitStack, place: Path, *options: str | Path) -> tuple[Path, Path]:
    """Mount until the stack is closed."""
    place.mkdir()
    run("mount", *options, place)
    stack.callback(run, "umount", "-l", place)
    return place, place


def tmpfs(stack: ExitStack, home: Path) -> tuple[Path, Path]:
    """Mount a filesystem in memory."""
    return mounted(stack, home / "place", "-t", "tmpfs", "tmpfs")


def overlay(stack: ExitStack, home: Path) -> tuple[Path, Path]:
    """Mount an overlay whose layers are in memory."""
    layers, _ = mounted(stack, home / "layers", "-t", "tmpfs", "tmpfs")
    for name in ("lower", "upper", "work"):
        (layers / name).mkdir()
    options = ",".join(f"{name}dir={layers / name}" for name in ("lower", "upper", "work"))
    return mounted(stack, home / "place", "-t", "overlay", "-o", options, "overlay")


def through_fuse(*, outside: bool) -> Callable[[ExitStack, Path], tuple[Path, Path]]:
    """Give what shows a folder by bindfs; `outside`: those who write do not go through the mount."""

    def make(stack: ExitStack, home: Path) -> tuple[Path, Path]:
        behind, place = home / "behind", home / "place"
        for folder in (behind, place):
            folder.mkdir()
        run("bindfs", behind, place)
        stack.callback(run, "umount", "-l", place)
        return place, behind if outside else place

    return make


FILESYSTEMS: Final = {
    "ext4": in_file("ext4", "-q", "-F"),
    "xfs": in_file("xfs", "-q", "-f"),
    "btrfs": in_file("btrfs", "-q", "-f"),
    "tmpfs": tmpfs,
    "overlayfs": overlay,
    "FUSE (bindfs), written through the mount": through_fuse(outside=False),
    "FUSE (bindfs), written on the other side": through_fuse(outside=True),
}


def row(make: Callable[[ExitStack, Path], tuple[Path, Path]]) -> list[str]:
    """Return what a filesystem answers, or why it could not be asked."""
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        try:
            return list(answers(*make(stack, Path(home))))
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            return [f"not asked: {error}"]


def main() -> None:
    """Print the table."""
    if os.geteuid():
        raise SystemExit("Only root can mount filesystems.")
    print(f"| filesystem | {' | '.join(SITUATIONS)} |\n|---|{'---|' * len(SITUATIONS)}")
    for name, make in FILESYSTEMS.items():
        print(f"| {name} | {' | '.join(row(make))} |", flush=True)


if __name__ == "__main__":
    main()
