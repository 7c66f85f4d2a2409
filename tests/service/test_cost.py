"""What a task took, by the vendor's own word (`consumed`), is what the books, the budget, the proof and the papers know."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from workshop import Vendor, working

from rodin_watchd.adapters.rodin_client import RodinClient
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.model import Answer, State


def faults(vendor: Vendor, *names: str) -> None:
    """Have these faults strike from now on."""
    vendor.emulator.set_faults(*map(parse_fault, names))


@pytest.mark.parametrize("took", ["0", "0.25", "0.5", "1.5"])
def test_papers_and_books_say_what_was_taken(tmp_path: Path, took: str) -> None:
    """Receipt, STATUS.txt, journal; and again after a restart."""
    with working(tmp_path, f"consumed={took}") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        receipt = tomllib.loads(shop.path("outbox/chair/job.toml").read_text(), parse_float=Decimal)
        assert receipt["job"]["credits"] == Decimal(took)
        assert f"Cost: {'no' if took == '0' else took} credits." in shop.status()
        shop.restart()
        job = shop.job("chair")
        assert (job.charges, job.spent) == (1, Decimal(took))
        assert job.task is not None
        assert job.task.credits == Decimal(took)
        assert shop.purchases("outcome", "cost") == [("charged", took)]
        assert shop.store.charged_since(0.0) == Decimal(vendor.emulator.ledger()["spent"]) == Decimal(took)


def test_a_vendor_that_says_nothing_took_the_list_price(tmp_path: Path) -> None:
    """And one whose answer is lost may have."""
    with working(tmp_path, "lost-answer@2") as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        shop.drop_set("stool")
        shop.idle()
        assert shop.purchases("outcome", "cost") == [("charged", "0.5"), ("open", "0.5")]
        assert shop.job("stool").spent == 0


def test_a_task_that_a_person_found_costs_what_was_reserved(tmp_path: Path) -> None:
    """The vendor is dear and its answers are lost: each adopted task counts by the price, and the budget holds."""
    with working(tmp_path, "consumed=1.5", budget={"per_day_credits": 6.0}) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        for number in range(1, 6):
            faults(vendor, "lost-answer", "consumed=1.5")
            name = f"set-{number}"
            shop.drop_set(name)
            shop.idle()
            if shop.states().get(name) is not State.HELD:
                break
            faults(vendor)
            uuid = vendor.emulator.ledger()["charges"][-1]["task_uuid"]
            assert shop.command("resolve", job=name, how="task", task=uuid)["ok"]
            shop.idle()
            assert (shop.job(name).charges, shop.job(name).spent) == (1, Decimal("1.5"))
        assert shop.purchases("outcome", "cost") == [("charged", "1.5")] * 4
        assert "set-4" in shop.status()
        assert vendor.charges == 4


def test_two_tasks_of_one_job_are_summed_up(tmp_path: Path) -> None:
    """Paid in vain, then paid anew by a person: each for what it took."""
    with working(tmp_path, "failed-job@1", "consumed=1.5@2") as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        assert "What it cost:   0.5 credits." in shop.report("chair")
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        shop.idle()
        assert shop.job("chair").spent == Decimal(2)
        assert "Cost: 2 credits." in shop.status()


@pytest.mark.parametrize(("took", "paid"), [("0", 3), ("0.25", 3), ("0.5", 3), ("0.75", 2), ("1.5", 1)])
def test_the_budget_counts_what_was_taken(tmp_path: Path, took: str, paid: int) -> None:
    """The next set has to fit by the list price; a dear one leaves less, a cheap one as much: that is only the vendor's word."""
    with working(tmp_path, f"consumed={took}", budget={"per_day_credits": 1.5, "per_folder_credits": 1.5}) as (
        shop,
        vendor,
    ):
        for number in range(6):
            shop.drop_set(f"set-{number}")
            shop.idle()
        assert vendor.charges == paid
        assert sum(shop.store.spent_since(0).values()) == paid * max(Decimal(took), Decimal("0.5"))
        assert list(shop.states().values()) == [State.ARCHIVED] * paid


@pytest.mark.parametrize(("took", "really", "paid"), [("0", "0", 6), ("0.25", "0.25", 4), ("0", "0.5", 3)])
def test_a_low_price_counts_when_the_balance_confirms_it(tmp_path: Path, took: str, really: str, paid: int) -> None:
    """A cheap set leaves more of the budget where nobody else spends and the balance fell by that; a vendor's word alone does not."""
    budget = {"per_day_credits": 1.5, "sole_spender": True}
    with working(tmp_path, f"consumed={took}", balance=Decimal("100.5"), budget=budget) as (shop, vendor):
        for number in range(6):
            charged = vendor.charges
            shop.drop_set(f"set-{number}")
            shop.idle()
            vendor.emulator.pay_in((vendor.charges - charged) * (Decimal(took) - Decimal(really)))
            shop.ticks(1, step_seconds=90)
        assert vendor.charges == paid


@pytest.mark.parametrize(
    ("took", "budget", "paid"), [("1.5", "4", 2), ("1.5", "3", 2), ("0.75", "4", 5), ("2", "1.5", 1)]
)
def test_a_dear_price_is_reserved_once_it_is_known(tmp_path: Path, took: str, budget: str, paid: int) -> None:
    """The first answer teaches the price: from then on each set has to fit by it, several at once and after a restart."""
    settings = {"per_day_credits": float(budget)}
    with working(tmp_path, f"consumed={took}", budget=settings, api={"max_in_flight": 8}) as (shop, vendor):
        shop.drop_set("first")
        shop.idle()
        shop.restart()
        for number in range(8):
            shop.drop_set(f"set-{number}")
        shop.idle()
        assert vendor.charges == paid
        assert "waits for another day" in shop.status()
        left = Decimal(budget) - paid * Decimal(took)
        assert (f"the newest textures cost up to {took} credits each" in shop.status()) is (left >= Decimal("0.5"))


@pytest.mark.parametrize(
    ("fault", "took", "outcome"),
    [
        ("submit-503", "0.5", "not-charged"),
        ("charged-503", "0.5", "charged"),
        ("submit-503", "1.5", "undecided"),
        ("submit-503", "0", "undecided"),
    ],
)
def test_the_proof_reckons_with_what_was_taken(tmp_path: Path, fault: str, took: str, outcome: str) -> None:
    """A known task beside a lost answer: the sums are right; nothing is proven by a cost that the balance has never shown."""
    budget = {"sole_spender": True}
    with working(tmp_path, balance=Decimal("50.5"), budget=budget) as (shop, vendor):
        faults(vendor, f"consumed={took}@1", f"{fault}@2")
        shop.drop_set("known")
        shop.drop_set("lost")
        shop.until(lambda: any(outcome in shop.actions(job) for job in shop.jobs()), step_seconds=5)
        shop.idle()
        charged = 1 if outcome == "undecided" else 2
        assert vendor.charges_in_all == charged
        assert sum(job.charges for job in shop.jobs()) == charged
        assert sum(job.spent for job in shop.jobs()) == Decimal(vendor.emulator.ledger()["spent"])


def test_what_a_restored_journal_holds_is_booked_at_what_a_texture_may_cost(tmp_path: Path) -> None:
    """The newest texture took 2 credits, so a set that may have been sent meanwhile counts as that, also when its task is named."""
    with working(tmp_path / "root", "consumed=2", balance=Decimal(2)) as (shop, vendor):
        shop.drop_set("warm")
        shop.idle()
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.STAGED))
        older = shop.copy_of_journal(tmp_path / "older.sqlite3")
        vendor.emulator.pay_in(Decimal(50))
        shop.until(lambda: vendor.charges == 2)
        task = vendor.emulator.ledger()["charges"][-1]["task_uuid"]
        shop.restart(shop.put_in_place(older))
        shop.ticks(3, step_seconds=1.0)
        assert shop.states()["chair"] is State.HELD
        assert shop.purchases("cost") == ["2", "2"]
        assert shop.command("resolve", job=shop.job("chair").id, how="task", task=task)["ok"]
        shop.idle()
        assert (shop.purchases("cost"), shop.job("chair").spent) == (["2", "2"], Decimal(2))
        assert vendor.charges == 2


def says(monkeypatch: pytest.MonkeyPatch, *costs: str) -> None:
    """Have the vendor's answers to the next submits name these costs, whatever was charged."""
    send, left = RodinClient.submit, list(costs)

    def edited(*arguments: Any) -> Answer:  # noqa: ANN401 - as the client takes them
        answer = send(*arguments)
        said = {"consumed": float(left.pop(0))} if left else {}
        return replace(answer, body=json.dumps(json.loads(answer.body) | said).encode())

    monkeypatch.setattr(RodinClient, "submit", edited)


@pytest.mark.parametrize("sole", [False, True])
def test_a_refusal_that_names_its_cost_counts_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sole: bool
) -> None:
    """The vendor takes 5 credits, refuses the set and says so: the first spends a budget of 2, and leaves too little of one of 9."""
    for number, budget in enumerate((2.0, 9.0)):
        with working(
            tmp_path / str(number),
            "charged-400=INVALID_REQUEST",
            "consumed=5",
            balance=Decimal("100.5"),
            api={"max_in_flight": 1},
            budget={"sole_spender": sole, "per_day_credits": budget},
        ) as (shop, vendor):
            says(monkeypatch, *["5"] * 4)
            for name in ("a", "b", "c", "d"):
                shop.drop_set(name)
            shop.ticks(40, step_seconds=10)
            shop.rest()
            shop.ticks(40, step_seconds=60)
            assert Decimal(vendor.emulator.ledger()["spent"]) == 5
            assert shop.purchases("outcome", "cost") == [("charged" if sole else "refused", "5")]
            monkeypatch.undo()


def test_costs_are_confirmed_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two answers that name wrong costs, whose sum is right, confirm neither; a cost that the balance shows alone is confirmed."""
    with working(tmp_path, balance=Decimal("100.5"), budget={"sole_spender": True}) as (shop, _):
        says(monkeypatch, "0", "1", "0.5")
        shop.drop_set("a")
        shop.drop_set("b")
        shop.idle(step_seconds=5)
        shop.ticks(3, step_seconds=120)
        shop.drop_set("c")
        shop.idle(step_seconds=5)
        shop.ticks(3, step_seconds=120)
        shop.drop_set("d")
        shop.idle(step_seconds=5)
        assert sorted(shop.purchases("cost", "confirmed")[:3]) == [("0", 0), ("0.5", 1), ("1", 0)]
