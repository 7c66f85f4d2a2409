"""The built wheel, installed as a user would, on every supported Python of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
VERSIONS = ("3.11", "3.12", "3.13")
CORE_LIMIT = 25
"""More distributions than this, and the core is no longer small."""


def python_of(version: str) -> str | None:
    """Return an interpreter of this version, from PATH or from pyenv's folder."""
    named = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in (sys.executable, shutil.which(f"python{version}"), *map(str, named)):
        if candidate and _version(candidate) == version:
            return candidate
    return None


def _version(python: str) -> str:
    told = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=False
    )
    return told.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "uv", "build", "-q", "--wheel", "--out-dir", str(folder), str(PROJECT)]
    subprocess.run(command, check=True, timeout=100)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """What a user installs is the package, its typing marker, its samples and its licence; no tests, no tools."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert all(top in ("rodin_watchd", "rodin_watchd_plugins") or top.endswith(".dist-info") for top in tops)
    assert "rodin_watchd/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert any(name.startswith("rodin_watchd/emulator/samples/") for name in names)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_works_in_a_clean_environment(version: str, wheel: Path, tmp_path: Path) -> None:
    """With its core dependencies alone, the wheel installs small and answers its first commands."""
    python = python_of(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    home = tmp_path / "venv"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", python, str(home)], check=True, timeout=60)
    inside = str(home / "bin" / "python")
    subprocess.run([*uv, "pip", "install", "-q", "--python", inside, str(wheel)], check=True, timeout=100)
    installed = subprocess.run([*uv, "pip", "list", "--python", inside], capture_output=True, text=True, check=True)
    assert len(installed.stdout.splitlines()) - 2 <= CORE_LIMIT, installed.stdout
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "RODIN"))}

    def told(*command: str) -> str:
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment, timeout=60
        )
        assert run.returncode == 0, run.stderr
        assert "Traceback" not in run.stderr
        return run.stdout

    command = str(home / "bin" / "rodin-watchd")
    assert "init" in told(command, "--help")
    assert told(command, "--version") == told(inside, "-m", "rodin_watchd", "--version")
    told(command, "init", str(tmp_path / "shop"))
    assert (tmp_path / "shop" / "inbox").is_dir()
    missing = subprocess.run(
        [command, "emulator"], capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert missing.returncode == 2
    assert "rodin-watchd[emulator]" in missing.stderr
