"""The judge of the state machine sees each kind of fault in the books when there is one, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256

import pytest
from ledgers import (
    Asked,
    Happened,
    Leaves,
    Purchase,
    Told,
    check_budget,
    check_history,
    check_leaves,
    check_money,
)

from rodin_watchd.emulator.ledger import Charge
from rodin_watchd.model import InputFile, Job, Role, Signature, State, Task

SIGNATURE = Signature(1, 1, 1)
AGAIN = b"again = true\n"
ONCE = ("claimed", "staged", "uploading", "submitting", "submitted")
LOST = (*ONCE[:4], "held")


def job(number: int = 1, *, sidecar: bytes = b"", task: str = "") -> Job:
    """Give a job that buys the one content that there is here."""
    digests = {Role.MODEL: "m", Role.IMAGE: "i", **({Role.SIDECAR: sha256(sidecar).hexdigest()} if sidecar else {})}
    files = tuple(InputFile(role, f"inbox/{role}", SIGNATURE, sha256=digest) for role, digest in digests.items())
    known = Task(task, "", 1.0) if task else None
    return Job(f"job{number}", "chair", "", State.SUBMITTED, files, {}, 1.0, again=bool(sidecar), task=known)


def history(*moves: str, of: str = "job1", after: int = 0) -> list[Happened]:
    """Give events: states, or `action>state`."""
    pairs = [move.rpartition(">") for move in moves]
    return [
        Happened(after + number, of, action or state, state, "", "")
        for number, (action, _, state) in enumerate(pairs, 1)
    ]


def told(
    events: Sequence[Happened], *jobs: Job, outcomes: Sequence[str] = (), by_person: bool = False, after: int = 0
) -> Told:
    """Give a journal with these books: each line of the first job."""
    known = jobs or (job(),)
    last = {event.job: event.state for event in events}
    books = [Purchase(n, known[0].id, "", outcome, Decimal("0.5"), by_person) for n, outcome in enumerate(outcomes, 1)]
    return Told({j.id: replace(j, state=State(last.get(j.id, "staged"))) for j in known}, events, books, after)


def charges(count: int) -> list[Charge]:
    """Give so many charges for the content."""
    return [Charge(f"task{n}", "m", "i", {}, Decimal("0.5"), Decimal(9), 1.0) for n in range(count)]


def test_a_purchase_that_is_in_the_books_is_right() -> None:
    """One content, charged once, its task known."""
    check_money(told(history(*ONCE), job(task="task0"), outcomes=["charged"]), charges(1), Leaves())


@pytest.mark.parametrize(
    ("outcomes", "count", "wrong"),
    [
        (["charged"], 2, "agreed to 1"),
        (["free"], 1, "0 in the books"),
        ([], 1, "0 in the books"),
        (["refused"] * 7, 0, "7 submits in a row"),
    ],
)
def test_what_nobody_agreed_to_is_seen(outcomes: list[str], count: int, wrong: str) -> None:
    """A second charge, one that is not booked (as after a reload), and refusals without end."""
    with pytest.raises(AssertionError, match=wrong):
        check_money(told(history(*ONCE), job(task="task0"), outcomes=outcomes), charges(count), Leaves())


def test_a_charged_refusal_is_bounded() -> None:
    """A vendor that charges and refuses may cost a second try, not a third."""
    books = told(history(*ONCE), job(task="task1"), outcomes=["refused", "charged", "charged"])
    check_money(books, charges(2), Leaves(), refusing=True)
    with pytest.raises(AssertionError, match="charged 3 times"):
        check_money(books, charges(3), Leaves(), refusing=True)


def test_a_leave_is_for_one_charged_refusal() -> None:
    """A set may cost two tries; what a person allowed after that, one: more only where a balance may have been read too early."""
    moves = (*LOST, "resolve>staged", *LOST[2:])
    books = told(history(*moves), outcomes=["free", "free", "refused", "refused"], by_person=True)
    check_money(books, charges(3), leave(5), refusing=True)
    check_money(books, charges(4), leave(5), refusing=True, late=True)
    with pytest.raises(AssertionError, match="charged 4 times, agreed to 2"):
        check_money(books, charges(4), leave(5), refusing=True)


def test_a_paid_task_that_nobody_knows_is_seen() -> None:
    """Its id is in no job and in no history, though an answer named it."""
    with pytest.raises(AssertionError, match="paid tasks are lost"):
        check_money(told(history(*ONCE), job(), outcomes=["charged"]), charges(1), Leaves())


@pytest.mark.parametrize(
    ("sidecars", "allowed"),
    [
        ([AGAIN], 2),
        ([AGAIN, AGAIN], 2),
        ([AGAIN, b"again = true # more\n"], 2),
        ([AGAIN, b'again = "two"\n'], 3),
        ([b'again = "two"\n', b'again = "two" # the same word\n'], 2),
        ([b"again = false\n", b"seed = 1\n", b"no toml"], 1),
    ],
)
def test_a_sidecar_buys_once(sidecars: list[bytes], allowed: int) -> None:
    """The same word is one leave, in however many sets it comes; so is `true`."""
    leaves, jobs = Leaves(), [job(9)]
    for number, sidecar in enumerate(sidecars):
        leaves.note_sidecar(sidecar)
        jobs.append(job(number, sidecar=sidecar))
    events = [event for each in jobs for event in history("claimed", of=each.id)]
    books = told(events, *jobs, outcomes=["open"] * 9)
    check_money(books, charges(allowed), leaves)
    with pytest.raises(AssertionError, match=f"agreed to {allowed}"):
        check_money(books, charges(allowed + 1), leaves)


def held_twice(*between: str) -> Told:
    """Give a job whose answer was lost, that was sent again, and whose answer was lost again; then this happened."""
    moves = (*LOST, "resolve>staged", *LOST[2:], *between)
    return told(history(*moves), outcomes=["free", "open"], by_person=True)


def leave(*seen: int) -> Leaves:
    """Give what a person said who saw the holds that these events began."""
    asked = {Asked("resolve", "job1", event) for event in seen}
    return Leaves(asked=asked, not_charged=asked)


def test_a_leave_is_for_the_hold_that_a_person_saw() -> None:
    """`resolve --not-charged` said of the first hold counts for that one; the second needs a word of its own."""
    check_leaves(held_twice(), leave(5))
    check_money(held_twice(), charges(2), leave(5))
    with pytest.raises(AssertionError, match="nobody had seen"):
        check_leaves(held_twice("resolve>staged"), leave(5))
    check_leaves(held_twice("resolve>staged"), leave(5, 9))


def test_giving_up_is_no_leave_to_send() -> None:
    """Who gave a hold up has not said that it was not charged."""
    given_up = Leaves(asked={Asked("resolve", "job1", 5)})
    with pytest.raises(AssertionError, match="nobody said so"):
        check_leaves(held_twice(), given_up)
    with pytest.raises(AssertionError, match="agreed to 1"):
        check_money(held_twice(), charges(2), given_up)


def test_a_retry_is_for_the_failure_that_a_person_saw() -> None:
    """And it pays again only if that was asked for."""
    events = history("claimed", "staged", "failing", "failed", "retry>claimed", "staged", "uploading", "submitting")
    ask = Asked("retry", "job1", 4)
    books = told(events, outcomes=["charged", "open"])
    check_leaves(books, Leaves(asked={ask}))
    with pytest.raises(AssertionError, match="nobody had seen"):
        check_leaves(books, Leaves(asked={Asked("retry", "job1", 3)}))
    with pytest.raises(AssertionError, match="agreed to 1"):
        check_money(books, charges(2), Leaves(asked={ask}))
    check_money(told(events, job(task="task0"), outcomes=["charged", "open"]), charges(2), Leaves(pay_again={ask}))


@pytest.mark.parametrize(
    ("caps", "after", "wrong"),
    [
        ({"per_day_credits": 1}, 0, "1.5 credits in a day of 1"),
        ({"per_folder_credits": "1"}, 0, "for ''"),
        ({"per_day_credits": 1}, 1, ""),
        ({"per_day_credits": 1.5}, 0, ""),
        ({}, 0, ""),
    ],
)
def test_a_day_over_its_budget_is_seen(caps: dict[str, object], after: int, wrong: str) -> None:
    """What is not free counts, from the first purchase of the day on."""
    books = told(history(*ONCE), outcomes=["charged", "open", "free", "refused"], after=after)
    if not wrong:
        check_budget(books, caps)
        return
    with pytest.raises(AssertionError, match=wrong):
        check_budget(books, caps)


def test_an_illegal_move_and_a_rewritten_history_are_seen() -> None:
    """From a state to one that does not follow, and another past than before."""
    with pytest.raises(AssertionError, match="delivered"):
        check_history(Told({}, ()), told(history("claimed", "delivered")))
    with pytest.raises(AssertionError, match="rewritten"):
        check_history(told(history("claimed", "staged")), told(history("claimed", "failing")))


def test_the_same_content_under_way_twice_is_seen() -> None:
    """A second upload while the first set of the same content is delivered."""
    events = [*history(*ONCE), *history(*ONCE[:3], of="job2", after=5)]
    with pytest.raises(AssertionError, match="the same content"):
        check_money(told(events, job(1), job(2)), [], Leaves())
