"""File names from outside: which are junk, which mean the same, and how they are shown and made safe.

Names of the inbox come from artists and their programs, names of results from the vendor's server
(API contract, Download Results). Both are hostile. Names that are not UTF-8 carry lone surrogates (PEP 383).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

RESULT_NAME_BYTES: Final = 120
"""The longest result name, folders and all, in bytes of UTF-8: below every filesystem's 255, with room for numbers and suffixes."""

RESULT_FOLDERS: Final = 4
"""The number of folders that the name of a result may lead through."""

_RESULT_FOLDERS_BYTES: Final = 80  # with their slashes: what is left of a name has room for a number and its extension
_EXTENSION_BYTES: Final = 16
_RESERVED_KEYS: Final = frozenset({"job.toml", "report.txt", "report.toml"})  # receipts and reports
_DEVICE: Final = re.compile(
    r"(?:con|prn|aux|nul|clock\$|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|\Z)", re.IGNORECASE
)
_DRIVE: Final = re.compile(r"\A[A-Za-z]:")
_PART: Final = re.compile(r"\.(part)\Z", re.IGNORECASE)
_UNSAFE: Final = re.compile(r'[<>:"|?*]')
_UNSAFE_FOLDER: Final = re.compile(r'[<>:"|?*\\/\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]')
_FOLDER_CHARACTERS: Final = 120
_FOLDER_BYTES: Final = 240


_TEMPORARY_SUFFIX: Final = r"\.(?:{})".format(
    "|".join(
        (
            *("part", "partial", "filepart", "tmp", "temp", "download", "lock", "lck"),
            *("crdownload", "crswap", "opdownload"),  # Chrome and Opera; Chrome for programs in the browser
            *("!ut", "ut!", "!bt", "!qb", "bc!", "az!"),  # uTorrent, BitTorrent, qBittorrent, BitComet, Azureus
            *("!sync", r"rslsync\w*", "rsll?s"),  # Resilio Sync: unfinished files, and the places of others
            *("aria2(?:__temp)?", "lftp-pget-status", "st"),  # the last one: axel
            *("dtapart", "fdmdownload", "jc!"),  # DownThemAll, Free Download Manager, FlashGet
            *(r"(?:xl)?td(?:\.cfg)?", "downloading"),  # Xunlei; Baidu
            *("ffs_tmp", "sw[opx]"),  # FreeFileSync, vim
        )
    )
)
_CONFLICT: Final = (
    r"\.sync-conflict-\d{8}-\d{6}"
    r"|\(.*(?:conflicted copy|conflict copy|case conflict|sync conflict|encoding conflict|sfconflict)[^()]*\)"
    r"|_conflict-\d{8}-\d{6}"
)
_SYSTEM: Final = (
    r"\.ds_store|\.apdisk|\.appledouble|\.localized|\.fseventsd|\.spotlight-v100|\.trashes|\.trash-.*"
    r"|icon\r|thumbs\.db(?::.*)?|ehthumbs(?:_vista)?\.db"
    r"|desktop\.ini|autorun\.inf|@eadir|@recycle|@recently-snapshot|#recycle|#snapshot|\$recycle\.bin|recycler"
    r"|system volume information|network trash folder|temporary items|lost\+found|__macosx"
)
_JUNK: Final = (
    (rf"\A(?:{_SYSTEM})\Z", "made by the operating system or the file server"),
    (r"\A\._", "made by macOS next to the real file"),
    (r"\A\.(?:nfs|smbdelete|fuse_hidden)", "a deleted file that is still open"),
    (_CONFLICT, "a conflict copy made by a synchronising program"),
    (r"\A[.~]syncthing[.~]|\A\.st(?:folder|versions|ignore)", "made by Syncthing"),
    (r"\A\.dropbox", "made by Dropbox"),
    (
        r"\A\.~.*\.[0-9a-f]+\Z|\A\.(?:_sync_|sync_|owncloudsync|nextcloudsync)",
        "made by Nextcloud or ownCloud",
    ),
    (r"\.icloud\Z", "not yet downloaded from iCloud"),
    (r"\A~\$|\A\.?~lock\.", "the lock of a program that has a file open"),
    (r"\A\.goutputstream-", "a temporary name (.goutputstream)"),
    (rf"(?:{_TEMPORARY_SUFFIX}|\.gstmp)\Z", "a temporary name ({0})"),
    (r"\.sb-[0-9a-f]{8}-[0-9a-z]{6}\Z", "a temporary name (.sb-…)"),
    (r"~\Z|\A#.*#\Z", "a backup made by an editor"),
    (r"\A~", "a temporary name (~)"),
    (r"\A\.", "a hidden file"),
)


@cache
def _junk_patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Compile the patterns when the first name in an inbox is judged: most processes judge none."""
    return tuple((re.compile(pattern, re.DOTALL), reason) for pattern, reason in _JUNK)


@cache
def _plain_names() -> re.Pattern[str]:
    """Compile what no pattern of junk fits, unless there is a conflict in it: nearly all names that artists give."""
    return re.compile(r"[0-9a-z][0-9a-z ._-]*\.(?:fbx|glb|jpe?g|obj|png|stl|toml|usdz|webp)")


def junk_reason(name: str) -> str | None:
    """Say why a name in the inbox is ignored for good, as a piece of a sentence for people; None if it is not.

    Takes one name, not a path, of a file or a folder; upper and lower case are the same. Pure, never raises.
    """
    key = match_key(name)
    if _plain_names().fullmatch(key) and "conflict" not in key:  # this is asked for each name at each look
        return None
    for pattern, reason in _junk_patterns():
        if found := pattern.search(key):
            return reason.format(found[0])
    return None


_COMPANIONS: Final = (
    r"\A\.[~.]?syncthing[.~](?P<of>.+)\.tmp\Z",  # Syncthing
    r"\A~syncthing~(?P<of>.+)\.tmp\Z",
    r"\A\.(?P<of>.+)\.~[0-9a-f]+\Z",  # Nextcloud, ownCloud
    r"\A(?P<of>.+)\.[0-9a-f]{8}\.partial\Z",  # rclone
    r"\A(?P<of>.+)[.~-][0-9a-f]{4}\.ffs_tmp\Z",  # FreeFileSync
    r"\A(?P<of>.+)_\.gstmp\Z",  # gsutil
    rf"\A[.~]?(?P<of>.+?){_TEMPORARY_SUFFIX}\Z",
    r"\A\.in\.(?P<of>.+)\.\Z",  # lftp
    # rsync, by mkstemp(3): six letters and digits, hardly ever all of one sort as in `.chair.backup`
    r"\A\.(?P<of>.+)\.(?!(?-i:[a-z]{6}|[A-Z]{6}|[0-9]{6})\Z)[0-9a-z]{6}\Z",
    r"\A(?:~\$|\.~lock\.)(?P<of>.+?)#?\Z",  # office programs
)
"""Temporary files that programs keep next to the file that they write, by the maker's documentation or source."""


@cache
def _companion_patterns() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.DOTALL | re.IGNORECASE) for pattern in _COMPANIONS)


def companion_of(name: str) -> str | None:
    """Return the name of the file that a temporary file is a part of, as its maker builds such names; None for another file.

    While `chair.glb.aria2` is next to `chair.glb`, that one is not finished. Pure, never raises.
    """
    return next((found["of"] for pattern in _companion_patterns() if (found := pattern.search(name))), None)


def match_key(name: str) -> str:
    """Give the form in which names that artists mean to be the same are equal: NFC, without upper and lower case.

    Idempotent; takes any string, lone surrogates too (Unicode Standard, 3.13, D145: a canonical caseless match).
    """
    if name.isascii():
        return name.lower()  # the same, much sooner: this is asked for each name at each look
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return what names are sorted by: numbers in them, in the digits 0 to 9, by their value."""
    parts = re.split(r"([0-9]+)", name)
    return [(-1, part.casefold()) if number % 2 == 0 else (int(part), "") for number, part in enumerate(parts)]


def split_name(name: str) -> tuple[str, str]:
    """Split a name into its stem, as it is spelt, and its extension, in lower case with the dot.

    `chair.v2.GLB` gives `chair.v2` and `.glb`; a name without an extension, or with nothing before or after its
    only dot, is all stem. Of a path the last part counts: `maps.v2/wood` has no extension.
    """
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension.lower()) if stem.strip(".") and extension and "/" not in extension else (name, "")


def printable(name: str, limit: int = 120) -> str:
    """Show a name in text for people: on one line, nothing invisible, nothing that turns the text around.

    What cannot be printed (control and format characters, line ends, bidirectional overrides, lone surrogates, blanks
    other than the space) is escaped as in Python source. At most `limit` (1 or more) characters; the middle of
    a longer name becomes one "…", so that its extension stays.
    """
    if name.isprintable() and len(name) <= limit:
        return name
    pieces = [c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name]
    if sum(map(len, pieces)) <= limit:
        return "".join(pieces)
    ending = _fitting(pieces[::-1], (limit - 1) // 3)[::-1]
    return "".join((*_fitting(pieces, limit - 1 - sum(map(len, ending))), "…", *ending))


def _fitting(pieces: Sequence[str], room: int) -> Sequence[str]:
    for count, piece in enumerate(pieces):
        room -= len(piece)
        if room < 0:
            return pieces[:count]
    return pieces


def safe_result_names(names: Sequence[str]) -> tuple[str, ...]:
    """Make the server's file names safe to write below one folder on any system; the same positions, all different.

    A relative path keeps its folders, as `folder/name`: a model and its materials name their textures by them. Of a path that is
    absolute, leads out (`..`) or is too deep or too long for all clients of a share, only the last part is kept. Every name then
    has at most `RESULT_NAME_BYTES` bytes of UTF-8, with its extension kept. Each of its parts is NFC and not empty; it holds no separator, control or
    otherwise unprintable character, none of `<>:"|?*`, no dot, dash, blank or tilde in front, no dot or blank at the end;
    it is no Windows device, not the name of a receipt or report, and does not end in `.part`. Names differ from each other, and from
    folders, in more than case; folders that differ in case only are one. An empty name becomes `result-N` (N: its position from 1), a
    repeated one gets `-2`, `-3`, …. Idempotent.
    """
    folders: dict[str, str] = {}
    places = [_place(name, position, folders) for position, name in enumerate(names, start=1)]
    taken = dict.fromkeys(folders, 1)
    return tuple(_untaken(*place, taken) for place in places)


def folders_of(name: str) -> tuple[str, ...]:
    """Return the folders that a result's name leads through, the outermost first: `a/b/c.png` gives `a` and `a/b`."""
    return tuple(name[: slash.start()] for slash in re.finditer("/", name))


def safe_folder_name(name: str) -> str:
    """Make a name of the inbox one that every client of a share shows and opens: the form in which folders are published.

    Windows cannot show the names of its devices, a dot or blank at the end, control characters and any of `<>:"|?*` or a slash; Samba shows
    such names mangled. A long name leaves no room in a path of Windows (260 characters): at most 120 characters and 240 bytes are
    kept. All other names stay as they are spelled. Idempotent.
    """
    clean = _shortened(_UNSAFE_FOLDER.sub("_", name))
    return _shortened(f"_{clean}") if _DEVICE.match(clean) else clean


def _shortened(name: str) -> str:
    short = name[:_FOLDER_CHARACTERS].encode()[:_FOLDER_BYTES].decode(errors="ignore")
    return short.rstrip(" .") or "_"


_MADE_FILES: Final = re.compile(
    r"(?:\._)?(?:\.ds_store|\.apdisk|\.localized|icon\r|thumbs\.db|ehthumbs(?:_vista)?\.db|desktop\.ini)"
)


def may_go_with(name: str, files: AbstractSet[str]) -> bool:
    """Return whether a file may go with a folder that a set of these `files` has left.

    It is one that an operating system lays into each folder that it shows, and makes again; or what macOS keeps next to one of
    the set's own files. (`._lamp.glb` may be the first sign of a `lamp.glb` that comes.) Pure, never raises.
    """
    key = match_key(name)
    return _MADE_FILES.fullmatch(key) is not None or key in {match_key(f"._{file}") for file in files}


def _place(name: str, position: int, folders: dict[str, str]) -> tuple[str, str, str]:
    """Return the folder (with a slash, or ""), stem and extension of a name; `folders` maps the keys of all folders to their spellings."""
    path = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    last = _made_safe("".join(parts[-1:]), position)
    leads_out = path.startswith("/") or ".." in parts or _DRIVE.match(path)
    if leads_out or len(parts) > 1 + RESULT_FOLDERS:
        return "", *last
    folder, found = "", dict[str, str]()
    for part in parts[:-1]:
        own = _numbered(*_made_safe(part.lstrip(" .-~") or "_", position), 1, RESULT_NAME_BYTES)
        wanted = folder + (f"_{own}" if match_key(own) in _RESERVED_KEYS else own)
        wanted = folders.get(match_key(wanted), wanted)
        found[match_key(wanted)] = wanted
        folder = f"{wanted}/"
    if len(folder.encode()) > _RESULT_FOLDERS_BYTES:
        return "", *last
    folders |= found
    return folder, *last


def _made_safe(part: str, position: int) -> tuple[str, str]:
    plain = _UNSAFE.sub("_", _DRIVE.sub("", part))
    clean = "".join(c if c.isprintable() else "_" for c in plain).rstrip(" .")
    stem, dot, extension = clean.rpartition(".")
    if len(extension.encode()) >= _EXTENSION_BYTES or not dot:
        stem, dot, extension = clean, "", ""
    return stem.lstrip(" .-~") or f"result-{position}", dot + extension


def _untaken(folder: str, stem: str, extension: str, taken: dict[str, int]) -> str:
    """Find a free name in a folder; `taken` maps each taken key to the last number that was tried for it."""
    room = RESULT_NAME_BYTES - len(folder.encode())
    first = _numbered(stem, extension, 1, room)
    first_key = match_key(folder + first)
    number = taken.get(first_key, int(match_key(first) in _RESERVED_KEYS)) + 1
    while (key := match_key(name := folder + _numbered(stem, extension, number, room))) in taken:
        number += 1
    taken |= {key: 1, first_key: number}
    return name


def _numbered(stem: str, extension: str, number: int, most_bytes: int) -> str:
    ending = extension if number == 1 else f"-{number}{extension}"
    room = most_bytes - len(ending.encode())
    name = _cut(stem, room) + ending
    if _DEVICE.match(name):
        name = f"_{_cut(stem, room - 1)}{ending}"
    return _PART.sub(r"-\1", name.rstrip(" ."))


def _cut(stem: str, room: int) -> str:
    return stem.encode()[:room].decode(errors="ignore")
