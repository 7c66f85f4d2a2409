"""Approval: a very large drop waits in the inbox until a person lets it go on."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from workshop import Workshop, image, model, working

from rodin_watchd.config import Config
from rodin_watchd.core.claims import Turn
from rodin_watchd.model import State


def dropped(shop: Workshop, count: int, folder: str = "") -> None:
    """Drop so many sets at once."""
    for number in range(count):
        shop.drop_set(f"{folder}/set-{number}".lstrip("/"))


def with_limit(config: Config, limit: int | None) -> Config:
    """Return the config with another limit."""
    return config.model_copy(update={"budget": config.budget.model_copy(update={"hold_above_sets": limit})})


def test_as_many_as_allowed_pass(tmp_path: Path) -> None:
    """The limit itself is no crowd."""
    with working(tmp_path, budget={"hold_above_sets": 3}) as (shop, vendor):
        dropped(shop, 3)
        shop.idle()
        assert vendor.charges == 3
        assert shop.event_kinds() == []


def test_a_crowd_waits_in_the_inbox_until_it_is_approved(tmp_path: Path) -> None:
    """Nothing is taken, STATUS.txt says what to do, it lasts through a restart, and one command lets all go on."""
    with working(tmp_path, budget={"hold_above_sets": 3}) as (shop, vendor):
        dropped(shop, 5)
        shop.idle()
        assert shop.jobs() == []
        assert "5 sets wait for approval: more than 3 came at once (budget.hold_above_sets)." in shop.status()
        assert "`rodin-watchd approve --all` releases them." in shop.status()
        assert f"set-0: {Turn.APPROVAL}" in shop.status()
        plain = "5 sets wait for approval: more than 3 came at once. Nothing was paid for them yet. Tell the person who runs"
        assert plain in shop.page()
        assert shop.daemon.needs_person()
        shop.restart()
        shop.idle()
        assert len(shop.found("inbox")) == 10
        assert shop.command("approve", folder=None) == {"ok": True, "message": "Approved 5 sets in the inbox."}
        shop.idle()
        assert vendor.charges == 5
        assert "ATTENTION" not in shop.status()
        assert not shop.daemon.needs_person()
        assert shop.event_kinds() == ["crowd", "approved"]


def test_a_folder_can_be_approved_alone(tmp_path: Path) -> None:
    """What lies there and below goes on; the rest still waits; a set's own name approves that one."""
    with working(tmp_path, budget={"hold_above_sets": 1}) as (shop, vendor):
        dropped(shop, 2, "good")
        dropped(shop, 2, "good/deep")
        dropped(shop, 2, "bad")
        dropped(shop, 2)
        shop.idle()
        assert shop.command("approve", folder="good")["message"] == "Approved 4 sets in “good”."
        shop.idle()
        assert vendor.charges == 4
        assert {job.folder for job in shop.jobs()} == {"good", "good/deep"}
        assert shop.command("approve", folder="bad/set-1")["ok"]
        assert shop.command("approve", folder=".")["message"] == "Approved 2 sets in the inbox."
        shop.idle()
        assert vendor.charges == 7
        assert shop.status().count(Turn.APPROVAL) == 1
        assert "1 set waits for approval: more than 1 came at once" in shop.status()
        refused = shop.command("approve", folder="nowhere")
        assert (refused["ok"], "No set in “nowhere” waits for approval." in refused["message"]) == (False, True)


def test_a_crowd_that_comes_in_pieces_is_noticed(tmp_path: Path) -> None:
    """Within one rescan all that come count together: at most the limit slips through, however often files wake us."""
    with working(tmp_path, budget={"hold_above_sets": 2}, intake={"rescan_seconds": 10, "quiet_seconds": 0}) as (
        shop,
        vendor,
    ):
        for number in range(8):
            shop.drop_set(f"set-{number}")
            shop.daemon.parts.reception.wake()
            shop.ticks(2, step_seconds=0.5)
        shop.idle()
        assert vendor.charges <= 2
        assert len(shop.found("inbox")) == 2 * (8 - vendor.charges)


def trickled(shop: Workshop, count: int) -> None:
    """Drop so many sets, one each 5 seconds."""
    for number in range(count):
        shop.drop_set(f"late-{number}")
        shop.ticks(10, step_seconds=0.5)


def test_what_piled_up_in_a_pause_is_a_crowd(tmp_path: Path) -> None:
    """Sets that came one by one while the service was paused come all at once when it goes on, and wait for approval."""
    with working(tmp_path, budget={"hold_above_sets": 2}, intake={"rescan_seconds": 4}) as (shop, vendor):
        shop.idle()
        assert shop.command("pause")["ok"]
        trickled(shop, 8)
        assert shop.command("resume")["ok"]
        shop.idle()
        assert (vendor.charges, shop.jobs()) == (0, [])
        assert "8 sets wait for approval: more than 2 came at once" in shop.status()
        assert shop.command("approve", folder=None)["ok"]
        shop.idle()
        assert vendor.charges == 8


def test_as_many_as_allowed_may_pile_up_in_a_pause(tmp_path: Path) -> None:
    """They go on by themselves."""
    with working(tmp_path, budget={"hold_above_sets": 2}, intake={"rescan_seconds": 4}) as (shop, vendor):
        shop.idle()
        assert shop.command("pause")["ok"]
        trickled(shop, 2)
        shop.ticks(20, step_seconds=1)
        assert shop.command("resume")["ok"]
        shop.idle()
        assert vendor.charges == 2


def test_what_piled_up_before_an_empty_account_is_a_crowd(tmp_path: Path) -> None:
    """While nothing can be sent, and there is no room for more: what was taken goes on, what came after that waits."""
    limits = {"hold_above_sets": 2}
    with working(
        tmp_path, budget=limits, intake={"rescan_seconds": 4}, api={"max_in_flight": 1}, balance=Decimal("0.25")
    ) as (shop, vendor):
        shop.idle()
        trickled(shop, 8)
        taken = len(shop.jobs())
        assert taken == 2
        vendor.emulator.pay_in(Decimal(50))
        shop.ticks(10, step_seconds=30)
        shop.idle()
        assert vendor.charges == taken
        assert "6 sets wait for approval" in shop.status()


@pytest.mark.parametrize("how", ["sidecars", "names", "folders"])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_crowd_under_other_names_still_waits(tmp_path: Path, how: str, restarted: bool) -> None:
    """Sidecars that name its files, or renames, come one by one, each longer after the last than a rescan: nobody has approved."""
    with working(tmp_path, budget={"hold_above_sets": 2}) as (shop, vendor):
        dropped(shop, 4)
        shop.ticks(8, step_seconds=1)
        shop.rest()
        if restarted:
            shop.restart()
            shop.ticks(2, step_seconds=1)
        names = sorted({path.stem for path in shop.path("inbox").glob("*.obj")})
        for name in names:
            if how == "sidecars":
                shop.drop(f"new-{name}.toml", f'model = "{name}.obj"\nimage = "{name}.png"\nseed = 1\n'.encode())
            else:
                place = shop.path(f"inbox/new-{name}") if how == "folders" else shop.path("inbox")
                place.mkdir(exist_ok=True)
                for extension in ("obj", "png"):
                    shop.path(f"inbox/{name}.{extension}").rename(place / f"new-{name}.{extension}")
            shop.ticks(6, step_seconds=1)
            shop.rest()
        shop.idle()
        assert len(names) == 4
        assert vendor.uploads == 0
        assert "4 sets wait for approval" in shop.status()
        shop.drop_set("another")
        shop.until(shop.is_in("another", State.ARCHIVED))
        assert shop.command("approve")["ok"]
        shop.until(lambda: vendor.charges_in_all == 5)


def test_sets_that_come_one_by_one_pass(tmp_path: Path) -> None:
    """Many sets over a long time are no crowd, also while they wait for their turn."""
    with working(tmp_path, budget={"hold_above_sets": 1}) as (shop, vendor):
        for number in range(3):
            shop.drop_set(f"set-{number}")
            shop.ticks(6, step_seconds=1)
        shop.idle()
        assert vendor.charges == 3
        assert shop.event_kinds() == []


def test_what_had_passed_is_not_asked_about_after_a_restart(tmp_path: Path) -> None:
    """Sets that wait for their turn are no new crowd when the service starts again."""
    with working(
        tmp_path, "empty-jobs", budget={"hold_above_sets": 1}, api={"max_in_flight": 1}, intake={"rescan_seconds": 1}
    ) as (shop, _):
        for number in range(7):
            shop.drop_set(f"set-{number}")
            shop.ticks(6, step_seconds=1)
        waiting = len(shop.found("inbox"))
        assert waiting >= 4
        shop.restart()
        shop.ticks(10, step_seconds=1)
        assert "approval" not in shop.status()
        assert "crowd" not in shop.event_kinds()


def test_a_set_that_is_refused_waits_for_nobody(tmp_path: Path) -> None:
    """It costs nothing: its report comes at once."""
    with working(tmp_path, budget={"hold_above_sets": 0}) as (shop, vendor):
        shop.drop_set("chair", "seed = -1\n")
        shop.drop_set("good")
        shop.idle()
        assert shop.states() == {"chair": State.FAILED}
        assert f"good: {Turn.APPROVAL}" in shop.status()
        assert vendor.charges == 0


@pytest.mark.parametrize("name", ["with\nline", b"\xff-not-utf-8".decode("utf-8", "surrogateescape")])
def test_odd_names_can_be_approved(tmp_path: Path, name: str) -> None:
    """By the name as STATUS.txt shows it."""
    with working(tmp_path, budget={"hold_above_sets": 0}) as (shop, vendor):
        shop.drop_set(f"{name}/chair")
        shop.idle()
        shown = next(line for line in shop.status().splitlines() if "chair: complete" in line)
        assert shop.command("approve", folder=shown.strip().partition("/")[0])["ok"]
        shop.idle()
        assert vendor.charges == 1


def test_sets_that_came_after_somebody_looked_are_not_approved(tmp_path: Path) -> None:
    """Approval is for what was there then; what came later is said to wait, and needs another one."""
    with working(tmp_path, budget={"hold_above_sets": 0}) as (shop, vendor):
        dropped(shop, 2)
        shop.idle()
        seen = shop.seen("approve", {})
        dropped(shop, 3, "later")
        shop.idle()
        told = shop.command("approve", folder=None, **seen)["message"]
        assert told == (
            "Approved 2 sets in the inbox. 3 sets in the inbox came or changed since you looked, and wait for approval."
        )
        shop.idle()
        assert vendor.charges == 2
        refused = shop.command("approve", folder="later", **seen)
        assert not refused["ok"]
        assert refused["message"].startswith(
            "3 sets in “later” came or changed since you looked, and wait for approval."
        )
        assert shop.command("approve", folder="later")["ok"]
        shop.idle()
        assert vendor.charges == 5


def test_files_that_were_replaced_after_somebody_looked_are_not_approved(tmp_path: Path) -> None:
    """The name is the same, the set is another one; also when it is replaced while nobody serves."""
    with working(tmp_path, budget={"hold_above_sets": 0}) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        seen = shop.seen("approve", {})
        shop.restart(lambda: shop.drop("chair.obj", model("another chair")))
        shop.idle()
        refused = shop.command("approve", folder=None, **seen)
        assert "1 set in the inbox came or changed since you looked, and waits for approval." in refused["message"]
        shop.idle()
        assert (shop.jobs(), vendor.charges) == ([], 0)
        assert shop.command("approve", folder=None)["ok"]
        shop.idle()
        assert vendor.charges == 1


def test_new_sets_under_approved_names_are_a_crowd_of_their_own(tmp_path: Path) -> None:
    """An approval is used up by the sets that it was given for, also while they wait for their turn."""
    with working(tmp_path, "empty-jobs", budget={"hold_above_sets": 2}, api={"max_in_flight": 1}) as (shop, vendor):
        dropped(shop, 12)
        shop.ticks(10, step_seconds=1)
        assert shop.command("approve", folder=None)["ok"]
        for _ in range(5):  # what is taken now is taken wholly before anybody looks
            shop.ticks(1, step_seconds=1)
            shop.rest()
        waiting = {name.partition(".")[0] for name in shop.found("inbox")}
        assert len(waiting) > 3
        for name in waiting:
            shop.drop(f"{name}.obj", model(f"another {name}"))
        shop.ticks(20, step_seconds=1)
        assert {name.partition(".")[0] for name in shop.found("inbox")} == waiting
        assert "wait for approval" in shop.status()
        assert vendor.charges <= 12 - len(waiting)


def test_a_restart_gives_no_second_window(tmp_path: Path) -> None:
    """What was taken within the window stands in the journal: sets before and after a start are one crowd."""
    with working(tmp_path, budget={"hold_above_sets": 3}, intake={"rescan_seconds": 600}) as (shop, vendor):
        dropped(shop, 3, "one")
        shop.daemon.parts.reception.wake()
        shop.until(lambda: vendor.charges == 3)
        shop.restart()
        dropped(shop, 3, "two")
        shop.ticks(20, step_seconds=0.5)
        shop.idle()
        assert vendor.charges == 3
        assert "3 sets wait for approval" in shop.status()


def test_held_sets_that_were_away_for_a_look_are_still_held(tmp_path: Path) -> None:
    """Moved out and in again after the window, also across a start, they wait for approval as before; outside they do not."""
    with working(tmp_path / "root", budget={"hold_above_sets": 2}, intake={"rescan_seconds": 10}) as (shop, vendor):
        dropped(shop, 4, "crowd")
        shop.ticks(4, step_seconds=1)
        assert "4 sets wait for approval" in shop.status()
        inside, outside = shop.path("inbox/crowd"), tmp_path / "outside"
        for restart in (False, True):
            inside.rename(outside)
            shop.daemon.parts.reception.wake()
            shop.ticks(9, step_seconds=1)
            assert ("approval" in shop.status(), shop.daemon.needs_person()) == (False, False)
            if restart:
                shop.restart()
            outside.rename(inside)
            shop.daemon.parts.reception.wake()
            shop.ticks(12, step_seconds=1)
            assert "4 sets wait for approval" in shop.status()
        assert (shop.jobs(), vendor.charges) == ([], 0)
        assert shop.command("approve", folder="crowd")["ok"]
        shop.idle()
        assert vendor.charges == 4


@pytest.mark.parametrize("limit", [0, 2])
def test_held_sets_that_were_not_whole_for_a_while_are_still_held(tmp_path: Path, limit: int) -> None:
    """A folder's preset with a misspelt word makes its sets wait for something else; when it is mended they wait for approval."""
    with working(tmp_path, budget={"hold_above_sets": limit}, intake={"rescan_seconds": 10}) as (shop, vendor):
        dropped(shop, 4, "crowd")
        shop.ticks(4, step_seconds=1)
        assert "4 sets wait for approval" in shop.status()
        preset = shop.drop("crowd/_folder.toml", b'resolution = "Hihg"\n')
        shop.daemon.parts.reception.wake()
        shop.ticks(9, step_seconds=1)
        assert "wait for approval" not in shop.status()
        preset.write_text('resolution = "High"\n')
        shop.daemon.parts.reception.wake()
        shop.ticks(12, step_seconds=1)
        assert (shop.jobs(), vendor.charges) == ([], 0)
        assert "4 sets wait for approval" in shop.status()


def test_a_limit_that_is_taken_away_leaves_nothing_held(tmp_path: Path) -> None:
    """All goes on; a set of the same name that comes when there is a limit again is no held one."""
    with working(tmp_path, budget={"hold_above_sets": 0}) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        shop.config = with_limit(shop.config, None)
        shop.restart()
        shop.idle()
        assert vendor.charges == 1
        shop.config = with_limit(shop.config, 1)
        shop.restart()
        shop.drop("chair.obj", model("another chair"))
        shop.drop("chair.png", image("another chair"))
        shop.idle()
        assert vendor.charges == 2


def test_a_notice_ends_with_its_cause_while_the_service_is_paused(tmp_path: Path) -> None:
    """A set waits for another day, then somebody takes it away: the page does not go on speaking of it."""
    with working(tmp_path, budget={"per_day_credits": 0.5}) as (shop, _):
        shop.drop_set("first")
        shop.idle()
        shop.drop_set("second")
        shop.idle()
        assert "waits for another day" in shop.status()
        shop.command("pause")
        for name in ("second.obj", "second.png"):
            (shop.root / "inbox" / name).unlink(missing_ok=True)
        shop.until(lambda: "waits for another day" not in shop.status())
