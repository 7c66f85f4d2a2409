"""`rodin-watchd plugins`: what an author and an administrator see."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest
from cli_stage import PROGRAM, TIMEOUT_SECONDS, Stage

from rodin_watchd.cli.new_plugin import write_package
from rodin_watchd.cli.options import load
from rodin_watchd.cli.plugins import Wanted, tried
from rodin_watchd.core.kinds import KINDS
from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.hooks.worker import HOOKS
from rodin_watchd.testing import Finished, finished
from rodin_watchd.v1 import GROUP

pytest_plugins = ["pytester"]


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
    assert listed["watermark"]["hooks"] == ["rodin_accept", "rodin_process"]
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


def test_a_result_is_tried_where_it_is(stage: Stage) -> None:
    """However it is named: a plugin learns its place below the root, as from the service. The index is written in the outbox."""
    with stage.config.open("a", encoding="utf-8") as config:
        config.write("[plugins.contact_sheet]\nindex = true\npicture = false\n")
    result = finished(stage.root / "outbox" / "team" / "suzi").directory
    for named in (str(result), "outbox/team/suzi"):
        (stage.root / "outbox" / "index.html").unlink(missing_ok=True)
        tried = run(stage, "plugins", "try", "contact_sheet", "--hook", "rodin_delivered", "--result", named)
        assert tried.returncode == 0, tried.stderr
        assert "./team/suzi/" in (stage.root / "outbox" / "index.html").read_text()


ALL_HOOKS = """
from rodin_watchd.v1 import Refusal, hookimpl

SET_KEYS = {"whom"}

@hookimpl
def rodin_configure(settings):
    print("configured")

@hookimpl
def rodin_accept(fileset, directory, settings):
    if "whom" in settings:
        return Refusal(f"not for {settings['whom']}", advice="Ask \\x1bBen.")

@hookimpl
def rodin_options(job, options, directory):
    print(job.state, sorted(path.name for path in directory.iterdir()))
    return {"seed": 7}

@hookimpl
def rodin_process(job, directory):
    (directory / "x.txt").write_text(job.name)

@hookimpl
def rodin_delivered(job, directory, event):
    print(event.kind, (directory / "job.toml").exists())

@hookimpl
def rodin_failed(job, directory, event, settings):
    print(job.problem.code, (directory / "REPORT.txt").exists(), settings.get("whom"))

@hookimpl
def rodin_held(job, event):
    print(job.problem.code)

@hookimpl
def rodin_chosen(job, directory, event):
    print(job.variant, job.chosen, event.kind)

@hookimpl
def rodin_waiting(waiting, event):
    print(waiting.reason)

@hookimpl
def rodin_service(event):
    print(event.kind, event.code)
"""
TRIES = {
    "rodin_configure": "configured",
    "rodin_accept": "The set is accepted.",
    "rodin_options": "seed = 7, not set before",
    "rodin_process": "added    x.txt",
    "rodin_delivered": "delivered True",
    "rodin_failed": "file-refused True None",
    "rodin_held": "unknown-outcome",
    "rodin_chosen": "seed-1 True chosen",
    "rodin_waiting": "waits for an image",
    "rodin_service": "paused empty-account",
}


def test_each_hook_can_be_tried(stage: Stage, folder: Path, tmp_path: Path) -> None:
    """With sets, results, failed sets and events that are made for the try; nothing is left of them."""
    (folder / "every.py").write_text(ALL_HOOKS)
    config = load(stage.config)
    assert set(TRIES) == set(HOOKS)
    for hook, told in TRIES.items():
        for kind in KINDS:
            into = tmp_path / f"{hook}-{kind}"
            lines = list(tried(config, "every", Wanted(hook, kind=kind), into))
            assert any(told in line for line in lines), (hook, lines)
            assert into.exists() == (hook == "rodin_process")


def test_a_hook_is_tried_with_a_set_of_ones_own(stage: Stage, folder: Path, tmp_path: Path) -> None:
    """Its files and options, and what its TOML file says to the plugin; the set is not changed."""
    (folder / "every.py").write_text(ALL_HOOKS)
    own = tmp_path / "lamp"
    own.mkdir()
    for name, text in {"lamp.obj": "v 1 2 3", "lamp.toml": "seed = 3\n[plugins.every]\nwhom = 'anna'\n"}.items():
        (own / name).write_text(text)
    accept = run(stage, "plugins", "try", "every", "--hook", "rodin_accept", "--set", str(own)).stdout
    assert "“lamp”" in accept
    assert "The plugin every refused the set: not for anna.\nWhat to do: Ask \\x1bBen.\n" in accept
    options = run(stage, "plugins", "try", "every", "--hook", "rodin_options", "--set", str(own)).stdout
    assert "claimed ['lamp.obj', 'lamp.toml']" in options
    assert "seed = 7, before 3" in options
    failed = run(stage, "plugins", "try", "every", "--hook", "rodin_failed", "--set", str(own)).stdout
    assert "file-refused True anna" in failed
    low = run(stage, "plugins", "try", "every", "--hook", "rodin_service", "--event", "low-balance").stdout
    assert "low-balance: The account has 2 credits left" in low
    (own / "other.toml").write_text("")
    assert "has 2 TOML files" in run(stage, "plugins", "try", "every", "--set", str(own)).stderr
    assert {path.name for path in own.iterdir()} == {"lamp.obj", "lamp.toml", "other.toml"}


def test_the_test_of_a_new_plugin_passes(stage: Stage, folder: Path, pytester: pytest.Pytester) -> None:
    """As it is written, with the fixtures for plugin authors."""
    run(stage, "plugins", "new", "watermark", "--folder", str(folder))
    found = pytester.runpytest_inprocess("-p", "rodin_watchd.testing", "-p", "no:cacheprovider", "-q", str(folder))
    found.assert_outcomes(passed=5)


def test_a_new_package_has_names_that_pip_takes(tmp_path: Path) -> None:
    """Whatever underscores the plugin's name has; and nothing is overwritten. tests/test_third_party.py installs one."""
    written = [path.relative_to(tmp_path).as_posix() for path in write_package("gold__leaf_", tmp_path)]
    home = "rodin-watchd-plugin-gold-leaf"
    assert written == [
        f"{home}/pyproject.toml",
        f"{home}/README.md",
        f"{home}/src/rodin_watchd_plugin_gold__leaf_/__init__.py",
        f"{home}/tests/test_gold__leaf_.py",
    ]
    project = tomllib.loads((tmp_path / written[0]).read_text())["project"]
    assert project["name"] == home
    assert project["entry-points"][GROUP] == {"gold__leaf_": "rodin_watchd_plugin_gold__leaf_"}
    with pytest.raises(CommandRefusedError, match="is there already"):
        list(write_package("gold__leaf_", tmp_path))
    with pytest.raises(CommandRefusedError, match="cannot be called “folders”"):
        list(write_package("folders", tmp_path))


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
    """No such plugin, no receipt, no such hook, a result for a hook that gets none."""
    hooks = "@hookimpl\ndef rodin_delivered(): pass\n@hookimpl\ndef rodin_service(): pass\n"
    (folder / "watermark.py").write_text(f"from rodin_watchd.v1 import hookimpl\n{hooks}")
    (tmp_path / "empty").mkdir()
    assert "There is no plugin other" in run(stage, "plugins", "try", "other", "--result", str(tmp_path)).stderr
    empty = run(stage, "plugins", "try", "watermark", "--result", str(tmp_path / "empty"))
    assert "has no readable receipt" in empty.stderr
    config, result = load(stage.config), tmp_path / "empty"
    for hook, told in {"rodin_held": "has no hook rodin_held", "rodin_service": "not called with a result"}.items():
        with pytest.raises(CommandRefusedError, match=told):
            list(tried(config, "watermark", Wanted(hook, result=result), tmp_path / "into"))
