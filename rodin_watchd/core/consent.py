"""Consent to pay once more for the same content: who gave it, and that it is spent by one purchase. Pure.

A consent is stored with the job and with each of its purchases, as a word of which one kind cannot be taken for another.
A set with a consent may be bought as long as nothing was bought with it for the same content, the first time included: the
same TOML file, copied in again and again, buys once.
"""

from __future__ import annotations

from collections.abc import Sequence

from rodin_watchd.model import InputFile, Role


def by_sidecar(sha256: str) -> str:
    """Return the consent of a TOML file that says `again = true`: of these very bytes."""
    return f"file:{sha256}"


def by_word(word: str) -> str:
    """Return the consent of a TOML file that says `again = "word"`."""
    return f"word:{word}"


def by_person(job_id: str, retry: int) -> str:
    """Return the consent of a person who said `retry --pay-again`: for the retry of this number of this job."""
    return f"retry:{job_id}:{retry}"


def of_set(again: bool | str, files: Sequence[InputFile]) -> str:
    """Return the consent of a staged set, "" where its TOML file gives none."""
    if isinstance(again, str):
        return by_word(again)
    sidecar = next((f for f in files if f.role is Role.SIDECAR), None)
    return by_sidecar(sidecar.sha256) if again and sidecar else ""
