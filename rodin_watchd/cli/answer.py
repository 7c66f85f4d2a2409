"""What `explain` answers: a verdict for programs, sentences for people, and the jobs it speaks of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import tzinfo
from enum import StrEnum

from rodin_watchd.adapters.journal import JournalReader
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import printable
from rodin_watchd.core.receipt import advice, local
from rodin_watchd.core.status import ended_line, job_line
from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.model import Job, State


class Verdict(StrEnum):
    """What is with a file or set, in a word."""

    READY = "ready"
    SETTLING = "settling"
    WAITING = "waiting"
    REFUSED = "refused"
    IGNORED = "ignored"
    TAKEN = "taken"
    DELIVERED = "delivered"
    FAILED = "failed"
    HELD = "held"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer about one path."""

    verdict: Verdict
    sentences: tuple[str, ...]
    jobs: tuple[str, ...] = ()

    def followed_by(self, sentences: Iterable[str]) -> Answer:
        """Return the answer with more sentences."""
        return replace(self, sentences=(*self.sentences, *sentences))


_VERDICTS = {State.ARCHIVED: Verdict.DELIVERED, State.FAILED: Verdict.FAILED, State.HELD: Verdict.HELD}


def about_job(opening: str, job: Job, zone: tzinfo) -> Answer:
    """Return the answer about what belongs to a job."""
    sentences = [opening, job_sentence(job, zone)]
    if job.state is State.FAILED and job.problem:
        sentences.append(f"What to do: {advice(job)}")
    sentences.append(f"`rodin-watchd show {job.id}` has its whole history.")
    return Answer(_VERDICTS.get(job.state, Verdict.TAKEN), tuple(sentences), (job.id,))


def job_sentence(job: Job, zone: tzinfo) -> str:
    """Say how it stands with a job."""
    line = ended_line(job) if job.state in ENDED else job_line(job)
    since = f" ({local(line.since_at, zone)})" if line.since_at is not None else ""
    return f"Job {job.id}, “{line.name}”: {line.text.rstrip('.')}.{since}"


def about_past(journal: JournalReader | None, place: str, zone: tzinfo) -> Answer:
    """Return the answer about a path where nothing is now: what became of a file or set of that name."""
    name = place.rpartition("/")[2]
    nothing = f"There is nothing at “{printable(place)}”"
    jobs = _jobs_of(journal, name) if journal else []
    if not jobs:
        return Answer(Verdict.UNKNOWN, (f"{nothing}, and no job ever had a file or set of this name.",))
    answer = about_job(f"{nothing} now; a job took “{printable(name)}”.", jobs[0], zone)
    others = tuple(job.id for job in jobs[1:])
    return replace(answer, jobs=(*answer.jobs, *others)).followed_by(
        [f"Older jobs with that name: {', '.join(others[:10])}."] if others else []
    )


def _jobs_of(journal: JournalReader, name: str) -> list[Job]:
    """Return the jobs with an input of this name, newest first, or the one job with this id or set name."""
    if jobs := journal.with_file(name):
        return jobs
    try:
        job = journal.find(name)
    except CommandRefusedError:
        return []
    return [job] if name in (job.id, job.name) else []
