"""The free calls: asking how far the vendor is, and fetching the results."""

from __future__ import annotations

import logging
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from rodin_watchd.adapters.spool.beneath import disk_errors
from rodin_watchd.core.formats import MODEL_EXTENSIONS, Wholeness, probe
from rodin_watchd.core.names import printable, safe_result_names, split_name
from rodin_watchd.core.wire import Verdict, has_model
from rodin_watchd.errors import DownloadError, InternalError, NotReadyError, RodinWatchdError, TaskFailedError
from rodin_watchd.model import Done, Job, Link, NotYet, Outcome, ResultFile, Task
from rodin_watchd.problem import Problem
from rodin_watchd.service.steps.tools import Tools, need_room

log = logging.getLogger("rodin_watchd")

PREVIEW_SECONDS = 60.0
"""A result list without `preview.webp` counts as incomplete for so long (API contract, Download Results)."""

FRESH_LINKS = 2
"""How often one file is tried again with new links, because the old ones expire under way."""


def balance(tools: Tools) -> Decimal | Problem:
    """Ask for the account's credits, or say why they are not known; never raises."""
    try:
        return tools.client.balance()
    except RodinWatchdError as error:
        return error.problem
    except Exception as error:
        log.exception("fault while the balance was asked for", extra={"action": "fault"})
        return InternalError(f"A fault in rodin_watchd: {type(error).__name__} in the balance.").problem


def poll(tools: Tools, job: Job) -> Outcome:
    """Ask how far the vendor is. A task without a subscription key can only be asked for its results."""
    task = _task(job)
    if not task.subscription_key:
        return Done(job) if has_model(tools.client.links(task.uuid)) else NotYet("")
    status = tools.client.status(task.subscription_key)
    for word in status.unknown_words if status.progress != job.progress else ():  # told when it comes up
        told = "unknown-word: job %s: the vendor says “%s”, which the contract does not name"
        log.warning(told, job.id, word, extra={"action": "unknown-word"})
    if status.verdict is Verdict.FAILED:
        raise TaskFailedError
    return Done(job) if status.verdict is Verdict.DONE else NotYet(status.progress)


def download(tools: Tools, job: Job) -> Outcome:
    """Fetch all results afresh into the work folder."""
    need_room(tools)
    folder = tools.spool.downloads(job.id)
    with disk_errors(f"{folder} cannot be written"):
        tools.spool.start_over(folder)
    links = _links(tools, job)
    fetched = []
    for position, name in enumerate(safe_result_names([link.name for link in links])):
        links, result = _fetch(tools, job, links, position, folder / name)
        fetched.append(result)
    return Done(replace(job, results=tuple(fetched), progress=""))


def _task(job: Job) -> Task:
    if job.task is None:
        raise InternalError("The job has no task.")
    return job.task


def _links(tools: Tools, job: Job) -> tuple[Link, ...]:
    """Ask for the list of results. Raises NotReadyError while it is incomplete (API contract, Download Results)."""
    links = tools.client.links(_task(job).uuid)
    if not has_model(links):
        raise NotReadyError
    waited_seconds = tools.now() - job.times.get(job.state, 0.0)
    if not any(link.name.lower().endswith("preview.webp") for link in links) and waited_seconds < PREVIEW_SECONDS:
        raise NotReadyError("The vendor's list of results has no preview yet.")
    return links


def _fetch(
    tools: Tools, job: Job, links: tuple[Link, ...], position: int, path: Path
) -> tuple[tuple[Link, ...], ResultFile]:
    """Fetch one file; when its link has expired, with fresh links, which are free of charge."""
    wanted = links[position].name
    for _ in range(FRESH_LINKS):
        try:
            return links, _fetch_once(tools, links[position], path)
        except DownloadError:
            links = _links(tools, job)
            if [link.name for link in links[position : position + 1]] != [wanted]:
                raise
    return links, _fetch_once(tools, links[position], path)


def _fetch_once(tools: Tools, link: Link, path: Path) -> ResultFile:
    size, digest = tools.client.fetch(link, path, tools.max_file_bytes)
    _check_result(path, size)
    return ResultFile(path.name, link.name, size, digest)


def _check_result(path: Path, size: int) -> None:
    """Refuse a result that its own content proves to be cut, and a model that is none (an error page, say)."""
    extension = split_name(path.name)[1]
    with path.open("rb") as stream:
        verdict = probe(extension, stream, size)
    no_model = verdict.wholeness is Wholeness.WRONG and extension in MODEL_EXTENSIONS
    if no_model or verdict.wholeness is Wholeness.UNFINISHED:
        raise DownloadError(f"The result “{printable(path.name)}” is damaged: {verdict.detail}.")
