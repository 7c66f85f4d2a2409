"""The steps: each is one function with one outside effect that may be repeated, and returns an `Outcome` value.

They run in worker threads, one step of a job at a time, and share nothing but `Tools`. What goes wrong is raised as an
error of the project's tree; `run` makes it an outcome. The one step that may not be repeated, submitting, asks the main
thread to commit `submitting` before its last bytes leave (`core.machine`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from rodin_watchd.core.machine import outcome_of, step_of
from rodin_watchd.errors import Fault, InternalError, OutcomeUnknownError, RodinWatchdError
from rodin_watchd.log_lines import about
from rodin_watchd.model import Answered, Job, Outcome, Step
from rodin_watchd.service.steps.delivery import archive, bury, deliver, process, put_back
from rodin_watchd.service.steps.results import balance, download, poll
from rodin_watchd.service.steps.spread import spread
from rodin_watchd.service.steps.submit import stage, submit
from rodin_watchd.service.steps.tools import BeforeClosing, Tools

__all__ = ["STEPS", "BeforeClosing", "Tools", "balance", "run"]

log = logging.getLogger("rodin_watchd")

_REPEATABLE: Final[Mapping[Step, Callable[[Tools, Job], Outcome]]] = {
    Step.STAGE: stage,
    Step.SPREAD: spread,
    Step.POLL: poll,
    Step.DOWNLOAD: download,
    Step.PROCESS: process,
    Step.DELIVER: deliver,
    Step.ARCHIVE: archive,
    Step.BURY: bury,
    Step.RETURN: put_back,
}

STEPS: Final[Mapping[Step, Callable[..., Outcome | Answered]]] = {**_REPEATABLE, Step.SUBMIT: submit}
"""What does each step."""


def run(tools: Tools, job: Job, before_closing: BeforeClosing) -> Outcome | Answered:
    """Run a job's next step and return what came of it; never raises. Any thread."""
    step = step_of(job)
    with about(job):
        return _ran(tools, job, step, before_closing)


def _ran(tools: Tools, job: Job, step: Step, before_closing: BeforeClosing) -> Outcome | Answered:
    closed = False

    def closing() -> None:
        nonlocal closed
        before_closing()
        closed = True

    try:
        return submit(tools, job, closing) if step is Step.SUBMIT else _REPEATABLE[step](tools, job)
    except Exception as error:  # noqa: BLE001 - one job's fault, whatever it is, is that job's outcome
        return outcome_of(_error_of(tools, error, job, step, closed=closed))


def _error_of(tools: Tools, error: Exception, job: Job, step: Step, *, closed: bool) -> RodinWatchdError:
    """Return what went wrong as an error of ours; once the last bytes have left, nothing proves that it may be repeated."""
    if not closed and _may_be_the_ground(error, step) and (gone := tools.spool.mounts.gone()):
        return gone  # a share went away under the step: nothing that was found missing proves anything
    if isinstance(error, OutcomeUnknownError) or (isinstance(error, RodinWatchdError) and not closed):
        return error
    log.error("fault in step %s of job %s", step, job.id, exc_info=error, extra={"action": "fault"})
    kind = OutcomeUnknownError if closed else InternalError
    return kind(f"A fault in rodin_watchd: {type(error).__name__} in step {step}.")


def _may_be_the_ground(error: Exception, step: Step) -> bool:
    """Return whether a folder that is away can be the cause; what the vendor says has nothing to do with folders."""
    if step is Step.POLL or isinstance(error, OutcomeUnknownError):
        return False
    return not isinstance(error, RodinWatchdError) or error.fault in (Fault.FILES, Fault.MACHINE)
