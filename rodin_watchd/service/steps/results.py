"""The free calls: asking how far the vendor is, and fetching the results."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from rodin_watchd.adapters.spool import whole_files
from rodin_watchd.core.formats import MODEL_EXTENSIONS, why_damaged
from rodin_watchd.core.kinds import kind_of
from rodin_watchd.core.names import printable, safe_result_names, split_name
from rodin_watchd.core.receipt import is_preview
from rodin_watchd.core.wire import TaskState, has_model
from rodin_watchd.errors import (
    DiskError,
    DownloadError,
    FilesError,
    InternalError,
    NotReadyError,
    Problem,
    RodinWatchdError,
    ServiceError,
    TaskFailedError,
    UnfitTaskError,
)
from rodin_watchd.model import Done, Job, Link, NotYet, Outcome, ResultFile, Task
from rodin_watchd.service.steps.files import refuse_unfit
from rodin_watchd.service.steps.tools import Tools, need_room

log = logging.getLogger("rodin_watchd")

PREVIEW_SECONDS = 60.0
"""A result list without `preview.webp` counts as incomplete for so long (API contract, Download Results)."""

PREVIEW_ATTEMPTS = 3
"""After so many attempts at the results, and after `PREVIEW_SECONDS`, a preview that does not come is left out.

So is any file of a task that the vendor reports as failed, after so many attempts; without a model that job fails then.
"""

LOOKS = 3
"""So many looks at the downloads of a failed task may be answered with an error before it counts as one without results."""

FRESH_LINKS = 2
"""How often one file is tried again with new links, because the old ones expire under way."""


def balance(tools: Tools) -> Decimal | Problem:
    """Ask for the account's credits, or say why they are not known; never raises."""
    try:
        return tools.client.balance()
    except RodinWatchdError as error:
        return error.problem
    except Exception as error:
        log.exception("fault while the balance was read", extra={"action": "fault"})
        return InternalError(f"A fault in rodin_watchd: {type(error).__name__} in the balance.").problem


def poll(tools: Tools, job: Job) -> Outcome:
    """Ask how far the vendor is; once the task is done, drop what an earlier task of the job has left.

    A task without a subscription key can only be asked for its results.
    """
    outcome = _progress(tools, job, _task(job))
    if isinstance(outcome, Done):
        tools.spool.drop_results(job.id)
    return outcome


def _progress(tools: Tools, job: Job, task: Task) -> Outcome:
    if not task.subscription_key:
        return Done(job) if has_model(tools.client.links(task.uuid)) else NotYet("")
    status = tools.client.status(task.subscription_key)
    for word in status.unknown_words if status.progress != job.progress else ():  # reported when it comes up
        message = "unknown-word: job %s: the vendor says “%s”, which is not in its documents"
        log.warning(message, job.id, word, extra={"action": "unknown-word"})
    if status.verdict is TaskState.FAILED:
        if not _has_results_all_the_same(tools, job, task):
            raise _failed(tools, job)
        return Done(replace(job, flaw=status.flaw))
    return Done(job) if status.verdict is TaskState.DONE else NotYet(status.progress)


def _has_results_all_the_same(tools: Tools, job: Job, task: Task) -> bool:
    """Look, free of charge, whether a failed task has a model: one part may fail while the geometry is good (API contract, second turn)."""
    try:
        return has_model(tools.client.links(task.uuid))
    except ServiceError:
        raise
    except RodinWatchdError:
        if job.attempts + 1 < LOOKS:
            raise
        return False


def _failed(tools: Tools, job: Job) -> TaskFailedError:
    """Return what is to be said of a failed task: the vendor gives no reason, but a file that was sent may be unfit.

    A set may have been sent by an older version, which did not look into it so closely.
    """
    for file in (file for file in job.files if file.role in kind_of(job).files):
        try:
            refuse_unfit(file, tools.spool.inputs(job.id) / file.name)
        except FilesError as error:
            return UnfitTaskError(f"The vendor's task failed. {error.message}")
        except DiskError:  # it is not there, or cannot be read: nothing is known of it
            continue
    return TaskFailedError()


def download(tools: Tools, job: Job) -> Outcome:
    """Fetch the results that are not in the work folder yet; what is there stays until all have come.

    A file gets its name there once it is whole and durable, so one that has its name is not fetched again. Raises the first
    DownloadError when all that can be had is there.
    """
    need_room(tools)
    links, folder = _links(tools, job), tools.spool.downloads(job.id)
    tools.spool.make(folder)
    names = safe_result_names([link.name for link in links])
    here = _here(folder, links, names)
    fetched, failed = [], list[DownloadError]()
    for position, name in enumerate(names):
        need_room(tools)
        try:
            if name not in here:
                tools.spool.make_way(folder, name)
                links, here[name] = _fetch(tools, job, links, position, name, fresh_links=0 if failed else FRESH_LINKS)
            fetched.append(here[name])
        except DownloadError as error:
            if not _is_left_out(tools, job, links[position]):
                failed.append(error)
    if job.flaw and not failed and not any(split_name(result.name)[1] in MODEL_EXTENSIONS for result in fetched):
        raise _failed(tools, job)
    if failed:
        raise failed[0]
    fetched += _unlisted(folder, links, names)
    tools.spool.keep_only(folder, {result.name for result in fetched})
    return Done(replace(job, results=tuple(fetched), progress=""))


def _is_left_out(tools: Tools, job: Job, link: Link) -> bool:
    """Return whether a file that does not come is left out after so many attempts."""
    tried = job.attempts >= PREVIEW_ATTEMPTS
    return tried and (bool(job.flaw) or (is_preview(link.name) and _is_late(tools, job)))


def _here(folder: Path, links: tuple[Link, ...], names: tuple[str, ...]) -> dict[str, ResultFile]:
    """Return the results that an earlier attempt has fetched, by their names in the folder.

    Where the vendor gives one name to several files, nothing shows which is which: then there are none.
    """
    if not _are_own(names, links):
        return {}
    found = {name: _found(folder, name, link.name) for name, link in zip(names, links, strict=True)}
    return {name: result for name, result in found.items() if result}


def _are_own(names: tuple[str, ...], links: tuple[Link, ...]) -> bool:
    """Return whether each file has the name that it would have alone."""
    return names == tuple(safe_result_names([link.name])[0] for link in links)


def _unlisted(folder: Path, links: tuple[Link, ...], names: tuple[str, ...]) -> list[ResultFile]:
    """Return the results that an earlier attempt has fetched, and that are not listed any more: a list that shrinks takes nothing away."""
    if not _are_own(names, links):
        return []
    others = sorted(name for name in whole_files(folder) if name not in names)
    results = [replace(found, unlisted=True) for name in others if (found := _found(folder, name, name))]
    for result in results:
        message = "unlisted: “%s” was fetched, and is not listed any more"
        log.warning(message, printable(result.name), extra={"action": "unlisted"})
    return results


def _found(folder: Path, name: str, original_name: str) -> ResultFile | None:
    try:
        with (folder / name).open("rb") as stream:
            digest, size = hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell()
        _check_result(folder, name, size)
    except (DownloadError, OSError):  # it is replaced by a whole one
        return None
    return ResultFile(name, original_name, size, digest)


def _task(job: Job) -> Task:
    if job.task is None:
        raise InternalError("The job has no task.")
    return job.task


def _links(tools: Tools, job: Job) -> tuple[Link, ...]:
    """Ask for the list of results. Raises NotReadyError while it is incomplete (API contract, Download Results)."""
    links = tools.client.links(_task(job).uuid)
    if not has_model(links):
        if job.flaw and job.attempts >= PREVIEW_ATTEMPTS:
            raise _failed(tools, job)
        raise NotReadyError
    awaited = kind_of(job).has_preview and not job.flaw and not any(is_preview(link.name) for link in links)
    if awaited and not _is_late(tools, job):
        raise NotReadyError("The vendor's list of results has no preview yet.")
    return links


def _is_late(tools: Tools, job: Job) -> bool:
    """Return whether a preview was waited for long enough; also where the clock was set back, which says nothing about that."""
    return not 0.0 <= tools.now() - job.times.get(job.state, 0.0) < PREVIEW_SECONDS


def _fetch(
    tools: Tools, job: Job, links: tuple[Link, ...], position: int, name: str, *, fresh_links: int
) -> tuple[tuple[Link, ...], ResultFile]:
    """Fetch one file; when its link has expired, with fresh links, which are free of charge."""
    wanted, folder = links[position].name, tools.spool.downloads(job.id)
    for _ in range(fresh_links):
        try:
            return links, _fetch_once(tools, links[position], folder, name)
        except DownloadError:
            links = _links(tools, job)
            if [link.name for link in links[position : position + 1]] != [wanted]:
                raise
    return links, _fetch_once(tools, links[position], folder, name)


def _fetch_once(tools: Tools, link: Link, folder: Path, name: str) -> ResultFile:
    size, digest = tools.client.fetch(link, folder / name, tools.max_file_bytes)
    try:
        _check_result(folder, name, size)
    except DownloadError:
        (folder / name).unlink()  # it is no result, and must not be taken for one
        raise
    return ResultFile(name, link.name, size, digest)


def _check_result(folder: Path, name: str, size: int) -> None:
    """Raise DownloadError for a result that its own content proves to be cut, or to be something else (an error page, say)."""
    with (folder / name).open("rb") as stream:
        why = why_damaged(split_name(name)[1], stream, size)
    if why:
        raise DownloadError(f"The result “{printable(name)}” is damaged: {why}.")
