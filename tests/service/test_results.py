"""Tests for the results: what is no result is fetched again, and what was fetched whole is never given up."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import pytest
from PIL import Image
from scripted_server import Conversation, ScriptedServer, response
from workshop import KEY, glb, image, no_plugins

from rodin_watchd.adapters.rodin_client import RodinClient, Timeouts
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.core.receipt import receipt
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
