"""`rodin-watchd plugins`: what plugins there are, whether they work, new ones, and telling them once more."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from rodin_watchd.cli.act import ask_about
from rodin_watchd.cli.context import config_option, json_option, load, print_json
from rodin_watchd.cli.findings import Verdict, line_of
from rodin_watchd.cli.plugin_checks import listed, plugin_findings
from rodin_watchd.cli.plugin_new import write_plugin
from rodin_watchd.cli.plugin_try import tried


@click.group(epilog="Example: rodin-watchd plugins list")
def plugins() -> None:
    """List, check, write and try plugins; have them told once more what became of a job."""


@plugins.command("list", epilog="Example: rodin-watchd plugins list")
@config_option
@json_option
def list_plugins(config_file: Path | None, *, as_json: bool) -> None:
    """List the plugins that are installed: in use or not, their hooks, their order, where they come from.

    --json prints a list of objects: name, state (in use, off, cannot be loaded), hooks, order, origin (shipped,
    installed, file), where, about, problem.
    """
    found = list(listed(load(config_file)))
    if as_json:
        print_json([asdict(plugin) for plugin in found])
        return
    for plugin in found:
        click.echo(f"{plugin.name}: {plugin.state}" + (f", order {plugin.order}" if plugin.hooks else ""))
        for text in filter(
            None, (plugin.about, ", ".join(plugin.hooks), plugin.problem, f"{plugin.origin}: {plugin.where}")
        ):
            click.echo(f"    {text}")


@plugins.command(epilog="Example: rodin-watchd plugins check")
@config_option
@json_option
def check(config_file: Path | None, *, as_json: bool) -> None:
    """Load the plugins in use and check their settings; 1 is the exit code if one cannot be used.

    --json prints one object: ok, and checks, each with name, verdict (ok, warning, problem), text and advice.
    """
    found = list(plugin_findings(load(config_file)))
    ok = all(finding.verdict is not Verdict.PROBLEM for finding in found)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(finding) for finding in found]})
    else:
        for finding in found:
            click.echo(line_of(finding))
    sys.exit(0 if ok else 1)


@plugins.command(epilog="Example: rodin-watchd plugins new watermark --folder plugins")
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where to write it; a folder of plugins.folders. Default: here.",
)
def new(name: str, folder: Path) -> None:
    """Write a commented plugin called NAME, and its test beside it. Nothing is ever overwritten."""
    for path in write_plugin(name, folder):
        click.echo(f"Written: {path}")
    click.echo(f"Next: put its folder into plugins.folders, then run `rodin-watchd plugins try {name} --result DIR`.")


@plugins.command("try", epilog="Example: rodin-watchd plugins try watermark --result outbox/chair")
@config_option
@click.argument("name")
@click.option(
    "--result",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The folder of a finished result, from the outbox; it is not changed.",
)
@click.option("--hook", help="Which hook to call. Default: rodin_process if the plugin has it, else rodin_delivered.")
@click.option("--into", type=click.Path(path_type=Path), help="Where the changed copy is left. Default: ./NAME-result.")
def try_plugin(config_file: Path | None, name: str, result: Path, hook: str | None, into: Path | None) -> None:
    """Call a plugin on a finished result, as the service would; it costs no credits.

    NAME is a plugin that is installed, in use or not. A hook that tells people really tells them.
    """
    for line in tried(load(config_file), name, result, hook, into or Path(f"{name}-result")):
        click.echo(line)


@plugins.command(epilog="Example: rodin-watchd plugins rerun chair --plugin notify")
@config_option
@click.argument("job")
@click.option("--plugin", default="", help="Only this plugin.")
def rerun(config_file: Path | None, job: str, plugin: str) -> None:
    """Have plugins told once more what became of JOB: delivered, failed or held; with the old event id.

    JOB is an id, the beginning of one, or a set's name.
    """
    ask_about(load(config_file), "rerun", job, {"plugin": plugin})
