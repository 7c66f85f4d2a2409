"""`rodin-watchd check` and `balance`: whether all is in order, before money is spent."""

from __future__ import annotations

import sys
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import click

from rodin_watchd.cli.check_key import balance_of, credits_text, textures
from rodin_watchd.cli.checks import findings
from rodin_watchd.cli.context import config_option, find, json_option, print_json
from rodin_watchd.cli.findings import Verdict, line_of
from rodin_watchd.config import load_config


@click.command(epilog="Example: rodin-watchd check --config /srv/textures/config.toml")
@config_option
@json_option
@click.option("--offline", is_flag=True, help="Make no call to the vendor.")
@click.option("--config-only", is_flag=True, help="Check nothing but the config file.")
def check(config_file: Path | None, *, as_json: bool, offline: bool, config_only: bool) -> None:
    """Check config, folders, rights, limits, room, clock, journal, unit, key and balance; 1 is the exit code for a problem.

    Run it as the user that the service runs as, or as root: rights are then judged as those of the running service. It makes one call, which is free, and changes nothing; in the inbox a
    hidden file comes and goes, to see whether file events work. The key is never printed.

    --json prints one object: ok (no problem found) and checks, each with name, verdict (ok, warning, problem), text
    and advice.
    """
    found = []
    for finding in islice(findings(config_file, offline=offline), 1 if config_only else None):
        found.append(finding)
        if not as_json:
            click.echo(line_of(finding))
    ok = all(finding.verdict is not Verdict.PROBLEM for finding in found)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(finding) for finding in found]})
    sys.exit(0 if ok else 1)


@click.command(epilog="Example: rodin-watchd balance")
@config_option
@json_option
def balance(config_file: Path | None, *, as_json: bool) -> None:
    """Ask the vendor how many credits are left; the call is free.

    --json prints one object: credits, and textures (how many they pay).
    """
    path = find(config_file)
    left = balance_of(path, load_config(path))
    if as_json:
        print_json({"credits": left, "textures": textures(left)})
    else:
        click.echo(credits_text(left))
