"""The contact sheet of a set that makes several jobs: what the step of a delivery leaves next to their folders."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from rodin_watchd.adapters import contact_sheet
from rodin_watchd.adapters.images import thumbnail
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.adapters.spool.beneath import file_in, folder_beneath, folder_in
from rodin_watchd.adapters.spool.moving import contents
from rodin_watchd.core.layout import RECEIPT, SHEET
from rodin_watchd.core.names import natural_key, printable
from rodin_watchd.core.receipt import is_preview
from rodin_watchd.core.toml_text import loaded
from rodin_watchd.errors import DiskError
from rodin_watchd.log_lines import why
from rodin_watchd.model import Batch, Job

log = logging.getLogger("rodin_watchd")


@dataclass(frozen=True, slots=True)
class Sheets:
    """Makes the sheets, one at a time; a sheet that is begun after a job was published shows it, so several share one. Any thread."""

    _making: threading.Lock = field(default_factory=threading.Lock)
    _counting: threading.Lock = field(default_factory=threading.Lock)
    _asked: Counter[str] = field(default_factory=Counter)
    _shown: Counter[str] = field(default_factory=Counter)

    def remake(self, spool: Spool, job: Job, place: str) -> None:
        """Show a job that was published at a place, next to the others of its set; may be repeated, never raises.

        A set is delivered without its sheet where that cannot be written.
        """
        if job.batch is None:
            return
        with self._counting:
            self._asked[job.batch.id] += 1
            turn = self._asked[job.batch.id]
        with self._making:
            if self._shown[job.batch.id] >= turn:
                return
            with self._counting:
                self._shown[job.batch.id] = self._asked[job.batch.id]
            folder = place.rpartition("/")[0]
            try:
                if tiles := _tiles(spool, folder, job.batch):
                    chosen = [tile.label for tile in tiles if tile.is_chosen]
                    sheet = contact_sheet.made_of([(tile.label, tile.picture) for tile in tiles], chosen)
                    spool.write_ours(folder, SHEET, sheet, contact_sheet.is_ours)
            except (DiskError, OSError) as error:
                message = "contact-sheet: it cannot be written into %s: %s"
                log.warning(message, folder, why(error), extra={"action": "contact-sheet"})


class _Tile(NamedTuple):
    label: str
    picture: bytes  # b"" where it has none
    is_chosen: bool


class _Member(NamedTuple):
    """What a receipt in the folder of a set says of its job. Anybody may have written it."""

    folder: str
    job_id: str
    variant: str
    is_chosen: bool
    results: list[str]


def _tiles(spool: Spool, folder: str, batch: Batch) -> list[_Tile]:
    """Return what is to be shown of each job of a set that is in its folder, in the order of their labels."""
    with folder_beneath(spool.mounts.anchor(), folder) as opened:
        members = {member.job_id: member for member in sorted(_members(opened, batch.id), key=_is_own_folder)}
        labeled = [(printable(member.variant), member) for member in members.values()]
        labeled.sort(key=lambda one: natural_key(one[0]))
        return [
            _Tile(label, _picture(opened, member), member.is_chosen)
            for label, member in labeled[: _MOST_FOR_EACH * batch.count]
        ]


def _is_own_folder(member: _Member) -> tuple[bool, str]:
    """Sort the folder that a job was published in behind copies that people have made of it: the last one counts."""
    return member.folder == member.variant, member.folder


_MOST_FOR_EACH: Final = 2
"""So many jobs of a set has each of those that it makes at most: itself, and the one that follows."""


def _members(opened: int, batch_id: str) -> Iterator[_Member]:
    for name in os.listdir(opened):
        with contextlib.suppress(OSError, *_NO_RECEIPT), folder_in(opened, name) as inner:
            said = loaded(contents(inner, RECEIPT))
            job, results = said["job"], [str(one["name"]) for one in said["results"]]
            if job["batch"] == batch_id:
                yield _Member(name, str(job["id"]), str(job["variant"]), job.get("chosen") is True, results)


_NO_RECEIPT: Final = (ValueError, KeyError, TypeError, AttributeError)


def _picture(opened: int, member: _Member) -> bytes:
    """Return the vendor's picture of a result in an open folder; b"" for none that can be decoded."""
    with contextlib.suppress(OSError), folder_in(opened, member.folder) as inner:
        for name in (name for name in member.results if is_preview(name) and "/" not in name):
            with (
                contextlib.suppress(OSError, ValueError),
                file_in(inner, name) as file,
                os.fdopen(os.dup(file), "rb") as stream,
            ):
                return thumbnail(stream, contact_sheet.TILE_PIXELS)
    return b""
