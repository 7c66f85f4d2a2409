"""The names of the folders and files below the root: the user interface of the service."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

INBOX: Final = "inbox"
OUTBOX: Final = "outbox"
FAILED: Final = "failed"
ARCHIVE: Final = "archive"
CONFIG_NAME: Final = "config.toml"
HIDDEN: Final = ".rodin-watchd"
STATUS: Final = "STATUS.txt"
MARK: Final = ".rodin-watchd-root"
RECEIPT: Final = "job.toml"
REPORT: Final = "REPORT.txt"
REPORT_DATA: Final = "report.toml"
SHEET: Final = "contact-sheet.jpg"
"""The picture of all results of a set that makes several jobs, next to their folders."""

RESULTS: Final = "results"
"""The folder below a report that holds what was paid for and came."""

DOWNLOADS: Final = "download"
BUILT: Final = "result"
"""The folders in a job's work folder that hold its results: as they came, and as they are published."""

OWN_PREFIX: Final = ".rodin-watchd-"
"""The first part of every hidden name that the service gives to something in the folders that people see."""

CLAIM_PREFIX: Final = f"{OWN_PREFIX}claimed-"
"""The first part of the name of a folder, next to a file of the inbox, that holds the file until it is copied; see `Claim`."""

PROBE_PREFIX: Final = f"{OWN_PREFIX}probe-"
"""An empty file that was renamed to see whether a rename works; one that a crash left goes with the next."""

SUBMITS_NOTE: Final = f"{OWN_PREFIX}submits"
"""The count of submits, noted in the root and in the outbox as well: whoever puts the hidden folder back from a backup leaves these."""

ASIDE_PREFIX: Final = f"{OWN_PREFIX}aside-"
"""A file that was renamed away to be looked at, before it is removed or gets its name back."""

PLUGIN_SCRATCH: Final = f"{OWN_PREFIX}plugin-scratch"
FARM_SCRATCH: Final = f"{OWN_PREFIX}farm-scratch"
"""The folder next to the journal for plugins' temporary files."""

_CLAIM: Final = re.compile(rf"{re.escape(CLAIM_PREFIX)}([0-9a-f]{{12}})(?:-([0-9a-f]{{12}}))?")


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose the folder is that holds a claimed file: a job's, of the service that serves one root.

    Where two services see one folder, each brings to light only what its own lost jobs had claimed.
    """

    job_id: str
    owner: str = ""  # see `owner_of`; "" while no root is known

    @property
    def name(self) -> str:
        """The folder's name."""
        return f"{CLAIM_PREFIX}{self.job_id}{self.owner and f'-{self.owner}'}"

    @classmethod
    def of_name(cls, name: str) -> Self | None:
        """Return whose a folder of this name is; None if no service gives such a name. Anybody may have made it."""
        found = _CLAIM.fullmatch(name)
        return cls(found[1], found[2] or "") if found else None


def owner_of(root_id: str) -> str:
    """Return what stands for a root in the names of its claims; a root's id is read from a file that anybody may write."""
    return hashlib.sha256(root_id.encode()).hexdigest()[:12] if root_id else ""
