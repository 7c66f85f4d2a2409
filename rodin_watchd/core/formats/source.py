"""Bounded reading of an open file, and the three proofs of wholeness that formats share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from rodin_watchd.core.formats.sniff import sniff

if TYPE_CHECKING:
    from typing import BinaryIO

# ---- What a look into a file can find out ---------------------------------------------------------------------------


class Wholeness(StrEnum):
    """Whether a file is all there, by its content alone."""

    WHOLE = "whole"
    UNFINISHED = "unfinished"  # its content proves that a part is missing: it may still be growing
    UNDECIDED = "undecided"  # its content cannot tell: only time can
    WRONG = "wrong"  # its content proves that it is another format: waiting never makes it right


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """The answer and, unless the file is whole, why: a piece of a sentence for people, safe to print."""

    wholeness: Wholeness
    detail: str = ""


WHOLE = FileVerdict(Wholeness.WHOLE)
FOLLOWED = FileVerdict(Wholeness.UNDECIDED, "there are more bytes after its end")


class BreaksOffError(Exception):
    """The file's content does not go on at `offset` (bytes) as it must; inside `formats` only."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(f"it ends too early, at byte {offset:,}")


def unfinished(detail: str) -> FileVerdict:
    """Say that a part of the file is missing."""
    return FileVerdict(Wholeness.UNFINISHED, detail)


def undecided(detail: str) -> FileVerdict:
    """Say that the content cannot tell."""
    return FileVerdict(Wholeness.UNDECIDED, detail)


def wrong(detail: str) -> FileVerdict:
    """Say that the file is of another format."""
    return FileVerdict(Wholeness.WRONG, detail)


HEAD_BYTES: Final = 4096
STEP_LIMIT: Final = 1000
"""The most parts of a file (chunks, segments, records) that are walked; honest files have a few dozen."""

_WINDOW_BYTES: Final = 256 * 1024
_PAGE_BYTES: Final = 4096
_ZERO_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class ByteSource:
    """An open file of `size` bytes; `head` holds its first `HEAD_BYTES` or all of it."""

    stream: BinaryIO
    size: int
    head: bytes

    @classmethod
    def of(cls, stream: BinaryIO, size: int) -> ByteSource:
        """Read the head. Raises OSError as the stream does."""
        stream.seek(0)
        return cls(stream, size, stream.read(min(size, HEAD_BYTES)))

    def at(self, offset: int, length: int) -> bytes:
        """Give exactly `length` bytes from `offset`; raises BreaksOffError where the file has fewer."""
        if offset + length > self.size:
            raise BreaksOffError(self.size)
        self.stream.seek(offset)
        data = self.stream.read(length)
        if len(data) < length:  # it was cut while we read
            raise BreaksOffError(offset + len(data))
        return data

    def number(self, offset: int, length: int = 4) -> int:
        """Read an unsigned little-endian number."""
        return int.from_bytes(self.at(offset, length), "little")

    def tail(self, length: int) -> bytes:
        """Give the last `length` bytes, or the whole file if it is shorter."""
        start = max(0, self.size - length)
        return self.at(start, self.size - start)

    def ends_in_zeros(self) -> bool:
        """Tell whether the file ends like a preallocated copy: its last 64 bytes, as far as in its last page, are zero.

        Copying programs set the full size first and fill it later, mostly in whole pages of 4 KiB.
        """
        in_last_page = (self.size - 1) % _PAGE_BYTES + 1
        return not any(self.tail(min(_ZERO_BYTES, in_last_page)))


def misfit(source: ByteSource, magic: bytes, wanted: str) -> FileVerdict | None:
    """Compare the file's first bytes with its format's `magic`: None if they are the same.

    Zeros are what a preallocated copy has not reached yet, or a place that its program fills last.
    """
    start, written = source.head[: len(magic)], source.head.rstrip(b"\0")
    if start == magic:
        return None
    if magic.startswith(written):
        return begun(len(written))
    if not any(start) and not sniff(source.head):
        return begun(0)
    return foreign(source, wanted)


def begun(written: int) -> FileVerdict:
    """Say that no more than the first `written` bytes of the format's beginning are there."""
    return unfinished(
        f"only its first {written:,} bytes are there" if written else "its first bytes are not written yet"
    )


def foreign(source: ByteSource, wanted: str) -> FileVerdict:
    """Say that the file is not `wanted`, and what it is where that can be known."""
    found = sniff(source.head)
    return wrong(f"this is {found}, not {wanted}" if found else f"this is not {wanted}")


def proved_by_length(source: ByteSource, length: int) -> FileVerdict:
    """Judge a file that says itself how long it is, in bytes; the length alone proves nothing about a tail of zeros."""
    if source.size < length:
        return unfinished(f"{source.size:,} of {length:,} bytes are there")
    if source.ends_in_zeros():
        return undecided("its last bytes are zeros: it may not be fully copied")
    return WHOLE if source.size == length else FOLLOWED


def proved_by_mark(source: ByteSource, mark: bytes, start: int) -> FileVerdict:
    """Judge a file whose last bytes are `mark`, which cannot stand elsewhere from `start` on.

    Programs append to pictures (a phone's video, padding): a mark in the last 256 KiB with something behind it
    does not tell whether that something is all there.
    """
    if source.size - len(mark) >= start and source.tail(len(mark)) == mark:
        return WHOLE
    start = max(start, source.size - _WINDOW_BYTES)
    return FOLLOWED if mark in source.at(start, source.size - start) else unfinished("its end is missing")
