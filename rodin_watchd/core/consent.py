"""Consent to pay once more for the same content: who gave it, and that it is spent by one purchase. Pure.

A consent is stored with the job and with each of its purchases, as a word of which one kind cannot be taken for another.
A set with a consent may be bought as long as nothing was bought with it for the same content, the first time included. What
a TOML file says is meant, not its bytes: the same words copied in again buy once, with other line ends or comments too.
A purchase spends what its job's TOML file says also where a person's consent allowed it.
"""

from __future__ import annotations

from rodin_watchd.core.options import words_of


def by_person(job_id: str, retry: int) -> str:
    """Return the consent of a person who said `retry --pay-again`: for the retry of this number of this job."""
    return f"retry:{job_id}:{retry}"


def is_by_person(consent: str, again: bool | str) -> bool:
    """Tell whether a job's consent is a person's, and not what its TOML file says for `again`."""
    return consent not in ("", of_set(again))


def of_set(again: bool | str) -> str:
    """Return the consent of a set whose TOML file says this for `again`, "" where it gives none.

    Words that differ in capitals or space alone are one consent.
    """
    if isinstance(again, str):
        return f"word:{words_of(again).casefold()}"
    return "again" if again else ""
