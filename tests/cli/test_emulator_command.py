"""`emulator`: the stand-in for the vendor as a command."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from cli_stage import PROGRAM, environment
from click.testing import CliRunner

from rodin_watchd.cli.emulator import command_for
from rodin_watchd.cli.main import cli
from rodin_watchd.emulator.faults import FAULTS

WITHOUT_EXTRA = """
import sys
sys.modules["starlette"] = None  # as if it were not installed
from rodin_watchd.cli.main import main
main()
"""


def test_it_runs_until_told_and_shows_its_ledger() -> None:
    """It says where it is and which key it takes, answers there, and ends with the ledger and exit code 0."""
    command = [
        *PROGRAM,
        "emulator",
        "--port",
        "0",
        "--key",
        "my-key-123",
        "--balance",
        "7.5",
        "--fault",
        "lost-answer@2",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout
        banner = [process.stdout.readline() for _ in range(6)]
        base_url = next(line.split()[-1] for line in banner if "base URL" in line)
        assert any("lost-answer" in line for line in banner)
        headers = {"Authorization": "Bearer my-key-123"}
        answer = requests.get(f"{base_url}/api/v2/check_balance", headers=headers, timeout=10)
        assert answer.json()["balance"] == 7.5
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(20) == 0
    assert "spent 0, left 7.5" in rest


def test_help_lists_every_fault() -> None:
    """Each fault that can be asked for stands in the help."""
    told = CliRunner().invoke(cli, ["emulator", "--help"]).output
    assert all(f"  {name} " in told for name in FAULTS)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--fault", "lots-answer"), "Did you mean 'lost-answer'?"),
        (("--fault", "submit-slow=soon"), "makes no sense"),
        (("--balance", "much"), "number of credits"),
        (("--balance", "-1"), "number of credits"),
        (("--balance", "inf"), "number of credits"),
        (("--port", "70000"), "70000"),
        (("--generating", "-1"), "--generating"),
    ],
)
def test_wrong_options_are_wrong_use(options: tuple[str, ...], reason: str) -> None:
    """A fault or number that makes no sense is wrong use, with the reason."""
    result = CliRunner().invoke(cli, ["emulator", *options])
    assert result.exit_code == 2
    assert reason in result.output


def test_a_port_that_is_not_to_be_had_is_told() -> None:
    """An address that is not this machine's is told in words."""
    command = [*PROGRAM, "emulator", "--host", "192.0.2.1"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert run.returncode == 2
    assert run.stderr.startswith("Error: The emulator cannot listen on 192.0.2.1")
    assert "--port" in run.stderr


@pytest.mark.parametrize("command", ["emulator", "demo"])
def test_without_the_extra_it_is_said_how_to_install_it(command: str, tmp_path: Path) -> None:
    """Where the optional packages are missing, the command names what to install; its help still works."""
    program = [sys.executable, "-c", WITHOUT_EXTRA, command]
    run = subprocess.run(program, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 2
    assert 'pip install "rodin-watchd[emulator]"' in run.stderr
    assert "Traceback" not in run.stderr
    told = subprocess.run([*program, "--help"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert told.returncode == 0
    assert f"Example: rodin-watchd {command}" in told.stdout


def test_one_port_of_the_emulator() -> None:
    """The documentation has the address of the default, and `check` names the command that listens where the configuration says."""
    page = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text()
    [address] = re.findall(r'^base_url = "([^"]+)"$', page, re.MULTILINE)
    assert f"default: {urlsplit(address).port};" in " ".join(
        CliRunner().invoke(cli, ["emulator", "--help"]).output.split()
    )
    assert f"\n{command_for(address)}\n" in page
    assert re.findall(r"^rodin-watchd emulator.*--port", page, re.MULTILINE) == []
    assert command_for("http://[::1]:9/") == "rodin-watchd emulator --port 9"
    assert command_for("https://api.hyper3d.com") == ""
