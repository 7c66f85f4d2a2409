"""`demo`: all of it, for real, on this machine."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cli_stage import PROGRAM, environment

from rodin_watchd.adapters.ownership import holder
from rodin_watchd.core.layout import MARK

SETS = ("suzi", "worn-oak", "logo", "relief")


def lock_of(root: Path) -> Path:
    """Return the lock of the demo's service."""
    return root / ".rodin-watchd" / "lock"


def test_the_demo_delivers_all_sets_and_says_where(tmp_path: Path) -> None:
    """Sets of both kinds go from the inbox to the outbox, each step on a line, at the emulated vendor's cost alone."""
    root = tmp_path / "demo"
    surroundings = environment(
        HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9", STATE_DIRECTORY="/proc"
    )
    command = [*PROGRAM, "demo", "--dir", str(root)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings, timeout=100)
    assert run.returncode == 0, run.stdout + run.stderr
    for name in SETS:
        seen = re.findall(rf"s  {name} \(.*?\): ([^:\n]*)", run.stdout)
        assert seen[0] in {"waiting in the inbox", "taken"}  # the view looks now and then, and a set may be quick
        assert seen[-1] == "delivered"
        assert "at the vendor" in seen
    assert "It “cost” 2.0 credits" in run.stdout
    assert str(root) in run.stdout
    typed = re.findall(r"^  (.*) init DIR$", run.stdout, re.MULTILINE)
    assert subprocess.run([*shlex.split(typed[0]), "--version"], check=False, env=surroundings).returncode == 0
    results = [path.parent for path in (root / "outbox").rglob("job.toml")]
    delivered = {path.name: {file.name for file in path.iterdir()} for path in results}
    assert set(delivered) == set(SETS)
    assert all({"preview.webp", "job.toml"} <= files for files in delivered.values())
    assert "base.obj" in delivered["worn-oak"]
    assert 'prompt = "worn oak' in (root / "outbox" / "worn-oak" / "job.toml").read_text()
    assert 'kind = "generate"' in (root / "outbox" / "generate" / "relief" / "job.toml").read_text()
    assert {path.name for path in (root / "archive").glob("[!.]*")} == {*SETS, "generate"} - {"relief"}
    assert {path.name for path in (root / "inbox").rglob("*") if path.is_file()} == {MARK, "_folder.toml"}
    assert holder(lock_of(root)) is None


def test_ctrl_c_ends_the_demo_and_its_service(tmp_path: Path) -> None:
    """Whoever stops the demo gets told where it was, and no process stays behind."""
    root = tmp_path / "demo"
    with subprocess.Popen(
        [*PROGRAM, "demo", "--dir", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        assert any("at the vendor" in line for line in lines)
        service = holder(lock_of(root))
        assert service
        process.send_signal(signal.SIGINT)
        rest, complaints = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"The files up to now are in {root}" in rest
    assert "Traceback" not in complaints
    assert holder(lock_of(root)) is None
    assert not Path(f"/proc/{service['pid']}").exists() or os.name != "posix"


def test_on_a_terminal_it_ends_with_the_page(tmp_path: Path) -> None:
    """The page shows the delivered sets until Ctrl-C, which ends the demo in order; nothing listens any more."""
    root = tmp_path / "demo"
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "demo", "--dir", str(root)]
    with subprocess.Popen(
        command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=environment()
    ) as process:
        os.close(theirs)
        told = _read_until(ours, b"Ctrl-C ends the demo")
        found = re.search(rb"The page: (http://\S+)", told)
        assert found
        with urllib.request.urlopen(found[1].decode()) as page:  # noqa: S310 - of this machine
            assert page.read().decode().count('class="card delivered"') == len(SETS)
        process.send_signal(signal.SIGINT)
        _read_until(ours, b"never said")
        assert process.wait(60) == 0
    os.close(ours)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(found[1].decode())  # noqa: S310 - as above


def _read_until(terminal: int, words: bytes) -> bytes:
    """Return what comes on a terminal until these words, or until nobody is on its other side."""
    told = b""
    with contextlib.suppress(OSError):
        while words not in told and (piece := os.read(terminal, 65_536)):
            told += piece
    return told


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """The demo needs its own folder."""
    (tmp_path / "mine").write_text("")
    command = [*PROGRAM, "demo", "--dir", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert run.returncode == 1
    assert "is not empty" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
