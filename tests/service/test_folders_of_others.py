"""A folder of `failed/` or the outbox that was taken away, and whose name another job got: each job has its own files alone."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from workshop import Vendor, Workshop, emulated, image, model, working, workshop

from rodin_watchd.model import Job, State

FIRST, SECOND = model("chair"), model("chbir")
"""Two models of one size."""


def drop_chair(shop: Workshop, content: bytes, picture: str = "chair") -> Job:
    """Drop a set whose size and times tell nothing, let it come to its end, and return its job."""
    before = {job.id for job in shop.jobs()}
    age(shop.drop("chair.obj", content))
    age(shop.drop("chair.png", image(picture)))
    shop.idle()
    [job] = [job for job in shop.jobs() if job.id not in before]
    return job


def age(path: Path) -> None:
    """Give a file a fixed time, as programs that unpack archives do."""
    os.utime(path, (1_700_000_000.0, 1_700_000_000.0))


def charged_for(vendor: Vendor, content: bytes) -> int:
    """Return how often the vendor charged for a model."""
    digest = hashlib.sha256(content).hexdigest()
    return sum(row["model_sha256"] == digest for row in vendor.emulator.ledger()["charges"])


def test_a_retry_pays_for_no_other_jobs_files(tmp_path: Path) -> None:
    """The consent for one job buys nothing of another job that got the name of its folder, and leaves the other's files and reports."""
    with working(tmp_path, "failed-job=2") as (shop, vendor):
        first = drop_chair(shop, FIRST)
        shutil.move(shop.path("failed/chair"), tmp_path / "artist")
        second = drop_chair(shop, SECOND)
        assert first.place == second.place == "failed/chair"
        there = shop.found("failed")
        assert shop.command("retry", job=first.id, pay_again=True)["ok"]
        shop.idle()
        assert (charged_for(vendor, FIRST), charged_for(vendor, SECOND)) == (1, 1)
        assert there <= shop.found("failed")
        [again] = [job for job in shop.jobs() if job.id == first.id]
        assert again.problem
        assert f"holds the files of job {second.id}" in again.problem.message
        assert shop.command("retry", job=second.id, pay_again=True)["ok"]
        shop.idle()
        assert (charged_for(vendor, FIRST), charged_for(vendor, SECOND)) == (1, 2)
        assert shop.found("archive") == {"chair/chair.obj", "chair/chair.png", "chair/job.toml"}


def test_a_free_retry_takes_no_other_jobs_files(tmp_path: Path) -> None:
    """A paid result is fetched without its inputs, where another job's lie under the name of its folder."""
    with working(tmp_path, "empty-jobs") as (shop, _):
        age(shop.drop("chair.obj", FIRST))
        age(shop.drop("chair.png", image("chair")))
        shop.until(shop.is_in("chair", State.SUBMITTED))
        assert shop.command("cancel", job="chair")["ok"]
        shop.until(shop.is_in("chair", State.FAILED))
        [first] = shop.jobs()
        shutil.move(shop.path("failed/chair"), tmp_path / "artist")
        age(shop.drop("chair.obj", SECOND))
        age(shop.drop("chair.png", b"no picture"))
        shop.until(lambda: len(shop.jobs()) == 2 and shop.path("failed/chair/REPORT.txt").exists())
        there = shop.found("failed")
        assert shop.command("retry", job=first.id)["ok"]
        shop.until(lambda: next(job for job in shop.jobs() if job.id == first.id).state is State.SUBMITTED)
        assert shop.found("failed") == there


@pytest.mark.parametrize("reports", ["REPORT.txt report.toml", "report.toml"])
def test_a_retry_takes_its_own_files_without_the_report(tmp_path: Path, reports: str) -> None:
    """Files whose report somebody removed are known by their content."""
    with working(tmp_path, "failed-job@1") as (shop, vendor):
        job = drop_chair(shop, FIRST)
        for name in reports.split():
            shop.path(f"failed/chair/{name}").unlink()
        assert shop.command("retry", job=job.id, pay_again=True)["ok"]
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert charged_for(vendor, FIRST) == 2


def test_files_without_a_report_that_are_others_stay(tmp_path: Path) -> None:
    """Where the report is gone, and the content is not the job's, nothing is taken."""
    with working(tmp_path, "failed-job@1") as (shop, vendor):
        job = drop_chair(shop, FIRST)
        for name in ("REPORT.txt", "report.toml"):
            shop.path(f"failed/chair/{name}").unlink()
        shop.path("failed/chair/chair.obj").write_bytes(SECOND)
        age(shop.path("failed/chair/chair.obj"))
        assert shop.command("retry", job=job.id, pay_again=True)["ok"]
        shop.idle()
        assert shop.path("failed/chair/chair.obj").read_bytes() == SECOND
        assert (charged_for(vendor, FIRST), charged_for(vendor, SECOND)) == (1, 0)


_PLUGIN = """
import hashlib
from pathlib import Path
from rodin_watchd.v1 import hookimpl

@hookimpl
def rodin_delivered(job, directory, event):
    if Path({away!r}).exists():
        raise RuntimeError("the store is away")
    [model] = [file for file in job.results if file.name == "base_basic_pbr.glb"]
    there = directory / "base_basic_pbr.glb"
    seen = hashlib.sha256(there.read_bytes()).hexdigest() == model.sha256 if there.exists() else "nothing"
    with Path({log!r}).open("a") as log:
        log.write(f"{{job.id}} {{seen}}\\n")
"""


def fetched(shop: Workshop) -> None:
    """Take the first result away; another set gets its name."""
    shutil.move(shop.path("outbox/chair"), shop.root / "artist")
    drop_chair(shop, SECOND, "table")


def fetched_and_another_without_receipt(shop: Workshop) -> None:
    """Do the same, and remove the other one's receipt."""
    fetched(shop)
    shop.path("outbox/chair/job.toml").unlink()


def without_receipt(shop: Workshop) -> None:
    """Remove the receipt alone."""
    shop.path("outbox/chair/job.toml").unlink()


@pytest.mark.parametrize(
    ("change", "seen"),
    [(fetched, "nothing"), (fetched_and_another_without_receipt, "nothing"), (without_receipt, "True")],
)
def test_an_owed_call_gets_no_other_jobs_folder(tmp_path: Path, change: Callable[[Workshop], None], seen: str) -> None:
    """A plugin that is told late of a result that was fetched is not given the folder that has the name by then."""
    (tmp_path / "plugins").mkdir(mode=0o755)
    away, log = tmp_path / "away", tmp_path / "log"
    (tmp_path / "plugins" / "up.py").write_text(_PLUGIN.format(away=str(away), log=str(log)))
    away.touch()
    with (
        emulated() as vendor,
        workshop(tmp_path, vendor.emulator.base_url, plugins={"folders": [str(tmp_path / "plugins")]}) as shop,
    ):
        first = drop_chair(shop, FIRST)
        change(shop)
        assert {job.place for job in shop.jobs()} == {first.place}
        away.unlink()
        shop.hands.seconds += 8000
        shop.until(lambda: log.exists() and first.id in log.read_text())
        assert f"{first.id} {seen}" in log.read_text().splitlines()
