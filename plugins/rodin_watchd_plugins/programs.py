"""Running programs that are not ours: found, with a small environment, and with words for people when they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_KEPT: Final = ("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ")
_OUTPUT_LINES: Final = 3


def find(program: str, advice: str) -> str:
    """Return the program's full path. Raises FileNotFoundError with the advice when it is not there."""
    path = shutil.which(os.path.expanduser(program))  # noqa: PTH111 - a plain name must stay one, to be looked for in PATH
    if path is None:
        raise FileNotFoundError(f"the program {program} is not there, or may not be run; {advice}")
    return path


def small_environ(passed: Iterable[str] = ()) -> dict[str, str]:
    """Return an environment with the place of programs, the language and the time zone, a home that is thrown away, and what is passed."""
    temporary = os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - the service gives each plugin a place of its own
    names = {*_KEPT, *passed}
    kept = {name: value for name, value in os.environ.items() if name in names}
    return {"TMPDIR": temporary, "HOME": temporary, **kept}


def run(command: Sequence[str], environ: dict[str, str], directory: Path | None = None) -> str:
    """Run a program and return what it printed. Raises RuntimeError with its last words when it fails."""
    done = subprocess.run(  # noqa: S603 - no shell; the owner's own programs
        command,
        env=environ,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        print(done.stdout)  # noqa: T201 - all of it is the plugin's output; the error has the end
        raise RuntimeError(f"{Path(command[0]).name} failed ({_how(done.returncode)}): {last_words(done.stdout)}")
    return done.stdout


def last_words(text: str) -> str:
    """Return the last lines of what a program printed, in one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-_OUTPUT_LINES:]) or "it said nothing"


def _how(status: int) -> str:
    return f"ended by signal {-status}" if status < 0 else f"exit code {status}"
