"""Refusals of whole sets: what the vendor says no to it may have charged, so each is looked into, counted and bounded."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import pytest
from effort import EFFORT
from sql import query
from workshop import Hands, Workshop, emulated, image, model, working, workshop

from rodin_watchd.adapters.rodin_client import RodinClient
from rodin_watchd.core.proof import JUDGED
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.errors import Lane
from rodin_watchd.model import Answer, State

SOLE = {"sole_spender": True}
EXACT = Decimal("100.5")
EACH_CHARGED = ("429", "308", "400", "408", "404", "405", "307")
CHARGED = EACH_CHARGED if EFFORT > 1 else EACH_CHARGED[:3]  # one of each kind; the rest in `make thorough`
EACH_REFUSED = (429, 400, 307, 503, 401, 404, 413, 302, 500)
REFUSED = EACH_REFUSED if EFFORT > 1 else EACH_REFUSED[:4]


def stands_still(shop: Workshop) -> Callable[[], bool]:
    """Return whether nothing is looked into, and no set can go on by itself, as a question for `until`."""
    return lambda: Lane.REFUSALS in shop.daemon.parts.dispatcher.pauses


def looked_into(shop: Workshop) -> Callable[[], bool]:
    """Return whether nothing that was refused waits for the balance, as a question for `until`."""
    journal = shop.store
    return lambda: not journal.refused_since(journal.meta(JUDGED) or 0)


def drop_many(shop: Workshop, count: int) -> None:
    """Drop so many sets."""
    for number in range(count):
        shop.drop_set(f"set-{number:02}")


def states(shop: Workshop) -> list[State]:
    """Return the states of all jobs, sorted."""
    return sorted(shop.states().values())


def long_after(shop: Workshop) -> None:
    """Let hours pass, in which whatever can be tried again is."""
    shop.ticks(40, step_seconds=300)
    shop.rest()
    shop.ticks(5, step_seconds=100)


# ---- a vendor that charges what it refuses --------------------------------------------------------------------------


@pytest.mark.parametrize("sole", [False, True])
@pytest.mark.parametrize("fault", [f"charged-{status}" for status in CHARGED])
def test_a_charged_refusal_is_never_over_the_budget(tmp_path: Path, fault: str, sole: bool) -> None:
    """The budget pays one texture: whatever the vendor says to it, nothing more is sent that day."""
    with working(tmp_path, fault, budget={"per_day_credits": 0.5, "sole_spender": sole}, balance=EXACT) as (
        shop,
        vendor,
    ):
        drop_many(shop, 3)
        shop.until(lambda: bool(shop.purchases("outcome")))
        shop.ticks(200, step_seconds=3)
        shop.rest()
        shop.ticks(20, step_seconds=60)
        assert vendor.charges_in_all == 1
        assert shop.purchases("outcome") == ["charged" if sole else "refused"]


@pytest.mark.parametrize("fault", [f"charged-{status}" for status in CHARGED])
def test_a_set_is_sent_twice_at_most(tmp_path: Path, fault: str) -> None:
    """Nobody promised to be the only spender, so the balance proves no charge: held, with what it may have cost."""
    with working(tmp_path, fault, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        final = fault == "charged-400"
        if final:
            shop.until(shop.is_in("chair", State.FAILED))
            assert "perhaps 0.5 credits, if the vendor charged for a try that it refused" in shop.report("chair")
            assert shop.report_data("chair")["job"]["cost_is_certain"] is False
            assert shop.command("retry", job="chair")["ok"]
        shop.until(shop.is_in("chair", State.HELD))
        long_after(shop)
        assert states(shop) == [State.HELD]
        assert vendor.charges_in_all == 2
        assert shop.purchases("outcome") == ["refused", "refused"]
        assert "The vendor refused this set 2 times." in shop.status()
        assert "Each try may have cost 0.5 credits." in shop.status()
        assert "up to 1 credit, if the vendor charged for 2 tries that it refused" in shop.status()


def test_an_account_is_sent_six_refused_sets_at_most(tmp_path: Path) -> None:
    """Of fifty sets six are sent; then nothing, until a person has decided about one that is held."""
    with working(tmp_path, "charged-429", balance=EXACT) as (shop, vendor):
        drop_many(shop, 50)
        shop.until(stands_still(shop))
        long_after(shop)
        assert vendor.charges_in_all == 6
        assert shop.purchases("outcome") == ["refused"] * 6
        assert "The vendor refused 6 sets in a row" in shop.status()
        assert shop.daemon.needs_person()
        assert shop.daemon.is_idle()
        shop.restart()
        long_after(shop)
        assert vendor.charges_in_all == 6
        vendor.emulator.set_faults()
        [held, *_] = [job for job in shop.jobs() if job.state is State.HELD]
        assert shop.command("resolve", job=held.id, how="give-up")["ok"]
        shop.until(lambda: states(shop).count(State.ARCHIVED) > 5, step_seconds=5)
        assert Lane.REFUSALS not in shop.daemon.parts.dispatcher.pauses


def test_answers_that_come_one_by_one_end_with_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six are under way when the first is refused, and no balance can be read: the last are looked into as well, and held."""
    gate, submit = threading.Semaphore(0), RodinClient.submit

    def late(client: RodinClient, *order: Any) -> Answer:  # noqa: ANN401 - whatever it takes
        answer = submit(client, *order)
        gate.acquire()
        return answer

    monkeypatch.setattr(RodinClient, "submit", late)
    with working(tmp_path, "charged-429", "balance-500", balance=EXACT, api={"max_in_flight": 6}) as (shop, vendor):
        drop_many(shop, 6)
        shop.until(lambda: vendor.charges_in_all == 6, busy_seconds=0.05)
        for answers in range(1, 7):
            gate.release()
            shop.until(lambda answers=answers: shop.purchases("outcome").count("refused") == answers, busy_seconds=0.05)  # type: ignore[misc]
            shop.ticks(3)
        gate.release(100)
        shop.until(stands_still(shop))
        long_after(shop)
        held = [job for job in shop.jobs() if job.state is State.HELD]
        assert held != []
        assert vendor.charges_in_all == 6
        vendor.emulator.set_faults()
        for job in held:
            assert shop.command("resolve", job=job.id, how="not-charged")["ok"]
        shop.until(lambda: states(shop) == [State.ARCHIVED] * 6, step_seconds=5)


def test_sets_at_fault_are_bounded_as_well(tmp_path: Path) -> None:
    """Each is another content, refused for good and charged: the sixth is held, and no seventh is sent."""
    with working(tmp_path, "charged-400", balance=EXACT, api={"max_in_flight": 1}) as (shop, vendor):
        drop_many(shop, 9)
        shop.until(stands_still(shop))
        long_after(shop)
        assert vendor.charges_in_all == 6
        assert states(shop).count(State.FAILED) == 5
        assert states(shop).count(State.HELD) == 1


@pytest.mark.parametrize("fault", [f"charged-{status}" for status in CHARGED])
def test_an_own_account_pays_once(tmp_path: Path, fault: str) -> None:
    """The balance shows the charge: booked, held, told, and nothing more is sent until a person has looked."""
    with working(tmp_path, fault, budget=SOLE, balance=EXACT, api={"max_in_flight": 1}) as (shop, vendor):
        drop_many(shop, 3)
        shop.until(stands_still(shop))
        long_after(shop)
        assert vendor.charges_in_all == 1
        assert shop.purchases("outcome") == ["charged"]
        [held] = [job for job in shop.jobs() if job.state is State.HELD]
        assert held.charges == 1
        assert shop.store.charged_since(0) == held.spent == Decimal("0.5")
        assert "The vendor charged a set although it refused it." in shop.status()
        assert (
            "The vendor charged what it refused: the balance was 100.5 credits before and is 100 credits after"
            in shop.status()
        )
        assert "Cost: 0.5 credits." in shop.status()
        refused = shop.command("resolve", job=held.id, how="not-charged")
        assert not refused["ok"]
        assert "was charged" in refused["message"]
        vendor.emulator.set_faults()
        assert shop.command("resolve", job=held.id, how="give-up")["ok"]
        shop.until(lambda: states(shop).count(State.ARCHIVED) == 2, step_seconds=2)
        assert "no task's id is known" in shop.command("retry", job=held.id)["message"]


def test_a_task_that_was_refused_can_be_adopted(tmp_path: Path) -> None:
    """The support names it: its result is fetched, and it was charged once."""
    with working(tmp_path, "charged-429", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.HELD))
        [row] = vendor.emulator.ledger()["charges"]
        assert shop.command("resolve", job="chair", how="task", task=row["task_uuid"])["ok"]
        shop.until(shop.is_in("chair", State.ARCHIVED))
        assert (vendor.charges_in_all, shop.job("chair").charges, shop.purchases("outcome")) == (1, 1, ["charged"])


def test_of_several_sets_nobody_can_tell_which_was_charged(tmp_path: Path) -> None:
    """Two are refused at once, one was charged: both are held, and the books count one."""
    faults = ("charged-429@1", "submit-429@2")
    with working(tmp_path, *faults, budget=SOLE, balance=EXACT) as (shop, vendor):
        drop_many(shop, 2)
        shop.until_in_step(stands_still(shop))
        assert states(shop) == [State.HELD, State.HELD]
        assert sorted(shop.purchases("outcome")) == ["charged", "refused"]
        assert "It charged 1 of 2 refused submits of 2 sets, maybe not this one." in shop.status()
        assert vendor.charges_in_all == 1


@pytest.mark.parametrize("sole", [False, True])
def test_a_late_charge_is_seen_by_the_second_reading(tmp_path: Path, sole: bool) -> None:
    """At first it looks free, a minute later it does not: it counts as spent, and the set is held at the second try."""
    hands = Hands()
    with (
        emulated("late-charge=30:429", balance=EXACT, clock=lambda: hands.seconds) as vendor,
        workshop(tmp_path, vendor.emulator.base_url, budget={"sole_spender": sole}) as shop,
    ):
        hands = shop.hands
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.HELD))
        assert shop.purchases("outcome") == ["refused", "refused"]
        assert "it changed between two readings" in shop.job("chair").problem.message  # type: ignore[union-attr]
        assert vendor.charges_in_all == 2


class HastyVendor:
    """A vendor that charges a set when its head is there, answers at once, and takes no more of it."""

    def __init__(self, status: int) -> None:
        """Listen on a free port; submits are answered with this status."""
        self.charges = 0
        self._status = status
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with sock, suppress(OSError):
                    self._answer(sock)

    def _balance(self) -> bytes:
        return b'{"balance": %.1f}' % (100.5 - 0.5 * self.charges)

    def _answer(self, sock: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1)
        status, body = 200, self._balance()
        if head.startswith(b"POST"):
            self.charges += 1
            status, body = self._status, b"{}"
        sock.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass


@pytest.mark.parametrize("sole", [False, True])
@pytest.mark.parametrize("status", REFUSED)
def test_a_refusal_before_the_end_of_the_set_proves_no_more(tmp_path: Path, status: int, sole: bool) -> None:
    """The vendor says no, and charges, before it has the whole set: booked, looked into and bounded as any refusal."""
    with (
        HastyVendor(status) as vendor,
        workshop(tmp_path, vendor.url, budget={"sole_spender": sole, "per_day_credits": 5.0}) as shop,
    ):
        shop.drop("chair.obj", model("chair") + b"#" * 6_000_000)
        shop.drop("chair.png", image("chair"))
        shop.until(lambda: bool(shop.purchases("outcome")))
        shop.until(lambda: shop.states()["chair"] in (State.HELD, State.FAILED))
        long_after(shop)
        final = status in (400, 413) and not sole
        assert states(shop) == [State.FAILED if final else State.HELD]
        assert vendor.charges == (1 if final or sole else 2)
        assert shop.purchases("outcome") == (["charged"] if sole else ["refused"] * vendor.charges)


# ---- a vendor that does not -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sole", [False, True])
@pytest.mark.parametrize("balance", ["100", "100.5"])
def test_a_refusal_that_cost_nothing_is_shown_to_be_free(tmp_path: Path, sole: bool, balance: str) -> None:
    """The set's report knows it, for it waits for the balance; nothing is told to anybody else."""
    with working(
        tmp_path, "submit-error=INVALID_REQUEST@1", budget={"sole_spender": sole}, balance=Decimal(balance)
    ) as (shop, _):
        shop.drop_set("odd")
        shop.until(shop.is_in("odd", State.FAILING))
        shop.ticks(2, step_seconds=1)
        assert "The vendor refused a set: nothing is submitted until the balance shows" in shop.status()
        assert "Nothing is sent at the moment" in shop.page()  # sets of others wait for it, too
        assert not shop.daemon.is_idle()
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"odd": State.FAILED, "chair": State.ARCHIVED}
        assert "What it cost:   no credits." in shop.report("odd")
        assert shop.report_data("odd")["job"]["cost_is_certain"] is True
        assert shop.purchases("outcome") == ["free", "charged"]
        assert shop.actions(shop.job("odd")).count("not-charged") == 1
        assert shop.event_kinds() == []
        assert "ATTENTION" not in shop.status()


@pytest.mark.parametrize("fault", ["429", "key-refused", "error=INSUFFICIENT_FUND", "503"])
def test_a_free_call_is_the_probe_of_a_pause(tmp_path: Path, fault: str) -> None:
    """While the balance is refused as well, no whole set is sent to find out whether that is over."""
    probe = "500" if fault == "503" else fault
    with working(tmp_path, f"submit-{fault}@1", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(lambda: vendor.uploads == 1 and not shop.daemon.parts.pool.busy)
        shop.until(looked_into(shop), step_seconds=2)
        vendor.emulator.set_faults(parse_fault(f"balance-{probe}"))
        shop.ticks(1)
        shop.rest()
        for _ in range(12):
            shop.ticks(1, step_seconds=4)
            shop.rest()
        tried = vendor.uploads
        vendor.emulator.set_faults()
        shop.until(shop.is_in("chair", State.ARCHIVED))
        assert tried <= 2
        assert vendor.charges_in_all == 1


def test_a_rate_limit_costs_one_refused_body(tmp_path: Path) -> None:
    """The vendor throttles all calls for a while: one whole set was sent in vain, and none after it."""
    with working(tmp_path, "submit-429@1", "balance-429=8@2") as (shop, vendor):
        drop_many(shop, 3)
        shop.until(lambda: states(shop) == [State.ARCHIVED] * 3, step_seconds=2)
        assert shop.purchases("outcome").count("charged") == vendor.charges_in_all == 3
        assert vendor.uploads - vendor.charges_in_all <= 3  # those that were under way at once


def test_a_balance_that_cannot_be_read_stops_no_submit_for_ever(tmp_path: Path) -> None:
    """A call that fails each time says nothing of the others: after some waits a set is sent all the same, and counted."""
    with working(tmp_path, "submit-429@1", "balance-500") as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.ARCHIVED), step_seconds=5)
        assert shop.purchases("outcome") == ["refused", "charged"]
        assert vendor.charges_in_all == 1
        shop.idle()
        assert (
            "Cost: 0.5 credits; and perhaps 0.5 credits more, if the vendor charged for a try that it refused."
            in shop.status()
        )


def test_somebody_elses_spending_leaves_a_refusal_unclear(tmp_path: Path) -> None:
    """A balance that fits nothing proves neither a charge nor that there was none."""
    for number, sole in enumerate((False, True)):
        with working(tmp_path / str(number), "submit-429@1", budget={"sole_spender": sole}, balance=EXACT) as (
            shop,
            vendor,
        ):
            shop.drop_set("chair")
            shop.until(lambda shop=shop: bool(shop.store.refused_since(0)))  # type: ignore[misc]
            vendor.emulator.pay_in(Decimal(-7))
            shop.until(shop.is_in("chair", State.ARCHIVED))
            assert shop.purchases("outcome") == ["refused", "charged"]
            assert shop.job("chair").refused == 1


# ---- crashes, and the same content again ----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["charged-400", "submit-error=INVALID_REQUEST@1", "charged-429@1"])
def test_a_crash_before_the_balance_was_read_forgets_nothing(tmp_path: Path, fault: str) -> None:
    """The refusal is in the books before anything else happens: the next start looks into it."""
    with working(tmp_path, fault, budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(lambda: bool(shop.store.refused_since(0)))
        shop.restart()
        shop.ticks(3, step_seconds=0.05 if "INVALID" in fault else 20)
        shop.restart()
        shop.until(looked_into(shop))
        free = "INVALID" in fault
        shop.until(shop.is_in("chair", State.FAILED if free else State.HELD))
        assert shop.purchases("outcome") == ["free" if free else "charged"]
        assert vendor.charges_in_all == (not free)


def test_a_content_that_was_refused_too_often_is_not_sent_again(tmp_path: Path) -> None:
    """Dropped again, taken up again, under another name: refused before it is sent, and only paying again tries once more."""
    with working(tmp_path, "charged-400", balance=EXACT) as (shop, vendor):

        def drop(name: str) -> None:
            shop.drop(f"{name}.obj", model("chair"))
            shop.drop(f"{name}.png", image("chair"))

        drop("one")
        shop.until(shop.is_in("one", State.FAILED))
        drop("two")
        shop.until(shop.is_in("two", State.HELD))
        assert vendor.uploads == 2
        drop("three")
        shop.until(shop.is_in("three", State.FAILED))
        assert shop.command("resolve", job="two", how="give-up")["ok"]
        shop.until(shop.is_in("two", State.FAILED))
        drop("four")
        shop.until(shop.is_in("four", State.FAILED))
        assert "failed/two" in shop.report("four")
        assert not shop.command("retry", job="two")["ok"]
        assert not shop.command("retry", job="one")["ok"]
        assert vendor.uploads == 2
        assert shop.command("retry", job="two", pay_again=True)["ok"]
        shop.until(shop.is_in("two", State.HELD))
        assert vendor.uploads == 3


def test_a_content_at_the_bound_is_refused_with_the_place(tmp_path: Path) -> None:
    """Two refused purchases of one content, both jobs buried: the third drop is told where, and `retry` refuses."""
    with working(tmp_path, "charged-400", balance=EXACT) as (shop, vendor):
        shop.drop("one.obj", model("chair"))
        shop.drop("one.png", image("chair"))
        shop.until(shop.is_in("one", State.FAILED))
        query(
            shop.journal,
            "INSERT INTO purchases (job_id, fingerprint, top, at, outcome, cost)"
            " SELECT job_id, fingerprint, top, at, outcome, cost FROM purchases",
        )
        shop.drop("two.obj", model("chair"))
        shop.drop("two.png", image("chair"))
        shop.until(shop.is_in("two", State.FAILED))
        assert "were refused by the vendor 2 times" in shop.report("two")
        assert "failed/one" in shop.report("two")
        told = shop.command("retry", job="one")
        assert not told["ok"]
        assert "--pay-again" in told["message"]
        assert vendor.uploads == 1


def test_a_person_may_say_that_nothing_was_charged(tmp_path: Path) -> None:
    """Their word frees what was refused, and the set is sent again."""
    with working(tmp_path, "charged-429", balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.HELD))
        vendor.emulator.set_faults()
        assert shop.command("resolve", job="chair", how="not-charged")["ok"]
        shop.until(shop.is_in("chair", State.ARCHIVED))
        assert shop.purchases("outcome") == ["free", "free", "charged"]
        assert (shop.job("chair").refused, shop.job("chair").charges) == (0, 1)


@pytest.mark.parametrize("fault", ["charged-429", "charged-400"])
@pytest.mark.parametrize("held_for", ["refusals", "a lost answer"])
@pytest.mark.parametrize("words", [["not-charged"], ["give-up", "pay-again"]])
def test_a_word_allows_one_submit(tmp_path: Path, fault: str, held_for: str, words: list[str]) -> None:
    """The vendor charges the submit that a person allowed, and refuses it: held anew, however the word was given."""
    first = {"refusals": ["charged-429@1", "charged-429@2"], "a lost answer": ["lost-answer@1"]}[held_for]
    with working(tmp_path, *first, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.HELD))
        before = vendor.charges_in_all
        vendor.emulator.set_faults(parse_fault(fault))
        for word in words:
            if word == "pay-again":
                shop.until(shop.is_in("chair", State.FAILED))
                assert shop.command("retry", job="chair", pay_again=True)["ok"]
            else:
                assert shop.command("resolve", job="chair", how=word)["ok"]
        shop.until(lambda: vendor.charges_in_all > before)
        long_after(shop)
        assert vendor.charges_in_all == before + 1
        assert shop.states() == {"chair": State.HELD}
        assert "which a person had allowed to pay for once" in shop.status()
        shop.restart()
        long_after(shop)
        assert vendor.charges_in_all == before + 1
        vendor.emulator.set_faults()
        assert shop.command("resolve", job="chair", how="not-charged")["ok"]
        shop.until(shop.is_in("chair", State.ARCHIVED))
        assert vendor.charges_in_all == before + 2


def test_a_word_in_a_sidecar_allows_one_submit(tmp_path: Path) -> None:
    """`again`, dropped once for a set that was delivered: charged and refused once, then held; what looks free goes on."""
    with working(tmp_path, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        vendor.emulator.set_faults(*map(parse_fault, ("submit-429@1", "charged-429@2", "charged-429@3")))
        shop.drop_set("chair", 'again = "second try"\n')
        shop.until(lambda: any(job.state is State.HELD for job in shop.jobs()))
        long_after(shop)
        assert vendor.charges_in_all == 2
        assert shop.purchases("outcome") == ["charged", "free", "refused"]


# ---- a balance that is wrong ----------------------------------------------------------------------------------------


class StillVendor(HastyVendor):
    """A vendor that charges what it refuses, and whose balance never moves: another account's, or cached."""

    def _balance(self) -> bytes:
        return b'{"balance": 100.5}'


@pytest.mark.parametrize("sole", [False, True])
@pytest.mark.parametrize("status", [400, 429, 503])
def test_a_balance_that_never_moved_shows_nothing_to_be_free(tmp_path: Path, status: int, sole: bool) -> None:
    """Each try would look free for ever: it counts as spent, and the set is held at the second."""
    with (
        StillVendor(status) as vendor,
        workshop(tmp_path, vendor.url, budget={"sole_spender": sole}) as shop,
    ):
        shop.drop("chair.obj", model("chair") + b"#" * 6_000_000)
        shop.drop("chair.png", image("chair"))
        shop.until(lambda: shop.states().get("chair") in (State.HELD, State.FAILED))
        long_after(shop)
        final = status == 400
        assert states(shop) == [State.FAILED if final else State.HELD]
        assert shop.purchases("outcome") == ["refused"] * vendor.charges == ["refused"] * (1 if final else 2)


@pytest.mark.parametrize("fault", ["charged-503", "charged-429"])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_balance_that_stands_still_is_not_paid_for_ever(tmp_path: Path, fault: str, fresh: bool) -> None:
    """Each charge is hidden: believed where it was seen to fall before, and bounded all the same; a word is one more try."""
    with working(tmp_path, fault, budget=SOLE, balance=EXACT, fresh=fresh) as (shop, vendor):
        hidden: list[int] = [0]

        def hides() -> None:
            while hidden[0] < vendor.charges_in_all:
                vendor.emulator.pay_in(Decimal("0.5"))
                hidden[0] += 1

        def waits() -> bool:
            hides()
            job = shop.job("chair") if shop.jobs() else None
            return job is not None and job.state is State.HELD and not shop.inquires

        shop.drop_set("chair")
        shop.until(waits)
        for _ in range(40):
            hides()
            shop.ticks(1, step_seconds=300)
        most = 4 if not fresh else 2 if fault == "charged-429" else 1
        assert vendor.charges_in_all == most
        assert states(shop) == [State.HELD]
        if not fresh:
            assert "This set was submitted 4 times without success." in shop.status()
            assert "each try may have cost 0.5 credits" in shop.status()
            assert shop.command("resolve", job="chair", how="not-charged")["ok"]
            shop.until(lambda: vendor.charges_in_all == most + 1)
            shop.until(waits)
            assert vendor.charges_in_all == most + 1
        if fresh:
            assert "it has never fallen" in shop.status()


@pytest.mark.parametrize("fault", ["submit-error=INVALID_REQUEST", "submit-429", "submit-error=INSUFFICIENT_FUND"])
def test_the_first_accepted_set_shows_that_the_balance_moves(tmp_path: Path, fault: str) -> None:
    """A new service believes its account as soon as one set was paid for; what was refused before it stays unclear."""
    with working(tmp_path, budget=SOLE, balance=EXACT, fresh=True) as (shop, vendor):
        vendor.emulator.set_faults(parse_fault(f"{fault}@1"), parse_fault(f"{fault}@3"))
        for name in ("one", "two", "three"):
            shop.drop_set(name)
            shop.until(lambda name=name: shop.states().get(name) in (State.FAILED, State.ARCHIVED))  # type: ignore[misc]
            shop.idle()
        assert shop.purchases("outcome").count("refused") == 1
        assert shop.purchases("outcome")[0] == "refused"
        assert shop.purchases("outcome").count("free") == 1
        assert State.HELD not in states(shop)


@pytest.mark.parametrize("fault", ["late-charge=300:429", "late-charge=300"])
def test_a_charge_that_comes_too_late_takes_the_verdict_back(tmp_path: Path, fault: str) -> None:
    """It looked free, and was booked five minutes later: counted as spent then, told, and not believed again."""
    hands = Hands()
    with (
        emulated(balance=EXACT, clock=lambda: hands.seconds) as vendor,
        workshop(tmp_path, vendor.emulator.base_url, budget=SOLE) as shop,
    ):
        hands = shop.hands
        shop.has_seen_the_balance_fall()
        vendor.emulator.set_faults(parse_fault(fault))
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.HELD))
        shop.until(
            lambda: shop.states()["chair"] is State.HELD and "4 times without success" in shop.status(), step_seconds=5
        )
        assert vendor.uploads == 4
        shop.ticks(1, step_seconds=400)
        shop.drop_set("stool")
        shop.until(lambda: "balance-doubted" in shop.event_kinds(), step_seconds=5)
        shop.until(shop.is_in("stool", State.HELD), step_seconds=5)
        long_after(shop)
        assert vendor.uploads == (6 if "429" in fault else 5)
        assert states(shop) == [State.HELD, State.HELD]
        assert "free" not in shop.purchases("outcome")
        assert sum(shop.store.spent_since(0).values()) == vendor.uploads * Decimal("0.5")
        assert "until budget.settle_seconds is more than 60" in " ".join(shop.status().split())
        shop.restart()
        shop.ticks(3, step_seconds=2)
        assert "until budget.settle_seconds is more than 60" in " ".join(shop.status().split())


@pytest.mark.parametrize("when", ["claimed", "being staged", "staged"])
def test_a_verdict_that_is_taken_back_holds_a_set_that_is_retried_meanwhile(tmp_path: Path, when: str) -> None:
    """The very balance that a plain `retry` asks for shows the late charge: whatever state the job is in, nothing is sent unasked."""
    with working(tmp_path, balance=EXACT, budget={**SOLE, "settle_seconds": 20}) as (shop, vendor):
        vendor.emulator.set_faults(parse_fault("charged-400=INVALID_REQUEST@1"))
        shop.drop("chair.obj", model("chair") + b"# pad\n" * (1_500_000 if when == "being staged" else 1))
        shop.drop("chair.png", image("chair"))
        shop.until(lambda: vendor.charges_in_all == 1)
        vendor.emulator.pay_in(Decimal("0.5"))  # the vendor books it later ...
        shop.until(shop.is_in("chair", State.FAILED))
        shop.idle()
        assert shop.purchases("outcome") == ["free"]
        shop.hands.seconds += 120
        shop.idle()
        if when == "staged":
            vendor.emulator.set_faults(parse_fault("balance-slow=1"))
        vendor.emulator.pay_in(Decimal("-0.5"))  # ... than settle_seconds
        assert shop.command("retry", job="chair")["ok"]
        shop.until(lambda: shop.states()["chair"] in (State.HELD, State.ARCHIVED, State.FAILED))
        assert shop.states()["chair"] is State.HELD
        assert shop.job("chair").refused == 1
        assert "balance-doubted" in shop.event_kinds()
        assert (vendor.charges_in_all, shop.purchases("outcome")) == (1, ["refused"])
        vendor.emulator.set_faults()
        assert shop.command("resolve", job="chair", how="not-charged")["ok"]
        shop.until(shop.is_in("chair", State.ARCHIVED))
        assert (vendor.charges_in_all, shop.purchases("outcome")) == (2, ["free", "charged"])


def test_a_clock_that_is_set_keeps_no_verdict_from_being_taken_back(tmp_path: Path) -> None:
    """Two days pass by the wall clock alone, and a reading matches: a charge that comes within the hour is found out."""
    hands = Hands()
    with (
        emulated(balance=EXACT, clock=lambda: hands.seconds) as vendor,
        workshop(tmp_path, vendor.emulator.base_url, budget=SOLE) as shop,
    ):
        hands = shop.hands
        shop.has_seen_the_balance_fall()
        vendor.emulator.set_faults(parse_fault("late-charge=3000:429"))
        for name in ("chair", "stool"):
            shop.drop_set(name)
            shop.until(shop.is_in(name, State.HELD), step_seconds=5)
            shop.hands.jump_seconds += 2 * 86_400
            shop.ticks(1, step_seconds=400)
        assert shop.purchases("outcome").count("free") == vendor.uploads
        shop.ticks(1, step_seconds=3600)
        shop.drop_set("lamp")
        shop.until(lambda: "balance-doubted" in shop.event_kinds(), step_seconds=5)
        assert "free" not in shop.purchases("outcome")


def test_a_refund_while_a_task_runs_hides_no_charge(tmp_path: Path) -> None:
    """A refusal was charged, and a failed task paid back before anybody asked about it: nobody calls that free."""
    with working(tmp_path, "charged-429@2", "empty-jobs=1000@1", budget={}, balance=EXACT) as (shop, vendor):
        shop.drop_set("paid")
        shop.until(shop.is_in("paid", State.SUBMITTED))
        shop.drop_set("chair")
        shop.until(lambda: vendor.charges_in_all == 2)
        vendor.emulator.pay_in(Decimal("0.5"))
        shop.until(lambda: shop.purchases("outcome") == ["charged", "refused"] and looked_into(shop)(), step_seconds=2)
        assert shop.job("chair").refused == 1


def test_at_the_bound_of_the_account_every_unclear_set_is_held(tmp_path: Path) -> None:
    """Not only the last one: about each of them somebody has to decide."""
    with working(tmp_path, "charged-429", balance=EXACT, api={"max_in_flight": 1}) as (shop, vendor):
        drop_many(shop, 9)
        shop.until(stands_still(shop))
        long_after(shop)
        journal = shop.store
        unclear = {refusal.job_id for refusal in journal.refused_since(0)}
        assert {job.id for job in shop.jobs() if job.state is State.HELD} == unclear
        assert vendor.charges_in_all == 6


def test_bad_sets_that_look_free_are_bounded_for_the_account(tmp_path: Path) -> None:
    """Each is another content, refused by a documented code: the 24th is held, nothing more is sent; a word lets it go on."""
    with working(tmp_path, "submit-error=INVALID_REQUEST", budget=SOLE, balance=EXACT) as (shop, vendor):
        drop_many(shop, 27)
        shop.until(lambda: State.HELD in states(shop) and not shop.daemon.parts.pool.busy, step_seconds=2)
        long_after(shop)
        assert vendor.uploads == 24
        assert "24 submits in a row had no success" in shop.status()
        [held, *_] = [job for job in shop.jobs() if job.state is State.HELD]
        vendor.emulator.set_faults()
        assert shop.command("resolve", job=held.id, how="not-charged")["ok"]
        shop.until(lambda: states(shop).count(State.ARCHIVED) == 4, step_seconds=2)
