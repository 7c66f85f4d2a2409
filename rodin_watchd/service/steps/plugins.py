"""What plugins do in a job's steps: refuse a set, choose its options, work on its results."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rodin_watchd.adapters.spool.beneath import FULL_ERRNOS, disk_errors
from rodin_watchd.adapters.spool.sealing import UnfitFileError, copy_tree, link_tree, sealed
from rodin_watchd.core.kind_options import Options
from rodin_watchd.core.kinds import kind_of
from rodin_watchd.core.notifications import checked_facts, checked_refusal, public_job, public_set
from rodin_watchd.core.options import frozen
from rodin_watchd.errors import (
    DiskError,
    PluginAsideError,
    PluginError,
    PluginGreedyError,
    PluginRefusedError,
    PluginRequiredError,
    PluginSettingsError,
    RoomError,
    SidecarError,
)
from rodin_watchd.hooks.leftovers import remove, size_of
from rodin_watchd.model import Job, ResultFile
from rodin_watchd.service.plugins import WorkFolder
from rodin_watchd.service.steps.tools import Tools
from rodin_watchd.v1 import to_data

ACCEPT, OPTIONS, PROCESS = "rodin_accept", "rodin_options", "rodin_process"


# ---- before anything is sent ----------------------------------------------------------------------------------------


def consulted(tools: Tools, job: Job) -> Job:
    """Ask the plugins about a set that was taken and checked: its settings, whether they accept it, its options.

    Raises SidecarError, PluginRefusedError, PluginError.
    """
    _check_settings(tools, job)
    for plugin in tools.plugins.of(ACCEPT):
        with _call_of(plugin, ACCEPT):
            _have_accepted(tools, job, plugin)
    for plugin in tools.plugins.of(OPTIONS):
        arguments = {"job": asdict(public_job(job)), "options": dict(job.options)}
        with _call_of(plugin, OPTIONS):
            wanted = _asked_with_inputs(tools, job, OPTIONS, plugin, arguments)
            job = replace(job, options={**job.options, **checked_options(kind_of(job).options, plugin, wanted or {})})
    return job


@contextlib.contextmanager
def _call_of(plugin: str, hook: str) -> Iterator[None]:
    """Note in what goes wrong in a plugin's call, or what it says against a set, whose call it was."""
    try:
        yield
    except (PluginError, PluginRefusedError) as error:
        error.is_about(plugin, hook)
        raise


def _have_accepted(tools: Tools, job: Job, plugin: str) -> None:
    """Ask a plugin whether it accepts a set. Raises PluginRefusedError, PluginError."""
    arguments = {"fileset": asdict(public_set(job, job.files))}
    answer = _asked_with_inputs(tools, job, ACCEPT, plugin, arguments, _refusal_data)
    if refusal := checked_refusal(answer):
        raise PluginRefusedError(f"The plugin {plugin} refused the set: {refusal.reason}", advice=refusal.advice)


def _check_settings(tools: Tools, job: Job) -> None:
    for plugin, table in job.plugins.items():
        if plugin in tools.plugins.names:
            try:
                tools.plugins.check(plugin, table)
            except PluginSettingsError as error:
                wrong = SidecarError(f"The settings [plugins.{plugin}] cannot be used: {error.message}")
                wrong.is_about(plugin)
                raise wrong from error


def _refusal_data(value: Any) -> Mapping[str, str] | None:  # noqa: ANN401 - whatever a plugin returned
    """Return what is to be recorded of a plugin's answer about a set."""
    try:
        refusal = checked_refusal(value)
    except ValueError as error:
        raise PluginError(f"rodin_accept returned {error}.") from None
    return to_data(refusal) if refusal else None


def _asked_with_inputs(
    tools: Tools,
    job: Job,
    hook: str,
    plugin: str,
    arguments: Mapping[str, Any],
    finish: Callable[[Any], Any] = lambda value: value,
) -> Any:  # noqa: ANN401 - JSON out
    """Call a hook with a copy of the set's files."""
    folder = _work_folder(tools, job, plugin, tools.spool.inputs(job.id))
    try:
        return tools.plugins.ask(job, hook, plugin, arguments, folder, finish)
    finally:
        remove(folder.copy)


def checked_options(model: type[Options], plugin: str, wanted: Any) -> Mapping[str, Any]:  # noqa: ANN401 - whatever a plugin returned
    """Return the options that a plugin chose, checked as a sidecar's are. Raises PluginRefusedError."""
    try:
        return frozen(model.model_validate(wanted))
    except ValidationError as error:
        message = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise PluginRefusedError(
            f"The plugin {plugin} chose options that the vendor does not have: {message}."
        ) from error


# ---- results --------------------------------------------------------------------------------------------------------


def processed(tools: Tools, job: Job) -> Job:
    """Have the plugins work on the built result, each on a copy of its own of what the one before it left.

    Returns the job with what came out; raises PluginError when it is to be tried again.
    """
    current, facts, fresh = tools.spool.result(job.id), {}, False
    for plugin in tools.plugins.of(PROCESS):
        after = tools.spool.after(job.id, plugin)
        fresh = fresh or not (tools.plugins.is_recorded(job, PROCESS, plugin) and after.is_dir())
        if fresh:
            tools.plugins.drop(job, PROCESS, plugin)
        with _call_of(plugin, PROCESS):
            try:
                facts[plugin] = _worked_on(tools, job, plugin, current, after)
            except PluginError as error:
                facts[plugin] = {"failed": _why_without(tools, job, plugin, error)}
            else:
                current = after
    if current == tools.spool.result(job.id):
        return replace(job, processed=(), facts=facts)
    return replace(job, processed=_taken_over(tools, job, current), facts=facts)


def _why_without(tools: Tools, job: Job, plugin: str, error: PluginError) -> str:
    """Return why the result goes on without a plugin's work; raise to have it tried again, or to fail the job."""
    required = tools.plugins.settings.table(plugin).required
    if isinstance(error, PluginAsideError) and required:
        raise error
    if not isinstance(error, PluginAsideError) and job.attempts + 1 < tools.plugins.settings.tries:
        raise error
    if required:
        raise PluginRequiredError(f"{error.message} Its work is required.") from error
    return error.message


def _worked_on(tools: Tools, job: Job, plugin: str, current: Path, after: Path) -> Mapping[str, Any]:
    """Return the plugin's facts; its work is in `after` then."""
    folder = _work_folder(tools, job, plugin, current, returns=True)

    def finish(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - whatever the plugin returned
        return _finished(plugin, folder.copy, after, value)

    arguments = {"job": asdict(public_job(job))}
    try:
        return dict(tools.plugins.ask(job, PROCESS, plugin, arguments, folder, finish))
    finally:
        remove(folder.copy)


def _finished(plugin: str, copy: Path, after: Path, value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - as above
    """Make what is in the copy the result of the plugin's work, durably. Raises PluginError for what cannot be published.

    Taken are files of our own: what a thread that the plugin left behind still writes goes nowhere.
    """
    try:
        facts = checked_facts(value)
    except ValueError as error:
        raise PluginError(f"The plugin {plugin} returned data that a receipt cannot contain: {error}.") from None
    ours = copy.with_name(f"{copy.name}-taken")
    try:
        with _errors_of(plugin):
            copy_tree(copy, ours)
            if not sealed(ours):
                raise PluginError(f"The plugin {plugin} removed the whole result.")
        remove(after)
        os.rename(ours, after)  # noqa: PTH104 - next to `sealed`, which made all of it durable
    finally:
        remove(ours)
    return facts


@contextlib.contextmanager
def _errors_of(plugin: str) -> Iterator[None]:
    """Blame the plugin for the state of its copy; the machine only for what is the machine's."""
    try:
        yield
    except (OSError, UnfitFileError) as error:
        if isinstance(error, OSError) and error.errno in _MACHINES_OWN:
            kind = RoomError if error.errno in FULL_ERRNOS else DiskError
            raise kind.of("The disk of the work folder", error) from error
        raise PluginError(f"The plugin {plugin} left files that cannot be published: {error}.") from None


_MACHINES_OWN = FULL_ERRNOS | {errno.EIO, errno.EROFS, errno.ESTALE}


def _taken_over(tools: Tools, job: Job, current: Path) -> tuple[ResultFile, ...]:
    """Make what the last plugin left the job's results."""
    known = {(r.name, r.sha256): r.original_name for r in job.results}
    found = sealed(current)
    target = tools.spool.processed(job.id)
    rebuild(target, current)
    rebuild(tools.spool.result(job.id), target)
    return tuple(replace(f, original_name=known.get((f.name, f.sha256), "")) for f in found)


def rebuild(target: Path, source: Path) -> None:
    """Make a folder from the files of another. Raises DiskError, OSError."""
    with disk_errors(f"{target} cannot be written"):
        remove(target)
        link_tree(source, target)


# ---- copies ---------------------------------------------------------------------------------------------------------


def _work_folder(tools: Tools, job: Job, plugin: str, source: Path, *, returns: bool = False) -> WorkFolder:
    """Return what a plugin works on: a copy of a folder, which is not made yet."""
    copy = tools.spool.working_copy(job.id)

    def lay_out() -> None:
        with disk_errors(f"{copy} cannot be written"):
            copy_tree(source, copy)

    return WorkFolder(source, copy, lay_out, returns, _watch(tools, plugin, copy))


def _watch(tools: Tools, plugin: str, copy: Path) -> Callable[[], None]:
    """Return what ends a call that fills the disk."""
    most = tools.plugins.settings.disk_bytes_of(plugin)

    def look() -> None:
        if size_of(copy) > most:
            raise PluginGreedyError(f"The plugin {plugin} wrote more than {most // 1_000_000:,} MB and was ended.")
        if tools.spool.free_bytes() < tools.reserve_bytes // 2:
            raise RoomError(f"There was too little free space on the disk of {tools.spool.work} while {plugin} worked.")

    return look
