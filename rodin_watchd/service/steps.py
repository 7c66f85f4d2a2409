"""The steps: each is one function with one outside effect that may be repeated, and returns an `Outcome` value.

They run in worker threads, one step of a job at a time, and share nothing but `Tools`. What goes wrong is raised as an
error of the project's tree; `run` makes it an outcome. The one step that may not be repeated, submitting, asks the main
thread to commit `submitting` before its last bytes leave (`core.machine`).
"""

from __future__ import annotations

import hashlib
import logging
import mimetypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path
from typing import TypeAlias

from rodin_watchd import __version__
from rodin_watchd.adapters.images import why_undecodable
from rodin_watchd.adapters.rodin_client import RodinClient, Upload
from rodin_watchd.adapters.spool import Place, Spool
from rodin_watchd.adapters.spool.beneath import disk_errors, write_durably
from rodin_watchd.core.content import fingerprint
from rodin_watchd.core.formats import MODEL_EXTENSIONS, Wholeness, probe
from rodin_watchd.core.layout import ARCHIVE, FAILED, INBOX, OUTBOX, RECEIPT, REPORT, REPORT_DATA
from rodin_watchd.core.machine import POLICIES, outcome_of
from rodin_watchd.core.names import printable, safe_result_names, split_name
from rodin_watchd.core.receipt import receipt, report_text, report_toml
from rodin_watchd.core.wire import Verdict, has_model, submit_fields
from rodin_watchd.errors import (
    ChangedWhileTakenError,
    DiskError,
    DownloadError,
    FileRefusedError,
    FilesError,
    InternalError,
    NotReadyError,
    OutcomeUnknownError,
    RodinWatchdError,
    TaskFailedError,
    UnfinishedFileError,
)
from rodin_watchd.model import (
    MODEL_LIMIT_BYTES,
    Answered,
    Done,
    InputFile,
    Job,
    Link,
    NotYet,
    Outcome,
    ResultFile,
    Role,
    Step,
)

log = logging.getLogger("rodin_watchd")

ROOM_BYTES = 200_000_000
"""Less free room than this, and nothing is taken, sent or downloaded: a paid result must find its place."""

PREVIEW_SECONDS = 60.0
"""A result list without `preview.webp` counts as incomplete for so long (API contract, Download Results)."""

FRESH_LINKS = 3
"""How often one download asks for new links when the old ones expire under way."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the steps work with."""

    spool: Spool
    client: RodinClient
    now: Callable[[], float]  # UTC epoch seconds
    zone: tzinfo
    max_file_bytes: int


BeforeClosing: TypeAlias = Callable[[], None]
"""Blocks until `submitting` is committed; raises to abort the upload."""


def run(tools: Tools, job: Job, before_closing: BeforeClosing) -> Outcome | Answered:
    """Run a job's next step and return what came of it; never raises. Any thread."""
    step = POLICIES[job.state].step
    closed = False

    def closing() -> None:
        nonlocal closed
        before_closing()
        closed = True

    try:
        return submit(tools, job, closing) if step is Step.SUBMIT else _REPEATABLE[step](tools, job)
    except RodinWatchdError as error:
        return outcome_of(error)
    except Exception as error:
        log.exception("fault in step %s of job %s", step, job.id)
        kind = OutcomeUnknownError if closed else InternalError
        return outcome_of(kind(f"A fault in rodin_watchd: {type(error).__name__} in step {step}."))


# ---- before money is spent ------------------------------------------------------------------------------------------


def stage(tools: Tools, job: Job) -> Outcome:
    """Move the set into the work folder, check it, hash it."""
    _need_room(tools)
    if problems := tools.spool.problems():
        raise DiskError(" ".join(problems))
    files = tuple(_checked(f, tools.spool.take(job.id, f)) for f in job.files)
    if job.place:
        tools.spool.clear_report(job.place)
    _remove_set_folder(tools.spool, job)
    return Done(replace(job, files=files, fingerprint=fingerprint(files, job.options), place=""))


def _need_room(tools: Tools) -> None:
    free = tools.spool.free_bytes()
    if free < ROOM_BYTES:
        raise DiskError(f"Only {free // 1_000_000:,} MB are free on the disk of {tools.spool.root}.")


def _checked(file: InputFile, path: Path) -> InputFile:
    """Check a taken file by its content and return it with its digest."""
    name = printable(file.name)
    if file.role is Role.MODEL and file.signature.size > MODEL_LIMIT_BYTES:
        raise FileRefusedError(
            f"“{name}” has {file.signature.size:,} bytes; the vendor takes models of at most {MODEL_LIMIT_BYTES:,}.",
            advice="Make the model smaller (fewer triangles, no embedded textures) and drop the set again.",
        )
    with path.open("rb") as stream:
        if file.role is not Role.SIDECAR:
            verdict = probe(split_name(file.name)[1], stream, file.signature.size)
            if verdict.wholeness is Wholeness.WRONG:
                raise FileRefusedError(f"“{name}” cannot be used: {verdict.detail}.")
            if verdict.wholeness is Wholeness.UNFINISHED:
                raise UnfinishedFileError(f"“{name}” is not complete: {verdict.detail}.")
            stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if file.role is Role.IMAGE and (why := why_undecodable(path)):
        raise FileRefusedError(f"“{name}” is not a usable image: {why}.")
    return replace(file, sha256=digest)


def _remove_set_folder(spool: Spool, job: Job) -> None:
    """Remove the emptied folder of a set that was dropped as a folder."""
    homes = {f.source.rpartition("/")[0] for f in job.files}
    home = "/".join(filter(None, (INBOX, job.folder, job.name)))
    if homes == {home}:
        spool.remove_empty(home)


# ---- the paid call --------------------------------------------------------------------------------------------------


def submit(tools: Tools, job: Job, before_closing: BeforeClosing) -> Answered:
    """Send the set; not to be repeated once `before_closing` has returned."""
    _need_room(tools)
    model, image = (_upload(tools, job, role) for role in (Role.MODEL, Role.IMAGE))
    return Answered(tools.client.submit(model, image, submit_fields(job.options), before_closing))


def _upload(tools: Tools, job: Job, role: Role) -> Upload:
    file = job.file(role)
    if file is None:
        raise InternalError(f"The job has no {role}.")
    extension = split_name(file.name)[1]
    media_type = mimetypes.types_map.get(extension, "application/octet-stream")
    path = tools.spool.inputs(job.id) / file.name
    return Upload(path, file.signature.size, file.sha256, f"{role}{extension}", media_type)


# ---- free calls -----------------------------------------------------------------------------------------------------


def poll(tools: Tools, job: Job) -> Outcome:
    """Ask how far the vendor is. A task without a subscription key can only be asked for its results."""
    if job.task is None:
        raise InternalError("The job has no task.")
    if not job.task.subscription_key:
        return Done(job) if has_model(tools.client.links(job.task.uuid)) else NotYet("")
    status = tools.client.status(job.task.subscription_key)
    if status.unknown_words and status.progress != job.progress:
        log.warning("job %s: the vendor says %s, which the contract does not name", job.id, status.unknown_words)
    if status.verdict is Verdict.FAILED:
        raise TaskFailedError
    return Done(job) if status.verdict is Verdict.DONE else NotYet(status.progress)


def download(tools: Tools, job: Job) -> Outcome:
    """Fetch all results afresh into the work folder."""
    _need_room(tools)
    folder = tools.spool.downloads(job.id)
    with disk_errors(f"{folder} cannot be written"):
        tools.spool.start_over(folder)
    links = _links(tools, job)
    names = safe_result_names([link.name for link in links])
    fetched = []
    for position, name in enumerate(names):
        links, result = _fetch(tools, job, links, position, folder / name)
        fetched.append(result)
    return Done(replace(job, results=tuple(fetched), progress=""))


def _links(tools: Tools, job: Job) -> tuple[Link, ...]:
    """Ask for the list of results. Raises NotReadyError while it is incomplete (API contract, Download Results)."""
    if job.task is None:
        raise InternalError("The job has no task.")
    links = tools.client.links(job.task.uuid)
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
    for remaining in reversed(range(FRESH_LINKS)):
        try:
            size, digest = tools.client.fetch(links[position], path, tools.max_file_bytes)
            _check_result(path, size)
            return links, ResultFile(path.name, wanted, size, digest)
        except DownloadError:
            if not remaining:
                raise
            links = _links(tools, job)
            if [link.name for link in links[position : position + 1]] != [wanted]:
                raise
    raise DownloadError  # unreachable: the last round returns or raises


def _check_result(path: Path, size: int) -> None:
    """Refuse a result that its own content proves to be cut, and a model that is none (an error page, say)."""
    extension = split_name(path.name)[1]
    with path.open("rb") as stream:
        verdict = probe(extension, stream, size)
    no_model = verdict.wholeness is Wholeness.WRONG and extension in MODEL_EXTENSIONS
    if no_model or verdict.wholeness is Wholeness.UNFINISHED:
        raise DownloadError(f"The result “{printable(path.name)}” is damaged: {verdict.detail}.")


# ---- delivery -------------------------------------------------------------------------------------------------------


def process(tools: Tools, job: Job) -> Outcome:
    """Build the result folder anew from the downloads."""
    source, target = tools.spool.downloads(job.id), tools.spool.result(job.id)
    with disk_errors(f"{target} cannot be written"):
        tools.spool.start_over(target)
        for result in job.results:
            tools.spool.link(source / result.name, target / result.name)
    return Done(job)


def deliver(tools: Tools, job: Job) -> Outcome:
    """Publish the result folder, receipt and all, by one rename."""
    source = tools.spool.result(job.id)
    _write_beside(source, {RECEIPT: receipt(job, __version__, tools.now())})
    return Done(replace(job, place=tools.spool.publish(job, source, Place(OUTBOX, job.folder, job.name))))


def archive(tools: Tools, job: Job) -> Outcome:
    """Move the inputs of a delivered set to the archive, with the receipt."""
    source = tools.spool.inputs(job.id)
    _write_beside(source, {RECEIPT: receipt(job, __version__, tools.now())})
    tools.spool.publish(job, source, Place(ARCHIVE, job.folder, job.name))
    tools.spool.forget(job.id)
    return Done(job)


def bury(tools: Tools, job: Job) -> Outcome:
    """Move what can be had of the set to `failed/`, with the report."""
    source = tools.spool.inputs(job.id)
    with disk_errors(f"{source} cannot be written"):
        source.mkdir(parents=True, exist_ok=True)
    notes = tuple(filter(None, (_left_behind(tools.spool, job, f) for f in job.files)))
    now = tools.now()
    texts = {
        REPORT: report_text(job, now, tools.zone, notes),
        REPORT_DATA: report_toml(job, __version__, now, notes),
    }
    _write_beside(source, texts)
    place = tools.spool.publish(job, source, Place(FAILED, job.folder, job.name))
    if job.place not in ("", place):
        tools.spool.clear_report(job.place)  # of the failure before: the files that it reported are here now
    _remove_set_folder(tools.spool, job)
    tools.spool.forget(job.id)
    return Done(replace(job, place=place))


def _left_behind(spool: Spool, job: Job, file: InputFile) -> str:
    """Take a file for burying and return "", or say why it is not with the others."""
    try:
        spool.take(job.id, file)
    except ChangedWhileTakenError as error:
        return f"{error.message} What lies there now was left where it is."
    except FilesError as error:
        return f"{error.message} It was left where it is."
    return ""


def _write_beside(folder: Path, texts: Mapping[str, str]) -> None:
    """Write a receipt or report into a folder that is to be published; none there: it was published before."""
    if not folder.is_dir():
        return
    with disk_errors(f"{folder} cannot be written"):
        for name, text in texts.items():
            write_durably(folder / name, text.encode())


_REPEATABLE: Mapping[Step, Callable[[Tools, Job], Outcome]] = {
    Step.STAGE: stage,
    Step.POLL: poll,
    Step.DOWNLOAD: download,
    Step.PROCESS: process,
    Step.DELIVER: deliver,
    Step.ARCHIVE: archive,
    Step.BURY: bury,
}
