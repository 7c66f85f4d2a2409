"""`rodin-watchd plugins`: what an author and an administrator see."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cli_stage import PROGRAM, TIMEOUT_SECONDS, Stage

from rodin_watchd.testing import Finished


def run(stage: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the service's folder, where it finds the config."""
    done = subprocess.run(
        [*PROGRAM, *words],
        cwd=stage.root,
        env=stage.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def folder(stage: Stage) -> Path:
    """Give a folder of plugins that the config names."""
    folder = stage.root / "plugins"
    folder.mkdir(mode=0o755)
    with stage.config.open("a", encoding="utf-8") as config:
        config.write('[plugins]\nfolders = ["plugins"]\n')
    return folder


def test_a_new_plugin_works_at_once(stage: Stage, folder: Path, rodin_finished: Finished, tmp_path: Path) -> None:
    """`new` writes it, `list` shows it, `check` finds it good, `try` runs it on a result and leaves that alone."""
    made = run(stage, "plugins", "new", "watermark", "--folder", str(folder))
    assert made.returncode == 0
    assert {path.name for path in folder.iterdir()} == {"watermark.py", "test_watermark.py"}
    listed = {plugin["name"]: plugin for plugin in json.loads(run(stage, "plugins", "list", "--json").stdout)}
    assert listed["watermark"]["state"] == "in use"
    assert listed["watermark"]["hooks"] == ["rodin_process"]
    assert listed["command"]["state"] == "off"
    assert "watermark can be used" in run(stage, "plugins", "check").stdout
    into = tmp_path / "tried"
    tried = run(stage, "plugins", "try", "watermark", "--result", str(rodin_finished.directory), "--into", str(into))
    assert "added    NOTE.txt" in tried.stdout
    assert 'note = "textured by the studio"' in tried.stdout
    assert (into / "NOTE.txt").read_text() == "suzi: textured by the studio\n"
    assert not (rodin_finished.directory / "NOTE.txt").exists()
    again = run(stage, "plugins", "new", "watermark", "--folder", str(folder))
    assert (again.returncode, "is there already" in again.stderr) == (1, True)


def test_check_names_what_is_wrong(stage: Stage, folder: Path) -> None:
    """File, line and cause, with exit code 1; also as a part of `rodin-watchd check`."""
    (folder / "broken.py").write_text("import nothing_of_this_name\n")
    for command in (("plugins", "check"), ("check", "--offline")):
        told = run(stage, *command)
        assert told.returncode == 1
        assert "No module named 'nothing_of_this_name'" in told.stdout
        assert "broken.py:1" in told.stdout
    listed = run(stage, "plugins", "list")
    assert listed.returncode == 0
    assert "broken: cannot be loaded" in listed.stdout


def test_a_table_without_a_plugin_is_told(stage: Stage, folder: Path) -> None:
    """With the nearest name; so is a misspelt key of the section itself."""
    (folder / "watermark.py").write_text("from rodin_watchd.v1 import hookimpl\n@hookimpl\ndef rodin_service(): pass\n")
    with stage.config.open("a", encoding="utf-8") as config:
        config.write("[plugins.watermrk]\n")
    told = run(stage, "plugins", "check")
    assert told.returncode == 2
    assert "There is no plugin watermrk" in told.stderr
    assert "Did you mean watermark?" in told.stderr
    stage.config.write_text("[plugins]\nworker = 3\n")
    assert "did you mean workers?" in run(stage, "plugins", "check").stderr


@pytest.mark.parametrize("place", ["folder", "file"])
def test_what_others_can_change_is_refused(stage: Stage, folder: Path, place: str) -> None:
    """With the command that mends it, which does."""
    path = folder / "watermark.py"
    path.write_text("from rodin_watchd.v1 import hookimpl\n@hookimpl\ndef rodin_service(): pass\n")
    open_to_all = folder if place == "folder" else path
    open_to_all.chmod(0o777)
    told = run(stage, "plugins", "list")
    assert told.returncode == 2
    assert f"Run: chmod go-w {open_to_all}" in told.stderr
    open_to_all.chmod(0o755)
    assert run(stage, "plugins", "list").returncode == 0


def test_trying_says_what_it_cannot_do(stage: Stage, folder: Path, tmp_path: Path) -> None:
    """No such plugin, no receipt, no such hook."""
    (folder / "watermark.py").write_text("from rodin_watchd.v1 import hookimpl\n@hookimpl\ndef rodin_service(): pass\n")
    (tmp_path / "empty").mkdir()
    assert "There is no plugin other" in run(stage, "plugins", "try", "other", "--result", str(tmp_path)).stderr
    empty = run(stage, "plugins", "try", "watermark", "--result", str(tmp_path / "empty"))
    assert "has no readable receipt" in empty.stderr
