"""What must hold at every moment, whatever was done: the journal's history, the money, the outbox, the status page.

Each judge compares the journal with what is known from elsewhere: the vendor's ledger, the artists' files, and the leaves that
people really gave. None reads a sentence; what an event means is in its columns.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from rodin_watchd.adapters.store import codec as rows
from rodin_watchd.core.kinds import kind_of
from rodin_watchd.core.layout import MARK, SUBMITS_NOTE
from rodin_watchd.core.machine import ENDED, TABLE
from rodin_watchd.core.names import printable
from rodin_watchd.core.wire import submit_fields
from rodin_watchd.core.wording import set_name
from rodin_watchd.emulator.ledger import Charge
from rodin_watchd.emulator.orders import PRICE
from rodin_watchd.model import Job, Role, State

LEGAL = {(before.value, after.value) for (before, _), after in TABLE.items()} | {(s.value, s.value) for s in State}

TRIES_FOR_A_CONTENT, REFUSED_IN_A_ROW = 2, 6
"""So many tries of one content, and so many of the account in a row, may be refused after their whole body, which proves nothing."""

Content: TypeAlias = "tuple[str | None, str, tuple[tuple[str, str], ...]]"
"""What was bought, as the vendor's ledger knows it: model, image, options."""


class Happened(NamedTuple):
    """An event of the journal."""

    id: int
    job: str
    action: str
    state: str
    message: str
    code: str


class Purchase(NamedTuple):
    """A line of the journal's books."""

    id: int
    job: str
    top: str
    outcome: str
    cost: Decimal
    told: bool  # a person has said what came of it


@dataclass(frozen=True)
class Told:
    """What the journal says, read from outside: its jobs, its whole history in order, its books."""

    jobs: Mapping[str, Job]
    events: Sequence[Happened]
    purchases: Sequence[Purchase] = ()
    day_after: int = 0  # the newest purchase of the budget's day before

    @classmethod
    def of(cls, path: Path) -> Told:
        """Read a journal, whether a daemon runs or not."""
        if not path.exists():
            return cls({}, ())
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            docs = [doc for (doc,) in db.execute("SELECT doc FROM jobs")]
            events = db.execute("SELECT id, job_id, action, state, message, code FROM events ORDER BY id").fetchall()
            books = db.execute("SELECT id, job_id, top, outcome, cost, told FROM purchases ORDER BY id").fetchall()
            day = db.execute("SELECT json_extract(value, '$[1]') FROM meta WHERE key = 'budget-day'").fetchone()
        return cls.of_rows(docs, events, books, day[0] if day else 0)

    @classmethod
    def of_rows(
        cls, docs: Iterable[str], events: Iterable[Sequence[Any]], purchases: Iterable[Sequence[Any]], day_after: int
    ) -> Told:
        """Make it of what a store has: the documents of its jobs, its events, its purchases, in order."""
        jobs = {job.id: job for job in map(rows.job, docs)}
        books = [Purchase(row[0], row[1], row[2], row[3], Decimal(row[4]), bool(row[5])) for row in purchases]
        return cls(jobs, [Happened(*row) for row in events], books, day_after)

    def of_job(self, job_id: str) -> list[Happened]:
        """Return one job's history."""
        return [event for event in self.events if event.job == job_id]

    def period(self, job_id: str, before: int | None = None) -> tuple[str, int]:
        """Return the state that a job was in just before an event (None: is in now), and the event that began it.

        It is what a person sees who looks: this hold, this failure, and not another one of the same job.
        """
        state, began = "", 0
        for event in self.of_job(job_id):
            if before is not None and event.id >= before:
                break
            if event.state != state:
                state, began = event.state, event.id
        return state, began


class Asked(NamedTuple):
    """What a person asked for, having seen the state that this event began."""

    verb: str  # as the command line has it
    job: str
    seen: int


@dataclass
class Leaves:
    """What people agreed to: commands by what they saw, and the sidecars that say `again`."""

    asked: set[Asked] = field(default_factory=set)
    pay_again: set[Asked] = field(default_factory=set)  # of those, with leave to pay
    not_charged: set[Asked] = field(default_factory=set)  # likewise
    consents: dict[str, str] = field(default_factory=dict)  # by the sidecar's SHA-256: the leave in it

    def note_sidecar(self, data: bytes) -> None:
        """Note the leave that a dropped sidecar gives: what stands after `again`."""
        try:
            again = tomllib.loads(data.decode()).get("again")
        except ValueError:
            return
        if again:
            self.consents[hashlib.sha256(data).hexdigest()] = str(again)


def check_history(before: Told, now: Told) -> None:
    """Check that history only grows, makes legal moves, and ends where each job is."""
    assert list(now.events[: len(before.events)]) == list(before.events), "history was rewritten"
    assert before.jobs.keys() <= now.jobs.keys(), "a job vanished"
    states: dict[str, str] = {}
    for event in now.events:
        assert event.job in now.jobs
        old = states.get(event.job)
        legal = (event.state in ("claimed", "failing")) if old is None else (old, event.state) in LEGAL
        assert legal, (old, event.action, event.state)
        states[event.job] = event.state
    assert states == {job.id: job.state.value for job in now.jobs.values()}


def check_leaves(told: Told, leaves: Leaves) -> None:
    """Check that each command was carried out on what a person had seen, and on nothing that came later; at most once."""
    used: Counter[Asked] = Counter()
    for event in told.events:
        if event.action in ("resolve", "retry"):
            _, seen = told.period(event.job, before=event.id)
            ask = Asked(event.action, event.job, seen)
            assert ask in leaves.asked, f"{event} was done to what nobody had seen: {told.of_job(event.job)}"
            used[ask] += 1
            resent = event.state == State.STAGED
            assert not (event.action == "resolve" and resent) or ask in leaves.not_charged, f"{event}: nobody said so"
    assert all(count == 1 for count in used.values()), f"one leave was used twice: {used}"


def check_money(
    told: Told, charges: Sequence[Charge], leaves: Leaves, *, refusing: bool = False, late: bool = False
) -> None:
    """Check that no content is charged more often than somebody agreed to, and that the books hold every charge.

    `refusing`: the vendor charged and refused, so that a set may have cost as many tries as may stay unproven, and each leave of
    a person one more; `late`: it charged something after it had answered, so that a balance may have been read too early.
    """
    jobs: dict[Content, list[Job]] = {}
    for job in told.jobs.values():
        if bought(job)[0] != "":
            jobs.setdefault(bought(job), []).append(job)
    paid = Counter(charge.bought for charge in charges)
    assert paid.keys() <= jobs.keys(), "bought what nobody dropped"
    for content, count in paid.items():
        tries = TRIES_FOR_A_CONTENT if refusing else 1
        given = _consents(jobs[content], leaves) + _given(told, jobs[content], leaves)
        agreed, most = 1 + given, tries + given * (tries if late else 1)
        assert count <= most, f"charged {count} times, agreed to {agreed}: {jobs[content]}"
        ids = {job.id for job in jobs[content]}
        booked = [p for p in told.purchases if p.job in ids and (p.outcome != "free" or p.told or late)]
        assert count <= len(booked), f"charged {count} times, {len(booked)} in the books: {jobs[content]}"
    refused = [p.outcome for p in told.purchases if p.outcome in ("charged", "refused")]
    in_a_row = len(refused) - max((n for n, outcome in enumerate(refused, 1) if outcome == "charged"), default=0)
    assert in_a_row <= REFUSED_IN_A_ROW, f"{in_a_row} submits in a row were refused after their whole body"
    _check_lost(told, charges)
    _check_duplicates(told, jobs)


def bought(job: Job) -> Content:
    """Return what a job buys; its model is "" until it is known, and None where its kind has none (with one image at most)."""
    model, image, kind = job.file(Role.MODEL), job.file(Role.IMAGE), kind_of(job)
    options = tuple(sorted(submit_fields(kind, job.options)))
    unknown = "" if kind.most(Role.MODEL) else None
    return (model.sha256 if model else unknown, image.sha256 if image else "", options)


def _consents(jobs: Iterable[Job], leaves: Leaves) -> int:
    """Return how many different leaves to pay again came with sidecars: the same one counts once."""
    sidecars = filter(None, (job.file(Role.SIDECAR) for job in jobs))
    return len({leaves.consents[file.sha256] for file in sidecars if file.sha256 in leaves.consents})


def _given(told: Told, jobs: Iterable[Job], leaves: Leaves) -> int:
    """Return how many leaves of people were used to send something once more."""
    count = 0
    for event in (event for job in jobs for event in told.of_job(job.id)):
        ask = Asked(event.action, event.job, told.period(event.job, before=event.id)[1])
        count += (ask in leaves.not_charged and event.state == State.STAGED) or ask in leaves.pay_again
    return count


def _check_lost(told: Told, charges: Iterable[Charge]) -> None:
    """Check that the id of each charged task is kept, in a job or its history, but for those that no answer named.

    A charge that only the balance has shown has no name either; its job is held, or was.
    """
    known = {job.task.uuid for job in told.jobs.values() if job.task}
    words = " ".join(event.message for event in told.events)
    lost = [c.task_uuid for c in charges if c.task_uuid not in known and c.task_uuid not in words]
    held = {event.job for event in told.events if event.state == State.HELD}
    doubtful = ("open", "unknown", "refused")
    nameless = [
        p for p in told.purchases if p.outcome in doubtful or p.told or (p.outcome == "charged" and p.job in held)
    ]
    assert len(lost) <= len(nameless), f"paid tasks are lost: {lost}"


def _check_duplicates(told: Told, jobs: Mapping[Content, Collection[Job]]) -> None:
    """No upload begins while the same content is under way or delivered, unless `again` was said."""
    states: dict[str, str] = {}
    for event in told.events:
        job, old = told.jobs[event.job], states.get(event.job)
        if event.state == State.UPLOADING and old == State.STAGED and not job.again:
            others = [other for other in jobs.get(bought(job), ()) if other.id != job.id]
            twice = [o.id for o in others if states.get(o.id, "failed") not in ("claimed", "failing", "failed")]
            assert not twice, f"{job.id} was uploaded although {twice} has the same content"
        states[event.job] = event.state


def check_budget(told: Told, caps: Mapping[str, object]) -> None:
    """Check that the books of the day hold no more than the budget allows; `caps` are the largest that were in force today.

    What the vendor takes above its list price is known only afterwards, so it does not count here.
    """
    today = [p for p in told.purchases if p.id > told.day_after and p.outcome != "free"]
    if (per_day := caps.get("per_day_credits")) is not None:
        spent = sum((min(p.cost, PRICE) for p in today), Decimal(0))
        assert spent <= Decimal(str(per_day)), f"{spent} credits in a day of {per_day}: {today}"
    if (per_folder := caps.get("per_folder_credits")) is not None:
        for top in {p.top for p in today}:
            spent = sum((min(p.cost, PRICE) for p in today if p.top == top), Decimal(0))
            assert spent <= Decimal(str(per_folder)), f"{spent} credits in a day of {per_folder} for {top!r}: {today}"


def check_outbox(root: Path, told: Told, charges: Iterable[Charge]) -> None:
    """Check that each result that can be seen is whole, and its receipt says what the vendor's ledger says."""
    uuids = {charge.task_uuid for charge in charges}
    for receipt in (root / "outbox").rglob("job.toml"):
        said = tomllib.loads(receipt.read_text())
        files = (path for path in receipt.parent.rglob("*") if path.is_file() and path != receipt)
        there = {path.relative_to(receipt.parent).as_posix(): path.read_bytes() for path in files}
        listed = {result["name"]: result["sha256"] for result in said["results"]}
        assert {name: hashlib.sha256(data).hexdigest() for name, data in there.items()} == listed
        assert said["task"]["uuid"] in uuids
        assert said["job"]["id"] in told.jobs
    for path in (root / "outbox").rglob("*"):
        if path.is_file() and path.name not in (MARK, SUBMITS_NOTE):
            assert any((above / "job.toml").is_file() for above in path.parents), (
                f"{path} was published without a receipt"
            )


def check_status(text: str, told: Told, waiting: Iterable[frozenset[str]]) -> None:
    """Check that the page names every set that is under way or held, and every one that waits, by one of its names."""
    for job in told.jobs.values():
        if job.state not in ENDED:
            assert set_name(job.folder, job.name) in text, f"STATUS.txt does not mention {job.name!r}, {job.state}"
    for names in waiting:
        assert any(printable(name) in text for name in names), f"STATUS.txt mentions none of {names}:\n{text}"
