"""How long a file must stay unchanged before it counts as complete; for the daemon and for `explain`."""

from __future__ import annotations

from rodin_watchd.adapters.filesystems import filesystem_of
from rodin_watchd.config import Config

QUIET_LOCAL_SECONDS, QUIET_SHARE_SECONDS = 2.0, 10.0
"""What `intake.quiet_seconds = "auto"` means: writers of a share buffer, and show their times late."""


def quiet_seconds(config: Config) -> float:
    """Return how long a file must stay unchanged, by configuration or by where the inbox lies."""
    given = config.intake.quiet_seconds
    if given != "auto":
        return given
    return QUIET_SHARE_SECONDS if filesystem_of(config.folders.root).network else QUIET_LOCAL_SECONDS
