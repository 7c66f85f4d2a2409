"""What can go wrong, as plain values: who can correct it, what it stops, and the fact itself.

`errors` has the exceptions, which carry such a value inside one thread; the journal, the reports and other threads have the
value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    advice: str
    lane: Lane | None = None
    retry_after_seconds: float | None = None
    documented: bool = False  # the vendor refused by a code for which it says that nothing is charged
