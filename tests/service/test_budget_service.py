"""The budget: what is over it waits where people see it, and goes on by itself the next day."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from workshop import START_AT, Workshop, image, model, working

from rodin_watchd.core.budget import midnight
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.model import State

ZONE = zoneinfo.ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the service run in a zone that is not UTC."""
    monkeypatch.setenv("TZ", "Europe/Berlin")


def to_midnight(shop: Workshop) -> float:
    """Return the seconds until the service's next midnight."""
    now = START_AT + shop.hands.seconds + shop.hands.jump_seconds
    return midnight(now + DAY_SECONDS, ZONE) - now


def sets(shop: Workshop, state: State) -> int:
    """Return how many sets are in a state."""
    return sum(job.state is state for job in shop.jobs())


def test_what_is_over_the_day_waits_staged_until_the_next_day(tmp_path: Path) -> None:
    """Three of five sets are paid on each day; the others say why they wait, and nobody has to do anything."""
    with working(tmp_path, budget={"per_day_credits": 1.5}) as (shop, vendor):
        for number in range(5):
            shop.drop_set(f"set-{number}")
        shop.idle()
        assert (sets(shop, State.ARCHIVED), sets(shop, State.STAGED), vendor.charges) == (3, 2, 3)
        assert shop.daemon.is_idle()
        assert shop.daemon.needs_person()
        assert (
            shop.status().count("checked, waits to be sent: It waits for another day: today's budget of 1.5 credits")
            == 2
        )
        assert "2 sets wait for another day: today's budget of 1.5 credits is spent." in shop.status()
        again = datetime.fromtimestamp(START_AT + shop.hands.seconds + to_midnight(shop), ZONE)
        assert f"It continues by itself at {again:%Y-%m-%d} 00:00:00 CET." in shop.status()
        shop.ticks(3, step_seconds=(to_midnight(shop) - 10) / 3)
        shop.idle()
        assert vendor.charges == 3
        shop.hands.seconds += 10
        shop.idle()
        assert (sets(shop, State.ARCHIVED), vendor.charges) == (5, 5)
        assert "ATTENTION" not in shop.status()
        kinds = [event.kind for event in reversed(shop.store.service_events())]
        assert kinds == ["paused", "resumed"]
        waiting = [job for job in shop.jobs() if "over-budget" in shop.actions(job)]
        assert len(waiting) == 2
        assert all(shop.actions(job).count("over-budget") == 1 for job in waiting)


def test_each_folder_has_its_own_budget(tmp_path: Path) -> None:
    """A folder and all below it count as one, so does the inbox itself; what one has spent stops no other."""
    with working(tmp_path, budget={"per_folder_credits": 0.5}) as (shop, vendor):
        for name in ("a/one", "a/deep/two", "b/one", "b/two", "loose", "other"):
            shop.drop_set(name)
        shop.idle()
        assert vendor.charges == 3
        done = sorted(job.folder for job in shop.jobs() if job.state is State.ARCHIVED)
        assert [folder.partition("/")[0] for folder in done] == ["", "a", "b"]
        assert "today's budget of 0.5 credits for the folder “a” is spent" in shop.status()
        assert "today's budget of 0.5 credits for the inbox itself is spent" in shop.status()
        shop.hands.seconds += DAY_SECONDS
        shop.idle()
        assert vendor.charges == 6


def test_a_spent_folder_does_not_fill_the_service(tmp_path: Path) -> None:
    """However many sets of one folder wait for tomorrow, those of another folder are taken and paid today."""
    with working(tmp_path, budget={"per_folder_credits": 1}, api={"max_in_flight": 2}) as (shop, vendor):
        for number in range(20):
            shop.drop_set(f"many/set-{number:02}")
        shop.idle()
        assert vendor.charges == 2
        for number in range(2):
            shop.drop_set(f"few/set-{number}")
        shop.idle()
        assert vendor.charges == 4
        assert "complete, waits for another day: today's budget is spent" in shop.status()
        assert len(shop.found("inbox")) == 2 * (20 - sum(job.folder == "many" for job in shop.jobs()))
        assert sum(job.folder == "many" for job in shop.jobs()) <= 8


def test_what_is_held_counts_as_spent(tmp_path: Path) -> None:
    """A lost answer may have cost credits: it counts, until it is known to have been free."""
    with working(tmp_path, "submit-503@1", budget={"per_day_credits": 0.5}) as (shop, vendor):
        shop.drop_set("lost")
        shop.idle()
        shop.drop_set("next")
        shop.idle()
        assert shop.states() == {"lost": State.HELD}
        assert "next: complete, waits for another day" in shop.status()
        assert shop.command("resolve", job="lost", how="not-charged")["ok"]
        shop.idle()
        assert shop.states() == {"lost": State.ARCHIVED}
        assert vendor.charges == 1
        assert "next: complete, waits for another day" in shop.status()


def test_a_set_that_was_refused_or_dropped_costs_nothing(tmp_path: Path) -> None:
    """Attempts that are proven not charged give their part of the budget back."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1", "submit-429@2", budget={"per_day_credits": 0.5}) as (
        shop,
        vendor,
    ):
        shop.drop_set("refused")
        shop.idle()
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"refused": State.FAILED, "chair": State.ARCHIVED}
        assert vendor.charges == 1


def test_the_budget_survives_a_crash_during_an_upload(tmp_path: Path) -> None:
    """An upload that was cut by the crash was proven not submitted: it may go today, and counts once."""
    with working(tmp_path, budget={"per_day_credits": 0.5}) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        shop.restart()
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        shop.drop_set("next")
        shop.restart()
        shop.idle()
        assert "next: complete, waits for another day" in shop.status()
        assert vendor.charges == 1


def test_no_budget_means_nothing_is_sent(tmp_path: Path) -> None:
    """Zero credits a day: sets are refused or wait, nothing is paid."""
    with working(tmp_path, budget={"per_day_credits": 0}) as (shop, vendor):
        shop.drop_set("chair")
        shop.drop("broken.glb", b"nonsense" * 20)
        shop.drop("broken.png", image("broken"))
        shop.idle()
        assert shop.states() == {"broken": State.FAILED}
        assert vendor.charges == 0
        assert vendor.uploads == 0


LIES: dict[str, Callable[[Workshop], float]] = {
    "an hour ahead over midnight": lambda shop: to_midnight(shop) + 3600,
    "a day ahead": lambda _: DAY_SECONDS,
    "a year ahead": lambda _: 365 * DAY_SECONDS,
    "ten minutes before midnight": lambda shop: to_midnight(shop) - 600,
    "a day back": lambda _: -DAY_SECONDS,
    "to 1970": lambda _: -START_AT + 1000,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_clock_gives_no_second_budget(tmp_path: Path, lie: str) -> None:
    """Set ahead or back, and right again: in the hours of one real day no more than one budget is spent."""
    with working(tmp_path, budget={"per_day_credits": 0.5}) as (shop, vendor):
        for number in range(4):
            shop.drop_set(f"set-{number}")
        shop.idle()
        assert vendor.charges == 1
        shop.hands.jump_seconds = LIES[lie](shop)
        shop.idle()
        shop.ticks(4, step_seconds=300)  # over the false midnight, where there is one
        shop.idle()
        assert vendor.charges == 1
        shop.restart()
        shop.idle()
        shop.hands.jump_seconds = 0
        shop.ticks(2, step_seconds=1)
        shop.idle()
        assert vendor.charges == 1
        shop.restart()
        shop.ticks(2, step_seconds=DAY_SECONDS)
        shop.idle()
        assert 2 <= vendor.charges <= 4


STEPS: dict[str, tuple[bool, tuple[float, ...]]] = {  # whether the service stands still, and what the clock is set to
    "by seconds, and again": (False, (-50, 0, -50, 0)),
    "by minutes, and again": (False, (-300, 0, -300, 0)),
    "at a restart": (True, (-600, 0)),
    "by seconds at each restart": (True, (-50, 0, -50, 0)),
}


def stepped(shop: Workshop, seconds: float) -> None:
    """Set the clock, and let it go over midnight where it is before it."""
    shop.hands.jump_seconds = seconds
    shop.ticks(2, step_seconds=1)
    shop.ticks(5, step_seconds=13)
    shop.idle()


def restarted(shop: Workshop, seconds: float) -> None:
    """Set the clock while the service stands still; then let it go over midnight where it is before it."""

    def set_clock() -> None:
        shop.hands.jump_seconds = seconds

    shop.restart(set_clock)
    shop.ticks(2, step_seconds=1)
    shop.ticks(5, step_seconds=200)
    shop.idle()


@pytest.mark.parametrize("budget", [{"per_day_credits": 0.5}, {"per_folder_credits": 0.5}], ids=["day", "folder"])
@pytest.mark.parametrize("steps", STEPS)
def test_a_midnight_that_comes_again_begins_no_second_budget(
    tmp_path: Path, steps: str, budget: dict[str, float]
) -> None:
    """Right after midnight the clock is set back behind it, by little or much, running or not: one budget for the new day."""
    with working(tmp_path, budget=budget) as (shop, vendor):
        shop.ticks(1)
        shop.ticks(2, step_seconds=(to_midnight(shop) + 5) / 2)
        for number in range(4):
            shop.drop_set(f"set-{number}")
        shop.idle()
        assert vendor.charges == 1
        restarts, clocks = STEPS[steps]
        for seconds in clocks:
            (restarted if restarts else stepped)(shop, seconds)
        assert vendor.charges == 1
        shop.ticks(2, step_seconds=DAY_SECONDS)
        shop.idle()
        assert vendor.charges >= 2


def test_the_page_names_the_midnight_at_which_the_day_really_ends(tmp_path: Path) -> None:
    """The clock was set ahead: the next midnight is too soon for another budget, and nobody is promised one."""
    with working(tmp_path, budget={"per_day_credits": 0.5}) as (shop, vendor):
        shop.ticks(1)
        shop.hands.jump_seconds = to_midnight(shop) - 600
        for number in range(2):
            shop.drop_set(f"set-{number}")
        shop.idle()
        second = START_AT + shop.hands.seconds + shop.hands.jump_seconds + to_midnight(shop) + DAY_SECONDS
        assert (
            f"It continues by itself at {datetime.fromtimestamp(second, ZONE):%Y-%m-%d} 00:00:00 CET." in shop.status()
        )
        assert vendor.charges == 1


@pytest.mark.parametrize("hours", [10, -5])
def test_what_a_journal_has_lost_stays_in_the_budget_when_the_clock_is_set(tmp_path: Path, hours: float) -> None:
    """Lost submits belong to the day, which moves with the clock; not to the instant when they were missed."""
    with working(tmp_path, budget={"per_day_credits": 1.5}) as (shop, vendor):
        shop.idle()
        older = shop.copy_of_journal(tmp_path / "older.sqlite3")
        for name in ("first", "second", "third"):
            shop.drop_set(name)
        shop.idle()
        shop.restart(shop.put_in_place(older))
        shop.ticks(2, step_seconds=1)
        shop.hands.jump_seconds += hours * 3600
        shop.drop_set("fourth")
        shop.idle()
        shop.restart()
        shop.idle()
        assert vendor.charges == 3
        shop.ticks(2, step_seconds=DAY_SECONDS)
        shop.idle()
        assert vendor.charges == 4


def test_a_second_loss_in_a_day_adds_to_the_first(tmp_path: Path) -> None:
    """The journal is put back twice, the second time to a copy that knows of the first loss."""
    with working(tmp_path, budget={"per_day_credits": 2}) as (shop, vendor):
        shop.idle()
        older = shop.copy_of_journal(tmp_path / "older.sqlite3")
        for name in ("first", "second", "third"):
            shop.drop_set(name)
        shop.idle()
        shop.restart(shop.put_in_place(older))
        newer = shop.copy_of_journal(tmp_path / "newer.sqlite3")
        shop.drop_set("fourth")
        shop.idle()
        assert vendor.charges == 4
        shop.restart(shop.put_in_place(newer))
        shop.drop_set("fifth")
        shop.idle()
        assert vendor.charges == 4
        assert "1 set waits for another day" in shop.status()


def test_what_a_journal_has_lost_counts_for_every_folder(tmp_path: Path) -> None:
    """Nobody knows for which folder it was bought, so it may have been any."""
    with working(tmp_path, budget={"per_folder_credits": 1}) as (shop, vendor):
        shop.idle()
        older = shop.copy_of_journal(tmp_path / "older.sqlite3")
        for name in ("a/first", "a/second"):
            shop.drop_set(name)
        shop.idle()
        shop.restart(shop.put_in_place(older))
        for name in ("a/third", "b/fourth"):
            shop.drop_set(name)
        shop.idle()
        assert vendor.charges == 2
        shop.ticks(2, step_seconds=DAY_SECONDS)
        shop.idle()
        assert vendor.charges == 4


def test_the_status_of_what_was_spent_is_exact(tmp_path: Path) -> None:
    """The journal's books count by top folder, in credits."""
    with working(tmp_path, budget={"per_day_credits": 10}) as (shop, _):
        for name in ("a/one", "a/two", "three"):
            shop.drop_set(name)
        shop.idle()
        assert shop.store.spent_since(0) == {"a": Decimal(1), "": Decimal("0.5")}
        assert shop.store.charged_since(START_AT) == Decimal("1.5")


def test_a_receipt_tells_credits_exactly(tmp_path: Path) -> None:
    """The file says 0.5, and it reads back as that decimal number."""
    with working(tmp_path) as (shop, _):
        shop.drop("chair.obj", model("chair"))
        shop.drop("chair.png", image("chair"))
        shop.idle()
        text = shop.path("outbox/chair/job.toml").read_text()
    assert "credits = 0.5\n" in text
    assert Decimal(text.partition("credits = ")[2].partition("\n")[0]) == Decimal("0.5")
