"""The last steps, all of them local: results to the outbox, inputs to the archive or to `failed/`."""

from __future__ import annotations

import os
from dataclasses import replace

from rodin_watchd import __version__
from rodin_watchd.adapters.spool import Place
from rodin_watchd.adapters.spool.beneath import disk_errors
from rodin_watchd.core.layout import ARCHIVE, FAILED, OUTBOX, RECEIPT, REPORT, REPORT_DATA
from rodin_watchd.core.receipt import receipt, report_text, report_toml
from rodin_watchd.errors import ResultsGoneError
from rodin_watchd.model import Done, Job, Outcome
from rodin_watchd.service.steps.inputs import left_behind, put_away, remove_set_folder, write_beside
from rodin_watchd.service.steps.tools import Tools


def process(tools: Tools, job: Job) -> Outcome:
    """Build the result folder anew from the downloads."""
    _build(tools, job)
    return Done(job)


def _build(tools: Tools, job: Job) -> None:
    source, target = tools.spool.downloads(job.id), tools.spool.result(job.id)
    with disk_errors(f"{target} cannot be written"):
        if missing := [result.name for result in job.results if not os.path.lexists(source / result.name)]:
            raise ResultsGoneError(f"{len(missing)} of the downloaded results are not in {source} any more.")
        tools.spool.start_over(target)
        for result in job.results:
            tools.spool.link(source / result.name, target / result.name)


def deliver(tools: Tools, job: Job) -> Outcome:
    """Publish the result folder, receipt and all, by one rename."""
    source = tools.spool.result(job.id)
    if not source.is_dir() or not all(os.path.lexists(source / result.name) for result in job.results):
        _build(tools, job)  # published before a crash; and if somebody has taken it away since, it comes once more
    write_beside(source, {RECEIPT: receipt(job, __version__, tools.now())})
    return Done(replace(job, place=tools.spool.publish(job, source, Place(OUTBOX, job.folder, job.name))))


def archive(tools: Tools, job: Job) -> Outcome:
    """Move the inputs of a delivered set to the archive, with the receipt."""
    put_away(tools.spool, job, ARCHIVE, {RECEIPT: receipt(job, __version__, tools.now())})
    return Done(job)


def bury(tools: Tools, job: Job) -> Outcome:
    """Move what can be had of the set to `failed/`, with the report."""
    cause = f"{job.problem.message} " if job.problem else ""
    notes = tuple(note.removeprefix(cause) for f in job.files if (note := left_behind(tools.spool, job, f)))
    now = tools.now()
    texts = {
        REPORT: report_text(job, now, tools.zone, notes),
        REPORT_DATA: report_toml(job, __version__, now, notes),
    }
    place = put_away(tools.spool, job, FAILED, texts)
    if job.place not in ("", place):
        tools.spool.clear_leftovers(job.place)  # of the failure before: the files that it reported are here now
    remove_set_folder(tools.spool, job)
    return Done(replace(job, place=place))
