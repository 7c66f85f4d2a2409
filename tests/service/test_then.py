"""A generated model that goes on as a texture: two jobs, two receipts, two purchases, each once; through the real daemon."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from workshop import Vendor, Workshop, glb, image, model, working

from rodin_watchd.core.layout import HIDDEN
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.model import Job, State

S = State
THEN = b'kind = "generate"\nthen = "texture"\n'
ALL = {"chair": S.ARCHIVED, "chair-texture": S.ARCHIVED}
ALONG = (S.CLAIMED, S.UPLOADING, S.SUBMITTED, S.GENERATED, S.DOWNLOADED, S.PROCESSED, S.DELIVERED)


def sha256(data: bytes) -> str:
    """Return what the ledgers know a file by."""
    return hashlib.sha256(data).hexdigest()


def drop_chair(shop: Workshop, more: bytes = b"", name: str = "chair") -> None:
    """Drop an image whose new model is to be textured."""
    shop.drop(f"{name}.png", image(name))
    shop.drop(f"{name}.toml", THEN + more)


def charges(vendor: Vendor) -> list[Any]:
    """Return what the vendor has charged, oldest first."""
    return list(vendor.emulator.ledger()["charges"])


def receipt(shop: Workshop, place: str) -> dict[str, Any]:
    """Return what a receipt says of its job."""
    return dict(tomllib.loads(shop.path(f"{place}/job.toml").read_text())["job"])


def two(shop: Workshop) -> tuple[Job, Job]:
    """Return the only two jobs: the first, and the one that follows it."""
    first, second = sorted(shop.jobs(), key=lambda job: job.follows)
    assert first.then
    assert (second.id, second.follows) == (first.then.job_id, first.id)
    return first, second


def test_a_new_model_goes_on_as_a_texture(tmp_path: Path) -> None:
    """Both are delivered, each with its receipt, which names the other; the texture is of the very model and image."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop, b'[texture]\nresolution = "High"\nprompt = "oak"\n')
        shop.idle()
        first, second = two(shop)
        assert shop.states() == ALL
        assert receipt(shop, "outbox/chair")["then"] == receipt(shop, "outbox/chair-texture")["id"] == second.id
        assert receipt(shop, "outbox/chair-texture")["follows"] == receipt(shop, "archive/chair")["id"] == first.id
        made = shop.path("outbox/chair/base_basic_pbr.glb").read_bytes()
        generated, textured = charges(vendor)
        assert (generated["model_sha256"], generated["options"]) == (None, {})
        assert (textured["model_sha256"], textured["image_sha256"]) == (sha256(made), sha256(image("chair")))
        assert textured["options"] == {"resolution": "High", "prompt": "oak"}
        assert shop.found("archive") == {
            *(f"chair-texture/{name}" for name in ("base_basic_pbr.glb", "chair.png", "job.toml")),
            *(f"chair/{name}" for name in ("chair.png", "chair.toml", "job.toml")),
        }
        assert (shop.work_folders(), shop.found("inbox"), shop.found("failed")) == (set(), set(), set())
        assert [job.spent for job in (first, second)] == [Decimal("0.5")] * 2
        assert f"Then: texture, as job {second.id}" in shop.told("show", first.id)
        assert f"Follows: job {first.id}" in shop.told("show", second.id)
        shop.assert_nothing_lost()


@pytest.mark.parametrize("named", ['images = ["chair.png"]', 'image = "chair.png"'])
def test_another_image_travels_with_the_set(tmp_path: Path, named: str) -> None:
    """It is awaited, is no image of the new model, and is the one of the texture; it ends in the archive with both."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop, f'then_image = "looks/oak.png"\n{named}\n'.encode())
        shop.idle()
        assert (shop.jobs(), "“looks/oak.png”" in shop.status()) == ([], True)
        shop.drop("looks/oak.png", image("oak"))
        shop.idle()
        assert shop.states() == ALL
        generated, textured = charges(vendor)
        assert generated["image_sha256"] == sha256(image("chair"))
        assert textured["image_sha256"] == sha256(image("oak"))
        assert shop.path("archive/chair/oak.png").read_bytes() == image("oak")
        assert shop.path("archive/chair-texture/oak.png").read_bytes() == image("oak")
        assert shop.found("inbox") == set()


def test_one_of_several_images_may_be_the_one_that_goes_on(tmp_path: Path) -> None:
    """Named as then_image; without that it is the first of the set."""
    with working(tmp_path) as (shop, vendor):
        for side in ("front", "back"):
            shop.drop(f"{side}.png", image(side))
        shop.drop("chair.toml", THEN + b'images = ["front.png", "back.png"]\nthen_image = "back.png"\n')
        shop.idle()
        assert shop.states() == ALL
        assert charges(vendor)[1]["image_sha256"] == sha256(image("back"))
        for side in ("front", "side"):
            shop.drop(f"{side}.png", image(f"other {side}"))
        shop.drop("table.toml", THEN + b'images = ["side.png", "front.png"]\n')
        shop.idle()
        assert charges(vendor)[3]["image_sha256"] == sha256(image("other side"))


def test_a_text_alone_goes_on_with_an_image(tmp_path: Path) -> None:
    """The image is not sent for the new model."""
    with working(tmp_path) as (shop, vendor):
        shop.drop("oak.png", image("oak"))
        shop.drop("dragon.toml", THEN + b'prompt = "a dragon"\nimages = []\nthen_image = "oak.png"\n')
        shop.idle()
        assert shop.states() == {"dragon": S.ARCHIVED, "dragon-texture": S.ARCHIVED}
        generated, textured = charges(vendor)
        assert generated["options"] == {"prompt": "a dragon"}
        assert (textured["image_sha256"], textured["options"]) == (sha256(image("oak")), {})


def test_a_preset_asks_for_all_sets_of_its_folder(tmp_path: Path) -> None:
    """With options for what follows, over those of the configuration, and under those of a set's own file."""
    with working(tmp_path, defaults={"resolution": "High", "seed": 3}) as (shop, vendor):
        shop.drop("new/_folder.toml", THEN + b"[texture]\nseed = 5\nescore = 2.0\n")
        shop.drop("new/chair.png", image("chair"))
        shop.drop("new/chair.toml", b"[texture]\nseed = 7\n")
        shop.idle()
        assert shop.states() == ALL
        assert charges(vendor)[0]["options"] == {"seed": "3"}
        assert charges(vendor)[1]["options"] == {"resolution": "High", "seed": "7", "escore": "2"}


WRONG = {
    'kind = "generate"\nthen = "texture"\n\n[texture]\nresolution = "Huge"\n': "line 5: texture.resolution must be one of",
    'kind = "generate"\nthen = "texture"\n[texture]\ntier = "x"\n': "line 4: texture.tier: unknown key",
    'kind = "generate"\nthen = "generate"\n': "line 2: then must be",
    'then = "texture"\n': 'then: this is for kind = "generate"',
    'kind = "texture"\n[texture]\nseed = 1\n': 'line 2: texture: this is for kind = "generate"',
    'kind = "generate"\n[texture]\nseed = 1\n': '[texture]: this is for then = "texture"',
    'kind = "generate"\nimage = "chair.png"\nthen_image = "chair.png"\n': "then_image: this is for a set with then",
    'kind = "generate"\nthen = "texture"\nthen_image = "chair.png"\n': "line 3: then_image: name the images",
    'kind = "generate"\nthen = "texture"\nthen_image = "../chair.png"\nimages = []\nprompt = "x"\n': "line 3: then_image: ",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_words_are_refused_before_anything_is_paid(tmp_path: Path, text: str) -> None:
    """At the drop, with what is allowed, and the line where a line alone is wrong."""
    with working(tmp_path) as (shop, vendor):
        shop.drop("chair.png", image("chair"))
        if "generate" not in text:
            shop.drop("chair.obj", model("chair"))
        shop.drop("chair.toml", text.encode())
        shop.idle()
        assert shop.states() == {"chair": S.FAILED}
        assert WRONG[text] in shop.report("chair")
        assert charges(vendor) == []
        assert shop.path("failed/chair/chair.png").exists()


def test_a_text_alone_without_an_image_for_what_follows_is_refused(tmp_path: Path) -> None:
    """There is nothing to texture the model after: nothing is paid."""
    with working(tmp_path) as (shop, vendor):
        shop.drop("dragon.toml", THEN + b'prompt = "a dragon"\n')
        shop.idle()
        assert (shop.states(), charges(vendor)) == ({"dragon": S.FAILED}, [])
        assert 'then_image: with then = "texture" a set without an image names one' in shop.report("dragon")


def test_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """They would be one file in the work folder: nothing is paid."""
    with working(tmp_path) as (shop, vendor):
        shop.drop("one/x.png", image("one"))
        shop.drop("two/x.png", image("two"))
        shop.drop("chair.toml", THEN + b'image = "one/x.png"\nthen_image = "two/x.png"\n')
        shop.idle()
        assert (shop.states(), charges(vendor)) == ({"chair": S.FAILED}, [])
        assert "Several files of this set are called “x.png”" in shop.report("chair")
        shop.assert_nothing_lost()


def test_dropped_again_neither_is_bought_again(tmp_path: Path) -> None:
    """Whatever is asked for after it: the new model is the same purchase; `again` buys one more of each."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        shop.idle()
        drop_chair(shop)
        shop.idle()
        shop.drop("oak.png", image("oak"))
        drop_chair(shop, b'image = "chair.png"\nthen_image = "oak.png"\n')
        shop.idle()
        assert len(charges(vendor)) == 2
        assert sorted(job.state for job in shop.jobs()) == [S.ARCHIVED, S.ARCHIVED, S.FAILED, S.FAILED]
        for _ in range(2):
            drop_chair(shop, b"again = true\n")
            shop.idle()
        assert [charge["model_sha256"] is None for charge in charges(vendor)] == [True, False, True, False]


@pytest.mark.parametrize("state", ALONG)
@pytest.mark.parametrize("which", ["chair", "chair-texture"])
def test_a_crash_in_each_state_of_both_pays_for_each_once(tmp_path: Path, which: str, state: State) -> None:
    """The step's effect was done and not committed; of the hand-over: copied and archived, and no second job known."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        shop.until(shop.is_in(which, state))
        shop.restart()
        assert shop.states()[which] is state
        shop.idle()
        assert shop.states() == ALL
        assert [charge["model_sha256"] is None for charge in charges(vendor)] == [True, False]
        assert shop.found("outbox") == {
            f"{name}/{file}" for name in ALL for file in ("base_basic_pbr.glb", "preview.webp", "job.toml")
        }
        assert (shop.work_folders(), shop.found("failed")) == (set(), set())
        assert "set-aside" not in shop.event_kinds()
        two(shop)


def test_a_crash_after_each_tick_pays_for_each_once(tmp_path: Path) -> None:
    """However often the service dies: at most one purchase of each, and a second one only of a model that was delivered."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        for _ in range(60):
            shop.ticks(1, step_seconds=1)
            if len(shop.states()) == 2 and set(shop.states().values()) <= {S.ARCHIVED, S.HELD}:
                break
            if S.HELD in shop.states().values():
                break
            shop.restart()
        shop.idle()
        assert len(charges(vendor)) <= len(shop.jobs()) <= 2
        assert shop.work_folders() == {job.id for job in shop.jobs() if job.state is S.HELD}


def test_results_and_inputs_that_are_fetched_at_once_are_textured_all_the_same(tmp_path: Path) -> None:
    """Artists empty the outbox and the archive: what goes on was copied before, and the crash between changes nothing."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        shop.until(shop.is_in("chair", S.DELIVERED))
        shop.path("outbox/chair").rename(shop.path("fetched"))
        shop.restart(lambda: shop.path("archive/chair").rename(shop.path("fetched too")))
        shop.drop("base_basic_pbr.glb", glb("of somebody else"))
        shop.idle()
        assert shop.states() == ALL
        assert charges(vendor)[1]["model_sha256"] == sha256(shop.path("fetched/base_basic_pbr.glb").read_bytes())
        assert shop.found("inbox") == {"base_basic_pbr.glb"}


def test_a_work_folder_that_was_cleared_costs_nothing(tmp_path: Path) -> None:
    """What was to go on is gone: the second job fails free of charge, with the reason, and is a job like others."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        shop.until(shop.is_in("chair", S.PROCESSED))
        shop.rest()
        shop.until(shop.is_in("chair", S.DELIVERED))
        shop.crash()
        for folder in (shop.root / HIDDEN / "work").iterdir():
            if folder.is_dir():
                shutil.rmtree(folder)
        shutil.rmtree(shop.path("outbox/chair"))
        shop.start()
        shop.idle()
        assert shop.states()["chair"] is S.ARCHIVED
        assert shop.states()["chair-texture"] is S.FAILED
        assert len(charges(vendor)) == 1
        assert "stays delivered" in shop.report("chair-texture")


def test_a_model_that_is_too_large_is_not_sent(tmp_path: Path) -> None:
    """Free of charge, with the reason; the new model is delivered."""
    noise = io.BytesIO()
    Image.frombytes("RGB", (1024, 1024), os.urandom(3 * 1024 * 1024)).save(noise, "PNG", compress_level=1)
    with working(tmp_path) as (shop, vendor):
        shop.drop("chair.png", noise.getvalue())
        shop.drop("chair.toml", THEN)
        shop.idle()
        assert shop.states() == {"chair": S.ARCHIVED, "chair-texture": S.FAILED}
        assert shop.path("outbox/chair/base_basic_pbr.glb").stat().st_size > 10_000_000
        assert "the vendor accepts models of at most 10,000,000" in shop.report("chair-texture")
        assert len(charges(vendor)) == 1


def test_a_budget_for_one_of_two(tmp_path: Path) -> None:
    """The new model is delivered today; the texture waits, visibly, and is bought tomorrow."""
    with working(tmp_path, budget={"per_day_credits": 0.5}) as (shop, vendor):
        drop_chair(shop)
        shop.idle()
        assert shop.states() == {"chair": S.ARCHIVED, "chair-texture": S.STAGED}
        assert "chair-texture" in shop.status()
        assert "today's budget of 0.5 credits" in shop.status()
        shop.restart()
        shop.idle()
        assert len(charges(vendor)) == 1
        shop.hands.seconds += DAY_SECONDS
        shop.idle()
        assert (shop.states(), len(charges(vendor))) == (ALL, 2)


def test_a_first_job_that_fails_makes_no_second(tmp_path: Path) -> None:
    """Nor does one that is canceled; a retry that works makes it."""
    with working(tmp_path, "failed-job@1") as (shop, vendor):
        drop_chair(shop)
        shop.idle()
        assert shop.states() == {"chair": S.FAILED}
        assert shop.work_folders() == set()
        assert "then" not in shop.report_data("chair")["job"]
        assert shop.command("retry", job=shop.job("chair").id, pay_again=True)["ok"]
        shop.idle()
        assert (shop.states(), len(charges(vendor))) == (ALL, 3)


def test_a_second_job_whose_answer_is_lost_is_held(tmp_path: Path) -> None:
    """It is never sent again on its own, and resolved as others are; the first stays delivered."""
    with working(tmp_path, "lost-answer@2") as (shop, vendor):
        drop_chair(shop)
        shop.until(shop.is_in("chair-texture", S.HELD))
        shop.restart()
        shop.ticks(10, step_seconds=1.0)
        assert shop.states() == {"chair": S.ARCHIVED, "chair-texture": S.HELD}
        assert "chair-texture" in shop.status()
        uuid = charges(vendor)[1]["task_uuid"]
        assert shop.command("resolve", job=shop.job("chair-texture").id, how="task", task=uuid)["ok"]
        shop.idle()
        assert (shop.states(), len(charges(vendor))) == (ALL, 2)


def test_an_older_journal_does_not_buy_what_followed_once_more(tmp_path: Path) -> None:
    """It knows the first job as not delivered yet, and not the second, which was bought: that one waits for a person."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        shop.until(shop.is_in("chair", S.PROCESSED))
        shop.rest()
        copy = shop.copy_of_journal(tmp_path / "copy")
        shop.idle()
        assert len(charges(vendor)) == 2
        shop.restart(shop.put_in_place(copy))
        shop.idle()
        assert len(charges(vendor)) == 2
        assert shop.states().get("chair-texture") in (None, S.FAILED)
        assert shop.states()["chair"] is not S.SUBMITTED
