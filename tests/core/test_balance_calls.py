"""The account: what a balance stops and lets go on, and when it is worth a call."""

from __future__ import annotations

from decimal import Decimal

import pytest

from rodin_watchd.core.balance import (
    REFRESH_PURCHASES,
    REFRESH_SECONDS,
    Balance,
    is_stale,
    low_balance_text,
)
from rodin_watchd.core.pauses import (
    MOST_ASKED,
    Pause,
    Pauses,
    account_pauses,
    after_balance,
    after_no_balance,
    cleared,
    of_submits,
    renewed,
    to_ask_about,
)
from rodin_watchd.errors import (
    DiskError,
    EmptyAccountError,
    KeyRefusedError,
    Lane,
    NetworkError,
    NoCreditsError,
    RoomError,
    ServiceError,
    ThrottledError,
    VendorAnswerError,
    VendorDownError,
)
from rodin_watchd.model import Retry, Step

NOW = 1_700_000_000.0
NOTHING: frozenset[Pause] = frozenset()


def paused(*errors: type[NoCreditsError | KeyRefusedError | NetworkError | DiskError]) -> Pauses:
    """Return the pauses after these errors, two seconds long; five where the account lacks credits."""
    pauses: Pauses = {}
    for error in errors:
        pauses = renewed(pauses, error().problem, NOW, 0.5)
    return pauses


@pytest.mark.parametrize("balance", ["0", "0.25", "0.499999"])
def test_less_than_a_texture_is_empty(balance: str) -> None:
    """Submits pause, with the figures."""
    pause = after_balance({}, Decimal(balance), NOW, 0.5)[Lane.SUBMIT]
    assert pause.problem.code == EmptyAccountError.code
    assert (
        pause.problem.message
        == f"The vendor's account is empty: it has {balance} credits, a texture costs 0.5 credits."
    )
    assert (pause.since_at, pause.until_at, pause.tries) == (NOW, NOW + 2, 1)


def test_an_account_that_stays_empty_is_asked_ever_more_rarely() -> None:
    """Two seconds, four, eight; it is one pause all the time."""
    pauses, now, waits = after_balance({}, Decimal(0), NOW, 0.5), NOW, []
    for _ in range(4):
        waits.append(pauses[Lane.SUBMIT].until_at - now)
        now = pauses[Lane.SUBMIT].until_at
        pauses = after_balance(pauses, Decimal(0), now, 0.5)
    assert waits == [2.0, 4.0, 8.0, 16.0]
    assert pauses[Lane.SUBMIT].since_at == NOW


def test_credits_end_what_the_empty_account_stopped() -> None:
    """One texture's worth is enough."""
    pauses = after_balance({}, Decimal(0), NOW, 0.5)
    assert after_balance(pauses, Decimal("0.5"), NOW + 9, 0.5) == {}


def test_credits_do_not_end_what_another_refusal_stopped() -> None:
    """A plan that does not allow the API: the balance says nothing about it, an upload has to try."""
    pauses = paused(NoCreditsError)
    assert after_balance(pauses, Decimal(100), NOW + 9, 0.5) == pauses


def test_a_refusal_for_lack_of_credits_becomes_an_empty_account() -> None:
    """The next look tells the figures, and from then on the balance decides; it is still one pause."""
    pauses = after_balance(paused(NoCreditsError), Decimal(0), NOW + 9, 0.5)
    assert pauses[Lane.SUBMIT].problem.code == EmptyAccountError.code
    assert pauses[Lane.SUBMIT].since_at == NOW
    assert after_balance(pauses, Decimal(1), NOW + 99, 0.5) == {}


def test_a_balance_that_came_shows_that_the_api_works() -> None:
    """A pause of the network or the key is over; not one that was told to last longer, nor the disk's."""
    pauses = paused(KeyRefusedError, DiskError)
    assert set(after_balance(pauses, Decimal(9), NOW + 2, 0.5)) == {Lane.DISK}
    assert after_balance(pauses, Decimal(9), NOW + 1, 0.5) == pauses


def test_the_pauses_of_submits_are_asked_about_once() -> None:
    """When their wait is over, whoever paused them; one that was asked about leaves the rest to an upload, until it is renewed."""
    pauses = paused(KeyRefusedError, NoCreditsError, DiskError)
    assert account_pauses(paused(NetworkError, DiskError)) == []
    assert to_ask_about(pauses, NOTHING, NOW + 1) == []
    assert to_ask_about(pauses, NOTHING, NOW + 2) == [pauses[Lane.API]]
    asked = to_ask_about(pauses, NOTHING, NOW + 5)
    assert asked == [pauses[Lane.SUBMIT], pauses[Lane.API]]
    assert to_ask_about(pauses, frozenset(asked), NOW + 5) == []
    again = renewed(pauses, NoCreditsError().problem, NOW + 5, 0.5)
    assert to_ask_about(again, frozenset(asked), NOW + 999) == [again[Lane.SUBMIT]]
    for error in (NetworkError, VendorDownError, ThrottledError):
        assert to_ask_about(renewed({}, error().problem, NOW, 0.5), NOTHING, NOW + 2)


def test_a_pause_lasts_until_a_free_call_works() -> None:
    """A balance that cannot be read makes the wait longer; when it has failed for minutes an upload tries all the same."""
    pauses, now = renewed({}, ThrottledError().problem, NOW, 0.5), NOW
    for _ in range(MOST_ASKED):
        now = pauses[Lane.API].until_at
        assert to_ask_about(pauses, NOTHING, now)
        assert cleared(pauses, now, answered=False) == NOTHING
        assert cleared(pauses, now, answered=True) == {pauses[Lane.API]}
        pauses = after_no_balance(pauses, VendorAnswerError().problem, now, 0.5)
        assert not to_ask_about(pauses, NOTHING, now + 1)
    now = pauses[Lane.API].until_at
    assert NOW + 60 < now < NOW + 600
    assert after_no_balance(pauses, VendorAnswerError().problem, now, 0.5) == pauses
    assert to_ask_about(pauses, cleared(pauses, now, answered=False), now) == []
    refused = after_no_balance({}, KeyRefusedError().problem, NOW, 0.5)
    assert refused[Lane.API].tries == 1


@pytest.mark.parametrize(
    ("step", "error", "lane"),
    [
        (Step.SUBMIT, KeyRefusedError, Lane.SUBMIT),
        (Step.SUBMIT, NetworkError, Lane.SUBMIT),
        (Step.SUBMIT, VendorDownError, Lane.API),
        (Step.SUBMIT, RoomError, Lane.ROOM),
        (Step.POLL, NetworkError, Lane.API),
        (Step.POLL, KeyRefusedError, Lane.API),
    ],
)
def test_what_only_submits_meet_stops_only_submits(step: Step, error: type[ServiceError], lane: Lane) -> None:
    """And no poll that goes through an open connection says that the network is back, and that the set is to blame."""
    outcome = of_submits(Retry(error().problem), step, {})
    assert isinstance(outcome, Retry)
    assert outcome.problem.lane is lane


def test_a_network_that_is_down_is_told_once() -> None:
    """A submit that finds it down as well adds nothing."""
    outcome = Retry(NetworkError().problem)
    assert of_submits(outcome, Step.SUBMIT, paused(NetworkError)) == outcome


@pytest.mark.parametrize(
    ("purchases", "seconds", "stale"),
    [
        (0, 1e9, False),
        (1, REFRESH_SECONDS - 1, False),
        (1, REFRESH_SECONDS, True),
        (REFRESH_PURCHASES - 1, 0, False),
        (REFRESH_PURCHASES, 0, True),
    ],
)
def test_a_watched_balance_is_renewed_after_so_many_purchases_or_so_long(
    purchases: int, seconds: float, stale: bool
) -> None:
    """Never while nothing was bought."""
    assert is_stale(purchases, seconds) is stale


def test_a_low_balance_names_its_limit() -> None:
    """Exactly, without needless zeros."""
    text = low_balance_text(Decimal("2.50"), Decimal(10))
    assert text == "The vendor's account has 2.5 credits, less than budget.low_balance (10 credits)."


def test_a_balance_is_stored_exactly() -> None:
    """Every digit, and all that is known with it, comes back."""
    balance = Balance(Decimal("12.50"), NOW, low=True, exact=True, vendor="https://vendor.example", purchase=7)
    assert Balance.of_data(balance.as_data()) == balance
    assert str(Balance.of_data(balance.as_data()).credits) == "12.50"
