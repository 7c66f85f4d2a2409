"""What a sidecar names: paths of files next to it, or below the inbox. Pure arithmetic."""

from __future__ import annotations

import re
from typing import Final

from rodin_watchd.core.options import quoted
from rodin_watchd.errors import SidecarError

MOST_JOBS: Final = 64
"""So many jobs are made of one set at most."""

_DRIVE: Final = re.compile(r"[A-Za-z]:")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def resolve_member(reference: str, folder: str) -> str:
    r"""Find what a sidecar names: `reference` starts from the sidecar's `folder`; the result from the inbox.

    `folder` is relative to the inbox, "" for the inbox itself. Both `/` and `\` separate. Pure arithmetic: nothing is
    looked up, and links are not followed. Raises SidecarError for what is empty, absolute, no file name, leads out, or holds control characters.
    """
    if _CONTROL.search(reference):
        raise SidecarError(f"{quoted(reference)} holds a control character: write paths with / or in 'single quotes'")
    steps = reference.replace("\\", "/").split("/")
    if reference[:1] in ("/", "\\") or _DRIVE.match(reference):
        raise SidecarError(
            f"{quoted(reference)} is an absolute path: write it as seen from the folder of the TOML file"
        )
    if steps[-1] in ("", ".", ".."):
        raise SidecarError(f"{quoted(reference)} does not name a file")
    return "/".join(_walk(reference, folder.split("/") + steps))


def is_reference(name: str) -> bool:
    """Return whether a sidecar can name a file of this name that is next to it."""
    try:
        return name.isprintable() and resolve_member(name, "") == name
    except SidecarError:
        return False


def _walk(reference: str, steps: list[str]) -> list[str]:
    place: list[str] = []
    for step in steps:
        if step == ".." and not place:
            raise SidecarError(f"{quoted(reference)} leads out of the inbox")
        if step == "..":
            place.pop()
        elif step not in ("", "."):
            place.append(step)
    return place
