"""What a balance shows of charges that are booked late, of another account, and of other prices than the list's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_reload import Reloaded
from workshop import KEY, START_AT, Hands, Vendor, Workshop, emulated, working

from rodin_watchd.core.proof import BASELINE
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.model import State

SOLE: dict[str, Any] = {"sole_spender": True, "settle_seconds": 20}
EXACT = Decimal("100.5")


# ---- another account ------------------------------------------------------------------------------------------------


@contextmanager
def service(root: Path, url: str) -> Iterator[Reloaded]:
    """Yield a service that can be reloaded."""
    with ExitStack() as stack:
        shop = Reloaded(root, url, {"budget": SOLE})
        shop.hands = Hands()
        shop.begin(stack)
        yield shop


def goes_to(shop: Reloaded, vendor: Vendor) -> None:
    """Reload with another vendor's address."""
    sections = {"budget": SOLE}
    shop.exchange(lambda: Reloaded(shop.root, vendor.emulator.base_url, sections).config, lambda _config: None)


def at_rest(shop: Workshop) -> Callable[[], bool]:
    """Return whether no proof is under way."""
    return lambda: not shop.inquires and not shop.daemon.parts.pool.busy


def test_what_was_bought_elsewhere_meanwhile_hides_no_charge(tmp_path: Path) -> None:
    """To another vendor and back, whose balance cannot be read: no sum begins before that, so nothing is paid twice."""
    with (
        emulated("empty-jobs=60", balance=EXACT) as home,
        emulated("balance-500", balance=Decimal(50)) as away,
        service(tmp_path, home.emulator.base_url) as shop,
    ):
        shop.drop_set("zero")
        shop.until(shop.is_in("zero", State.SUBMITTED))
        assert shop.store.meta(BASELINE) is not None
        goes_to(shop, away)
        shop.drop_set("one")
        shop.until(shop.is_in("one", State.ARCHIVED))
        assert shop.store.meta(BASELINE) is None
        goes_to(shop, home)
        home.emulator.set_faults(parse_fault("empty-jobs=30"), parse_fault("lost-answer@1"))
        shop.drop_set("two")
        shop.until(shop.is_in("two", State.HELD))
        shop.until(lambda: at_rest(shop)() and shop.states()["zero"] is State.ARCHIVED)
        assert shop.states()["two"] is State.HELD
        assert (home.charges_in_all, away.charges_in_all) == (2, 1)


def test_a_balance_is_believed_again_where_it_was_seen_to_fall(tmp_path: Path) -> None:
    """What is known of an account's balance is kept while another account is used."""
    with (
        emulated(balance=EXACT) as home,
        emulated(balance=EXACT) as away,
        service(tmp_path, home.emulator.base_url) as shop,
    ):
        shop.has_seen_the_balance_fall()
        goes_to(shop, away)
        shop.drop_set("away")
        shop.until(shop.is_in("away", State.ARCHIVED))
        goes_to(shop, home)
        home.emulator.set_faults(parse_fault("submit-503@1"))
        shop.drop_set("home")
        shop.until(shop.is_in("home", State.ARCHIVED))
        assert (home.charges_in_all, away.charges_in_all) == (1, 1)


def test_a_task_of_another_account_is_no_lost_task(tmp_path: Path) -> None:
    """Its set says that it was bought elsewhere, waits, and is delivered when the account is back."""
    with (
        emulated("empty-jobs=60", balance=EXACT) as home,
        emulated(balance=EXACT) as away,
        service(tmp_path, home.emulator.base_url) as shop,
    ):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.SUBMITTED))
        goes_to(shop, away)
        shop.ticks(1)
        shop.until(lambda: shop.job("chair").attempts > 15, step_seconds=60)
        assert shop.states() == {"chair": State.SUBMITTED}
        assert "bought with another API key or address" in shop.status()
        shop.drop_set("stool")
        shop.until(shop.is_in("stool", State.ARCHIVED))
        goes_to(shop, home)
        shop.until(shop.is_in("chair", State.ARCHIVED), step_seconds=5)
        assert (home.charges_in_all, away.charges_in_all) == (1, 1)


# ---- charges that are booked late -----------------------------------------------------------------------------------


class LateBooks:
    """Has each charge of a vendor in its balance 5 seconds later."""

    def __init__(self, shop: Workshop, vendor: Vendor) -> None:
        """Begin with what was charged so far."""
        self._shop, self._vendor = shop, vendor
        self._due: list[float] = []
        self._known = vendor.charges_in_all

    def until(self, done: Callable[[], bool], step_seconds: float = 0.1) -> None:
        """Do as the workshop does, and book."""

        def booked_and_done() -> bool:
            self._job_store()
            return done()

        self._shop.until(booked_and_done, step_seconds=step_seconds)

    def _job_store(self) -> None:
        now, emulator = self._shop.hands.seconds, self._vendor.emulator
        for _ in range(self._vendor.charges_in_all - self._known):
            emulator.pay_in(Decimal("0.5"))
            self._due.append(now + 5)
            self._known += 1
        while self._due and self._due[0] <= now:
            emulator.pay_in(Decimal("-0.5"))
            del self._due[0]


def test_a_documented_refusal_that_is_charged_late_is_no_free_one(tmp_path: Path) -> None:
    """Booked 5 seconds later, well before the balance must be settled: found out, and nothing more is sent."""
    with working(tmp_path, "charged-400=INVALID_REQUEST", budget={"sole_spender": True}, balance=EXACT) as (
        shop,
        vendor,
    ):
        books = LateBooks(shop, vendor)
        for _ in range(3):
            shop.drop_set("chair")
            shop.hands.seconds += 1
            books.until(shop.daemon.is_idle)
            books.until(lambda end=shop.hands.seconds + 300: shop.hands.seconds > end, 5)  # type: ignore[misc]
        assert vendor.charges_in_all == 1
        assert shop.purchases("outcome") == ["charged"]
        assert State.HELD in {job.state for job in shop.jobs()}


@pytest.mark.parametrize("budget", [{}, {"sole_spender": False}])
def test_a_bad_set_does_not_stop_the_others_until_it_is_judged(tmp_path: Path, budget: dict[str, object]) -> None:
    """It looks free a second later: the next one goes, while the bad one counts as spent and waits for its verdict."""
    with working(
        tmp_path, "submit-error=INVALID_REQUEST@1", budget={"sole_spender": True, **budget}, balance=EXACT
    ) as (shop, vendor):
        shop.drop_set("bad")
        shop.until(shop.is_in("bad", State.FAILING))
        began = shop.hands.seconds
        shop.drop_set("good")
        shop.until(shop.is_in("good", State.ARCHIVED))
        assert shop.hands.seconds - began < 30
        assert (shop.states()["bad"], shop.purchases("outcome")) == (State.FAILING, ["refused", "charged"])
        shop.until(shop.is_in("bad", State.FAILED))
        assert shop.hands.seconds - began > 60
        assert shop.purchases("outcome") == ["free", "charged"]
        assert "no credits" in shop.report("bad")
        assert vendor.charges == 1


def test_others_put_off_a_verdict_for_a_while_only(tmp_path: Path) -> None:
    """However many sets come: after some minutes they wait until the refusal is judged."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1", budget=SOLE, balance=EXACT) as (shop, _):
        shop.drop_set("bad")
        shop.until(shop.is_in("bad", State.FAILING))
        began, count = shop.hands.seconds, [0]

        def drops_more() -> bool:
            if all(state in (State.ARCHIVED, State.FAILING) for state in shop.states().values()):
                count[0] += 1
                shop.drop_set(f"set-{count[0]}")
            return shop.states()["bad"] is State.FAILED

        shop.until(drops_more, step_seconds=5)
        assert 5 * 20 < shop.hands.seconds - began < 10 * 20
        assert shop.purchases("outcome")[0] == "free"


@pytest.mark.parametrize("restarts", [False, True])
def test_an_accepted_set_that_is_charged_late_is_not_booked_twice(tmp_path: Path, restarts: bool) -> None:
    """A balance that was read before its charge is no beginning of a sum: the lost answer after it was not charged."""
    with working(tmp_path, "submit-503@2", budget={"sole_spender": True}, balance=EXACT) as (shop, vendor):
        books = LateBooks(shop, vendor)
        shop.drop_set("chair")
        books.until(shop.is_in("chair", State.ARCHIVED))
        if restarts:
            shop.restart()
        shop.drop_set("stool")
        books.until(shop.is_in("stool", State.HELD))
        books.until(shop.is_in("stool", State.ARCHIVED))
        assert shop.purchases("outcome") == ["charged", "free", "charged"]
        assert shop.job("stool").charges == 1


# ---- what is known of late charges stays known, whatever is configured anew -------------------------------------------


OTHER_KEY = "another-key-of-the-tests-456"
LATE: dict[str, Any] = {"sole_spender": True, "settle_seconds": 6}


@contextmanager
def late_vendor(root: Path, *faults: str) -> Iterator[tuple[Reloaded, Vendor]]:
    """Yield a service whose vendor books some charges 300 seconds late and knows two keys, and the vendor."""
    hands = Hands()
    with (
        emulated(*faults, api_keys=(KEY, OTHER_KEY), clock=lambda: START_AT + hands.seconds) as vendor,
        ExitStack() as stack,
    ):
        shop = Reloaded(root, vendor.emulator.base_url, {"budget": LATE})
        shop.sections, shop.hands = {"budget": LATE}, hands
        shop.begin(stack)
        shop.has_seen_the_balance_fall()
        yield shop, vendor
        shop.rest()


def sent_twice(shop: Reloaded) -> None:
    """Have a set sent again by a verdict that is wrong: its first submit is booked later than it was looked at."""
    shop.drop_set("chair")
    shop.idle()
    shop.drop_set("table")
    shop.until(shop.is_in("table", State.ARCHIVED))
    assert shop.purchases("outcome") == ["charged", "free", "charged"]


def is_doubted(shop: Reloaded) -> None:
    """Have the late charge found out."""
    shop.hands.seconds += 400
    shop.drop_set("lamp")
    shop.idle()
    shop.hands.seconds += 100
    shop.daemon.tick()
    assert shop.purchases("outcome")[:3] == ["charged", "unknown", "charged"]
    assert "balance-doubted" in shop.event_kinds()


def another_key(shop: Reloaded) -> None:
    """Renew the key, which is the same account's."""
    shop.reload_alike(OTHER_KEY)


def another_spelling(shop: Reloaded) -> None:
    """Write the same vendor's address in another way."""
    url = shop.config.api.base_url.replace("127.0.0.1", "localhost")
    shop.exchange(lambda: Reloaded(shop.root, url, shop.sections).config, lambda _config: None)


def shared(shop: Reloaded) -> None:
    """Say that others spend from the account."""
    shop.reload(budget={**LATE, "sole_spender": False})


def shared_for_a_while(shop: Reloaded) -> None:
    """Say so, and take it back."""
    shared(shop)
    shop.ticks(2)
    shop.reload(budget=LATE)


RENEWALS = pytest.mark.parametrize("renew", [another_key, another_spelling, shared, shared_for_a_while])


@RENEWALS
def test_a_doubted_balance_stays_doubted_after_a_reload(tmp_path: Path, renew: Callable[[Reloaded], None]) -> None:
    """It shows nothing to be free until `settle_seconds` is raised: the next late charge is paid once."""
    with late_vendor(tmp_path, "late-charge=300:503@2", "late-charge=300:503@6") as (shop, vendor):
        sent_twice(shop)
        is_doubted(shop)
        renew(shop)
        shop.idle()
        assert "budget.settle_seconds is more than 6" in shop.status()
        shop.drop_set("stool")
        shop.idle()
        shop.hands.seconds += 100
        shop.drop_set("door")
        shop.idle()
        shop.ticks(3, step_seconds=100)
        assert shop.states()["door"] is State.HELD
        assert (len(shop.purchases("outcome")), vendor.uploads) == (6, 6)
        assert "free" not in shop.purchases("outcome")


@RENEWALS
def test_what_looked_free_counts_as_spent_where_nothing_can_take_it_back(
    tmp_path: Path, renew: Callable[[Reloaded], None]
) -> None:
    """After a reload that ends the comparison of balances: with the next tick, before the charge is booked or found."""
    with late_vendor(tmp_path, "late-charge=300:503@2") as (shop, vendor):
        sent_twice(shop)
        renew(shop)
        shop.daemon.tick()
        assert shop.purchases("outcome") == ["charged", "unknown", "charged"]
        assert shop.event_kinds().count("balance-unwatched") == 1
        shop.idle()
        shop.hands.seconds += 400
        shop.drop_set("lamp")
        shop.idle()
        assert shop.purchases("outcome") == ["charged", "unknown", "charged", "charged"]
        assert vendor.charges_in_all == 4


def test_a_set_that_waits_to_be_sent_again_is_held_when_the_key_changes(tmp_path: Path) -> None:
    """Its verdict cannot be taken back any more, so a person looks before it is paid for again."""
    with late_vendor(tmp_path, "late-charge=300:503@2") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        shop.drop_set("table")
        shop.until(lambda: "free" in shop.purchases("outcome"))
        assert shop.states()["table"] is State.STAGED
        another_key(shop)
        shop.idle()
        assert shop.states()["table"] is State.HELD
        assert shop.purchases("outcome") == ["charged", "refused"]
        assert "may have cost 0.5 credits" in shop.status()
        assert vendor.uploads == 2


def buys_beside_a_late_charge(shop: Workshop) -> None:
    """Buy one set whose lost answer looks free, and another one; then crash."""
    shop.start()
    shop.has_seen_the_balance_fall()
    shop.drop_set("chair")
    shop.idle()
    shop.drop_set("table")
    shop.until(shop.is_in("table", State.ARCHIVED))
    shop.crash()


def test_a_restart_with_another_key_takes_back_what_looked_free(tmp_path: Path) -> None:
    """As a reload does."""
    hands = Hands()
    with emulated("late-charge=300:503@2", clock=lambda: START_AT + hands.seconds) as vendor:
        shop = Workshop(tmp_path, vendor.emulator.base_url, {"budget": LATE})
        shop.hands = hands
        buys_beside_a_late_charge(shop)
        url = vendor.emulator.base_url.replace("127.0.0.1", "localhost")
        again = Workshop(tmp_path, url, {"budget": LATE})
        again.hands = hands
        again.start()
        again.idle()
        assert again.purchases("outcome") == ["charged", "unknown", "charged"]
        again.crash()


def test_an_accepted_root_takes_back_what_looked_free(tmp_path: Path) -> None:
    """A root that was moved, and accepted, begins with no balance of before: nothing could show the late charge."""
    hands = Hands()
    with emulated("late-charge=300:503@2", clock=lambda: START_AT + hands.seconds) as vendor:
        (tmp_path / "root").mkdir()
        shop = Workshop(tmp_path / "root", vendor.emulator.base_url, {"budget": LATE})
        shop.hands = hands
        buys_beside_a_late_charge(shop)
        moved = shop.root.rename(tmp_path / "moved")
        again = Workshop(moved, vendor.emulator.base_url, {"budget": LATE})
        again.hands = hands
        again.start()
        again.idle()
        assert "copied" in again.event_kinds()
        assert again.purchases("outcome") == ["charged", "unknown", "charged"]
        again.crash()


# ---- other prices than the list's -----------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [False, True])
def test_a_refusal_costs_what_the_newest_charges_did(tmp_path: Path, other: bool) -> None:
    """The vendor takes 1 credit since the last set; where it took the list's lately, too, nobody knows how many were charged."""
    faults = ("consumed=1@2",) if other else ("consumed=1@1",)
    with working(tmp_path, *faults, budget=SOLE, balance=EXACT) as (shop, vendor):
        for name in ("zero", "one") if other else ("zero",):
            shop.drop_set(name)
            shop.until(shop.is_in(name, State.ARCHIVED))
            shop.ticks(1, step_seconds=100)
        vendor.emulator.set_faults(parse_fault("charged-429@1"), parse_fault("submit-429@2"))
        shop.drop_set("chair")
        shop.drop_set("stool")
        shop.until(lambda: shop.purchases("outcome").count("refused") == 2)
        vendor.emulator.pay_in(Decimal("-0.5"))
        shop.until(lambda: shop.inquires)
        shop.until(at_rest(shop))
        told = sorted(shop.purchases("outcome", "cost")[:4])
        if other:
            assert told == [("charged", "0.5"), ("charged", "1"), ("refused", "1"), ("refused", "1")]
        else:
            assert told == [("charged", "1"), ("charged", "1"), ("refused", "1")]


def test_a_cost_that_the_balance_never_showed_hides_no_charge(tmp_path: Path) -> None:
    """The answer says 1 credit, the balance falls by 0.5, and by 0.5 for a lost submit: that is not “not charged”."""
    with working(tmp_path, "consumed=1@1", "lost-answer@2", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(lambda: vendor.charges_in_all == 1)
        vendor.emulator.pay_in(Decimal("0.5"))
        shop.drop_set("stool")
        shop.until(shop.is_in("stool", State.HELD))
        shop.until(at_rest(shop))
        shop.ticks(3, step_seconds=60)
        assert shop.states()["stool"] is State.HELD
        assert "a cost that the balance has never shown" in shop.status()
        assert vendor.charges_in_all == 2
