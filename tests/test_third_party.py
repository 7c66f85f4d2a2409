"""A plugin as a third party writes it: its own package, outside the tree, installed by pip, found by its entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator

PROJECT = Path(__file__).resolve().parent.parent
SAMPLES = PROJECT / "rodin_watchd" / "emulator" / "samples"
TIMEOUT_SECONDS = 110

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "studio-nameplate"
version = "2.1"
dependencies = ["rodin-watchd"]

[project.entry-points."rodin_watchd.v1"]
nameplate = "studio_nameplate"

[tool.hatch.build.targets.wheel]
packages = ["studio_nameplate"]
"""

CODE = '''\
"""Put a nameplate beside each result."""

from pydantic import BaseModel, ConfigDict

from rodin_watchd.v1 import hookimpl


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    studio: str


@hookimpl
def rodin_process(job, directory, settings):
    (directory / "nameplate.txt").write_text(f"{job.name} by {settings.studio}")
    return {"studio": settings.studio}


@hookimpl
def rodin_delivered(job, directory):
    print(f"{job.name} lies in {directory}")
'''

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
studio = "Oak & Sons"
"""


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an environment with the service and the foreign package, both installed as users do."""
    home = tmp_path_factory.mktemp("third-party")
    package = home / "package" / "studio_nameplate"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(CODE)
    (package.parent / "pyproject.toml").write_text(PYPROJECT)
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(home / "venv")], check=True, timeout=60)
    target = ["--python", str(home / "venv" / "bin" / "python")]
    wheels = ["--find-links", str(home / "wheels")]
    build = [*uv, "build", "-q", "--wheel", "--out-dir", str(home / "wheels")]
    subprocess.run([*build, str(PROJECT)], check=True, timeout=TIMEOUT_SECONDS)
    install = [*uv, "pip", "install", "-q", *target, *wheels, str(package.parent)]
    subprocess.run(install, check=True, timeout=TIMEOUT_SECONDS)
    return home / "venv" / "bin"


def test_a_foreign_package_works_on_results(venv: Path, tmp_path: Path) -> None:
    """Listed with its package, checked by its own model, run on a set through the emulated vendor."""
    root = tmp_path / "root"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "RODIN"))}

    def run(*command: str) -> str:
        done = subprocess.run(
            [str(venv / "rodin-watchd"), *command],
            env={**environment, "RODIN_API_KEY": "emulator-key"},
            cwd=root if root.exists() else tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("init", str(root))
    with Emulator(EmulatorSettings(preview_pixels=64, instant=True)) as emulator:
        (root / "config.toml").write_text(CONFIG.format(url=emulator.base_url))
        told = run("plugins", "list")
        assert "nameplate: in use" in told
        assert "installed: studio_nameplate (studio-nameplate 2.1)" in told
        assert "nameplate can be used: rodin_delivered, rodin_process." in run("plugins", "check")
        for name, source in {"suzi.glb": "suzi.glb", "suzi.png": "matcap-a.png"}.items():
            (root / "inbox" / name).write_bytes((SAMPLES / source).read_bytes())
        run("run", "--until-idle")
    assert (root / "outbox" / "suzi" / "nameplate.txt").read_text() == "suzi by Oak & Sons"
    assert '[plugins.nameplate]\nstudio = "Oak & Sons"' in (root / "outbox" / "suzi" / "job.toml").read_text()
    assert "suzi lies in" in run("show", "--output", "suzi")
    into = run("plugins", "try", "nameplate", "--result", "outbox/suzi")
    assert "  changed" not in into
    assert "The changed result is in nameplate-result." in into
