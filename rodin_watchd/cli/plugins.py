"""`rodin-watchd plugins`: what plugins there are, whether they work, new ones, and a call repeated."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import tomli_w
from click.shell_completion import CompletionItem

from rodin_watchd.adapters.plugin_host import PluginCall, PluginHost
from rodin_watchd.adapters.plugin_host.finding import find
from rodin_watchd.adapters.spool.sealing import UnfitFileError, copy_tree, sealed
from rodin_watchd.cli.check.findings import Level, line_of
from rodin_watchd.cli.check.plugins import host_of, listed, plugin_findings
from rodin_watchd.cli.commands import ask_about
from rodin_watchd.cli.completion import job_in
from rodin_watchd.cli.context import json_option, print_json
from rodin_watchd.cli.new_plugin import write_package, write_plugin
from rodin_watchd.cli.options import config_option, load
from rodin_watchd.cli.samples import SERVICE_KINDS, Taken, arguments_of, as_data, event, taken_from
from rodin_watchd.config import Config
from rodin_watchd.core.kinds import DEFAULT, KINDS
from rodin_watchd.core.layout import RECEIPT
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.notifications import checked_facts, checked_refusal
from rodin_watchd.core.sidecar import Sidecar, layered, read_sidecar
from rodin_watchd.core.toml_text import loaded
from rodin_watchd.errors import CommandRefusedError, PluginError, PluginLoadError, PluginRefusedError, RodinWatchdError
from rodin_watchd.model import State
from rodin_watchd.service.plugins import check_plugin
from rodin_watchd.service.steps.plugins import checked_options
from rodin_watchd.v1 import Event, File, FileSet, Job, Waiting

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


# ---- Trying a plugin: one call of a hook, as the service would make it ----------------------------------------------


ACCEPT, OPTIONS, PROCESS, DELIVERED = "rodin_accept", "rodin_options", "rodin_process", "rodin_delivered"
TRIED = (
    *(PROCESS, DELIVERED, ACCEPT, OPTIONS),
    *("rodin_failed", "rodin_held", "rodin_chosen", "rodin_waiting", "rodin_service", "rodin_configure"),
)
"""The hooks, those first that a try without `--hook` prefers."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a try is made with; None: a sample that is made for it."""

    hook: str | None = None
    result: Path | None = None  # a folder of the outbox
    inputs: Path | None = None  # a folder with a set's files
    kind: str = DEFAULT.name  # of a sample
    event: str = SERVICE_KINDS[0]  # of the service


class Trial:
    """A try of a plugin. `folder` is a new one, for samples and copies; `into` is where a changed result goes."""

    def __init__(self, config: Config, host: PluginHost, name: str, wanted: Wanted, folder: Path, into: Path) -> None:
        self._config = config
        self._host = host
        self._name = name
        self._wanted = wanted
        self._folder = folder
        self._into = into
        self._said = self._read_sidecar()
        self._kind = self._said.kind or wanted.kind

    def _read_sidecar(self) -> Sidecar:
        """Return what the set's TOML file says; nothing where there is none. Raises SidecarError, CommandRefusedError."""
        inputs = self._wanted.inputs
        tomls = sorted(path for path in inputs.iterdir() if path.suffix.lower() == ".toml") if inputs else []
        if not tomls:
            return Sidecar()
        if len(tomls) > 1:
            raise CommandRefusedError(f"{inputs} has {len(tomls)} TOML files.", advice="A set has one at most.")
        known = frozenset(find(self._config.plugins.folders))
        return read_sidecar(tomls[0].read_bytes(), tomls[0].name, known)

    def run(self, hook: str) -> Iterator[str]:
        """Call the hook, and yield in lines with what it was called and what came of it. Raises PluginError, CommandRefusedError."""
        arguments = self._arguments(hook)
        yield from _described(hook, arguments)
        try:
            yield from self._process(arguments) if hook == PROCESS else self._call(hook, arguments)
        except PluginError as error:
            yield from error.output.splitlines()
            raise

    def _arguments(self, hook: str) -> dict[str, Any]:
        if hook in (ACCEPT, OPTIONS) and self._wanted.inputs:
            found = self._taken(self._wanted.inputs)
            if hook == ACCEPT:
                return {"fileset": found.fileset, "directory": found.directory}
            return {"job": found.job, "options": dict(found.job.options), "directory": found.directory}
        if hook in (PROCESS, DELIVERED) and self._wanted.result:
            job = _job(self._wanted.result, self._config.folders.root)
            about = {} if hook == PROCESS else {"event": event(job.state, job)}
            return {"job": job, "directory": self._wanted.result.absolute(), **about}
        if hook == "rodin_service":
            return {"event": event(self._wanted.event)}
        return arguments_of(hook, self._folder, self._kind)

    def _taken(self, inputs: Path) -> Taken:
        copy = self._folder / "inputs"
        try:
            copy_tree(inputs, copy)
        except (OSError, UnfitFileError) as error:
            raise CommandRefusedError(
                f"{inputs} cannot be read: {error}.", advice="Name the folder of a set."
            ) from None
        options = layered(self._config.defaults, self._said, kind=KINDS[self._kind])
        return taken_from(copy, inputs.absolute().name, self._kind, options)

    def _call(self, hook: str, arguments: Mapping[str, Any]) -> Iterator[str]:
        value = yield from self._called(hook, arguments)
        if hook == ACCEPT:
            yield from self._judged(value)
        elif hook == OPTIONS:
            yield from self._chosen(arguments["options"], value)

    def _judged(self, value: Any) -> Iterator[str]:  # noqa: ANN401 - whatever the plugin returned
        try:
            refusal = checked_refusal(value)
        except ValueError as error:
            raise PluginError(f"{ACCEPT} returned {error}.") from None
        if refusal is None:
            yield "The set is accepted."
            return
        refused = PluginRefusedError(
            f"The plugin {self._name} refused the set: {refusal.reason}", advice=refusal.advice
        )
        yield refused.message
        yield f"What to do: {refused.advice_given}"

    def _chosen(self, before: Mapping[str, Any], value: Any) -> Iterator[str]:  # noqa: ANN401 - as above
        chosen = checked_options(KINDS[self._kind].options, self._name, value or {})
        for key, choice in chosen.items():
            yield f"  {key} = {choice!r}, {f'before {before[key]!r}' if key in before else 'not set before'}"
        if not chosen:
            yield "No option is changed."

    def _process(self, arguments: Mapping[str, Any]) -> Iterator[str]:
        into = self._into
        if into.exists():
            raise CommandRefusedError(f"{into} is there already.", advice="Remove it, or use --into.")
        copy_tree(arguments["directory"], into)
        (into / RECEIPT).unlink(missing_ok=True)
        before = {file.name: file.sha256 for file in sealed(into)}
        try:
            facts = yield from self._called(PROCESS, {**arguments, "directory": into.absolute()})
            after = {file.name: file.sha256 for file in sealed(into)}
            found = checked_facts(facts)
        except (PluginError, ValueError, UnfitFileError) as error:
            shutil.rmtree(into, ignore_errors=True)
            if isinstance(error, PluginError):
                raise
            raise PluginError(f"The plugin {self._name} left files that cannot be published: {error}.") from None
        yield from _changes(before, after)
        if found:
            yield f"For the receipt:\n{tomli_w.dumps({'plugins': {self._name: found}})}".rstrip()
        yield f"The changed result is in {into}."

    def _called(self, hook: str, arguments: Mapping[str, Any]) -> Generator[str, None, Any]:
        """Make the call, yield what the plugin printed, and return what it returned."""
        data = {name: as_data(value) for name, value in arguments.items()}
        settings = self._config.plugins
        own = {} if hook in ("rodin_configure", "rodin_service") else self._said.plugins.get(self._name, {})
        table = settings.table(self._name).settings
        reply = self._host.call(PluginCall(self._name, hook, data, table, settings.timeout_of(self._name), own))
        yield from reply.output.splitlines()
        yield f"{hook} was called: {reply.seconds:.2f} s."
        return reply.value


def tried(config: Config, name: str, wanted: Wanted, into: Path) -> Iterator[str]:
    """Call a plugin's hook and yield what came of it, in lines. Raises CommandRefusedError, PluginError, SidecarError."""
    found = find(config.plugins.folders)
    if name not in found:
        raise PluginLoadError(f"There is no plugin {name}.", advice="`rodin-watchd plugins list` shows them all.")
    folder = tempfile.TemporaryDirectory(prefix="rodin-watchd-try-")
    with host_of(config, {name: found[name]}) as host, folder as samples:
        trial = Trial(config, host, name, wanted, Path(samples), into)
        hooks = check_plugin(config, host, found[name]).hooks
        hook = wanted.hook or next(known for known in TRIED if known in hooks)
        if hook not in hooks:
            raise CommandRefusedError(f"{name} has no hook {hook}; it has {', '.join(hooks)}.", advice=" ")
        if wanted.result and hook not in (PROCESS, DELIVERED):
            raise CommandRefusedError(f"{hook} is not called with a result.", advice="Leave out --result.")
        yield from trial.run(hook)


def _described(hook: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Say in a line each what a hook is called with."""
    yield f"{hook} is called{' with:' if arguments else '.'}"
    for name, value in arguments.items():
        if isinstance(value, Path):
            files = sorted(path.relative_to(value).as_posix() for path in value.rglob("*") if path.is_file())
            yield f"  {name}: {', '.join(files)}"
        elif isinstance(value, Job):
            why = f": {value.problem.message}" if value.problem else ""
            yield f"  {name}: “{value.name}”, {value.state}{why}"
        elif isinstance(value, Event):
            yield f"  {name}: {value.kind}: {value.message}"
        elif isinstance(value, FileSet | Waiting):
            yield f"  {name}: “{value.name}”, {value.reason if isinstance(value, Waiting) else value.kind}"
        else:
            yield f"  {name}: {', '.join(f'{key} = {one!r}' for key, one in value.items()) or 'none'}"


def _job(result: Path, root: Path) -> Job:
    try:
        place = result.absolute().relative_to(root).as_posix() if result.absolute().is_relative_to(root) else ""
        return job_of(loaded((result / RECEIPT).read_bytes()), place)
    except (OSError, ValueError, LookupError, TypeError):
        raise CommandRefusedError(
            f"{result} has no readable receipt ({RECEIPT}).", advice="Name a folder of the outbox."
        ) from None


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for file in sorted({*before, *after}):
        if file not in before:
            yield f"  added    {file}"
        elif file not in after:
            yield f"  removed  {file}"
        elif before[file] != after[file]:
            yield f"  changed  {file}"


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
    help="Where to write it; for a single file, a folder of plugins.folders. Default: here.",
)
@click.option("--package", is_flag=True, help="Write a package that pip installs, in a folder of its own.")
def new(name: str, folder: Path, *, package: bool) -> None:
    """Write a commented plugin called NAME, and its test: as a single file, or as a package. Nothing is ever overwritten."""
    for path in (write_package if package else write_plugin)(name, folder):
        click.echo(f"Written: {path}")
    if package:
        click.echo(f"Next: see its README.md. Once it is installed, `rodin-watchd plugins try {name}` runs it.")
    else:
        click.echo(f"Next: put its folder into plugins.folders, then run `rodin-watchd plugins try {name}`.")


@plugins.command("try", epilog="Example: rodin-watchd plugins try watermark --result outbox/chair")
@config_option
@click.argument("name", shell_complete=_complete)
@click.option("--hook", help="Which hook to call. Default: the plugin's rodin_process, else another one that it has.")
@click.option(
    "--result",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The folder of a finished result, from the outbox, for rodin_process and rodin_delivered. It is not changed. "
    "Default: a sample.",
)
@click.option(
    "--set",
    "inputs",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with a set's model, image and TOML file, for rodin_accept and rodin_options; what the TOML file says to the "
    "plugin holds for every hook of a set. It is not changed. Default: a sample.",
)
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default=DEFAULT.name,
    show_default=True,
    help="The kind of a sample's job.",
)
@click.option(
    "--event",
    "event_kind",
    type=click.Choice(SERVICE_KINDS),
    default=SERVICE_KINDS[0],
    show_default=True,
    help="The event for rodin_service.",
)
@click.option(
    "--into", type=click.Path(path_type=Path), help="Where to write the changed copy. Default: ./NAME-result."
)
def try_plugin(  # noqa: PLR0913 - each is an option
    config_file: Path | None,
    *,
    name: str,
    hook: str | None,
    result: Path | None,
    inputs: Path | None,
    kind: str,
    event_kind: str,
    into: Path | None,
) -> None:
    """Call a hook of a plugin, as the service would; it costs no credits.

    NAME is an installed plugin, in use or not. Sets, jobs, folders and events are samples that are made for the try, unless you name
    your own. A hook that sends messages really sends them.
    """
    wanted = Wanted(hook, result, inputs, kind, event_kind)
    for line in tried(load(config_file), name, wanted, into or Path(f"{name}-result")):
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
