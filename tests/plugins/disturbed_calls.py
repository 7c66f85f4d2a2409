"""Disturbs calls that write an index before each of their effects on the disk, and looks at what is there then; a program.

Either the call is killed, or somebody saves a page of that name. Its argument is an empty folder. It prints how many calls
it has disturbed; whatever is wrong ends it with a traceback.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

from rodin_watchd_plugins.contact_sheet import Settings, write_index
from rodin_watchd_plugins.contact_sheet.publishing import locked
from sheets import BLUE, dead_links, publish, read

DONE, REFUSED, UNDISTURBED = range(3)
EFFECTS = ("os.listdir", "os.mkdir", "os.remove", "os.rename")


def write(outbox: Path) -> None:
    """Write the index, as a call of the plugin does."""
    with locked(outbox) as folder:
        write_index(folder, Settings(index=True, newest_in_index=2))


def disturbed(outbox: Path, effect: int, disturb: Callable[[], object]) -> tuple[bool, int]:
    """Write the index in a process that is disturbed before this effect; return whether it was, and how the process ended."""
    child = os.fork()
    if child == 0:
        effects = count(1)

        def see(event: str, arguments: tuple[object, ...]) -> None:
            is_new_file = event == "open" and str(arguments[0]).endswith(
                ".new"
            )  # to fill it, or to look at what it was
            if (is_new_file or event in EFFECTS) and next(effects) == effect:
                disturb()

        sys.addaudithook(see)
        try:
            write(outbox)
        except FileExistsError:
            os._exit(REFUSED)
        os._exit(DONE if next(effects) > effect else UNDISTURBED)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code != UNDISTURBED, code


def killed_ones(top: Path, *, is_first: bool) -> Iterator[int]:
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
        was_killed, code = disturbed(outbox, effect, lambda: os.kill(os.getpid(), signal.SIGKILL))
        assert code in (UNDISTURBED, -signal.SIGKILL), code
        if before or (outbox / "index.html").exists():
            page = read(outbox, "index.html")
            assert page.titles in (before, ["chair", "lamp"]), page.titles
            assert {*dead_links(outbox, page)} <= {"./stool/", "./stool/preview.png", "./stool/base_basic_pbr.glb"}
        write(outbox)
        page = read(outbox, "index.html")
        assert (page.titles, dead_links(outbox, page)) == (["chair", "lamp"], [])
        assert {path.name for path in outbox.iterdir()} == {".index", "chair", "index.html", "team"}
        assert {f"./.index/{path.name}" for path in (outbox / ".index").iterdir()} == {*page.images}
        if not was_killed:
            return
        yield effect


def meddled_ones(top: Path, *, is_first: bool) -> Iterator[int]:
    """Have somebody save a page of their own under the index's name at each effect: it is somewhere, whole."""
    for effect in count(1):
        outbox = top / f"{'new' if is_first else 'old'}-{effect}" / "outbox"
        publish(outbox, "chair", 3)
        if not is_first:
            write(outbox)
        theirs = outbox.parent / "theirs.html"
        theirs.write_text("my portfolio")
        was_disturbed, code = disturbed(outbox, effect, partial(theirs.replace, outbox / "index.html"))
        assert code in (DONE, REFUSED, UNDISTURBED), code
        if not was_disturbed:
            return
        assert [path.name for path in outbox.glob("*.html") if path.read_text() == "my portfolio"], effect
        assert not list(outbox.glob(".*.new"))
        yield effect


if __name__ == "__main__":
    stories = [
        story(Path(sys.argv[1]), is_first=first) for story in (killed_ones, meddled_ones) for first in (True, False)
    ]
    print(sum(1 for story in stories for _ in story))  # noqa: T201
