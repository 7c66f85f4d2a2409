"""Running a step: whatever goes wrong becomes an outcome, and after the last bytes nothing counts as repeatable."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
from workshop import KEY, Vendor, image, model, no_plugins

from rodin_watchd.adapters.rodin_client import RodinClient, Timeouts
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.adapters.spool.beneath import signature_of
from rodin_watchd.core.layout import RECEIPT, REPORT
from rodin_watchd.errors import DiskError
from rodin_watchd.model import Answered, Done, InputFile, Job, Rejected, ResultFile, Retry, Role, State, Task, Unknown
from rodin_watchd.service.pool import UploadDroppedError
from rodin_watchd.service.steps import run
from rodin_watchd.service.steps.tools import Tools


@pytest.fixture
def tools(tmp_path: Path, vendor: Vendor) -> Iterator[Tools]:
    """Give the tools of a daemon."""
    spool = Spool(tmp_path)
    spool.prepare()
    timeouts = Timeouts(connect_seconds=10, read_seconds=20)
    with contextlib.closing(RodinClient(vendor.emulator.base_url, KEY, timeouts=timeouts, max_calls=1)) as client:
        yield Tools(spool, client, no_plugins(tmp_path), lambda: 1000.0, ZoneInfo("UTC"), 10**9, 1_000_000)


def claimed(tmp_path: Path, **files: bytes) -> Job:
    """Return a claimed job whose files lie in the inbox."""
    inputs = []
    for name, data in files.items():
        path = tmp_path / "inbox" / name.replace("_", ".")
        path.write_bytes(data)
        role = {"obj": Role.MODEL, "png": Role.IMAGE}[path.suffix[1:]]
        inputs.append(InputFile(role, f"inbox/{path.name}", signature_of(path.stat())))
    return Job("a" * 12, "chair", "", State.CLAIMED, tuple(inputs), {}, 900.0)


def allow() -> None:
    """Permit the last bytes."""


@pytest.fixture
def job(tmp_path: Path, tools: Tools) -> Job:
    """Give a job whose inputs are staged and whose upload is intended."""
    done = run(tools, claimed(tmp_path, chair_obj=model("chair"), chair_png=image("chair")), allow)
    assert isinstance(done, Done)
    return replace(done.job, state=State.UPLOADING)


def test_stage_may_be_repeated(tmp_path: Path, tools: Tools) -> None:
    """A set that was taken before a crash is found in the work folder, with the same digests."""
    job = claimed(tmp_path, chair_obj=model("chair"), chair_png=image("chair"))
    first = run(tools, job, allow)
    assert run(tools, job, allow) == first
    assert isinstance(first, Done)
    assert first.job.fingerprint
    assert not list((tmp_path / "inbox").iterdir())


def test_a_staged_set_is_checked_by_content(tmp_path: Path, tools: Tools) -> None:
    """What settled as whole and is not an image all the same is refused before money is spent."""
    broken = bytearray(image("chair"))
    broken[40:60] = bytes(20)
    outcome = run(tools, claimed(tmp_path, chair_obj=model("chair"), chair_png=bytes(broken)), allow)
    assert isinstance(outcome, Rejected)
    assert "not a usable image" in outcome.problem.message


class Listener(BaseHTTPRequestHandler):
    """A vendor that keeps what it gets."""

    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        """Take a submit."""
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        answer = b'{"error": null, "uuid": "task", "jobs": {"uuids": ["one"], "subscription_key": "key"}}'
        self.send_response(201)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[str]:
    """Run it and give its address."""
    Listener.bodies.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_image_under_a_wrong_name_is_sent_as_what_it_is(tmp_path: Path, tools: Tools, listener: str) -> None:
    """Messengers and browsers give a WebP or JPEG the name of a PNG: it is taken, and the vendor reads the right kind."""
    samples = Path(__file__).parents[1] / "samples"
    job = claimed(tmp_path, chair_obj=model("chair"), chair_png=(samples / "matcap-b.jpg").read_bytes())
    staged = run(tools, job, allow)
    assert isinstance(staged, Done)
    with contextlib.closing(RodinClient(listener, KEY, timeouts=Timeouts(10, 20), max_calls=1)) as client:
        outcome = run(replace(tools, client=client), replace(staged.job, state=State.UPLOADING), allow)
    assert isinstance(outcome, Answered)
    assert b'filename="image.jpg"\r\nContent-Type: image/jpeg' in Listener.bodies[0]


def test_a_set_with_two_files_of_a_role_is_not_staged(tmp_path: Path, tools: Tools) -> None:
    """Of which file the fingerprint would be, and which one would be sent, nobody could tell: nothing is taken."""
    files = {"chair_obj": model("chair"), "chair_png": image("chair"), "other_png": image("other")}
    outcome = run(tools, claimed(tmp_path, **files), allow)
    assert isinstance(outcome, Rejected)
    assert "2 files fit the image" in outcome.problem.message
    assert len(list((tmp_path / "inbox").iterdir())) == 3


@pytest.mark.parametrize(("state", "of_another_end"), [(State.FAILING, RECEIPT), (State.DELIVERED, REPORT)])
def test_an_end_holds_nothing_that_another_end_began(
    tmp_path: Path, tools: Tools, job: Job, state: State, of_another_end: str
) -> None:
    """A kill in the archive, and an older journal: the job is buried. What the archive wrote beside the inputs is not published."""
    inputs = tools.spool.inputs(job.id)
    (inputs / of_another_end).write_text("whole")
    (inputs / f".{of_another_end}.part").write_text("cut")
    done = run(tools, replace(job, state=state, problem=DiskError("gone").problem), allow)
    assert isinstance(done, Done), done
    end = tmp_path / ("failed" if state is State.FAILING else "archive") / "chair"
    kept = {path.name for path in end.iterdir()}
    assert kept.isdisjoint({of_another_end, f".{of_another_end}.part"})
    assert {"chair.obj", "chair.png"} <= kept


def test_a_submit_returns_the_raw_answer(tools: Tools, job: Job, vendor: Vendor) -> None:
    """The answer comes back as it came, to be committed before anybody reads it."""
    outcome = run(tools, job, allow)
    assert isinstance(outcome, Answered)
    assert outcome.answer.status == 201
    assert vendor.charges == 1


@pytest.mark.parametrize("error", [UploadDroppedError(), DiskError("full"), RuntimeError("a fault")])
def test_a_submit_that_may_not_end_submits_nothing(tools: Tools, job: Job, vendor: Vendor, error: Exception) -> None:
    """Whatever keeps `submitting` from being committed keeps the last bytes from leaving."""

    def refuse() -> None:
        raise error

    outcome = run(tools, job, refuse)
    assert isinstance(outcome, Retry)
    assert vendor.charges == 0


@pytest.mark.parametrize("state", [State.SUBMITTING, State.STAGED])
def test_only_an_intended_upload_is_submitted(tools: Tools, job: Job, vendor: Vendor, state: State) -> None:
    """A job in another state than `uploading` is never sent, whatever fault hands it out: a person has to look."""
    assert isinstance(run(tools, replace(job, state=state), allow), Unknown)
    assert (vendor.charges, vendor.uploads) == (0, 0)


def test_a_fault_of_the_program_is_the_jobs_to_bear(tools: Tools, job: Job) -> None:
    """An exception that nobody thought of is logged, and the step is tried again."""
    outcome = run(tools, replace(job, state=State.SUBMITTED, task=None), allow)
    assert isinstance(outcome, Retry)
    assert outcome.problem.code == "internal"
    results = (ResultFile("model.glb", "model.glb", 1, "aa"),)
    lost = replace(job, state=State.PROCESSED, task=Task("t", "k"), results=results)
    outcome = run(tools, lost, allow)
    assert isinstance(outcome, Retry)


def test_inputs_that_changed_in_the_work_folder_are_not_sent(tools: Tools, job: Job, vendor: Vendor) -> None:
    """What is sent is what was staged, byte for byte; anything else is refused before the last bytes."""
    path = tools.spool.inputs(job.id) / "chair.obj"
    path.write_bytes(b"#" + path.read_bytes()[1:].swapcase())
    outcome = run(tools, job, allow)
    assert isinstance(outcome, Rejected)
    assert vendor.charges == 0
