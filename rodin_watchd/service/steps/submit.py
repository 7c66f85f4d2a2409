"""The steps up to the purchase: taking and checking a set, and the one call that costs credits."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from dataclasses import replace
from pathlib import Path

from rodin_watchd.adapters.images import MOST_BYTES
from rodin_watchd.adapters.rodin_client.upload import Upload
from rodin_watchd.adapters.spool.beneath import disk_errors
from rodin_watchd.adapters.spool.taking import refuse_written
from rodin_watchd.core.batches import plain_role
from rodin_watchd.core.dedup import fingerprint, fingerprint_of_drop, of_set
from rodin_watchd.core.formats import image_extension
from rodin_watchd.core.kinds import FileRule, JobKind, kind_of
from rodin_watchd.core.names import printable, split_name
from rodin_watchd.core.wire import submit_fields
from rodin_watchd.errors import (
    AmbiguousSetError,
    FileRefusedError,
    FilesGoneError,
    InternalError,
    OutcomeUnknownError,
    UnfitFoldersError,
)
from rodin_watchd.model import OTHERS, Answered, Done, InputFile, Job, Outcome, Role, State
from rodin_watchd.service.steps.files import IMAGES, in_order, left_behind, refuse_unfit, remove_set_folder
from rodin_watchd.service.steps.plugins import consulted
from rodin_watchd.service.steps.tools import BeforeClosing, Tools, need_room


def stage(tools: Tools, job: Job) -> Outcome:
    """Move the set into the work folder, check it, hash it. A set that was paid for needs no check any more."""
    need_room(tools)
    if problems := tools.spool.problems():
        raise UnfitFoldersError(" ".join(problems))
    staged = _with_files_if_there(tools, job) if job.task else _with_checked_files(tools, job)
    if job.place:
        tools.spool.clear_place(job)
    remove_set_folder(tools.spool, job)
    return Done(replace(staged, place=""))


def _with_files_if_there(tools: Tools, job: Job) -> Job:
    """Take what is still there: that somebody cleaned up must not cost a result that was paid for."""
    for file in in_order(job):
        left_behind(tools.spool, job, file)
    return _recognised(job)


def _with_checked_files(tools: Tools, job: Job) -> Job:
    _refuse_ambiguous(job)
    for file in job.files:
        _refuse_large(kind_of(job), file)  # before anything is copied
    tools.spool.take_all(job.id, in_order(job))
    files = tuple(_checked(file, tools.spool.inputs(job.id) / file.name) for file in job.files)
    asked = job.options if job.asked is None else job.asked  # a retry has what plugins made of them
    return _recognised(consulted(tools, replace(job, files=files, asked=asked)))


def _recognised(job: Job) -> Job:
    """Note what the set is by its content, and what allows to pay for that once more; a person's consent stays."""
    return replace(
        job,
        fingerprint=fingerprint(kind_of(job), job.files, job.options),
        dropped=fingerprint_of_drop(job),
        consent=job.consent or of_set(job.again),
    )


def _refuse_ambiguous(job: Job) -> None:
    """Raise AmbiguousSetError where the set has too many files of a role: what is sent must be what its fingerprint says."""
    for role in (role for role in Role if role not in OTHERS.values()):
        names = [f"“{printable(file.name)}”" for file in job.files if file.role is role]
        if len(names) > kind_of(job).most(role):
            raise AmbiguousSetError(f"{len(names)} files fit the {role} of this set: {', '.join(names)}.")


def _refuse_large(kind: JobKind, file: InputFile) -> None:
    name, size = printable(file.name), file.signature.size
    role = plain_role(file.role)
    most = kind.files[role].most_bytes if role in kind.files else None
    if most is not None and size > most:
        raise FileRefusedError(
            f"“{name}” has {size:,} bytes; the vendor accepts {role}s of at most {most:,}.",
            advice="Make the model smaller (fewer triangles, no embedded textures) and drop the set again.",
        )
    if file.role in IMAGES and size > MOST_BYTES:
        raise FileRefusedError(f"“{name}” has {size:,} bytes; images of at most {MOST_BYTES:,} are accepted.")


def _checked(file: InputFile, path: Path) -> InputFile:
    """Check a taken file by its content and return it with its digest. Raises FilesError, DiskError."""
    with disk_errors(f"{path} cannot be read"), path.open("rb") as stream:
        refuse_written(file, stream.fileno())  # before it is judged: what is still written may become whole
        file = replace(file, warnings=refuse_unfit(file, path))
        refuse_written(file, stream.fileno())
        return replace(file, sha256=hashlib.file_digest(stream, "sha256").hexdigest())


def submit(tools: Tools, job: Job, before_closing: BeforeClosing) -> Answered:
    """Send the set; not to be repeated once `before_closing` has returned."""
    if job.state is not State.UPLOADING:  # a fault of the program: better to ask a person than to pay twice
        raise OutcomeUnknownError(f"The job was to be submitted while it is {job.state}.")
    need_room(tools)
    kind = kind_of(job)
    uploads = [
        _upload(tools, job, rule.part, file) for role, rule in kind.files.items() for file in _of_role(job, role, rule)
    ]

    def close_if_at_rest() -> None:
        """Look once more, right before the last bytes may leave, whether a program has taken the files up again."""
        for file in job.files:
            with (
                disk_errors(f"{file.name} cannot be read"),
                (tools.spool.inputs(job.id) / file.name).open("rb") as stream,
            ):
                refuse_written(file, stream.fileno())
        before_closing()
        if not tools.is_sure():  # the process stood still meanwhile: another daemon may hold this very job
            raise OutcomeUnknownError(
                "The service was silent for too long: another one may serve the root by now. The last bytes stayed here."
            )

    return Answered(tools.client.submit(kind.path, uploads, submit_fields(kind, job.options), close_if_at_rest))


def _of_role(job: Job, role: Role, rule: FileRule) -> list[InputFile]:
    """Return a job's files of a role. Raises InternalError where there are fewer or more than its kind has."""
    files = [file for file in job.files if file.role is role]
    if not rule.least <= len(files) <= rule.most:
        raise InternalError(f"The job has {len(files)} files for its {role}.")
    return files


def _upload(tools: Tools, job: Job, part: str, file: InputFile) -> Upload:
    path = tools.spool.inputs(job.id) / file.name
    if not os.path.lexists(path):
        raise FilesGoneError(f"“{printable(file.name)}” is not in the work folder any more.")
    extension = _extension(file, path)
    media_type = mimetypes.types_map.get(extension, "application/octet-stream")
    return Upload(path, file.signature.size, file.sha256, part, f"{file.role}{extension}", media_type)


def _extension(file: InputFile, path: Path) -> str:
    """Return the extension that is sent: of an image by its content, so that the vendor gets no JPEG that is called a PNG."""
    if file.role not in IMAGES:
        return split_name(file.name)[1]
    with disk_errors(f"{path} cannot be read"), path.open("rb") as stream:
        return image_extension(stream.read(12)) or split_name(file.name)[1]
