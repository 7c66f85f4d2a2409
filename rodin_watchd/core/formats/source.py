"""Bounded reading of an open file, and the three proofs of wholeness that formats share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from rodin_watchd.core.file_kinds import advice_of, sniff

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

# ---- What a look into a file can find out ---------------------------------------------------------------------------


class Wholeness(StrEnum):
    """Whether a file is all there, by its content alone."""

    WHOLE = "whole"
    UNFINISHED = "unfinished"  # its content proves that a part is missing: it may still be growing
    UNDECIDED = "undecided"  # its content does not show it: only time does
    WRONG = "wrong"  # its content proves that it is another format: waiting never makes it right


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """The answer and, unless the file is whole, why: a piece of a sentence for people, safe to print.

    `warnings` are such pieces, too: what may make the vendor fail, though the file is what its format asks for.
    """

    wholeness: Wholeness
    detail: str = ""
    warnings: tuple[str, ...] = ()


WHOLE = FileVerdict(Wholeness.WHOLE)
FOLLOWED = FileVerdict(Wholeness.UNDECIDED, "there are more bytes after its end")
ENDS_IN_ZEROS = FileVerdict(Wholeness.UNDECIDED, "its last bytes are zeros: it may not be fully copied")


class BreaksOffError(Exception):
    """The file's content does not go on at `offset` (bytes) as it must; inside `formats` only."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(f"it ends too early, at byte {offset:,}")


def unfinished(detail: str) -> FileVerdict:
    """Say that a part of the file is missing."""
    return FileVerdict(Wholeness.UNFINISHED, detail)


def undecided(detail: str) -> FileVerdict:
    """Say that the content does not show it."""
    return FileVerdict(Wholeness.UNDECIDED, detail)


def wrong(detail: str) -> FileVerdict:
    """Say that the file is of another format."""
    return FileVerdict(Wholeness.WRONG, detail)


HEAD_BYTES: Final = 4096
STEP_LIMIT: Final = 1000
"""The most parts of a file (chunks, segments, records) that are walked; honest files have a few dozen."""

PAGE_BYTES: Final = 4096
"""Copies that break off, and holes, mostly begin and end at a page."""

MOST_ZERO_BYTES: Final = 64
"""A file that ends in so many zeros is not believed: a copy that broke off leaves them, and hardly any program does."""

_WINDOW_BYTES: Final = 256 * 1024
_ALIGNED_BYTES: Final = 16
_ZERO_PAGE: Final = bytes(PAGE_BYTES)
_NOT_ZERO: Final = re.compile(rb"[^\0]")


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
        """Return whether the file ends like a preallocated copy: its last 64 bytes, as far as in its last page, are zero.

        Copying programs set the full size first and fill it later, mostly in whole pages of 4 KiB.
        """
        in_last_page = (self.size - 1) % PAGE_BYTES + 1
        return not any(self.tail(min(MOST_ZERO_BYTES, in_last_page)))


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
    """Say that the file is not `wanted`, and, where that can be known, what it is and what to do with it."""
    found = sniff(source.head)
    if not found:
        return wrong(f"this is not {wanted}")
    if found == wanted:
        return wrong(f"this is {found} whose beginning is damaged")
    advice = advice_of(found)
    return wrong(f"this is {found}, not {wanted}: {advice}" if advice else f"this is {found}, not {wanted}")


def in_utf16(head: bytes) -> FileVerdict | None:
    """Say that a text is saved as UTF-16, by its mark or its first letters; None: it is not."""
    letters = head[:64]
    is_marked = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    is_wide = len(letters) >= 8 and any(not any(letters[odd::2]) and all(letters[1 - odd :: 2]) for odd in (0, 1))
    return (
        wrong("it is saved as UTF-16 text, which 3D programs do not read: save it as UTF-8")
        if (is_marked or is_wide) and not sniff(head)
        else None
    )


_TAG: Final = re.compile(rb"<(?i:!doctype|\?xml|/?(?:html|head|body|title|error))\b")
_JSON: Final = re.compile(rb"(?:\A|\n)[-+0-9.,eEvtnf /\t]*+\{\s*+\"[^\"\n]*+\"\s*+:")


def page_in(text: bytes, comment: re.Pattern[bytes]) -> FileVerdict | None:
    """Say that a model's text holds what a server answered in the place of the rest of a download; None: it does not.

    What a `comment` holds does not count, nor does JSON in a name.
    """
    if b"<" in text and _TAG.search(comment.sub(b"", text)):
        return wrong("a web page is in it, because its download broke off: download it again")
    if b"{" in text and _JSON.search(text):
        return wrong("a server's error message is in it, because its download broke off: download it again")
    return None


def proved_by_length(source: ByteSource, length: int) -> FileVerdict:
    """Judge a file that says itself how long it is, in bytes; the length alone proves nothing about a tail of zeros."""
    if source.size < length:
        return unfinished(f"{source.size:,} of {length:,} bytes are there")
    if source.ends_in_zeros():
        return ENDS_IN_ZEROS
    return WHOLE if source.size == length else FOLLOWED


def proved_by_mark(source: ByteSource, mark: bytes, start: int) -> FileVerdict:
    """Judge a file whose last bytes are `mark`, which cannot stand elsewhere from `start` on.

    Programs append to pictures (a phone's video, padding): a mark in the last 256 KiB with something behind it
    does not show whether that something is all there.
    """
    if source.size - len(mark) >= start and source.tail(len(mark)) == mark:
        return WHOLE
    start = max(start, source.size - _WINDOW_BYTES)
    return FOLLOWED if mark in source.at(start, source.size - start) else unfinished("its end is missing")


# ---- Zeros in the middle of a file: what a copy has not filled so far, or what a program has written ----------------


def zero_runs(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the beginning and end of each run of zeros of a page or more, and of one of `MOST_ZERO_BYTES` at the end."""
    end = 0
    while (start := data.find(_ZERO_PAGE, end)) >= 0:
        other = _NOT_ZERO.search(data, start + PAGE_BYTES)
        end = other.start() if other else len(data)
        yield start, end
    tail = len(data[end:].rstrip(b"\0")) + end
    if len(data) - tail >= MOST_ZERO_BYTES:
        yield tail, len(data)


def is_hole(run: tuple[int, int], size: int) -> bool:
    """Return whether a run of zeros fills whole pages of a file of `size` bytes, as holes and preallocated ends do.

    What is next to a hole may have a few zeros of its own. The data of a program begins and ends at a page by chance
    once in 65,000 times.
    """
    start, end = run
    return -start % PAGE_BYTES < _ALIGNED_BYTES and (end == size or end % PAGE_BYTES < _ALIGNED_BYTES)


def not_copied(run: tuple[int, int]) -> FileVerdict:
    """Say that there are zeros where the format has none."""
    start, end = run
    return unfinished(f"it has {end - start:,} zeros from byte {start:,} on: it is not fully copied, or damaged")


MAYBE_NOT_COPIED = FileVerdict(Wholeness.UNDECIDED, "it has long runs of zeros: it may not be fully copied")
