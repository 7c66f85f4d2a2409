"""The books in the journal: what was begun to be bought, kept by the schema itself, whoever moves the jobs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from sql import query

from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.schema import BLOCK
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.approval import Changes, GateKey, Pass
from rodin_watchd.core.kinds import TEXTURE, article
from rodin_watchd.core.proof import Refusal, Settled, Since
from rodin_watchd.core.refusals import LOOKED
from rodin_watchd.core.store import Beside
from rodin_watchd.errors import JournalError
from rodin_watchd.model import Answer, Job, State, Task, Transition

NOW = 1_700_000_000.0
S = State
HALF, NOTHING = Decimal("0.5"), Decimal(0)
A_TEXTURE = article(TEXTURE.name, {})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Open a new journal."""
    with closing(Journal(tmp_path / "journal.sqlite3")) as opened:
        yield opened


def led(
    journal: Journal, *states: State, name: str = "a1", folder: str = "", content: str = "c", at: float = NOW
) -> Job:
    """Lead a job along these states, charged where it is accepted; the last may be given twice to charge it late."""
    found = [job for job in journal.jobs() if job.id == name]
    job = found[0] if found else Job(name, name, folder, S.CLAIMED, (), {}, at)
    if not found:
        journal.commit([Transition(job, "claimed")], at)
    for state in states:
        accepted = state is S.SUBMITTED and job.state in (S.UPLOADING, S.SUBMITTING, S.HELD)
        task = None if state in (S.STAGED, S.UPLOADING, S.SUBMITTING) else job.task
        job = replace(job, state=state, fingerprint=content, task=Task(f"t-{name}", "") if accepted else task)
        job = replace(job, charges=job.charges + accepted, spent=job.spent + job.price * accepted)
        journal.commit([Transition(job, state.value)], at)
    return job


def outcomes(journal: Journal) -> list[str]:
    """Return what came of each purchase, oldest first."""
    return [outcome for (outcome,) in query(journal.path, "SELECT outcome FROM purchases ORDER BY id")]


SENT = (S.STAGED, S.UPLOADING, S.SUBMITTING)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((S.STAGED,), []),
        ((S.STAGED, S.UPLOADING), ["open"]),
        ((S.STAGED, S.UPLOADING, S.STAGED), ["free"]),
        ((S.STAGED, S.UPLOADING, S.FAILING), ["free"]),
        ((S.STAGED, S.UPLOADING, S.UPLOADING), ["free", "open"]),
        ((S.STAGED, S.UPLOADING, S.SUBMITTED), ["charged"]),
        ((S.STAGED, S.UPLOADING, S.HELD), ["open"]),
        (SENT, ["open"]),
        ((*SENT, S.UPLOADING), ["open"]),
        ((*SENT, S.UPLOADING, S.STAGED), ["free"]),
        ((*SENT, S.UPLOADING, S.STAGED, *SENT[1:], S.SUBMITTED), ["free", "charged"]),
        ((*SENT, S.UPLOADING, S.SUBMITTED), ["charged"]),
        ((*SENT, S.STAGED), ["refused"]),
        ((*SENT, S.FAILING), ["refused"]),
        ((*SENT, S.SUBMITTED), ["charged"]),
        ((*SENT, S.SUBMITTED, S.FAILING, S.FAILED, S.CLAIMED, S.SUBMITTED), ["charged"]),
        ((*SENT, S.HELD), ["open"]),
        ((*SENT, S.HELD, S.STAGED, S.UPLOADING), ["free", "open"]),
        ((*SENT, S.HELD, S.SUBMITTED), ["charged"]),
        ((*SENT, S.HELD, S.FAILING), ["unknown"]),
        ((*SENT, S.HELD, S.FAILING, S.FAILED, S.CLAIMED, *SENT, S.SUBMITTED), ["unknown", "charged"]),
    ],
)
def test_each_way_of_a_job_has_its_books(journal: Journal, states: tuple[State, ...], expected: list[str]) -> None:
    """Open with the intent; then charged, free where that is proven, unknown where nobody will ever tell."""
    job = led(journal, *states)
    assert outcomes(journal) == expected
    assert expected.count("charged") == job.charges


def test_a_withheld_submit_is_no_try(journal: Journal) -> None:
    """Its last bytes never left: it is neither refused nor in vain; one that is sent and refused afterwards is, once."""
    led(journal, *(SENT[:1] + (S.UPLOADING, S.SUBMITTING, S.UPLOADING, S.STAGED) * 5))
    assert (journal.failed_tries("c"), journal.in_a_row()) == ((0, 0, False), (0, 0))
    led(journal, *SENT[1:], S.STAGED)
    assert (journal.failed_tries("c"), journal.in_a_row()) == ((1, 1, False), (1, 1))


def test_a_withheld_submit_that_was_answered_counts_as_sent(journal: Journal) -> None:
    """Whoever answers may have charged what it had: taking back the last bytes does not take that back."""
    sent = replace(led(journal, *SENT), answer=Answer(429, b"later"))
    journal.commit([Transition(sent, "answered")], NOW)
    journal.commit([Transition(replace(sent, state=S.UPLOADING), "uploading")], NOW)
    journal.commit([Transition(replace(sent, state=S.STAGED), "staged")], NOW)
    assert outcomes(journal) == ["refused"]
    assert journal.failed_tries("c") == (1, 1, False)


def test_a_held_job_that_is_found_charged_closes_its_purchase(journal: Journal) -> None:
    """The books follow the charge, not the state."""
    held = led(journal, *SENT, S.HELD)
    journal.commit([Transition(replace(held, charges=1), "charged")], NOW)
    assert outcomes(journal) == ["charged"]
    assert journal.purchases_since(0, journal.newest_event()) == Since(HALF, 0, NOTHING, frozenset(), 0, 1, accepted=1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DELETE FROM purchases", "purchases are never deleted"),
        ("UPDATE purchases SET outcome = 'free'", "what was paid stays paid"),
        ("UPDATE purchases SET outcome = 'cheap'", "stays paid|CHECK"),
        (
            "INSERT INTO purchases (id, job_id, fingerprint, top, at, outcome, cost) VALUES (9, 'nobody', 'c', '', 0, 'open', '0.5')",
            "FOREIGN KEY",
        ),
    ],
)
def test_the_books_defend_themselves(journal: Journal, change: str, reason: str) -> None:
    """What was charged cannot be made free, by any program."""
    led(journal, *SENT, S.SUBMITTED)
    with pytest.raises(sqlite3.IntegrityError, match=reason):
        query(journal.path, change)


def test_spending_is_counted_by_top_folder_and_purchase(journal: Journal) -> None:
    """Charged, open and unknown count; free does not; what was bought before does not, whatever the clock said."""
    led(journal, *SENT, S.SUBMITTED, name="a", content="a", at=NOW)
    led(journal, *SENT, S.SUBMITTED, name="b", content="b", folder="top", at=NOW + 10)
    led(journal, *SENT, S.HELD, name="c", content="c", folder="top/deep/er", at=NOW + 20)
    led(journal, *SENT, S.HELD, S.FAILING, name="d", content="d", folder="other \udcff/x", at=NOW + 20)
    led(journal, S.STAGED, S.UPLOADING, S.STAGED, name="e", content="e", folder="top", at=NOW + 20)
    assert journal.spent_since(0) == {"": HALF, "top": Decimal(1), "other \\udcff": HALF}
    assert journal.spent_since(2) == {"top": HALF, "other \\udcff": HALF}
    assert [journal.charged_since(NOW + late) for late in (0, 5, 15)] == [1, HALF, 0]


def test_the_price_is_the_dearest_of_the_newest_charges(journal: Journal, tmp_path: Path) -> None:
    """At least the list's; what is not known yet counts by it."""
    assert journal.price(A_TEXTURE) == HALF
    led(journal, *SENT, S.SUBMITTED, name="a", content="a")
    led(journal, *SENT, name="b", content="b")
    for cost, price in (("0", HALF), ("1.5", Decimal("1.5"))):
        with closing(sqlite3.connect(tmp_path / "journal.sqlite3", isolation_level=None)) as other:
            other.execute("UPDATE purchases SET cost = ? WHERE job_id = 'a'", (cost,))
        journal.changed_outside()  # each tick asks
        assert journal.price(A_TEXTURE) == price
        assert journal.spent_since(0) == {"": max(Decimal(cost), HALF) + price}
    for number in range(20):
        led(journal, *SENT, S.SUBMITTED, name=f"n{number}", content=f"n{number}")
    assert journal.price(A_TEXTURE) == HALF


def test_what_one_thing_costs_says_nothing_of_another(journal: Journal, tmp_path: Path) -> None:
    """Each kind, at each price of the list, has a price of its own; what is lost counts by the dearest that was bought."""
    dear = A_TEXTURE._replace(listed=Decimal("1.5"))
    assert journal.dearest() == HALF
    led(journal, *SENT, S.SUBMITTED, name="a", content="a")
    with closing(sqlite3.connect(tmp_path / "journal.sqlite3", isolation_level=None)) as other:
        other.execute("UPDATE purchases SET cost = '2', listed = '1.5' WHERE job_id = 'a'")
    journal.changed_outside()
    assert (journal.price(A_TEXTURE), journal.price(dear), journal.dearest()) == (HALF, Decimal(2), Decimal(2))
    with closing(sqlite3.connect(tmp_path / "journal.sqlite3", isolation_level=None)) as other:
        other.execute("UPDATE purchases SET cost = '0.5', kind = 'other' WHERE job_id = 'a'")
    journal.changed_outside()
    assert (journal.price(dear), journal.price(dear._replace(kind="other"))) == (dear.listed, dear.listed)
    assert journal.spent_since(0) == {"": dear.listed}, (
        "a charge below the list counts as the list, until the balance shows it"
    )


def test_charges_count_from_when_the_set_was_sent(journal: Journal) -> None:
    """Money that a person finds days later was spent when it was; and going back to a paid task is no charge."""
    led(journal, *SENT, S.HELD, at=NOW)
    led(journal, S.SUBMITTED, at=NOW + 500)
    led(journal, S.FAILING, S.FAILED, S.CLAIMED, S.SUBMITTED, at=NOW + 900)
    assert [journal.charged_since(NOW + late) for late in (0, 1, 600)] == [HALF, 0, 0]


def test_intents_are_chosen_and_committed_in_one(journal: Journal) -> None:
    """What was spent is read, the choice made and written in one transaction; what was not chosen is not written."""
    led(journal, *SENT, S.SUBMITTED, name="old", content="old")
    intents = [
        Transition(replace(led(journal, S.STAGED, name=name, content=name), state=S.UPLOADING), "uploading")
        for name in ("x", "y")
    ]
    with journal.together(decides=True):
        assert journal._db.in_transaction
        assert journal.spent_in_day(0) == {"": HALF}
        journal.commit(intents[1:], NOW + 5)
    assert {job.id: job.state for job in journal.jobs()} == {"old": S.SUBMITTED, "x": S.STAGED, "y": S.UPLOADING}
    assert journal.spent_since(0) == {"": 1}


@pytest.mark.parametrize("end", [S.STAGED, S.FAILING])
def test_an_early_refusal_is_no_proof(journal: Journal, end: State) -> None:
    """An upload that an answer has ended is refused, one that broke is free."""
    job = led(journal, S.STAGED, S.UPLOADING)
    journal.commit([Transition(replace(job, answer=Answer(429, b"{}")), "answered")], NOW)
    led(journal, end)
    assert outcomes(journal) == ["refused"]


def test_a_choice_that_fails_commits_nothing(journal: Journal) -> None:
    """All or none."""
    intent = Transition(replace(led(journal, S.STAGED), state=S.ARCHIVED), "nonsense")
    with pytest.raises(JournalError, match="legal move"), journal.together(decides=True):
        journal.commit([intent], NOW)
    assert journal.jobs()[0].state is S.STAGED


def test_opening_the_books_frees_what_was_cut(journal: Journal) -> None:
    """An upload found at the start was proven not submitted, unless its answer is there."""
    led(journal, S.STAGED, S.UPLOADING, name="cut", content="cut")
    answered = led(journal, S.STAGED, S.UPLOADING, name="early", content="early", at=NOW + 1e6)
    journal.commit([Transition(replace(answered, answer=Answer(201, b"{}")), "answered")], NOW)
    led(journal, *SENT, name="lost", content="lost", at=NOW + 1e6)
    journal.free_cut_uploads()
    assert outcomes(journal) == ["free", "open", "open"]
    assert journal.spent_since(0) == {"": 1}


def test_what_happened_since_a_purchase(journal: Journal) -> None:
    """By the numbers of the rows, whatever the clock said; so are tasks that failed or are lost."""
    led(journal, *SENT, S.SUBMITTED, name="before", content="before", at=NOW + 1e6)
    mark = journal.newest_purchase()
    assert mark == 1
    led(journal, *SENT, S.SUBMITTED, name="paid", content="paid")
    led(journal, *SENT, S.HELD, name="lost", content="lost")
    before_failure = journal.newest_event()
    led(journal, *SENT, S.HELD, S.FAILING, name="gone", content="gone")
    led(journal, S.STAGED, S.UPLOADING, S.STAGED, name="free", content="free")
    led(journal, *SENT, S.STAGED, name="refused", content="refused")
    refused = (Refusal(6, "refused", "refused", Decimal("0.5")),)
    newest = journal.newest_event()
    assert journal.purchases_since(mark, newest) == Since(
        HALF, 2, Decimal(1), frozenset({"lost"}), 0, 0, refused, accepted=1
    )
    assert journal.purchases_since(mark, before_failure).refundable == 1  # given up: its task may fail all the same
    led(journal, S.FAILING, name="before", at=NOW - 1e6)
    assert journal.purchases_since(mark, newest).refundable == 1
    assert journal.purchases_since(mark, journal.newest_event()).refundable == 0
    last = journal.newest_purchase()
    assert journal.purchases_since(last, journal.newest_event()) == Since(NOTHING, 0, NOTHING, frozenset(), 0, 0)
    assert journal.purchases_since(last, 0).refundable == 3  # and one that is held


def test_refusals_are_counted_until_they_are_settled(journal: Journal) -> None:
    """By content over all jobs, and for the account since the newest charge; each ends as it is said, and only once."""
    led(journal, *SENT, S.STAGED, *SENT[1:], S.FAILING, name="a", content="x")
    led(journal, *SENT, S.SUBMITTED, name="paid", content="paid")
    led(journal, *SENT, S.FAILING, name="b", content="y")
    led(journal, S.FAILED, name="a", content="x")
    led(journal, *SENT, S.FAILING, name="c", content="x")
    assert [refusal.purchase for refusal in journal.refused_of("x")] == [1, 2, 5]
    assert [refusal.job_id for refusal in journal.refused_since(2)] == ["b", "c"]
    assert journal.in_a_row() == (2, 2)
    assert journal.spent_since(0) == {"": 5 * HALF}
    settled = (Settled(5, "free", decided=True), Settled(4, "charged"), Settled(3, "free"))
    journal.commit((), NOW, beside=Beside(settled=settled))
    journal.commit((), NOW, beside=Beside(settled=(Settled(5, "charged"),)))
    assert outcomes(journal) == ["refused", "refused", "charged", "charged", "free"]
    assert journal.in_a_row() == (0, 1)
    assert journal.purchases_since(0, journal.newest_event()).decided == 1
    journal.commit(
        (), NOW, beside=Beside(settled=(Settled(5, "unknown", before="free"), Settled(4, "refused", before="free")))
    )
    assert outcomes(journal) == ["refused", "refused", "charged", "charged", "unknown"]
    assert [journal.failed_tries("x"), journal.failed_tries("y"), journal.owners([5, 1])] == [
        (2, 3, False),
        (0, 0, False),
        {1: "a", 5: "c"},
    ]


@pytest.mark.parametrize(("took", "counts"), [("0", "0.5"), ("0.25", "0.5"), ("1.5", "1.5")])
def test_a_low_price_counts_when_it_is_confirmed(journal: Journal, took: str, counts: str) -> None:
    """Below the list's, what the vendor says counts as spent only where the balance fell by it."""
    led(journal, *SENT, S.SUBMITTED)
    led(journal, *SENT, S.SUBMITTED, name="b", content="b")
    query(journal.path, "UPDATE purchases SET cost = ?", took)
    assert journal.spent_since(0) == {"": 2 * Decimal(counts)}
    journal.commit((), NOW, {"key": 1}, beside=Beside(confirmed=(1, 2)))
    assert journal.spent_since(0) == {"": Decimal(counts) + Decimal(took)}


def test_what_could_have_been_charged_is_marked(journal: Journal) -> None:
    """A whole set, or an answer before that; not an upload that broke. It counts until the content is accepted."""
    led(journal, S.STAGED, S.UPLOADING, S.STAGED, S.UPLOADING)
    assert journal.failed_tries("c") == (0, 0, False)
    led(journal, S.SUBMITTING, S.HELD)
    assert (journal.failed_tries("c"), journal.in_a_row()) == ((0, 1, False), (0, 0))
    job = led(journal, S.STAGED, S.UPLOADING)
    journal.commit([Transition(replace(job, answer=Answer(429, b"{}")), "answered")], NOW)
    led(journal, S.STAGED)
    assert (journal.failed_tries("c"), journal.in_a_row()) == ((1, 2, False), (1, 2))
    journal.set_meta(LOOKED, journal.newest_purchase() - 1)
    assert journal.in_a_row() == (1, 1)
    led(journal, *SENT[1:], S.SUBMITTED)
    assert (journal.failed_tries("c").tries, journal.in_a_row()) == (0, (0, 0))


def test_an_upload_that_was_held_is_a_try(journal: Journal) -> None:
    """Something was answered before its end that nobody could read: whatever is said of it later, it could have been charged."""
    for tries in (1, 2):
        led(journal, *(S.STAGED, S.UPLOADING, S.HELD))
        assert (journal.failed_tries("c"), journal.in_a_row()) == ((0, tries, False), (0, tries - 1))
        led(journal, S.STAGED)
        assert outcomes(journal)[-1] == "free"
        assert (journal.failed_tries("c"), journal.in_a_row()) == ((0, tries, False), (0, tries))
    led(journal, S.UPLOADING, S.HELD, S.FAILING)
    assert (outcomes(journal)[-1], journal.failed_tries("c")) == ("unknown", (0, 3, False))


@pytest.mark.parametrize("decided", [S.SUBMITTED, S.STAGED])
def test_a_persons_word_is_marked(journal: Journal, decided: State) -> None:
    """What a person said about a lost submit is no figure that a proof may reckon with; the vendor's answers are."""
    led(journal, *SENT, S.SUBMITTED, name="paid", content="paid")
    led(journal, *SENT, S.STAGED, name="free", content="free")
    led(journal, *SENT, S.HELD, name="lost", content="lost")
    assert journal.purchases_since(0, journal.newest_event()).decided == 0
    led(journal, decided, name="lost", content="lost")
    assert journal.purchases_since(0, journal.newest_event()).decided == 1


def test_a_deep_folder_spends_from_its_top_folder(journal: Journal) -> None:
    """However long the path, and however long the folder's own name."""
    top = "t" * 150
    for number, folder in enumerate((top, f"{top}/{'x' * 90}/{'y' * 90}")):
        led(journal, *SENT, S.SUBMITTED, name=f"n{number}", content=f"c{number}", folder=folder)
    assert journal.spent_since(0) == {top: 1}


@pytest.mark.parametrize(
    ("states", "counts"),
    [
        ((S.STAGED, S.FAILING, S.FAILED), False),
        ((*SENT, S.FAILING, S.FAILED), False),
        ((*SENT, S.SUBMITTED, S.FAILING, S.FAILED), True),
        ((*SENT, S.HELD, S.FAILING, S.FAILED), True),
        ((*SENT, S.HELD, S.STAGED, S.FAILING, S.FAILED), False),
    ],
)
def test_a_failed_job_owns_its_content_if_it_cost_anything(
    journal: Journal, states: tuple[State, ...], counts: bool
) -> None:
    """Charged, or perhaps; what was proven free does not count."""
    led(journal, *states, content="same")
    found = journal.same_content(("same",), besides="x")
    assert (found is not None) is counts
    assert journal.same_content(("same",), besides="a1") is None


def test_a_job_that_is_taken_up_again_still_owns_what_it_paid_for(journal: Journal) -> None:
    """Its fingerprint is not known until it is staged; the books know it all the time."""
    paid = led(journal, *SENT, S.SUBMITTED, S.FAILING, S.FAILED, content="same")
    journal.commit([Transition(replace(paid, state=S.CLAIMED, fingerprint=""), "retry")], NOW)
    found = journal.same_content(("same",), besides="x")
    assert found is not None
    assert found.id == "a1"


def test_a_delivered_job_comes_before_one_that_failed(journal: Journal) -> None:
    """The place of a result is what the artist needs."""
    done = (S.SUBMITTED, S.GENERATED, S.DOWNLOADED, S.PROCESSED, S.DELIVERED, S.ARCHIVED)
    led(journal, *SENT, *done, name="done", content="same", at=NOW)
    led(journal, *SENT, S.SUBMITTED, S.FAILING, S.FAILED, name="later", content="same", at=NOW + 9)
    found = journal.same_content(("same",), besides="x")
    assert found is not None
    assert found.id == "done"


def test_the_gate_is_kept(journal: Journal, tmp_path: Path) -> None:
    """Which sets wait for approval, by names of any kind, and the version of their files; what is gone is forgotten."""
    a, odd, b = GateKey("a", ""), GateKey("odd \udcff\nname", "v1"), GateKey("b", "v1")
    journal.commit((), NOW, beside=Beside(gate=Changes(new={a: Pass.HELD, odd: Pass.HELD, b: Pass.PASSED})))
    journal.commit((), NOW, beside=Beside(gate=Changes(new={a: Pass.PASSED}, gone=(b,))))
    with closing(JournalReader(tmp_path / "journal.sqlite3")) as reader:
        assert reader.gate() == {a: Pass.PASSED, odd: Pass.HELD}
        assert (reader.newest_held(), reader.gate(up_to=1)) == (2, {a: Pass.PASSED})


def test_numbers_of_the_gate_tell_before_and_after(journal: Journal) -> None:
    """A set keeps its number when its files settle; one whose files are replaced, or that comes again, gets a new one."""
    copied, settled, replaced = GateKey("a", ""), GateKey("a", "v1"), GateKey("a", "v2")
    journal.commit((), NOW, beside=Beside(gate=Changes(new={copied: Pass.HELD})))
    journal.commit((), NOW, beside=Beside(gate=Changes(settled=((copied, settled),))))
    assert journal.gate(up_to=1) == {settled: Pass.HELD}
    journal.commit((), NOW, beside=Beside(gate=Changes(gone=(settled,), new={replaced: Pass.HELD})))
    assert (journal.gate(up_to=1), journal.newest_held()) == ({}, 2)
    journal.commit((), NOW, beside=Beside(gate=Changes(gone=(replaced,))))
    journal.commit((), NOW, beside=Beside(gate=Changes(new={replaced: Pass.HELD})))
    assert journal.newest_held() == 3


def test_what_is_spent_in_a_day_is_counted_as_it_is_summed(journal: Journal) -> None:
    """Whatever becomes of a purchase, before the day or in it; also where a transaction fails, and when the next day begins."""
    led(journal, *SENT, S.SUBMITTED, name="before")
    held = led(journal, *SENT, S.HELD, name="held", content="held")
    day = journal.newest_purchase()
    assert journal.spent_in_day(day) == {}
    for number, way in enumerate(((S.UPLOADING, S.STAGED), SENT[1:], (*SENT[1:], S.STAGED), (*SENT[1:], S.SUBMITTED))):
        led(journal, S.STAGED, *way, name=f"a{number}", folder=f"top{number % 2}", content=f"c{number}")
        assert journal.spent_in_day(day) == journal.spent_since(day)
    journal.commit([Transition(replace(held, charges=1), "charged")], NOW)
    one = replace(led(journal, S.STAGED, name="b", content="b"), price=Decimal(2))
    for state in (S.UPLOADING, S.SUBMITTING):
        one = replace(one, state=state)
        journal.commit([Transition(one, state.value)], NOW)
    with pytest.raises(JournalError):
        journal.commit(
            [Transition(replace(one, state=S.STAGED), "x"), Transition(replace(one, state=S.ARCHIVED), "x")], NOW
        )
    assert journal.spent_in_day(day) == journal.spent_since(day)
    cheap = replace(one, state=S.SUBMITTED, charges=1, task=Task("t-b", "", 0.0, Decimal("0.25")))
    refused = Settled(3, "free", before="refused")
    journal.commit([Transition(cheap, "submitted")], NOW, beside=Beside(settled=[refused], confirmed=(day, 99)))
    assert journal.spent_in_day(day) == journal.spent_since(day)
    led(journal, *SENT, name="last", content="last")
    assert journal.spent_in_day(day) == journal.spent_since(day) != {}
    newest = journal.newest_purchase()
    assert (journal.spent_in_day(newest), journal.spent_in_day(0)) == ({}, journal.spent_since(0))


def test_what_is_spent_is_summed_over_blocks_as_over_single_purchases(journal: Journal, tmp_path: Path) -> None:
    """Whatever a purchase becomes, at both ends of a block, and wherever the sum begins."""
    led(journal, *SENT, S.SUBMITTED)
    columns = "job_id, fingerprint, top, at, outcome, cost"
    with closing(sqlite3.connect(tmp_path / "journal.sqlite3", isolation_level=None)) as db:
        db.executemany(
            f"INSERT INTO purchases ({columns}) SELECT job_id, '', ?, at + ?, ?, ? FROM purchases WHERE id = 1",  # noqa: S608 - ours
            [
                ("ab"[number % 2], number * 60, ("charged", "unknown", "refused", "free")[number % 4], "0.5")
                for number in range(2 * BLOCK)
            ],
        )
        ends = (BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK)
        for change in ("outcome = 'charged'", "cost = '2', confirmed = 1", "top = 'c'", "at = at + 3600"):
            for number in ends:
                db.execute(f"UPDATE purchases SET {change} WHERE id = ?", (number,))  # noqa: S608 - as above
        db.execute("UPDATE purchases SET outcome = 'free' WHERE outcome <> 'charged' AND id % 3 = 0")
        price = journal.price(A_TEXTURE)
        bought = db.execute(
            "SELECT id, top, outcome, cost, confirmed FROM purchases WHERE outcome <> 'free'"
        ).fetchall()
        for after in (0, 1, *ends, journal.newest_purchase()):
            sums: dict[str, Decimal] = {}
            for _, top, outcome, cost, confirmed in (row for row in bought if row[0] > after):
                least = Decimal(0) if confirmed else HALF if outcome == "charged" else price
                sums[top] = sums.get(top, Decimal(0)) + max(Decimal(cost), least)
            assert journal.spent_since(after) == sums
        for since in (NOW, NOW + 1, NOW + 5000, NOW + 9e9):
            query = (
                "SELECT top, sum(CAST(cost AS REAL)) FROM purchases WHERE at >= ? AND outcome = 'charged' GROUP BY top"
            )
            assert journal.charged_by_folder(since) == dict(db.execute(query, (since,)))


def test_another_process_that_wrote_has_it_counted_anew(journal: Journal, tmp_path: Path) -> None:
    """Triggers of this connection do not see what another one writes."""
    led(journal, *SENT, S.SUBMITTED)
    journal.changed_outside()
    assert journal.spent_in_day(0) == {"": HALF}
    with closing(sqlite3.connect(tmp_path / "journal.sqlite3")) as other:
        other.execute("UPDATE purchases SET cost = '3'")
        other.commit()
    journal.changed_outside()
    assert journal.spent_in_day(0) == {"": 3}
