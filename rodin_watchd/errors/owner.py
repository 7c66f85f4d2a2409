"""What the owner of the service can mend."""

from __future__ import annotations

from rodin_watchd.errors.base import RodinWatchdError
from rodin_watchd.problem import Fault, Scope


class OwnerError(RodinWatchdError):
    """The service cannot start or go on as it is set up."""

    code = "setup"
    fault = Fault.OWNER
    scope = Scope.SERVICE
    advice = "Run `rodin-watchd check` for the whole list."


class ConfigError(OwnerError):
    """The configuration is not valid."""

    code = "config"
    advice = "Mend the lines named above; `config.example.toml` lists every key."


class MissingKeyError(ConfigError):
    """There is no API key."""

    code = "missing-key"


class HiddenKeyError(MissingKeyError):
    """The API key is shown to the service alone."""

    code = "hidden-key"
    advice = "Run this as root to have it looked at."


class JournalError(OwnerError):
    """The journal cannot be used."""

    code = "journal"


class JournalRolledBackError(JournalError):
    """Another program has put older content into the open journal, in its own file."""

    code = "journal-rolled-back"
    advice = (
        "Start the service again, if nothing does that by itself: it holds what may have been paid for meanwhile, and counts "
        "it as spent. Find out what writes into the journal's file; to put a backup in place, stop the service first."
    )


class OldJournalError(JournalError):
    """The journal is of an older version, or was never set up."""

    code = "old-journal"
    advice = "Start `rodin-watchd run` once: it brings the journal up to date."


class AlreadyRunningError(OwnerError):
    """Another rodin_watchd already serves this folder."""

    code = "already-running"
    advice = "Stop the other one first: two daemons on one folder could pay twice."


class CommandRefusedError(OwnerError):
    """The command does not fit the job as it is now."""

    code = "command-refused"
    advice = "`rodin-watchd show JOB` tells the job's state."
