"""Sets that make several jobs: one goes ahead, all are paid once and delivered together; through the real daemon."""

from __future__ import annotations

import tomllib
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from workshop import Vendor, Workshop, image, model, working

from rodin_watchd.adapters.contact_sheet import TILE_PIXELS, is_ours
from rodin_watchd.adapters.store.backup import backup_path, make_backup
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.core.layout import HIDDEN
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.model import Job, State
from rodin_watchd.web.data import one_set

S = State
ALONG = (S.CLAIMED, S.UPLOADING, S.SUBMITTED, S.GENERATED, S.DOWNLOADED, S.PROCESSED, S.DELIVERED)
FETCHED = (S.GENERATED, S.DOWNLOADED, S.PROCESSED, S.DELIVERED)
SEEDS = b"seeds = [1, 2, 3]\n"


def drop_chair(shop: Workshop, toml: bytes = SEEDS, name: str = "chair") -> None:
    """Drop a set with this TOML file."""
    shop.drop(f"{name}.obj", model(name.rpartition("/")[2]))
    shop.drop(f"{name}.png", image(name.rpartition("/")[2]))
    shop.drop(f"{name}.toml", toml)


def bought(vendor: Vendor, option: str = "seed") -> Counter[str | None]:
    """Return how often each value of an option was charged."""
    return Counter(charge["options"].get(option) for charge in vendor.emulator.ledger()["charges"])


def by_label(shop: Workshop) -> dict[str, State]:
    """Return the states of a set's jobs, by label."""
    return {job.batch.label: job.state for job in shop.jobs() if job.batch}


def labelled(shop: Workshop, label: str) -> Job:
    """Return the only job of this label."""
    [found] = [job for job in shop.jobs() if job.batch and job.batch.label == label]
    return found


def receipt(shop: Workshop, place: str) -> dict[str, Any]:
    """Return what a receipt says of its job."""
    return dict(tomllib.loads(shop.path(f"{place}/job.toml").read_text())["job"])


def folders(shop: Workshop, top: str) -> set[str]:
    """Return the folders that hold files, below a top folder."""
    return {name.rpartition("/")[0] for name in shop.found(top) if not name.endswith("contact-sheet.jpg")}


ALL = {"seed-1": S.ARCHIVED, "seed-2": S.ARCHIVED, "seed-3": S.ARCHIVED}
THREE = {f"chair/{label}" for label in ALL}


def test_seeds_make_as_many_jobs_in_one_folder(tmp_path: Path) -> None:
    """Each is paid once, with its own receipt; each input is in the archive; the journal's words name them as one set."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        shop.idle()
        assert by_label(shop) == ALL
        assert bought(vendor) == {"1": 1, "2": 1, "3": 1}
        assert folders(shop, "outbox") == folders(shop, "archive") == THREE
        first = labelled(shop, "seed-1")
        for label in ALL:
            found = receipt(shop, f"outbox/chair/{label}")
            assert (found["batch"], found["variant"], found["of"], found["set"]) == (first.id, label, 3, "chair")
            assert found["id"] == labelled(shop, label).id
        assert (shop.work_folders(), shop.found("inbox"), shop.found("failed")) == (set(), set(), set())
        told = shop.told("show", labelled(shop, "seed-2").id)
        assert "Of its set: seed-2, of 3" in told
        assert f"Sibling: chair/seed-3: job {labelled(shop, 'seed-3').id}, archived" in told
        with closing(JournalReader(shop.journal)) as journal:
            assert {one_set(job, journal, 0.0)["name"] for job in journal.jobs()} == THREE
        shop.assert_nothing_lost()


def test_a_result_waits_for_the_others_of_its_set(tmp_path: Path) -> None:
    """It says so; all appear together."""
    with working(tmp_path, api={"max_in_flight": 1}) as (shop, _vendor):
        drop_chair(shop)
        shop.until(lambda: by_label(shop).get("seed-1") is S.PROCESSED)
        shop.ticks(5, step_seconds=0.5)
        assert by_label(shop)["seed-1"] is S.PROCESSED
        assert shop.found("outbox") == set()
        shop.until(lambda: "chair/seed-1: ready, waits for" in shop.page())
        assert "of its set" in shop.told("show", labelled(shop, "seed-1").id)
        shop.idle()
        assert by_label(shop) == ALL


def test_a_contact_sheet_shows_all(tmp_path: Path) -> None:
    """It is made again when one comes later; what somebody else has put there, or changed, stays."""
    with working(tmp_path, "failed-job@2") as (shop, _vendor):
        drop_chair(shop)
        shop.idle()
        sheet = shop.path("outbox/chair/contact-sheet.jpg")
        two = sheet.read_bytes()
        assert is_ours(two)
        with Image.open(sheet) as picture:
            assert (picture.format, picture.width > 2 * TILE_PIXELS) == ("JPEG", True)
        [failed] = [label for label, state in by_label(shop).items() if state is S.FAILED]
        assert shop.command("retry", job=labelled(shop, failed).id, pay_again=True)["ok"]
        shop.idle()
        three = sheet.read_bytes()
        assert is_ours(three)
        assert three != two
        for place in ("outbox/chair/contact-sheet.jpg", "outbox/chair", "archive/chair"):
            assert "belongs to a set that makes several jobs" in shop.told("explain", str(shop.path(place)))
        sheet.write_bytes(b"my own")
        drop_chair(shop, b"seed = 1\nagain = true\n", "other")
        shop.idle()
        assert sheet.read_bytes() == b"my own"
        assert {path.name for path in shop.path("outbox/chair").iterdir()} == {*ALL, "contact-sheet.jpg"}


def test_a_folder_that_somebody_has_laid_there_holds_up_no_delivery(tmp_path: Path) -> None:
    """Whatever its receipt says of the set: it is another tile at most."""
    with working(tmp_path, api={"max_in_flight": 1}) as (shop, vendor):
        drop_chair(shop)
        shop.until(lambda: by_label(shop).get("seed-1") is S.PROCESSED)
        shop.path("outbox/chair/mine").mkdir(parents=True)
        shop.path("outbox/chair/mine/job.toml").write_text(
            f'results = []\n[job]\nid = "x"\nretries = 0\nbatch = "{labelled(shop, "seed-1").id}"\nvariant = "a\\nb"\n'
        )
        shop.idle()
        assert by_label(shop) == ALL
        assert is_ours(shop.path("outbox/chair/contact-sheet.jpg").read_bytes())
        assert vendor.charges == 3


def test_a_foreign_file_keeps_its_name(tmp_path: Path) -> None:
    """The set is delivered without its sheet; a link is not followed."""
    with working(tmp_path, api={"max_in_flight": 1}) as (shop, _vendor):
        drop_chair(shop)
        shop.until(lambda: by_label(shop).get("seed-1") is S.PROCESSED)
        shop.path("outbox/chair").mkdir()
        outside = tmp_path / "outside.jpg"
        outside.write_bytes(b"theirs")
        shop.path("outbox/chair/contact-sheet.jpg").symlink_to(outside)
        shop.idle()
        assert by_label(shop) == ALL
        assert outside.read_bytes() == b"theirs"
        assert shop.path("outbox/chair/contact-sheet.jpg").is_symlink()


# ---- which jobs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "labels", "option", "values"),
    [
        (b"variants = 3\n", {"seed-1", "seed-2", "seed-3"}, "seed", {"1", "2", "3"}),
        (b"variants = 2\nseed = 65535\n", {"seed-65535", "seed-0"}, "seed", {"65535", "0"}),
        (b'prompts = ["oak", "steel"]\n', {"prompt-1", "prompt-2"}, "prompt", {"oak", "steel"}),
        (b"seeds = [7]\n", set(), "seed", {"7"}),
        (b"variants = 1\nseed = 9\n", set(), "seed", {"9"}),
        (
            b'prompts = ["oak", "steel"]\nseeds = [4, 2]\n',
            {"prompt-1-seed-4", "prompt-1-seed-2", "prompt-2-seed-4", "prompt-2-seed-2"},
            "seed",
            {"4", "2"},
        ),
    ],
)
def test_lists_make_jobs_and_multiply(
    tmp_path: Path, toml: bytes, labels: set[str], option: str, values: set[str]
) -> None:
    """A list of one is one job like any other."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop, toml)
        shop.idle()
        assert by_label(shop) == dict.fromkeys(labels, S.ARCHIVED)
        assert set(bought(vendor, option)) == values
        assert vendor.charges == max(len(labels), 1)
        assert folders(shop, "outbox") == ({f"chair/{label}" for label in labels} or {"chair"})


def test_several_images_and_models(tmp_path: Path) -> None:
    """Each job is made of one model and one image; the first has the files of all in its archive."""
    with working(tmp_path) as (shop, vendor):
        for name in ("chair", "table"):
            shop.drop(f"{name}.obj", model(name))
        for name in ("oak", "steel"):
            shop.drop(f"{name}.png", image(name))
        shop.drop("hall.toml", b'models = ["chair.obj", "table.obj"]\nimages = ["oak.png", "steel.png"]\n')
        shop.idle()
        labels = {"chair-oak", "chair-steel", "table-oak", "table-steel"}
        assert by_label(shop) == dict.fromkeys(labels, S.ARCHIVED)
        pairs = {(c["model_sha256"], c["image_sha256"]) for c in vendor.emulator.ledger()["charges"]}
        assert (len(pairs), vendor.charges) == (4, 4)
        assert shop.path("archive/hall/table-steel/steel.png").read_bytes() == image("steel")
        assert not shop.path("archive/hall/table-steel/oak.png").exists()
        shop.assert_nothing_lost()


def test_images_of_a_new_model_stay_one_job(tmp_path: Path) -> None:
    """A kind that takes several images takes all of them; seeds multiply it, and each goes on by itself."""
    with working(tmp_path) as (shop, vendor):
        for side in ("front", "back"):
            shop.drop(f"{side}.png", image(side))
        toml = b'kind = "generate"\nthen = "texture"\nimages = ["front.png", "back.png"]\nseeds = [1, 6]\n[texture]\nseed = 5\n'
        shop.drop("chair.toml", toml)
        shop.idle()
        textures = {"chair/seed-1-texture", "chair/seed-6-texture"}
        assert folders(shop, "outbox") | folders(shop, "failed") == {"chair/seed-1", "chair/seed-6"} | textures
        assert (
            len(folders(shop, "failed")) == 1
        )  # the emulator makes one model of both seeds: its texture is one purchase
        assert bought(vendor) == {"1": 1, "6": 1, "5": 1}


def test_prompts_alone_make_models(tmp_path: Path) -> None:
    """Without any file but the TOML file."""
    with working(tmp_path) as (shop, vendor):
        shop.drop("beast.toml", b'kind = "generate"\nimages = []\nprompts = ["a dragon", "a snail"]\n')
        shop.idle()
        assert folders(shop, "outbox") == {"beast/prompt-1", "beast/prompt-2"}
        assert bought(vendor, "prompt") == {"a dragon": 1, "a snail": 1}


WRONG = {
    "seed = 3\nseeds = [1, 2]\n": "line 1: seed: it stands beside seeds; write one of them",
    'prompts = ["a"]\nprompt = "b"\n': "line 2: prompt: it stands beside prompts",
    "seeds = [1, 2]\nvariants = 2\n": "line 2: variants: it stands beside seeds",
    "seeds = [1, 1]\n": "line 1: seeds names something twice",
    'prompts = ["oak", " oak "]\n': "line 1: prompts names something twice",
    "seeds = []\n": "line 1: seeds must be",
    "seeds = [70000]\n": "line 1: seeds must be",
    "variants = 65\n": "line 1: variants must be a whole number from 1 to 64",
    "variants = 33\nprompts = ['a', 'b']\n": "66 jobs: at most 64 are made of one set",
    'model = "chair.obj"\nmodels = ["chair.obj"]\n': "line 1: model: it stands beside models",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_words_are_refused_before_anything_is_paid(tmp_path: Path, text: str) -> None:
    """With what is allowed, and the line where a line alone is wrong."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop, text.encode())
        shop.idle()
        assert (set(shop.states().values()), vendor.charges) == ({S.FAILED}, 0)
        assert WRONG[text] in shop.report("chair")


def test_a_preset_asks_for_all_sets_of_its_folder(tmp_path: Path) -> None:
    """A set's own file goes over it: its seed begins the count, its list replaces that of the folder, one alone is one."""
    with working(tmp_path) as (shop, vendor):
        shop.drop("new/_folder.toml", b'variants = 2\nprompts = ["oak", "steel"]\n')
        shop.drop("new/chair.obj", model("chair"))
        shop.drop("new/chair.png", image("chair"))
        drop_chair(shop, b'seed = 7\nprompt = "tin"\n', "new/table")
        drop_chair(shop, b'variants = 1\nprompts = ["glass"]\n', "new/lamp")
        shop.idle()
        assert folders(shop, "outbox") == {
            *(f"new/chair/prompt-{prompt}-seed-{seed}" for prompt in (1, 2) for seed in (1, 2)),
            *("new/table/seed-7", "new/table/seed-8", "new/lamp"),
        }
        assert bought(vendor, "prompt") == {"oak": 2, "steel": 2, "tin": 2, "glass": 1}


@pytest.mark.parametrize("where", ["_folder.toml", "chair/set.toml"])
def test_a_folder_with_several_images_makes_a_job_of_each(tmp_path: Path, where: str) -> None:
    """When its TOML file or a preset above says so; one with several models waits, and says how."""
    with working(tmp_path) as (shop, vendor):
        shop.drop(where, b'each = "image"\n')
        shop.drop("chair/chair.obj", model("chair"))
        for name in ("chair", "oak", "steel"):
            shop.drop(f"chair/{name}.png", image(name))
        for name in ("hall", "table"):
            shop.drop(f"other/{name}.obj", model(name))
        shop.drop("other/tin.png", image("tin"))
        shop.idle()
        assert by_label(shop) == dict.fromkeys(("chair", "oak", "steel"), S.ARCHIVED)
        assert vendor.charges == 3
        assert folders(shop, "outbox") == {"chair/chair", "chair/oak", "chair/steel"}
        assert 'write the line each = "model" into the TOML file' in shop.told("explain", str(shop.path("inbox/other")))
        shop.drop("other/set.toml", b'each = "model"\nseeds = [1, 2]\n')
        shop.idle()
        assert folders(shop, "outbox") >= {f"other/{name}-seed-{seed}" for name in ("hall", "table") for seed in (1, 2)}
        assert shop.found("inbox") <= {"_folder.toml"}


def test_a_folder_with_too_many_images_waits(tmp_path: Path) -> None:
    """One more than a set makes jobs: nothing is taken or paid."""
    with working(tmp_path) as (shop, vendor):
        shop.drop("_folder.toml", b'each = "image"\n')
        shop.drop("chair/chair.obj", model("chair"))
        for number in range(65):
            shop.drop(f"chair/{number}.png", image("one"))
        shop.idle()
        assert (vendor.charges, shop.jobs()) == (0, [])
        assert "one model, at most 64 images" in shop.told("explain", str(shop.path("inbox/chair")))


def test_hostile_names_make_plain_folders(tmp_path: Path) -> None:
    """Names that differ in case alone, that Windows does not know, and that are kept for receipts and the contact sheet."""
    with working(tmp_path) as (shop, _vendor):
        shop.drop("chair.obj", model("chair"))
        names = ["CON.png", "job.toml.png", "Contact-Sheet.jpg.png", "a/Oak.png", "b/oak.jpeg.png", "x?.png"]
        for name in names:
            shop.drop(name, image(name))
        shop.drop("chair.toml", f"images = {names}\n".encode())
        shop.idle()
        labels = {"_CON", "_job.toml", "_Contact-Sheet.jpg", "Oak", "oak.jpeg", "x_"}
        assert folders(shop, "outbox") == {f"chair/{label}" for label in labels}
        assert is_ours(shop.path("outbox/chair/contact-sheet.jpg").read_bytes())
        assert set(by_label(shop).values()) == {S.ARCHIVED}


# ---- money ----------------------------------------------------------------------------------------------------------


def test_a_budget_short_of_half_a_credit_buys_nothing(tmp_path: Path) -> None:
    """The set waits in the inbox as a whole, and says what it comes to; tomorrow all of it is bought."""
    with working(tmp_path, budget={"per_day_credits": 1.5}) as (shop, vendor):
        shop.drop_set("lamp")
        shop.idle()
        drop_chair(shop)
        shop.idle()
        assert (vendor.charges, shop.work_folders()) == (1, set())
        assert "it makes 3 textures, for 1.5 credits in all" in shop.status()
        assert "It makes 3 textures, for 1.5 credits in all" in shop.told("explain", str(shop.path("inbox/chair.obj")))
        shop.hands.seconds += DAY_SECONDS
        shop.idle()
        assert (by_label(shop), vendor.charges) == (ALL, 4)


def test_what_a_set_was_promised_buys_no_other_set(tmp_path: Path) -> None:
    """From its first purchase on: also over a restart."""
    with working(tmp_path, budget={"per_day_credits": 1.5}, api={"max_in_flight": 1}) as (shop, vendor):
        drop_chair(shop)
        shop.until(lambda: by_label(shop).get("seed-1") is S.SUBMITTED)
        shop.restart()
        shop.drop_set("lamp")
        shop.idle()
        assert by_label(shop) == ALL
        assert vendor.charges == 3
        assert "lamp: complete, waits for another day" in shop.status()


def test_approval_counts_the_jobs_and_holds_the_set(tmp_path: Path) -> None:
    """Held as one, with its price; approved as one."""
    with working(tmp_path, budget={"hold_above_sets": 2}) as (shop, vendor):
        drop_chair(shop)
        shop.idle()
        assert vendor.charges == 0
        assert "approves it; it makes 3 textures, for 1.5 credits in all" in shop.status()
        assert shop.command("approve", folder=None)["ok"]
        shop.idle()
        assert (by_label(shop), vendor.charges) == (ALL, 3)


def test_dropped_again_nothing_is_paid_and_the_report_says_where_all_are(tmp_path: Path) -> None:
    """One report for the set; with `again` each is paid once more."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        shop.idle()
        drop_chair(shop)
        shop.idle()
        assert vendor.charges == 3
        report = " ".join(shop.report("chair").split())
        for label in ALL:
            assert (
                f"{label}: The same model, image and options were delivered before: look in outbox/chair/{label}"
                in report
            )
        drop_chair(shop, SEEDS + b"again = true\n")
        shop.idle()
        assert bought(vendor) == {"1": 2, "2": 2, "3": 2}
        drop_chair(shop, SEEDS + b"again = true\n")
        shop.idle()
        assert vendor.charges_in_all == 6


def test_a_person_who_pays_again_for_a_refused_set_pays_for_each_of_its_jobs(tmp_path: Path) -> None:
    """Once."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        shop.idle()
        drop_chair(shop)
        shop.idle()
        [refused] = [job for job in shop.jobs() if job.state is S.FAILED]
        assert shop.command("retry", job=refused.id, pay_again=True)["ok"]
        shop.idle()
        assert {job.state for job in shop.jobs()} == {S.ARCHIVED}
        assert bought(vendor) == {"1": 2, "2": 2, "3": 2}


@pytest.mark.parametrize("crashes", [False, True])
def test_what_was_bought_before_is_not_bought_again_and_the_others_go_on(tmp_path: Path, *, crashes: bool) -> None:
    """Also where it is the one that would go ahead: the next one does. Its own report says where it is."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop, b"seed = 1\n", "first/chair")
        shop.idle()
        drop_chair(shop)
        if crashes:
            shop.until(lambda: bool(by_label(shop)))
            shop.restart()
            shop.until(lambda: "seed-2" in by_label(shop))
            shop.restart()
        shop.idle()
        assert by_label(shop) == {"seed-1": S.FAILED, "seed-2": S.ARCHIVED, "seed-3": S.ARCHIVED}
        assert bought(vendor) == {"1": 1, "2": 1, "3": 1}
        assert "look in outbox/first/chair" in " ".join(shop.report("chair/seed-1").split())
        assert folders(shop, "outbox") == {"first/chair", "chair/seed-2", "chair/seed-3"}


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def test_one_that_fails_leaves_the_others(tmp_path: Path) -> None:
    """They are delivered; its files are that one job when they are dropped again, and `retry` is about it alone."""
    with working(tmp_path, "failed-job@2") as (shop, vendor):
        drop_chair(shop, SEEDS + b'prompt = "oak"\n[plugins]\n')
        shop.idle()
        [failed] = [label for label, state in by_label(shop).items() if state is S.FAILED]
        assert failed != "seed-1"
        assert folders(shop, "outbox") == {f"chair/{label}" for label in ALL if label != failed}
        assert "was not textured" in shop.report(f"chair/{failed}")
        for name in ("chair.obj", "chair.png", "chair.toml"):
            shop.path(f"failed/chair/{failed}/{name}").rename(shop.path(f"inbox/{name}"))
        shop.path("inbox/chair.toml").write_text(shop.path("inbox/chair.toml").read_text() + "again = true\n")
        shop.idle()
        assert bought(vendor, "prompt") == {"oak": 4}
        assert len(shop.jobs()) == 4


def test_a_failed_one_is_retried_alone(tmp_path: Path) -> None:
    """It comes into the folder of its set."""
    with working(tmp_path, "failed-job@2") as (shop, vendor):
        drop_chair(shop)
        shop.idle()
        [failed] = [label for label, state in by_label(shop).items() if state is S.FAILED]
        assert shop.command("retry", job=labelled(shop, failed).id, pay_again=True)["ok"]
        shop.idle()
        assert (by_label(shop), vendor.charges_in_all) == (ALL, 4)
        assert folders(shop, "outbox") == THREE
        assert not shop.path("failed/chair").exists()


def test_a_first_one_that_fails_at_the_vendor_leaves_the_others(tmp_path: Path) -> None:
    """Its task was accepted, so the others were begun."""
    with working(tmp_path, "failed-job@1") as (shop, vendor):
        drop_chair(shop)
        shop.idle()
        assert by_label(shop) == {**ALL, "seed-1": S.FAILED}
        assert vendor.charges == 3


def test_a_first_one_that_is_held_holds_the_rest(tmp_path: Path) -> None:
    """Nothing else is paid until somebody has decided."""
    with working(tmp_path, "lost-answer@1") as (shop, vendor):
        drop_chair(shop)
        shop.until(lambda: by_label(shop).get("seed-1") is S.HELD)
        shop.restart()
        shop.ticks(10, step_seconds=1.0)
        assert by_label(shop) == {"seed-1": S.HELD}
        uuid = vendor.emulator.ledger()["charges"][0]["task_uuid"]
        assert shop.command("resolve", job=labelled(shop, "seed-1").id, how="task", task=uuid)["ok"]
        shop.idle()
        assert (by_label(shop), vendor.charges) == (ALL, 3)


def test_one_that_is_held_comes_later(tmp_path: Path) -> None:
    """The others are delivered without it."""
    with working(tmp_path, "lost-answer@3", balance=Decimal(100), fresh=True) as (shop, vendor):
        drop_chair(shop)
        shop.until(lambda: list(by_label(shop).values()).count(S.ARCHIVED) == 2)
        [held] = [job for job in shop.jobs() if job.state is S.HELD]
        seed = str(held.options["seed"])
        [uuid] = [one["task_uuid"] for one in vendor.emulator.ledger()["charges"] if one["options"]["seed"] == seed]
        assert shop.command("resolve", job=held.id, how="task", task=uuid)["ok"]
        shop.idle()
        assert (by_label(shop), vendor.charges) == (ALL, 3)
        assert folders(shop, "outbox") == THREE


def test_a_set_that_is_canceled_early_is_one_set(tmp_path: Path) -> None:
    """Nothing was paid; a retry makes all of it."""
    with working(tmp_path) as (shop, vendor):
        with shop.without_workers():
            drop_chair(shop)
            shop.until(lambda: bool(shop.jobs()))
            assert shop.command("cancel", job=shop.job("chair").id)["ok"]
        shop.idle()
        assert (by_label(shop), vendor.charges) == ({"seed-1": S.FAILED}, 0)
        assert folders(shop, "failed") == {"chair"}
        assert shop.command("retry", job=shop.job("chair").id)["ok"]
        shop.idle()
        assert (by_label(shop), vendor.charges) == (ALL, 3)
        assert folders(shop, "outbox") == THREE
        assert shop.found("failed") == set()


def test_two_sets_of_one_name_have_a_folder_each(tmp_path: Path) -> None:
    """At the same time, and one after the other; a single set of that name goes into neither."""
    with working(tmp_path) as (shop, vendor):
        shop.drop("chair/chair.obj", model("one"))
        shop.drop("chair/chair.png", image("one"))
        shop.drop("chair/chair.toml", SEEDS)
        drop_chair(shop)
        shop.idle()
        drop_chair(shop, b"seed = 9\n")
        shop.idle()
        assert vendor.charges == 7
        found = Counter(len(folder.split("/")) for folder in folders(shop, "outbox"))
        assert found[1] == 1
        names = {folder.rpartition("/")[0] for folder in folders(shop, "outbox")} - {""}
        assert len(names) >= 2
        for name in names:
            ids = {
                receipt(shop, f"outbox/{folder}")["batch"]
                for folder in folders(shop, "outbox")
                if folder.startswith(f"{name}/seed")
            }
            assert len(ids) == 1


@pytest.mark.parametrize("state", ALONG)
@pytest.mark.parametrize("label", ["seed-1", "seed-3"])
def test_a_crash_in_each_state_pays_for_each_once(tmp_path: Path, label: str, state: State) -> None:
    """The step's effect was done and not committed; of the spread: copied, and no other job known."""
    with working(tmp_path, api={"max_in_flight": 1}) as (shop, vendor):
        drop_chair(shop)
        if state in FETCHED:  # its place is free, and the crash is not to come into the submit of the next one
            shop.until(lambda: by_label(shop).get(label) is S.SUBMITTED)
            shop.command("pause")
        shop.until(lambda: by_label(shop).get(label) is state)
        shop.restart()
        if state in FETCHED:
            shop.command("resume")
        shop.idle()
        assert by_label(shop) == ALL
        assert bought(vendor) == {"1": 1, "2": 1, "3": 1}
        assert folders(shop, "outbox") == folders(shop, "archive") == THREE
        assert (shop.work_folders(), shop.found("failed")) == (set(), set())
        assert "set-aside" not in shop.event_kinds()


def test_a_crash_after_each_tick_pays_for_each_once(tmp_path: Path) -> None:
    """However often the service dies."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        for _ in range(80):
            shop.ticks(1, step_seconds=1)
            states = set(by_label(shop).values())
            if states and states <= {S.ARCHIVED, S.HELD} and len(by_label(shop)) in (1, 3):
                break
            shop.restart()
        shop.idle()
        assert max(bought(vendor).values()) == 1
        assert folders(shop, "failed") == set()
        assert shop.work_folders() == {job.id for job in shop.jobs() if job.state is S.HELD}


def test_a_crash_between_laying_out_and_the_journal_leaves_nothing_of_a_canceled_set(tmp_path: Path) -> None:
    """What was laid out for jobs that are not begun are copies: they go with the first one."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        shop.until(lambda: by_label(shop).get("seed-1") is S.SUBMITTED)
        shop.rest()
        assert len(shop.work_folders()) == 3
        job = shop.job("chair").id
        command = shop.leave("cancel", **{**shop.seen("cancel", {"job": job}), "job": job})
        shop.crash()
        shop.start()
        shop.answer_to(command)
        shop.idle()
        assert by_label(shop) == {"seed-1": S.FAILED}
        assert (shop.work_folders(), vendor.charges) == (set(), 1)
        assert folders(shop, "failed") == {"chair"}
        assert (shop.root / HIDDEN / "work").is_dir()


def test_a_journal_from_before_the_others_began_names_each_and_brings_nothing_back(tmp_path: Path) -> None:
    """Their copies are gone: each report says which one it is, and a retry neither pays nor brings a part of the set into the inbox."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        shop.until(lambda: by_label(shop).get("seed-1") is S.SUBMITTED)
        make_backup(shop.journal, shop.hands.seconds)
        shop.idle()
        shop.crash()
        shop.put_in_place(backup_path(shop.journal))()
        shop.start()
        shop.idle()
        assert by_label(shop) == {"seed-1": S.ARCHIVED, "seed-2": S.FAILED, "seed-3": S.FAILED}
        for label in ("seed-2", "seed-3"):
            job = labelled(shop, label)
            assert f"“chair/{label}” may have been submitted" in shop.path(f"{job.place}/REPORT.txt").read_text()
            answer = shop.command("retry", job=job.id)
            assert (answer["ok"], "may have accepted and charged" in answer["message"]) == (False, True)
            shop.path(f"{job.place}/chair.toml").write_text("seed = 9\n")
            assert "were corrected" in shop.command("retry", job=job.id)["message"]
        assert vendor.charges == 3
