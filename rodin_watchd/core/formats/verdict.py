"""What a look into a file can find out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Wholeness(StrEnum):
    """Whether a file is all there, by its content alone."""

    WHOLE = "whole"
    UNFINISHED = "unfinished"  # its content proves that a part is missing: it may still be growing
    UNDECIDED = "undecided"  # its content cannot tell: only time can
    WRONG = "wrong"  # its content proves that it is another format: waiting never makes it right


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer and, unless the file is whole, why: a piece of a sentence for people, safe to print."""

    wholeness: Wholeness
    detail: str = ""


WHOLE = Verdict(Wholeness.WHOLE)
FOLLOWED = Verdict(Wholeness.UNDECIDED, "more bytes follow its end")


class BreaksOffError(Exception):
    """The file's content does not go on at `offset` (bytes) as it must; inside `formats` only."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(f"it breaks off at byte {offset:,}")


def unfinished(detail: str) -> Verdict:
    """Say that a part of the file is missing."""
    return Verdict(Wholeness.UNFINISHED, detail)


def undecided(detail: str) -> Verdict:
    """Say that the content cannot tell."""
    return Verdict(Wholeness.UNDECIDED, detail)


def wrong(detail: str) -> Verdict:
    """Say that the file is of another format."""
    return Verdict(Wholeness.WRONG, detail)
