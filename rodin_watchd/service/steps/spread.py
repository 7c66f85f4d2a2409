"""The step that begins the other jobs of a set: each gets copies of its files, and a TOML file of its own."""

from __future__ import annotations

from dataclasses import replace

from rodin_watchd.core.batches import plain_role, sidecar_text
from rodin_watchd.core.layout import HIDDEN
from rodin_watchd.core.names import safe_folder_name
from rodin_watchd.model import Done, InputFile, Job, Outcome, Role, Signature, Variant
from rodin_watchd.service.steps.tools import Tools, need_room


def spread(tools: Tools, job: Job) -> Outcome:
    """Lay out the files of the other jobs of a set in their work folders, and find a name for the folder that all are delivered into.

    What cannot be copied, because somebody has cleaned up in the work folder, is missed when that job is staged.
    """
    need_room(tools)
    laid = replace(job, variants=tuple(_laid_out(tools, job, one) for one in job.variants))
    return Done(replace(laid, batch=job.batch and replace(job.batch, folder=tools.spool.free_folder(job))))


def _laid_out(tools: Tools, job: Job, variant: Variant) -> Variant:
    folder = tools.spool.inputs(job.id)
    files = []
    for file in (file for file in job.files if file.name in variant.takes):
        found = tools.spool.lay_in(variant.job_id, folder / file.name, file.sha256)
        files.append(
            InputFile(
                plain_role(file.role),
                f"{HIDDEN}/work/{job.id}/inputs/{file.name}",
                found or Signature(file.signature.size, 0, 0),
                shared=True,
                sha256=file.sha256,
                warnings=file.warnings,
            )
        )
    toml = job.file(Role.SIDECAR)
    name = toml.name if toml else f"{safe_folder_name(job.name)}.toml"
    found = tools.spool.write_in(variant.job_id, name, sidecar_text(job, variant).encode())
    files.append(InputFile(Role.SIDECAR, f"{HIDDEN}/work/{variant.job_id}/inputs/{name}", found, shared=True))
    return replace(variant, files=tuple(files))
