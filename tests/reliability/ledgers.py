"""What must hold at every moment, whatever was done: the journal's history, the money, the outbox, the status page."""

from __future__ import annotations

import hashlib
import sqlite3
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rodin_watchd.adapters.journal import rows
from rodin_watchd.core.layout import MARK
from rodin_watchd.core.machine import ENDED, TABLE
from rodin_watchd.core.names import printable
from rodin_watchd.core.people import PAID_ANEW
from rodin_watchd.core.status import set_name
from rodin_watchd.core.wire import submit_fields
from rodin_watchd.emulator.ledger import Charge
from rodin_watchd.model import Job, Role, State

LEGAL = {(before.value, after.value) for (before, _), after in TABLE.items()} | {(s.value, s.value) for s in State}
OPEN = (State.UPLOADING, State.SUBMITTING)


@dataclass(frozen=True)
class Told:
    """What the journal says, read from outside: its jobs, and its whole history in order."""

    jobs: Mapping[str, Job]
    events: Sequence[tuple[int, str, str, str, str, str]]  # id, job, action, state, code, message

    @classmethod
    def of(cls, path: Path) -> Told:
        """Read a journal, whether a daemon runs or not."""
        if not path.exists():
            return cls({}, ())
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            jobs = [rows.job(doc) for (doc,) in db.execute("SELECT doc FROM jobs")]
            events = db.execute("SELECT id, job_id, action, state, code, message FROM events ORDER BY id").fetchall()
        return cls({job.id: job for job in jobs}, events)

    def of_job(self, job_id: str) -> list[tuple[int, str, str, str, str, str]]:
        """Return one job's history."""
        return [event for event in self.events if event[1] == job_id]


def check_history(before: Told, now: Told) -> None:
    """Check that history only grows, makes legal moves, and ends where each job is."""
    assert list(now.events[: len(before.events)]) == list(before.events), "history was rewritten"
    assert before.jobs.keys() <= now.jobs.keys(), "a job vanished"
    states: dict[str, str] = {}
    for _, job_id, action, state, *_ in now.events:
        assert job_id in now.jobs
        old = states.get(job_id)
        assert (state in ("claimed", "failing")) if old is None else (old, state) in LEGAL, (old, action, state)
        states[job_id] = state
    assert states == {job.id: job.state.value for job in now.jobs.values()}


def check_money(told: Told, charges: Sequence[Charge]) -> None:
    """Check that no content is charged more often than somebody agreed to, and every charge is known or may be held."""
    contents = {_bought(job): job.fingerprint for job in told.jobs.values() if _bought(job)[0]}
    paid = Counter(contents[charge.bought] for charge in charges)  # KeyError: bought what nobody dropped
    jobs: dict[str, list[Job]] = defaultdict(list)
    for job in told.jobs.values():
        jobs[contents.get(_bought(job), "")].append(job)
    for content, count in paid.items():
        allowed = sum(_agreed(told, job.id) for job in jobs[content])
        assert count <= allowed, f"charged {count} times, agreed to {allowed}: {jobs[content]}"
        unknown = count - sum(job.charges for job in jobs[content])
        assert unknown <= sum(_unknown(told, job) for job in jobs[content]), f"a charge is not accounted for: {content}"
    _check_duplicates(told)
    known = {job.task.uuid for job in told.jobs.values() if job.task}
    words = " ".join(message for *_, message in told.events)
    uuids = {charge.task_uuid for charge in charges}
    lost = [uuid for uuid in uuids - known if uuid not in words]
    assert len(lost) <= sum(_unknown(told, job) for job in told.jobs.values())


def _bought(job: Job) -> tuple[str | None, str, tuple[tuple[str, str], ...]]:
    model, image = job.file(Role.MODEL), job.file(Role.IMAGE)
    options = tuple(sorted(submit_fields(job.options)))
    return (model.sha256 if model else "", image.sha256 if image else "", options)


def _agreed(told: Told, job_id: str) -> int:
    """Return how often a job may have been charged: once, and once more for each time that a person said so."""
    events = told.of_job(job_id)
    again = sum(action == "resolve" and state == State.STAGED for _, _, action, state, *_ in events)
    again += sum(code == PAID_ANEW for *_, code, _ in events)
    return again + any(state == State.UPLOADING for _, _, _, state, *_ in events)


def _unknown(told: Told, job: Job) -> int:
    """Return how many of a job's submits had an outcome that nobody knows."""
    held = sum(state == State.HELD and action == State.HELD for _, _, action, state, *_ in told.of_job(job.id))
    return held + (job.state in OPEN)


def _check_duplicates(told: Told) -> None:
    """No upload begins while the same content is under way or delivered, unless somebody agreed to pay again."""
    states: dict[str, str] = {}
    for _, job_id, _, state, *_ in told.events:
        job, old = told.jobs[job_id], states.get(job_id)
        if state == State.UPLOADING and old == State.STAGED and job.fingerprint and not job.consent:
            others = [o for o in told.jobs.values() if o.fingerprint == job.fingerprint and o.id != job_id]
            twice = [o.id for o in others if states.get(o.id, "failed") not in ("claimed", "failing", "failed")]
            assert not twice, f"{job_id} was uploaded although {twice} has the same content"
        states[job_id] = state


def check_outbox(root: Path, told: Told, charges: Iterable[Charge]) -> None:
    """Check that each result that can be seen is whole, and its receipt says what the vendor's ledger says."""
    uuids = {charge.task_uuid for charge in charges}
    for receipt in (root / "outbox").rglob("job.toml"):
        said = tomllib.loads(receipt.read_text())
        there = {path.name: path.read_bytes() for path in receipt.parent.iterdir() if path.is_file()}
        del there[receipt.name]
        listed = {result["name"]: result["sha256"] for result in said["results"]}
        assert {name: hashlib.sha256(data).hexdigest() for name, data in there.items()} == listed
        assert said["task"]["uuid"] in uuids
        assert said["job"]["id"] in told.jobs
    for path in (root / "outbox").rglob("*"):
        if path.is_file() and path.name != MARK:
            assert (path.parent / "job.toml").is_file(), f"{path} was published without a receipt"


def check_status(text: str, told: Told, waiting: Iterable[frozenset[str]]) -> None:
    """Check that the page names every set that is under way or held, and every one that waits, by one of its names."""
    for job in told.jobs.values():
        if job.state not in ENDED:
            assert set_name(job.folder, job.name) in text, f"STATUS.txt does not mention {job.name!r}, {job.state}"
    for names in waiting:
        assert any(printable(name) in text for name in names), f"STATUS.txt mentions none of {names}:\n{text}"
