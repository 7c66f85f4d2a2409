"""The sections of `config.toml` that say what others get to see: published files, and metrics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from rodin_watchd.config_sections import FilePath, Section
from rodin_watchd.core.wire_text import is_loopback

_MODE: Final = re.compile(r"0?6[046][046]")
_GROUP: Final = re.compile(r"[^\s:/,]{1,64}")


def _mode(value: str) -> str:
    if not _MODE.fullmatch(value):
        raise ValueError(
            'must be the mode of a file in octal digits, like "0664": the owner reads and writes (6), '
            "group and others read and write (6), read (4) or neither (0)"
        )
    return value


def _group(value: str) -> str:
    if not _GROUP.fullmatch(value):
        raise ValueError("must be the name or the number of a group")
    return value


def _loopback(value: str) -> str:
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        host, port = "", 0
    if not (is_loopback(host) and port and parts.netloc == value and "@" not in value):
        raise ValueError("must be an address of this machine with a port, like 127.0.0.1:9746 or [::1]:9746")
    return value


def _textfile(value: Path) -> Path:
    if value.suffix != ".prom":
        raise ValueError("must end in .prom: node_exporter reads no other files")
    return value


class Output(Section):
    """Who may use what is published: the results, the inputs that are put away, the reports, and STATUS.txt.

    Left out, the umask of the service holds, and what a set-gid folder says of its group.
    """

    mode: Annotated[str, AfterValidator(_mode)] | None = Field(
        default=None,
        description="Mode of the files, in octal digits; who may read them may also enter their folders. Left out, the "
        "umask of the service holds.",
        examples=["0664"],
    )
    group: Annotated[str, AfterValidator(_group)] | None = Field(
        default=None,
        description="Group of files and folders; the user of the service must belong to it. Left out, a set-gid folder "
        "gives its group to all that is published in it.",
        examples=["artists"],
    )

    @property
    def file_mode(self) -> int | None:
        """The mode as a number; None: the umask holds."""
        return None if self.mode is None else int(self.mode, 8)


class Metrics(Section):
    """Metrics for Prometheus; needs the extra `metrics`. They hold numbers, no names of sets and no keys."""

    listen: Annotated[str, AfterValidator(_loopback)] | None = Field(
        default=None,
        description="Address of this machine and port where Prometheus fetches them, at /metrics.",
        examples=["127.0.0.1:9746"],
    )
    textfile: Annotated[FilePath, AfterValidator(_textfile)] | None = Field(
        default=None,
        description="File that is written anew every 15 seconds, for the textfile collector of node_exporter. Under systemd "
        "its folder must be in ReadWritePaths= of the unit (`systemctl edit rodin-watchd`).",
        examples=["/var/lib/prometheus/node-exporter/rodin-watchd.prom"],
    )

    @property
    def wanted(self) -> bool:
        """Whether anybody is to see metrics."""
        return self.listen is not None or self.textfile is not None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on."""
        if self.listen is None:
            return None
        parts = urlsplit(f"//{self.listen}")
        return parts.hostname or "", parts.port or 0
