"""The names of the folders and files below the root: the user interface of the service."""

from __future__ import annotations

from typing import Final

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

OWN_PREFIX: Final = ".rodin-watchd-"
"""So every hidden name begins that the service gives to something in the folders that people see."""

CLAIM_PREFIX: Final = f"{OWN_PREFIX}claimed-"
"""A folder beside a file of the inbox, with the id of the job that has claimed the file: it holds the file until it is copied."""

PROBE_PREFIX: Final = f"{OWN_PREFIX}probe-"
"""An empty file that was renamed to see whether a rename works; one that a crash left goes with the next."""

ASIDE_PREFIX: Final = f"{OWN_PREFIX}aside-"
"""A file that was renamed away to be looked at, before it is removed or gets its name back."""
