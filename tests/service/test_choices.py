"""One of the results of a set is chosen: in the store, then in the receipts and on the sheet; through the real daemon."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from places import share
from workshop import Vendor, Workshop, image, model, working, workshop

from rodin_watchd.adapters.contact_sheet import TILE_PIXELS, is_ours
from rodin_watchd.core.receipt import is_as_written, sealed
from rodin_watchd.model import Job, State

SEEDS = b"seeds = [1, 2, 3]\n"
LABELS = ("seed-1", "seed-2", "seed-3")


@pytest.fixture
def delivered(tmp_path: Path) -> Iterator[tuple[Workshop, Vendor]]:
    """Give a service that has delivered a set of three jobs, and a set of one."""
    with working(tmp_path) as (shop, vendor):
        drop_chair(shop)
        shop.drop_set("stool")
        shop.idle()
        yield shop, vendor


def drop_chair(shop: Workshop) -> None:
    """Drop a set that makes three jobs."""
    shop.drop("chair.obj", model("chair"))
    shop.drop("chair.png", image("chair"))
    shop.drop("chair.toml", SEEDS)


def one(shop: Workshop, label: str) -> Job:
    """Return the job of a label."""
    [found] = [job for job in shop.jobs() if job.batch and job.batch.label == label]
    return found


def choose(shop: Workshop, label: str, **more: object) -> dict[str, Any]:
    """Choose a job as the command line does; return the answer when all is written."""
    answer = shop.command("choose", job=one(shop, label).id, **more)
    shop.idle()
    return answer


def in_receipts(shop: Workshop, top: str = "outbox") -> dict[str, object]:
    """Return by label what each receipt of the set has of the choice."""
    found = {path.parent.name: path.read_bytes() for path in shop.path(f"{top}/chair").glob("*/job.toml")}
    assert all(map(is_as_written, found.values()))
    return {label: tomllib.loads(data.decode())["job"]["chosen"] for label, data in found.items()}


def only(label: str) -> dict[str, object]:
    """Return what the receipts have when one is chosen, "" for none."""
    return {other: other == label for other in LABELS}


def actions(shop: Workshop, label: str) -> list[str]:
    """Return what happened to a job since it was delivered."""
    found = [event.action for event in shop.store.events(one(shop, label).id)]
    return found[found.index("archived") + 1 :]


def test_one_is_chosen_another_one_instead_and_none(delivered: tuple[Workshop, Vendor]) -> None:
    """The store, the receipts in the outbox and in the archive and the words agree; nothing else of a receipt changes."""
    shop, vendor = delivered
    before = tomllib.loads(shop.path("outbox/chair/seed-2/job.toml").read_text())
    assert in_receipts(shop) == only("")
    answer = choose(shop, "seed-2")
    assert answer == {"ok": True, "message": f"“chair/seed-2” (job {one(shop, 'seed-2').id}) is chosen."}
    assert in_receipts(shop) == in_receipts(shop, "archive") == only("seed-2")
    after = tomllib.loads(shop.path("outbox/chair/seed-2/job.toml").read_text())
    assert after["job"] == {**before["job"], "chosen": True}
    assert {key: value for key, value in after.items() if key not in ("job", "unchanged")} == {
        key: value for key, value in before.items() if key not in ("job", "unchanged")
    }
    moved = choose(shop, "seed-3")
    assert f"“chair/seed-2” (job {one(shop, 'seed-2').id}) was chosen before." in moved["message"]
    assert in_receipts(shop) == only("seed-3")
    assert (actions(shop, "seed-2"), actions(shop, "seed-3")) == (
        ["choose", "chosen", "choose", "unchosen"],
        ["choose", "chosen"],
    )
    assert choose(shop, "seed-3", take_back=True)["ok"]
    assert in_receipts(shop) == in_receipts(shop, "archive") == only("")
    assert not any(job.chosen for job in shop.jobs())
    assert vendor.charges == 4
    shop.assert_nothing_lost()


def test_it_is_named_wherever_people_look(delivered: tuple[Workshop, Vendor]) -> None:
    """At the terminal, in STATUS.txt, and for programs."""
    shop, _ = delivered
    choose(shop, "seed-2")
    job = one(shop, "seed-2")
    assert "Of its set: seed-2, of 3, chosen" in shop.told("show", job.id)
    assert f"Sibling: chair/seed-2: job {job.id}, archived, chosen" in shop.told("show", one(shop, "seed-1").id)
    assert "delivered, chosen" in shop.told("list")
    assert "delivered to outbox/chair/seed-2. Chosen." in shop.told("explain", "outbox/chair/seed-2")
    assert "delivered to outbox/chair/seed-2. Chosen." in shop.page()
    assert '"chosen": true' in shop.told("show", job.id, "--json")


@pytest.mark.parametrize("name", ["chair/seed-2", "outbox/chair/seed-2/", "ID"])
def test_the_command_line_takes_a_folder_of_the_outbox(delivered: tuple[Workshop, Vendor], name: str) -> None:
    """Or the job's id; also while nobody serves. What cannot be is refused at once."""
    shop, _ = delivered
    name = one(shop, "seed-2").id if name == "ID" else name

    def give(*words: str) -> None:
        assert "the command will run when it starts" in shop.told("choose", *words, name)

    shop.restart(give)
    shop.idle()
    assert in_receipts(shop) == only("seed-2")
    refused = shop.at_terminal("choose", name)
    assert refused.exit_code == 1
    assert "is chosen already" in str(refused.exception)
    shop.restart(lambda: give("--take-back"))
    shop.idle()
    assert in_receipts(shop) == only("")


def test_what_cannot_be_chosen_is_refused_with_the_reason(tmp_path: Path) -> None:
    """A set of one, one that failed, one that is chosen, one that is not."""
    with working(tmp_path, "failed-job@2") as (shop, _):
        drop_chair(shop)
        shop.idle()
        shop.drop_set("stool")
        shop.idle()
        [stool] = [job for job in shop.jobs() if not job.batch]
        [failed] = [job for job in shop.jobs() if job.state is State.FAILED]
        assert failed.batch
        ready = next(label for label in LABELS if label != failed.batch.label)
        assert "makes one job, so there is nothing to choose among" in shop.command("choose", job=stool.id)["message"]
        assert "Only a delivered job can be chosen" in choose(shop, failed.batch.label)["message"]
        assert "is not the chosen one" in choose(shop, ready, take_back=True)["message"]
        assert choose(shop, ready)["ok"]
        assert "is chosen already" in choose(shop, ready)["message"]


def test_what_follows_has_a_choice_of_its_own(tmp_path: Path) -> None:
    """Of two models and their textures one each; both are chosen at once, and each receipt has its own."""
    with working(tmp_path) as (shop, _):
        shop.drop("chair.png", image("chair"))
        shop.drop("chair.toml", b'kind = "generate"\nthen = "texture"\nseeds = [1, 6]\n')
        shop.idle()
        ready = {job.batch.label for job in shop.jobs() if job.batch and job.state is State.ARCHIVED}
        texture = next(label for label in ready if label.endswith("-texture"))  # the other one buys the same
        wanted = ("seed-1", texture)
        numbers = [
            shop.leave("choose", job=one(shop, label).id, **shop.seen("choose", {"job": one(shop, label).id}))
            for label in wanted
        ]
        assert all(shop.answer_to(number)["ok"] for number in numbers)
        shop.idle()
        assert in_receipts(shop) == {label: label in wanted for label in ("seed-1", "seed-6", texture)}
        for label in wanted:
            assert actions(shop, label) == ["choose", "chosen"]


def test_a_crash_before_the_receipts_are_written(delivered: tuple[Workshop, Vendor]) -> None:
    """The store has it; the next start writes them, and what the store has by then."""
    shop, _ = delivered
    shop.path("outbox/chair").rename(shop.path("elsewhere"))
    shop.path("outbox/chair").write_text("in the way")
    choose(shop, "seed-1")
    choose(shop, "seed-2")

    def give_back() -> None:
        shop.path("outbox/chair").unlink()
        shop.path("elsewhere").rename(shop.path("outbox/chair"))

    give_back()
    number = shop.leave("choose", job=one(shop, "seed-3").id, **shop.seen("choose", {"job": one(shop, "seed-3").id}))
    shop.restart()
    assert shop.answer_to(number)["ok"]
    shop.restart()
    shop.idle()
    assert in_receipts(shop) == only("seed-3")
    assert actions(shop, "seed-3") == ["choose", "chosen"]


def test_an_outbox_that_is_away_is_written_later(delivered: tuple[Workshop, Vendor]) -> None:
    """The trouble is shown, and ends by itself; a start in between forgets nothing."""
    shop, _ = delivered
    away = shop.path("away")
    with shop.without_workers():
        number = shop.leave(
            "choose", job=one(shop, "seed-2").id, **shop.seen("choose", {"job": one(shop, "seed-2").id})
        )
        shop.path("outbox").rename(away)
        assert shop.answer_to(number)["ok"]
    shop.until(lambda: any(event.subject == "receipts" for event in shop.store.service_events()), step_seconds=1.0)
    assert one(shop, "seed-2").chosen
    shop.restart(lambda: away.rename(shop.path("outbox")) and None)
    shop.hands.seconds += 61.0
    shop.idle()
    assert in_receipts(shop) == only("seed-2")
    assert actions(shop, "seed-2") == ["choose", "chosen"]
    assert "receipts" not in shop.told("status").partition("Newest events")[0]


def test_an_outbox_that_is_read_only_is_written_later(tmp_path: Path, vendor: Vendor) -> None:
    """On a filesystem of its own: the choice is in the store at once; the trouble is shown, and ends by itself."""
    with (
        share(tmp_path / "disk", tmp_path / "root" / "outbox") as outbox,
        workshop(tmp_path / "root", vendor.emulator.base_url) as shop,
    ):
        drop_chair(shop)
        shop.idle()
        outbox.freeze()
        assert choose(shop, "seed-1")["ok"]
        shop.until(lambda: "outbox/chair/seed-1" in shop.status(), step_seconds=1.0)
        assert "Read-only file system" in shop.status()
        assert choose(shop, "seed-2")["ok"]
        assert (one(shop, "seed-1").chosen, one(shop, "seed-2").chosen) == (False, True)
        assert in_receipts(shop) == only("")
        outbox.thaw()
        shop.hands.seconds += 61.0
        shop.idle()
        assert in_receipts(shop) == in_receipts(shop, "archive") == only("seed-2")
        assert (actions(shop, "seed-1"), actions(shop, "seed-2")) == (
            ["choose", "choose", "unchosen"],
            ["choose", "chosen"],
        )
        assert "Read-only file system" not in shop.status()


def test_a_folder_that_was_taken_away(delivered: tuple[Workshop, Vendor]) -> None:
    """The choice is in the store; the answer and the history say that no receipt has it. The other receipts are written."""
    shop, _ = delivered
    choose(shop, "seed-1")
    shop.path("outbox/chair/seed-2").rename(shop.path("taken"))
    told = "The folder outbox/chair/seed-2 is not there any more, so its receipt was not changed."
    assert told in choose(shop, "seed-2")["message"]
    assert one(shop, "seed-2").chosen
    assert shop.store.events(one(shop, "seed-2").id)[-1].message == told
    assert in_receipts(shop) == {"seed-1": False, "seed-3": False}
    assert tomllib.loads(shop.path("taken/job.toml").read_text())["job"]["chosen"] is False
    assert in_receipts(shop, "archive") == only("seed-2")


def test_a_receipt_that_somebody_has_changed(delivered: tuple[Workshop, Vendor]) -> None:
    """It stays as it is, and so does a link, and the receipt of another job."""
    shop, _ = delivered
    edited = shop.path("outbox/chair/seed-2/job.toml")
    edited.write_text(edited.read_text() + "# mine\n")
    kept = edited.read_bytes()
    foreign = shop.path("outbox/chair/seed-3/job.toml")
    shutil.copy(shop.path("outbox/chair/seed-1/job.toml"), foreign)
    others = foreign.read_bytes()
    linked = shop.path("outbox/chair/seed-1/job.toml")
    linked.rename(shop.path("receipt"))
    linked.symlink_to(shop.path("receipt"))
    assert choose(shop, "seed-2")["ok"]
    assert edited.read_bytes() == kept
    assert "is not as the service wrote it" in shop.store.events(one(shop, "seed-2").id)[-1].message
    choose(shop, "seed-3")
    choose(shop, "seed-1")
    assert foreign.read_bytes() == others
    assert linked.is_symlink()
    assert tomllib.loads(shop.path("receipt").read_text())["job"]["chosen"] is False
    assert [job.batch.label for job in shop.jobs() if job.batch and job.chosen] == ["seed-1"]


def test_a_receipt_that_has_not_what_the_store_has(delivered: tuple[Workshop, Vendor]) -> None:
    """A receipt of an older choice that is put back is put right with the next one: never are two chosen."""
    shop, _ = delivered
    choose(shop, "seed-1")
    stale = shop.path("outbox/chair/seed-1/job.toml").read_bytes()
    choose(shop, "seed-2")
    shop.path("outbox/chair/seed-1/job.toml").write_bytes(stale)
    choose(shop, "seed-3")
    assert in_receipts(shop) == only("seed-3")


def test_the_sheet_marks_it(delivered: tuple[Workshop, Vendor]) -> None:
    """The chosen one has a frame; one that somebody has made stays."""
    shop, _ = delivered
    sheet = shop.path("outbox/chair/contact-sheet.jpg")

    def frames() -> list[int]:
        """Return of each tile how much more green than red its frame is."""
        with Image.open(sheet) as picture:
            places = [(10 + column * 248, 150 + row * 276) for row in (0, 1) for column in (0, 1)][:3]
            pixels = [picture.crop((x, y, x + 1, y + 1)).tobytes() for x, y in places]
        return [pixel[1] - pixel[0] for pixel in pixels]

    assert max(frames()) < 20
    choose(shop, "seed-2")
    first, second, third = frames()
    assert (first < 20, second > 60, third < 20) == (True, True, True)
    sheet.write_bytes(b"mine")
    choose(shop, "seed-3")
    assert sheet.read_bytes() == b"mine"


def test_a_receipt_that_cannot_be_written_again(delivered: tuple[Workshop, Vendor]) -> None:
    """With the right digest, and nested too deep: it stays, the others are written, and the service goes on."""
    shop, _ = delivered
    path = shop.path("outbox/chair/seed-2/job.toml")
    path.write_text(sealed(f'x = {"[" * 300}{"]" * 300}\n[job]\nid = "{one(shop, "seed-2").id}"\nretries = 0\n'))
    crafted = path.read_bytes()
    choose(shop, "seed-1")
    assert choose(shop, "seed-2")["ok"]
    assert "is not as the service wrote it" in shop.store.events(one(shop, "seed-2").id)[-1].message
    assert path.read_bytes() == crafted
    path.unlink()
    assert in_receipts(shop) == {"seed-1": False, "seed-3": False}


HOSTILE = {
    "lines": ("", 'variant = "a\\nb"'),
    "digits": ("", f'variant = "{"9" * 5000}"'),
    "long": ("", f'variant = "{"x" * 900_000}"'),
    "no text": ("", "variant = [1]"),
    "no file name": ('{name = "a\\u0000preview.webp"}', 'variant = "x"'),
    "deep": ("", f'variant = "x"\nx = {"[" * 300}{"]" * 300}'),
    "dotted": ("", f'variant = "x"\n{".".join(["a"] * 400_000)} = 1'),
}


@pytest.mark.parametrize(("results", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_receipt_that_somebody_has_laid_there(delivered: tuple[Workshop, Vendor], results: str, said: str) -> None:
    """Whatever is in it: the sheet is made, and the receipts of the set are written."""
    shop, _ = delivered
    sheet = shop.path("outbox/chair/contact-sheet.jpg")
    before = sheet.read_bytes()
    shop.path("outbox/chair/mine").mkdir()
    head = f'[job]\nid = "x"\nretries = 0\nbatch = "{tomllib.loads(shop.path("outbox/chair/seed-1/job.toml").read_text())["job"]["batch"]}"'
    shop.path("outbox/chair/mine/job.toml").write_text(f"results = [{results}]\n{head}\n{said}\n")
    choose(shop, "seed-2")
    assert actions(shop, "seed-2") == ["choose", "chosen"]
    shop.path("outbox/chair/mine/job.toml").unlink()
    assert in_receipts(shop) == only("seed-2")
    after = sheet.read_bytes()
    assert is_ours(after)
    assert after != before


def test_copies_of_a_result_have_no_tiles(delivered: tuple[Workshop, Vendor]) -> None:
    """However many there are, and also where a copy was made of what was chosen then: the sheet has each job once, as it is."""
    shop, _ = delivered
    choose(shop, "seed-1")
    for number in range(40):
        shutil.copytree(shop.path("outbox/chair/seed-1"), shop.path(f"outbox/chair/{'z' * (number % 2)}copy {number}"))
    choose(shop, "seed-2")
    with Image.open(shop.path("outbox/chair/contact-sheet.jpg")) as sheet:
        assert (sheet.width // TILE_PIXELS, sheet.height // TILE_PIXELS) == (2, 2)
        first, second = (sheet.crop((x, 150, x + 1, 151)).tobytes() for x in (10, 258))
    assert (first[1] - first[0] < 20, second[1] - second[0] > 60) == (True, True)


def test_a_set_whose_results_were_all_taken_away(delivered: tuple[Workshop, Vendor]) -> None:
    """Also while the sheet is being made: there is nothing to show, and the sheet of before stays."""
    shop, _ = delivered
    sheet = shop.path("outbox/chair/contact-sheet.jpg")
    before = sheet.read_bytes()
    for label in LABELS:
        shutil.rmtree(shop.path(f"outbox/chair/{label}"))
    tools, job = shop.daemon.parts.tools, one(shop, "seed-1")
    tools.sheets.remake(tools.spool, job, job.place)
    assert sheet.read_bytes() == before
    assert choose(shop, "seed-2")["ok"]
    assert actions(shop, "seed-2") == ["choose", "chosen"]
