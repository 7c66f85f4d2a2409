"""What the Debian package gives to a terminal: manual pages and completions, used by the programs that they are for."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build_deb
import click
import pytest
from cli_stage import Stage, a_failed_job, a_held_job, a_job, environment
from click.shell_completion import BashComplete
from screen_reader import on_a_terminal

from rodin_watchd.cli.main import COMMANDS, cli


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give what the package has below /usr/share."""
    stage = tmp_path_factory.mktemp("stage")
    build_deb.fill_system(stage)
    return stage / "usr" / "share"


# ---- Manual pages ---------------------------------------------------------------------------------------------------


def test_each_command_has_its_page(share: Path) -> None:
    """The program, its commands, and the commands of these."""
    found = {path.name for path in (share / "man" / "man1").iterdir()}
    commands = {name: cli.get_command(click.Context(cli), name) for name in COMMANDS}
    groups = {name: group for name, group in commands.items() if isinstance(group, click.Group)}
    assert groups.keys() == {"plugins", "store"}
    below = [f"{name}-{command}" for name, group in groups.items() for command in group.commands]
    assert found == {"rodin-watchd.1.gz", *(f"rodin-watchd-{name}.1.gz" for name in (*COMMANDS, *below))}


CHECKS = {
    "groff": ("groff", "-man", "-K", "utf8", "-T", "utf8", "-rLL=60n", "-ww", "-z"),
    "mandoc": ("mandoc", "-T", "lint", "-W", "warning"),
}


@pytest.mark.parametrize("program", CHECKS)
def test_programs_that_set_pages_find_no_fault(program: str, share: Path, tmp_path: Path) -> None:
    """Neither groff's warnings, on a narrow terminal, nor those of mandoc."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    for packed in (share / "man" / "man1").iterdir():
        (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    run = subprocess.run(
        [*CHECKS[program], *sorted(map(str, tmp_path.iterdir()))], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
def test_a_page_says_what_the_help_says(share: Path) -> None:
    """What it does, its options, an example, where to read on."""
    page = share / "man" / "man1" / "rodin-watchd-retry.1.gz"
    run = subprocess.run(
        ["man", "--warnings", "--local-file", str(page)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(MANPAGER="cat"),
    )
    assert run.stderr == ""
    assert re.search(r"^NAME\n +rodin-watchd-retry - Take the failed JOB up again[^.]*\n\n", run.stdout, re.MULTILINE)
    assert re.search(r"^OPTIONS\n +--?", run.stdout, re.MULTILINE)  # no argument without a text
    for words in (
        "--pay-again",
        "rodin-watchd retry chair",
        "rodin-watchd(1)",
    ):
        assert words in run.stdout


# ---- Completions ----------------------------------------------------------------------------------------------------


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {bash-completion/completions/rodin-watchd}"),
    "zsh": (["zsh", "-f", "-i"], "fpath=({zsh/vendor-completions} $fpath); autoload -Uz compinit; compinit -u -D"),
    "fish": (["fish", "--no-config", "-i"], "source {fish/vendor_completions.d/rodin-watchd.fish}"),
}


def test_what_is_completed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each command the jobs that it is for, by name, or by id where that is no word of every shell or not one job's; bounded."""
    alike = [a_job(id=f"{number:012x}", name="twin", fingerprint=str(number)) for number in range(2)]
    stage.journaled(
        *alike, a_failed_job(), a_held_job(id="dddddddddddd", name="a b"), a_failed_job(id="eeeeeeeeeeee", name="-rf")
    )
    monkeypatch.chdir(stage.root)

    def completed(*words: str) -> list[str]:
        shell = BashComplete(cli, {}, "rodin-watchd", "")
        return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]

    assert completed("retry", "") == ["lamp", "eeeeeeeeeeee"]
    assert completed("resolve", "") == ["dddddddddddd"]
    assert completed("show", "0") == ["000000000000", "000000000001"]
    assert completed("show", "ba98") == ["ba9876543210"]  # by its id, where nothing is called so
    assert completed("cancel", "") == []
    assert completed("plugins", "try", "cont") == ["contact_sheet"]
    assert completed("plugins", "rerun", "--plugin", "web") == ["webhook"]
    assert completed("accept", "ar") == ["archive"]
    monkeypatch.chdir(stage.root.parent)
    assert completed("retry", "l") == []
    assert completed("retry", "--config", str(stage.config), "l") == ["lamp"]
    stage.journal.write_bytes(b"no journal")
    stage.journal.with_name("journal.sqlite3-wal").unlink(missing_ok=True)
    assert completed("retry", "--config", str(stage.config), "l") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_jobs(shell: str, stage: Stage, share: Path) -> None:
    """By the file that the package has for it; where nothing can be read, no error is seen."""
    command, setup = SHELLS[shell]
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    stage.journaled(a_job(), a_failed_job())
    place = setup[setup.index("{") + 1 : setup.index("}")]
    changes = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PS1": "ready> ", "HOME": str(stage.root)}
    with on_a_terminal(
        ["env", "-C", str(stage.root), *command], {**stage.environment, **changes}, columns=150
    ) as terminal:
        terminal.press(f"{setup.replace('{' + place + '}', str(share / place))}; echo is-set-up=yes | tr = -\n")
        terminal.shows("is-set-up-yes")
        terminal.press("rodin-watchd retry l\t")
        terminal.shows("rodin-watchd retry lamp")
        terminal.press("\x15")  # Ctrl-U: the line is gone
        stage.config.write_text("nonsense =")
        stage.journal.unlink()
        terminal.press("rodin-watchd retry \t\t")
        terminal.press("\x15echo still-here=yes | tr = -\n")
        text = terminal.shows("still-here-yes")
        assert "Error" not in text
        assert "Traceback" not in text
