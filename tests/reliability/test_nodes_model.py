"""Several daemons on one store, as a model: whatever stops, dies, sleeps or is cut off, nothing is paid twice.

A `World` is all that there is: the store (the row of each root with its lease, the jobs, what is known of the daemons), a
replica that may lag behind it, the processes with their clocks, what their kernels still send, and the vendor. `steps` gives
each next thing that may happen; a process may stop between any two of its instructions. How jobs move and what the balance proves is not
modelled: that is the program's own code (`core.machine`, `core.proof`).

The same steps are walked in two ways: all of them, breadth first, in small worlds; and at random, in larger ones. A rule of the
design is a field of `Rules`. Each is broken once, to show that the model finds what comes of it. The argument that this
checks is in docs/nodes.md.

Time goes in ticks. Clocks count them; how far they are apart does not matter, because nothing compares two of them. What the
model takes for granted: the server's transactions, in the order of its lock; that last bytes which the kernel was given arrive
within a time or never (`TCP_USER_TIMEOUT`); that the balance shows a charge within `settle_seconds`; that the vendor takes no
request without its end. It may wait for that end for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from functools import cache, partial
from typing import Any, Final, NamedTuple

import pytest
from effort import searching
from hypothesis import Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from rodin_watchd.core import machine
from rodin_watchd.core.machine import AT_VENDOR
from rodin_watchd.core.proof import Baseline, Proof, Since, Verdict, concluded, judged
from rodin_watchd.errors import OutcomeUnknownError
from rodin_watchd.model import Answer, Done, Job, State, Task, Transition

LEASE: Final = 1  # ticks that a root is kept after a renewal has begun
LATE: Final = 0  # full ticks after which last bytes have arrived, or never will
BOOKED: Final = 0  # full ticks after which a charge is in the balance
SETTLE: Final = LATE + BOOKED + 1
NOW: Final = 0.0
PRICE: Final = Decimal("0.5")
BEFORE: Final = Decimal("99.5")
ANSWER: Final = Answer(201, b'{"uuid": "task", "jobs": {"uuids": [], "subscription_key": "key"}}')


@dataclass(frozen=True)
class Rules:
    """What the design asks for. Without any one of these nothing is safe, as the mutants show."""

    fences: bool = True  # a commit checks that the root's row still has the number under which it was taken …
    names_owner: bool = True  # … and this process
    commits_first: bool = True  # `submitting` is committed before the last bytes leave
    looks: bool = True  # a process looks at its lease right before them
    counts_sleep: bool = True  # by a clock that goes on while the machine sleeps
    counts_from_begin: bool = True  # of a renewal, not from its answer
    observes: bool = True  # who takes over has seen no renewal for as long as the lease; else: by the server's clock
    observes_anew: bool = True  # on one connection
    asks_after_cut: bool = True  # the end of a commit that was cut off is found out
    frees_at_rest: bool = True  # a lease is freed when no last bytes can leave any more
    waits_for_end: bool = (
        True  # what a silent process was submitting is proven free when that process is known to have ended
    )
    keeps_sender: bool = True  # also where it was taken over once more meanwhile
    begins_anew: bool = True  # the readings of a proof count from when that was known
    sees_all: bool = True  # and from when nothing of any root was open at the vendor
    settles: bool = True  # for as long as bytes and charges may take
    limits_bytes: bool = True  # the kernel does not try for ever
    counts_submits: bool = True  # in the folder, before the look; who takes over reads it
    marks_folder: bool = (
        True  # who takes over marks the folder before that; who sends reads the mark after it has counted
    )


class BrokenError(AssertionError):
    """A promise is broken."""


# ---- A job: what the model remembers of it, and the moves of the real machine ----------------------------------------


class Known(NamedTuple):
    """What distinguishes one job from another here."""

    state: State
    attempts: int = 0
    charges: int = 0
    has_task: bool = False
    unknown: bool = False  # held, because its outcome is not known


@cache
def job_of(known: Known, job_id: int) -> Job:
    """Return the job itself."""
    problem = OutcomeUnknownError("No answer.").problem if known.unknown else None
    task = Task("task", "") if known.has_task else None
    identity = {"id": str(job_id), "name": "set", "folder": "", "files": (), "options": {}, "created_at": NOW}
    return Job(
        **identity,  # type: ignore[arg-type]
        state=known.state,
        attempts=known.attempts,
        charges=known.charges,
        task=task,
        problem=problem,
    )


def known_of(moves: tuple[Transition, ...], before: Known) -> Known:
    """Return what a job is after some moves."""
    if not moves:
        return before
    job = moves[-1].job
    unknown = job.problem is not None and job.problem.code == OutcomeUnknownError.code
    return Known(job.state, min(job.attempts, 1), job.charges, job.task is not None, unknown)


@cache
def begun(known: Known) -> Known:
    """Return a job whose upload is intended."""
    return known_of((machine.begin_upload(job_of(known, 0), NOW, PRICE, "account"),), known)


@cache
def closed(known: Known) -> Known:
    """Return a job whose last bytes are intended."""
    return known_of((machine.close_upload(job_of(known, 0), NOW),), known)


@cache
def answered(known: Known) -> Known:
    """Return a job after the vendor's answer."""
    job = machine.answered(job_of(known, 0), ANSWER).job
    return known_of((machine.after(job, machine.understood(job, NOW), NOW, 0.0),), known)


@cache
def unanswered(known: Known) -> Known:
    """Return a job whose answer is not known."""
    job = job_of(known, 0)
    return known_of((machine.after(job, machine.understood(job, NOW), NOW, 0.0),), known)


@cache
def finished(known: Known) -> Known:
    """Return a job after the vendor is done."""
    job = job_of(known, 0)
    return known_of((machine.after(job, Done(job), NOW, 0.0),), known)


@cache
def doubted(known: Known) -> Known:
    """Return a job that an older store may not know enough of."""
    return known_of(machine.hold_unsent(job_of(known, 0), machine.OLDER, NOW, lambda _: PRICE, "account"), known)


@cache
def proof_of(lower: int, charged: int, unknown: int) -> Proof:
    """Return what the balance proves that is lower by so many prices, with so many charged and unknown submits since."""
    since = Since(
        charged=charged * PRICE,
        unknown=unknown,
        at_stake=unknown * PRICE,
        undecided=frozenset(),
        refundable=0,
        decided=0,
        accepted=charged,
    )
    reading = BEFORE - lower * PRICE
    return judged(Baseline("account", BEFORE, 0), since, (reading, reading), exact=True)


@cache
def after_proof(known: Known, verdict: Verdict) -> Known:
    """Return a held job after a verdict of the balance."""
    return known_of(concluded(job_of(known, 0), Proof(verdict, "By the balance."), NOW, 0.0), known)


# ---- The world --------------------------------------------------------------------------------------------------------


class Name(NamedTuple):
    """A process: which daemon's, and which of its."""

    daemon: int
    number: int


class Held(NamedTuple):
    """A job in the store."""

    known: Known
    silent: Name | None = None  # the process that was submitting it when it fell silent
    passed: bool = False  # a newer baseline counts from after its purchase: no proof is about it any more
    doubted: bool = False  # an older store was found: for a person


class Row(NamedTuple):
    """The row of a root."""

    owner: Name | None = None
    fence: int = 0
    renewed: int = 0
    left: int = 0  # until it is over by the server's clock
    committer: Name | None = None  # who has committed under this number
    written: int = 0  # commits
    baseline: int = 0  # prices by which the balance was lower when it was read
    charged: int = 0  # submits that were known to be charged then
    submits: int = 0


class Store(NamedTuple):
    """What the database has."""

    rows: tuple[Row, ...]
    jobs: tuple[Held, ...]
    newest: tuple[int, ...]  # of each daemon the newest process


class Process(NamedTuple):
    """The newest process of a daemon."""

    number: int = 0
    phase: str = "gone"  # gone, standby, taken, marked, owner
    stopped: bool = False  # by a signal, or its machine sleeps
    fence: int = 0
    written: int = 0
    left: int = 0  # of its lease, by its own clock
    asks: int | None = None  # ticks since a renewal began that is not answered yet
    seen: int | None = None  # the renewal that a standby has seen …
    age: int = 0  # … for so long
    upload: int | None = None  # the job
    at: str = ""  # body, closed, counted, looked, sent, accepted
    submits: int = 0  # the count with that one
    quiet: int = 0  # ticks since nothing is open that a proof could be disturbed by
    provable: frozenset[int] = frozenset()


SERVING: Final = ("taken", "marked", "owner")


class Flight(NamedTuple):
    """Last bytes that a kernel was given."""

    job: int
    sender: Name
    left: int


class World(NamedTuple):
    """All that there is."""

    store: Store
    replica: Store
    processes: tuple[Process, ...]
    flights: tuple[Flight, ...]
    charged: tuple[int, ...]  # how often each job was
    booking: tuple[int, ...]  # charges that the balance does not show yet: how long that may still take
    counted: tuple[int, ...]  # in the folder of each root
    marks: tuple[Name | None, ...]  # in the folder of each root: who has taken it over last
    may: tuple[int, ...]  # how often it may still happen: crash, stop, failover, jump, order


CRASH, STOP, FAILOVER, JUMP, ORDER = range(5)


@dataclass(frozen=True)
class Setting:
    """How large a world is, and what may happen in it how often."""

    roots: tuple[int, ...]  # of each daemon
    jobs: tuple[int, ...]  # the root of each job
    starts: int = 1  # of each daemon
    crashes: int = 0
    stops: int = 0
    failovers: int = 0
    jumps: int = 0
    orders: int = 0

    def begin(self) -> World:
        """Give the world before anything has happened."""
        rows = tuple(Row() for _ in set(self.roots))
        store = Store(rows, tuple(Held(Known(State.STAGED)) for _ in self.jobs), tuple(0 for _ in self.roots))
        may = (self.crashes, self.stops, self.failovers, self.jumps, self.orders)
        nobody = tuple(Process() for _ in self.roots)
        return World(
            store,
            store,
            nobody,
            (),
            tuple(0 for _ in self.jobs),
            (),
            tuple(0 for _ in rows),
            tuple(None for _ in rows),
            may,
        )


def put(values: tuple[Any, ...], number: int, value: object) -> tuple[Any, ...]:
    """Return the values with another one in a place."""
    return (*values[:number], value, *values[number + 1 :])


# ---- What may happen --------------------------------------------------------------------------------------------------


class Model:
    """Gives what may happen next in a world; raises BrokenError where a promise is broken by it."""

    def __init__(self, setting: Setting, rules: Rules = Rules()) -> None:
        self.setting = setting
        self.rules = rules

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Yield each step by its name, with the world after it."""
        for daemon, process in enumerate(world.processes):
            if process.stopped:
                yield f"{daemon} goes on", self._with(world, daemon, process._replace(stopped=False))
                continue
            for name, after in self._instructions(world, daemon, process):
                yield f"{daemon} {name}", after
            if process.phase != "gone":
                yield from self._fates(world, daemon, process)
        yield from self._elsewhere(world)

    def _with(self, world: World, daemon: int, process: Process) -> World:
        return world._replace(processes=put(world.processes, daemon, process))

    def _gone(self, world: World, daemon: int) -> World:
        return self._with(world, daemon, Process(world.processes[daemon].number))

    def _fates(self, world: World, daemon: int, process: Process) -> Iterator[tuple[str, World]]:
        may = world.may
        if may[CRASH]:
            after = self._gone(world, daemon)
            yield f"{daemon} is killed", after._replace(may=put(may, CRASH, may[CRASH] - 1))
        if may[STOP] and process.phase in SERVING:
            after = self._with(world, daemon, process._replace(stopped=True))
            yield f"{daemon} is stopped", after._replace(may=put(may, STOP, may[STOP] - 1))

    # ---- the instructions of a process ------------------------------------------------------------------------------

    def _instructions(self, world: World, daemon: int, process: Process) -> Iterator[tuple[str, World]]:
        if process.phase == "gone":
            if process.number < self.setting.starts:
                yield "starts", self._started(world, daemon)
        elif process.phase == "standby":
            yield from self._waiting(world, daemon, process)
        elif process.phase == "taken":
            marks = put(world.marks, self.setting.roots[daemon], Name(daemon, process.number))
            marked = world._replace(marks=marks)
            yield "marks the folder", self._with(marked, daemon, process._replace(phase="marked"))
        elif process.phase == "marked":
            yield "repairs", self._committed(world, daemon, self._repaired)
        else:
            yield from self._serving(world, daemon, process)

    def _started(self, world: World, daemon: int) -> World:
        number = world.processes[daemon].number + 1
        store = world.store._replace(newest=put(world.store.newest, daemon, number))
        return self._with(world._replace(store=store), daemon, Process(number, "standby"))

    def _waiting(self, world: World, daemon: int, process: Process) -> Iterator[tuple[str, World]]:
        row = world.store.rows[self.setting.roots[daemon]]
        if process.seen != row.renewed:
            yield "reads the row", self._with(world, daemon, process._replace(seen=row.renewed, age=0))
        over = process.seen == row.renewed and process.age >= LEASE if self.rules.observes else row.left == 0
        if row.owner is None or over or row.owner.daemon == daemon:
            yield "takes over", self._taken(world, daemon, process)

    def _taken(self, world: World, daemon: int, process: Process) -> World:
        root, store = self.setting.roots[daemon], world.store
        row, jobs = store.rows[root], store.jobs
        former = row.owner
        if former is not None and former.daemon != daemon and store.newest[former.daemon] == former.number:
            for number, held in enumerate(jobs):
                first = held.silent is None or not self.rules.keeps_sender
                if self.setting.jobs[number] == root and held.known.state is State.SUBMITTING and first:
                    jobs = put(jobs, number, held._replace(silent=former))
        me = Name(daemon, process.number)
        row = row._replace(
            owner=me, fence=row.fence + 1, renewed=row.renewed + 1, left=LEASE, committer=None, written=row.written + 1
        )
        taken = Process(process.number, "taken", fence=row.fence, written=row.written, left=LEASE)
        after = world._replace(store=store._replace(rows=put(store.rows, root, row), jobs=jobs))
        return self._with(after, daemon, taken)

    def _repaired(self, world: World, daemon: int, process: Process) -> World:
        root, store = self.setting.roots[daemon], world.store
        row, jobs = store.rows[root], store.jobs
        behind = self.rules.counts_submits and world.counted[root] > row.submits
        for number, held in enumerate(jobs):
            if self.setting.jobs[number] == root:
                jobs = put(jobs, number, self._found(held, behind=behind))
        if behind:
            row = row._replace(submits=world.counted[root])
        after = world._replace(store=store._replace(rows=put(store.rows, root, row), jobs=jobs))
        return self._with(after, daemon, process._replace(phase="owner"))

    @staticmethod
    def _found(held: Held, *, behind: bool) -> Held:
        """Return what a start makes of a job; `behind`: the store is older than what was paid."""
        found = doubted(held.known) if behind else held.known
        if found != held.known:
            return held._replace(known=found, doubted=True)
        return held._replace(known=unanswered(found)) if found.state is State.SUBMITTING else held

    def _serving(self, world: World, daemon: int, process: Process) -> Iterator[tuple[str, World]]:
        root = self.setting.roots[daemon]
        yield from self._renewing(world, daemon, process)
        if process.upload is None:
            for number, held in enumerate(world.store.jobs):
                if self.setting.jobs[number] == root:
                    yield from self._acting(world, daemon, process, number, held)
        else:
            yield from self._uploading(world, daemon, process)
        may = world.may
        if may[ORDER] and (process.upload is None or not self.rules.frees_at_rest):
            row = world.store.rows[root]
            if self._may_commit(row, Name(daemon, process.number), process):
                after = self._with_row(world, root, row._replace(owner=None))
                after = after if process.upload is not None else self._gone(after, daemon)
                yield "frees its lease", after._replace(may=put(may, ORDER, may[ORDER] - 1))

    def _with_row(self, world: World, root: int, row: Row) -> World:
        return world._replace(store=world.store._replace(rows=put(world.store.rows, root, row)))

    def _renewing(self, world: World, daemon: int, process: Process) -> Iterator[tuple[str, World]]:
        root = self.setting.roots[daemon]
        row = world.store.rows[root]
        if process.asks is not None:
            left = LEASE - process.asks if self.rules.counts_from_begin else LEASE
            kept = process._replace(asks=None, left=max(left, 0))
            yield "hears that it has renewed", self._with(world, daemon, kept)
        elif row.owner != Name(daemon, process.number) and self.rules.fences:
            yield "finds itself fenced", self._gone(world, daemon)
        elif process.left < LEASE:
            renewed = row._replace(renewed=row.renewed + 1, left=LEASE)
            asking = process._replace(asks=0)
            if self._may_commit(row, Name(daemon, process.number), process):
                yield "renews", self._with(self._with_row(world, root, renewed), daemon, asking)
            if not self.rules.asks_after_cut:
                yield "renews, which is cut off", self._with(world, daemon, asking)

    def _may_commit(self, row: Row, me: Name, process: Process) -> bool:
        owns = row.fence == process.fence and (row.owner == me or not self.rules.names_owner)
        return (owns or not self.rules.fences) and process.written == row.written

    def _committed(self, world: World, daemon: int, change: Any) -> World:  # noqa: ANN401 - a method of this class
        """Make a change of jobs by a commit; a process that may not ends at once."""
        root, process = self.setting.roots[daemon], world.processes[daemon]
        row, me = world.store.rows[root], Name(daemon, process.number)
        if not self._may_commit(row, me, process):
            return self._gone(world, daemon)
        if row.owner != me:
            raise BrokenError(f"{me} commits, while {row.owner} has the root")
        if row.committer not in (None, me):
            raise BrokenError(f"{me} and {row.committer} have committed under the number {row.fence}")
        row = row._replace(committer=me, written=row.written + 1)
        process = process._replace(written=row.written)
        return change(self._with(self._with_row(world, root, row), daemon, process), daemon, process)  # type: ignore[no-any-return]

    def _moved(self, world: World, daemon: int, number: int, held: Held, **changes: Any) -> World:  # noqa: ANN401 - fields of a process
        """Commit that a job is another one, and what its process then is."""

        def change(world: World, daemon: int, process: Process) -> World:
            after = world._replace(store=world.store._replace(jobs=put(world.store.jobs, number, held)))
            return self._with(after, daemon, process._replace(**changes))

        return self._committed(world, daemon, change)

    def _acting(
        self, world: World, daemon: int, process: Process, number: int, held: Held
    ) -> Iterator[tuple[str, World]]:
        known = held.known
        if known.state in (State.STAGED, State.UPLOADING):
            after = self._moved(world, daemon, number, Held(begun(known)), upload=number, at="body")
            yield f"begins to send {number}", after
        if known.state is State.SUBMITTED:
            yield f"finishes {number}", self._moved(world, daemon, number, held._replace(known=finished(known)))
        if number in process.provable and process.quiet >= (SETTLE if self.rules.settles else 0):
            yield f"judges {number}", self._judged(world, daemon)

    def _uploading(self, world: World, daemon: int, process: Process) -> Iterator[tuple[str, World]]:
        if process.at == "body":
            yield from self._before_closing(world, daemon, process)
        elif process.at in ("sent", "accepted"):
            yield from self._ending(world, daemon, process)
        else:
            yield self._closing(world, daemon, process)

    def _before_closing(self, world: World, daemon: int, process: Process) -> Iterator[tuple[str, World]]:
        """Ask for the commit of `submitting`: all but the last bytes has arrived."""
        assert process.upload is not None
        if not self.rules.commits_first:
            yield "sends the last bytes", self._sent(world, daemon, process)
        if world.store.jobs[process.upload].known.state is State.UPLOADING:
            yield "commits `submitting`", self._closed(world, daemon, process)
        else:  # another one has moved it
            yield "finds itself fenced", self._gone(world, daemon)
        if not self.rules.asks_after_cut:
            submits = world.store.rows[self.setting.roots[daemon]].submits
            believed = process._replace(at="closed", submits=submits + 1)
            yield "commits `submitting`, which is cut off", self._with(world, daemon, believed)

    def _closing(self, world: World, daemon: int, process: Process) -> tuple[str, World]:
        """Go on between the commit of `submitting` and the last bytes."""
        root = self.setting.roots[daemon]
        if process.at == "closed" and world.counted[root] > process.submits and self.rules.counts_submits:
            return "finds more submits counted", self._gone(world, daemon)
        if process.at == "closed":
            counted = world._replace(counted=put(world.counted, root, process.submits))
            return "counts the submit", self._with(counted, daemon, process._replace(at="counted"))
        if process.at == "looked":
            return "sends the last bytes", self._sent(world, daemon, process)
        if world.marks[root] != Name(daemon, process.number) and self.rules.marks_folder:
            return "finds another mark", self._gone(world, daemon)
        if process.left > 0 or not self.rules.looks:
            return "looks at its lease", self._with(world, daemon, process._replace(at="looked"))
        return "finds its lease over", self._gone(world, daemon)

    def _ending(self, world: World, daemon: int, process: Process) -> Iterator[tuple[str, World]]:
        """Wait for the answer: the last bytes are the kernel's."""
        number = process.upload
        assert number is not None
        known = world.store.jobs[number].known
        if known.state is not State.SUBMITTING:  # another one has moved it, or no intent was committed
            yield "finds itself fenced", self._gone(world, daemon)
            return
        if process.at == "accepted":
            yield "commits the answer", self._moved(world, daemon, number, Held(answered(known)), upload=None, at="")
        lost = world.store.jobs[number]._replace(known=unanswered(known))
        yield "gets no answer", self._moved(world, daemon, number, lost, upload=None, at="")

    def _closed(self, world: World, daemon: int, process: Process) -> World:
        number, root = process.upload, self.setting.roots[daemon]
        assert number is not None

        def change(world: World, daemon: int, process: Process) -> World:
            row = world.store.rows[root]
            row = row._replace(submits=row.submits + 1)
            held = world.store.jobs[number]
            store = world.store._replace(jobs=put(world.store.jobs, number, held._replace(known=closed(held.known))))
            after = self._with_row(world._replace(store=store), root, row)
            return self._with(after, daemon, process._replace(at="closed", submits=row.submits))

        return self._committed(world, daemon, change)

    def _sent(self, world: World, daemon: int, process: Process) -> World:
        assert process.upload is not None
        flight = Flight(process.upload, Name(daemon, process.number), LATE)
        flights = tuple(sorted((*world.flights, flight)))
        return self._with(world._replace(flights=flights), daemon, process._replace(at="sent"))

    # ---- the proof --------------------------------------------------------------------------------------------------

    def _provable(self, store: Store, root: int) -> frozenset[int]:
        """Return the held jobs of a root that the balance may decide about."""
        return frozenset(
            number
            for number, held in enumerate(store.jobs)
            if self.setting.jobs[number] == root
            and (held.known.state is State.HELD and held.known.unknown and not held.passed and not held.doubted)
            and not (self.rules.waits_for_end and self._may_live(store, held.silent))
        )

    def _may_live(self, store: Store, name: Name | None) -> bool:
        return name is not None and store.newest[name.daemon] == name.number

    def _judged(self, world: World, daemon: int) -> World:
        root = self.setting.roots[daemon]
        lost = self._provable(world.store, root)

        def change(world: World, daemon: int, process: Process) -> World:
            row, jobs = world.store.rows[root], world.store.jobs
            charged = sum(held.known.charges for held in jobs)
            unknown = [
                number
                for number, held in enumerate(jobs)
                if held.known.state is State.HELD and held.known.unknown and not held.passed
            ]
            lower = sum(world.charged) - len(world.booking)
            proof = proof_of(lower - row.baseline, charged - row.charged, len(unknown))
            for number in lost:
                held = jobs[number]
                jobs = put(jobs, number, held._replace(known=after_proof(held.known, proof.verdict)))
            for number, held in enumerate(jobs):
                if held.known.state is State.HELD and self.setting.jobs[number] == root:
                    jobs = put(jobs, number, held._replace(passed=True))
            row = row._replace(baseline=lower, charged=sum(held.known.charges for held in jobs))
            after = self._with_row(world._replace(store=world.store._replace(jobs=jobs)), root, row)
            return self._with(after, daemon, process._replace(quiet=0, provable=frozenset()))

        return self._committed(world, daemon, change)

    # ---- the kernels, the vendor, the server, time ------------------------------------------------------------------

    def _elsewhere(self, world: World) -> Iterator[tuple[str, World]]:
        for place, flight in enumerate(world.flights):
            rest = world.flights[:place] + world.flights[place + 1 :]
            yield f"the last bytes of {flight.job} arrive", self._arrived(world._replace(flights=rest), flight)
            yield f"the last bytes of {flight.job} are lost", world._replace(flights=rest)
        for place in range(len(world.booking)):
            rest_of = world.booking[:place] + world.booking[place + 1 :]
            yield "a charge is booked", world._replace(booking=rest_of)
            break
        may = world.may
        if may[FAILOVER]:
            if world.replica != world.store:
                yield "the replica catches up", world._replace(replica=world.store)
            yield "the replica takes over", self._failed_over(world)
        if may[JUMP]:
            rows = tuple(row._replace(left=0) for row in world.store.rows)
            jumped = world._replace(store=world.store._replace(rows=rows), may=put(may, JUMP, may[JUMP] - 1))
            yield "the server's clock jumps", jumped
        awaited = [flight.left for flight in world.flights if self.rules.limits_bytes]
        if 0 not in (*awaited, *world.booking):
            yield "time passes", self._later(world)

    def _arrived(self, world: World, flight: Flight) -> World:
        charged = put(world.charged, flight.job, world.charged[flight.job] + 1)
        if charged[flight.job] > 1:
            raise BrokenError(f"the job {flight.job} is paid twice")
        after = world._replace(charged=charged, booking=tuple(sorted((*world.booking, BOOKED))))
        process = world.processes[flight.sender.daemon]
        if process.number == flight.sender.number and process.at == "sent":
            return self._with(after, flight.sender.daemon, process._replace(at="accepted"))
        return after

    def _failed_over(self, world: World) -> World:
        processes = tuple(
            one._replace(
                asks=None if self.rules.asks_after_cut else one.asks,
                seen=None if self.rules.observes_anew else one.seen,
            )
            for one in world.processes
        )
        may = put(world.may, FAILOVER, world.may[FAILOVER] - 1)
        return world._replace(store=world.replica, processes=processes, may=may)

    def _later(self, world: World) -> World:
        rows = tuple(row._replace(left=max(row.left - 1, 0)) for row in world.store.rows)
        return world._replace(
            store=world.store._replace(rows=rows),
            processes=tuple(self._older(one) for one in world.processes),
            flights=tuple(one._replace(left=max(one.left - 1, 0)) for one in world.flights),
            booking=tuple(left - 1 for left in world.booking),
        )

    def _older(self, process: Process) -> Process:
        sleeps = process.stopped and not self.rules.counts_sleep
        return process._replace(
            left=process.left if sleeps else max(process.left - 1, 0),
            asks=None if process.asks is None else min(process.asks + 1, LEASE),
            age=min(process.age + 1, LEASE) if process.seen is not None else 0,
            quiet=min(process.quiet + 1, SETTLE) if process.provable else 0,
        )

    def seen(self, world: World) -> World:
        """Let each owner see in the store what a proof depends on, and number anew what only matters by being equal."""
        processes = []
        for daemon, one in enumerate(world.processes):
            if one.phase != "owner":
                processes.append(one)
                continue
            root = self.setting.roots[daemon]
            is_open = any(
                held.known.state in AT_VENDOR
                for number, held in enumerate(world.store.jobs)
                if self.rules.sees_all or self.setting.jobs[number] == root
            )
            provable = self._provable(world.store, root)
            new = not provable <= one.provable if self.rules.begins_anew else not one.provable
            processes.append(one._replace(provable=provable, quiet=0 if is_open or new else one.quiet))
        return self._numbered(world._replace(processes=tuple(processes)))

    def _numbered(self, world: World) -> World:
        """Give renewals, commits and submits numbers from 0: what matters is which of them are equal."""
        store, processes, counted = world.store, world.processes, world.counted
        replica = world.replica if world.may[FAILOVER] else store
        for root, (here, there) in enumerate(zip(store.rows, replica.rows, strict=True)):
            own = [daemon for daemon, served in enumerate(self.setting.roots) if served == root]
            serving = [processes[daemon] for daemon in own if processes[daemon].phase in SERVING]
            seen = [one.seen for daemon in own if (one := processes[daemon]).seen is not None]
            rank = {value: place for place, value in enumerate(sorted({here.renewed, there.renewed, *seen}))}
            written = min(here.written, there.written, *(one.written for one in serving), here.written)
            closing = [one.submits for one in serving if one.at == "closed"]
            submits = min(here.submits, there.submits, counted[root], *closing)
            rows = (
                row._replace(renewed=rank[row.renewed], written=row.written - written, submits=row.submits - submits)
                for row in (here, there)
            )
            row = next(rows)
            store = store._replace(rows=put(store.rows, root, row._replace(left=0) if self.rules.observes else row))
            replica = replica._replace(rows=put(replica.rows, root, next(rows)))
            counted = put(counted, root, counted[root] - submits)
            for daemon in own:
                one = processes[daemon]
                if one.phase in SERVING:
                    count = one.submits - submits if one.at == "closed" else 0
                    one = one._replace(written=one.written - written, submits=count)
                elif one.seen is not None:
                    stale = rank[one.seen] != row.renewed and self.rules.observes_anew
                    one = one._replace(seen=None if stale else rank[one.seen], age=0 if stale else one.age)
                processes = put(processes, daemon, one)
        return world._replace(store=store, replica=replica, processes=processes, counted=counted)


def walked(model: Model, world: World, names: Iterable[str], *, strict: bool = False) -> World:
    """Go the steps of these names, leaving out what is not to be had; `strict`: KeyError for such a one."""
    for name in names:
        found = dict(model.steps(world))
        if name in found or strict:
            world = model.seen(found[name])
    return world


def explored(model: Model) -> int:
    """Walk through every world that can come, breadth first; return how many there are."""
    first = model.seen(model.setting.begin())
    came, waiting = {first}, deque([first])
    while waiting:
        for _, after in model.steps(waiting.popleft()):
            if (found := model.seen(after)) not in came:
                came.add(found)
                waiting.append(found)
    return len(came)


CALM: Final = (
    *(
        "goes on",
        "arrive",
        "is booked",
        "finds",
        "starts",
        "hears",
        "renews",
        "commits the answer",
        "counts",
        "looks",
        "sends",
    ),
    *(
        "commits `submitting`",
        "marks",
        "repairs",
        "judges",
        "finishes",
        "begins",
        "reads",
        "gets no answer",
        "takes over",
        "time passes",
    ),
)
"""What happens when nothing goes wrong any more; of several steps the one that is named first here."""


def at_rest(model: Model, world: World) -> World:
    """Let it all come to its end: all daemons are there, and nothing goes wrong any more. Raises BrokenError where a set is left undone."""
    calm = Model(replace(model.setting, starts=model.setting.starts + 2), model.rules)
    failed_over = world.may[FAILOVER] < model.setting.failovers
    world = calm.seen(world._replace(may=(0,) * len(world.may)))
    for _ in range(40 + 40 * len(model.setting.jobs)):
        found = dict(calm.steps(world))
        name = next(name for word in CALM for name in found if word in name)
        world = calm.seen(found[name])
    for number, (held, charged) in enumerate(zip(world.store.jobs, world.charged, strict=True)):
        delivered = held.known.state is State.GENERATED and charged == 1
        # A failover may have lost that a process has ended: its daemon says so at its next start.
        forgotten = failed_over and held.silent is not None
        explained = held.known.state is State.HELD and (charged == 1 or held.doubted or held.passed or forgotten)
        if not (delivered or explained):
            raise BrokenError(f"the job {number} is {held.known.state}, and was charged {charged} times")
    return world


# ---- Stories: for each rule, what happens without it ------------------------------------------------------------------

PAIR: Final = Setting(roots=(0, 0), jobs=(0,), starts=3, crashes=2, stops=2, failovers=1, jumps=1, orders=1)
TWO_JOBS: Final = replace(PAIR, jobs=(0, 0))
THREE: Final = replace(PAIR, roots=(0, 0, 0))
TWO_ROOTS: Final = replace(PAIR, roots=(0, 1), jobs=(0, 1))

BOTH: Final = ("0 starts", "0 takes over", "0 marks the folder", "0 repairs", "1 starts", "1 reads the row")
COMMITTED: Final = ("0 begins to send 0", "the replica catches up", "0 commits `submitting`")
TO_THE_LOOK: Final = ("0 counts the submit", "0 looks at its lease")
ARRIVE: Final = "the last bytes of 0 arrive"
SENT: Final = ("0 sends the last bytes", ARRIVE)
TAKEN: Final = ("a charge is booked", "time passes", "1 takes over", "1 marks the folder", "1 repairs")
FAILED_OVER: Final = ("the replica takes over", "1 reads the row", *TAKEN)


def sent_by(daemon: int, job: int = 0) -> tuple[str, ...]:
    """Return the steps of a submit, with a fresh lease."""
    steps = (
        f"begins to send {job}",
        "commits `submitting`",
        "counts the submit",
        "looks at its lease",
        "sends the last bytes",
    )
    return tuple(f"{daemon} {step}" for step in ("renews", "hears that it has renewed", *steps))


def judged_by(daemon: int, job: int = 0) -> tuple[str, ...]:
    """Return the steps of a proof, and of the submit that comes of it."""
    return ("time passes", f"{daemon} judges {job}", *sent_by(daemon, job))


class Story(NamedTuple):
    """What happens, and what breaks by it where these rules do not hold."""

    setting: Setting
    without: tuple[str, ...]
    steps: tuple[str, ...]

    @property
    def rules(self) -> Rules:
        """The mutant."""
        return replace(Rules(), **dict.fromkeys(self.without, False))


SAME_NUMBER: Final = (
    "0 starts",
    "0 takes over",
    "the replica takes over",
    "1 starts",
    "1 takes over",
    "0 marks the folder",
    "0 repairs",
)
STORIES: Final = (
    Story(PAIR, ("fences",), SAME_NUMBER),
    Story(PAIR, ("names_owner",), SAME_NUMBER),  # the takeover is lost, and the next one has the same number
    Story(PAIR, ("commits_first",), (*BOTH, "0 begins to send 0", *SENT, *TAKEN, *sent_by(1), ARRIVE)),
    Story(PAIR, ("looks", "marks_folder"), (*BOTH, *COMMITTED, *FAILED_OVER, *TO_THE_LOOK, *SENT, *sent_by(1), ARRIVE)),
    Story(
        PAIR,
        ("counts_sleep", "marks_folder"),
        (*BOTH, *COMMITTED, "0 is stopped", *FAILED_OVER, "0 goes on", *TO_THE_LOOK, *SENT, *sent_by(1), ARRIVE),
    ),
    Story(  # a renewal that is answered late …
        PAIR,
        ("counts_from_begin", "observes_anew", "marks_folder"),
        (
            *(*BOTH, "time passes", "0 renews", "1 reads the row", "time passes", "0 hears that it has renewed"),
            *(
                *COMMITTED,
                "the replica takes over",
                "1 takes over",
                "1 marks the folder",
                "1 repairs",
                *TO_THE_LOOK,
                *SENT,
                *sent_by(1),
                ARRIVE,
            ),
        ),
    ),
    Story(  # … and one that the failover has lost
        PAIR,
        ("observes_anew", "marks_folder"),
        (
            *(
                *BOTH,
                "0 begins to send 0",
                "the replica catches up",
                "time passes",
                "0 renews",
                "0 hears that it has renewed",
            ),
            *("0 commits `submitting`", "the replica takes over", "1 takes over", "1 marks the folder", "1 repairs"),
            *(*TO_THE_LOOK, *SENT, *sent_by(1), ARRIVE),
        ),
    ),
    Story(
        PAIR,
        ("observes", "marks_folder"),
        (
            *(
                *BOTH,
                *COMMITTED,
                "the replica takes over",
                "the server's clock jumps",
                "1 takes over",
                "1 marks the folder",
                "1 repairs",
            ),
            *(*TO_THE_LOOK, *SENT, *sent_by(1), ARRIVE),
        ),
    ),
    Story(
        PAIR,
        ("asks_after_cut", "counts_submits"),
        (
            *(*BOTH, "0 begins to send 0", "0 commits `submitting`, which is cut off", *TO_THE_LOOK, *SENT),
            *(*TAKEN, *sent_by(1), ARRIVE),
        ),
    ),
    Story(
        PAIR,
        ("frees_at_rest",),
        (
            *(*BOTH, *COMMITTED, *TO_THE_LOOK, "0 frees its lease", "1 takes over", "1 marks the folder", "1 repairs"),
            *(*judged_by(1), ARRIVE, *SENT),
        ),
    ),
    Story(PAIR, ("waits_for_end",), (*BOTH, *COMMITTED, *TO_THE_LOOK, *TAKEN, *judged_by(1), ARRIVE, *SENT)),
    Story(
        THREE,
        ("keeps_sender",),
        (
            *(
                *BOTH,
                "2 starts",
                *COMMITTED,
                *TO_THE_LOOK,
                "0 is stopped",
                "time passes",
                "1 takes over",
                "1 is killed",
            ),
            *(
                "2 reads the row",
                "time passes",
                "2 takes over",
                "2 marks the folder",
                "2 repairs",
                "1 starts",
                *judged_by(2),
                ARRIVE,
            ),
            *("0 goes on", *SENT),
        ),
    ),
    Story(
        TWO_JOBS,
        ("begins_anew",),
        (
            *(*BOTH, *COMMITTED, *TO_THE_LOOK, *TAKEN, *sent_by(1, 1), "1 gets no answer"),
            *("the last bytes of 1 are lost", "time passes", "0 sends the last bytes", "0 is killed", "0 starts"),
            *("1 judges 0", *sent_by(1), ARRIVE, ARRIVE),
        ),
    ),
    Story(
        TWO_ROOTS,
        ("sees_all",),
        (
            *(
                "0 starts",
                "0 takes over",
                "0 marks the folder",
                "0 repairs",
                "1 starts",
                "1 takes over",
                "1 marks the folder",
                "1 repairs",
            ),
            *(*sent_by(0), ARRIVE, "a charge is booked", "0 gets no answer", "time passes"),
            *(*sent_by(1, 1), "the last bytes of 1 arrive", "1 commits the answer", "0 judges 0", *sent_by(0), ARRIVE),
        ),
    ),
    Story(
        PAIR,
        ("settles",),
        (
            "0 starts",
            "0 takes over",
            "0 marks the folder",
            "0 repairs",
            *sent_by(0),
            "0 gets no answer",
            "0 judges 0",
            *sent_by(0),
            ARRIVE,
            ARRIVE,
        ),
    ),
    Story(
        PAIR,
        ("limits_bytes",),
        (
            *(
                "0 starts",
                "0 takes over",
                "0 marks the folder",
                "0 repairs",
                *sent_by(0),
                "0 is killed",
                "0 starts",
                "0 takes over",
                "0 marks the folder",
                "0 repairs",
            ),
            *(*judged_by(0), ARRIVE, ARRIVE),
        ),
    ),
    Story(  # a takeover that the failover has lost
        PAIR,
        ("marks_folder",),
        (
            *(
                "0 starts",
                "0 takes over",
                "0 marks the folder",
                "0 repairs",
                "0 begins to send 0",
                "0 commits `submitting`",
            ),
            *("the replica takes over", "1 starts", "1 takes over", "1 marks the folder", "1 repairs"),
            *(*TO_THE_LOOK, *SENT, *sent_by(1), ARRIVE),
        ),
    ),
    Story(PAIR, ("counts_submits",), (*BOTH, *COMMITTED, *TO_THE_LOOK, *SENT, *FAILED_OVER, *sent_by(1), ARRIVE)),
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: "+".join(story.without))
def test_every_rule_is_needed(story: Story) -> None:
    """Without the rule, or without these two, a promise is broken by the story; with it, the same story breaks none."""
    with pytest.raises(BrokenError):
        walked(Model(story.setting, story.rules), story.setting.begin(), story.steps)
    for kept in story.without:
        mended = Model(story.setting, replace(story.rules, **{kept: True}))
        at_rest(mended, walked(mended, story.setting.begin(), story.steps))


def test_each_rule_has_a_story() -> None:
    """No rule is only believed."""
    assert {rule for story in STORIES for rule in story.without} == {field.name for field in fields(Rules)}


def test_one_daemon_in_every_order() -> None:
    """A daemon that is killed, stopped and started between any two instructions pays once: every order is tried."""
    assert explored(Model(Setting(roots=(0,), jobs=(0,), starts=2, crashes=1, stops=1, orders=1))) > 1000


class Nodes(RuleBasedStateMachine):
    """Several daemons, whatever happens: along one of the stories for a while, and then at random."""

    def __init__(self, rules: Rules) -> None:
        """Follow these rules."""
        super().__init__()
        self.design = rules
        self.model = Model(PAIR, rules)
        self.world = self.model.seen(PAIR.begin())

    @initialize(story=st.sampled_from(STORIES), length=st.integers(0, 40))
    def begin(self, story: Story, length: int) -> None:
        """Tell the beginning of a story."""
        model = Model(story.setting, self.design)
        self.world = walked(model, story.setting.begin(), story.steps[:length])
        self.model = model
        note(f"{'+'.join(story.without)}: {length} steps")

    @rule(picks=st.lists(st.integers(0, 1000), min_size=1, max_size=8))
    def go_on(self, picks: list[int]) -> None:
        """Go on with any step."""
        for pick in picks:
            found = list(self.model.steps(self.world))
            name, after = found[pick % len(found)]
            note(name)
            self.world = self.model.seen(after)

    @rule(story=st.sampled_from(STORIES), first=st.integers(0, 30), length=st.integers(1, 15))
    def tell(self, story: Story, first: int, length: int) -> None:
        """Go on with a part of a story, as far as it fits."""
        self.world = walked(self.model, self.world, story.steps[first : first + length])

    def teardown(self) -> None:
        """Let it come to its end."""
        at_rest(self.model, self.world)


@pytest.mark.timeout(0)
def test_nothing_is_paid_twice_or_left_undone() -> None:
    """In any order of instructions, deaths, stops, sleeps, cuts, failovers and jumps of clocks; in the end each set is delivered or explained."""
    nodes: Any = partial(Nodes, Rules())
    run_state_machine_as_test(nodes, settings=searching(200, steps=10))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("without", ["commits_first", "waits_for_end", "counts_submits"])
def test_the_search_finds_what_is_broken(without: str) -> None:
    """The same search breaks the design without one of its rules."""
    nodes: Any = partial(Nodes, replace(Rules(), **{without: False}))
    with pytest.raises(BrokenError):
        run_state_machine_as_test(nodes, settings=settings(searching(600, steps=10), phases=[Phase.generate]))
