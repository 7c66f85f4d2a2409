"""The command as a whole: its table, its help, its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_stage import PROGRAM, Stage, a_job, environment
from click.testing import CliRunner

from rodin_watchd import __version__
from rodin_watchd.cli.main import COMMANDS, cli

LOADED = """
import atexit, json, sys
from rodin_watchd.cli.main import main
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
sys.argv[1:] = {arguments}
main()
"""


def modules_after(*arguments: str, cwd: Path, code: int = 0) -> set[str]:
    """Return the modules that a command has loaded at its end, which it reaches with this exit code."""
    program = LOADED.format(arguments=list(arguments))
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=cwd, env=environment()
    )
    assert run.returncode == code, run.stderr
    return set(json.loads(run.stderr.splitlines()[-1]))


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    """`--help` names every command and loads nothing but click, the table and the errors."""
    loaded = modules_after("--help", cwd=tmp_path)
    own = {name for name in loaded if name.startswith("rodin_watchd") and not name.startswith("rodin_watchd.errors.")}
    assert own == {
        "rodin_watchd",
        "rodin_watchd.cli",
        "rodin_watchd.cli.main",
        "rodin_watchd.errors",
    }
    assert not {"pydantic", "requests", "rich", "PIL", "watchdog", "sqlite3"} & loaded


@pytest.mark.parametrize("command", [("status",), ("list",), ("show", "x"), ("explain", "x"), ("retry", "x")])
def test_looking_loads_neither_the_daemon_nor_the_client(command: tuple[str, ...], tmp_path: Path) -> None:
    """Commands that only read the journal or leave a command load no daemon, no HTTP and no terminal library."""
    loaded = modules_after(*command, "--help", cwd=tmp_path)
    assert f"rodin_watchd.cli.{COMMANDS[command[0]][0].partition(':')[0]}" in loaded
    assert not {"requests", "urllib3", "rich", "PIL", "watchdog", "rodin_watchd.service.daemon"} & loaded


HEAVY = {"pydantic", "pydantic_core", "pluggy", "requests", "urllib3", "http", "rich", "PIL", "watchdog", "asyncio"}
"""What a process that only looks has no use for: each costs it a tenth of its time or more."""


@pytest.mark.parametrize("command", [("status",), ("list",), ("show", "chair"), ("health",)])
def test_looking_loads_no_more_than_it_needs(stage: Stage, command: tuple[str, ...]) -> None:
    """A person who looks waits for each module: the configuration is read without the library that checks all of it."""
    stage.journaled(a_job())
    loaded = modules_after(*command, "--config", str(stage.config), cwd=stage.root, code=int(command == ("health",)))
    assert not HEAVY & loaded
    assert (
        not {"rodin_watchd.config", "rodin_watchd.v1", "rodin_watchd.core.sidecar", "rodin_watchd.core.formats"}
        & loaded
    )


def test_completing_loads_no_more_than_it_needs(stage: Stage) -> None:
    """The shell waits for it at each TAB."""
    stage.journaled(a_job())
    code = (
        "import json, sys; from click.shell_completion import ShellComplete; from rodin_watchd.cli.main import cli; "
        f"words = ['show', '--config', {str(stage.config)!r}]; "
        "ShellComplete(cli, {}, 'rodin-watchd', '_X').get_completions(words, ''); print(json.dumps(sorted(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert "rodin_watchd.adapters.store.reader" in run.stdout
    assert not HEAVY & set(json.loads(run.stdout))


def test_a_mistake_elsewhere_in_the_config_does_not_keep_anybody_from_looking(stage: Stage) -> None:
    """The service goes on with the configuration that it has; where there is no journal, the mistake may be why."""
    stage.config.write_text("[budgets]\nper_day = 3\n")
    run = stage.told("status")
    assert run.returncode == 2
    assert "budgets" in run.stderr
    stage.journaled(a_job())
    assert stage.told("status").returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    """Each command of the table exists, and its help says what it does and shows an example."""
    result = CliRunner().invoke(cli, [name, "--help"], prog_name="rodin-watchd")
    assert result.exit_code == 0, result.output
    assert f"Usage: rodin-watchd {name}" in result.output
    assert f"Example: rodin-watchd {name}" in result.output


def test_help_lists_the_commands_in_their_order() -> None:
    """The table in `--help` has each command once, in the order of the table."""
    lines = CliRunner().invoke(cli, ["--help"]).output.partition("Commands:")[2].split("\n")
    assert [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "] == list(COMMANDS)


def test_version() -> None:
    """`--version` says which version this is."""
    assert __version__ in CliRunner().invoke(cli, ["--version"]).output


def test_wrong_use_is_exit_code_2(stage: Stage) -> None:
    """A command or option that does not exist is wrong use."""
    for command in ("stauts", "status"):
        run = subprocess.run([*PROGRAM, command, "--jsno"], capture_output=True, text=True, check=False, cwd=stage.root)
        assert run.returncode == 2
        assert "Error: No such" in run.stderr


def test_a_broken_config_is_wrong_use_and_named(stage: Stage) -> None:
    """A mistake in the config is told with its line, without a traceback, as wrong use."""
    stage.config.write_text("[api]\nmax_in_fligth = 3\n")
    run = stage.told("status")
    assert run.returncode == 2
    assert "config.toml line 2: api.max_in_fligth" in run.stderr
    assert "did you mean max_in_flight?" in run.stderr


def test_no_config_says_where_it_looked(tmp_path: Path) -> None:
    """Without any config the error names the places and the command that makes one."""
    run = subprocess.run(
        [*PROGRAM, "list"], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment()
    )
    assert run.returncode == 2
    assert str(tmp_path / "config.toml") in run.stderr
    assert "rodin-watchd init" in run.stderr


def test_an_error_of_the_system_is_one_line(tmp_path: Path) -> None:
    """What the operating system refuses is one line with the file's name, exit code 1, no traceback."""
    stage = Stage(tmp_path / "root")
    stage.journaled(a_job())
    loop = stage.inbox / "loop"
    loop.symlink_to(loop)
    run = stage.told("explain", "inbox/" + "x" * 300)
    assert run.returncode == 1
    assert run.stderr.startswith("Error: File name too long")
    assert len(run.stderr.splitlines()) == 1


def test_a_reader_that_goes_away_is_no_traceback(stage: Stage) -> None:
    """`list | head -1` ends quietly, however much was left to say."""
    stage.journaled(*(a_job(id=f"{n:012x}", fingerprint=f"{n:064x}", task=None) for n in range(2000)))
    command = " ".join(map(str, stage.command("list")))
    run = subprocess.run(
        ["bash", "-c", f"{command} | head -1"], capture_output=True, text=True, check=False, env=stage.environment
    )
    assert run.stdout.split()[0] == "ID"
    assert run.stderr == ""


def test_a_terminal_without_these_characters_gets_them_escaped(stage: Stage) -> None:
    """A name that the terminal's encoding does not have comes out escaped."""
    stage.journaled(a_job(name="lamp 椅子"))
    surroundings = {**stage.environment, "PYTHONIOENCODING": "iso-8859-1"}
    run = subprocess.run(stage.command("list"), capture_output=True, check=True, text=True, env=surroundings)
    assert "lamp \\u6905\\u5b50" in run.stdout
