"""The account: what its balance stops, what it lets go on, and what it proves."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from workshop import Vendor, Workshop, working

from rodin_watchd.adapters.store.backup import backup_path, make_backup
from rodin_watchd.core.balance import BALANCE
from rodin_watchd.core.proof import BASELINE
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.errors import Lane
from rodin_watchd.model import State

SOLE = {"sole_spender": True}
EXACT = Decimal("100.5")
"""A balance that shows that the vendor does not round."""


def told(shop: Workshop) -> str:
    """Return the service's events in words."""
    return "\n".join(f"{e.kind} {e.message}" for e in reversed(shop.store.service_events()))


def balances(vendor: Vendor) -> int:
    """Return how many submits came, begun or whole: what an upload as a probe would add to."""
    return vendor.emulator.ledger()["uploads"]["begun"]


# ---- an empty account -----------------------------------------------------------------------------------------------


def test_an_empty_account_stops_submits_before_one_is_sent(tmp_path: Path) -> None:
    """The balance is read before the first submit: nothing is uploaded in vain, told once, and credits end it."""
    with working(tmp_path, balance=Decimal("0.25")) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.STAGED}
        assert shop.daemon.needs_person()
        for text in (shop.page(), "\n".join(shop.notices())):
            assert text.count("The vendor's account is empty: it has 0.25 credits, a texture costs 0.5") == 1
        assert "Tell the person who runs the service: they can look into the vendor's account." in shop.page()
        for _ in range(5):
            shop.ticks(1, step_seconds=150)
            shop.idle()
        assert balances(vendor) == 0
        assert shop.job("chair").attempts == 0
        vendor.emulator.pay_in(Decimal(1))
        shop.until(shop.is_in("chair", State.ARCHIVED))
        shop.idle()
        assert "ATTENTION" not in shop.status()
        assert shop.event_kinds().count("paused") == shop.event_kinds().count("resumed") == 1
        assert (vendor.charges, balances(vendor)) == (1, 1)


def test_an_account_that_runs_dry_is_not_tried_by_an_upload(tmp_path: Path) -> None:
    """What the balance does not pay is not sent: of three sets one goes, and the balance says why the others wait."""
    with working(tmp_path, balance=Decimal("0.5")) as (shop, vendor):
        for name in ("one", "two", "three"):
            shop.drop_set(name)
        shop.idle()
        assert sorted(shop.states().values()) == [State.ARCHIVED, State.STAGED, State.STAGED]
        assert balances(vendor) == vendor.charges == 1
        assert "account is empty: it has 0 credits" in shop.status()


def test_an_overdrawn_account_stops_submits_as_an_empty_one_does(tmp_path: Path) -> None:
    """A balance below zero is a balance: a vendor that lends would be paid at each submit."""
    with working(tmp_path, balance=Decimal(-3)) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        assert vendor.uploads == 0
        assert "The vendor's account is empty: it has -3 credits" in shop.status()
        vendor.emulator.pay_in(Decimal(10))
        shop.hands.seconds += 200
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}


def test_an_account_that_others_empty_is_probed_by_its_balance(tmp_path: Path) -> None:
    """The submit that was refused uses no attempt; until there are credits, only free calls are made."""
    with working(tmp_path, balance=Decimal(1)) as (shop, vendor):
        shop.drop_set("one")
        shop.idle()
        vendor.emulator.pay_in(Decimal("-0.5"))
        shop.drop_set("two")
        shop.idle()
        refused = balances(vendor)
        assert refused == 2
        for _ in range(5):
            shop.ticks(1, step_seconds=150)
            shop.idle()
        assert balances(vendor) == refused
        assert shop.states() == {"one": State.ARCHIVED, "two": State.STAGED}
        assert shop.job("two").attempts == 0
        for text in (shop.page(), "\n".join(shop.notices())):
            assert text.count("The vendor's account is empty: it has 0 credits") == 1
        vendor.emulator.pay_in(Decimal("0.5"))
        shop.until(shop.is_in("two", State.ARCHIVED))
        told = [kind for kind in shop.event_kinds() if kind in ("paused", "resumed")]
        assert told == ["paused", "paused", "resumed"], "refused; then the balance tells why; then it goes on"
        assert vendor.charges == 2


def test_another_cause_of_a_pause_is_told(tmp_path: Path) -> None:
    """A submit got no answer that tells its outcome; when the wait is over the account is empty: the log says why submits stand still now."""
    with working(tmp_path, "lost-answer@2", balance=Decimal(1), api={"max_in_flight": 1}) as (shop, _):
        for name in ("one", "two", "three"):
            shop.drop_set(name)
        shop.idle()
        causes = [line for line in told(shop).splitlines() if line.startswith("paused submit: ")]
        assert "did not say whether it has taken a set" in causes[0]
        assert "is empty" in causes[1]
        assert len(causes) == 2


def test_a_restart_asks_for_the_balance_before_anything_is_sent(tmp_path: Path) -> None:
    """The history stays in pairs: what was paused stays so over a start, is reported once, and ends with the credits."""
    with working(tmp_path, balance=Decimal(0)) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        shop.restart()
        shop.idle()
        assert "account is empty" in shop.status()
        assert shop.event_kinds() == ["paused"]
        vendor.emulator.pay_in(Decimal(1))
        shop.restart()
        shop.idle()
        assert shop.event_kinds() == ["paused", "resumed"]
        assert balances(vendor) == 1
        shop.restart()
        assert shop.event_kinds() == ["paused", "resumed"]


def test_credits_that_come_in_drops_use_up_no_attempts(tmp_path: Path) -> None:
    """Each time they pay for one set only; whoever is refused beside it is not to blame."""
    with working(tmp_path, balance=Decimal("0.5")) as (shop, vendor):
        for name in "abcd":
            shop.drop_set(name)
        for paid in range(1, 5):
            shop.idle()
            assert vendor.charges == paid
            assert {job.attempts for job in shop.jobs()} == {0}
            vendor.emulator.pay_in(Decimal("0.5"))
            shop.ticks(3, step_seconds=150)
        assert set(shop.states().values()) == {State.ARCHIVED}


@pytest.mark.parametrize("fault", ["balance-500", "balance-closed", "balance-html", "balance-error", "balance-429@1"])
def test_a_balance_that_cannot_be_read_stops_nobody(tmp_path: Path, fault: str) -> None:
    """It is an early warning alone."""
    with working(tmp_path, fault) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert vendor.charges == 1


def test_a_refused_key_is_found_out_by_the_balance(tmp_path: Path) -> None:
    """401 to the free call: nothing is uploaded, no attempt is used, one event each way, and it ends by itself."""
    with working(tmp_path, *(f"balance-key-refused@{turn}" for turn in range(1, 5))) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(lambda: "refuses the API key" in shop.status())
        assert shop.daemon.needs_person()
        assert balances(vendor) == 0
        shop.until(shop.is_in("chair", State.ARCHIVED))
        assert shop.event_kinds() == ["paused", "resumed"]
        assert (vendor.charges, balances(vendor)) == (1, 1)
        assert shop.actions(shop.job("chair")).count("uploading") == 1


def test_a_submit_that_is_refused_by_the_account_does_not_stop_free_calls(tmp_path: Path) -> None:
    """403 to submits alone: paid jobs are polled and delivered meanwhile, and no attempt is used up."""
    with working(tmp_path, "empty-jobs=2", *(f"submit-key-refused@{turn}" for turn in range(2, 9))) as (shop, vendor):
        shop.drop_set("paid")
        shop.until(shop.is_in("paid", State.SUBMITTED))
        shop.drop_set("late")
        shop.until(shop.is_in("paid", State.ARCHIVED))
        shop.until(lambda: balances(vendor) >= 4)
        assert shop.states() == {"paid": State.ARCHIVED, "late": State.STAGED} or shop.job("late").attempts == 0
        assert "refuses the API key" in shop.status()
        shop.until(shop.is_in("late", State.ARCHIVED), step_seconds=5)
        assert shop.actions(shop.job("late")).count("uploading") == 8
        assert shop.job("late").attempts == 0
        assert shop.event_kinds() == ["paused", "resumed"]


# ---- a low balance --------------------------------------------------------------------------------------------------


def test_a_low_balance_is_told_once_each_way(tmp_path: Path) -> None:
    """Below `budget.low_balance` STATUS.txt and one event say so, also through a restart; when it is paid in, one more."""
    with working(tmp_path, budget={"low_balance": 3}, balance=Decimal("3.5")) as (shop, vendor):
        for number in range(3):
            shop.drop_set(f"set-{number}")
        shop.idle()
        assert "has 2 credits, less than budget.low_balance (3 credits)" in shop.status()
        assert shop.event_kinds() == []  # until the vendor has said so
        shop.ticks(2, step_seconds=700)
        shop.idle()
        assert "has 2 credits, less than budget.low_balance (3 credits)" in shop.status()
        shop.restart()
        shop.ticks(2, step_seconds=700)
        shop.idle()
        assert shop.event_kinds() == ["low-balance"]
        vendor.emulator.pay_in(Decimal(20))
        shop.ticks(2, step_seconds=700)
        shop.idle()
        assert shop.event_kinds() == ["low-balance", "balance-restored"]
        assert "ATTENTION" not in shop.status()
        known = shop.store.meta(BALANCE)
        assert (known["credits"], known["low"]) == ("22", False)


def test_without_a_limit_the_balance_is_read_once(shop: Workshop) -> None:
    """A free call is not made without need."""
    for number in range(3):
        shop.drop_set(f"set-{number}")
        shop.idle()
        at = shop.store.meta(BALANCE)["at"]
        shop.ticks(3, step_seconds=700)
        shop.idle()
    assert shop.store.meta(BALANCE)["at"] == at
    assert shop.event_kinds() == []


# ---- proof by balance -----------------------------------------------------------------------------------------------


def test_a_lost_submit_that_was_not_charged_is_submitted_again(tmp_path: Path) -> None:
    """503 after the last bytes, nothing charged: two readings prove it, the history says so, and the set is delivered."""
    with working(tmp_path, "submit-503@1", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.HELD))
        began = shop.hands.seconds
        shop.ticks(1)
        assert not shop.daemon.is_idle()
        shop.until(lambda: "until the balance shows" in shop.status())
        shop.until(shop.is_in("chair", State.ARCHIVED))
        assert 60 <= shop.hands.seconds - began < 90
        shop.idle()
        assert shop.actions(shop.job("chair")).count("not-charged") == 1
        assert "Proven not charged: the balance was 100.5 credits before and is 100.5 credits after." in told(shop)
        assert [kind for kind in shop.event_kinds() if kind.startswith("inquiry")] == ["inquiry", "inquiry-ended"]
        assert shop.event_kinds().count("paused") == shop.event_kinds().count("resumed") == 1
        assert (vendor.charges, shop.daemon.failed) == (1, 0)
        assert "ATTENTION" not in shop.status()


@pytest.mark.parametrize("fault", ["lost-answer@2", "charged-503@2"])
def test_a_lost_submit_that_was_charged_is_held_with_that_fact(tmp_path: Path, fault: str) -> None:
    """The balance is lower by exactly one job: never sent again, the cost is certain, the next set goes on."""
    with working(tmp_path, fault, budget=SOLE, balance=EXACT) as (shop, vendor):
        for name in ("before", "lost", "after"):
            shop.drop_set(name)
            shop.idle()
        assert shop.states() == {"before": State.ARCHIVED, "lost": State.HELD, "after": State.ARCHIVED}
        lost = shop.job("lost")
        assert lost.charges == 1
        assert "It was charged" in shop.status()
        assert "task's id is lost" in shop.status()
        assert "Cost: 0.5 credits." in shop.status()
        assert vendor.charges == 3
        assert shop.store.charged_since(0.0) == Decimal("1.5")
        shop.restart()
        shop.ticks(3, step_seconds=1000)
        shop.idle()
        assert shop.actions(shop.job("lost")).count("charged") == 1
        refused = shop.command("resolve", job="lost", how="not-charged")
        assert not refused["ok"]
        assert "was charged" in refused["message"]
        uuid = vendor.emulator.ledger()["charges"][1]["task_uuid"]
        assert shop.command("resolve", job="lost", how="task", task=uuid)["ok"]
        shop.idle()
        assert shop.job("lost").state is State.ARCHIVED
        assert shop.job("lost").charges == 1
        assert vendor.charges == 3


def test_somebody_elses_spending_proves_nothing(tmp_path: Path) -> None:
    """A balance that fits neither branch leaves the job to a person."""
    with working(tmp_path, "submit-503@1", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.HELD))
        vendor.emulator.pay_in(Decimal(-7))
        shop.idle()
        assert shop.states() == {"chair": State.HELD}
        assert "somebody else spends or pays in" in shop.status()
        assert shop.daemon.failed == 1
        assert vendor.charges == 0


def test_a_balance_that_moves_between_the_readings_proves_nothing(tmp_path: Path) -> None:
    """Twenty seconds after it looks uncharged, a minute after it does not: held."""
    with working(tmp_path, "submit-503@1", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.HELD))
        began = shop.hands.seconds
        shop.until(lambda: shop.hands.seconds - began > 40)
        vendor.emulator.pay_in(Decimal("-0.5"))
        shop.idle()
        assert shop.states() == {"chair": State.HELD}
        assert "changed between two readings" in shop.status()


def test_no_submit_begins_during_the_proof(tmp_path: Path) -> None:
    """The next sets wait, staged, until the verdict; then they go on."""
    with working(tmp_path, "lost-answer@1", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("lost")
        shop.until(shop.is_in("lost", State.HELD))
        shop.drop_set("next")
        shop.until(shop.is_in("next", State.STAGED))
        began = shop.hands.seconds
        shop.until(lambda: shop.states()["next"] is not State.STAGED)
        assert shop.hands.seconds - began > 50
        assert "It was charged" in told(shop)
        shop.idle()
        assert shop.states() == {"lost": State.HELD, "next": State.ARCHIVED}
        assert vendor.charges == 2


@pytest.mark.parametrize(("fault", "end"), [("submit-503@1", State.ARCHIVED), ("lost-answer@1", State.HELD)])
def test_a_submit_found_open_at_the_start_is_proven_too(tmp_path: Path, fault: str, end: State) -> None:
    """The baseline is durable: killed between the last bytes and the answer, the next start proves by it."""
    with working(tmp_path, fault, budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.SUBMITTING))
        shop.restart()
        shop.idle()
        assert shop.states() == {"chair": end}
        assert vendor.charges == 1
        assert shop.job("chair").charges == 1


def test_a_crash_during_the_proof_begins_it_anew(tmp_path: Path) -> None:
    """Readings that were not acted upon are made again."""
    with working(tmp_path, "submit-503@1", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.HELD))
        began = shop.hands.seconds
        shop.until(lambda: shop.hands.seconds - began > 40)
        shop.restart()
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert shop.hands.seconds - began > 100
        assert vendor.charges == 1


def test_several_lost_submits_are_decided_together(tmp_path: Path) -> None:
    """Three lost at once, none charged: all go on; of two, one was charged: nobody can tell which, both are held."""
    with working(tmp_path, "submit-503=3", budget=SOLE, balance=EXACT) as (shop, vendor):
        for name in ("a", "b", "c"):
            shop.drop_set(name)
        shop.idle()
        assert set(shop.states().values()) == {State.ARCHIVED}
        assert vendor.charges == 3
        vendor.emulator.set_faults(parse_fault("submit-503@1"), parse_fault("lost-answer@2"))
        for name in ("d", "e"):
            shop.drop_set(name)
        shop.until_in_step(lambda: State.HELD in shop.states().values())
        shop.idle()
        held = {name for name, state in shop.states().items() if state is State.HELD}
        assert held == {"d", "e"}
        assert "does not show which were charged, 0.5 credits of 2 submits" in shop.status()
        assert vendor.charges == 4


def test_a_balance_that_cannot_be_read_during_the_proof_gives_up_in_the_end(tmp_path: Path) -> None:
    """New sets are not held back for ever: after a quarter of an hour a person decides, and the others go on."""
    with working(tmp_path, "lost-answer@1", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("lost")
        shop.until(shop.is_in("lost", State.HELD))
        vendor.emulator.set_faults(parse_fault("balance-500"))
        shop.drop_set("next")
        shop.idle(step_seconds=5)
        assert shop.states() == {"lost": State.HELD, "next": State.ARCHIVED}
        assert "could not be read" in shop.status()
        assert "perhaps 0.5 credits, if the vendor accepted the last try" in shop.status()
        assert vendor.charges == 2


def test_a_refund_that_may_come_proves_nothing(tmp_path: Path) -> None:
    """After a paid task failed, its refund could hide a charge: held, with that reason."""
    with working(tmp_path, "failed-job@1", "submit-503@2", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("failed")
        shop.idle()
        shop.drop_set("lost")
        shop.idle()
        assert shop.states() == {"failed": State.FAILED, "lost": State.HELD}
        assert "a refund for it could hide a charge" in shop.status()
        assert vendor.charges == 1


@pytest.mark.parametrize(("while_it_fails", "while_it_is_read"), [(-2.0, 0.0), (0.0, 2.0), (-400.0, 0.0), (0.0, 400.0)])
def test_no_clock_makes_a_failure_old(tmp_path: Path, while_it_fails: float, while_it_is_read: float) -> None:
    """Days behind when the task failed, days ahead when the balance was read: its refund could hide a charge all the same."""
    faults = ("failed-job@1", "lost-answer@2")
    with working(tmp_path, *faults, budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.hands.jump_seconds = while_it_fails * 86_400
        shop.drop_set("failed")
        shop.until(shop.is_in("failed", State.FAILED))
        shop.hands.jump_seconds = while_it_is_read * 86_400
        shop.ticks(2, step_seconds=60)
        shop.drop_set("lost")
        shop.until(shop.is_in("lost", State.HELD), step_seconds=0.2)
        shop.hands.jump_seconds = 0
        vendor.emulator.pay_in(Decimal("0.5"))  # the refund
        shop.idle(step_seconds=5)
        assert shop.states()["lost"] is State.HELD
        assert "a refund for it could hide a charge" in shop.status()
        assert vendor.charges == 2


def test_a_failure_is_refunded_after_a_day_of_running(tmp_path: Path) -> None:
    """Counted over restarts, and as long as the service runs: then proofs go on as ever."""
    with working(tmp_path, "failed-job@1", "submit-503@2", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("failed")
        shop.idle()
        shop.ticks(6, step_seconds=10_800)
        shop.restart()
        shop.ticks(6, step_seconds=10_800)
        shop.drop_set("lost")
        shop.idle(step_seconds=5)
        assert shop.states() == {"failed": State.FAILED, "lost": State.ARCHIVED}
        assert vendor.charges == 2


def test_an_account_that_is_shared_proves_nothing(tmp_path: Path) -> None:
    """Without `sole_spender` no lost answer is looked into, and what was read then is no baseline for later proofs."""
    with working(tmp_path, "submit-503@1") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        shop.ticks(3, step_seconds=1000)
        assert shop.states() == {"chair": State.HELD}
        assert shop.store.meta(BASELINE)["sole"] is False
        assert shop.event_kinds().count("inquiry") == 0
        assert vendor.charges == 0


def test_the_balance_is_read_anew_before_a_submit_when_nothing_is_open(tmp_path: Path) -> None:
    """Credits that are paid in while the service idles are no obstacle to the next proof."""
    with working(tmp_path, "submit-503@2", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("one")
        shop.idle()
        vendor.emulator.pay_in(Decimal(25))
        shop.ticks(1, step_seconds=90)
        shop.drop_set("two")
        shop.until(shop.is_in("two", State.HELD))
        known = shop.store.meta(BASELINE)
        assert (known["balance"], known["purchase"]) == ("125", 1)
        shop.idle()
        assert shop.states() == {"one": State.ARCHIVED, "two": State.ARCHIVED}
        assert "Proven not charged: the balance was 125 credits before and is 125 credits after." in told(shop)
        assert vendor.charges == 2


def test_a_restored_journal_proves_nothing(tmp_path: Path) -> None:
    """What was bought and paid in since the backup is not in its books: its baseline is not believed."""
    with working(tmp_path, budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("first")
        shop.idle()
        journal = shop.journal
        shop.drop_set("unsent")
        shop.until(shop.is_in("unsent", State.UPLOADING))
        make_backup(journal, shop.hands.seconds)
        shop.idle()
        assert vendor.charges == 2
        vendor.emulator.pay_in(Decimal("0.5"))  # exactly what would hide the charge
        shop.crash()
        shop.put_in_place(backup_path(journal))()
        shop.start()
        shop.idle()
        assert shop.states()["unsent"] is State.HELD
        assert "inquiry" not in shop.event_kinds()
        assert vendor.charges == 2


def test_a_persons_word_is_no_figure(tmp_path: Path) -> None:
    """Whoever names the task of one lost submit for another one would make the first look free: nothing is proven."""
    with working(tmp_path, "submit-503@1", "lost-answer@2", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("free")
        shop.drop_set("paid")
        shop.until_in_step(lambda: list(shop.states().values()) == [State.HELD] * 2)
        [paid] = vendor.emulator.ledger()["charges"]
        free = next(job for job in shop.jobs() if job.files[0].sha256 != paid["model_sha256"])
        assert shop.command("resolve", job=free.id, how="task", task=paid["task_uuid"])["ok"]
        shop.idle()
        assert sorted(shop.states().values()) == [State.ARCHIVED, State.HELD]
        assert "a person has decided about another submit meanwhile" in told(shop)
        assert vendor.charges == 1


def test_a_lost_task_could_be_paid_back(tmp_path: Path) -> None:
    """A task whose id is lost may fail unseen; its refund must not hide the charge of the next lost submit."""
    with working(tmp_path, "lost-answer@1", "lost-answer@2", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("first")
        shop.idle()
        assert "It was charged" in shop.status()
        shop.drop_set("second")
        shop.until(shop.is_in("second", State.HELD))
        vendor.emulator.pay_in(Decimal("0.5"))
        shop.idle()
        assert shop.states() == {"first": State.HELD, "second": State.HELD}
        assert "a paid task failed or is lost, and a refund for it could hide a charge" in shop.status()
        assert vendor.charges == 2


def test_another_account_proves_nothing(tmp_path: Path) -> None:
    """What another account held is no baseline."""
    with working(tmp_path, "submit-503@1", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.HELD))
        journal = shop.store
        journal.set_meta(BASELINE, {**journal.meta(BASELINE), "account": "another"})
        shop.restart()
        shop.idle()
        assert shop.states() == {"chair": State.HELD}
        assert vendor.charges == 0


def test_a_set_that_the_vendor_never_answers_is_held(tmp_path: Path) -> None:
    """Proven free each time, it is not sent for ever: four submits, then a person decides, for the balance may be wrong."""
    with working(tmp_path, "submit-503", budget=SOLE, balance=EXACT) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle(step_seconds=10)
        job = shop.job("chair")
        assert (job.state, job.charges, shop.actions(job).count("not-charged")) == (State.HELD, 0, 3)
        assert (
            "This set was submitted 4 times without success. If the balance is late, each try may have cost 0.5"
            in shop.status()
        )
        assert (vendor.charges, vendor.uploads) == (0, 4)
        shop.restart()
        shop.ticks(5, step_seconds=1000)
        assert (shop.job("chair").state, vendor.uploads) == (State.HELD, 4)


def test_a_vendor_that_loses_all_answers_is_not_paid_at_each_proof(tmp_path: Path) -> None:
    """Each lost answer makes the next submit wait longer, also where the balance tells what became of it."""
    with working(tmp_path, "lost-answer", budget=SOLE, balance=EXACT, api={"max_in_flight": 1}) as (shop, vendor):
        for name in ("a", "b", "c", "d"):
            shop.drop_set(name)
        shop.until(lambda: list(shop.states().values()).count(State.HELD) == 3, step_seconds=2)
        assert shop.daemon.parts.dispatcher.pauses[Lane.SUBMIT].tries == 3
        assert vendor.charges == 3


def test_an_account_that_shows_whole_credits_proves_nothing(tmp_path: Path) -> None:
    """A rounded balance could hide the half that a texture costs; once a half was seen, also in a run before, it counts."""
    with working(tmp_path, "submit-503@1", budget=SOLE) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.HELD}
        assert "it showed only whole credits" in shop.status()
        assert shop.command("resolve", job="chair", how="not-charged")["ok"]
        shop.idle()
        shop.ticks(5, step_seconds=30)
        shop.idle()
        shop.drop_set("to be whole again")
        shop.idle()
        shop.restart()
        vendor.emulator.set_faults(parse_fault("submit-503@1"))
        shop.drop_set("next")
        shop.idle()
        assert shop.states()["next"] is State.ARCHIVED
        assert vendor.charges == 3
