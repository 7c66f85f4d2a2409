"""Admission: which sets that are ready may be claimed, by the budget and by approval; the main thread's alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TypeAlias

from rodin_watchd.config import Config
from rodin_watchd.core.approval import Arrival, Changes, Found, Gate, Pass, is_below, version_of
from rodin_watchd.core.budget import Allowance
from rodin_watchd.core.claims import Turn, bill, jobs_of, wanted
from rodin_watchd.core.health import Standstill
from rodin_watchd.core.names import printable
from rodin_watchd.core.sets import ReadySet, View, WaitingSet
from rodin_watchd.core.stillness import Reason
from rodin_watchd.core.store import Beside, CommandReply, Store, StoreReader
from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.model import Entry, Job, State
from rodin_watchd.service.budget import Budget
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.jobs import JobStore

_TAKEN = "taken"
"""The version of files that are not in the inbox any more: what comes under their name is another arrival."""

Barred: TypeAlias = tuple[tuple[ReadySet, Turn], ...]


class Admission:
    """Keeps sets in the inbox that nobody may pay for yet. Every method may raise DiskError.

    `gate` is the one before a reload. After a start the journal knows what was taken within the window, and what was held.
    """

    def __init__(
        self,
        config: Config,
        job_store: JobStore,
        store: Store,
        budget: Budget,
        clock: Clock,
        gate: Gate | None = None,
    ) -> None:
        self._limit = config.budget.hold_above_sets
        self._defaults = config.defaults
        self._window_seconds = config.intake.rescan_seconds
        self._job_store = job_store
        self._store = store
        self._budget = budget
        self._now = clock.now
        self._gate = gate or _known_gate(store, clock, self._window_seconds)

    @property
    def gate(self) -> Gate | None:
        """What another one goes on with; None where nothing was counted, so that it begins by the journal."""
        return None if self._limit is None else self._gate

    def admit(self, view: View, monotonic: float, *, idle: bool) -> tuple[View, Barred]:
        """Return the view with only those ready sets that may be claimed, and the others with the reason.

        A set that is to be refused costs nothing and always may. `idle`: nothing is taken now.
        """
        self._look(view, monotonic, idle=idle)
        left, barred, late = self._budget.allowance, [], Counter[str]()
        for ready in view.ready:
            if ready.problem is None and self._gate.verdicts.get(_name(ready)) is Pass.HELD:
                barred.append((ready, Turn.APPROVAL))
            elif ready.problem is None and left.caps.any and (reason := self._why_late(left, ready)):
                barred.append((ready, Turn.BUDGET))
                late[reason] += 1
        self._budget.bar(late)
        kept = {id(ready) for ready, _ in barred}
        return replace(view, ready=tuple(r for r in view.ready if id(r) not in kept)), tuple(barred)

    def still_admits(self, chosen: Iterable[ReadySet]) -> bool:
        """Return whether these sets, which were admitted before, may be claimed now: nothing else was spent meanwhile."""
        left = self._budget.allowance
        return not left.caps.any or not any(self._why_late(left, ready) for ready in chosen)

    def _why_late(self, left: Allowance, ready: ReadySet) -> str:
        first, *others = wanted(ready, self._defaults)
        return left.why_not(ready.candidate.folder, first, others)

    def _found(self, ready: ReadySet) -> Found:
        found = _found(ready.entries.values(), settled=True)
        return found._replace(jobs=len(jobs_of(ready, self._defaults)))

    def bill(self, ready: ReadySet) -> str:
        """Say what the jobs of a set come to, "" where it is one."""
        return bill(ready, self._defaults, self._budget.price)

    def _look(self, view: View, monotonic: float, *, idle: bool) -> None:
        """Note what came; say once when sets begin to be held. Without a limit nothing is, nor stays, held."""
        limit = self._limit
        if limit is None and self._gate == Gate():
            return
        settling = {_name(w): _found(w.entries, settled=False) for w in view.waiting if w.settling}
        ready = {_name(r): self._found(r) for r in view.ready if r.problem is None}
        found = {**settling, **ready}
        window = self._window_seconds
        gate = Gate() if limit is None else self._gate.looked(found, monotonic, window, limit, idle=idle)
        was_held = bool(self._gate.held)
        if (changes := gate.changes_from(self._gate)) != Changes():
            self._store.commit((), self._now(), beside=Beside(gate=changes))
        self._gate = gate
        if gate.held and not was_held:
            self._job_store.report("crowd", self._reason(len(gate.held)), self._now(), subject="approval")

    def approve(self, folder: str | None, seen: int, command_id: int) -> str:
        """Let the held sets of a folder go on, or of a name, or all (None); answer the command and return how many.

        Only what is stored up to the number `seen` goes on: what came, or was replaced, later nobody has looked at. Raises
        CommandRefusedError, with nothing answered.
        """
        gate = self._gate.approved(folder, self._store.gate(seen).keys())
        count = len(self._gate.held) - len(gate.held)
        later = sum(is_below(name, folder) for name in gate.held)
        where = "in the inbox" if folder in (None, ".") else f"in “{printable(str(folder))}”"
        rest = (
            f"{_sets(later)} {where} came or changed since you looked, and {_wait(later)} for approval."
            if later
            else ""
        )
        if not count:
            message = rest or f"No set {where} waits for approval."
            raise CommandRefusedError(message, advice="`rodin-watchd status` tells which do.")
        message = f"Approved {_sets(count)} {where}. {rest}".rstrip()
        beside = Beside(CommandReply(command_id, message), gate=gate.changes_from(self._gate))
        self._store.commit((), self._now(), beside=beside)
        self._gate = gate
        subject = "approval" if not gate.held else "some-sets"
        self._job_store.report("approved", message, self._now(), subject=subject)
        return message

    @property
    def waits(self) -> bool:
        """Whether any set waits for approval."""
        return bool(self._gate.held)

    def reasons(self) -> list[Reason]:
        """Return that sets wait for approval, if any do."""
        if not (held := len(self._gate.held)):
            return []
        told = f"{self._reason(held)} `rodin-watchd approve --all` releases {_them(held)}."
        plain = f"{self._asks(held)}. Nothing was paid for {_them(held)} yet. Tell the person who runs the service."
        return [Reason(told, Standstill.APPROVAL, Standstill.APPROVAL, plain=plain)]

    def _reason(self, held: int) -> str:
        return f"{self._asks(held)} (budget.hold_above_sets)."

    def _asks(self, held: int) -> str:
        crowd = f"more than {self._limit:,} came at once" if self._limit else "every set does"
        return f"{_sets(held)} {_wait(held)} for approval: {crowd}"


def _wait(count: int) -> str:
    return "waits" if count == 1 else "wait"


def _known_gate(store: StoreReader, clock: Clock, window_seconds: float) -> Gate:
    """Return the gate as the journal knows it: the verdicts, and the sets that were taken within the window.

    A clock that was set back makes a set as new as it can be, so that it counts.
    """
    now, monotonic = clock.now(), clock.monotonic()
    known = Gate.stored(store.gate(), monotonic)
    jobs = (job for job in store.jobs(changed_since=now - window_seconds) if State.CLAIMED in job.times)
    dropped = (job for job in jobs if not job.follows)
    taken = {
        _job_name(job): Arrival(
            monotonic - max(now - job.created_at, 0.0), _TAKEN, jobs=job.batch.count if job.batch else 1
        )
        for job in dropped
    }
    return replace(known, arrived={**taken, **known.arrived})


def _job_name(job: Job) -> str:
    return f"{job.folder}/{job.name}".lstrip("/")


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _sets(count: int) -> str:
    return "1 set" if count == 1 else f"{count:,} sets"


def _found(entries: Collection[Entry], *, settled: bool) -> Found:
    return Found(version_of(entries), settled, frozenset(entry.signature for entry in entries))


def _name(found: ReadySet | WaitingSet) -> str:
    return f"{found.candidate.folder}/{found.candidate.name}".lstrip("/")
