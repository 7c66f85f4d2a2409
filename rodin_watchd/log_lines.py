"""What lines of the log have in common: whom they are about, mistakes line by line, and troubles that are told once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType

from rodin_watchd.core.wording import set_name
from rodin_watchd.errors import RodinWatchdError
from rodin_watchd.model import Job

log = logging.getLogger("rodin_watchd")

NOBODY: Mapping[str, str] = MappingProxyType({})
"""The fields of a line that is about no job."""

_ABOUT: ContextVar[Mapping[str, str]] = ContextVar("about", default=NOBODY)


def fields(job: Job) -> dict[str, str]:
    """Return the fields of a line that is about a job."""
    return {"job": job.id, "set": set_name(job.folder, job.name)}


@contextlib.contextmanager
def about(job: Job) -> Iterator[None]:
    """Let each line that this thread logs meanwhile be about a job, whoever writes it."""
    token = _ABOUT.set(fields(job))
    try:
        yield
    finally:
        _ABOUT.reset(token)


def fields_of_now() -> Mapping[str, str]:
    """Return the fields of the job that this thread works for; none outside `about`."""
    return _ABOUT.get()


def log_error(level: int, action: str, error: RodinWatchdError) -> None:
    """Log each mistake that an error names on a line of its own, the last with what to do."""
    *before, last = error.message.splitlines()
    for line in (*before, f"{last} {error.advice_given}".rstrip()):
        log.log(level, "%s: %s", action, line, extra={"action": action})


def why(error: Exception) -> str:
    """Return an error's cause in words, without the number and the path that an OSError's text has."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class Trouble:
    """What does not succeed beside the work: logged once for each cause, and once when it succeeds again."""

    def __init__(self, action: str) -> None:
        self._action = action
        self._logged = ""

    def begins(self, words: str) -> None:
        """Say what does not succeed, and why; may be repeated."""
        if words != self._logged:
            log.warning("%s: %s", self._action, words, extra={"action": self._action})
        self._logged = words

    def ends(self, words: str) -> None:
        """Say that it succeeds; told if it did not before."""
        if self._logged:
            log.info("%s: %s", self._action, words, extra={"action": self._action})
        self._logged = ""
