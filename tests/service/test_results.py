"""Tests for the results: what is no result is fetched again, and what was fetched whole is never given up."""

from __future__ import annotations

import contextlib
import io
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import pytest
from PIL import Image
from scripted_server import Conversation, ScriptedServer, response
from workshop import KEY, glb, image, no_plugins, working

from rodin_watchd.adapters.rodin_client import RodinClient, Timeouts
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.core.receipt import receipt
from rodin_watchd.errors import TaskFailedError
from rodin_watchd.model import Done, InputFile, Job, ResultFile, Retry, Role, Signature, State, Task
from rodin_watchd.service.steps import run
from rodin_watchd.service.steps.tools import Tools

HTML = b"<html><body>503 please try again</body></html>"


def picture(kind: str) -> bytes:
    """Return a small picture in a format."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind)
    return out.getvalue()


WHOLE = {"model.glb": glb("r"), "texture_diffuse.png": image("t"), "preview.webp": picture("WEBP")}


class FileHost:
    """A vendor whose task is done; the test says what it lists and sends."""

    def __init__(self) -> None:
        """List and send everything as it should be."""
        self.files: Mapping[str, bytes | None] = WHOLE  # None: it is not to be had now
        self.sent: list[str] = []
        self.url = ""

    def __call__(self, conversation: Conversation) -> None:
        """Serve one connection."""
        while True:
            path = conversation.request().line.split()[1]
            if path.startswith("/files/"):
                data = self.files[path.removeprefix("/files/")]
                self.sent.append(path.removeprefix("/files/"))
                conversation.send(response(503, b"busy") if data is None else response(200, data))
            else:
                listed = [{"name": name, "url": f"{self.url}/files/{name}"} for name in self.files]
                conversation.send(response(200, json.dumps({"list": listed}).encode()))


class Download(Protocol):
    """Runs the step for a job whose task is done."""

    def __call__(self, generated_at: float = 999.0) -> Done | Retry:
        """Run it; `generated_at` is when the job entered its state, by a clock that shows 1000 now."""


@pytest.fixture
def host() -> Iterator[FileHost]:
    """Give a running vendor."""
    host = FileHost()
    with ScriptedServer(host) as server:
        host.url = server.url
        yield host


@pytest.fixture
def download(tmp_path: Path, host: FileHost) -> Iterator[Download]:
    """Give what runs the step for a job whose task is done."""
    spool = Spool(tmp_path)
    spool.prepare()
    timeouts = Timeouts(connect_seconds=10, read_seconds=20)
    files = (InputFile(Role.MODEL, "inbox/chair.obj", Signature(1, 1, 1)),)
    job = Job("a" * 12, "chair", "", State.GENERATED, files, {}, 900.0, task=Task("t", "k"), times={"generated": 999.0})
    with contextlib.closing(RodinClient(host.url, KEY, timeouts=timeouts, max_calls=4)) as client:
        tools = Tools(spool, client, no_plugins(tmp_path), lambda: 1000.0, ZoneInfo("UTC"), 10**9, 1_000_000)

        def once(generated_at: float = 999.0) -> Done | Retry:
            outcome = run(tools, replace(job, times={"generated": generated_at}), lambda: None)
            assert isinstance(outcome, Done | Retry)
            return outcome

        yield once


def results_of(outcome: Done | Retry) -> dict[str, ResultFile]:
    """Return the results by name."""
    assert isinstance(outcome, Done)
    return {result.name: result for result in outcome.job.results}


@pytest.mark.parametrize("name", ["model.glb", "texture_diffuse.png", "preview.webp"])
@pytest.mark.parametrize("data", [HTML, b'{"error": "BUSY"}', b"<?xml version='1.0'?><Error/>", b"garbage"])
def test_an_error_page_is_no_result(host: FileHost, download: Download, name: str, data: bytes) -> None:
    """A server's page under a status of success is fetched again like a broken download, whatever it stands for."""
    host.files = {**WHOLE, name: data}
    outcome = download()
    assert isinstance(outcome, Retry)
    assert name in outcome.problem.message
    host.files = WHOLE
    assert results_of(download()).keys() == WHOLE.keys()
    assert sum(sent != name for sent in host.sent) == len(WHOLE) - 1


@pytest.mark.parametrize("name", ["model.mtl", "texture", "data.bin"])
def test_an_error_page_is_no_result_of_an_unknown_kind(host: FileHost, download: Download, name: str) -> None:
    """What nobody looks into is still known not to be a page."""
    host.files = {**WHOLE, name: HTML}
    assert isinstance(download(), Retry)
    host.files = {**WHOLE, name: b"newmtl a\n"}
    assert name in results_of(download())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_of_another_format_is_taken(host: FileHost, download: Download, kind: str) -> None:
    """A name that does not fit must not keep a paid result away."""
    host.files = {**WHOLE, "texture_diffuse.png": picture(kind)}
    assert results_of(download()).keys() == WHOLE.keys()


def test_a_clock_that_was_set_back_keeps_no_result_waiting(host: FileHost, download: Download) -> None:
    """The job entered its state at what is hours ahead now: a list without a preview is taken, for it may be dropped in days."""
    host.files = {name: data for name, data in WHOLE.items() if name != "preview.webp"}
    assert isinstance(download(), Retry)
    assert results_of(download(generated_at=50_000.0)).keys() == host.files.keys()


def test_a_list_that_shrinks_takes_nothing_away(host: FileHost, download: Download) -> None:
    """What was fetched whole is delivered, and the receipt says that the vendor did not list it any more."""
    host.files = {**WHOLE, "preview.webp": None}
    assert isinstance(download(), Retry)
    host.files = {name: data for name, data in WHOLE.items() if name != "texture_diffuse.png"}
    outcome = download()
    results = results_of(outcome)
    assert {name: result.unlisted for name, result in results.items()} == {
        "model.glb": False,
        "preview.webp": False,
        "texture_diffuse.png": True,
    }
    assert isinstance(outcome, Done)
    assert "“texture_diffuse.png” was downloaded completely" in receipt(outcome.job, "1", 1000.0)


# ---- tasks that the vendor reports as failed ------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [(), ("download-503@1",), ("file-503@1",)])
def test_the_model_of_a_failed_task_is_delivered_with_a_note(tmp_path: Path, trouble: tuple[str, ...]) -> None:
    """One part failed, the geometry is good: one free look finds it. A refund for the task may still come, and would hide a charge."""
    with working(tmp_path, "failed-part@1", *trouble) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.ARCHIVED))
        assert vendor.charges == 1
        notes = tomllib.loads(shop.path("outbox/chair/job.toml").read_text())["job"]["notes"]
        assert any("1 of 3 parts of the task failed" in note for note in notes)
        assert shop.store.purchases_since(0, 0).refundable == 1


@pytest.mark.parametrize("fault", ["failed-job", "canceled-job", "cancelled-job", "error-job"])
def test_a_failed_task_without_a_model_fails_its_job(tmp_path: Path, fault: str) -> None:
    """Whatever word the vendor has for it."""
    with working(tmp_path, fault) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.FAILED))
        assert shop.job("chair").problem == TaskFailedError().problem
        assert vendor.charges == 1


def test_a_failed_task_whose_downloads_cannot_be_asked_for_fails_in_the_end(tmp_path: Path) -> None:
    """The look is repeated after an error, but not for ever."""
    with working(tmp_path, "failed-part", "download-503") as (shop, _vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.FAILED))


def test_a_failed_task_whose_model_never_comes_fails_its_job(tmp_path: Path) -> None:
    """It was listed, and each download breaks off: that is no result."""
    with working(tmp_path, "failed-part", "cut-download") as (shop, _vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.FAILED))


def test_hundreds_of_files_are_all_delivered(host: FileHost, download: Download) -> None:
    """What is paid for is not refused for the number of its files."""
    host.files = {**WHOLE, **{f"udim/diffuse_{number}.png": image("t") for number in range(1001, 1301)}}
    assert len(results_of(download())) == len(host.files)


# ---- results in folders ---------------------------------------------------------------------------------------------

IN_FOLDERS = {"scene/model.glb": glb("r"), "scene/maps/wood.png": image("t"), "preview.webp": picture("WEBP")}


def files_below(folder: Path) -> set[str]:
    """Return all that is below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_results_lie_in_the_folders_that_their_names_say(host: FileHost, download: Download, tmp_path: Path) -> None:
    """A model names its textures by these; what a broken attempt has left, in folders as well, goes."""
    host.files = {**IN_FOLDERS, "scene/maps/wood.png": None}
    assert isinstance(download(), Retry)
    [downloads] = tmp_path.glob(".rodin-watchd/work/*/download")
    (downloads / "scene/maps/half.png.part").write_bytes(b"half")
    (downloads / "old/empty").mkdir(parents=True)
    host.files = IN_FOLDERS
    results = results_of(download())
    assert results.keys() == IN_FOLDERS.keys()
    assert host.sent.count("scene/model.glb") == 1
    assert files_below(downloads) == {*IN_FOLDERS, "scene", "scene/maps"}


def test_a_list_that_shrinks_takes_nothing_away_in_folders_either(host: FileHost, download: Download) -> None:
    """What was fetched whole is delivered under the name that it had."""
    host.files = {**IN_FOLDERS, "preview.webp": None}
    assert isinstance(download(), Retry)
    host.files = {name: data for name, data in IN_FOLDERS.items() if name != "scene/maps/wood.png"}
    assert {name for name, result in results_of(download()).items() if result.unlisted} == {"scene/maps/wood.png"}


@pytest.mark.parametrize("now", ["maps/wood.png", "maps"])
def test_a_list_that_has_a_file_where_a_folder_was_is_followed(host: FileHost, download: Download, now: str) -> None:
    """And a folder where a file was."""
    before = ({"maps/wood.png", "maps"} - {now}).pop()
    host.files = {"model.glb": None, before: image("t"), "preview.webp": picture("WEBP")}
    assert isinstance(download(), Retry)
    host.files = {"model.glb": glb("r"), now: image("t"), "preview.webp": picture("WEBP")}
    assert results_of(download()).keys() == host.files.keys()


def test_a_set_with_results_in_folders_is_delivered_with_them(tmp_path: Path) -> None:
    """A model finds its material there, and the receipt, `show` and the plugins have the relative paths."""
    with working(tmp_path, "sub-folders=scene/one") as (shop, vendor):
        shop.drop_set("chair", 'geometry_file_format = "obj"\n')
        shop.idle()
        results = tomllib.loads(shop.path("outbox/chair/job.toml").read_text())["results"]
        assert shop.found("outbox") == {"chair/job.toml", *(f"chair/{result['name']}" for result in results)}
        assert all(result["name"].startswith("scene/one/") for result in results)
        [model] = shop.path("outbox/chair/scene/one").glob("*.obj")
        [material] = [line.split()[1] for line in model.read_text().splitlines() if line.startswith("mtllib")]
        assert (model.parent / material).is_file()
        assert "no preview" not in shop.path("outbox/chair/job.toml").read_text()
        assert vendor.charges == 1


def test_results_in_folders_are_kept_when_a_job_fails(tmp_path: Path) -> None:
    """What came and was paid for lies below the report as it came."""
    with working(tmp_path, "sub-folders=scene", "file-500=1000000@2") as (shop, _vendor):
        shop.drop_set("chair")
        shop.until(lambda: shop.is_in("chair", State.GENERATED)() and shop.job("chair").attempts > 1)
        shop.command("cancel", job=shop.job("chair").id)
        shop.until(shop.is_in("chair", State.FAILED))
        [kept] = [name for name in shop.found("failed") if name.startswith("chair/results/")]
        assert kept.startswith("chair/results/scene/")
        assert kept.endswith(".glb")
        shop.assert_nothing_lost()
