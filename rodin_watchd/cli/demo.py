"""`rodin-watchd demo`: an emulated vendor, a real daemon, three sets; no key, no cost, nothing but this machine."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import click

from rodin_watchd.cli.demo_stage import KEY, Play, running, watched
from rodin_watchd.cli.demo_view import closing_words, shown
from rodin_watchd.cli.extras import needs_emulator
from rodin_watchd.errors import DiskError, RodinWatchdError


@click.command(epilog="Example: rodin-watchd demo --dir ./demo")
@click.option(
    "--dir",
    "--keep",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to show it in, new or empty. Default: a new one for temporary files. It stays.",
)
def demo(folder: Path | None) -> None:
    """Show it all on this machine, in less than a minute: an emulated vendor, the real service, three sets.

    No API key, no cost, no network. The folder with the results stays.
    """
    with needs_emulator():
        from rodin_watchd.emulator.server import Emulator, EmulatorSettings  # noqa: PLC0415 - an optional extra
    _end_like_ctrl_c()
    root = _new_folder(folder)
    click.echo(
        f"In {root}: an emulated vendor, a real service, and three sets are dropped. This takes a quarter of a minute."
    )
    try:
        with Emulator(EmulatorSettings(api_keys=(KEY,), waiting_seconds=1.5, generating_seconds=4.0)) as vendor:
            play = Play(root, vendor.base_url)
            with running(play) as service, shown() as show:
                jobs = watched(play, service, show)
            ledger = vendor.ledger()
    except KeyboardInterrupt:
        click.echo(f"\nStopped. What was made so far is in {root}.")
        raise SystemExit(1) from None
    except RodinWatchdError as error:
        error.advice_given = f"{error.advice_given} All that was made is in {root}.".strip()
        raise
    click.echo(closing_words(play, jobs, ledger["spent"]))


def _end_like_ctrl_c() -> None:
    """Let whatever ends the demo end its service, too; what is ignored (nohup) stays so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _new_folder(folder: Path | None) -> Path:
    """Make the folder. Raises DiskError if it cannot be made or holds something."""
    try:
        if folder is None:
            return Path(tempfile.mkdtemp(prefix="rodin-demo-"))
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DiskError(f"{folder} is not empty.", advice="The demo wants a folder of its own.")
    except OSError as error:
        advice = "Name another one with --dir."
        raise DiskError(f"{folder} cannot be made: {error.strerror}.", advice=advice) from None
    return folder.absolute()
