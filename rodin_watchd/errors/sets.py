"""What concerns one set."""

from __future__ import annotations

from rodin_watchd.errors.base import RodinWatchdError
from rodin_watchd.problem import Fault


class FilesError(RodinWatchdError):
    """The dropped files cannot be used."""

    code = "files"
    fault = Fault.FILES
    final = True
    advice = "Correct the files and drop the set into the inbox again."


class FileRefusedError(FilesError):
    """A file is not what its name says, too large, or not a plain file."""

    code = "file-refused"


class FilesGoneError(FilesError):
    """The set's files are not in the work folder any more."""

    code = "files-gone"
    advice = "Somebody removed them from the service's hidden folder; drop the set into the inbox again."


class UnfinishedFileError(FilesError):
    """A file never became complete."""

    code = "file-unfinished"
    advice = "Copy the file again, whole, and drop the set into the inbox again."


class SidecarError(FilesError):
    """The sidecar TOML cannot be used."""

    code = "sidecar"
    advice = "Correct the TOML file and drop the set into the inbox again."


class AmbiguousSetError(FilesError):
    """Several files compete for one place in the set."""

    code = "ambiguous"
    advice = "Keep the one you want, take the others out, and drop the set into the inbox again."


class ChangedWhileTakenError(FilesError):
    """The set changed while it was taken."""

    code = "changed"
    advice = "Wait until the copy is complete, then drop the set into the inbox again."


class GoneWhileTakenError(ChangedWhileTakenError):
    """A file of the set was taken away, or replaced, before it was taken."""

    code = "gone"
    advice = "What lies in the inbox is looked at anew: drop what is missing there."


class DuplicateSetError(FilesError):
    """The same model, image and options were dropped before."""

    code = "duplicate"
    advice = "Use the result there is, or write `again = true` into the sidecar to pay for it again."


class VendorRefusedError(FilesError):
    """The vendor refused the set."""

    code = "vendor-refused"


class RightsError(RodinWatchdError):
    """The service may not move the files of the set."""

    code = "rights"
    advice = "Give the service's user the right to write in that folder; it tries again by itself."


class CanceledError(RodinWatchdError):
    """The job was canceled."""

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
        "To try once more, which costs again, drop the set with `again = true` in its TOML file; "
        "or ask the vendor's support about the task."
    )


class OverdueError(RodinWatchdError):
    """The vendor did not finish in time."""

    code = "deadline"
    fault = Fault.VENDOR
    final = True
    advice = "`rodin-watchd retry JOB` asks for the same task again, free of charge."


class TaskLostError(RodinWatchdError):
    """The vendor does not know the task, or no longer keeps its results."""

    code = "task-lost"
    fault = Fault.VENDOR
    advice = (
        "Ask the vendor's support about the task: it was paid for. If its id was mistyped, "
        "`rodin-watchd resolve JOB --task UUID` names the right one, free of charge."
    )


class AnotherAccountError(RodinWatchdError):
    """The task was bought with another API key or address, and is not known with those that are configured now."""

    code = "another-account"
    fault = Fault.OWNER
    advice = (
        "Set api.base_url and the API key to those that the set was bought with: the service then goes on by itself, or "
        "`rodin-watchd retry JOB` asks for its results, free of charge. The vendor keeps them for about seven days."
    )


class NotReadyError(RodinWatchdError):
    """The vendor has not made the results available yet."""

    code = "not-ready"
    fault = Fault.VENDOR
    advice = "`rodin-watchd retry JOB` asks for the results again, free of charge."


class DownloadError(RodinWatchdError):
    """A result file could not be downloaded whole."""

    code = "download"
    fault = Fault.VENDOR
    advice = "`rodin-watchd retry JOB` asks for the results again, free of charge."


class ResultsGoneError(RodinWatchdError):
    """The downloaded results are not in the work folder any more; they are fetched again, free of charge."""

    code = "results-gone"


class VendorAnswerError(RodinWatchdError):
    """The vendor's answer could not be understood."""

    code = "vendor-answer"
    fault = Fault.VENDOR
    advice = "`rodin-watchd retry JOB` asks again, free of charge."


class InternalError(RodinWatchdError):
    """A fault in rodin_watchd itself."""

    code = "internal"
    fault = Fault.MACHINE
    advice = "Please report it with the lines that the service logged."


class OverBudgetError(RodinWatchdError):
    """The budget of the day is spent."""

    code = "over-budget"
    fault = Fault.OWNER
    advice = "Nothing to do: it goes on by itself the next day. Who cannot wait raises the budget in the config."


class OutcomeUnknownError(RodinWatchdError):
    """The request may have been accepted and charged; nobody can tell from here."""

    code = "unknown-outcome"
    fault = Fault.NETWORK
    advice = "Look into the vendor's account, then use `rodin-watchd resolve JOB`."


class RefusedOftenError(RodinWatchdError):
    """The vendor refused this set again and again, and may have charged it."""

    code = "refused-often"
    fault = Fault.VENDOR
    advice = "Look into the vendor's account, then use `rodin-watchd resolve JOB`."


class ChargedRefusalError(RodinWatchdError):
    """The vendor charged this set and refused it all the same."""

    code = "charged-refusal"
    fault = Fault.VENDOR
    advice = (
        "Ask the vendor's support for the credits or for the task's id, then use `rodin-watchd resolve JOB` with "
        "--give-up or --task."
    )


class ChargedTaskLostError(RodinWatchdError):
    """The vendor charged the job, but the task's id is lost."""

    code = "charged-task-lost"
    fault = Fault.NETWORK
    advice = "Ask the vendor's support for the task's id, then use `rodin-watchd resolve JOB` with --task or --give-up."
