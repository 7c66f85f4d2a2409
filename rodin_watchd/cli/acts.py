"""Acts on the machine that can be told before they are done."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import click

from rodin_watchd.errors import DiskError


@dataclass(frozen=True, slots=True)
class Put:
    """A file that is to hold a text. With `keep`, one that is there stays as it is."""

    path: Path
    text: str
    keep: bool = False

    def told(self) -> str:
        """Say what would be done, with the whole text."""
        if self.is_done():
            return f"leave   {self.path}: it is there already"
        lines = "".join(f"\n      | {line}".rstrip() for line in self.text.splitlines())
        return f"{self.word()} {self.path} (mode 644){lines}"

    def is_done(self) -> bool:
        """Tell whether there is nothing to do."""
        try:
            return self.path.exists() and (self.keep or self.path.read_text(encoding="utf-8") == self.text)
        except (PermissionError, UnicodeDecodeError):
            return False

    def word(self) -> str:
        """Say whether there was one before."""
        return "replace" if self.path.exists() else "write  "

    def do(self) -> str:
        """Write it whole or not at all, and return what was done. Raises OSError."""
        if self.is_done():
            return self.told()
        done = f"{self.word()} {self.path}"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f".{self.path.name}.new")
        new.write_text(self.text, encoding="utf-8")
        new.chmod(0o644)
        new.replace(self.path)
        return done


@dataclass(frozen=True, slots=True)
class Remove:
    """A file that is to go, and its folder if that is for drop-ins and empty then."""

    path: Path

    def told(self) -> str:
        """Say what would be done."""
        return f"remove  {self.path}" if self.path.exists() else f"        {self.path} is not there"

    def do(self) -> str:
        """Do it, and return what was done. Raises OSError."""
        told = self.told()
        self.path.unlink(missing_ok=True)
        if self.path.parent.name.endswith(".service.d"):
            with contextlib.suppress(OSError):  # somebody's drop-ins lie there, too, or there was none
                self.path.parent.rmdir()
        return told


@dataclass(frozen=True, slots=True)
class Run:
    """A command that is to be run; one that is not `required` may fail."""

    command: tuple[str, ...]
    required: bool = True

    def told(self) -> str:
        """Say what would be run."""
        return f"run     {shlex.join(self.command)}"

    def do(self) -> str:
        """Run it, and return what was run. Raises DiskError when it fails, OSError when it is missing."""
        done = subprocess.run(self.command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
        said = "".join(f"\n      | {line}" for line in (done.stdout + done.stderr).splitlines())
        if done.returncode != 0 and self.required:
            raise DiskError(
                f"`{shlex.join(self.command)}` failed ({done.returncode}).{said}", advice="Mend that, then repeat this."
            )
        return self.told() + said


Act: TypeAlias = Put | Remove | Run


def do_all(acts: Iterable[Act], *, dry: bool) -> None:
    """Do one after the other, each told when it is done; or tell them all and do nothing. Raises RodinWatchdError, OSError."""
    for act in acts:
        click.echo(act.told() if dry else act.do())
