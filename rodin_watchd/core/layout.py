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
