"""Rodin Generation: one to five images, or a text alone, make a model; through the real daemon and the emulated vendor."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from workshop import Vendor, Workshop, glb, image, model, working

from rodin_watchd.core.kinds import GENERATE, article
from rodin_watchd.core.options import declared, text_of
from rodin_watchd.model import OptionValue, State

GENERATES = b'kind = "generate"\n'
UNUSUAL: dict[str, OptionValue] = {
    "prompt": "worn oak",
    "seed": 3,
    "geometry_file_format": "obj",
    "material": "Shaded",
    "tier": "Sketch",
    "quality": "high",
    "mesh_mode": "Quad",
    "bbox_condition": "[10, 20, 30]",
    "use_original_alpha": True,
    "addons": "HighPack",
}


def preset(shop: Workshop, folder: str = "generate", text: bytes = GENERATES) -> None:
    """Make a drop folder for new models."""
    shop.drop(f"{folder}/_folder.toml", text)
    shop.dropped.pop()


def charged(vendor: Vendor) -> list[Decimal]:
    """Return what the vendor took for each order."""
    return [Decimal(row["credits"]) for row in vendor.emulator.ledger()["charges"]]


@pytest.mark.parametrize("with_toml", [False, True])
def test_an_image_in_a_folder_for_new_models_is_a_set(tmp_path: Path, with_toml: bool) -> None:
    """One purchase by list, the model and a receipt in the outbox, the image in the archive; everybody knows the kind."""
    with working(tmp_path) as (shop, vendor):
        preset(shop)
        shop.drop("generate/chair.png", image("chair"))
        if with_toml:
            shop.drop("generate/chair.toml", b"seed = 7\n")
        shop.idle()
        [job] = shop.jobs()
        assert (job.name, job.folder, job.kind, job.state) == ("chair", "generate", "generate", State.ARCHIVED)
        assert {"base_basic_pbr.glb", "job.toml"} <= {Path(name).name for name in shop.found("outbox/generate/chair")}
        receipt = tomllib.loads(shop.path("outbox/generate/chair/job.toml").read_text())
        assert (receipt["job"]["kind"], receipt["job"]["credits"]) == ("generate", 0.5)
        assert "chair.png" in shop.found("archive/generate/chair")
        assert "generate/chair: new model: delivered" in shop.status()
        [charge] = vendor.emulator.ledger()["charges"]
        assert charge["model_sha256"] is None
        assert charge["options"] == ({"seed": "7"} if with_toml else {})


def test_an_image_elsewhere_waits_for_its_model(tmp_path: Path) -> None:
    """No kind is ever guessed."""
    with working(tmp_path) as (shop, vendor):
        shop.drop("chair.png", image("chair"))
        shop.drop("oak/table.png", image("table"))
        shop.idle()
        assert (shop.jobs(), charged(vendor)) == ([], [])
        assert "waits for a model file" in shop.status()


def test_every_option_of_a_new_model_reaches_the_vendor(tmp_path: Path) -> None:
    """By a sidecar, with values that are not the defaults; what it costs by them is booked, and the receipt says all."""
    assert set(UNUSUAL) == set(declared(GENERATE.options))
    lines = [f"{key} = {str(v).lower() if isinstance(v, bool | int) else repr(v)}" for key, v in UNUSUAL.items()]
    with working(tmp_path) as (shop, vendor):
        shop.drop("chair.png", image("chair"))
        shop.drop("chair.toml", GENERATES + "\n".join(lines).encode())
        shop.idle()
        ledger = vendor.emulator.ledger()
        [charge] = ledger["charges"]
        assert charge["options"] == {key: text_of(value) for key, value in UNUSUAL.items()}
        assert ledger["unknown_parts"] == []
        receipt = tomllib.loads(shop.path("outbox/chair/job.toml").read_text())
        assert receipt["options"] == UNUSUAL
        assert charged(vendor) == [Decimal("1.5")] == [job.spent for job in shop.jobs()]
        assert shop.store.spent_since(0) == {"": Decimal("1.5")}
        assert shop.store.price(article("generate", {})) == Decimal("0.5"), "the dear one says nothing of the others"
        assert shop.store.price(article("texture", {})) == Decimal("0.5")


def test_several_images_by_sidecar_or_by_folder(tmp_path: Path) -> None:
    """Named in a TOML file; or one sub-folder of a folder for new models; each is one purchase."""
    with working(tmp_path) as (shop, vendor):
        preset(shop)
        for side in ("front", "back", "left"):
            shop.drop(f"{side}.png", image(side))
            shop.drop(f"generate/table/{side}.png", image(f"table {side}"))
        shop.drop("chair.toml", GENERATES + b'images = ["front.png", "back.png", "left.png"]\n')
        shop.idle()
        jobs = {job.name: job for job in shop.jobs()}
        assert {name: (job.folder, len(job.files), job.state) for name, job in jobs.items()} == {
            "chair": ("", 4, State.ARCHIVED),
            "table": ("generate", 3, State.ARCHIVED),
        }
        assert charged(vendor) == [Decimal("0.5")] * 2
        assert not shop.path("inbox/generate/table").exists()


@pytest.mark.parametrize("text", [b'prompt = "a red dragon"\n', b'prompt = "a red dragon"\nimages = []\n'])
def test_a_text_alone_makes_a_model(tmp_path: Path, text: bytes) -> None:
    """A TOML file with a prompt, and nothing else; dropped once more it is the same purchase."""
    with working(tmp_path) as (shop, vendor):
        shop.drop("dragon.toml", GENERATES + text)
        shop.idle()
        assert shop.states() == {"dragon": State.ARCHIVED}
        shop.drop("other.toml", GENERATES + b'prompt = " a  red dragon"\n')
        shop.idle()
        assert shop.states() == {"dragon": State.ARCHIVED, "other": State.FAILED}
        assert charged(vendor) == [Decimal("0.5")]
        assert "was not made into a model" in shop.path("failed/other/REPORT.txt").read_text()


def test_the_order_and_the_names_of_images_do_not_count(tmp_path: Path) -> None:
    """The same images in another order, under other names, are the same purchase; one of them alone is another."""
    with working(tmp_path) as (shop, vendor):
        preset(shop)
        for name, word in (("chair/a", "x"), ("chair/b", "y")):
            shop.drop(f"generate/{name}.png", image(word))
        shop.idle()
        for name, word in (("again/a", "y"), ("again/b", "x"), ("one", "x")):
            shop.drop(f"generate/{name}.png", image(word))
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "again": State.FAILED, "one": State.ARCHIVED}
        assert len(charged(vendor)) == 2


def test_a_generated_model_may_be_textured(tmp_path: Path) -> None:
    """With an image of the artist's, the one that it was made of included: that is a purchase of another kind."""
    with working(tmp_path) as (shop, vendor):
        preset(shop)
        shop.drop("generate/chair.png", image("chair"))
        shop.idle()
        made = shop.path("outbox/generate/chair/base_basic_pbr.glb").read_bytes()
        shop.drop("oak.glb", made)
        shop.drop("oak.png", image("oak"))
        shop.idle()
        shop.drop("same.glb", made)
        shop.drop("same.png", image("chair"))
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "oak": State.ARCHIVED, "same": State.ARCHIVED}
        assert len(charged(vendor)) == 3


def test_results_are_not_bought_again_without_end(tmp_path: Path) -> None:
    """A result with its own picture is no set of an artist's, nor is the picture one for a new model; `again` buys it."""
    with working(tmp_path) as (shop, vendor):
        preset(shop)
        shop.drop("generate/chair.png", image("chair"))
        shop.idle()
        files = {
            name: shop.path(f"outbox/generate/chair/{name}").read_bytes()
            for name in ("base_basic_pbr.glb", "preview.webp")
        }
        shop.drop("copy/base_basic_pbr.glb", files["base_basic_pbr.glb"])
        shop.drop("copy/preview.webp", files["preview.webp"])
        shop.drop("generate/picture.webp", files["preview.webp"])
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "copy": State.FAILED, "picture": State.FAILED}
        assert "This model is a result of this service" in shop.path("failed/copy/REPORT.txt").read_text()
        assert "All images of this set are results" in shop.path("failed/generate/picture/REPORT.txt").read_text()
        assert len(charged(vendor)) == 1
        shop.drop("generate/wanted.webp", files["preview.webp"])
        shop.drop("generate/wanted.toml", b"again = true\n")
        shop.idle()
        assert (shop.states()["wanted"], len(charged(vendor))) == (State.ARCHIVED, 2)


def test_a_sidecar_can_ask_for_a_texture_in_a_folder_for_new_models(tmp_path: Path) -> None:
    """The nearest word wins; a model in that folder waits for somebody's word, and is not bought by its image alone."""
    with working(tmp_path) as (shop, vendor):
        preset(shop)
        shop.drop("generate/chair.obj", model("chair"))
        shop.drop("generate/chair.png", image("chair"))
        shop.idle()
        assert (shop.jobs(), charged(vendor)) == ([], [])
        assert "is not made of a model" in shop.status()
        shop.drop("generate/chair.toml", b'kind = "texture"\n')
        shop.idle()
        assert [(job.kind, job.state) for job in shop.jobs()] == [("texture", State.ARCHIVED)]


def test_a_box_is_a_list_and_is_checked_before_it_is_sent(tmp_path: Path) -> None:
    """As a list, or as the text that a receipt shows, it is one purchase; a malformed one is refused: the vendor answers it with 500."""
    with working(tmp_path) as (shop, vendor):
        preset(shop)
        wrong = (
            b"[10, 20]",
            b"[10, 20, 0]",
            b"[10, 20, 2.5]",
            b"[true, 1, 1]",
            b'"10, 20, 30"',
            b"10",
            b"[9999999, 1, 1]",
        )
        for name, box in [*enumerate(wrong), ("list", b"[10, 20, 30]")]:
            shop.drop(f"generate/{name}.png", image(str(name)))
            shop.drop(f"generate/{name}.toml", b"bbox_condition = " + box + b"\n")
        shop.idle()
        states = shop.states()
        assert states.pop("list") is State.ARCHIVED
        assert states == {str(number): State.FAILED for number in range(len(wrong))}
        assert "three whole numbers" in shop.path("failed/generate/0/REPORT.txt").read_text()
        shop.drop("generate/text.png", image("list"))
        shop.drop("generate/text.toml", b'bbox_condition = "[10,20,30]"\n')
        shop.idle()
        assert shop.states()["text"] is State.FAILED
        [charge] = vendor.emulator.ledger()["charges"]
        assert charge["options"] == {"bbox_condition": "[10, 20, 30]"}


def test_what_is_not_one_set_in_a_sub_folder_waits(tmp_path: Path) -> None:
    """Six images are none, nor are images beside a model: which belong together is never guessed."""
    with working(tmp_path) as (shop, vendor):
        preset(shop)
        for number in range(6):
            shop.drop(f"generate/six/{number}.png", image(str(number)))
        shop.drop("generate/mixed/a.png", image("a"))
        shop.drop("generate/mixed/b.glb", glb("b"))
        shop.idle()
        assert (shop.jobs(), charged(vendor)) == ([], [])
        waiting = [line for line in shop.status().splitlines() if line.startswith("  generate/")]
        assert [line.partition(":")[0] for line in waiting] == ["  generate/mixed", "  generate/six"], (
            "one line a folder"
        )
        assert "one set, which is at most 5 images and at most one TOML file: it holds 6 images" in waiting[1]
        assert "take “b.glb” away" in waiting[0]
        assert "it holds 1 image and 1 model" in waiting[0]
        shop.path("inbox/generate/six/5.png").unlink()
        shop.idle()
        assert shop.states() == {"six": State.ARCHIVED}


def test_wrong_words_are_refused_with_the_reason(tmp_path: Path) -> None:
    """An option of the other kind, in a sidecar whose kind its folder says; six images that are named; nothing is paid."""
    with working(tmp_path) as (shop, vendor):
        preset(shop)
        shop.drop("generate/a.png", image("a"))
        shop.drop("generate/a.toml", b'resolution = "High"\n')
        shop.drop("b.obj", model("b"))
        shop.drop("b.png", image("b"))
        shop.drop("b.toml", b'material = "All"\n')
        shop.idle()
        assert shop.states() == {"a": State.FAILED, "b": State.FAILED}
        assert (
            'generate/a.toml: resolution: this is for kind = "texture"'
            in shop.path("failed/generate/a/REPORT.txt").read_text()
        )
        assert 'a texture takes one of "PBR", "Shaded"' in shop.path("failed/b/REPORT.txt").read_text()
        assert charged(vendor) == []


@pytest.mark.parametrize(
    "text",
    [
        b'kind = "generate"\npromt = "oak"\n',
        b'kind = "genrate"\n',
        b"kind = generate\n",
    ],
)
def test_a_mistake_in_a_preset_holds_back_all_sets_of_its_folder(tmp_path: Path, text: bytes) -> None:
    """Nobody knows what is to be made there: whole sets, single images and wrong ones wait with that reason, until it is corrected."""
    with working(tmp_path) as (shop, vendor):
        preset(shop, text=text)
        shop.drop("generate/chair.png", image("chair"))
        shop.drop("generate/table.obj", model("table"))
        shop.drop("generate/table.png", image("table"))
        shop.drop("generate/vase/a.png", image("vase a"))
        shop.drop("generate/vase/A.png", image("vase b"))
        shop.drop("generate/dragon.toml", b'prompt = "a red dragon"\n')
        shop.idle()
        assert (shop.jobs(), charged(vendor)) == ([], [])
        waiting = shop.status().partition("Waiting in the inbox")[2].partition("Running")[0]
        sets = [line for line in waiting.splitlines() if line.startswith("  generate/")]
        assert len(sets) > 3
        assert all(
            "the settings of its folder must be corrected first: generate/_folder.toml line" in line for line in sets
        )
        shop.drop("generate/_folder.toml", GENERATES)
        shop.dropped.pop()
        shop.path("inbox/generate/table.obj").unlink()
        shop.idle()
        made = {job.name: (job.kind, job.state) for job in shop.jobs()}
        assert made == dict.fromkeys(("chair", "table", "vase", "dragon"), ("generate", State.ARCHIVED))


def test_a_mistake_in_a_sidecar_says_nothing_of_files_that_are_missing(tmp_path: Path) -> None:
    """Which files a set needs depends on its kind: where that is misspelt, the page says what to correct, and no more."""
    with working(tmp_path) as (shop, vendor):
        shop.drop("chair.png", image("chair"))
        shop.drop("chair.toml", b'kind = "genrate"\n')
        shop.idle()
        [line] = [line for line in shop.status().splitlines() if line.startswith("  chair:")]
        assert "must be corrected before anything is taken" in line
        assert "a model file" not in line
        shop.drop("chair.toml", GENERATES)
        shop.dropped.pop()
        shop.idle()
        assert (shop.states(), charged(vendor)) == ({"chair": State.ARCHIVED}, [Decimal("0.5")])


def test_presets_and_defaults_give_each_kind_what_it_has(tmp_path: Path) -> None:
    """An option that a kind does not have is left out there; nothing is refused for what somebody said of other sets."""
    with working(tmp_path, defaults={"resolution": "High", "seed": 5}) as (shop, vendor):
        preset(shop, "all", b'escore = 2.0\nprompt = "oak"\n')
        preset(shop, "all/new")
        shop.drop("all/new/chair.png", image("chair"))
        shop.drop("all/table.obj", model("table"))
        shop.drop("all/table.png", image("table"))
        shop.idle()
        options = {job.name: dict(job.options) for job in shop.jobs()}
        assert options["chair"] == {"seed": 5, "prompt": "oak"}
        assert options["table"] == {"seed": 5, "prompt": "oak", "resolution": "High", "escore": 2.0}
        assert len(charged(vendor)) == 2


def test_a_budget_that_is_too_small_for_a_dear_set_lets_the_others_go(tmp_path: Path) -> None:
    """HighPack costs 1.5: it waits for another day, visibly, while what costs 0.5 is bought."""
    with working(tmp_path, budget={"per_day_credits": 1}) as (shop, vendor):
        preset(shop)
        shop.drop("generate/dear.png", image("dear"))
        shop.drop("generate/dear.toml", b'addons = "HighPack"\n')
        shop.drop("generate/cheap.png", image("cheap"))
        shop.drop_set("table")
        shop.ticks(400, step_seconds=0.5)
        assert {n for n, state in shop.states().items() if state is State.ARCHIVED} == {"cheap", "table"}
        assert charged(vendor) == [Decimal("0.5")] * 2
        assert "budget" in shop.status()


def test_an_account_that_cannot_pay_a_dear_set_says_so(tmp_path: Path) -> None:
    """With one credit left the others are bought; then the page says what the next one costs, and it goes on when it is paid."""
    with working(tmp_path, balance=Decimal("1.25")) as (shop, vendor):
        preset(shop)
        shop.drop("generate/dear.png", image("dear"))
        shop.drop("generate/dear.toml", b'addons = "HighPack"\n')
        shop.ticks(200, step_seconds=0.5)
        assert "has too little: 1.25 credits, a new model costs 1.5 credits" in shop.status()
        assert charged(vendor) == []
        vendor.emulator.pay_in(Decimal(1))
        shop.ticks(2000, step_seconds=1.0)
        shop.idle()
        assert charged(vendor) == [Decimal("1.5")]


def test_a_lost_answer_is_never_sent_again_on_its_own(tmp_path: Path) -> None:
    """Whatever is made of a set: the job is held for a person, with what it may have cost by its own price."""
    with working(tmp_path, "lost-answer@1") as (shop, vendor):
        preset(shop)
        shop.drop("generate/chair.png", image("chair"))
        shop.drop("generate/chair.toml", b'addons = "HighPack"\n')
        shop.until(shop.is_in("chair", State.HELD))
        shop.ticks(10, step_seconds=1.0)
        assert "perhaps 1.5 credits, if the vendor accepted the last try" in shop.status()
        assert len(charged(vendor)) == 1


def test_results_come_late_or_as_several_models(tmp_path: Path) -> None:
    """A list that is empty or in part is asked for again; all models of a result are delivered."""
    with working(tmp_path, "empty-list@1", "partial-list@2") as (shop, vendor):
        preset(shop)
        shop.drop("generate/chair.png", image("chair"))
        shop.drop("generate/chair.toml", b'material = "All"\n')
        shop.idle()
        names = {Path(name).name for name in shop.found("outbox/generate/chair")}
        assert {"base_basic_pbr.glb", "base_basic_shaded.glb"} <= names
        assert len(charged(vendor)) == 1
