"""The sheet as a picture: tiles with previews and names, to be mailed or printed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Final, TypeAlias

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from rodin_watchd_plugins.contact_sheet.gathering import Gathered, Result
from rodin_watchd_plugins.contact_sheet.publishing import SIGN
from rodin_watchd_plugins.contact_sheet.settings import Settings
from rodin_watchd_plugins.contact_sheet.thumbnails import thumbnail
from rodin_watchd_plugins.contact_sheet.words import shown

_GAP: Final = 12
_USUAL_FONT: Final = "DejaVuSans.ttf"
_LONGEST: Final = 200

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class _Theme:
    ground: str
    tile: str
    text: str
    quiet: str
    accent: str


_THEMES: Final = {
    "dark": _Theme("#17191c", "#22252a", "#e9eaec", "#a0a6ae", "#5cc8bb"),
    "light": _Theme("#f4f4f2", "#ffffff", "#1c1e21", "#5f656d", "#0f6b63"),
}


def picture(seen: Gathered, settings: Settings) -> bytes:
    """Return the newest results as a PNG."""
    results, theme = seen.results[: settings.newest_in_picture], _THEMES[settings.theme]
    columns = max(1, min(settings.columns, len(results)))
    step, line = settings.tile_pixels + _GAP, _line(settings)
    height = settings.tile_pixels + 2 * line + _GAP
    size = (columns * step + _GAP, max(1, -(-len(results) // columns)) * height + _GAP)
    sheet = Image.new("RGB", size, theme.ground)
    for number, result in enumerate(results):
        row, column = divmod(number, columns)
        _tile(sheet, (column * step + _GAP, row * height + _GAP), result, settings)
    out = BytesIO()
    found = PngInfo()
    found.add_text("Software", SIGN)
    sheet.save(out, "PNG", compress_level=4, pnginfo=found)
    return out.getvalue()


def _tile(sheet: Image.Image, at: tuple[int, int], result: Result, settings: Settings) -> None:
    (left, top), edge, theme = at, settings.tile_pixels, _THEMES[settings.theme]
    draw, font, line = ImageDraw.Draw(sheet), _font(settings.font, _letters(settings)), _line(settings)
    draw.rectangle((left, top, left + edge - 1, top + edge - 1), fill=theme.tile)
    if result.preview is None:
        middle = (left + edge // 2, top + edge // 2)
        draw.text(middle, "no preview", font=font, fill=theme.quiet, anchor="mm")
    else:
        small = thumbnail(result.preview, edge)
        sheet.paste(small, (left + (edge - small.width) // 2, top + (edge - small.height) // 2), small)
    if result.is_chosen:
        draw.rectangle((left, top, left + edge - 1, top + edge - 1), outline=theme.accent, width=max(3, edge // 64))
    draw.text((left, top + edge + line // 4), fitting(shown(result.name), font, edge), font=font, fill=theme.text)
    message = f"{result.at.astimezone():%Y-%m-%d %H:%M}"
    draw.text((left, top + edge + line + line // 4), message, font=font, fill=theme.quiet)


def fitting(text: str, font: Font, width: float) -> str:
    """Return a text cut in its middle so that it is no wider: names differ at their ends."""
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}{text[-_LONGEST // 2 :]}"
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        cut = f"{text[: (kept + 1) // 2]}…{text[-(kept // 2) :]}"
        if font.getlength(cut) <= width:
            return cut
    return "…"


def _letters(settings: Settings) -> int:
    return max(11, settings.tile_pixels // 16)


def _line(settings: Settings) -> int:
    return _letters(settings) * 3 // 2


@cache
def _font(wanted: str | None, size: int) -> Font:
    try:
        return ImageFont.truetype(wanted or _USUAL_FONT, size)
    except OSError:
        return ImageFont.load_default(size)
