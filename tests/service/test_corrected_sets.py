"""Mend and retry: what somebody corrected in `failed/` is what is judged and sent."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from workshop import Vendor, Workshop, image, model, working

from rodin_watchd.model import Job, State


def jpeg(name: str) -> bytes:
    """Return the set's image in another format."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(image(name))).convert("RGB").save(stream, "JPEG")
    return stream.getvalue()


def failed(shop: Workshop, name: str = "chair") -> Job:
    """Return the job of a set that failed, when it has."""
    shop.idle()
    [job] = [job for job in shop.jobs() if job.name == name]
    assert job.state is State.FAILED
    return job


def retried(shop: Workshop, job: Job) -> list[Job]:
    """Retry a job, wait until all is done, and return all jobs, the oldest first."""
    answer = shop.command("retry", job=job.id)
    assert answer["ok"], answer
    shop.idle()
    return sorted(shop.jobs(), key=lambda one: one.created_at)


def test_a_sidecar_that_was_corrected(shop: Workshop, vendor: Vendor) -> None:
    """The set is bought with what the corrected file says; nothing is left in `failed/`, and STATUS.txt says no more of it."""
    shop.drop_set("chair", sidecar="sed = 7")
    job = failed(shop)
    toml = shop.path("failed/chair/chair.toml")
    toml.write_text("seed = 7")
    shop.dropped[-1] = b"seed = 7"
    before, after = retried(shop, job)
    assert (before.state, after.state, after.options["seed"]) == (State.RETURNED, State.ARCHIVED, 7)
    assert shop.found("failed") == shop.work_folders() == set()
    assert shop.found("outbox") >= {"chair/job.toml"}
    assert "FAILED" not in shop.status()
    assert vendor.charges == 1
    shop.assert_nothing_lost()


@pytest.mark.parametrize("folder", ["", "anna/", "anna/deep/"])
def test_an_image_that_was_exchanged(shop: Workshop, vendor: Vendor, folder: str) -> None:
    """Under the same name or another one, as another file; the result goes to where it would have gone at first."""
    shop.drop(f"{folder}chair.obj", model("chair"))
    broken = shop.drop(f"{folder}chair.png", image("chair")[:-20] + b"\0" * 8 + image("chair")[-12:])
    shop.dropped.remove(broken.read_bytes())
    job = failed(shop)
    shop.path(f"failed/{folder}chair/chair.png").unlink()
    shop.path(f"failed/{folder}chair/chair.jpg").write_bytes(jpeg("chair"))
    shop.dropped.append(jpeg("chair"))
    _, after = retried(shop, job)
    assert (after.state, after.place) == (State.ARCHIVED, f"outbox/{folder}chair")
    assert (vendor.charges, shop.found("failed")) == (1, set())
    shop.assert_nothing_lost()


def test_a_file_that_was_taken_away(shop: Workshop, vendor: Vendor) -> None:
    """Of two images that fitted one stays: the set is not ambiguous any more."""
    shop.drop("chair.obj", model("chair"))
    shop.drop("chair.png", image("chair"))
    second = shop.drop("chair.jpg", jpeg("back"))
    shop.dropped.remove(second.read_bytes())
    job = failed(shop)
    shop.path("failed/chair/chair.jpg").unlink()
    _, after = retried(shop, job)
    assert (after.state, vendor.charges) == (State.ARCHIVED, 1)


def test_a_correction_that_is_none(shop: Workshop, vendor: Vendor) -> None:
    """It fails again, as a whole, in one folder, with the reason; and can be corrected once more."""
    shop.drop_set("chair", sidecar="sed = 7")
    job = failed(shop)
    for mistake in ("seeed = 7", "sede = 7"):
        shop.path("failed/chair/chair.toml").write_text(mistake)
        job = retried(shop, job)[-1]
        assert job.state is State.FAILED
        assert shop.found("failed") == {
            f"chair/{name}" for name in ("chair.obj", "chair.png", "chair.toml", "REPORT.txt", "report.toml")
        }
    shop.path("failed/chair/chair.toml").write_text("seed = 7")
    shop.dropped[-1] = b"seed = 7"
    assert retried(shop, job)[-1].state is State.ARCHIVED
    assert vendor.charges == 1
    shop.assert_nothing_lost()


def test_a_correction_that_is_still_being_written(shop: Workshop, vendor: Vendor) -> None:
    """The set waits in the inbox until its program has closed the file."""
    shop.drop_set("chair", sidecar="sed = 7")
    job = failed(shop)
    with shop.path("failed/chair/chair.toml").open("w") as editor:
        editor.write("seed")
        editor.flush()
        shop.command("retry", job=job.id)
        shop.ticks(30, step_seconds=2)
        assert vendor.charges == 0
        assert shop.found("inbox") == {"chair.obj", "chair.png", "chair.toml"}
        editor.write(" = 7")
    shop.dropped[-1] = b"seed = 7"
    shop.idle()
    assert vendor.charges == 1
    shop.assert_nothing_lost()


def test_a_crash_on_the_way_back(shop: Workshop, vendor: Vendor) -> None:
    """Wherever it happens, all files come to the inbox, and the set is bought once."""
    shop.drop_set("chair", sidecar="sed = 7")
    job = failed(shop)
    shop.path("failed/chair/chair.toml").write_text("seed = 7")
    shop.dropped[-1] = b"seed = 7"
    with shop.without_workers():
        shop.command("retry", job=job.id)
        assert shop.states()["chair"] is State.RETURNING
        shop.path("failed/chair/chair.obj").rename(shop.path("inbox/chair.obj"))
        shop.crash()
    shop.start()
    shop.idle()
    assert sorted(job.state for job in shop.jobs()) == [State.ARCHIVED, State.RETURNED]
    assert vendor.charges == 1
    shop.assert_nothing_lost()


@pytest.mark.parametrize(
    "hidden",
    [[], [".DS_Store"]],
    ids=["untouched", "hidden file"],
)
def test_an_uncorrected_set_is_taken_up_as_it_was(shop: Workshop, hidden: list[str]) -> None:
    """What was refused in the inbox needs a correction first; the answer says what and where."""
    shop.drop_set("chair", sidecar="sed = 7")
    job = failed(shop)
    for name in hidden:
        shop.path(f"failed/chair/{name}").write_bytes(b"x")
    answer = shop.command("retry", job=job.id)
    assert not answer["ok"]
    assert "failed/chair/REPORT.txt" in answer["message"]
    assert shop.states() == {"chair": State.FAILED}


def test_a_correction_that_is_taken_back(tmp_path: Path) -> None:
    """The vendor has refused the set free of charge: the content that was sent then is not taken for paid."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1") as (shop, vendor):
        shop.drop_set("chair")
        job = failed(shop)
        shop.path("failed/chair/chair.toml").write_text("seed = 7")
        assert shop.command("retry", job=job.id)["ok"]
        shop.until(lambda: shop.path("inbox/chair.toml").exists(), step_seconds=0.0)
        shop.path("inbox/chair.toml").unlink()
        shop.idle()
        assert sorted(job.state for job in shop.jobs()) == [State.ARCHIVED, State.RETURNED]
        assert vendor.charges == 1


def test_a_correction_while_the_same_set_is_under_way(tmp_path: Path) -> None:
    """Dropped once more as it was, and at the vendor: the corrected set goes back all the same, and is another one."""
    faults = ("submit-error=INVALID_REQUEST@1", "unknown-status@1", "unknown-status@2", "unknown-status@3")
    with working(tmp_path, *faults) as (shop, vendor):
        shop.drop_set("chair")
        job = failed(shop)
        shop.drop_set("chair")
        shop.until(lambda: State.SUBMITTED in [job.state for job in shop.jobs()])
        shop.path("failed/chair/chair.toml").write_text("seed = 7")
        assert shop.command("retry", job=job.id)["ok"]
        shop.idle()
        assert sorted(job.state for job in shop.jobs()) == [State.ARCHIVED, State.ARCHIVED, State.RETURNED]
        assert vendor.charges == 2
