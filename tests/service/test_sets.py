"""Sets of all kinds, from the inbox to the outbox: what is taken with what, with which options, and how often it is paid."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from workshop import QUIET_SECONDS, START_AT, Vendor, Workshop, image, model, working, workshop

from rodin_watchd.model import State


def options_of(shop: Workshop, place: str) -> dict[str, object]:
    """Return the options that a receipt names."""
    options: dict[str, object] = tomllib.loads(shop.path(f"outbox/{place}/job.toml").read_text())["options"]
    return options


def test_a_set_by_base_name_goes_through_with_its_sidecar(shop: Workshop, vendor: Vendor) -> None:
    """Model, image and sidecar of one name become a delivery, an archived set and an empty inbox."""
    shop.drop_set("chair", "seed = 7\n")
    shop.idle()
    assert shop.found("inbox") == set()
    assert shop.found("outbox") == {"chair/base_basic_pbr.glb", "chair/preview.webp", "chair/job.toml"}
    assert shop.found("archive") == {"chair/chair.obj", "chair/chair.png", "chair/chair.toml", "chair/job.toml"}
    assert options_of(shop, "chair") == {"seed": 7}
    [charge] = vendor.emulator.ledger()["charges"][-1:]
    assert (vendor.charges, charge["options"]) == (1, {"seed": "7"})
    assert shop.work_folders() == set()


def test_a_set_by_sidecar_takes_the_files_that_it_names(shop: Workshop, vendor: Vendor) -> None:
    """A TOML that names its model and image needs no common name."""
    shop.drop("models/seat.obj", model("seat"))
    shop.drop("images/oak.png", image("oak"))
    shop.drop("order.toml", b'model = "models/seat.obj"\nimage = "images/oak.png"\nmaterial = "Shaded"\n')
    shop.idle()
    assert shop.found("outbox") == {"order/base_basic_shaded.glb", "order/preview.webp", "order/job.toml"}
    assert shop.found("archive") == {"order/seat.obj", "order/oak.png", "order/order.toml", "order/job.toml"}
    assert options_of(shop, "order") == {"material": "Shaded"}
    assert vendor.charges == 1


def test_a_set_by_folder_takes_the_folder_with_it(shop: Workshop, vendor: Vendor) -> None:
    """A sub-folder with one model and one image is a set of the folder's name; the emptied folder goes."""
    shop.drop("lamp/body.obj", model("lamp"))
    shop.drop("lamp/reference.png", image("lamp"))
    shop.drop("lamp/wishes.toml", b"seed = 1\n")
    shop.idle()
    assert shop.found("archive") == {"lamp/body.obj", "lamp/reference.png", "lamp/wishes.toml", "lamp/job.toml"}
    assert not shop.path("inbox/lamp").exists()
    assert options_of(shop, "lamp") == {"seed": 1}
    assert vendor.charges == 1


def test_sub_folders_are_mirrored(shop: Workshop) -> None:
    """What comes from a sub-folder of the inbox goes to the same sub-folder of the others, delivered or failed."""
    shop.drop_set("a/b/chair")
    shop.drop("a/c/broken.glb", b"nonsense" * 20)
    shop.drop("a/c/broken.png", image("x"))
    shop.idle()
    assert shop.path("outbox/a/b/chair/base_basic_pbr.glb").exists()
    assert shop.path("archive/a/b/chair/chair.obj").exists()
    assert shop.path("failed/a/c/broken/REPORT.txt").exists()
    assert "a/b/chair: delivered to outbox/a/b/chair" in shop.status()
    shop.assert_nothing_lost()


def test_several_sidecars_share_one_image(shop: Workshop, vendor: Vendor) -> None:
    """A shared file is copied for all sets but the last, which moves it; each set is paid for once, nothing is lost."""
    shop.drop("oak.png", image("oak"))
    for word in ("one", "two", "three"):
        shop.drop(f"{word}.obj", model(word))
        shop.drop(f"{word}.toml", b'image = "oak.png"\n')
    shop.idle()
    assert shop.states() == dict.fromkeys(("one", "two", "three"), State.ARCHIVED)
    assert shop.found("inbox") == set()
    for word in ("one", "two", "three"):
        assert shop.path(f"archive/{word}/oak.png").read_bytes() == image("oak")
    assert vendor.charges == 3
    shop.assert_nothing_lost()


def test_a_shared_image_stays_while_a_set_that_names_it_is_incomplete(shop: Workshop, vendor: Vendor) -> None:
    """The image is not taken away from a sidecar whose model has not come yet."""
    shop.drop("oak.png", image("oak"))
    shop.drop("one.obj", model("one"))
    shop.drop("one.toml", b'image = "oak.png"\n')
    shop.drop("two.toml", b'image = "oak.png"\n')
    shop.idle()
    assert shop.states() == {"one": State.ARCHIVED}
    assert shop.path("inbox/oak.png").read_bytes() == image("oak")
    shop.drop("two.obj", model("two"))
    shop.idle()
    assert shop.states() == {"one": State.ARCHIVED, "two": State.ARCHIVED}
    assert shop.found("inbox") == set()
    assert vendor.charges == 2
    shop.assert_nothing_lost()


def test_presets_are_layered(tmp_path: Path, vendor: Vendor) -> None:
    """Config, outer preset, inner preset, sidecar: the later one wins, key by key; a preset stays where it is."""
    defaults = {"seed": 1, "material": "Shaded", "resolution": "High", "prompt": "config"}
    with workshop(tmp_path, vendor.emulator.base_url, defaults=defaults) as shop:
        shop.drop("_folder.toml", b'seed = 2\nmaterial = "PBR"\nprompt = "outer"\n')
        shop.drop("deep/_Folder.TOML", b'seed = 3\nprompt = "inner"\n')
        shop.drop_set("deep/chair", 'prompt = "mine"\n')
        shop.idle()
        wanted = {"prompt": "mine", "seed": 3, "material": "PBR", "resolution": "High"}
        assert options_of(shop, "deep/chair") == wanted
        assert shop.found("inbox") == {"_folder.toml", "deep/_Folder.TOML"}


def test_a_preset_that_is_still_being_written_holds_its_folder_back(shop: Workshop) -> None:
    """A half-written preset may parse and lack a line: nothing is paid for with it before it is settled."""
    shop.drop_set("deep/chair")
    shop.until(lambda: shop.hands.seconds >= QUIET_SECONDS - 0.5)
    preset = shop.drop("deep/_folder.toml", b"seed = 4\n")
    shop.until(lambda: "_folder.toml”, are still being copied" in shop.status())
    preset.write_bytes(b'seed = 4\nmaterial = "Shaded"\n')
    shop.idle()
    assert options_of(shop, "deep/chair") == {"seed": 4, "material": "Shaded"}


def test_a_broken_preset_holds_up_its_own_folder_only(shop: Workshop) -> None:
    """Sets under a preset with a mistake wait, STATUS.txt names the line, and mending it is enough."""
    preset = shop.drop("deep/_folder.toml", b"\nsead = 4\n")
    shop.drop_set("deep/chair")
    shop.drop_set("good")
    shop.idle()
    assert shop.states() == {"good": State.ARCHIVED}
    assert "the settings of its folder must be corrected first" in shop.status()
    assert "line 2" in shop.status()
    preset.write_bytes(b"seed = 4\n")
    shop.idle()
    assert options_of(shop, "deep/chair") == {"seed": 4}


def test_an_identical_set_is_refused_with_the_place_of_the_result(shop: Workshop, vendor: Vendor) -> None:
    """The same model, image and options under another name are not paid again, and the report says where the result is."""
    shop.drop_set("chair")
    shop.idle()
    shop.drop("stool.obj", model("chair"))
    shop.drop("stool.png", image("chair"))
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED, "stool": State.FAILED}
    assert "were delivered before: look in outbox/chair" in shop.report("stool")
    assert "again = true" in shop.report("stool")
    assert (vendor.charges, vendor.uploads) == (1, 1)


def test_two_identical_sets_at_once_are_paid_once(shop: Workshop, vendor: Vendor) -> None:
    """Of two equal sets that are taken in the same moment one is delivered and one refused."""
    for name in ("one", "two"):
        shop.drop(f"{name}.obj", model("same"))
        shop.drop(f"{name}.png", image("same"))
    shop.idle()
    assert sorted(shop.states().values()) == [State.ARCHIVED, State.FAILED]
    [refused] = [name for name, state in shop.states().items() if state is State.FAILED]
    assert "in progress already" in shop.report(refused)
    assert vendor.charges == 1
    shop.assert_nothing_lost()


def test_other_options_or_again_pay_again(tmp_path: Path) -> None:
    """Other options make another purchase, and `again = true` says that paying again is meant."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        for name, sidecar in (("other", b"seed = 3\n"), ("twin", b"again = true\n")):
            shop.drop(f"{name}.obj", model("chair"))
            shop.drop(f"{name}.png", image("chair"))
            shop.drop(f"{name}.toml", sidecar)
            shop.idle()
        assert set(shop.states().values()) == {State.ARCHIVED}
        ledger = vendor.emulator.ledger()
        assert (len(ledger["charges"]), ledger["charged_again"]) == (3, 1)


def test_a_name_that_is_taken_is_never_overwritten(shop: Workshop) -> None:
    """A folder of the same name in the outbox keeps its content; the new result gets the job's id added."""
    theirs = shop.path("outbox/chair/base_basic_pbr.glb")
    theirs.parent.mkdir()
    theirs.write_bytes(b"somebody's own")
    shop.drop_set("chair")
    shop.idle()
    assert theirs.read_bytes() == b"somebody's own"
    job = shop.job("chair")
    assert job.place == f"outbox/chair-{job.id[:6]}"
    assert shop.path(f"{job.place}/base_basic_pbr.glb").exists()


@pytest.mark.parametrize("late_seconds", [2.5, 4.0])
def test_a_late_sidecar_is_used(tmp_path: Path, vendor: Vendor, late_seconds: float) -> None:
    """A complete model and image wait `sidecar_wait_seconds` for options that may still come."""
    with workshop(tmp_path, vendor.emulator.base_url, intake={"sidecar_wait_seconds": 5}) as shop:
        shop.drop("chair.obj", model("chair"))
        shop.drop("chair.png", image("chair"))
        shop.until(lambda: shop.hands.seconds >= late_seconds, step_seconds=0.5)
        assert shop.jobs() == []
        assert "waits a moment for a TOML file" in shop.status()
        shop.drop("chair.toml", b"seed = 11\n")
        shop.idle()
        assert options_of(shop, "chair") == {"seed": 11}


def test_a_set_without_a_sidecar_goes_on_after_the_wait(tmp_path: Path, vendor: Vendor) -> None:
    """The wait for a sidecar ends by itself, and not before its time."""
    with workshop(tmp_path, vendor.emulator.base_url, intake={"sidecar_wait_seconds": 5}) as shop:
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.ARCHIVED))
        assert shop.job("chair").created_at == START_AT + 5.0


def test_a_required_sidecar_is_waited_for_without_end(tmp_path: Path, vendor: Vendor) -> None:
    """With `intake.sidecar = "required"` nothing is taken without one, STATUS.txt says so, and the service is idle."""
    with workshop(tmp_path, vendor.emulator.base_url, intake={"sidecar": "required"}) as shop:
        shop.drop("chair.obj", model("chair"))
        shop.drop("chair.png", image("chair"))
        shop.ticks(10, step_seconds=600)
        assert shop.daemon.is_idle()
        assert "chair: waits for “chair.toml”" in shop.status()
        shop.drop("chair.toml", b"")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}


def test_an_incomplete_set_waits_visibly_and_is_never_moved(shop: Workshop) -> None:
    """A lonely model stays for ever; after `pair_minutes` STATUS.txt asks whether the rest is still coming."""
    shop.drop("chair.obj", model("chair"))
    shop.idle()
    assert "chair: waits for an image file of the name “chair”" in shop.status()
    assert "Is it still coming?" not in shop.status()
    shop.ticks(2, step_seconds=301)
    assert "Is it still coming?" in shop.status()
    assert shop.daemon.is_idle()
    assert shop.found("inbox") == {"chair.obj"}
    shop.drop("chair.png", image("chair"))
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}


@pytest.mark.parametrize("name", ["job", "report"])
def test_a_sidecar_called_like_a_receipt_is_neither_paid_nor_overwritten(
    shop: Workshop, vendor: Vendor, name: str
) -> None:
    """It waits, visibly, until it has another name; then its options count and it lies in the archive as it was."""
    shop.drop_set(name, "# precious\nseed = 79\n")
    shop.idle()
    assert vendor.charges == 0
    assert f"another name for “{name}.toml”" in shop.status()
    for extension in ("obj", "png", "toml"):
        (shop.root / "inbox" / f"{name}.{extension}").rename(shop.root / "inbox" / f"chair.{extension}")
    shop.idle()
    assert vendor.charges == 1
    assert (shop.root / "archive" / "chair" / "chair.toml").read_bytes() == b"# precious\nseed = 79\n"
