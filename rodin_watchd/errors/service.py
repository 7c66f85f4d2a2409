"""What concerns the whole service: each of these ends by itself when its cause ends."""

from __future__ import annotations

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


class DiskError(ServiceError):
    """A folder cannot be written."""

    code = "disk"
    fault = Fault.MACHINE
    lane = Lane.DISK
    advice = f"Make room or mend the rights; {GOES_ON}."


class UnfitFoldersError(DiskError):
    """A folder cannot be used, so nothing new is taken: what is bought must find its place."""

    code = "unfit-folders"
    lane = Lane.TAKING


class RoomError(DiskError):
    """The disk of the work folder is full."""

    code = "disk-full"
    lane = Lane.ROOM
    advice = f"Make room; {GOES_ON}."


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


class RootAwayError(FolderGoneError):
    """The root that the journal knows is not there: its share or disk is not mounted."""

    code = "root-away"
