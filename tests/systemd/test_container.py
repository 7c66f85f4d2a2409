"""The terms of the Containerfile: not root, no rights, a root that nobody can write, a health check.

No image is built here: the same terms are given to the installed package by systemd-nspawn.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]

PROJECT = Path(__file__).parents[2]
SECRET = "the-key-of-the-container"  # noqa: S105 - what the service is to find
USER = 10001
TIMEOUT_SECONDS = 120.0


def environment() -> dict[str, str]:
    """Return the variables that the Containerfile sets."""
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", (PROJECT / "Containerfile").read_text(), re.MULTILINE)
    return dict(word.split("=", 1) for word in block.replace("\\\n", " ").split())


def folders(tmp_path: Path) -> list[str]:
    """Make what the compose file mounts, and return it as options."""
    for name in ("share", "share/inbox", "state", "secrets", "config"):
        (tmp_path / name).mkdir()
    (tmp_path / "secrets" / "rodin-api-key").write_text(SECRET)
    (tmp_path / "secrets" / "rodin-api-key").chmod(0o400)
    settings = '[folders]\nroot = "/srv/rodin-watchd"\n[api]\nbase_url = "http://127.0.0.1:9"\n'
    (tmp_path / "config" / "config.toml").write_text(settings)
    for path in tmp_path.rglob("*"):
        os.chown(path, USER, USER)
    writable = {"share": "/srv/rodin-watchd", "state": "/var/lib/rodin-watchd"}
    readable = {"secrets": "/run/secrets", "config": "/etc/rodin-watchd"}
    return [
        *(f"--bind={tmp_path / name}:{place}" for name, place in writable.items()),
        *(f"--bind-ro={tmp_path / name}:{place}" for name, place in readable.items()),
    ]


def test_the_containers_terms_are_enough(root: Path, tmp_path: Path) -> None:
    """As another user, without rights, on a read-only root, it starts, is healthy by its probe, and ends when asked to."""
    for place in ("srv/rodin-watchd", "var/lib/rodin-watchd"):
        (root / place).mkdir(parents=True, exist_ok=True)
    variables = [f"--setenv={name}={value}" for name, value in environment().items() if name != "PATH"]
    apart = ["--quiet", "--register=no", "--keep-unit", "--as-pid2", "--console=pipe", "--private-network"]
    walls = [f"--directory={root}", "--read-only", "--tmpfs=/tmp", *folders(tmp_path), *variables]
    user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
    script = """
        touch /etc/x /usr/x /var/x /x 2>/dev/null && exit 9
        rodin-watchd run --log-format json & service=$!
        until rodin-watchd health; do kill -0 $service || exit 8; done
        kill $service && wait $service
    """
    done = subprocess.run(
        ["systemd-nspawn", *apart, *walls, *user, "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout
    actions = [json.loads(line)["action"] for line in done.stdout.splitlines() if line.startswith("{")]
    assert actions[0] == "serving"
    assert actions[-1] == "stopped"
    assert (tmp_path / "state" / "journal.sqlite3").stat().st_uid == USER
    assert SECRET not in done.stdout
