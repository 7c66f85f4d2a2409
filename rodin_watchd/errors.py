"""What can go wrong: as plain values for the journal, reports and other threads, and as exceptions that carry one."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self


class Fault(StrEnum):
    """Who can correct the cause."""

    FILES = "files"  # the person who dropped the set
    ACCOUNT = "account"  # the person who pays the vendor: credits, plan, key
    VENDOR = "vendor"  # Hyper3D
    NETWORK = "network"  # the connection between
    MACHINE = "machine"  # the computer that runs the service: disks, permissions, folders
    OWNER = "owner"  # the person who configured the service
    NOBODY = "nobody"  # a person asked for it


class Scope(StrEnum):
    """What is affected: one set, or everything of its kind."""

    SET = "set"
    SERVICE = "service"


class Lane(StrEnum):
    """A class of steps that one service error pauses together."""

    SUBMIT = "submit"  # spending money
    REFUSALS = "refusals"  # the same, until a person has looked at what the vendor refused and may have charged
    API = "api"  # every call to the vendor
    DISK = "disk"  # everything that writes files
    TAKING = "taking"  # taking new sets
    ROOM = "room"  # everything that needs much room in the work folder
    OUTBOX = "outbox"  # publishing there
    FAILED = "failed"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, as a value: safe to store and to show (it never holds a secret)."""

    code: str
    fault: Fault
    scope: Scope
    message: str
    advice: str  # for whoever dropped the set: what they can do with their files, or whom they tell
    lane: Lane | None = None
    retry_after_seconds: float | None = None
    documented: bool = False  # the vendor refused by a code for which it says that nothing is charged
    command: str = ""  # for the person who runs the service: what they can do, with the command
    plugin: str = ""  # whose call it is about; "" for none
    hook: str = ""  # which that call was of

    @property
    def asked_seconds(self) -> float:
        """The wait that the vendor asked for, 0 for none."""
        return self.retry_after_seconds or 0.0

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the problem whose fields were stored as JSON."""
        lane = Lane(data["lane"]) if data["lane"] else None
        return cls(**{**data, "fault": Fault(data["fault"]), "scope": Scope(data["scope"]), "lane": lane})


# ---- What all errors have in common ---------------------------------------------------------------------------------


CONTINUES: Final = "{continues}"
"""Placeholder in advice for how the service continues, which depends on whether it still runs."""

TOML: Final = "NAME.toml"
"""Stands in advice for the name of the set's TOML file."""

_RUNNING: Final = "the service continues by itself"
_ENDED: Final = "then start the service again"


class RodinWatchdError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    fault: ClassVar[Fault] = Fault.MACHINE
    scope: ClassVar[Scope] = Scope.SET
    lane: ClassVar[Lane | None] = None
    final: ClassVar[bool] = False
    advice: ClassVar[str] = "Tell the person who runs the service."
    command: ClassVar[str] = ""

    def __init__(
        self,
        message: str = "",
        *,
        advice: str = "",
        command: str | None = None,
        retry_after_seconds: float | None = None,
        documented: bool = False,
    ) -> None:
        """Take a message (default: the docstring's first line) and, where they differ from the class, advice with its command, and a wait.

        `documented`: the vendor refused by a code for which it says that nothing is charged.
        """
        self.documented = documented
        self.message = message or (self.__doc__ or "").splitlines()[0]
        self._advice = advice or self.advice
        self.advice_given = self._advice.replace(CONTINUES, _RUNNING)
        self.command_given = command if command is not None else "" if advice else self.command
        self.retry_after_seconds = retry_after_seconds
        self.plugin = self.hook = ""
        super().__init__(self.message)

    def has_ended_service(self) -> None:
        """Change the advice for a service that has ended: somebody must start it. May be repeated."""
        self.advice_given = self._advice.replace(CONTINUES, _ENDED)

    def advise(self, more: str) -> None:
        """Add to the advice."""
        self.advice_given = f"{self.advice_given} {more}".strip()

    def is_about(self, plugin: str, hook: str = "") -> None:
        """Note the plugin, and its hook, whose call went wrong. May be repeated."""
        self.plugin, self.hook = plugin, hook

    @property
    def advice_in_full(self) -> str:
        """What everybody can do, at the command line and in the log."""
        return f"{self.advice_given} {self.command_given}".strip()

    @property
    def problem(self) -> Problem:
        """The same failure as a plain value."""
        return Problem(
            code=self.code,
            fault=self.fault,
            scope=self.scope,
            message=self.message,
            advice=self.advice_given,
            lane=self.lane,
            retry_after_seconds=self.retry_after_seconds,
            documented=self.documented,
            command=self.command_given,
            plugin=self.plugin,
            hook=self.hook,
        )


# ---- What the owner of the service can correct ---------------------------------------------------------------------


class OwnerError(RodinWatchdError):
    """The service cannot work with its present setup."""

    code = "setup"
    fault = Fault.OWNER
    scope = Scope.SERVICE
    advice = "Run `rodin-watchd check` for the whole list."


class ConfigError(OwnerError):
    """The configuration is not valid."""

    code = "config"
    advice = "Correct the lines above; `config.example.toml` lists every key."


class MissingKeyError(ConfigError):
    """There is no API key."""

    code = "missing-key"


class HiddenKeyError(MissingKeyError):
    """Only the service can read the API key, or a token of the page."""

    code = "hidden-key"
    advice = "Run this as root to check the key."


class JournalError(OwnerError):
    """The journal cannot be used."""

    code = "journal"


class JournalRolledBackError(JournalError):
    """Another program has put older content into the open journal, in its own file."""

    code = "journal-rolled-back"
    advice = (
        "Start the service again, if it does not restart by itself: it holds jobs that may have been paid for meanwhile, and "
        "counts them as spent. Find out which program writes into the journal's file. To restore a backup, stop the service first."
    )


class OldJournalError(JournalError):
    """The journal is of an older version, or was never set up."""

    code = "old-journal"
    advice = "Start `rodin-watchd run` once: it brings the journal up to date."


class AlreadyRunningError(OwnerError):
    """Another rodin_watchd already serves this folder."""

    code = "already-running"
    advice = "Stop the other one first: two daemons on one folder could pay twice."


class UnknownRootError(OwnerError):
    """The folder is none of the roots of a store that several daemons share."""

    code = "unknown-root"
    advice = (
        "Mount the share that belongs there, or correct folders.root. To make this folder another root of the store: "
        "`rodin-watchd store add-root`."
    )


class FencedError(AlreadyRunningError):
    """Another daemon has taken this one's root: it was silent for too long."""

    code = "fenced"
    advice = (
        "Nothing is lost: the other one goes on. Started again, this one stands by. Find out why it was silent: a suspended machine, "
        "a broken network, a process that was stopped."
    )


class StandbyError(AlreadyRunningError):
    """Another daemon serves the root now: this one waits."""

    code = "standby"
    advice = "There is nothing to do. To have this one serve the root, stop the other one."


class CommandRefusedError(OwnerError):
    """The command does not fit the job as it is now."""

    code = "command-refused"
    advice = "`rodin-watchd show JOB` shows the job's state."


# ---- What concerns the whole service: each of these ends by itself when its cause ends ------------------------------


class ServiceError(RodinWatchdError):
    """A cause outside of the sets stops a whole class of steps."""

    code = "service"
    scope = Scope.SERVICE
    lane = Lane.API


class KeyRefusedError(ServiceError):
    """The vendor refuses the API key."""

    code = "key-refused"
    fault = Fault.ACCOUNT
    advice = f"Check the API key; {CONTINUES} when the key works."


class NoCreditsError(ServiceError):
    """The vendor's account has no credits, or its plan does not allow the API."""

    code = "no-credits"
    fault = Fault.ACCOUNT
    lane = Lane.SUBMIT
    advice = f"Buy credits or change the plan; {CONTINUES}."


class EmptyAccountError(NoCreditsError):
    """The vendor's account is empty."""

    code = "empty-account"
    advice = "Buy credits; the service reads the balance and continues by itself."


class TaskLimitError(ServiceError):
    """The vendor works on as many tasks of this account as it takes at once."""

    code = "task-limit"
    fault = Fault.VENDOR
    lane = Lane.SUBMIT
    advice = "Nothing to do: the service waits until a task ends and continues by itself."


class UnknownCodeError(ServiceError):
    """The vendor refused with a code that this version does not know."""

    code = "unknown-code"
    fault = Fault.VENDOR
    lane = Lane.SUBMIT
    advice = (
        "The files are safe, and nothing is wrong with them as far as is known: the service tries again by itself. "
        "Whoever runs the service: ask the vendor's support what the code means."
    )


class ThrottledError(ServiceError):
    """The vendor asks for fewer calls."""

    code = "throttled"
    fault = Fault.VENDOR
    advice = "Nothing to do: the service waits and continues by itself."


class NetworkError(ServiceError):
    """The vendor cannot be reached."""

    code = "network"
    fault = Fault.NETWORK
    advice = f"Check the network; {CONTINUES}."


class VendorDownError(ServiceError):
    """The vendor's service does not work."""

    code = "vendor-down"
    fault = Fault.VENDOR
    advice = f"Nothing to do: {CONTINUES} when the vendor's service works again."


class UnansweredSubmitError(ServiceError):
    """The vendor did not say whether it has taken a set. The next one waits, and longer each time."""

    code = "unanswered-submit"
    fault = Fault.VENDOR
    lane = Lane.SUBMIT
    advice = f"Nothing to do for the sets that wait: {CONTINUES}."


class RefusalsError(ServiceError):
    """The vendor refuses sets after it has received all of them, and may charge for them."""

    code = "refusals"
    fault = Fault.ACCOUNT
    lane = Lane.REFUSALS
    advice = (
        "Nothing is submitted until somebody has looked into the vendor's account and decided about the held sets "
        "(`rodin-watchd resolve`)."
    )


FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The errors of a disk without free space, or without free space for this user."""

_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "Make free space": ("ENOSPC",),
        "Make free space, or raise the quota of the service's user": ("EDQUOT",),
        "Mount the disk so that it can be written; if it became read-only by itself, check it first": ("EROFS",),
        "Give the service's user permission to read and write there": ("EACCES", "EPERM"),
        "Look into the system's log and check the disk or share: it reports a fault": ("EIO", "EUCLEAN"),
        "Raise the limit of open files (LimitNOFILE= of the unit, `ulimit -n`) and start the service again": (
            *("EMFILE", "ENFILE"),
        ),
        "Give the service more memory, or end the programs that use it up": ("ENOMEM",),
        "Bring the share or disk back": (
            *("ESTALE", "ENODEV", "ENXIO", "ENOTCONN", "EHOSTDOWN"),
            *("EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "EREMOTEIO"),
        ),
        "Restore the missing file or folder, or remove what has its name": (
            *("ENOENT", "ENOTDIR", "EISDIR", "ELOOP", "EEXIST"),
        ),
        "Use a filesystem with locks, or enable locks on the file server": ("ENOLCK", "EOPNOTSUPP"),
    }
)
_REPAIRS: Final[Mapping[int, str]] = MappingProxyType(
    {getattr(errno, name): words for words, names in _WORDS.items() for name in names if hasattr(errno, name)}
)
"""What a person can do about an error of the operating system."""


class DiskError(ServiceError):
    """A folder or file of the service cannot be used."""

    code = "disk"
    fault = Fault.MACHINE
    lane = Lane.DISK
    advice = f"Correct the cause in the message; {CONTINUES}."

    @classmethod
    def of(cls, what: str, error: OSError) -> Self:
        """Return the error for a failed call: what could not be done, why, and what a person can do about this cause."""
        repair = _REPAIRS.get(error.errno or 0, "Correct that")
        return cls(f"{what}: {error.strerror or error}.", advice=f"{repair}; {CONTINUES}.")


class ForeignFileError(DiskError):
    """A foreign file has the name of a file of the service."""

    code = "foreign-file"
    advice = f"Move it away, or set folders.state to a folder that no other program uses; {CONTINUES}."


class UnfitFoldersError(DiskError):
    """A folder cannot be used, so no new set is taken: there must be a place for its result."""

    code = "unfit-folders"
    lane = Lane.TAKING


class RoomError(DiskError):
    """The disk of the work folder is full."""

    code = "disk-full"
    lane = Lane.ROOM
    advice = f"Make free space; {CONTINUES}."


class JournalBusyError(DiskError):
    """Another program keeps the journal locked."""

    code = "journal-busy"
    advice = f"Close the database browser, backup or other program that has the journal open; {CONTINUES}."


class JournalFaultError(DiskError):
    """The disk with the journal reports a fault."""

    code = "journal-fault"
    advice = f"Look into the system's log and check the disk: it reports a fault; {CONTINUES}."


class JournalGoneError(DiskError):
    """The journal's files are not in their place."""

    code = "journal-gone"


class JournalUncheckedError(DiskError):
    """All of the journal is being read: the service did not close it."""

    code = "journal-unchecked"
    advice = f"Wait until it is read; {CONTINUES}."


class StoreAwayError(DiskError):
    """The database server with the store cannot be reached."""

    code = "store-away"
    advice = f"Nothing is taken or paid until it answers. Look whether the server runs and lets this service in; {CONTINUES}."


class SubmitCountError(DiskError):
    """The count of submits cannot be written, so nothing is submitted."""

    code = "submit-count"
    lane = Lane.SUBMIT


class JournalBehindError(SubmitCountError):
    """The root counts more submits than the journal."""

    code = "journal-behind"


class OutboxError(DiskError):
    """The outbox cannot be written."""

    code = "outbox"
    lane = Lane.OUTBOX


class FailedFolderError(DiskError):
    """The folder of failed sets cannot be written."""

    code = "failed-folder"
    lane = Lane.FAILED


class ArchiveError(DiskError):
    """The archive cannot be written."""

    code = "archive"
    lane = Lane.ARCHIVE


class FolderGoneError(DiskError):
    """A folder of the service is missing."""

    code = "folder-gone"
    advice = f"Connect the share again; {CONTINUES}."


class RootCopiedError(DiskError):
    """The root or its journal was copied or moved: its mark names another journal, which may pay for the same sets."""

    code = "root-copied"
    advice = "When no other service uses this root or a copy of it any more, run `rodin-watchd accept root`."


class RootAwayError(FolderGoneError):
    """The root that the journal knows is not there: its share or disk is not mounted."""

    code = "root-away"


PAY_AGAIN: Final = (
    f"To pay for it once more, open {TOML} with a text editor (make that file if there is none), write the line "
    "`again = true` into it, and drop the set into the inbox again."
)
"""What to do for a second result of the same files."""


# ---- What concerns one set ------------------------------------------------------------------------------------------


class FilesError(RodinWatchdError):
    """The dropped files cannot be used."""

    code = "files"
    fault = Fault.FILES
    final = True
    advice = "Correct the files and drop the set into the inbox again."


class FileRefusedError(FilesError):
    """A file has another format than its name, is too large, or is not a plain file."""

    code = "file-refused"


class FilesGoneError(FilesError):
    """The files of the set are gone from the folder of the service."""

    code = "files-gone"
    advice = "Drop the set into the inbox again. Somebody has removed its files from the service's own folder."


class UnfinishedFileError(FilesError):
    """A file never became complete."""

    code = "file-unfinished"
    advice = "Copy or export the file again, and drop the complete set into the inbox."


class SidecarError(FilesError):
    """The TOML file cannot be used."""

    code = "sidecar"
    advice = f"Open {TOML} with a text editor, correct it, and drop the set into the inbox again."


class AmbiguousSetError(FilesError):
    """Several files fit one place in the set."""

    code = "ambiguous"
    advice = "Keep the file that you want, take the others away, and drop the set into the inbox again."


class ChangedWhileTakenError(FilesError):
    """The set changed while it was taken."""

    code = "changed"
    advice = "Wait until the copy is complete, then drop the set into the inbox again."


class StillWrittenError(FilesError):
    """A program has a file of the set open for writing."""

    code = "still-written"
    advice = (
        "Nothing was sent. The service takes the set when the program has written it: save and close the file there."
    )


class GoneWhileTakenError(ChangedWhileTakenError):
    """A file of the set was removed or replaced before the service took it."""

    code = "gone"
    advice = "Drop the missing file into the inbox again."


class DuplicateSetError(FilesError):
    """The same model, image and options were dropped before."""

    code = "duplicate"
    advice = f"Use that result. {PAY_AGAIN}"


class AlreadyDoneError(DuplicateSetError):
    """The same model, image and options were delivered before."""

    code = "already-done"
    advice = f"Nothing: the result is in the outbox. {PAY_AGAIN}"


class VendorRefusedError(FilesError):
    """The vendor refused the set."""

    code = "vendor-refused"


class RightsError(RodinWatchdError):
    """The service has no permission to move the files of the set."""

    code = "rights"
    advice = "Tell the person who runs the service."
    command = "Give the service's user write permission in that folder. The service tries again by itself."


class CanceledError(RodinWatchdError):
    """The set was canceled."""

    code = "canceled"
    fault = Fault.NOBODY
    final = True
    advice = "Drop the set into the inbox again if you want it after all."


class TaskFailedError(RodinWatchdError):
    """The vendor reports that the task failed; it gives no reason."""

    code = "task-failed"
    fault = Fault.VENDOR
    final = True
    advice = (
        "Look at the model and the image first: try another image, or a simpler model. To pay for the same files once more, "
        f"open {TOML} with a text editor (make that file if there is none), write the line `again = true` into it, and drop the "
        "set into the inbox again."
    )
    command = "Or ask the vendor's support about the task."


class UnfitTaskError(TaskFailedError):
    """The vendor's task failed, and one of the files that were sent is unfit."""

    code = "unfit-task"
    fault = Fault.FILES
    advice = "Correct that file, and drop the set into the inbox again. What was sent cannot become a model; do not pay for it again."
    command = ""


FAILED_TASKS: Final = frozenset({TaskFailedError.code, UnfitTaskError.code})
"""Of tasks that ended without a result: to ask for them again cannot help."""


class OverdueError(RodinWatchdError):
    """The vendor did not finish in time."""

    code = "deadline"
    fault = Fault.VENDOR
    final = True
    advice = "Tell the person who runs the service: they can ask the vendor for the same result again, free of charge."
    command = "`rodin-watchd retry JOB` asks for the same task again, free of charge."


class TaskLostError(RodinWatchdError):
    """The vendor does not know the task, or has deleted its results."""

    code = "task-lost"
    fault = Fault.VENDOR
    advice = "Your files are safe. Tell the person who runs the service: the result was paid for."
    command = (
        "Ask the vendor's support about the task. If its id was mistyped, `rodin-watchd resolve JOB --task UUID` names the "
        "right one, free of charge."
    )


class AnotherAccountError(RodinWatchdError):
    """The task was bought with another API key or address, and is not known with the present ones."""

    code = "another-account"
    fault = Fault.OWNER
    advice = "Your files are safe. Tell the person who runs the service, and soon: the vendor keeps the result for about seven days."
    command = (
        "Set api.base_url and the API key to those that the set was bought with: then the service continues by itself, or "
        "`rodin-watchd retry JOB` asks for its results, free of charge. The vendor keeps them for about seven days."
    )


class NotReadyError(RodinWatchdError):
    """The vendor has not made the results available yet."""

    code = "not-ready"
    fault = Fault.VENDOR
    advice = "Tell the person who runs the service: they can fetch the result again, free of charge."
    command = "`rodin-watchd retry JOB` asks for the results again, free of charge."


class DownloadError(RodinWatchdError):
    """A result file could not be downloaded completely."""

    code = "download"
    fault = Fault.VENDOR
    advice = "Tell the person who runs the service: they can fetch the result again, free of charge."
    command = "`rodin-watchd retry JOB` asks for the results again, free of charge."


class ResultsGoneError(RodinWatchdError):
    """The downloaded results are not in the work folder any more; they are fetched again, free of charge."""

    code = "results-gone"


class VendorAnswerError(RodinWatchdError):
    """The vendor's answer could not be understood."""

    code = "vendor-answer"
    fault = Fault.VENDOR
    advice = "Tell the person who runs the service: they can ask the vendor again, free of charge."
    command = "`rodin-watchd retry JOB` asks again, free of charge."


class InternalError(RodinWatchdError):
    """A fault in rodin_watchd itself."""

    code = "internal"
    fault = Fault.MACHINE
    command = "Please report it with the lines that the service logged."


HELD_ADVICE: Final = (
    "Your files are safe, and nothing more is paid for them. Tell the person who runs the service: they decide."
)
"""What whoever dropped a set that is held can do."""


class OverBudgetError(RodinWatchdError):
    """The budget of the day is spent."""

    code = "over-budget"
    fault = Fault.OWNER
    advice = (
        "Nothing to do: it continues by itself the next day. If you cannot wait, tell the person who runs the service."
    )
    command = "Raise budget.per_day_credits or budget.per_folder_credits in the configuration."


class OutcomeUnknownError(RodinWatchdError):
    """The request may have been accepted and charged. This is not known."""

    code = "unknown-outcome"
    fault = Fault.NETWORK
    advice = HELD_ADVICE
    command = "Look into the vendor's account, then use `rodin-watchd resolve JOB`."


class DisputedTaskError(RodinWatchdError):
    """The vendor gave one task to two sets that were sent at the same time."""

    code = "disputed-task"
    fault = Fault.VENDOR
    advice = HELD_ADVICE
    command = "Find both tasks in the vendor's account, then use `rodin-watchd resolve JOB --task ID` for each of the two sets."


class RefusedOftenError(RodinWatchdError):
    """The vendor refused this set several times, and may have charged it."""

    code = "refused-often"
    fault = Fault.VENDOR
    advice = HELD_ADVICE
    command = "Look into the vendor's account, then use `rodin-watchd resolve JOB`."


class ChargedRefusalError(RodinWatchdError):
    """The vendor charged this set although it refused it."""

    code = "charged-refusal"
    fault = Fault.VENDOR
    advice = HELD_ADVICE
    command = (
        "Ask the vendor's support for the credits or for the task's id, then use `rodin-watchd resolve JOB` with "
        "--give-up or --task."
    )


class ChargedTaskLostError(RodinWatchdError):
    """The vendor charged the job, but the task's id is lost."""

    code = "charged-task-lost"
    fault = Fault.NETWORK
    advice = HELD_ADVICE
    command = (
        "Ask the vendor's support for the task's id, then use `rodin-watchd resolve JOB` with --task or --give-up."
    )


# ---- Faults of plugins ----------------------------------------------------------------------------------------------


class PluginLoadError(ConfigError):
    """A plugin cannot be used."""

    code = "plugin"
    advice = (
        "`rodin-watchd plugins check` shows more; with `optional = true` in its table the service starts without it."
    )


class PluginError(RodinWatchdError):
    """A plugin failed."""

    code = "plugin-failed"
    fault = Fault.OWNER
    advice = "Tell the person who runs the service: a part that was added to it has failed."
    command = "`rodin-watchd show --output JOB` has the plugin's output; its author can correct it."

    def __init__(
        self,
        message: str = "",
        *,
        advice: str = "",
        command: str | None = None,
        retry_after_seconds: float | None = None,
        output: str = "",
        trace: str = "",
    ) -> None:
        """Take the end of the plugin's output, and the place in its code."""
        super().__init__(message, advice=advice, command=command, retry_after_seconds=retry_after_seconds)
        self.output = output
        self.trace = trace
        self.seconds = 0.0

    def has_run(self, output: str, seconds: float) -> None:
        """Note what the plugin printed until then, and how long its call took."""
        self.output, self.seconds = output, seconds


class PluginSettingsError(PluginError):
    """The settings of a plugin, in the configuration or in a set, are wrong."""

    code = "plugin-settings"


class PluginStartError(PluginError):
    """The machine could not start a plugin's process."""

    code = "plugin-start"
    fault = Fault.MACHINE
    advice = "The service tries again by itself. If this stays so for long, tell the person who runs it."
    command = "The plugin needs disk space for temporary files, memory, processes and open files."


class PluginCrashedError(PluginError):
    """A plugin's process ended in the middle of a call."""

    code = "plugin-crashed"


class PluginTimeoutError(PluginError):
    """A plugin took too long."""

    code = "plugin-timeout"
    command = "A larger `timeout_seconds` in the plugin's table gives it more time."


class PluginGreedyError(PluginError):
    """A plugin wrote more than its limit."""

    code = "plugin-greedy"
    command = "A larger `disk_megabytes` in the plugin's table gives it more disk space."


class PluginMemoryError(PluginError):
    """A plugin, and what it started, had more memory than its limit."""

    code = "plugin-memory"
    command = "A larger `memory_megabytes` in the plugin's table gives it more memory, if the machine has it."


class PluginAsideError(PluginError, OwnerError):
    """A plugin failed too often and is not called for a while."""

    code = "plugin-aside"
    scope = Scope.SERVICE


class PluginRequiredError(PluginError):
    """A required plugin could not process the result."""

    code = "plugin-required"
    final = True
    advice = "The results are next to this report, in the folder results. Tell the person who runs the service."
    command = (
        "When the plugin is corrected, `rodin-watchd retry JOB` fetches and processes the results again, free of charge while the "
        "vendor keeps them."
    )


class PluginRefusedError(FilesError):
    """A plugin refused the set."""

    code = "plugin-refused"


class PluginUnfitError(OwnerError):
    """A plugin cannot be used on this worker's machine."""

    code = "plugin-unfit"
    advice = "Run `rodin-watchd plugins check` with the worker's configuration."


class FarmFilesError(OwnerError):
    """The files of a plugin's call cannot be moved between the service and a worker."""

    code = "farm-files"
    fault = Fault.MACHINE
    advice = f"Tell the person who runs the service; {CONTINUES}."
    command = "The log has the cause: look at farm.files, farm.endpoint and the credentials, or at the share."


class FarmWaitEndedError(OwnerError):
    """The service stops: a worker goes on with a plugin's call, and the next start waits for it."""

    code = "farm-wait-ended"
    fault = Fault.NOBODY
    advice = f"Nothing is lost; {CONTINUES}."


# ---- The page in the browser ----------------------------------------------------------------------------------------


class AddressTakenError(OwnerError):
    """The page in the browser cannot listen where it is to."""

    code = "address-taken"
    advice = "End the other program, or name another address in web.listen."


class DropError(RodinWatchdError):
    """A drop that cannot be taken as it is: the message says why, the advice what to do."""

    fault = Fault.FILES
    code = "drop"


class DropUnknownError(DropError):
    """There is no such drop, or no such upload: it was sent, removed, or nobody has touched it for a day."""

    code = "drop-unknown"


class DropTooLargeError(DropError):
    """More bytes, or more files, than are taken."""

    code = "drop-too-large"


class DropOffsetError(DropError):
    """The next bytes of an upload are others than those that were sent."""

    code = "drop-offset"


class DropBusyError(DropError):
    """Another request writes the same upload."""

    code = "drop-busy"
