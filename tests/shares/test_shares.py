"""No file that a real client still sends is taken: each client pauses in the middle for longer than every quiet time.

All clients run at the same time against one service with its default quiet times. `make test-shares` runs all of them and writes
the table of docs/shares.md; `make test` runs a short sample.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import pytest
from clients import CLIENTS, FORMATS, Client
from PIL import Image
from scene import Drop, Scene, scene
from strangers import public_folder
from workshop import Vendor, emulated, glb, image, model

from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.model import Job, State

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the clients and the kernel's answers are Linux's")

PROJECT = Path(__file__).parents[2]
TABLE = "RODIN_WATCHD_SHARES_TABLE"
"""The environment variable with the file that gets the table."""

SAMPLE = ("cat from a pipe", "curl -o", "rsync --inplace", "moved in, still written")
SAMPLE_SECONDS = 8.0
ENDED = (State.ARCHIVED, State.FAILED)
DONE_SECONDS = 120.0
TEXT_BYTES, BYTES = 60_000, 1_200_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that a client has sent, when it was whole (UTC), and what became of it."""

    client: Client
    extension: str
    drop: Drop
    at: float
    jobs: Sequence[Job] = ()
    error: str = ""  # of the client

    @property
    def sha256(self) -> str:
        """The content of the whole file."""
        return hashlib.sha256(self.drop.source.read_bytes()).hexdigest()

    @property
    def half(self) -> int:
        """How often anything else than the whole file was taken."""
        taken = [file for job in self.jobs for file in job.files if file.source.endswith(f"/{self.drop.name}")]
        return sum(file.sha256 != self.sha256 for file in taken)

    @property
    def claimed_after(self) -> float:
        """How long after its end the file was taken, in seconds."""
        return max(0.0, min((job.created_at for job in self.jobs), default=float("inf")) - self.at)


def content(extension: str, stem: str) -> bytes:
    """Return a file whose first half could be taken for a whole one, where its format allows that."""
    chance = random.Random(stem)  # noqa: S311 - content, no secret
    if extension == "png":
        out = io.BytesIO()
        Image.frombytes("RGB", (620, 620), chance.randbytes(620 * 620 * 3)).save(out, "PNG")
        return out.getvalue()
    if extension == "glb":
        return glb(chance.randbytes(BYTES // 4).hex())
    start, end, size = model(stem).decode(), "# end\n", BYTES
    if extension == "toml":
        start, end, size = f'model = "{stem}-m.glb"\nimage = "{stem}-i.png"\nprompt = "oak"\n', "seed = 7\n", TEXT_BYTES
    lines = (f"# {chance.randbytes(30).hex()}\n" for _ in range(size // 63))
    return (start + "".join(lines) + end).encode()


def send(there: Scene, client: Client, extension: str) -> Sent:
    """Put the other files of a set into the inbox, and let a client send the file that is looked at."""
    stem = f"{re.sub('[^a-z0-9]+', '-', client.name.lower()).strip('-')}-{extension}"
    source = there.folder("sources") / f"{stem}.{extension}"
    source.write_bytes(content(extension, stem))
    others = {"obj": [".png"], "glb": [".png"], "png": [".glb"], "toml": ["-m.glb", "-i.png"]}[extension]
    for suffix in others:
        temporary = there.folder("others") / f"{stem}{suffix}"
        temporary.write_bytes(image(stem) if suffix.endswith("png") else glb(stem))
        temporary.rename(there.inbox / temporary.name)
    drop = Drop(there.inbox / source.name, source, client.pause_seconds)
    try:
        client.send(there, drop)
    except (AssertionError, OSError, http.client.HTTPException) as error:
        return Sent(client, extension, drop, time.time(), error=str(error))
    return Sent(client, extension, drop, time.time())


def outcomes(there: Scene, clients: Sequence[Client], formats: Sequence[str]) -> list[Sent]:
    """Run all clients at once, wait until the service is done, and return what became of each file."""
    tasks = [(client, extension) for client, extension in product(clients, formats) if extension in client.formats]
    with ThreadPoolExecutor(len(tasks)) as pool:
        sent = list(pool.map(lambda task: send(there, *task), tasks))
    end = time.monotonic() + DONE_SECONDS
    expected = sum(not one.error for one in sent)
    while time.monotonic() < end and sum(job.state in ENDED for job in there.jobs()) < expected:
        time.sleep(0.5)
    jobs = there.jobs()
    return [replace(one, jobs=[job for job in jobs if one.drop.name in names_of(job)]) for one in sent]


def names_of(job: Job) -> set[str]:
    """Return the names of a job's files."""
    return {file.source.rpartition("/")[2] for file in job.files}


def check(there: Scene, vendor: Vendor, sent: Sequence[Sent]) -> None:
    """Each file was taken once, whole, and paid once; nothing else was paid."""
    wrong = {
        one.drop.name: one.error or [(str(job.state), one.half, job.problem) for job in one.jobs]
        for one in sent
        if one.error or one.half or [job.state for job in one.jobs] != [State.ARCHIVED]
    }
    assert wrong == {}, (there.root / "STATUS.txt").read_text()
    assert vendor.charges == len(sent)


def test_a_sample_of_clients() -> None:
    """Programs that every machine has, with a pause that is longer than the quiet time of what proves its end."""
    clients = [replace(c, pause_seconds=SAMPLE_SECONDS) for c in CLIENTS if c.name in SAMPLE and not c.missing]
    with public_folder() as home, scene(home) as (there, vendor):
        check(there, vendor, outcomes(there, clients, ("glb",)))


@pytest.mark.shares
@pytest.mark.timeout(900)
def test_no_client_has_a_half_file_taken() -> None:
    """All clients, all formats; those that are not on this machine are named."""
    clients = [client for client in CLIENTS if not client.missing]
    with public_folder() as home, scene(home) as (there, vendor):
        sent = outcomes(there, clients, FORMATS)
        if TABLE in os.environ:
            write_table(Path(os.environ[TABLE]), sent)
        check(there, vendor, sent)
    if missing := {client.name: client.missing for client in CLIENTS if client.missing}:
        pytest.skip(f"without these clients, whose programs are missing: {missing}")


needs_sshfs = pytest.mark.skipif(not shutil.which("sshfs") or not shutil.which("sshd"), reason="needs sshfs and sshd")


@pytest.mark.shares
@needs_sshfs
@pytest.mark.timeout(300)
@pytest.mark.parametrize("watcher", ["auto", "native"])
def test_an_inbox_by_sshfs_that_dies(watcher: str) -> None:
    """It is told as a folder that is away, and what comes when it is back is found; twice."""
    with public_folder() as home, emulated() as vendor:
        there = Scene(home, vendor.emulator.base_url, watcher)
        remote = there.folder("remote")
        with there.stack:
            process = there.mount_sshfs(remote, there.inbox)
            there.serve()
            for number in range(2):
                drop_set(remote, f"chair-{number}")
                there.until(lambda: done(there) == number + 1, "a set of the share")  # noqa: B023 - asked at once
                process.kill()
                process.wait()
                there.until(
                    lambda: "folder inbox is not there" in (there.root / "STATUS.txt").read_text(), "the notice"
                )
                there.unmount(there.inbox)
                process = there.mount_sshfs(remote, there.inbox)
            drop_set(remote, "lamp")
            there.until(lambda: done(there) == 3, "a set of the share that is back")
            assert vendor.charges == 3


@pytest.mark.shares
@needs_sshfs
def test_an_sshfs_in_the_inbox_that_dies(tmp_path: Path) -> None:
    """It hides its own files only, and is named; the look at all else goes on."""
    there = Scene(tmp_path, "http://127.0.0.1:9")
    place = there.inbox / "studio"
    with there.stack:
        place.mkdir()
        process = there.mount_sshfs(there.folder("remote"), place)
        drop_set(place, "chair")
        drop_set(there.inbox, "lamp")
        inbox = Inbox(there.inbox)
        assert {"studio/chair.glb", "lamp.glb"} < {entry.path for entry in inbox.look().entries}
        process.kill()
        process.wait()
        scan = inbox.look()
        assert {entry.path for entry in scan.entries} == {"lamp.glb", "lamp.png"}
        assert scan.junk == {"studio": "a folder that cannot be read (Transport endpoint is not connected)"}


def drop_set(folder: Path, stem: str) -> None:
    """Write a set."""
    (folder / f"{stem}.png").write_bytes(image(stem))
    (folder / f"{stem}.glb").write_bytes(glb(stem))


def done(there: Scene) -> int:
    """Count the sets that are done."""
    return sum(job.state in ENDED for job in there.jobs())


def write_table(path: Path, sent: Sequence[Sent]) -> None:
    """Write what became of the files between the marks of a page."""
    by_client: dict[str, dict[str, Sent]] = {}
    for one in sent:
        by_client.setdefault(one.client.name, {})[one.extension] = one
    head = ["client", "pause", *(f"{name.upper()}: finished → claimed" for name in FORMATS), "half taken", "paid"]
    rows = [head, ["---"] * len(head)]
    for name, found in by_client.items():
        cells = [f"{found[e].claimed_after:.1f} s" if e in found else "" for e in FORMATS]
        pause = next(iter(found.values())).drop.pause_seconds
        half, paid = sum(one.half for one in found.values()), sum(len(one.jobs) for one in found.values())
        rows.append([name, f"{pause:.0f} s", *cells, str(half), f"{paid} of {len(found)}"])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    before, begin, rest = path.read_text().partition("<!-- clients: begin -->")
    _, end, after = rest.partition("<!-- clients: end -->")
    path.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}")
