"""The store: what the service and the command line ask of the journal, as protocols in plain verbs.

`StoreReader` is for whoever looks, in any process; `Store` is for the daemon's main thread, which alone moves jobs. SQLite or
PostgreSQL is behind them, and nobody in service/ or cli/ reaches through. What must hold for any store is in
tests/adapters/test_store_contract.py. What concerns the journal as files (backup, recovery) is no part of it.

Instants are UTC, credits are decimal numbers, `dropped` is the fingerprint of what was dropped before plugins changed an
option ("" for none), and purchases and events have numbers that grow. Reading raises JournalError, or a DiskError while
the store cannot be asked: JournalBusyError, StoreAwayError.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, Self

from rodin_watchd.core.approval import Changes, GateKey, Pass
from rodin_watchd.core.budget import BUDGET_DAY
from rodin_watchd.core.dedup import Provenance
from rodin_watchd.core.farm import FarmState
from rodin_watchd.core.kinds import Article
from rodin_watchd.core.names import printable
from rodin_watchd.core.pauses import TASK_LIMIT
from rodin_watchd.core.proof import LOSSES, Refusal, Settled, Since, Traffic
from rodin_watchd.core.refusals import BESIDE, LOOKED, FailedTries, InARow
from rodin_watchd.core.waits import CALLS
from rodin_watchd.model import Event, HookRun, Job, OwedCall, ServiceEvent, State, Transition

# ---- What goes through ----------------------------------------------------------------------------------------------


DUE: Final = "due"
DONE: Final = "done"
FAILED: Final = "failed"
"""What came of a plugin's call (`HookRun.outcome`)."""

ROOT_ID: Final = "root_id"
"""The journal's key of the root that it belongs to."""

COPIED_AT: Final = "copied_at"
"""The key of the mark that a backup carries, and the journal itself never: when it was made."""

MOVED_TO: Final = "moved_to"
"""The key of the mark that a store carries which was copied to another place: where it is now. Nothing is paid from it any more."""

MOVED_FROM: Final = "moved_from"
"""The key of the mark that a copy carries until a service begins with it: where it was copied from."""

SHARED_KEYS: Final = frozenset({"pause", BUDGET_DAY, CALLS, TASK_LIMIT, BESIDE, LOOKED, LOSSES, MOVED_TO, MOVED_FROM})
"""The keys of what all roots of a store have in common; every other value is of one root. A change needs a migration."""

TOO_OLD: Final = "The journal was restored or copied since this command was given: look at the job, then give it again."
"""The answer to a command that may have been carried out elsewhere, or before."""

NO_META: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Command:
    """What a person asked for through the command line."""

    id: int
    verb: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CommandReply:
    """The answer to a command, which closes it."""

    command_id: int
    message: str
    ok: bool = True


class Announcer(Protocol):
    """Gives the calls of plugins that a move or an event owes; they are stored with it (`core.notifications.PluginAnnouncer`)."""

    def of_move(self, move: Transition, now: float) -> list[OwedCall]:
        """Return the calls that a move owes."""

    def of_service(self, event: ServiceEvent) -> list[OwedCall]:
        """Return the calls that an event of the service owes."""


class _Nobody:
    """Is called when there is no plugin."""

    def of_move(self, move: Transition, now: float) -> list[OwedCall]:  # noqa: ARG002 - the protocol's
        """Return no call."""
        return []

    def of_service(self, event: ServiceEvent) -> list[OwedCall]:  # noqa: ARG002 - the protocol's
        """Return no call."""
        return []


SILENT: Final[Announcer] = _Nobody()
"""No plugin is called for anything."""


class Beside(NamedTuple):
    """What is written in one transaction with moves, or without any."""

    reply: CommandReply | None = None  # to the command that asked: none is carried out without being closed
    settled: Sequence[Settled] = ()  # what purchases were after all
    confirmed: tuple[int, int] = (0, 0)  # after the first purchase, up to the second: the balance fell by their cost
    gate: Changes = Changes()  # which sets in the inbox are held for approval, or have passed


NOTHING_BESIDE: Final = Beside()


class ListOrder(StrEnum):
    """In which order jobs are listed."""

    NEWEST = "newest"  # by when they were taken
    OLDEST = "oldest"
    NAME = "name"  # of the set, without upper and lower case of ASCII letters
    COST = "cost"  # the dearest first


class Cursor(NamedTuple):
    """The last job of a page of a list: the next page begins after it."""

    key: float | str  # what the list is ordered by
    job_id: str

    @classmethod
    def of(cls, order: ListOrder, job: Job) -> Self:
        """Return the cursor that stands at a job."""
        keys: dict[ListOrder, float | str] = {ListOrder.NAME: printable(job.name), ListOrder.COST: float(job.spent)}
        return cls(keys.get(order, job.created_at), job.id)


EVERYWHERE: Final = None
"""Any folder."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Which jobs are wanted: one page of a list."""

    states: frozenset[State] = frozenset(State)
    kind: str = ""  # "": any
    folder: str | None = EVERYWHERE  # below the inbox, with all below it; "": the inbox itself, without its folders
    text: str = ""  # a part of the name with its folder; ASCII letters in upper or lower case
    order: ListOrder = ListOrder.NEWEST
    after: Cursor | None = None  # None: from the beginning
    limit: int = 60


class OldJob(NamedTuple):
    """A job that was copied to the archive file, and what shows that it was not changed since."""

    job: Job  # as the store keeps it from then on (`core.condensing`)
    changed_at: float
    newest_event: int
    newest_call_at: float  # of a plugin; 0 without any


@dataclass(frozen=True, slots=True)
class ServedRoot:
    """A root of a store that several daemons share, and the lease of the daemon that serves it."""

    id: str  # as the mark in its folder says
    place: str  # where its newest daemon has it: HOST:FOLDER
    daemon: str  # who serves it: HOST:STATE FOLDER:LOCK; "": nobody
    process: str  # of that daemon, in JSON
    fence: int  # another one for each process that took it
    renewed: int  # grows while that one lives
    left_seconds: float  # of the lease, by the server's clock, for people; 0 where it is over


# ---- Reading --------------------------------------------------------------------------------------------------------


class JobReader(Protocol):
    """What is known of jobs."""

    def find(self, prefix: str) -> Job:
        """Return the one job whose id is or begins with `prefix`, or whose set has this name.

        Raises CommandRefusedError when there is none, or several.
        """

    def job(self, job_id: str) -> Job | None:
        """Return the job with this id."""

    def jobs(self, states: Iterable[State] = State, limit: int = -1, changed_since: float = 0.0) -> list[Job]:
        """Return the jobs in these states that have changed since, newest change first; `limit` < 0 means all."""

    def each_job(self, states: Iterable[State] = State, limit: int = -1) -> Iterator[Job]:
        """Yield the same in the same order, however many there are, with only a few in memory at once."""

    def listed(self, wanted: Listing) -> list[Job]:
        """Return one page of a list of jobs. Without a `text` it costs the same however many there are."""

    def top_folders(self, limit: int) -> list[str]:
        """Return the top folders below the inbox that jobs came from, sorted; "" stands for the inbox itself."""

    def counts(self) -> dict[State, int]:
        """Return how many jobs there are in each state."""

    def with_file(self, name: str) -> list[Job]:
        """Return the jobs that have or had an input of this name, newest first."""

    def with_originals(self) -> list[Job]:
        """Return the jobs whose files stay in the inbox, newest first."""

    def with_task(self, uuid: str) -> Job | None:
        """Return the job that has this task of the vendor, or had it before it was paid again."""

    def siblings(self, job: Job) -> list[Job]:
        """Return all jobs of a job's set, if that makes several, this one as well, in the order in which they were begun."""

    def having_task(self, uuid: str) -> list[Job]:
        """Return the jobs that have this task of the vendor now."""

    def had_task_before(self, job_id: str, other_id: str) -> bool:
        """Return whether a job had its task before the newest upload of another one began; by the order of events."""

    def same_content(self, fingerprints: Sequence[str], besides: str, dropped: str = "") -> Job | None:
        """Return another job that has this content, or was, or may have been, charged for it."""

    def bought(
        self, fingerprints: Sequence[str], besides: str, consent: str | None = None, dropped: str = ""
    ) -> Job | None:
        """Return the newest other job that was, or may have been, charged for this content; with a consent: by that one."""

    def made(self, origin: Provenance, besides: str) -> Job | None:
        """Return another job that made what `origin` says; at the same cost however many jobs made one of its contents."""

    def newest_with(self, fingerprint: str, dropped: str) -> Job | None:
        """Return the job of the newest purchase of a content, or of what was dropped for it."""

    def durations(self, kind: str, limit: int = 50) -> list[float]:
        """Return how long the newest tasks of a kind took, in seconds."""


class HistoryReader(Protocol):
    """What happened, and what plugins were and are to be called for."""

    def events(self, job_id: str) -> list[Event]:
        """Return a job's whole history, oldest first."""

    def service_events(self, limit: int = -1, since_at: float = 0.0, kinds: Iterable[str] = ()) -> list[ServiceEvent]:
        """Return the service's own history since an instant, newest first, of these kinds or all."""

    def newest_event(self) -> int:
        """Return the number of the newest event of a job, 0 without any."""

    def newest_at(self) -> float | None:
        """Return the newest instant of all events: a clock that says less was set back."""

    def begun_at(self) -> float | None:
        """Return when the first job was taken."""

    def runs_of(self, job_ids: Iterable[str]) -> list[HookRun]:
        """Return all calls of hooks for these jobs, the first first."""

    def due_runs(self, hooks: Sequence[str], limit: int) -> list[HookRun]:
        """Return the calls that are owed to these hooks of plugins (`PLUGIN:HOOK`), the first due first."""


class Purchases(Protocol):
    """What was begun to be bought, when, for which folder, and what came of it. What is not known to be free counts as spent."""

    def spent_since(self, purchase: int) -> Mapping[str, Decimal]:
        """Return what was spent after a purchase, in credits, by top folder, "" for the inbox itself."""

    def charged_since(self, at: float) -> Decimal:
        """Return what was charged for submits since an instant, in credits."""

    def charged_by_hour(self, since_at: float) -> Mapping[int, Decimal]:
        """Return what was charged since the hour of an instant, in credits, by the hour since 1970 in which its submit began."""

    def charged_by_folder(self, since_at: float) -> Mapping[str, Decimal]:
        """Return what was charged for submits since an instant, in credits, by top folder."""

    def charged_after(self, purchase: int) -> Decimal:
        """Return what was charged for submits after a purchase, in credits; for one that is not long ago."""

    def charged_by_kind(self) -> Mapping[str, Decimal]:
        """Return what was ever charged for submits, in credits, by kind of job; kinds without a charge are left out."""

    def price(self, article: Article) -> Decimal:
        """Return what this may cost, in credits: by the newest charges for it, and at least the list price."""

    def dearest(self) -> Decimal:
        """Return what the dearest of all that was ever bought may cost now, in credits."""

    def newest_purchase(self) -> int:
        """Return the number of the newest purchase, 0 without any."""

    def purchases_since(self, purchase: int, aged_event: int) -> Since:
        """Return what happened to the money after a purchase; failed and lost tasks count if an event after `aged_event` says so."""

    def open_of(self, jobs: Iterable[str]) -> tuple[int, ...]:
        """Return the open purchases of these jobs."""

    def owners(self, purchases: Iterable[int]) -> Mapping[int, str]:
        """Return the ids of the jobs that these purchases are of."""

    def may_have_bought(self, job_id: str) -> bool:
        """Return whether a submit of this job was charged, or may have been, other than by a refusal."""

    def unknown_of(self, job_id: str, consent: str) -> tuple[int, ...]:
        """Return the submits of a job that may have been charged, and that its consent does not allow to pay for once more."""

    def refused_since(self, purchase: int) -> tuple[Refusal, ...]:
        """Return the submits after a purchase that were refused and are not known to have been free, oldest first."""

    def refused_here(self, purchase: int) -> tuple[Refusal, ...]:
        """Return those of them that are of this root's jobs."""

    def refused_of(self, fingerprint: str, dropped: str = "") -> tuple[Refusal, ...]:
        """Return the same of one content, of all times."""

    def failed_tries(self, fingerprint: str, dropped: str = "") -> FailedTries:
        """Return how many submits of one content came to nothing, since it was charged."""

    def in_a_row(self) -> InARow:
        """Return how many submits of the account came to nothing, since the newest one that was charged."""


class Elsewhere(Protocol):
    """What other roots have in the same store, whose daemons spend from the same account; nothing where a store has one root."""

    def elsewhere(self) -> Sequence[Job]:
        """Return the live jobs there that the bounds of the account are about.

        At the vendor, held, refused lately, or promised credits. A root that nobody serves counts with what changed in the last
        hour, and with what is held.
        """

    def live_elsewhere(self, fingerprints: Sequence[str], dropped: str) -> Job | None:
        """Return a live job there that has this content, or for which the same was dropped."""

    def place_elsewhere(self, job_id: str) -> str:
        """Return where the root of a job is, HOST:FOLDER, "" for a job of this root."""

    def meta_elsewhere(self, key: str) -> Sequence[Any]:
        """Return the JSON values that the others have stored under a key."""

    def traffic_elsewhere(self) -> Traffic:
        """Return how often jobs moved there that are at the vendor, since the store was made."""


class StoreReader(JobReader, HistoryReader, Purchases, Elsewhere, Protocol):
    """All that can be asked."""

    def meta(self, key: str) -> Any:  # noqa: ANN401 - whatever JSON was stored
        """Return a stored JSON value, None if there is none."""

    def served(self) -> ServedRoot | None:
        """Return the root with its lease, of a store that several daemons share; None of a journal, and of a root that nobody had."""

    def may_be_sent(self) -> Mapping[str, str]:
        """Return the jobs whose last bytes may still leave: a process was sending them that fell silent, and may live.

        Nothing proves that they were not charged. By their ids the process, in JSON.
        """

    def gate(self, up_to: int | None = None) -> dict[GateKey, Pass]:
        """Return what was decided about the sets in the inbox; or only what was stored up to a number."""

    def newest_held(self) -> int:
        """Return the number of the newest set that is held for approval, 0 without any; no number is given twice."""

    def newest_command(self, verb: str) -> int:
        """Return the number of the newest command of this kind in all roots, answered or not, 0 without any."""

    def answer(self, command_id: int) -> dict[str, Any] | None:
        """Return the daemon's answer to a command, None while it is open."""

    def farm(self) -> FarmState:
        """Return what there is of the farm: workers, and calls that wait for them; nothing where the store is a journal."""

    def version(self) -> int:
        """Return a number that is another one after any other process has written, as long as this reader is open."""

    def close(self) -> None:
        """Give the connection back; may be repeated."""


# ---- Writing --------------------------------------------------------------------------------------------------------


class Store(StoreReader, Protocol):
    """The daemon's own connection. Every writing call is one transaction, and durable when it returns.

    Raises DiskError where nothing of it is stored and it may be repeated; JournalError for every other failure: then the
    daemon must end, because what is durable is no longer known. FencedError where another daemon serves the root by now:
    nothing of that transaction is stored, and this daemon must do nothing more.
    """

    def commit(
        self,
        transitions: Sequence[Transition],
        now: float,
        meta: Mapping[str, Any] = NO_META,
        announcer: Announcer = SILENT,
        beside: Beside = NOTHING_BESIDE,
    ) -> None:
        """Make these moves durable, all or none, each with its event and the calls that plugins are owed for it.

        With them `meta`, JSON values by their keys (None takes the key away), and what belongs to them `beside`. A call with
        nothing in it finds out whether the store can be written. The vendor's answer to a submit finds room on a full disk, too.
        """

    def together(self, *, decides: bool = False) -> AbstractContextManager[None]:
        """Make all that is written within the context one transaction, durable when the context ends without an error.

        `decides`: the transaction begins at once, so that no other daemon writes between what is read within the context and its
        end: no two of them pay by the same credits, or take the same place at the vendor.

        What is read within it sees what was written. Nothing may be done outside of the store because of it before the end.
        Whatever is raised within it, or by its end (DiskError, JournalError, as of any writing call), leaves nothing of it
        stored. Not to be entered twice; the vendor's answers are committed without it, for they find room on a full disk.
        """

    def set_meta(self, key: str, value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        """Store a JSON value."""

    def spent_in_day(self, purchase: int) -> Mapping[str, Decimal]:
        """Return the same as `spent_since`, at the same cost however much was bought since; for one purchase a day."""

    def free_cut_uploads(self) -> None:
        """Book the uploads that a run before had begun and not ended as free. For a start alone, before any worker runs."""

    def note_service_event(self, event: ServiceEvent, announcer: Announcer = SILENT) -> None:
        """Add to the service's own history, with the calls that plugins are owed for it."""

    def open_commands(self) -> list[Command]:
        """Return the commands that nobody has answered yet, oldest first."""

    def owe(self, event_id: str, job_id: str, calls: Iterable[OwedCall], now: float) -> None:
        """Store calls that are to be made; those that are there already stay as they are."""

    def note_run(self, run: HookRun, words: str, now: float) -> None:
        """Store what came of a call, and say it in the history of its job."""

    def repeat_runs(self, job_id: str, hook: str, plugins: Sequence[str], now: float) -> int:
        """Have the newest calls of a hook for a job made once more, with their old event id; return how many."""

    def condense(self, copied: Sequence[OldJob]) -> int:
        """Keep of these jobs the main points, and of their histories what decides about money; return of how many.

        Each is in the archive file. One that was changed since it was copied stays whole.
        """

    def shared_now(self) -> float | None:
        """Return the instant (UTC) by the clock that all daemons of the store share; None where there is one daemon alone."""

    @property
    def changes(self) -> int:
        """A number that grows with each change that is made through this object."""

    def changed_outside(self) -> tuple[int, int]:
        """Return what changes when another process has written. To be asked for in each tick."""

    def sweep(self) -> None:
        """Remove from the disk what was secret and is not needed any more; may be repeated."""
