"""Failed sets until they are dealt with: delivered after all, or cleared out of `failed/`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from workshop import Vendor, Workshop, image, model, working

from rodin_watchd.core.layout import REPORT, REPORT_DATA
from rodin_watchd.model import Job, State

MISTAKE = "sed = 7"
FILES = {"chair/chair.obj", "chair/chair.png", "chair/chair.toml", "chair/REPORT.txt", "chair/report.toml"}


def fail(shop: Workshop, name: str = "chair", sidecar: str = MISTAKE) -> Job:
    """Have a set fail, and return its job."""
    shop.drop_set(name, sidecar=sidecar)
    shop.idle()
    found = [job for job in shop.jobs() if job.name == name.rpartition("/")[2] and job.state is State.FAILED]
    return max(found, key=lambda job: job.created_at)


def listed(shop: Workshop) -> tuple[int, str]:
    """Return how many sets STATUS.txt calls failed, and what it lists as the newest results; the command line says the same."""
    pages = (shop.page(), shop.at_terminal("status").output)
    counts = [
        int(found[1]) if (found := re.search(r"^FAILED: see failed/ \((\d+)\)$", page, re.MULTILINE)) else 0
        for page in pages
    ]
    recent = [re.search(r"^Newest results.*\n((?:  .*\n)*)", f"{page}\n", re.MULTILINE) for page in pages]
    assert counts[0] == counts[1]
    assert recent[0]
    assert recent[1]
    assert recent[0][1] == recent[1][1]
    return counts[0], recent[0][1]


def drop_again(shop: Workshop, name: str, word: str) -> None:
    """Drop a set under a name, with a content of this word and no mistake."""
    shop.drop(f"{name}.obj", model(word))
    shop.drop(f"{name}.png", image(word))
    shop.idle()


# ---- resolved -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["chair", "another chair"], ids=["the same bytes", "corrected bytes"])
@pytest.mark.parametrize(("first", "again"), [("chair", "chair"), ("anna/Chair", "anna/chair")])
def test_dropped_again_and_delivered(shop: Workshop, first: str, again: str, word: str) -> None:
    """The failure leaves the list, its count and the newest results, also after a restart; its folder stays."""
    job = fail(shop, first)
    assert listed(shop)[0] == 1
    drop_again(shop, again, word)
    for _ in range(2):
        count, recent = listed(shop)
        assert (count, recent.count("\n"), "FAILED" in recent) == (0, 1, False)
        shop.restart()
        shop.idle()
    assert shop.path(job.place).is_dir()
    resolved = shop.store.job(job.id)
    assert resolved is not None
    [delivered] = [job for job in shop.jobs() if job.state is State.ARCHIVED]
    assert (resolved.state, resolved.resolved) == (State.FAILED, delivered.id)
    assert f"The set was delivered to {delivered.place} (job {delivered.id})." in shop.told("show", job.id)


def test_the_same_content_under_another_name(tmp_path: Path) -> None:
    """A set that the vendor refused, and took later in another folder: by its content it is the same."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1") as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        assert [job.state for job in shop.jobs()] == [State.FAILED]
        assert listed(shop)[0] == 1
        drop_again(shop, "ben/stool", "chair")
        assert sorted(job.state for job in shop.jobs()) == [State.ARCHIVED, State.FAILED]
        assert listed(shop)[0] == 0


@pytest.mark.parametrize("again", ["stool", "anna/chair"], ids=["another name", "another folder"])
def test_another_set_resolves_nothing(shop: Workshop, again: str) -> None:
    """Neither one of another name, nor one of another folder; nor one that was delivered before."""
    drop_again(shop, "chair", "first")
    fail(shop)
    drop_again(shop, again, "another")
    assert listed(shop)[0] == 1


def test_retried_and_delivered(tmp_path: Path) -> None:
    """It is a result like any other, and its folder in `failed/` is gone."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1") as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        [job] = shop.jobs()
        assert shop.command("retry", job=job.id)["ok"]
        shop.idle()
        count, recent = listed(shop)
        assert (count, "FAILED" in recent, shop.found("failed")) == (0, False, set())


def test_a_resolved_set_that_is_retried_and_fails_is_listed_again(tmp_path: Path) -> None:
    """What it was resolved by is forgotten with the failure that it resolved."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1", "submit-error=INVALID_REQUEST@3") as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        [job] = shop.jobs()
        drop_again(shop, "chair", "another")
        assert listed(shop)[0] == 0
        assert shop.command("retry", job=job.id)["ok"]
        shop.idle()
        assert listed(shop)[0] == 1


# ---- cleared --------------------------------------------------------------------------------------------------------


def test_a_folder_is_cleared(shop: Workshop, vendor: Vendor) -> None:
    """It moves to the archive as it is, with its report; nothing lists it as failed, nothing is lost, and the job stays."""
    job = fail(shop)
    answer = shop.command("clear", job=job.id)
    assert answer == {"ok": True, "message": "Cleared: failed/chair is in archive/chair now."}
    shop.ticks(1, step_seconds=1.0)
    assert (shop.found("failed"), shop.found("archive")) == (set(), FILES)
    count, recent = listed(shop)
    assert (count, "chair" in recent) == (0, False)
    after = shop.store.job(job.id)
    assert after is not None
    assert (after.state, after.place, after.problem) == (State.FAILED, "archive/chair", job.problem)
    assert [event.action for event in shop.store.events(job.id)][-2:] == ["failed", "clear"]
    assert "“archive/chair/chair.obj” was put there by the service." in shop.told("explain", "archive/chair/chair.obj")
    assert vendor.charges == 0
    shop.assert_nothing_lost()
    shop.restart()
    shop.idle()
    assert listed(shop)[0] == 0


def test_a_name_that_is_taken_in_the_archive(shop: Workshop) -> None:
    """The folder gets the job's id added, and the delivered set keeps its own."""
    fail(shop)
    drop_again(shop, "chair", "another")
    [job] = [job for job in shop.jobs() if job.state is State.FAILED]
    assert shop.command("clear", job=job.id)["ok"]
    assert shop.path("archive/chair/job.toml").is_file()
    assert {path.split("/")[0] for path in shop.found("archive")} == {"chair", f"chair-{job.id[:6]}"}
    shop.assert_nothing_lost()


def stranger(shop: Workshop) -> None:
    """Lay a file and a folder of somebody into the failed folder."""
    shop.path("failed/chair/notes.txt").write_text("mine")
    shop.path("failed/chair/old").mkdir()


def link(shop: Workshop) -> None:
    """Lay a link to a file elsewhere into it."""
    shop.path("failed/chair/link").symlink_to(shop.path("config.toml"))


@pytest.mark.parametrize(("lay", "named"), [(stranger, "“notes.txt”, “old”"), (link, "“link”")])
def test_files_of_others_are_kept(shop: Workshop, lay: Callable[[Workshop], None], named: str) -> None:
    """The command is refused with their names, and nothing moves; when they are away it works."""
    job = fail(shop)
    lay(shop)
    before = shop.found("failed")
    answer = shop.command("clear", job=job.id)
    assert not answer["ok"]
    assert answer["message"].startswith(f"Files lie in failed/chair that the service did not put there: {named}.")
    assert (shop.found("failed"), shop.found("archive")) == (before, set())
    for name in ("notes.txt", "old", "link"):
        if os.path.lexists(path := shop.path(f"failed/chair/{name}")):
            path.rename(shop.path(name))
    assert shop.command("clear", job=job.id)["ok"]


def test_what_was_edited_and_what_the_system_made_goes_along(shop: Workshop) -> None:
    """A corrected file is the set's all the same; a hidden file of the system keeps nothing back."""
    job = fail(shop)
    shop.path("failed/chair/chair.toml").write_text("seed = 7")
    shop.path("failed/chair/.DS_Store").write_bytes(b"x")
    assert shop.command("clear", job=job.id)["ok"]
    assert shop.path("archive/chair/chair.toml").read_text() == "seed = 7"
    assert shop.path("archive/chair/.DS_Store").exists()


def test_what_is_not_to_be_cleared_is_refused_with_the_reason(shop: Workshop) -> None:
    """A delivered set, one that was cleared, one that is being retried, a folder that is gone or another's."""
    drop_again(shop, "stool", "stool")
    [stool] = shop.jobs()
    job = fail(shop)
    assert "Only the folder of a failed job can be cleared" in shop.command("clear", job=stool.id)["message"]
    shop.path("failed/chair").rename(shop.path("elsewhere"))
    assert shop.command("clear", job=job.id)["message"].startswith(
        "There is nothing to clear: failed/chair is not there"
    )
    another = fail(shop)
    assert another.place == "failed/chair"
    assert not shop.command("clear", job=job.id)["ok"]
    assert shop.command("clear", job=another.id)["ok"]
    assert "was cleared before" in shop.command("clear", job=another.id)["message"]


def test_a_set_that_is_being_retried(tmp_path: Path) -> None:
    """Who looked before the retry is told what became of it; who looks after it, too."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1") as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        [job] = shop.jobs()
        seen = shop.seen("clear", {"job": job.id})
        with shop.without_workers():
            shop.command("retry", job=job.id)
            late = shop.answer_to(shop.leave("clear", job=job.id, **seen))
            now = shop.command("clear", job=job.id)
        assert "was taken up again since you looked" in late["message"]
        assert "Only the folder of a failed job can be cleared" in now["message"]
        shop.idle()
        assert [job.state for job in shop.jobs()] == [State.ARCHIVED]


def test_a_command_that_was_left_before_the_start(shop: Workshop) -> None:
    """The next service carries it out, and once: also where the one before was killed when the folder had moved."""
    job = fail(shop)
    number = shop.leave("clear", job=job.id, **shop.seen("clear", {"job": job.id}))

    def moved() -> None:
        shop.path("failed/chair").rename(shop.path("archive/chair"))

    shop.restart(moved)
    assert shop.answer_to(number)["ok"]
    after = shop.store.job(job.id)
    assert after is not None
    assert (after.place, shop.found("archive"), shop.found("failed")) == ("archive/chair", FILES, set())
    assert listed(shop)[0] == 0


def test_a_cleared_set_that_was_paid_for_can_be_retried(tmp_path: Path) -> None:
    """Its result is asked for, free of charge: what is in the archive is where its files are."""
    with working(tmp_path, "failed-job@1") as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        [job] = shop.jobs()
        assert job.state is State.FAILED
        assert shop.command("clear", job=job.id)["ok"]
        assert shop.command("retry", job=job.id, pay_again=True)["ok"]
        shop.idle()
        assert [job.state for job in shop.jobs()] == [State.ARCHIVED]
        assert not (shop.found("archive") & {f"chair/{REPORT}", f"chair/{REPORT_DATA}"})
        shop.assert_nothing_lost()


# ---- at the command line --------------------------------------------------------------------------------------------


def cleared(shop: Workshop, *words: str) -> str:
    """Give the command while no service runs, start one, and return what the command had to say."""
    shop.crash()
    told = shop.told("clear", *words)
    shop.start()
    shop.idle()
    return told


@pytest.mark.parametrize("name", ["chair", "failed/chair", "ID"])
def test_a_name_is_that_of_the_folder(shop: Workshop, name: str) -> None:
    """Although the set was delivered since under the same name: the folder's report says which job is meant."""
    job = fail(shop)
    drop_again(shop, "chair", "another")
    told = cleared(shop, job.id[:6] if name == "ID" else name)
    assert told == "The service is not running: the command will run when it starts."
    assert shop.found("failed") == set()


def test_all_that_were_resolved_and_no_others(shop: Workshop) -> None:
    """Those that were delivered since, and what had been delivered before; not what is still failed, nor what is away."""
    for name in ("chair", "stool", "lamp", "vase"):
        fail(shop, name)
    for name in ("chair", "vase"):
        drop_again(shop, name, f"another {name}")
    drop_again(shop, "copy", "another chair")  # is already done
    shop.path("failed/vase").rename(shop.path("elsewhere"))
    assert listed(shop)[0] == 2
    assert cleared(shop, "--resolved") == "The service is not running: the 2 commands will run when it starts."
    assert {path.split("/")[0] for path in shop.found("failed")} == {"stool", "lamp"}
    assert listed(shop)[0] == 2
    assert cleared(shop, "--resolved") == "There is nothing to clear."


@pytest.mark.parametrize("words", [(), ("--resolved", "chair")])
def test_either_names_or_all_that_are_resolved(shop: Workshop, words: tuple[str, ...]) -> None:
    """Anything else is wrong use."""
    assert shop.at_terminal("clear", *words).exit_code == 2
