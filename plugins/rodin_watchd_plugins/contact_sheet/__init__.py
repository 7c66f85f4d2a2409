"""Keep a contact sheet next to the results of each folder: a page and a picture of their previews."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PIL import ImageFont

from rodin_watchd.v1 import hookimpl
from rodin_watchd_plugins.contact_sheet.gathering import Gathered, gathered, is_result
from rodin_watchd_plugins.contact_sheet.page import page
from rodin_watchd_plugins.contact_sheet.picture import picture
from rodin_watchd_plugins.contact_sheet.publishing import Folder, opened
from rodin_watchd_plugins.contact_sheet.settings import Settings

__all__ = ["Settings", "rodin_configure", "rodin_delivered"]

_MOST_ROUNDS: Final = 20


@hookimpl
def rodin_configure(settings: Settings) -> None:
    """Look for the font that is named."""
    if settings.font is not None:
        try:
            ImageFont.truetype(settings.font)
        except OSError as error:
            raise ValueError(f"font: {settings.font} cannot be used: {error}") from None


@hookimpl
def rodin_delivered(directory: Path, settings: Settings) -> None:
    """Make the sheet of the result's folder again, from the files there."""
    try:
        with opened(directory.parent) as folder:
            if is_result(folder.descriptor, directory.name):
                write_sheet(folder, settings)
                return
    except FileNotFoundError:
        pass
    print(f"{directory} was taken away; the sheet stays as it is")  # noqa: T201 - a plugin's log


def write_sheet(folder: Folder, settings: Settings) -> None:
    """Write what is there, and look again: of several calls at once, whoever writes last has seen all."""
    for _ in range(_MOST_ROUNDS):
        seen = gathered(folder, settings.newest)
        _write(folder, seen, settings)
        if gathered(folder, settings.newest) == seen:
            return
    raise RuntimeError(f"{folder.path} changes too fast for a contact sheet; it is made later")


def _write(folder: Folder, seen: Gathered, settings: Settings) -> None:
    html, png = f"{settings.name}.html", f"{settings.name}.png"
    folder.clear_leftovers(settings.name)
    if settings.picture:
        folder.write(png, picture(seen, settings))
    folder.write(html, page(folder.path.name, seen, png if settings.picture else ""))
