"""What concerns the whole service: each of these ends by itself when its cause ends."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Self

from rodin_watchd.errors.base import GOES_ON, RodinWatchdError
from rodin_watchd.problem import Fault, Lane, Scope


class ServiceError(RodinWatchdError):
    """Something outside keeps a whole class of steps from working; no set is to blame."""

    code = "service"
    scope = Scope.SERVICE
    lane = Lane.API


class KeyRefusedError(ServiceError):
    """The vendor refuses the API key."""

    code = "key-refused"
    fault = Fault.ACCOUNT
    advice = f"Check the API key; {GOES_ON} when the key works."


class NoCreditsError(ServiceError):
    """The vendor's account has no credits, or its plan does not allow the API."""

    code = "no-credits"
    fault = Fault.ACCOUNT
    lane = Lane.SUBMIT
    advice = f"Buy credits or change the plan; {GOES_ON}."


class EmptyAccountError(NoCreditsError):
    """The vendor's account is empty."""

    code = "empty-account"
    advice = "Buy credits; the service asks for the balance and goes on by itself."


class ThrottledError(ServiceError):
    """The vendor asks for fewer calls."""

    code = "throttled"
    fault = Fault.VENDOR
    advice = "Nothing to do: the service waits and goes on by itself."


class NetworkError(ServiceError):
    """The vendor cannot be reached."""

    code = "network"
    fault = Fault.NETWORK
    advice = f"Check the network; {GOES_ON}."


class VendorDownError(ServiceError):
    """The vendor's service is out of order."""

    code = "vendor-down"
    fault = Fault.VENDOR
    advice = f"Nothing to do: {GOES_ON} when the vendor does."


class UnansweredSubmitError(ServiceError):
    """A submit got no answer that tells its outcome; the next one waits a while, and longer each time."""

    code = "unanswered-submit"
    fault = Fault.VENDOR
    lane = Lane.SUBMIT
    advice = f"Nothing to do for the sets that wait: {GOES_ON}."


class RefusalsError(ServiceError):
    """The vendor refuses sets that it has received whole, and may charge for them."""

    code = "refusals"
    fault = Fault.ACCOUNT
    lane = Lane.REFUSALS
    advice = (
        "Nothing is submitted until somebody has looked into the vendor's account and decided about the held sets "
        "(`rodin-watchd resolve`)."
    )


FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a disk answers that has no room, or none for this user."""

_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "Make room": ("ENOSPC",),
        "Make room, or raise the quota of the service's user": ("EDQUOT",),
        "Mount the disk so that it can be written; if it became read-only by itself, check it first": ("EROFS",),
        "Give the service's user the right to read and write there": ("EACCES", "EPERM"),
        "Look into the system's log and check the disk or share: it reports a fault": ("EIO", "EUCLEAN"),
        "Raise the limit of open files (LimitNOFILE= of the unit, `ulimit -n`) and start the service anew": (
            *("EMFILE", "ENFILE"),
        ),
        "Give the service more memory, or end what uses it up": ("ENOMEM",),
        "Bring the share or disk back": (
            *("ESTALE", "ENODEV", "ENXIO", "ENOTCONN", "EHOSTDOWN"),
            *("EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "EREMOTEIO"),
        ),
        "Put back what is missing there, or take away what lies in its place": (
            *("ENOENT", "ENOTDIR", "EISDIR", "ELOOP", "EEXIST"),
        ),
        "Use a filesystem that knows locks, or have the file server offer them": ("ENOLCK", "EOPNOTSUPP"),
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
    advice = f"Mend what the message says; {GOES_ON}."

    @classmethod
    def of(cls, what: str, error: OSError) -> Self:
        """Return the error that says what could not be done, why, and what a person can do about just that."""
        repair = _REPAIRS.get(error.errno or 0, "Mend that")
        return cls(f"{what}: {error.strerror or error}.", advice=f"{repair}; {GOES_ON}.")


class ForeignFileError(DiskError):
    """A file of somebody else lies where the service keeps one of its own."""

    code = "foreign-file"
    advice = f"Move it away, or set folders.state to a folder that nothing else uses; {GOES_ON}."


class UnfitFoldersError(DiskError):
    """A folder cannot be used, so nothing new is taken: what is bought must find its place."""

    code = "unfit-folders"
    lane = Lane.TAKING


class RoomError(DiskError):
    """The disk of the work folder is full."""

    code = "disk-full"
    lane = Lane.ROOM
    advice = f"Make room; {GOES_ON}."


class JournalBusyError(DiskError):
    """Another program keeps the journal locked."""

    code = "journal-busy"
    advice = f"Close the database browser, backup or other program that has the journal open; {GOES_ON}."


class JournalFaultError(DiskError):
    """The disk with the journal reports a fault."""

    code = "journal-fault"
    advice = f"Look into the system's log and check the disk: it reports a fault; {GOES_ON}."


class JournalGoneError(DiskError):
    """The journal's files are not where they belong."""

    code = "journal-gone"


class SubmitCountError(DiskError):
    """The count of submits cannot be kept, so nothing is submitted."""

    code = "submit-count"
    lane = Lane.SUBMIT


class JournalBehindError(SubmitCountError):
    """The root counts more submits than the journal knows of."""

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
    advice = f"Bring the share back; {GOES_ON}."


class RootCopiedError(DiskError):
    """The root or its journal was copied or moved: its mark names another journal, which may pay for the same sets."""

    code = "root-copied"
    advice = "When no other service uses this root or a copy of it any more: `rodin-watchd accept root`."


class RootAwayError(FolderGoneError):
    """The root that the journal knows is not there: its share or disk is not mounted."""

    code = "root-away"
