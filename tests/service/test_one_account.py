"""Several daemons on one store spend from one account: what bounds it holds over all of them, whatever they do at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, database
from test_postgres_service import Shop
from workshop import Hands, Vendor, emulated, lockstep

from rodin_watchd.adapters.store.postgres import PostgresStore
from rodin_watchd.core.balance import trust_key
from rodin_watchd.core.machine import AT_VENDOR
from rodin_watchd.core.pauses import TASK_LIMIT
from rodin_watchd.core.proof import BASELINE, LONGEST_TIMES, SETTLE_SECONDS, Baseline
from rodin_watchd.core.waits import RateBudget
from rodin_watchd.errors import FencedError, Lane
from rodin_watchd.model import State
from rodin_watchd.service.balance import NOTHING_BEGUN, Prover, Proving
from rodin_watchd.service.budget import BudgetDay, CallBudget
from rodin_watchd.service.commands import PAUSE, RESUME, SEEN
from rodin_watchd.settings import Address

EIGHT = 8
SOLE = {"sole_spender": True}
EXACT = Decimal("100.5")


class Studio:
    """Several roots, each with its daemon, on one store; they have one clock."""

    def __init__(self, cluster: Cluster, name: str, shops: Sequence[Shop]) -> None:
        self._cluster = cluster
        self._name = name
        self.shops = shops

    def asked(self, query: str) -> list[Any]:
        """Ask the store's tables for one column."""
        rows = self._cluster.ask(query, self._name, options="-c search_path=rodin_watchd")
        return [row[0] for row in rows]

    def at_once(self, act: Callable[[Shop], object]) -> None:
        """Let all daemons act at the same time, each in a thread of its own."""
        gate, failed = threading.Barrier(len(self.shops)), list[BaseException]()

        def run(shop: Shop) -> None:
            gate.wait()
            try:
                act(shop)
            except BaseException as error:  # noqa: BLE001 - it is raised in the test's own thread
                failed.append(error)

        threads = [threading.Thread(target=run, args=(shop,)) for shop in self.shops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for error in failed:
            raise error

    def states(self) -> Counter[str]:
        """Return how many jobs of all roots are in each state."""
        return Counter(self.asked("SELECT state FROM all_jobs"))

    def most_at_vendor(self) -> int:
        """Return how many jobs were at the vendor at once, at most, by the order of events."""
        rows = self.asked("SELECT job_id || ' ' || state FROM events ORDER BY id")
        there, most = set[str](), 0
        for job_id, state in (row.split() for row in rows):
            if state in AT_VENDOR:
                there.add(job_id)
            else:
                there.discard(job_id)
            most = max(most, len(there))
        return most


@contextmanager
def studio(
    folder: Path, cluster: Cluster, vendor: Vendor, count: int, **sections: Mapping[str, Any]
) -> Iterator[Studio]:
    """Give so many daemons that run, each on a root of its own."""
    with database(cluster, empty=True) as name, ExitStack() as stack:
        hands, shops = Hands(), list[Shop]()
        for number in range(count):
            root = folder / f"root-{number}"
            (root / "inbox").mkdir(parents=True)
            shop = Shop(root, vendor.emulator.base_url, {"store": {"url": cluster.url(name)}, **sections})
            shop.hands = hands
            if number:
                assert "is a root of" in shop.told("store", "add-root")
            shop.start()
            stack.callback(shop.crash)
            shop.store.set_meta(trust_key(shop.daemon.parts.dispatcher.progress.account), {"moves": True})
            shops.append(shop)
        yield Studio(cluster, name, shops)


# ---- money ----------------------------------------------------------------------------------------------------------


def test_eight_daemons_spend_the_last_half_credit_of_the_day_once(tmp_path: Path, cluster: Cluster) -> None:
    """One set is delivered, the others wait for another day: 0 over."""
    with (
        emulated() as vendor,
        studio(tmp_path, cluster, vendor, EIGHT, budget={"per_day_credits": 0.5}) as found,
    ):
        for number, shop in enumerate(found.shops):
            shop.drop_set(f"set-{number}")
        found.at_once(lambda shop: shop.idle())
        assert vendor.charges == 1
        assert found.states() == {"archived": 1, "staged": EIGHT - 1}
        assert found.asked("SELECT count(*) FROM purchases") == [1]
        waiting = [shop for shop in found.shops if "today's budget of 0.5 credits is spent" in shop.status()]
        assert len(waiting) == EIGHT - 1
        assert found.asked("SELECT count(*) FROM all_meta WHERE key = 'budget-day'") == [1]


def test_what_is_promised_to_a_set_is_spent_for_other_roots(tmp_path: Path, cluster: Cluster) -> None:
    """A set of two jobs was afforded as a whole: the second one is bought, whoever wants the credits meanwhile."""
    with emulated() as vendor, studio(tmp_path, cluster, vendor, 2, budget={"per_day_credits": 1}) as found:
        one, two = found.shops
        one.drop_set("pair", "seeds = [1, 2]\n")
        one.until(lambda: len(one.jobs()) == 2)
        two.drop_set("late")
        two.ticks(8, step_seconds=1.0)
        two.idle()
        assert vendor.charges <= 1
        one.idle()
        two.idle()
        assert vendor.charges == 2
        assert State.ARCHIVED not in two.states().values()
        assert "today's budget of 1 credit" in two.status()


def test_eight_daemons_send_no_set_that_the_account_cannot_pay(tmp_path: Path, cluster: Cluster) -> None:
    """Each has read the same balance; what the others have begun to buy since is taken off it."""
    with emulated(balance=Decimal("0.5")) as vendor, studio(tmp_path, cluster, vendor, EIGHT) as found:
        for number, shop in enumerate(found.shops):
            shop.drop_set(f"set-{number}")
        found.at_once(lambda shop: shop.until(lambda: bool(found.states()["archived"])))
        assert vendor.emulator.ledger()["uploads"]["begun"] == vendor.charges == 1


def test_no_day_begins_twice(address: Address) -> None:
    """The purchases of a day are counted from where the first daemon has begun it."""
    with closing(PostgresStore(address, lambda _known: "one")) as one, closing(PostgresStore(address)) as two:
        hands = Hands()
        days = [BudgetDay(store, UTC, hands.clock()) for store in (one, two)]
        gate = threading.Barrier(2)

        def begin(day: BudgetDay) -> None:
            gate.wait()
            day.today()

        threads = [threading.Thread(target=begin, args=(day,)) for day in days]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        hands.seconds += 86_400
        first = days[0].today()
        two.changed_outside()
        assert days[1].today() == first == days[1].stored()


@pytest.mark.parametrize("seconds", [7200.0, -7200.0])
@pytest.mark.parametrize("first", [0, 1])
def test_a_clock_that_all_share_moves_the_day_once(address: Address, first: int, seconds: float) -> None:
    """Whoever sees first that it was set: the day is as old as before."""
    with closing(PostgresStore(address, lambda _known: "one")) as one, closing(PostgresStore(address)) as two:
        hands, stores = (Hands(), Hands()), (one, two)
        days = [BudgetDay(store, UTC, hand.clock()) for store, hand in zip(stores, hands, strict=True)]
        began_at = days[0].today().began_at
        two.changed_outside()
        assert days[1].today().began_at == began_at
        for number in (first, 1 - first):
            hands[number].jump_seconds = seconds
            for _ in range(3):
                for store, day in zip(stores, days, strict=True):
                    store.changed_outside()
                    day.today()
        assert [day.today().began_at - began_at for day in days] == [seconds, seconds]


# ---- places at the vendor, and calls --------------------------------------------------------------------------------


def test_eight_daemons_share_the_places_at_the_vendor(tmp_path: Path, cluster: Cluster) -> None:
    """`api.max_in_flight` holds for all of them together, at every moment; and all sets are delivered."""
    with emulated() as vendor, studio(tmp_path, cluster, vendor, EIGHT, api=in_flight(vendor, 3)) as found:
        for number, shop in enumerate(found.shops):
            for one in range(3):
                shop.drop_set(f"set-{number}-{one}")
        found.at_once(lambda shop: shop.until(lambda: found.states()["archived"] == 3 * EIGHT, busy_seconds=0.05))
        assert vendor.charges == 3 * EIGHT
        assert found.most_at_vendor() == 3


def test_the_oldest_set_gets_the_next_place_whichever_root_it_is_of(tmp_path: Path, cluster: Cluster) -> None:
    """A root that is never without sets does not keep the others waiting for ever."""
    with emulated() as vendor, studio(tmp_path, cluster, vendor, 2, api=in_flight(vendor, 1)) as found:
        one, two = found.shops
        one.drop_set("first")
        one.until(one.is_in("first", State.UPLOADING))
        two.drop_set("second")
        two.until(two.is_in("second", State.STAGED))
        two.ticks(2, step_seconds=1.0)
        for number in range(3):
            one.drop_set(f"later-{number}")
        for _ in range(200):
            lockstep(one, two, 1)
            if found.states()["archived"] == 5:
                break
        order = found.asked("SELECT root FROM purchases JOIN all_jobs ON all_jobs.id = job_id ORDER BY purchases.id")
        assert order[1] != order[0] == order[2]
        assert found.asked("SELECT count(*) FROM all_meta WHERE key = 'place-wanted'") == [0]


def in_flight(vendor: Vendor, places: int) -> dict[str, object]:
    """Return the section of the configuration."""
    return {
        "base_url": vendor.emulator.base_url,
        "requests_per_minute": 100_000,
        "max_in_flight": places,
    }


def test_a_limit_that_one_daemon_learns_holds_for_all(tmp_path: Path, cluster: Cluster) -> None:
    """They meet no refusal of their own for it."""
    with emulated() as vendor, studio(tmp_path, cluster, vendor, 2) as found:
        one, two = found.shops
        account = one.daemon.parts.dispatcher.progress.account
        one.store.set_meta(TASK_LIMIT, {"account": account, "most": 1, "learned_at": one.hands.clock().now()})
        for number in range(4):
            two.drop_set(f"set-{number}")
        two.idle()
        assert found.states() == {"archived": 4}
        assert found.most_at_vendor() == 1


def test_eight_daemons_make_no_more_calls_than_one_may(address: Address) -> None:
    """In any time: the calls of a burst, and those of the rate."""
    rate, wanted = RateBudget(12_000, burst=10), 60
    calls, gate, over = list[tuple[float, float]](), threading.Barrier(EIGHT), threading.Event()

    def call(number: int) -> None:
        with closing(PostgresStore(address, lambda _known: f"root-{number}")) as store:
            budget = CallBudget(store, lambda: 0.0, rate)
            gate.wait()
            while not over.is_set():
                before = store.shared_now() or 0.0
                taken = budget.take(2)
                calls.extend([(before, store.shared_now() or 0.0)] * taken)
                if len(calls) >= wanted:
                    over.set()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(EIGHT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for begins, _ in calls:
        for _, ends in calls:
            within = sum(begins <= before and after <= ends for before, after in calls)
            assert within <= 10 + max(ends - begins, 0.0) * 12_000 / 60 + 1e-3


# ---- pauses ---------------------------------------------------------------------------------------------------------


def test_a_pause_at_one_root_stops_all(tmp_path: Path, cluster: Cluster) -> None:
    """And so ends, wherever the word is given; an upload that is under way does not send its last bytes."""
    with emulated() as vendor, studio(tmp_path, cluster, vendor, 3) as found:
        one, two, three = found.shops
        two.drop_set("chair")
        two.until(two.is_in("chair", State.UPLOADING))
        two.rest()
        assert one.command(PAUSE)["ok"]
        two.until(two.is_in("chair", State.STAGED))
        three.drop_set("stool")
        three.ticks(5, step_seconds=2)
        assert (three.jobs(), vendor.charges) == ([], 0)
        assert "paused" in three.page().lower()
        refused = two.answer_to(two.leave(RESUME, **{SEEN: 0}))
        assert "paused again since you looked" in refused["message"]
        assert three.answer_to(three.leave(RESUME, **{SEEN: one.store.newest_command(PAUSE)}))["ok"]
        for shop in found.shops:
            shop.idle()
        assert found.states() == {"archived": 2}


def test_what_stops_the_account_is_found_out_once(tmp_path: Path, cluster: Cluster) -> None:
    """The daemon that has met it finds out when it is over; the others send nothing meanwhile, and tell why."""
    with emulated("submit-429=60@1", balance=Decimal(100)) as vendor, studio(tmp_path, cluster, vendor, 2) as found:
        one, two = found.shops
        one.drop_set("one")
        one.until(lambda: bool(one.daemon.parts.dispatcher.pauses), busy_seconds=1.0)
        begun = vendor.emulator.ledger()["uploads"]["begun"]
        two.drop_set("two")
        two.ticks(2, step_seconds=0.1)
        assert {Lane.SUBMIT, Lane.API} & two.daemon.parts.dispatcher.pauses.keys()
        two.ticks(3, step_seconds=0.1)
        assert vendor.emulator.ledger()["uploads"]["begun"] == begun
        one.idle()
        two.ticks(1)
        assert not two.daemon.parts.dispatcher.pauses
        two.idle()
        assert found.states() == {"archived": 2}
        assert vendor.charges == 2


# ---- the same content -----------------------------------------------------------------------------------------------


def test_the_same_set_in_two_roots_at_once_is_paid_once(tmp_path: Path, cluster: Cluster) -> None:
    """The other one is refused, and is told in which folder the first one is worked on or lies."""
    with emulated() as vendor, studio(tmp_path, cluster, vendor, 4) as found:
        for shop in found.shops:
            shop.drop_set("chair")
        found.at_once(lambda shop: shop.idle())
        assert vendor.charges == 1
        assert found.states() == {"archived": 1, "failed": 3}
        [winner] = [shop for shop in found.shops if State.ARCHIVED in shop.states().values()]
        for shop in found.shops:
            if shop is not winner:
                assert f"{winner.root}" in shop.report("chair")
        for shop in found.shops:
            shop.assert_nothing_lost()


def test_a_set_with_consent_waits_for_its_twin_in_another_root(tmp_path: Path, cluster: Cluster) -> None:
    """`again = true` allows to pay once more, not at the same time."""
    with emulated() as vendor, studio(tmp_path, cluster, vendor, 2) as found:
        one, two = found.shops
        one.drop_set("chair")
        one.until(one.is_in("chair", State.UPLOADING))
        two.drop_set("chair", "again = true\n")
        two.idle()
        assert two.states() == {"chair": State.FAILED}
        assert "in progress already" in two.report("chair")
        assert f"{one.root}/outbox" in two.report("chair")
        one.idle()
        assert vendor.charges == 1


def test_an_answer_to_a_daemon_that_lost_its_root_is_logged(
    tmp_path: Path, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """It cannot be stored; with the task's id a person has the result that was paid for."""
    with emulated() as vendor, studio(tmp_path, cluster, vendor, 1) as found:
        [one] = found.shops
        one.drop_set("chair")
        one.until(one.is_in("chair", State.SUBMITTING))
        one.rest()
        found.asked('UPDATE roots SET fence = fence + 1, process = \'{"host": "b", "pid": 7}\' RETURNING 1')
        with pytest.raises(FencedError, match="Process 7 on b"):
            one.ticks(1)
        [charge] = vendor.emulator.ledger()["charges"]
        assert f"resolve {one.job('chair').id} --task {charge['task_uuid']}" in caplog.text


def test_a_daemon_is_known_by_the_very_file_of_its_lock(tmp_path: Path, cluster: Cluster) -> None:
    """Another machine may have its name, and a folder of the same name: the start of one proves nothing about the other."""
    with emulated() as vendor, studio(tmp_path, cluster, vendor, 1) as found:
        [one] = found.shops
        one.restart()
        assert found.asked("SELECT count(*) FROM daemons") == [1]
        lock = one.path(".rodin-watchd/lock")
        one.restart(lambda: lock.rename(lock.with_name("other")))
        assert found.asked("SELECT count(*) FROM daemons") == [2]


# ---- proof by the balance -------------------------------------------------------------------------------------------


def test_a_proof_waits_for_all_roots_and_stops_them(tmp_path: Path, cluster: Cluster) -> None:
    """While one daemon finds out what a lost submit has cost, the others send nothing, and tell why."""
    with (
        emulated("submit-503@1", balance=EXACT) as vendor,
        studio(tmp_path, cluster, vendor, 2, budget=SOLE) as found,
    ):
        one, two = found.shops
        one.drop_set("lost")
        one.until(one.is_in("lost", State.HELD))
        one.until(lambda: one.inquires)
        one.ticks(1)
        two.drop_set("next")
        two.until(two.is_in("next", State.STAGED))
        two.ticks(3, step_seconds=2)
        assert two.states() == {"next": State.STAGED}
        assert "finds out by the balance whether a set was charged" in two.status()
        one.until(one.is_in("lost", State.ARCHIVED))
        two.idle()
        assert two.states() == {"next": State.ARCHIVED}
        assert "not-charged" in one.actions(one.job("lost"))
        assert vendor.charges == 2


def test_a_daemon_that_never_lives_long_does_not_stop_the_others_for_ever(tmp_path: Path, cluster: Cluster) -> None:
    """It begins its proof with each start; the others wait for the first one's time, and then as long as that they do not."""
    with (
        emulated("submit-503@1", balance=EXACT) as vendor,
        studio(tmp_path, cluster, vendor, 2, budget=SOLE) as found,
    ):
        one, two = found.shops
        one.drop_set("lost")
        one.until(one.is_in("lost", State.HELD))
        one.until(lambda: one.inquires)
        two.drop_set("next")
        two.until(two.is_in("next", State.STAGED))
        began = one.hands.seconds
        while two.states()["next"] is not State.ARCHIVED:
            assert one.hands.seconds < began + LONGEST_TIMES * SETTLE_SECONDS + 100
            one.restart()
            lockstep(one, two, 3)
            two.ticks(1, step_seconds=10.0)
        assert one.states() == {"lost": State.HELD}
        one.until(one.is_in("lost", State.ARCHIVED))
        assert vendor.charges == 2


def test_a_proof_that_another_root_disturbs_decides_nothing(tmp_path: Path, cluster: Cluster) -> None:
    """A submit that began between the readings may be what the balance fell by, or hide that it fell: it begins again."""
    with (
        emulated("submit-503@1", balance=EXACT) as vendor,
        studio(tmp_path, cluster, vendor, 2, budget=SOLE) as found,
    ):
        one, two = found.shops
        one.drop_set("lost")
        one.until(one.is_in("lost", State.HELD))
        while not readings_of(one):
            one.ticks(1, step_seconds=1.0)
            one.rest()
        found.asked("DELETE FROM all_meta WHERE key = 'inquiry' RETURNING 1")  # as if the other one had not seen it yet
        two.drop_set("late")
        two.until(two.is_in("late", State.ARCHIVED))
        began = one.hands.seconds
        one.ticks(1)
        assert readings_of(one) == ()
        one.until(one.is_in("lost", State.ARCHIVED))
        assert one.hands.seconds - began >= 60, "it began again"
        assert vendor.charges == 2


def test_a_set_that_joins_a_proof_has_it_begin_again(tmp_path: Path, cluster: Cluster) -> None:
    """A process that fell silent may have sent until it ended: what was read before that shows nothing of it."""
    with (
        emulated("submit-503@1", "submit-503@2", balance=EXACT) as vendor,
        studio(tmp_path, cluster, vendor, 1, budget=SOLE) as found,
    ):
        (one,) = found.shops
        one.drop_set("lost")
        one.drop_set("silent")
        one.until(lambda: set(one.states().values()) == {State.HELD})
        found.asked("INSERT INTO daemons VALUES ('there', 'alive') RETURNING 1")
        silent = f"SELECT id, 'there', 'alive' FROM purchases WHERE job_id = '{one.job('silent').id}'"  # noqa: S608 - an id
        found.asked(f"INSERT INTO taken_over {silent} RETURNING 1")
        found.asked("INSERT INTO writings VALUES ('there', 1) RETURNING 1")
        while not readings_of(one):
            one.ticks(1, step_seconds=1.0)
            one.rest()
        found.asked("UPDATE daemons SET process = 'ended' RETURNING 1")
        found.asked("UPDATE writings SET written = 2 WHERE writer = 'there' RETURNING 1")
        one.ticks(1)
        assert readings_of(one) == ()
        one.until(lambda: set(one.states().values()) == {State.ARCHIVED})
        assert vendor.charges == 2


def readings_of(shop: Shop) -> Sequence[Decimal]:
    """Return what a proof has read by now."""
    inquiry = shop.daemon.parts.dispatcher.progress.proving.inquiry
    return inquiry.readings if inquiry else ()


@pytest.mark.parametrize("buys", [False, True])
def test_a_reading_while_another_root_buys_is_no_baseline(tmp_path: Path, cluster: Cluster, *, buys: bool) -> None:
    """It may know of that purchase, or not: a proof from it would pay twice."""
    with emulated(balance=EXACT) as vendor, studio(tmp_path, cluster, vendor, 2, budget=SOLE) as found:
        one, two = found.shops
        one.ticks(1)
        prover = prover_of(one, NOTHING_BEGUN)
        assert (one.store.newest_purchase(), one.daemon.parts.job_store.sending) == (0, [])
        if buys:
            two.drop_set("chair")
            two.until(two.is_in("chair", State.UPLOADING))
        prover.start_from(EXACT, 0, exact=True, settled=True)
        assert (one.store.meta(BASELINE) is None) is buys
        two.idle()
        assert vendor.charges == buys


def prover_of(shop: Shop, begun: Proving) -> Prover:
    """Return another prover on the daemon's store, which knows what that has seen of the others by now."""
    parts = shop.daemon.parts
    account = parts.dispatcher.progress.account
    return Prover(parts.job_store, shop.store, shop.hands.clock(), shop.config.budget, account, begun)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_refusals_are_judged_by_the_daemon_of_their_root(
    tmp_path: Path, cluster: Cluster, order: tuple[int, int]
) -> None:
    """Each about its own sets, by the sums over all roots; and both go on."""
    with (
        emulated("submit-429@1", "submit-429@2", balance=EXACT) as vendor,
        studio(tmp_path, cluster, vendor, 2, budget=SOLE) as found,
    ):
        for number in order:
            found.shops[number].drop_set(f"set-{number}")
        for _ in range(300):
            for number in order:
                found.shops[number].ticks(1, step_seconds=1.0)
                found.shops[number].rest()
            if found.states()["archived"] == 2:
                break
        assert found.states() == {"archived": 2}
        assert vendor.charges == 2

        assert found.asked("SELECT count(*) FROM purchases WHERE outcome NOT IN ('charged', 'free')") == [0]


@pytest.mark.parametrize("buys", [False, True])
def test_a_verdict_sees_what_began_a_moment_ago(tmp_path: Path, cluster: Cluster, *, buys: bool) -> None:
    """What a daemon has seen of the others may be as old as its tick: before a verdict is stored it looks again."""
    with (
        emulated("submit-503@1", balance=EXACT) as vendor,
        studio(tmp_path, cluster, vendor, 2, budget=SOLE) as found,
    ):
        one, two = found.shops
        one.drop_set("lost")
        one.until(one.is_in("lost", State.HELD))
        one.until(lambda: one.inquires)
        one.rest()
        job_store, progress = one.daemon.parts.job_store, one.daemon.parts.dispatcher.progress
        inquiry = progress.proving.inquiry
        assert inquiry is not None
        whole = replace(inquiry, readings=(EXACT, EXACT), traffic=job_store.traffic)
        begun = replace(progress.proving, inquiry=whole, traffic=job_store.traffic)
        prover = prover_of(one, begun)
        found.asked("DELETE FROM all_meta WHERE key = 'inquiry' RETURNING 1")
        if buys:
            two.drop_set("next")
            two.until(two.is_in("next", State.UPLOADING))
        prover.inquire(0.5, exact=True)
        ended = prover.begun.inquiry
        assert (ended is None) is not buys
        assert ended is None or ended.readings == ()
        assert one.job("lost").state is (State.HELD if buys else State.STAGED)


def test_a_charge_for_one_of_two_refusals_frees_neither(tmp_path: Path, cluster: Cluster) -> None:
    """Nobody knows which root's set was charged: both are held, and nothing is sent again."""
    with (
        emulated("charged-429@1", "submit-429@2", balance=EXACT) as vendor,
        studio(tmp_path, cluster, vendor, 2, budget=SOLE) as found,
    ):
        one, two = found.shops
        for shop in (one, two):
            shop.drop_set(f"set-{shop.root.name}")
        for shop in (one, two):
            shop.until(lambda shop=shop: State.UPLOADING in shop.states().values())  # type: ignore[misc]
        for _ in range(120):
            for shop in (one, two):
                shop.ticks(1, step_seconds=1.0)
                shop.rest()
        assert [*one.states().values(), *two.states().values()] == [State.HELD, State.HELD], found.states()
        assert vendor.charges == 1


@pytest.mark.parametrize("purchase", [0, 1])
def test_a_baseline_of_another_root_shows_nothing_about_what_was_bought_before_it(
    tmp_path: Path, cluster: Cluster, purchase: int
) -> None:
    """A charge is in that balance already, so it would look free."""
    with (
        emulated("submit-429=600@1", balance=EXACT) as vendor,
        studio(tmp_path, cluster, vendor, 2, budget=SOLE) as found,
    ):
        one, two = found.shops
        one.drop_set("chair")
        one.until(lambda: found.asked("SELECT outcome FROM purchases") == ["refused"], busy_seconds=1.0)
        one.store.set_meta(BASELINE, None)
        account = one.daemon.parts.dispatcher.progress.account
        two.store.set_meta(BASELINE, Baseline(account, EXACT, purchase).as_data())
        one.store.changed_outside()
        prover = prover_of(one, NOTHING_BEGUN)
        prover.inquire(0.5, exact=True)
        assert (prover.begun.inquiry is None) is bool(purchase)
        assert found.asked("SELECT outcome FROM purchases") == ["refused"]


def test_what_a_silent_process_sent_is_judged_when_it_is_known_to_have_ended(tmp_path: Path, cluster: Cluster) -> None:
    """The balance from before that submit is kept for it, whatever is bought and read meanwhile."""
    with (
        emulated("submit-503@1", balance=EXACT) as vendor,
        studio(tmp_path, cluster, vendor, 1, budget=SOLE) as found,
    ):
        [one] = found.shops
        one.drop_set("lost")
        one.until(one.is_in("lost", State.UPLOADING))
        found.asked('INSERT INTO taken_over SELECT id, \'a\', \'{"host": "a", "pid": 1}\' FROM purchases RETURNING 1')
        one.until(one.is_in("lost", State.HELD))
        for name in ("next", "last"):
            one.drop_set(name)
            one.until(one.is_in(name, State.ARCHIVED))
            one.ticks(50, step_seconds=10.0)
        assert one.states()["lost"] is State.HELD
        assert "Process 1 on a fell silent" in one.status()
        found.asked("INSERT INTO daemons VALUES ('a', 'another') RETURNING 1")
        one.store.set_meta("x", 1)
        one.until(one.is_in("lost", State.ARCHIVED))
        assert vendor.charges == 3


def test_nothing_is_sent_from_a_root_that_another_process_has_marked(tmp_path: Path, cluster: Cluster) -> None:
    """A failover may have lost that one of two took the root over: both have the store's word, and one folder."""
    with emulated() as vendor, studio(tmp_path, cluster, vendor, 1) as found:
        (one,) = found.shops
        one.drop_set("chair")
        one.until(one.is_in("chair", State.UPLOADING))
        mark = one.path(".rodin-watchd/served-by")
        assert '"pid"' in mark.read_text()
        mark.write_text('{"host": "elsewhere", "pid": 7}')
        one.idle()
        assert (one.states(), vendor.charges) == ({"chair": State.HELD}, 0)
