"""The content ledger: the same model, image and options are paid for once, whatever happened to the files meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from workshop import SAMPLES, Vendor, Workshop, glb, image, model, working

from rodin_watchd.core.layout import MARK
from rodin_watchd.model import State


def copied(shop: Workshop, source: str, name: str) -> None:
    """Drop the files of an archived or failed set under a name."""
    for path in sorted(shop.path(source).iterdir()):
        if path.suffix in (".obj", ".png") or path.name == "chair.toml":
            shop.drop(f"{name}{path.suffix}", path.read_bytes())


def renamed(shop: Workshop) -> str:
    """Drop it again under another name, in another folder."""
    copied(shop, "archive/chair", "elsewhere/stool")
    return "stool"


def touched(shop: Workshop) -> str:
    """Drop it again with other times."""
    copied(shop, "archive/chair", "chair")
    for path in shop.path("inbox").iterdir():
        os.utime(path, (1e9, 1e9))
    return "chair"


def restored(shop: Workshop) -> str:
    """Move the very files back from the archive, as a restored backup would, times and all."""
    for path in sorted(shop.path("archive/chair").iterdir()):
        if path.suffix != ".toml":
            shop.dropped.append(path.read_bytes())
            shutil.move(path, shop.path("inbox"))
    return "chair"


def remounted(shop: Workshop) -> str:
    """Have the whole inbox replaced by a copy with other inodes, as another mount shows it, while the service stands."""
    copied(shop, "archive/chair", "chair")
    old, new = shop.path("inbox"), shop.path("inbox-again")

    def remount() -> None:
        shutil.copytree(old, new, dirs_exist_ok=True)
        for path in list(old.iterdir()):
            path.unlink()
        for path in list(new.iterdir()):
            path.rename(old / path.name)
        new.rmdir()

    shop.restart(remount)
    return "chair"


def decomposed(shop: Workshop) -> str:
    """Drop it again under a name with accents, as a Mac stores it, in a folder with others."""
    copied(shop, "archive/chair", "Bu\u0308ro/Stu\u0308hle")
    return "Stu\u0308hle"


def spelled_out(shop: Workshop) -> str:
    """Drop it again with a sidecar that says what holds anyway."""
    copied(shop, "archive/chair", "plain")
    shop.drop("plain.toml", b'material = "PBR"\nresolution = "Basic"\ngeometry_file_format = "glb"\n')
    return "plain"


@pytest.mark.parametrize("drop_again", [renamed, decomposed, touched, restored, remounted, spelled_out])
def test_an_identical_set_is_refused_with_the_place_of_the_result(
    shop: Workshop, vendor: Vendor, drop_again: Callable[[Workshop], str]
) -> None:
    """Renamed, touched, restored, remounted: its report names the earlier result, and nothing is sent."""
    shop.drop_set("chair")
    shop.idle()
    first = shop.job("chair")
    name = drop_again(shop)
    shop.idle()
    [second] = [job for job in shop.jobs() if job.id != first.id]
    assert (second.name, second.state, second.charges) == (name, State.FAILED, 0)
    report = shop.path(f"{second.place}/REPORT.txt").read_text()
    assert f"were delivered before: look in outbox/chair (job {first.id})" in report
    assert "again = true" in report
    assert "What it cost:   no credits." in report
    assert (vendor.charges, vendor.uploads) == (1, 1)
    shop.assert_nothing_lost()


def test_again_pays_again(shop: Workshop, vendor: Vendor) -> None:
    """`again = true` in the sidecar is an order of its own, and only this one."""
    shop.drop_set("chair")
    shop.idle()
    copied(shop, "archive/chair", "again")
    shop.drop("again.toml", b"again = true\n")
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED, "again": State.ARCHIVED}
    copied(shop, "archive/chair", "third")
    shop.idle()
    assert shop.states()["third"] is State.FAILED
    assert vendor.charges_in_all == len({r["task_uuid"] for r in vendor.emulator.ledger()["charges"]})
    assert sum(job.charges for job in shop.jobs()) == 2


def test_again_waits_for_the_one_that_is_being_worked_on(tmp_path: Path) -> None:
    """Two live jobs of one content would be mixed up: refused for now, and its report says how to pay for it later."""
    with working(tmp_path, "empty-jobs=3") as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.SUBMITTED))
        shop.drop("twin.obj", model("chair"))
        shop.drop("twin.png", image("chair"))
        shop.drop("twin.toml", b"again = true\n")
        shop.until(shop.is_in("twin", State.FAILED))
        assert f"are in progress already (job {shop.job('chair').id})" in shop.report("twin")
        assert f"`rodin-watchd retry {shop.job('twin').id}` pays for this set as well" in shop.report("twin")
        shop.idle()
        assert shop.command("retry", job="twin")["ok"]
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "twin": State.ARCHIVED}
        assert vendor.charges_in_all == 2


@pytest.mark.parametrize("change", ["model", "image", "options"])
def test_another_content_is_another_purchase(shop: Workshop, vendor: Vendor, change: str) -> None:
    """A byte of the model, of the image, or one option: bought."""
    shop.drop_set("chair")
    shop.idle()
    shop.drop("other.obj", model("other" if change == "model" else "chair"))
    shop.drop("other.png", image("other" if change == "image" else "chair"))
    if change == "options":
        shop.drop("other.toml", b"seed = 4\n")
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED, "other": State.ARCHIVED}
    assert vendor.charges == 2


def test_a_failed_set_that_cost_nothing_is_free_to_go(tmp_path: Path) -> None:
    """By `retry`, and by dropping it again: what was not charged counts for nothing."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1", "submit-error=INVALID_REQUEST@2") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        copied(shop, "failed/chair", "stool")
        shop.idle()
        assert shop.states() == {"chair": State.FAILED, "stool": State.FAILED}
        assert "INVALID_REQUEST" in shop.report("stool")
        assert shop.command("retry", job="chair")["ok"]
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "stool": State.FAILED}
        refused = shop.command("retry", job="stool")
        assert refused["ok"]
        shop.idle()
        assert "were delivered before: look in outbox/chair" in shop.report("stool")
        assert vendor.charges == 1


def test_a_set_whose_paid_task_failed_is_not_paid_again_by_dropping_it(tmp_path: Path) -> None:
    """A synchronising program that puts the files back must not pay for each try; `again = true` does."""
    with working(tmp_path, "failed-job@1") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        copied(shop, "failed/chair", "stool")
        shop.idle()
        assert "were paid for before, without a result: see failed/chair" in shop.report("stool")
        assert "again = true" in shop.report("stool")
        copied(shop, "failed/chair", "third")
        shop.drop("third.toml", b"again = true\n")
        shop.idle()
        assert shop.states() == {"chair": State.FAILED, "stool": State.FAILED, "third": State.ARCHIVED}
        assert vendor.charges_in_all == 2


def test_a_canceled_paid_set_that_is_dropped_again_is_fetched_by_retry(shop: Workshop, vendor: Vendor) -> None:
    """Its result was paid for: the report of the second says how to get it, free of charge."""
    shop.drop_set("chair")
    shop.until(lambda: shop.is_in("chair", State.SUBMITTED)() or shop.is_in("chair", State.GENERATED)())
    assert shop.command("cancel", job="chair")["ok"]
    shop.idle()
    copied(shop, "failed/chair", "stool")
    shop.idle()
    assert f"`rodin-watchd retry {shop.job('chair').id}` fetches that result, free of charge" in shop.report("stool")
    assert shop.command("retry", job="chair")["ok"]
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED, "stool": State.FAILED}
    assert vendor.charges == 1


def test_a_set_of_unknown_outcome_is_not_sent_again_by_dropping_it(tmp_path: Path) -> None:
    """While it is held, and after it was given up: it may have been charged."""
    with working(tmp_path, "lost-answer@1") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        shop.drop("stool.obj", model("chair"))
        shop.drop("stool.png", image("chair"))
        shop.idle()
        assert "are held for a person's decision" in shop.report("stool")
        assert shop.command("resolve", job="chair", how="give-up")["ok"]
        shop.idle()
        copied(shop, "failed/chair", "third")
        shop.idle()
        assert "may have been paid for before: the answer was lost, see failed/chair" in shop.report("third")
        assert vendor.charges == vendor.uploads == 1
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        shop.idle()
        assert shop.states()["chair"] is State.ARCHIVED
        assert vendor.charges_in_all == 2


def test_a_job_that_is_taken_up_again_keeps_its_claim_on_the_content(shop: Workshop, vendor: Vendor) -> None:
    """Dropped at the moment of a free retry, the same content is not bought a second time."""
    shop.drop_set("chair")
    shop.until(lambda: shop.is_in("chair", State.SUBMITTED)() or shop.is_in("chair", State.GENERATED)())
    assert shop.command("cancel", job="chair")["ok"]
    shop.idle()
    copied(shop, "failed/chair", "stool")
    shop.ticks(6, step_seconds=1)
    assert shop.command("retry", job="chair")["ok"]
    shop.idle()
    assert shop.states()["stool"] is State.FAILED
    assert vendor.charges == 1


def test_a_person_who_pays_again_is_not_refused_for_a_twin(tmp_path: Path) -> None:
    """`retry --pay-again` is as good as `again = true`."""
    with working(tmp_path, "failed-job@1") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        copied(shop, "failed/chair", "twin")
        shop.drop("twin.toml", b"again = true\n")
        shop.idle()
        assert shop.states() == {"chair": State.FAILED, "twin": State.ARCHIVED}
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "twin": State.ARCHIVED}
        assert vendor.charges_in_all == 3


UNFIT = """from rodin_watchd.v1 import hookimpl


@hookimpl
def rodin_process(job, directory, settings):
    raise ValueError("no")
"""

DICE = """import random

from rodin_watchd.v1 import hookimpl


@hookimpl
def rodin_options(job, options, settings):
    return {"seed": random.randrange(65536)}
"""


def plugin(root: Path, name: str, text: str) -> str:
    """Write a plugin, and return the folder that it is found in."""
    folder = root / "own-plugins"
    folder.mkdir(parents=True, mode=0o755)
    (folder / f"{name}.py").write_text(text)
    return str(folder)


def test_a_program_that_copies_failed_into_the_inbox_buys_nothing(tmp_path: Path) -> None:
    """A failed set brings the results that were paid for: they are no new set, in whatever round they come back."""
    plugins = {"folders": [plugin(tmp_path, "unfit", UNFIT)], "tries": 1, "unfit": {"required": True}}
    with working(tmp_path, plugins=plugins) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle(step_seconds=5)
        assert "chair/results/base_basic_pbr.glb" in shop.found("failed")
        for _ in range(3):
            for path in sorted(shop.path("failed").rglob("*")):
                if path.is_file() and path.name != MARK:
                    shop.drop(str(path.relative_to(shop.path("failed"))), path.read_bytes())
            shop.idle(step_seconds=5)
        assert vendor.charges == 1
        assert "a result that was paid for" in shop.status()


@pytest.mark.parametrize(("required", "place"), [(False, "outbox/stool"), (True, "failed/stool")])
def test_a_model_of_the_services_own_is_textured_again_only_if_a_person_says_so(
    tmp_path: Path, required: bool, place: str
) -> None:
    """Without its report or receipt, under another name and with another picture: the journal knows what came out."""
    plugins = {"folders": [plugin(tmp_path, "unfit", UNFIT)], "tries": 1, "unfit": {"required": required}}
    with working(tmp_path, plugins=plugins) as (shop, vendor):
        shop.drop_set("stool")
        shop.idle(step_seconds=5)
        result = next(shop.path(place).rglob("base_basic_pbr.glb")).read_bytes()
        shop.drop("new.glb", result)
        shop.drop("new.png", image("another"))
        shop.idle(step_seconds=5)
        assert vendor.charges == 1
        assert f"This model is a result of this service: {place}" in shop.report("new")
        assert "`again = true`" in shop.report("new")
        shop.drop("wanted.glb", result)
        shop.drop("wanted.png", image("another"))
        shop.drop("wanted.toml", b"again = true\n")
        shop.idle(step_seconds=5)
        assert vendor.charges == 2


def test_options_that_a_plugin_throws_dice_for_make_no_other_purchase(tmp_path: Path) -> None:
    """What was dropped is compared as well: the same set, dropped again and again, is bought once; `again` buys it once more."""
    plugins = {"folders": [plugin(tmp_path, "dice", DICE)]}
    with working(tmp_path, plugins=plugins) as (shop, vendor):
        for _ in range(3):
            shop.drop_set("chair")
            shop.idle()
        assert vendor.charges == 1
        for name in ("one", "two"):
            shop.drop(f"{name}.obj", model("chair"))
            shop.drop(f"{name}.png", image("chair"))
            shop.drop(f"{name}.toml", b"again = true\n")
            shop.idle()
        assert vendor.charges == 2
        shop.drop_set("bench")
        shop.drop("other.obj", model("bench"))
        shop.drop("other.png", image("bench"))
        shop.idle()
        assert vendor.charges == 3


def test_refusals_of_what_a_plugin_varies_count_together(tmp_path: Path) -> None:
    """A set whose options change at each try is not sent for ever: what may have been charged is bounded by what was dropped."""
    plugins = {"folders": [plugin(tmp_path, "dice", DICE)]}
    with working(tmp_path, "charged-400", plugins=plugins) as (shop, vendor):
        for _ in range(4):
            shop.drop_set("chair")
            shop.idle()
        assert vendor.charges <= 2


def two_of(extension: str, data: bytes) -> Callable[[Workshop], None]:
    """Return what drops a set with one file too many."""

    def drop(shop: Workshop) -> None:
        shop.drop_set("chair", RIGHT)
        shop.drop(f"chair.{extension}", data)

    return drop


def with_sidecar(text: str) -> Callable[[Workshop], None]:
    """Return what drops a set with this TOML file."""
    return lambda shop: shop.drop_set("chair", text)


def with_bad_model(shop: Workshop) -> None:
    """Drop a set whose model is none."""
    shop.drop("chair.glb", b"this is no model")
    shop.drop("chair.png", image("chair"))
    shop.drop("chair.toml", RIGHT.encode())


RIGHT = "seed = 7\n"

REFUSED_AT_THE_LOOK = {
    "two models": two_of("glb", glb("chair")),
    "two images": two_of("jpg", (SAMPLES / "matcap-b.jpg").read_bytes()),
    "misspelt": with_sidecar("sed = 7\n"),
    "no such plugin": with_sidecar(f"{RIGHT}[plugins.shots]\n"),
    "no model": with_bad_model,
}


@pytest.mark.parametrize("drop", REFUSED_AT_THE_LOOK.values(), ids=list(REFUSED_AT_THE_LOOK))
def test_a_set_that_was_refused_unread_is_not_retried(
    shop: Workshop, vendor: Vendor, drop: Callable[[Workshop], None]
) -> None:
    """Its options and its choice of files were never understood: it has to be dropped again, and is bought once as it says."""
    drop(shop)
    shop.idle()
    shop.hands.seconds += 600
    shop.idle()
    for words in ({}, {"pay_again": True}):
        answer = shop.command("retry", job="chair", **words)
        assert not answer["ok"]
        assert "failed/chair" in answer["message"]
        assert "drop the set into the inbox again" in answer["message"]
    shop.idle()
    failed = shop.job("chair")
    assert (failed.state, failed.retries, vendor.charges) == (State.FAILED, 0, 0)
    shop.drop_set("chair", RIGHT)
    shop.idle()
    [charge] = vendor.emulator.ledger()["charges"][-1:]
    assert (vendor.charges, charge["options"]["seed"]) == (1, "7")
    shop.assert_nothing_lost()
