"""The lines of the log: the job that they are about, one line for each mistake, and their form for people, JSON or journald.

Each line begins with a stable action word, which JSON and journald have as a field of its own, next to the job and the set.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from rodin_watchd.core.names import printable
from rodin_watchd.core.wording import sentences, set_name
from rodin_watchd.errors import Problem, RodinWatchdError
from rodin_watchd.model import Job

log = logging.getLogger("rodin_watchd")

LogValue: TypeAlias = str | int | float
"""What a field of a line has."""

NOBODY: Mapping[str, LogValue] = MappingProxyType({})
"""The fields of a line that is about no job."""

_MOST_OF_A_CAUSE: Final = 1000
"""So many characters of a cause are in its field."""

_ABOUT: ContextVar[Mapping[str, LogValue]] = ContextVar("about", default=NOBODY)


def fields(job: Job) -> dict[str, LogValue]:
    """Return the fields of a line that is about a job."""
    return {"job": job.id, "set": set_name(job.folder, job.title)}


def fields_of_plugin(
    plugin: str, hook: str = "", *, attempt: int = 0, seconds: float | None = None, problem: Problem | None = None
) -> dict[str, LogValue]:
    """Return the fields of a line that is about a plugin: which call of it, how long that took, and what went wrong."""
    found: dict[str, LogValue] = {"plugin": plugin, "hook": hook, "attempt": attempt or ""}
    if seconds is not None:
        found["duration"] = round(seconds, 3)
    if problem:
        found |= {"cause": printable(sentences(problem.message), _MOST_OF_A_CAUSE), "code": problem.code}
    return found


def fields_of_problem(problem: Problem | None, attempt: int = 0) -> Mapping[str, LogValue]:
    """Return the fields of a line that is about a problem: those of a plugin's, none of any other."""
    if problem is None or not problem.plugin:
        return NOBODY
    return fields_of_plugin(problem.plugin, problem.hook, attempt=attempt, problem=problem)


@contextlib.contextmanager
def about(job: Job) -> Iterator[None]:
    """Let each line that this thread logs meanwhile be about a job, whoever writes it."""
    token = _ABOUT.set(fields(job))
    try:
        yield
    finally:
        _ABOUT.reset(token)


def fields_of_now() -> Mapping[str, LogValue]:
    """Return the fields of the job that this thread works for; none outside `about`."""
    return _ABOUT.get()


def log_error(level: int, action: str, error: RodinWatchdError) -> None:
    """Log each mistake that an error names on a line of its own, the last with what to do."""
    *before, last = error.message.splitlines()
    for line in (*before, f"{last} {error.advice_in_full}".rstrip()):
        log.log(level, "%s: %s", action, line, extra={"action": action, **fields_of_problem(error.problem)})


def why(error: Exception) -> str:
    """Return an error's cause in words, without the number and the path that an OSError's text has."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class Trouble:
    """What fails besides the steps of jobs: logged once for each cause, and once when it succeeds again."""

    def __init__(self, action: str) -> None:
        self._action = action
        self._logged = ""

    @property
    def words(self) -> str:
        """What does not succeed now, "" for nothing."""
        return self._logged

    def begins(self, words: str) -> None:
        """Say what does not succeed, and why; may be repeated."""
        if words != self._logged:
            log.warning("%s: %s", self._action, words, extra={"action": self._action})
        self._logged = words

    def ends(self, words: str) -> None:
        """Log that it succeeds, if it did not before."""
        if self._logged:
            log.info("%s: %s", self._action, words, extra={"action": self._action})
        self._logged = ""


# ---- The log on standard error: for people, as JSON, or for journald ------------------------------------------------


LogFormat: TypeAlias = Literal["human", "json", "journal"]

FIELDS: Final = ("action", "job", "set", "plugin", "hook", "attempt", "duration", "cause", "code")
STREAM_VARIABLE: Final = "JOURNAL_STREAM"  # systemd.exec(5): device and inode of the stream to journald
JOURNAL_SOCKET: Final = Path("/run/systemd/journal/socket")
IDENTIFIER: Final = "rodin-watchd"

_QUIET: Final = ("procrastinate", "psycopg.pool")
"""Libraries whose troubles we log in our own words; each try to reach a database that is away would be lines of theirs."""

_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Python's levels as those of sd-daemon(3)."""


def start_log(chosen: LogFormat | None, environ: Mapping[str, str]) -> LogFormat:
    """Log to standard error from now on, in the chosen format or the one that fits what it is; return the format."""
    kind = chosen or ("journal" if leads_to_journald(environ, sys.stderr.fileno()) else "human")
    logging.basicConfig(handlers=[_handler(kind)], force=True)
    logging.captureWarnings(capture=True)  # a library's warning is a line like all others
    for library in _QUIET:
        logging.getLogger(library).setLevel(logging.CRITICAL)
    _install_fault_hooks()
    set_level("info")
    return kind


def _install_fault_hooks() -> None:
    """Log what nothing caught, in whatever thread: a traceback of Python's own would be no line of the chosen format."""
    sys.excepthook = _log_fault

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, SystemExit):
            _log_fault(args.exc_type, args.exc_value)

    threading.excepthook = in_thread
    sys.unraisablehook = lambda args: _log_fault(args.exc_type, args.exc_value)


def _log_fault(kind: type[BaseException], error: BaseException | None, _trace: object = None) -> None:
    values = (threading.current_thread().name, kind.__name__)
    log.error("fault in thread %s: %s", *values, exc_info=error, extra={"action": "fault"})


def set_level(name: str) -> None:
    """Log what is at least so grave: debug, info, warning or error. May be repeated while the service runs."""
    level = logging.getLevelNamesMapping()[name.upper()]
    log.setLevel(level)
    logging.getLogger().setLevel(max(level, logging.INFO))  # what libraries say beyond that may hold secrets


def leads_to_journald(environ: Mapping[str, str], descriptor: int) -> bool:
    """Return whether a stream is the one that the service manager connected with journald."""
    there = os.fstat(descriptor)
    return environ.get(STREAM_VARIABLE) == f"{there.st_dev}:{there.st_ino}"


def _handler(kind: LogFormat) -> logging.Handler:
    if kind == "journal" and JOURNAL_SOCKET.exists() and (native := _journald()):
        return native
    handler = logging.StreamHandler()
    handler.setFormatter({"human": _Human, "json": _Json, "journal": _Prefixed}[kind]())
    return handler


def _journald() -> logging.Handler | None:
    """Return a handler that gives journald the fields apart; None without the extra `systemd`."""
    try:
        from systemd.journal import JournalHandler  # noqa: PLC0415 - an optional extra
    except ImportError:
        return None
    handler: logging.Handler = JournalHandler(SYSLOG_IDENTIFIER=IDENTIFIER)
    handler.addFilter(_with_journal_fields)
    handler.setFormatter(_Message())
    return handler


def _with_journal_fields(record: logging.LogRecord) -> bool:
    """Name the fields as journald wants them (systemd.journal-fields(7)): in capitals.

    The words are put together here, for the handler would send what they are made of once more, as CODE_ARGS=.
    """
    record.__dict__.update({name.upper(): str(value) for name, value in fields_of(record).items()})
    record.msg, record.args = record.getMessage(), None
    return True


def fields_of(record: logging.LogRecord) -> dict[str, LogValue]:
    """Return a line's action and, where it concerns one, its job, set and plugin; a library's action is the library's name.

    To be called in the thread that logs: what works for a job need not name it in each line.
    """
    now = fields_of_now()
    own: Mapping[str, LogValue] = record.__dict__
    found = {name: own[name] if own.get(name, "") != "" else now.get(name, "") for name in FIELDS}
    found["action"] = found["action"] or record.name.partition(".")[0]
    return {name: value for name, value in found.items() if value != ""}


class _Message(logging.Formatter):
    """One line, which begins with its action; a fault's traceback follows. Lines of our own are written so."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        message = " / ".join(record.message.splitlines())
        is_our_own = bool(getattr(record, "action", ""))
        record.message = message if is_our_own else f"{fields_of(record)['action']}: {message}"
        return super().formatMessage(record)


class _Human(_Message):
    """Time, level, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")


class _Prefixed(_Message):
    """For journald on a stream: each line begins with its priority, sd-daemon(3)."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 5)}>"
        return "\n".join(f"{prefix}{line}" for line in super().format(record).splitlines())


class _Json(logging.Formatter):
    """An object on a line: at (UTC), level, the line's fields, message, and a fault's traceback."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, LogValue] = {
            "at": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            **fields_of(record),
        }
        line["message"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)
