"""Keep a contact sheet next to the results of each folder, a page and a picture, and on demand a page of the whole outbox."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

from PIL import ImageFont

from rodin_watchd.v1 import Job, hookimpl
from rodin_watchd_plugins.contact_sheet.gathering import Result, gathered, is_result
from rodin_watchd_plugins.contact_sheet.page import page
from rodin_watchd_plugins.contact_sheet.picture import picture
from rodin_watchd_plugins.contact_sheet.publishing import Folder, locked
from rodin_watchd_plugins.contact_sheet.settings import Settings
from rodin_watchd_plugins.contact_sheet.thumbnails import STORE, file_name, thumbnails

__all__ = ["Settings", "rodin_chosen", "rodin_configure", "rodin_delivered"]

_INDEX: Final = "index.html"
_OUTBOX: Final = "outbox"
_DEPTH: Final = 32
"""So many folders deep the index looks for results."""


@hookimpl
def rodin_configure(settings: Settings) -> None:
    """Look for the font that is named."""
    if settings.font is not None:
        try:
            ImageFont.truetype(settings.font)
        except OSError as error:
            raise ValueError(f"font: {settings.font} cannot be used: {error}") from None


@hookimpl
def rodin_delivered(job: Job, directory: Path, settings: Settings) -> None:
    """Make the sheet of the result's folder again, and the index, from the files there; may be repeated.

    Of several calls at once, each looks at the files when the one before has written: the last one has seen all.
    """
    try:
        _renew(directory.parent, directory, settings, write_sheet)
    finally:  # a sheet that cannot be written does not keep the index from being written
        if settings.index:
            _renew(outbox_of(job, directory), directory, settings, write_index)


@hookimpl
def rodin_chosen(job: Job, directory: Path, settings: Settings) -> None:
    """Do the same when a person has chosen a result, or another one: the sheet marks it."""
    rodin_delivered(job, directory, settings)


def outbox_of(job: Job, directory: Path) -> Path:
    """Return the outbox in which a job's result is. Raises ValueError if the folder is not where the job says."""
    place = PurePosixPath(job.place).parts
    if len(place) < 2 or place[0] != _OUTBOX or directory.parts[-len(place) :] != place:
        raise ValueError(f"no index is written: {directory} is not in the outbox of a service")
    return directory.parents[len(place) - 2]


def write_sheet(folder: Folder, settings: Settings) -> None:
    """Write the page and the picture of the results in a locked folder."""
    html, png = f"{settings.name}.html", f"{settings.name}.png" if settings.picture else ""
    seen = gathered(folder, settings.newest)
    if png:
        folder.write(png, picture(seen, settings))
    name = folder.path.name
    folder.write(html, page(f"{name}: contact sheet", name, seen, _preview, png))


def write_index(outbox: Folder, settings: Settings) -> None:
    """Write the page of all results in a locked outbox, with thumbnails of its own: the page comes after those that it shows."""
    outbox.check(_INDEX)
    with thumbnails(outbox) as small:
        seen = gathered(outbox, settings.newest_in_index, small.has, depth=_DEPTH)
        outbox.write(_INDEX, page("Results", "Results", seen, _thumbnail))
        small.keep([result.preview for result in seen.results if result.preview])


def _renew(top: Path, directory: Path, settings: Settings, write: Callable[[Folder, Settings], None]) -> None:
    try:
        with locked(top) as folder:
            if is_result(folder.descriptor, str(directory.relative_to(top))):
                write(folder, settings)
                return
    except FileNotFoundError:
        pass
    print(f"{directory} was taken away; the sheet of {top} stays as it is")  # noqa: T201 - a plugin's log


def _preview(result: Result) -> str:
    return f"{result.path}/{result.preview.name}" if result.preview else ""


def _thumbnail(result: Result) -> str:
    return f"{STORE}/{file_name(result.preview)}" if result.preview else ""
