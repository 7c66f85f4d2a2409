"""Make a Debian root in which the service is tested: cached, so that only the first run needs a mirror.

It needs root and `debootstrap`. The folder may be removed whenever nothing is booted from it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".systemd-root"
RELEASE = "bookworm"
PACKAGES = ("dbus", "libpam-systemd", "procps", "python3", "python3-systemd", "systemd", "systemd-sysv")


def root(folder: Path = FOLDER, mirror: str = "") -> Path:
    """Return the root, made now if it is not there; without a mirror from debootstrap's own. Raises CalledProcessError."""
    wanted = hashlib.sha256(repr((RELEASE, PACKAGES)).encode()).hexdigest()[:8]
    made = folder / f"{RELEASE}-{wanted}"
    if not made.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        new = folder / "new"
        packages = ",".join(PACKAGES)
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={packages}", RELEASE, str(new), *filter(None, [mirror])],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        new.rename(made)
    return made


def main() -> int:
    """Make it, and name it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--mirror", default="", help="where Debian's packages come from (default: debootstrap's choice)"
    )
    arguments = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        print("debootstrap is missing, or this is not root.", file=sys.stderr)
        return 1
    print(root(mirror=arguments.mirror))
    return 0


if __name__ == "__main__":
    sys.exit(main())
