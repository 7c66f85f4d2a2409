"""How long a file must stay unchanged."""

from __future__ import annotations

from pathlib import Path

from rodin_watchd.config import Config, FoldersSection, IntakeSection
from rodin_watchd.service.intake import QUIET_LOCAL_SECONDS, QUIET_SHARE_SECONDS, quiet_seconds


def test_what_is_configured_holds(tmp_path: Path) -> None:
    """A number in the config is taken as it is, also 0."""
    for given in (0, 7.5):
        assert (
            quiet_seconds(Config(folders=FoldersSection(root=tmp_path), intake=IntakeSection(quiet_seconds=given)))
            == given
        )


def test_auto_is_short_on_a_local_disk(tmp_path: Path) -> None:
    """On a local filesystem the short time holds, which is less than that of a share."""
    assert quiet_seconds(Config(folders=FoldersSection(root=tmp_path))) == QUIET_LOCAL_SECONDS < QUIET_SHARE_SECONDS
