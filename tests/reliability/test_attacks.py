"""Known ways to pay twice or without bound, each as a short story that the state machine could invent, but seldom does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from effort import EFFORT
from ledgers import Told
from studio import Studio, VendorClock
from test_state_machine import AGAIN, FOR_EVER, RELOADS, Chaos
from workshop import emulated, image, model

from rodin_watchd.emulator.server import Emulator

CLOCK = VendorClock()
REFUSALS = (
    *("charged-429", "charged-429=TOO_MANY_REQUESTS", "charged-408", "charged-404", "charged-405", "charged-307"),
    *("charged-308", "charged-400=INVALID_REQUEST", "charged-error=INVALID_REQUEST", "charged-error=A_NEW_WORD"),
    *("late-charge=5:429", "late-charge=30:400", "submit-429", "submit-redirect=308"),
)
BUDGETS: tuple[Mapping[str, object], ...] = ({}, {"per_day_credits": 1.5}, {"sole_spender": True})


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """Give a vendor with all the credit in the world; its balance has a part of a credit, so proofs can begin."""
    with emulated(balance=10**6, clock=CLOCK, link_seconds=FOR_EVER, keep_seconds=FOR_EVER) as vendor:
        yield vendor.emulator


@pytest.fixture
def chaos(emulator: Emulator) -> Iterator[Chaos]:
    """Give the rules of the state machine; the studio is opened by the test, and is gone afterwards however that ends."""
    chaos = Chaos(emulator, CLOCK)
    yield chaos
    chaos.studio.close()


def studio(chaos: Chaos, budget: Mapping[str, object]) -> Studio:
    """Open the studio."""
    chaos.open_studio(budget)
    return chaos.studio


@pytest.mark.parametrize("gaps", [(0, 0, 0), (0, 1, 2)] if EFFORT > 1 else [(0, 1, 2)])
def test_a_reload_in_an_upload_keeps_the_books(chaos: Chaos, gaps: tuple[int, ...]) -> None:
    """The configuration is read anew while a body is being sent: the charge is booked, and the day's budget holds."""
    shop = studio(chaos, {"per_day_credits": 0.5})
    chaos.reload_under_way(3, list(gaps), list(RELOADS[:2]))
    shop.check()
    chaos.bustle(4)
    shop.check()
    shop.come_to_an_end()


@pytest.mark.parametrize("again_at", range(6) if EFFORT > 1 else (2, 3))
def test_a_word_about_one_hold_is_not_taken_for_another(chaos: Chaos, again_at: int) -> None:
    """`resolve --not-charged` twice, the second at some moment of the next submit, whose answer is lost as well."""
    shop = studio(chaos, {})
    chaos.impatient("chair", ("lost-answer", "lost-answer"), again_at, down=False)
    shop.check()
    chaos.bustle(3)
    shop.check()
    shop.come_to_an_end()


@pytest.mark.parametrize("leaves", [[AGAIN[0]] * 3, list(AGAIN)])
def test_the_same_sidecar_buys_once(chaos: Chaos, leaves: list[bytes]) -> None:
    """One content, dropped again and again: what the sidecars allow is bought, and nothing more."""
    shop = studio(chaos, {})
    chaos.buy_again("chair", leaves, 8)
    shop.check()
    bought = len(shop.charges())
    assert bought >= 1
    for _ in range(3):
        chaos.synchronise(0)
        chaos.bustle(6)
        shop.check()
    shop.come_to_an_end()


@pytest.mark.parametrize("budget", BUDGETS if EFFORT > 1 else BUDGETS[:1])
@pytest.mark.parametrize("mood", REFUSALS if EFFORT > 1 else REFUSALS[::4])
def test_refusals_that_were_charged_are_bounded(chaos: Chaos, mood: str, budget: Mapping[str, object]) -> None:
    """A vendor that charges each try and refuses it: the set is held, and so are the others before much is spent."""
    shop = studio(chaos, budget)
    chaos.drop_by_name("first", ("obj", model), sidecar=False)
    chaos.bustle(8)
    shop.strike(mood)
    for name in ("second", "third", "fourth"):
        chaos.drop_by_name(name, ("obj", model), sidecar=False)
    for _ in range(30):
        chaos.bustle(1)
        shop.tick(60.0)
        shop.check()
    shop.settle()
    shop.check()
    shop.come_to_an_end()


@pytest.mark.parametrize(
    "fault", ["submit-interim=3", "status-interim=2", "download-interim=40", "file-interim=2", "balance-interim"]
)
def test_informational_answers_hide_nothing(chaos: Chaos, fault: str) -> None:
    """Any number of 1xx before the real answer of any call: the set is paid once and delivered, and no job is held."""
    shop = studio(chaos, {})
    shop.strike(fault)
    chaos.drop_by_name("chair", ("obj", model), sidecar=False)
    shop.until_idle()
    shop.check()
    assert [job.state.value for job in Told.of(shop.journal).jobs.values()] == ["archived"]
    assert len(shop.charges()) == 1
    shop.come_to_an_end()


def test_a_change_of_the_spelling_buys_nothing(chaos: Chaos) -> None:
    """A default spelled out, and a set that comes again with another inode and other times, are the same purchase."""
    shop = studio(chaos, {})
    for name, sidecar in (("a", b""), ("b", b'material = "PBR"\n'), ("c", b'resolution = "Basic"\nmaterial = "PBR"\n')):
        shop.put(f"{name}.obj", model("same"))
        shop.put(f"{name}.png", image("same"))
        if sidecar:
            shop.put(f"{name}.toml", sidecar)
        chaos.bustle(8)
    shop.until_idle()
    assert len(shop.charges()) == 1
    shop.come_to_an_end()
