"""Starting a plugin's process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Limits:
    """What a plugin's process may use."""

    memory_bytes: int  # of address space; 0: as much as it wants
    file_bytes: int  # of one file, and of all temporary files together
    start_seconds: float  # until it is loaded


@dataclass(frozen=True, slots=True)
class Source:
    """Which code is a plugin's: a file, or an object as an entry point names it (`module:attribute`)."""

    name: str
    path: str = ""
    entry: str = ""

    @property
    def where(self) -> str:
        """For people."""
        return self.path or self.entry


def started(
    source: Source, limits: Limits, environ: Mapping[str, str], line: socket.socket, home: Path
) -> subprocess.Popen[bytes]:
    """Start a plugin's process, which hears and answers on `line`. Raises OSError."""
    code = {"path": source.path} if source.path else {"entry": source.entry}
    task = json.dumps({"name": source.name, "source": code, "limits": asdict(limits)})
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-s", "-m", "rodin_watchd.hooks.worker", str(line.fileno()), task],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(line.fileno(),),
        env=dict(environ),
        cwd=home,
        start_new_session=True,
        bufsize=0,
    )
