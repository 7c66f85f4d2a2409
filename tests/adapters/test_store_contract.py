"""What any store must keep to (`core.store`): the same tests for each, through the protocol alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pytest

from rodin_watchd.adapters.store.postgres import PostgresReader, PostgresStore
from rodin_watchd.adapters.store.postgres import insert_command as insert_postgres_command
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal, insert_command
from rodin_watchd.core.approval import Changes, GateKey, Pass
from rodin_watchd.core.dedup import Provenance
from rodin_watchd.core.notifications import PluginAnnouncer
from rodin_watchd.core.pauses import PAUSES, remembered_pauses, renewed, stored_pauses
from rodin_watchd.core.proof import Settled
from rodin_watchd.core.store import (
    DONE,
    Beside,
    CommandReply,
    Cursor,
    Listing,
    ListOrder,
    Store,
    StoreReader,
)
from rodin_watchd.core.waits import CALLS
from rodin_watchd.errors import CommandRefusedError, JournalError, NoCreditsError
from rodin_watchd.model import (
    Batch,
    InputFile,
    Job,
    Original,
    OwedCall,
    ResultFile,
    Role,
    Sequel,
    ServiceEvent,
    Signature,
    State,
    Task,
    Transition,
)
from rodin_watchd.settings import Address

NOW = 1_700_000_000.0
HALF = Decimal("0.5")
S = State
SENT = (S.STAGED, S.UPLOADING, S.SUBMITTING)
AT_VENDOR = (S.SUBMITTED, S.GENERATED, S.DOWNLOADED, S.PROCESSED, S.DELIVERED)


class Backend(Protocol):
    """A kind of store, at one place."""

    def open(self) -> Store:
        """Open it as the daemon does."""

    def look(self) -> StoreReader:
        """Open it as the command line does."""

    def leave(self, verb: str, arguments: dict[str, Any], *, once: bool = False) -> int:
        """Leave a command in it, as the command line does."""


@dataclass(frozen=True)
class Sqlite:
    """The journal."""

    folder: Path

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / "journal.sqlite3"

    def open(self) -> Store:
        """Open the file for writing."""
        return Journal(self.path)

    def look(self) -> StoreReader:
        """Open the file for reading."""
        return JournalReader(self.path)

    def leave(self, verb: str, arguments: dict[str, Any], *, once: bool = False) -> int:
        """Insert the command's row."""
        return insert_command(self.path, verb, arguments, NOW, once=once)


@dataclass(frozen=True)
class Postgres:
    """A database of a server."""

    address: Address

    def open(self) -> Store:
        """Open it for writing."""
        return PostgresStore(self.address)

    def look(self) -> StoreReader:
        """Open it for reading."""
        return PostgresReader(self.address)

    def leave(self, verb: str, arguments: dict[str, Any], *, once: bool = False) -> int:
        """Insert the command's row."""
        return insert_postgres_command(self.address, verb, arguments, NOW, once=once)


BACKENDS = ("sqlite", "postgres")
"""Each kind of store that there is."""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Give each kind of store, in a place of its own."""
    if request.param == "sqlite":
        return Sqlite(tmp_path)
    return Postgres(request.getfixturevalue("address"))


@pytest.fixture
def store(backend: Backend) -> Iterator[Store]:
    """Give an empty store, open for writing."""
    with closing(backend.open()) as opened:
        yield opened


def a_job(identity: str = "a1", *, name: str = "", content: str = "", folder: str = "") -> Job:
    """Return a job that was just taken."""
    file = InputFile(Role.MODEL, f"inbox/{name or identity}.glb", Signature(1, 2, 3))
    return Job(identity, name or identity, folder, S.CLAIMED, (file,), {}, NOW, fingerprint=content or identity)


def led(store: Store, job: Job, *states: State, at: float = NOW) -> Job:
    """Lead a job along these states; where it is accepted it gets a task, and is charged."""
    if store.job(job.id) is None:
        store.commit([Transition(job, "claimed")], at)
    for state in states:
        accepted = state is S.SUBMITTED and job.state in (S.UPLOADING, S.SUBMITTING, S.HELD)
        task = None if state in SENT else Task(f"task-{job.id}", "") if accepted else job.task
        paid = job.price * accepted
        job = replace(job, state=state, task=task, charges=job.charges + accepted, spent=job.spent + paid)
        store.commit([Transition(job, state.value)], at)
    return job


# ---- jobs -----------------------------------------------------------------------------------------------------------


def test_a_job_is_found_as_it_was_stored(backend: Backend, store: Store) -> None:
    """By its id, the beginning of that, its name, its state and its files; by others as soon as it is committed."""
    job = led(store, a_job("a1b2", name="chair \udcff", folder="oak"), *SENT, S.SUBMITTED)
    other = led(store, a_job("b1"), at=NOW + 5)
    with closing(backend.look()) as reader:
        for known in (store, reader):
            assert known.job(job.id) == known.find("a1") == known.find("chair \udcff") == job
            assert known.jobs() == [other, job]
            assert known.jobs(changed_since=NOW + 1) == known.jobs(limit=1) == [other]
            assert list(known.each_job()) == known.jobs()
            assert list(known.each_job([S.SUBMITTED], limit=5)) == [job]
            assert known.jobs([S.SUBMITTED]) == known.with_file("chair \udcff.glb") == [job]
            assert known.counts() == {S.SUBMITTED: 1, S.CLAIMED: 1}
            assert known.job("nobody") is None
            with pytest.raises(CommandRefusedError, match="no job"):
                known.find("nobody")


def test_jobs_whose_files_stay_in_the_inbox_are_found(backend: Backend, store: Store) -> None:
    """With what the files were, the newest first; a job that says the same words in another place is none of them."""
    kept = Original("oak/chair \udcff.glb", Signature(3, 4, 5), shared=False)
    first = led(store, replace(a_job("a1"), originals=(kept,)))
    led(store, a_job("b1", name='"originals":[['))
    second = led(store, replace(a_job("c1"), originals=(kept._replace(shared=True),), created_at=NOW + 5))
    with closing(backend.look()) as reader:
        assert reader.with_originals() == store.with_originals() == [second, first]


def test_all_jobs_of_a_set_are_found(backend: Backend, store: Store) -> None:
    """Whatever became of them, in the order in which they were begun; none of another set of that name."""
    sets = {name: Batch(name, "seed-1", 2, "chair") for name in ("a1", "z1")}
    first = led(store, replace(a_job("a1", name="chair"), batch=sets["a1"]), *SENT)
    led(store, replace(a_job("z1", name="chair"), batch=sets["z1"]))
    second = led(
        store, replace(a_job("b1", name="chair"), batch=replace(sets["a1"], label="seed-2"), created_at=NOW + 5)
    )
    alone = led(store, a_job("c1", name="chair"))
    with closing(backend.look()) as reader:
        for known in (store, reader):
            assert known.siblings(second) == [first, second]
            assert known.siblings(alone) == []


def listed(store: StoreReader, **wanted: Any) -> list[str]:  # noqa: ANN401 - what a list can be asked
    """Return the ids of all pages of a list, two jobs a page."""
    found: list[str] = []
    listing = Listing(**wanted, limit=2)
    while jobs := store.listed(listing):
        found += [job.id for job in jobs]
        listing = replace(listing, after=Cursor.of(listing.order, jobs[-1]))
    return found


def test_a_list_comes_page_by_page(backend: Backend, store: Store) -> None:
    """Of these states, this kind, this folder and all below it, with this in the name: in the order that is asked for."""
    names = {"a1": "Vase", "b1": "chair", "c1": "stool \udcff", "d1": "Chair 2", "e1": "100%"}
    folders = {"a1": "", "b1": "oak", "c1": "oak/old", "d1": "oakum", "e1": "oak/old"}
    for number, (identity, name) in enumerate(names.items()):
        made = a_job(identity, name=name, folder=folders[identity])
        kind, spent = ("generate", Decimal("1.5")) if identity == "c1" else (made.kind, made.spent)
        led(store, replace(made, created_at=NOW + number // 2, kind=kind, spent=spent))
    led(store, store.find("a1"), *SENT, *AT_VENDOR, S.ARCHIVED)
    led(store, store.find("b1"), S.FAILING, S.FAILED)
    led(store, store.find("d1"), S.FAILING, S.FAILED)
    with closing(backend.look()) as reader:
        for known in (store, reader):
            assert listed(known) == ["e1", "d1", "c1", "b1", "a1"]
            assert listed(known, order=ListOrder.OLDEST) == ["a1", "b1", "c1", "d1", "e1"]
            assert listed(known, order=ListOrder.NAME) == ["e1", "b1", "d1", "c1", "a1"]
            assert listed(known, order=ListOrder.COST) == ["c1", "a1", "e1", "d1", "b1"]
            assert listed(known, states=frozenset({S.CLAIMED, S.ARCHIVED}), order=ListOrder.COST) == ["c1", "a1", "e1"]
            assert listed(known, states=frozenset({S.FAILED})) == ["d1", "b1"]
            assert listed(known, states=frozenset({S.FAILED, S.ARCHIVED}), order=ListOrder.OLDEST) == ["a1", "b1", "d1"]
            assert listed(known, states=frozenset({S.FAILED, S.CLAIMED}), order=ListOrder.NAME) == [
                "e1",
                "b1",
                "d1",
                "c1",
            ]
            assert listed(known, states=frozenset({S.HELD})) == listed(known, states=frozenset()) == []
            assert listed(known, folder="") == ["a1"]
            assert listed(known, folder="oak") == ["e1", "c1", "b1"]
            assert listed(known, folder="oak/old", kind="texture") == ["e1"]
            assert listed(known, kind="generate") == ["c1"]
            assert listed(known, text="CHAIR") == ["d1", "b1"]
            assert listed(known, text="oak/old/") == ["e1", "c1"]
            assert listed(known, text="stool \udcff") == ["c1"]
            assert listed(known, text="0%") == ["e1"]
            assert listed(known, text="%") == ["e1"]
            assert known.top_folders(9) == ["", "oak", "oakum"]
            assert known.top_folders(2) == ["", "oak"]


def test_a_reader_notices_that_something_was_written(backend: Backend, store: Store) -> None:
    """By a number that is another one then, and no other time."""
    with closing(backend.look()) as reader:
        before = reader.version()
        assert reader.version() == before
        store.set_meta("key", 1)
        assert reader.version() != before


def test_a_name_that_fits_several_jobs_is_refused(store: Store) -> None:
    """With the ids to choose from; a whole id wins."""
    for identity in ("a1", "a12"):
        led(store, a_job(identity, name="chair"))
    with pytest.raises(CommandRefusedError, match="a12"):
        store.find("chair")
    assert store.find("a1").id == "a1"


def test_every_move_is_an_event(store: Store) -> None:
    """In the order in which they were made, whatever the clock says."""
    job = led(store, a_job(), S.STAGED)
    store.commit([Transition(replace(job, state=S.FAILING), "failing", "No.\udcff", "bad")], NOW - 50)
    told = [(event.action, event.state, event.at, event.code) for event in store.events(job.id)]
    assert told == [
        ("claimed", S.CLAIMED, NOW, ""),
        ("staged", S.STAGED, NOW, ""),
        ("failing", S.FAILING, NOW - 50, "bad"),
    ]
    assert (store.begun_at(), store.newest_event()) == (NOW, 3)


def test_all_moves_are_stored_or_none(backend: Backend, store: Store) -> None:
    """With all that belongs to them: what is no legal move takes the others back with it."""
    good, bad = led(store, a_job("a1"), S.STAGED), led(store, a_job("b1"), S.STAGED)
    number = backend.leave("cancel", {"job": "a1"})
    moves = [
        Transition(replace(good, state=S.UPLOADING), "uploading"),
        Transition(replace(bad, state=S.ARCHIVED), "archived"),
    ]
    with pytest.raises(JournalError):
        store.commit(moves, NOW, {"key": 1}, beside=Beside(CommandReply(number, "done")))
    with closing(backend.look()) as reader:
        for known in (store, reader):
            assert {job.state for job in known.jobs()} == {S.STAGED}
            assert (known.meta("key"), known.answer(number), known.newest_purchase()) == (None, None, 0)


def test_what_is_written_together_is_stored_at_the_end(backend: Backend, store: Store) -> None:
    """Several calls are one transaction: read within it at once, seen by others at its end."""
    with closing(backend.look()) as other:
        with store.together():
            first, second = led(store, a_job("a1"), S.STAGED), led(store, a_job("b2"))
            store.set_meta("key", 7)
            assert (store.job("a1"), store.meta("key")) == (first, 7)
            assert (other.job("a1"), other.meta("key")) == (None, None)
        assert [other.job("a1"), other.job("b2")] == [first, second]
        assert [event.action for event in other.events("a1")] == ["claimed", "staged"]


def test_what_fails_together_leaves_nothing(backend: Backend, store: Store) -> None:
    """A call that the store refuses, and a fault of the caller, take back what was written before; the next call works."""
    known = led(store, a_job("a1"))

    def write(last: Callable[[], object]) -> None:
        with store.together():
            led(store, known, S.STAGED)
            last()

    with pytest.raises(JournalError):
        write(lambda: led(store, a_job("b2", content="a1")))
    with pytest.raises(ZeroDivisionError):
        write(lambda: 1 / 0)
    with closing(backend.look()) as other:
        assert other.jobs() == store.jobs() == [known]
    led(store, known, S.STAGED)


def test_a_move_and_the_job_that_follows_are_stored_together_or_not(backend: Backend, store: Store) -> None:
    """Both are found as they were stored; where the second cannot be begun, the first has not moved either."""
    problem = JournalError("Doubtful.").problem
    then = Sequel("b1", "texture", "a1.png", {"seed": 3}, a_job("b1").files, problem)
    first = replace(led(store, a_job("a1"), *SENT, *AT_VENDOR), then=then)
    archived = Transition(replace(first, state=S.ARCHIVED), "archived")
    second = replace(a_job("b1"), follows="a1")
    with pytest.raises(JournalError):
        store.commit([archived, Transition(replace(second, state=S.STAGED, fingerprint=""), "claimed")], NOW)
    assert [job.state for job in store.jobs()] == [S.DELIVERED]
    store.commit([archived, Transition(second, "claimed")], NOW)
    with closing(backend.look()) as reader:
        for known in (store, reader):
            assert (known.job("a1"), known.job("b1")) == (archived.job, second)


def test_charges_are_summed_by_hour_and_by_folder(store: Store) -> None:
    """From the hour of an instant on, and from an instant on."""
    for number, folder in enumerate(("", "oak", "oak/old")):
        job = replace(a_job(f"a{number}", folder=folder), created_at=NOW)
        led(store, job, *SENT, S.SUBMITTED, at=NOW + number * 3600)
    first = int(NOW // 3600)
    assert store.charged_by_hour(NOW) == {first: HALF, first + 1: HALF, first + 2: HALF}
    assert store.charged_by_hour(NOW + 3600) == {first + 1: HALF, first + 2: HALF}
    assert store.charged_by_folder(NOW) == {"": HALF, "oak": 2 * HALF}
    assert store.charged_by_folder(NOW + 1) == {"oak": 2 * HALF}


@pytest.mark.parametrize(
    "states", [(S.UPLOADING,), (S.SUBMITTED,), (S.STAGED, S.ARCHIVED), (*SENT, S.HELD, S.UPLOADING)]
)
def test_no_move_but_those_of_the_state_machine(store: Store, states: Sequence[State]) -> None:
    """Whoever asks for it."""
    job = led(store, a_job(), *states[:-1])
    with pytest.raises(JournalError):
        led(store, job, states[-1])


def test_one_live_job_for_each_content(store: Store) -> None:
    """A second one is refused while the first is alive, and may come when it has ended."""
    first = led(store, a_job("a1", content="c"), S.STAGED)
    with pytest.raises(JournalError):
        led(store, a_job("b1", content="c"), S.STAGED)
    led(store, first, S.FAILING, S.FAILED)
    led(store, a_job("c1", content="c"), S.STAGED)


def test_a_job_with_a_task_is_never_sent_again(store: Store) -> None:
    """Not while it has that task."""
    job = led(store, a_job(), S.STAGED)
    with pytest.raises(JournalError):
        store.commit([Transition(replace(job, state=S.UPLOADING, task=Task("t", "")), "uploading")], NOW)


def test_a_task_is_known_for_ever(store: Store) -> None:
    """Also when its job lets it go, to be paid anew."""
    job = led(store, a_job(), *SENT, S.SUBMITTED)
    assert store.with_task("task-a1") == job
    assert store.having_task("task-a1") == [job]
    failed = led(store, job, S.FAILING, S.FAILED)
    anew = replace(failed, state=S.CLAIMED, task=None)
    store.commit([Transition(anew, "retry")], NOW)
    assert store.with_task("task-a1") == anew
    assert store.having_task("task-a1") == []
    assert store.with_task("other") is None


def test_which_came_first_is_known_by_the_order_of_events(store: Store) -> None:
    """A task before the upload of another job, or after it; clocks say nothing."""
    early = led(store, a_job("a1"), *SENT, S.SUBMITTED, at=NOW + 99)
    late = led(store, a_job("b1"), *SENT, at=NOW)
    assert store.had_task_before(early.id, late.id)
    assert not store.had_task_before(late.id, early.id)


def test_results_are_known_by_their_content(store: Store) -> None:
    """So that none is bought as a new set; by all of several contents of one job, by kind, and whether they went in as well."""
    texture, other = frozenset({"texture"}), frozenset({"generate"})
    job = led(store, replace(a_job(), files=(an_input("given"),)), *SENT, S.SUBMITTED, S.GENERATED)
    job = led(store, replace(job, results=some_results("abc", "given")), S.DOWNLOADED)
    led(store, replace(job, processed=some_results("abc", "picture")), S.PROCESSED)
    second = led(store, a_job("b1"), *SENT, S.SUBMITTED, S.GENERATED)
    led(store, replace(second, results=some_results("elsewhere")), S.DOWNLOADED)

    def made(*contents: str, kinds: frozenset[str] = texture, given: bool = True, besides: str = "") -> str:
        found = store.made(Provenance(frozenset(contents), kinds, given), besides)
        return found.id if found else ""

    assert made("abc") == made("picture") == made("abc", "picture", "given") == made("abc", given=False) == "a1"
    assert made("given", kinds=texture | other) == "a1"
    assert not made("def")
    assert not made("abc", "elsewhere")
    assert not made("given", given=False)
    assert not made("abc", kinds=other)
    assert not made("abc", besides="a1")


def an_input(sha256: str) -> InputFile:
    """Return a model of this content."""
    return InputFile(Role.MODEL, "inbox/a1.glb", Signature(1, 2, 3), sha256=sha256)


def some_results(*contents: str) -> tuple[ResultFile, ...]:
    """Return files that came out, by their contents."""
    return tuple(ResultFile(f"{content}.glb", f"{content}.glb", 3, content) for content in contents)


def test_pauses_and_calls_are_stored_with_the_move_that_caused_them(backend: Backend, store: Store) -> None:
    """All or none; another process that opens the store finds them, whatever bytes their words hold."""
    job = led(store, a_job(), *SENT)
    pauses = renewed({}, NoCreditsError("No credits for \udcff.").problem, NOW, 0.5)
    beside = {PAUSES: stored_pauses(pauses, "mine"), CALLS: 5000.25}
    with pytest.raises(JournalError):
        store.commit([Transition(replace(job, state=S.ARCHIVED), "archived")], NOW, beside)
    assert (store.meta(PAUSES), store.meta(CALLS)) == (None, None)
    store.commit([Transition(replace(job, state=S.HELD), "held")], NOW, beside)
    with closing(backend.look()) as reader:
        assert remembered_pauses(reader.meta(PAUSES), "mine") == pauses
        assert reader.meta(CALLS) == 5000.25
        assert [known.state for known in reader.jobs()] == [S.HELD]


# ---- purchases ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "charged", "spent", "tries"),
    [
        ((S.STAGED,), 0, 0, 0),
        ((S.STAGED, S.UPLOADING), 0, 1, 0),
        ((S.STAGED, S.UPLOADING, S.STAGED), 0, 0, 0),
        (SENT, 0, 1, 0),
        ((*SENT, S.STAGED), 0, 1, 1),
        ((*SENT, S.FAILING), 0, 1, 1),
        ((*SENT, S.SUBMITTED), 1, 1, 0),
        ((*SENT, S.HELD), 0, 1, 1),
        ((*SENT, S.HELD, S.STAGED), 0, 0, 1),
        ((*SENT, S.HELD, S.FAILING), 0, 1, 1),
        ((*SENT, S.HELD, S.SUBMITTED), 1, 1, 0),
        ((*SENT, S.UPLOADING, S.STAGED, *SENT[1:], S.SUBMITTED), 1, 1, 0),
    ],
)
def test_what_is_not_known_to_be_free_counts_as_spent(
    store: Store, states: Sequence[State], charged: int, spent: int, tries: int
) -> None:
    """Each way of a job has its books, whoever moves it."""
    led(store, a_job(folder="top/deep"), *states)
    assert store.charged_since(0.0) == store.charged_after(0) == HALF * charged
    assert store.charged_after(store.newest_purchase()) == 0
    assert store.charged_by_kind() == ({"texture": HALF * charged} if charged else {})
    assert sum(store.spent_since(0).values()) == HALF * spent
    assert store.spent_in_day(0) == store.spent_since(0)
    assert set(store.spent_since(0)) <= {"top"}
    assert store.failed_tries("a1").tries == tries
    assert store.spent_since(store.newest_purchase()) == {}


def test_only_intents_that_can_be_paid_are_stored(store: Store) -> None:
    """Chosen by what was spent, in the transaction that stores them."""
    led(store, a_job("old"), *SENT, S.SUBMITTED)
    staged = [led(store, a_job(name), S.STAGED) for name in ("x", "y")]
    intents = [Transition(replace(job, state=S.UPLOADING), "uploading") for job in staged]
    with store.together(decides=True):
        assert store.spent_in_day(0) == {"": HALF}
        store.commit(intents[1:], NOW)
        assert store.spent_in_day(0) == {"": 1}
    assert {job.id: job.state for job in store.jobs()} == {"old": S.SUBMITTED, "x": S.STAGED, "y": S.UPLOADING}
    assert store.spent_since(0) == {"": 1}


def test_the_count_of_the_day_follows_every_change(store: Store) -> None:
    """Whatever came of a purchase, and whenever the day began."""
    job = led(store, a_job("a1"), S.STAGED)
    for after in (0, 1):
        for state in (S.UPLOADING, S.STAGED, *SENT[1:], S.HELD, S.STAGED):
            job = led(store, job, state)
            assert store.spent_in_day(after) == store.spent_since(after)


def test_a_choice_that_fails_stores_nothing(store: Store) -> None:
    """And the store goes on."""
    job = led(store, a_job(), S.STAGED)
    with pytest.raises(ZeroDivisionError), store.together(decides=True):  # noqa: PT012 - what fails is inside
        store.commit([Transition(replace(job, state=S.UPLOADING), "uploading")], NOW)
        raise ZeroDivisionError
    assert (store.jobs(), store.newest_purchase()) == ([job], 0)
    led(store, job, S.UPLOADING)


def test_a_content_that_was_paid_for_is_found(store: Store) -> None:
    """By its fingerprint; what was free does not count, and nobody is a repetition of himself."""
    led(store, a_job("free", content="f"), S.STAGED, S.UPLOADING, S.STAGED, S.FAILING, S.FAILED)
    paid = led(store, a_job("paid", content="p"), *SENT, S.SUBMITTED)
    assert store.same_content(["p"], "") == store.bought(["p"], "") == store.newest_with("p", "") == paid
    assert store.bought(["f"], "") is store.same_content(["f"], "") is store.same_content(["p"], "paid") is None
    assert (store.may_have_bought("paid"), store.may_have_bought("free")) == (True, False)


def test_a_verdict_about_a_purchase_holds_if_nothing_came_between(store: Store) -> None:
    """A refusal is settled once; what was charged stays so."""
    led(store, a_job("a1"), *SENT, S.STAGED)
    led(store, a_job("b1"), *SENT, S.SUBMITTED)
    refused = store.refused_since(0)
    assert [one.job_id for one in refused] == ["a1"]
    assert store.refused_of("a1") == refused
    assert store.owners([one.purchase for one in refused]) == {1: "a1"}
    verdicts = (Settled(1, "free"), Settled(2, "free"))
    store.commit((), NOW, beside=Beside(settled=verdicts))
    assert store.refused_since(0) == ()
    assert (store.spent_since(0), store.charged_since(0.0)) == ({"": HALF}, HALF)


def test_open_purchases_are_those_under_way(store: Store) -> None:
    """Of the jobs that are asked about alone; unknown ones are for a person."""
    job = led(store, a_job("a1"), *SENT)
    led(store, a_job("b1"), *SENT, S.HELD, S.FAILING)
    assert store.open_of(["a1", "b1"]) == (1,)
    assert store.open_of(["b1"]) == store.unknown_of("a1", "") == ()
    assert store.unknown_of("b1", "") == (2,)
    led(store, job, S.SUBMITTED)
    assert store.open_of(["a1"]) == ()
    since = store.purchases_since(0, store.newest_event())
    assert (since.charged, since.unknown) == (HALF, 1)


def test_cut_uploads_are_free_after_a_start(store: Store) -> None:
    """But not what may have been sent."""
    led(store, a_job("a1"), S.STAGED, S.UPLOADING)
    led(store, a_job("b1"), *SENT)
    store.free_cut_uploads()
    assert store.spent_since(0) == {"": HALF}


# ---- what else is kept ----------------------------------------------------------------------------------------------


def test_values_are_kept_by_their_keys(backend: Backend, store: Store) -> None:
    """None takes one away; so it is with those that are stored beside moves."""
    store.set_meta("a", {"x": [1, "\udcff", None]})
    store.commit([Transition(a_job(), "claimed")], NOW, {"b": 2, "a": None})
    with closing(backend.look()) as reader:
        assert (reader.meta("a"), reader.meta("b"), store.meta("c")) == (None, 2, None)


def test_a_command_is_answered_once(backend: Backend, store: Store) -> None:
    """It stays open until then, in the order in which it came; who asked reads the answer."""
    first, second = backend.leave("retry", {"job": "a1"}), backend.leave("pause", {})
    assert [(command.id, command.verb) for command in store.open_commands()] == [(first, "retry"), (second, "pause")]
    assert (store.newest_command("pause"), store.newest_command("resume")) == (second, 0)
    with pytest.raises(CommandRefusedError):
        backend.leave("retry", {"job": "a1"}, once=True)
    store.commit((), NOW, beside=Beside(CommandReply(first, "No.", ok=False)))
    assert [command.id for command in store.open_commands()] == [second]
    with closing(backend.look()) as reader:
        assert (reader.answer(first), reader.answer(second)) == ({"ok": False, "message": "No."}, None)


def test_who_writes_beside_is_noticed(backend: Backend, store: Store) -> None:
    """And the own changes are counted."""
    before, outside = store.changes, store.changed_outside()
    backend.leave("pause", {})
    assert store.changed_outside() != outside
    store.set_meta("a", 1)
    assert store.changes > before


def test_a_held_set_has_a_number_of_its_own(store: Store) -> None:
    """None is given twice; a set that settles keeps its number, one that passes is not held any more."""
    a, settled = GateKey("a", ""), GateKey("a", "v1")
    store.commit((), NOW, beside=Beside(gate=Changes(new={a: Pass.HELD})))
    first = store.newest_held()
    store.commit((), NOW, beside=Beside(gate=Changes(settled=((a, settled),))))
    assert (store.gate(), store.newest_held()) == ({settled: Pass.HELD}, first)
    store.commit((), NOW, beside=Beside(gate=Changes(gone=(settled,))))
    store.commit((), NOW, beside=Beside(gate=Changes(new={a: Pass.HELD, GateKey("b", "v1"): Pass.PASSED})))
    assert store.newest_held() > first
    assert store.gate(first) == {}


def test_what_plugins_are_owed_is_stored_with_the_move(store: Store) -> None:
    """Once for each event, due until it was made; and it can be made again."""
    announcer = PluginAnnouncer({"rodin_failed": ["p"], "rodin_service": ["p"]})
    job = led(store, a_job(), S.FAILING)
    store.commit([Transition(replace(job, state=S.FAILED), "failed")], NOW, announcer=announcer)
    store.note_service_event(ServiceEvent(NOW, "paused", "x", "api"), announcer)
    due = store.due_runs(["p:rodin_failed", "p:rodin_service"], 10)
    assert [(run.hook, run.job_id) for run in due] == [("rodin_failed", "a1"), ("rodin_service", "")]
    assert len(store.due_runs(["p:rodin_failed"], 10)) == len(store.due_runs(["p:rodin_service"], 1)) == 1
    store.note_run(replace(due[0], outcome=DONE, attempts=1), "done", NOW)
    assert [(run.event_id, run.outcome) for run in store.runs_of(["a1"])] == [(due[0].event_id, DONE)]
    assert store.events("a1")[-1].message == "done"
    assert store.repeat_runs("a1", "rodin_failed", ["p"], NOW) == 1
    assert store.due_runs(["p:rodin_failed"], 10)[0].event_id == due[0].event_id


def test_a_call_is_owed_once(store: Store) -> None:
    """However often it is asked for."""
    for _ in range(2):
        store.owe("waiting-1", "", [OwedCall("rodin_waiting", "p", {"n": 1})], NOW)
    assert [run.arguments for run in store.due_runs(["p:rodin_waiting"], 10)] == [{"n": 1}]


def test_the_service_has_a_history_of_its_own(store: Store) -> None:
    """The newest first, as far back and of such kinds as are asked for."""
    events = [
        ServiceEvent(NOW + n, kind, f"{n} \\u", "api", "network")
        for n, kind in enumerate(("paused", "resumed", "paused"))
    ]
    for event in events:
        store.note_service_event(event)
    assert store.service_events() == events[::-1]
    assert store.service_events(limit=1) == store.service_events(since_at=NOW + 2) == events[2:]
    assert store.service_events(kinds=["resumed"]) == events[1:2]
    assert store.newest_at() == NOW + 2


def test_nothing_is_stored_by_a_call_with_nothing_in_it(store: Store) -> None:
    """It finds out whether the store can be written."""
    before = store.changes
    store.commit((), NOW)
    assert store.changes == before
