"""Kills calls that write an index before each of their effects on the disk, and looks at what is there then; a program.

Its argument is an empty folder. It prints how many calls it has killed; whatever is wrong ends it with a traceback.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from rodin_watchd_plugins.contact_sheet import Settings, write_index
from rodin_watchd_plugins.contact_sheet.publishing import locked
from sheets import BLUE, dead_links, publish, read

EFFECTS = ("os.listdir", "os.mkdir", "os.remove", "os.rename")


def write(outbox: Path) -> None:
    """Write the index, as a call of the plugin does."""
    with locked(outbox) as folder:
        write_index(folder, Settings(index=True, newest_in_index=2))


def survives(outbox: Path, effect: int) -> bool:
    """Write the index in a process that is killed before this effect; return whether it has ended before."""
    child = os.fork()
    if child == 0:
        effects = count(1)

        def see(event: str, arguments: tuple[object, ...]) -> None:
            is_new_file = event == "open" and str(arguments[0]).endswith(
                ".new"
            )  # to fill it, or to look at what it was
            if (is_new_file or event in EFFECTS) and next(effects) == effect:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(see)
        write(outbox)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status == 0


def stories(top: Path, *, is_first: bool) -> Iterator[int]:
    """Kill a call at each of its effects: the first one in an outbox, or one that changes the index."""
    for effect in count(1):
        outbox = top / f"{'first' if is_first else 'next'}-{effect}" / "outbox"
        gone = publish(outbox, "stool", 1)
        publish(outbox / "team", "lamp", 2)
        if not is_first:
            write(outbox)
        before = None if is_first else read(outbox, "index.html").titles
        publish(outbox, "chair", 3, BLUE)
        shutil.rmtree(gone)
        is_done = survives(outbox, effect)
        if before or (outbox / "index.html").exists():
            page = read(outbox, "index.html")
            assert page.titles in (before, ["chair", "lamp"]), page.titles
            assert {*dead_links(outbox, page)} <= {"./stool/", "./stool/preview.png", "./stool/base_basic_pbr.glb"}
        write(outbox)
        page = read(outbox, "index.html")
        assert (page.titles, dead_links(outbox, page)) == (["chair", "lamp"], [])
        assert {path.name for path in outbox.iterdir()} == {".index", "chair", "index.html", "team"}
        assert {f"./.index/{path.name}" for path in (outbox / ".index").iterdir()} == {*page.images}
        if is_done:
            return
        yield effect


if __name__ == "__main__":
    print(sum(1 for is_first in (True, False) for _ in stories(Path(sys.argv[1]), is_first=is_first)))  # noqa: T201
