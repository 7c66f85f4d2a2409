"""Every command in the documents is run, in the order it is written, as a new user would."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rodin_watchd.cli.main import COMMANDS
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator

PROJECT = Path(__file__).parent.parent
PAGES = sorted([PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
KEY = "documents-key"
TIMEOUT_SECONDS = 60.0
ELSEWHERE = {
    "make": "the targets are looked up here; `make demo` is tests/cli/test_demo.py, `make test` is running this",
    "pipx": "tests/test_wheel.py installs the wheel",
    "pip": "tests/test_wheel.py installs the wheel",
}
"""Commands that another test runs, and which."""


def commands(page: Path) -> list[str]:
    """Return the shell lines of a page."""
    return [line for block in BLOCK.findall(page.read_text()) for line in block.splitlines() if line.strip()]


@dataclass
class Desk:
    """A new user's home, with a vendor on this machine."""

    home: Path
    emulator: Emulator

    @property
    def environment(self) -> dict[str, str]:
        """What the shell knows."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RODIN")}
        path = f"{Path(sys.executable).parent}:{kept['PATH']}"
        return {**kept, "HOME": str(self.home), "PATH": path, "YOUR_KEY": KEY, "RODIN_API_KEY": KEY}

    def run(self, line: str) -> None:
        """Run a line, wherever a user would; what works until it is stopped is stopped when it works."""
        if line.split(maxsplit=1)[0] in ELSEWHERE:
            return
        if re.match(r"rodin-watchd (run|emulator)\b", line):
            self._run_service(line)
            return
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if " init " in line:
            self._use_emulator()

    def _use_emulator(self) -> None:
        """Point the new configuration at this machine, as docs/emulator.md says."""
        config = self.home / "textures" / "config.toml"
        settings = f'base_url = "{self.emulator.base_url}"'
        config.write_text(re.sub(r"^base_url = .*$", settings, config.read_text(), flags=re.MULTILINE))

    def _run_service(self, line: str) -> None:
        """Start a service, see that it works, end it politely."""
        with subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as child:
            overdue = threading.Timer(TIMEOUT_SECONDS, child.kill)
            overdue.start()
            assert child.stdout is not None
            told = []
            for heard in child.stdout:
                told.append(heard)
                if "watching" in heard:
                    self._drop_chair()
                if "archived" in heard or ("127.0.0.1" in heard and " emulator" in line):
                    child.send_signal(signal.SIGTERM)
                    break
            told.append(child.stdout.read())
            assert child.wait() == 0, "".join(told)
            overdue.cancel()

    def _drop_chair(self) -> None:
        inbox = self.home / "textures" / "inbox"
        shutil.copy(PROJECT / "tests" / "samples" / "matcap-a.png", inbox / "chair.png")
        shutil.copy(PROJECT / "tests" / "samples" / "pmndrs.glb", inbox / "chair.glb")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Give a new user's home, and a vendor."""
    settings = EmulatorSettings(preview_pixels=64, api_keys=(KEY,), waiting_seconds=0, generating_seconds=0)
    with Emulator(settings) as emulator:
        yield Desk(tmp_path, emulator)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_works(page: Path, desk: Desk) -> None:
    """The lines of a page, one after the other, in a new home."""
    lines = commands(page)
    for line in lines:
        desk.run(line)
    if page.name == "README.md":
        assert lines[:2] == ["make demo", "make test"]
        assert (desk.home / "textures" / "outbox" / "chair" / "job.toml").is_file()


def test_the_readme_is_short_and_its_pictures_are_small() -> None:
    """Eighty lines at most, with pictures of the page, of a result and of the terminal."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    pictures = {PROJECT / path for path in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)}
    assert {path.name for path in pictures} == {"page.webp", "result.webp", "terminal.webp"}
    assert sum(path.stat().st_size for path in (PROJECT / "docs" / "pictures").iterdir()) < 600_000


def test_every_make_target_exists() -> None:
    """The documents name targets that the Makefile has."""
    makefile = (PROJECT / "Makefile").read_text()
    named = {name for page in PAGES for name in re.findall(r"`?\bmake ([a-z-]+)`?", page.read_text())}
    known = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {name for name in named if f"`make {name}`" in "".join(p.read_text() for p in PAGES)} <= known


def test_every_link_leads_somewhere() -> None:
    """Links within the project point at files that are there."""
    for page in [*PAGES, PROJECT / "CHANGELOG.md"]:
        for target in LINK.findall(page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_and_the_changelog_name_known_commands() -> None:
    """Whatever is written as `rodin-watchd X` is a command."""
    for page in [*PAGES, PROJECT / "CHANGELOG.md"]:
        for name in re.findall(r"rodin-watchd ([a-z][a-z-]+)", page.read_text()):
            assert name in COMMANDS, f"{page.name}: rodin-watchd {name}"


@pytest.mark.parametrize("page", sorted((PROJECT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_modules_that_a_page_names_are_there(page: Path) -> None:
    """A recipe that leads to a file which was moved teaches nobody."""
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)(?:::\w+)?`", page.read_text(encoding="utf-8")))
    places = (PROJECT, PROJECT / "rodin_watchd", PROJECT / "plugins/rodin_watchd_plugins", PROJECT / "tests")
    own = {name for name in named if "/" in name}
    assert {name for name in own if not any((place / name).exists() for place in places)} == set()
