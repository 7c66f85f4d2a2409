"""`rodin-watchd plugins`: what plugins there are, whether they work, new ones, and a call repeated."""

from __future__ import annotations

import shutil
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any

import click
import tomli_w
from click.shell_completion import CompletionItem

from rodin_watchd.adapters.plugin_host import PluginCall, PluginHost
from rodin_watchd.adapters.plugin_host.finding import NAME, RESERVED, find
from rodin_watchd.adapters.spool.sealing import UnfitFileError, copy_tree, sealed
from rodin_watchd.cli.check.findings import Level, line_of
from rodin_watchd.cli.check.plugins import host_of, listed, plugin_findings
from rodin_watchd.cli.commands import ask_about
from rodin_watchd.cli.completion import job_in
from rodin_watchd.cli.context import json_option, print_json
from rodin_watchd.cli.options import config_option, load
from rodin_watchd.config import Config
from rodin_watchd.core.layout import RECEIPT
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.notifications import checked_facts
from rodin_watchd.errors import CommandRefusedError, PluginError, PluginLoadError, RodinWatchdError
from rodin_watchd.model import State
from rodin_watchd.service.plugins import check_plugin
from rodin_watchd.v1 import Event, File, Job

# ---- Writing a new plugin: commented, working, with its test --------------------------------------------------------


PLUGIN = Template('''\
"""What $name does, in one line: `rodin-watchd plugins list` shows it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from rodin_watchd.v1 import Job, hookimpl


class Settings(BaseModel):
    """The table [plugins.$name] of the config."""

    model_config = ConfigDict(extra="forbid")  # a misspelt key is told, not ignored

    note: str = Field(default="textured by the studio", description="The note for each result.")


SET_KEYS = {"note"}  # what a set's own TOML file may change, under the same [plugins.$name]; left out: nothing


@hookimpl
def rodin_process(job: Job, directory: Path, settings: Settings):
    """Change a result before it is published. `directory` is a copy of its own: raise, and nothing has happened."""
    (directory / "NOTE.txt").write_text(f"{job.name}: {settings.note}\\n", encoding="utf-8")
    print("this line is shown by `rodin-watchd show`")
    return {"note": settings.note}  # facts for the receipt


# Other hooks: rodin_accept, rodin_options, rodin_delivered, rodin_failed, rodin_held, rodin_waiting, rodin_service.
# A function names only the arguments that it wants.
''')

TEST = Template('''\
"""$name at work. Run it with: pytest -p rodin_watchd.testing test_$name.py"""

from pathlib import Path

PLUGIN = Path(__file__).with_name("$name.py")


def test_it_writes_the_note(rodin_plugin, rodin_job, rodin_result):
    """The plugin runs as in the service: in a process of its own, on a finished result."""
    plugin = rodin_plugin(PLUGIN, note="hello")
    facts = plugin.call("rodin_process", job=rodin_job, directory=rodin_result)
    assert facts == {"note": "hello"}
    assert (rodin_result / "NOTE.txt").read_text() == "suzi: hello\\n"
''')


def write_plugin(name: str, folder: Path) -> Iterator[Path]:
    """Write a plugin and its test, and yield their paths. Raises CommandRefusedError for a bad name, or what is there."""
    if name in RESERVED or not NAME.fullmatch(name):
        raise CommandRefusedError(
            f"A plugin cannot be called “{name}”.", advice="Use small letters, digits and _, beginning with a letter."
        )
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)  # whatever the umask is: a folder that others may write is refused
    texts = {folder / f"{name}.py": PLUGIN, folder / f"test_{name}.py": TEST}
    if there := [path for path in texts if path.exists()]:
        raise CommandRefusedError(f"{there[0]} is there already.", advice="Choose another name, or another folder.")
    for path, template in texts.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(template.substitute(name=name))
        path.chmod(0o644)  # one that others may write would not be loaded
        yield path


# ---- Reading a receipt again: the finished job as plugins see it. Pure ----------------------------------------------


def job_of(receipt: Mapping[str, Any], place: str) -> Job:
    """Return the job that a receipt (`job.toml`, parsed) is about. Raises LookupError, TypeError, AttributeError."""
    job = receipt["job"]
    return Job(
        id=str(job["id"]),
        name=str(job["set"]),
        folder=str(job["folder"]),
        state=State.DELIVERED.value,
        options=dict(receipt["options"]),
        files=tuple(File(f["name"], f["bytes"], f.get("sha256", ""), f["role"]) for f in receipt["inputs"]),
        created_at=job["written_at"].timestamp(),
        results=tuple(File(f["name"], f["bytes"], f["sha256"]) for f in receipt["results"]),
        credits=str(job["credits"]),
        task=str(receipt.get("task", {}).get("uuid", "")),
        place=place,
    )


# ---- Trying a plugin on a finished result, as the service would call it ---------------------------------------------


PROCESS, DELIVERED = "rodin_process", "rodin_delivered"
TRIED = (PROCESS, DELIVERED, "rodin_failed", "rodin_held", "rodin_service")


def tried(config: Config, name: str, result: Path, hook: str | None, into: Path) -> Iterator[str]:
    """Call a plugin on a result and yield what came of it, in lines. Raises CommandRefusedError, PluginError."""
    found = find(config.plugins.folders)
    if name not in found:
        raise PluginLoadError(f"There is no plugin {name}.", advice="`rodin-watchd plugins list` shows them all.")
    job = _job(result)
    with host_of(config, {name: found[name]}) as host:
        hooks = check_plugin(config, host, found[name]).hooks
        wanted = hook or next((known for known in TRIED if known in hooks), "")
        if wanted not in hooks or wanted not in TRIED:
            raise CommandRefusedError(
                f"{name} has no {wanted or 'hook'} to try; it has {', '.join(hooks)}.", advice=" "
            )
        try:
            yield from (
                _process(config, host, name, job, result, into)
                if wanted == PROCESS
                else _announce(config, host, name, wanted, job, result)
            )
        except PluginError as error:
            click.echo(error.output, nl=False)
            raise


def _job(result: Path) -> Job:
    try:
        return job_of(tomllib.loads((result / RECEIPT).read_text(encoding="utf-8")), str(result))
    except (OSError, ValueError, LookupError, TypeError):
        raise CommandRefusedError(
            f"{result} has no readable receipt ({RECEIPT}).", advice="Name a folder of the outbox."
        ) from None


def _process(config: Config, host: PluginHost, name: str, job: Job, result: Path, into: Path) -> Iterator[str]:
    if into.exists():
        raise CommandRefusedError(f"{into} is there already.", advice="Remove it, or use --into.")
    copy_tree(result, into)
    (into / RECEIPT).unlink()
    before = {file.name: file.sha256 for file in sealed(into)}
    try:
        facts = yield from _called(config, host, name, PROCESS, {"job": asdict(job), "directory": str(into.absolute())})
        after = {file.name: file.sha256 for file in sealed(into)}
        found = checked_facts(facts)
    except (PluginError, ValueError, UnfitFileError) as error:
        shutil.rmtree(into, ignore_errors=True)
        if isinstance(error, PluginError):
            raise
        raise PluginError(f"The plugin {name} left files that cannot be published: {error}.") from None
    yield from _changes(before, after)
    if found:
        yield f"For the receipt:\n{tomli_w.dumps({'plugins': {name: found}})}".rstrip()
    yield f"The changed result is in {into}."


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for file in sorted({*before, *after}):
        if file not in before:
            yield f"  added    {file}"
        elif file not in after:
            yield f"  removed  {file}"
        elif before[file] != after[file]:
            yield f"  changed  {file}"


def _announce(config: Config, host: PluginHost, name: str, hook: str, job: Job, result: Path) -> Iterator[str]:
    event = Event(f"try-{int(time.time())}", hook.removeprefix("rodin_"), time.time(), f"A try with {result}.")
    arguments: dict[str, Any] = {"event": asdict(event)}
    if hook != "rodin_service":
        arguments["job"] = asdict(job)
    if hook in (DELIVERED, "rodin_failed"):
        arguments["directory"] = str(result.absolute())
    yield from _called(config, host, name, hook, arguments)


def _called(config: Config, host: PluginHost, name: str, hook: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - lines, then JSON
    """Make the call, yield what the plugin printed, and return what it returned."""
    table = config.plugins.table(name).settings
    reply = host.call(PluginCall(name, hook, arguments, table, config.plugins.timeout_of(name)))
    yield from reply.output.splitlines()
    yield f"{hook} was called: {reply.seconds:.2f} s."
    return reply.value


def _complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a plugin, in use or not; a shell has nowhere to show an error."""
    try:
        found = find(load(ctx.params.get("config_file")).plugins.folders)
    except (RodinWatchdError, OSError):
        return []
    return [CompletionItem(name, help=found[name].where) for name in sorted(found) if name.startswith(incomplete)]


@click.group(epilog="Example: rodin-watchd plugins list")
def plugins() -> None:
    """List, check, write and try plugins; send them the final event of a job again."""


@plugins.command("list", epilog="Example: rodin-watchd plugins list")
@config_option
@json_option
def list_plugins(config_file: Path | None, *, as_json: bool) -> None:
    """List the installed plugins: whether they are in use, their hooks, their order, where they come from.

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
    """Load the plugins in use and check their settings. Exit code 1: a plugin cannot be used.

    --json prints one object: ok, and checks, each with name, verdict (ok, warning, problem), text and advice.
    """
    found = list(plugin_findings(load(config_file)))
    ok = all(finding.verdict is not Level.PROBLEM for finding in found)
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
    """Write a commented plugin called NAME, and its test. Nothing is ever overwritten."""
    for path in write_plugin(name, folder):
        click.echo(f"Written: {path}")
    click.echo(f"Next: put its folder into plugins.folders, then run `rodin-watchd plugins try {name} --result DIR`.")


@plugins.command("try", epilog="Example: rodin-watchd plugins try watermark --result outbox/chair")
@config_option
@click.argument("name", shell_complete=_complete)
@click.option(
    "--result",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The folder of a finished result, from the outbox. It is not changed.",
)
@click.option("--hook", help="Which hook to call. Default: rodin_process if the plugin has it, else rodin_delivered.")
@click.option(
    "--into", type=click.Path(path_type=Path), help="Where to write the changed copy. Default: ./NAME-result."
)
def try_plugin(config_file: Path | None, name: str, result: Path, hook: str | None, into: Path | None) -> None:
    """Call a plugin on a finished result, as the service would; it costs no credits.

    NAME is an installed plugin, in use or not. A hook that sends messages really sends them.
    """
    for line in tried(load(config_file), name, result, hook, into or Path(f"{name}-result")):
        click.echo(line)


@plugins.command(epilog="Example: rodin-watchd plugins rerun chair --plugin notify")
@config_option
@click.argument("job", shell_complete=job_in((*ENDED, State.HELD)))
@click.option("--plugin", default="", help="Only this plugin.", shell_complete=_complete)
def rerun(config_file: Path | None, job: str, plugin: str) -> None:
    """Send plugins the final event of JOB again: delivered, failed or held, with the same event id.

    JOB is an id, the beginning of an id, or a set's name.
    """
    ask_about(load(config_file), "rerun", job, {"plugin": plugin})
