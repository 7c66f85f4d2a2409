"""The unit files: complete, explained, and as tight as is promised."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "systemd"
UNIT, INSTANCE = FOLDER / "rodin-watchd.service", FOLDER / "rodin-watchd@.service"
WORKER = FOLDER / "rodin-watchd-worker@.service"
MOST_EXPOSURE = 15  # tenths, as --threshold counts

NEEDED = {
    *("Type=notify", "WatchdogSec=3min", "Restart=on-failure", "StartLimitBurst=5", "User=rodin-watchd"),
    *("Group=rodin-watchd", "KillMode=mixed", "LoadCredential=rodin-api-key:/etc/rodin-watchd/api-key"),
    *(f"LoadCredential=rodin-web-{name}:/etc/rodin-watchd/web-{name}" for name in ("token", "viewer-token")),
    *("CapabilityBoundingSet=CAP_LEASE", "AmbientCapabilities=CAP_LEASE", "NoNewPrivileges=yes"),
}


def settings(unit: Path) -> list[str]:
    """Return the lines of a unit that say something to systemd."""
    return [line for line in unit.read_text().splitlines() if line and not line.startswith("#")]


def tool(name: str) -> str:
    """Return a program of systemd, or skip."""
    return shutil.which(name) or pytest.skip(f"{name} is not on this machine")


@pytest.mark.parametrize("unit", [UNIT, INSTANCE], ids=lambda unit: unit.name)
def test_the_units_have_what_is_promised(unit: Path) -> None:
    """Notifications, watchdog, restarts with a limit, reload, state, key and user are in both."""
    lines = settings(unit)
    assert set(lines) >= NEEDED
    names = {line.partition("=")[0] for line in lines}
    signal, check = (line for line in lines if line.startswith("ExecReload="))
    assert "kill -HUP" in signal
    start = next(line for line in lines if line.startswith("ExecStart="))
    assert check == start.replace("ExecStart=", "ExecReload=").replace(" run ", " check --config-only ")
    assert names >= {"StateDirectory", "StartLimitIntervalSec", "ReadWritePaths"}


def test_an_instance_differs_in_names_alone() -> None:
    """What the one unit says, the other says for its own root, state and configuration."""
    own = {
        "/srv/rodin-watchd-%i": "/srv/rodin-watchd",
        "/etc/rodin-watchd/%i.toml": "/etc/rodin-watchd/config.toml",
        "StateDirectory=rodin-watchd/%i": "StateDirectory=rodin-watchd",
        "rodin_watchd for %i:": "rodin_watchd:",
    }
    text = "\n".join(settings(INSTANCE))
    for theirs, ours in own.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    assert text.splitlines() == settings(UNIT)


def test_each_wall_of_the_sandbox_has_its_reason() -> None:
    """Beside each line, or above the lines that belong together, stands why."""
    lines = UNIT.read_text().partition("# ---- what it may write ----")[2].splitlines()
    explained = False
    for line in lines:
        assert explained or not line or line.startswith(("#", "[")) or "=" not in line, line
        explained = line.startswith("#") or (bool(line) and not line.startswith("[") and explained)
        if line.startswith("[Install]"):
            break


def test_a_worker_is_as_tight_as_the_service() -> None:
    """It has less: no key, no capability, no right to give files away; and waits for what it is for."""
    sandbox = settings(UNIT)[settings(UNIT).index("ProtectSystem=strict") :]
    lines = settings(WORKER)
    less = {
        "CapabilityBoundingSet=CAP_LEASE": "CapabilityBoundingSet=",
        "AmbientCapabilities=CAP_LEASE": "AmbientCapabilities=",
    }
    wanted = [less.get(line, line) for line in sandbox if line != "SystemCallFilter=@chown"]
    assert lines[lines.index("ProtectSystem=strict") :] == wanted
    assert set(lines) >= {
        "Type=notify",
        "WatchdogSec=3min",
        "Restart=on-failure",
        "User=rodin-watchd",
        "KillMode=mixed",
    }
    assert not any(line.startswith("LoadCredential=") for line in lines)


@pytest.mark.parametrize("unit", [UNIT, INSTANCE, WORKER], ids=lambda unit: unit.name)
def test_the_exposure_is_low(unit: Path, tmp_path: Path) -> None:
    """`systemd-analyze security` finds at most 1.5, without asking a running systemd."""
    there = tmp_path / unit.name.replace("@", "@studio")
    shutil.copyfile(unit, there)
    command = [tool("systemd-analyze"), "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager"]
    run = subprocess.run([*command, str(there)], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout[-300:] + run.stderr


@pytest.mark.parametrize("unit", [UNIT, INSTANCE, WORKER], ids=lambda unit: unit.name)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, once the program is there."""
    there = tmp_path / unit.name.replace("@", "@studio")
    there.write_text(unit.read_text().replace("/usr/bin/rodin-watchd", "/bin/true"))
    run = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", str(there)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_the_user_and_the_folders_can_be_made(tmp_path: Path) -> None:
    """systemd-sysusers and systemd-tmpfiles read their files without a complaint, in a root of their own."""
    if os.geteuid():
        pytest.skip("only root gives folders to another user")
    for name, kind in (("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")):
        source = tmp_path / f"rodin-watchd.{kind}.conf"
        shutil.copyfile(FOLDER / f"rodin-watchd.{kind}", source)
        extra = ["--create"] if kind == "tmpfiles" else []
        command = [tool(name), f"--root={tmp_path / 'root'}", *extra, str(source)]
        (tmp_path / "root" / "etc").mkdir(parents=True, exist_ok=True)
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert run.returncode == 0, run.stderr
    assert (tmp_path / "root" / "srv" / "rodin-watchd" / "inbox").stat().st_mode & 0o7777 == 0o2770
    assert "rodin-watchd:" in (tmp_path / "root" / "etc" / "passwd").read_text()
