"""Every command in the documents is run, in the order it is written, as a new user would."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from build_site import inward, loaded_from_elsewhere, titled

from rodin_watchd.cli.main import COMMANDS
from rodin_watchd.core.sidecar import read_sidecar
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator

PROJECT = Path(__file__).parent.parent
CHINESE = {
    page.name.replace(".zh-CN", ""): page
    for folder in (PROJECT, PROJECT / "docs")
    for page in folder.glob("*.zh-CN.md")
}
"""The name of a page → the same page in Simplified Chinese; it has the commands and examples of the English one, which is run."""

PAGES = sorted({PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")} - set(CHINESE.values()))
ALL = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
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


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in HEADING.findall(text)}


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Links within the project point at files that are there, and at headings that these have."""
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            found = page.parent / target if target else page
            assert found.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(found), f"{page.name}: {target}#{anchor}"


@pytest.mark.parametrize("name", CHINESE)
def test_the_chinese_page_says_the_same(name: str) -> None:
    """The same commands, examples, pictures and links as the English page, in the same order, and as many tables and headings."""
    chinese = CHINESE[name]
    english = chinese.with_name(name)

    def skeleton(page: Path) -> list[object]:
        text = page.read_text(encoding="utf-8")
        links = [(target.replace(".zh-CN", ""), anchor) for target, anchor in LINK.findall(text)]
        examples = [re.sub(r" *#.*", "", block) for block in TOML.findall(text)]
        shape = re.findall(r"^(#+ |\| |!\[|\d\. )", text, re.MULTILINE)
        return [BLOCK.findall(text), examples, links, shape, sorted(re.findall(r"`[^`\n]+`", text))]

    assert skeleton(chinese) == skeleton(english)
    linked = re.search(r"\]\(([\w.-]+)\)", english.read_text(encoding="utf-8"))
    assert linked is not None
    assert linked[1] == chinese.name


def test_the_examples_for_artists_are_right() -> None:
    """Each is a sidecar that the service would take."""
    examples = TOML.findall((PROJECT / "docs" / "artists.md").read_text(encoding="utf-8"))
    assert [read_sidecar(text.encode(), "chair.toml").kind for text in examples] == ["generate", None]


def test_the_site_has_every_page_once() -> None:
    """Its navigation leads to all of them."""
    with (PROJECT / "zensical.toml").open("rb") as file:
        navigation = tomllib.load(file)["project"]["nav"]
    docs = PROJECT / "docs"
    assert sorted(named(navigation)) == sorted(page.relative_to(docs).as_posix() for page in docs.rglob("*.md"))


def named(entry: object) -> Iterator[str]:
    """Yield the pages of a part of the navigation."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, list | dict):
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from named(part)


def test_the_site_leaves_out_links_to_the_code() -> None:
    """A link out of docs/ is plain text there; links between pages, also from a sub-folder, stay."""
    assert inward("[code](../a.py) [page](b.md#c)", deep=False) == "code [page](b.md#c)"
    assert inward("[code](../../a.py) [page](../b.md)", deep=True) == "code [page](../b.md)"


def test_the_site_shows_titles_instead_of_names_of_files() -> None:
    """Its readers see no files; what a link says in words stays."""
    titles = {"money.md": "Money"}
    assert (
        titled("[money.md](money.md#a) [paid](money.md) [x.md](x.md)", titles)
        == "[Money](money.md#a) [paid](money.md) [x.md](x.md)"
    )


def test_a_page_that_loads_from_another_host_is_found(tmp_path: Path) -> None:
    """What a browser would load by itself; a link that people follow is none."""
    page = tmp_path / "page.html"
    page.write_text(
        '<link rel=stylesheet href="https://fonts.example/a.css"><script src=//cdn.example/b.js></script>'
        '<a href="https://hyper3d.com">vendor</a><img src="pictures/page.webp"><link rel=canonical href="https://own.example">'
    )
    assert list(loaded_from_elsewhere(page)) == ["https://fonts.example/a.css", "//cdn.example/b.js"]


def test_the_readme_and_the_changelog_name_known_commands() -> None:
    """Whatever is written as `rodin-watchd X` is a command."""
    for page in ALL:
        for name in re.findall(r"(?<![.\w-])rodin-watchd ([a-z][a-z-]+)", page.read_text(encoding="utf-8")):
            assert name in COMMANDS, f"{page.name}: rodin-watchd {name}"


@pytest.mark.parametrize("page", sorted((PROJECT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_modules_that_a_page_names_are_there(page: Path) -> None:
    """A recipe that leads to a file which was moved teaches nobody."""
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)(?:::\w+)?`", page.read_text(encoding="utf-8")))
    places = (PROJECT, PROJECT / "rodin_watchd", PROJECT / "plugins/rodin_watchd_plugins", PROJECT / "tests")
    own = {name for name in named if "/" in name}
    assert {name for name in own if not any((place / name).exists() for place in places)} == set()
