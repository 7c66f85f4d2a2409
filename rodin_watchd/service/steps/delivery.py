"""The last steps, all of them local: results to the outbox, inputs to the archive or to `failed/`."""

from __future__ import annotations

import os
from dataclasses import replace

from rodin_watchd import __version__
from rodin_watchd.adapters.spool.moving import Destination
from rodin_watchd.core.formats import MODEL_EXTENSIONS
from rodin_watchd.core.layout import ARCHIVE, FAILED, OUTBOX, RECEIPT, REPORT, REPORT_DATA, RESULTS
from rodin_watchd.core.names import split_name
from rodin_watchd.core.receipt import receipt, report_text, report_toml
from rodin_watchd.errors import FileRefusedError, ResultsGoneError
from rodin_watchd.model import Done, InputFile, Job, Outcome, Role, Sequel, Signature
from rodin_watchd.service.steps.files import (
    in_order,
    is_left_to_others,
    left_alone,
    left_behind,
    noting_changes,
    put_away,
    remove_emptied_folders,
    remove_set_folder,
    write_beside,
)
from rodin_watchd.service.steps.plugins import PROCESS, processed, rebuild
from rodin_watchd.service.steps.tools import Tools


def process(tools: Tools, job: Job) -> Outcome:
    """Build the result folder again from the downloads, and have the plugins work on it."""
    plain = replace(job, processed=(), facts={})
    _build(tools, plain)
    return Done(processed(tools, plain) if tools.plugins.of(PROCESS) else plain)


def _build(tools: Tools, job: Job) -> None:
    source = tools.spool.processed(job.id) if job.processed else tools.spool.downloads(job.id)
    if missing := [result.name for result in job.published if not os.path.lexists(source / result.name)]:
        raise ResultsGoneError(f"{len(missing)} of the results are not in {source} any more.")
    rebuild(tools.spool.result(job.id), source)


def deliver(tools: Tools, job: Job) -> Outcome:
    """Publish the result folder, receipt and all, by one rename."""
    job = noting_changes(tools.spool, job)
    source = tools.spool.result(job.id)
    if not source.is_dir() or not all(os.path.lexists(source / result.name) for result in job.published):
        _build(tools, job)  # published before a crash; and if somebody has taken it away since, it comes once more
    write_beside(source, {RECEIPT: receipt(job, __version__, tools.now())})
    place = tools.spool.publish(job, source, Destination.of(OUTBOX, job))
    tools.sheets.remake(tools.spool, job, place)
    return Done(replace(job, place=place))


def archive(tools: Tools, job: Job) -> Outcome:
    """Move the inputs of a delivered set to the archive, with the receipt.

    Inputs that are gone were archived before a crash: where somebody has fetched them since, no empty folder follows.
    What the job that follows is made of is copied before: from here, where nobody else's file can be taken for it.
    """
    job = noting_changes(tools.spool, job)  # once more: the archive's receipt speaks of the files next to it
    job = replace(job, then=_laid_out(tools, job, job.then)) if job.then else job
    if tools.spool.has_inputs(job.id):
        put_away(tools.spool, job, ARCHIVE, {RECEIPT: receipt(job, __version__, tools.now())})
    else:
        tools.spool.forget(job.id)
    remove_emptied_folders(tools.spool, job)
    return Done(job)


def _laid_out(tools: Tools, job: Job, then: Sequel) -> Sequel:
    """Copy a model of the result and an image of the set into the work folder of the job that follows; may be repeated.

    What cannot be copied, because somebody has cleaned up in the work folder, is missed when that job is staged.
    """
    model = next((r for r in job.results if split_name(r.name)[1] in MODEL_EXTENSIONS), None)
    parts = [(Role.MODEL, tools.spool.downloads(job.id), model.name, model.size, model.sha256)] if model else []
    parts += [
        (Role.IMAGE, tools.spool.inputs(job.id), file.name, file.signature.size, file.sha256)
        for file in job.files
        if file.name == then.image
    ]
    files = []
    for role, folder, name, size, sha256 in parts:
        found = tools.spool.lay_in(then.job_id, folder / name, sha256)
        files.append(InputFile(role, f"{job.place}/{name}", found or Signature(size, 0, 0), shared=True, sha256=sha256))
    unfit = FileRefusedError("The result has no model in a format that the vendor takes.").problem
    return replace(then, files=tuple(files), problem=then.problem or (None if model else unfit))


def _keep_results(tools: Tools, job: Job) -> None:
    """Lay results that were paid for next to the report, all that came: the vendor does not keep them for long."""
    sources = tools.spool.downloads(job.id), tools.spool.result(job.id)
    if job.task and tools.spool.inputs(job.id).is_dir():
        tools.spool.gather(tools.spool.inputs(job.id) / RESULTS, sources, besides=(RECEIPT,))


def put_back(tools: Tools, job: Job) -> Outcome:
    """Give a set's files the places in the inbox back that they had, and forget the job's work; may be repeated."""
    if job.place:  # it failed, and somebody has corrected its files there
        tools.spool.put_corrected_back(job)
        return Done(replace(job, place=""))
    for file in in_order(job):
        tools.spool.put_back(job.id, file)
    tools.spool.forget(job.id)
    return Done(job)


def bury(tools: Tools, job: Job) -> Outcome:
    """Move what can be had of the set to `failed/`, with the report; a set that was left to others stays where it is."""
    found = job.problem.message if job.problem else ""  # in the report already
    leave = left_alone if is_left_to_others(tools.spool, job) else left_behind
    left = filter(None, [leave(tools.spool, job, f) for f in in_order(job)])
    notes = tuple(one.now if one.why in (found, "") else f"{one.why} {one.now}" for one in left)
    for one in job.variants:  # they are not begun: what is laid out of them are copies
        tools.spool.drop_inputs(one.job_id)
    _keep_results(tools, job)
    now = tools.now()
    text = report_text(job, now, tools.zone, notes)
    texts = {REPORT: text, REPORT_DATA: report_toml(job, __version__, now, notes, text=text)}
    place = put_away(tools.spool, job, FAILED, texts)
    if job.place not in ("", place):
        tools.spool.clear_place(job)  # of the failure before: the files that it reported are here now
    remove_set_folder(tools.spool, job)
    remove_emptied_folders(tools.spool, job)
    return Done(replace(job, place=place))
