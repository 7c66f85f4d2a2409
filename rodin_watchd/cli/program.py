"""How this installation is started."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

NAME: Final = "rodin-watchd"


def program() -> tuple[str, ...]:
    """Return the words that start it from anywhere."""
    called = Path(sys.argv[0])
    if called.name == NAME and (found := shutil.which(str(called))):
        return (str(Path(found).absolute()),)
    return (sys.executable, "-m", "rodin_watchd")


def program_to_type() -> str:
    """Return what a person types to start it: its name, if the shell finds it by that."""
    found = shutil.which(NAME)
    return NAME if found and (str(Path(found).absolute()),) == program() else shlex.join(program())
