"""A plugin as a third party writes it: its own package, outside the tree, installed by uv, found by its entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator

PROJECT = Path(__file__).resolve().parent.parent
SAMPLES = PROJECT / "rodin_watchd" / "emulator" / "samples"
TIMEOUT_SECONDS = 110

CONFIG = """\
[api]
base_url = "{url}"
[intake]
sidecar_wait_seconds = 0
quiet_seconds = 0.2
unproven_quiet_seconds = 0.2
[polling]
min_seconds = 0.1
max_seconds = 0.2
[plugins.nameplate]
note = "Oak & Sons"
"""


@dataclass(frozen=True, slots=True)
class Author:
    """Whoever has written a plugin with what `plugins new --package` makes, and has installed it beside the service."""

    programs: Path
    package: Path

    def run(self, folder: Path, *command: str | Path) -> str:
        """Run a program of the environment in a folder, and return what it printed."""
        known = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "RODIN", "PYTEST"))}
        done = subprocess.run(
            [self.programs / command[0], *command[1:]],
            env={**known, "RODIN_API_KEY": "emulator-key"},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Author:
    """Give an environment with the service and a new package, both built and installed as users do."""
    home = tmp_path_factory.mktemp("third-party")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(home / "venv")], check=True, timeout=60)
    wheels = str(home / "wheels")
    build = [*uv, "build", "-q", "--wheel", "--out-dir", wheels]
    install = [*uv, "pip", "install", "-q", "--python", str(home / "venv" / "bin" / "python"), "--find-links", wheels]
    install += ["--constraint", str(PROJECT / "requirements-dev.lock")]
    author = Author(home / "venv" / "bin", home / "rodin-watchd-plugin-nameplate")
    subprocess.run([*build, str(PROJECT)], check=True, timeout=TIMEOUT_SECONDS)
    subprocess.run([*install, "rodin-watchd"], check=True, timeout=TIMEOUT_SECONDS)
    author.run(home, "rodin-watchd", "plugins", "new", "nameplate", "--package")
    subprocess.run([*build, str(author.package)], check=True, timeout=TIMEOUT_SECONDS)
    subprocess.run([*install, "rodin-watchd-plugin-nameplate[test]"], check=True, timeout=TIMEOUT_SECONDS)
    return author


def test_its_own_test_passes(author: Author) -> None:
    """By the package's settings, with the module that was installed."""
    assert "5 passed" in author.run(author.package, "pytest", "-q", "-p", "no:cacheprovider")


def test_a_foreign_package_works_on_results(author: Author, tmp_path: Path) -> None:
    """Listed with its package, checked by its own model, run on a set through the emulated vendor, tried on its result."""
    root = tmp_path / "root"
    author.run(tmp_path, "rodin-watchd", "init", root)

    def run(*words: str) -> str:
        return author.run(root, "rodin-watchd", *words)

    with Emulator(EmulatorSettings(preview_pixels=64, instant=True)) as emulator:
        (root / "config.toml").write_text(CONFIG.format(url=emulator.base_url))
        told = run("plugins", "list")
        assert "nameplate: in use" in told
        assert "installed: rodin_watchd_plugin_nameplate (rodin-watchd-plugin-nameplate 0.1.0)" in told
        assert "nameplate can be used: rodin_accept, rodin_process." in run("plugins", "check")
        for name, source in {"suzi.glb": "suzi.glb", "suzi.png": "matcap-a.png"}.items():
            (root / "inbox" / name).write_bytes((SAMPLES / source).read_bytes())
        run("run", "--until-idle")
    assert (root / "outbox" / "suzi" / "NOTE.txt").read_text() == "suzi: Oak & Sons\n"
    assert '[plugins.nameplate]\nnote = "Oak & Sons"' in (root / "outbox" / "suzi" / "job.toml").read_text()
    assert "this line is shown by" in run("show", "--output", "suzi")
    into = run("plugins", "try", "nameplate", "--result", "outbox/suzi")
    assert "  changed" not in into
    assert "The changed result is in nameplate-result." in into
