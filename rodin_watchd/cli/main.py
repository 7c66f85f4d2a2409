"""The command `rodin-watchd`: a table of commands, each loaded when it is called.

Exit codes: 0 done, 1 failed, 2 wrong use (and a wrong configuration is wrong use).
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Mapping

import click

from rodin_watchd import __version__
from rodin_watchd.errors import ConfigError, RodinWatchdError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("setup:init", "Make the folders and a commented config.toml."),
    "demo": ("demo:demo", "Show the whole service on this machine, with an emulated vendor; no key, no cost."),
    "run": ("run:run", "Watch the inbox until SIGTERM or Ctrl-C."),
    "web": ("web:web", "Serve the page in the browser."),
    "status": ("status:status", "Show what waits, runs and is held, and the newest results."),
    "list": ("status:list_jobs", "List all jobs, newest first."),
    "show": ("status:show", "Show one job with its complete history."),
    "explain": ("explain:explain", "Explain why a file or set waits, is ignored or was refused."),
    "retry": ("commands:retry", "Take a failed job up again."),
    "approve": ("commands:approve", "Approve a very large drop of sets."),
    "resolve": ("commands:resolve", "Decide about a held job."),
    "choose": ("commands:choose", "Choose one of the results of a set that makes several."),
    "clear": ("commands:clear", "Move the folders of failed sets from failed/ to the archive."),
    "cancel": ("commands:cancel", "Stop a job before its results arrive."),
    "pause": ("commands:pause", "Take and submit nothing until `resume`."),
    "resume": ("commands:resume", "Continue after `pause`."),
    "store": ("store:store", "Copy the store from the journal to a database, or back."),
    "accept": ("commands:accept", "Accept a folder that was moved to another disk or share."),
    "check": ("check:check", "Check config, folders, permissions, limits, key and balance."),
    "health": ("health:health", "Print the health in one line, with an exit code, for probes."),
    "balance": ("check:balance", "Show the credits in the vendor's account."),
    "plugins": ("plugins:plugins", "List, check, write and try plugins; send events again."),
    "worker": ("worker:worker", "Carry out plugins' calls on this machine, for a service elsewhere."),
    "workers": ("worker:workers", "Show the workers of the farm, and the queues of calls."),
    "install-service": ("systemd:install_service", "Install a systemd service, for the machine or for you."),
    "uninstall-service": ("systemd:uninstall_service", "Remove the systemd service; all data stays."),
    "emulator": ("emulator:emulator", "Run an emulator of the vendor's API on this machine."),
}
"""Name → (module:attribute below `rodin_watchd.cli`, short help): `--help` loads none of them."""


class _LazyGroup(click.Group):
    """Commands from the table, in its order."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"rodin_watchd.cli.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table, without loading what it names."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, found) for name, (_, found) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="rodin-watchd")
def cli() -> None:
    """Texture 3D models, and make new ones, through the Hyper3D Rodin API: drop files into a folder."""


def main() -> None:
    """Run the command line and exit; what users or their machine can correct is printed in words, never as a traceback."""
    _open_closed_streams()
    _print_any_text()
    try:
        cli(prog_name="rodin-watchd")
    except RodinWatchdError as error:
        click.echo(f"Error: {error.message}\n{error.advice_in_full}".rstrip(), err=True)
        sys.exit(exit_code(error))
    except OSError as error:
        click.echo(f"Error: {in_words(error)}", err=True)
        sys.exit(1)


def in_words(error: OSError) -> str:
    """Return what the machine refused, and for which file."""
    where = f": {error.filename!r}" if error.filename else ""
    return f"{error.strerror or error}{where}."


def exit_code(error: RodinWatchdError) -> int:
    """Return the exit code of a command that an error of ours ended."""
    return 2 if isinstance(error, ConfigError) else 1


def _open_closed_streams() -> None:
    """Lead standard streams that are closed nowhere: else a file that is opened next, the journal, would get their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115 - for good


def _print_any_text() -> None:
    """Let characters that the terminal's encoding does not have come out escaped, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
