"""The floor of a job: the same HTTP calls and the same durable files by a bare script with `requests`.

It knows when a set is whole, journals nothing, checks nothing, retries nothing, notifies nobody. As a program:
`python -m benchmarks.bare ROOT BASE_URL THREADS` works off the sets in ROOT/inbox, and prints its CPU seconds.
"""

from __future__ import annotations

import os
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

import requests

from benchmarks.processes import KEY

_thread = local()


def _session() -> requests.Session:
    if not hasattr(_thread, "session"):
        _thread.session = requests.Session()
        _thread.session.headers["Authorization"] = f"Bearer {KEY}"
    return _thread.session  # type: ignore[no-any-return] # a thread-local attribute


def texture(root: Path, base_url: str, sidecar: Path) -> None:
    """Do one set from its upload to its archive."""
    session = _session()
    name, options = sidecar.stem, tomllib.loads(sidecar.read_text())
    inputs = [sidecar.with_suffix(suffix) for suffix in (".glb", ".jpg", ".toml")]
    with inputs[0].open("rb") as model, inputs[1].open("rb") as image:
        files = {"model": model, "image": image}
        task = session.post(f"{base_url}/api/v2/rodin_texture_only", files=files, data=options, timeout=60).json()
    key = {"subscription_key": task["jobs"]["subscription_key"]}
    while not _is_done(session.post(f"{base_url}/api/v2/status", json=key, timeout=60).json()):
        time.sleep(0.01)
    listed = session.post(f"{base_url}/api/v2/download", json={"task_uuid": task["uuid"]}, timeout=60).json()["list"]
    work = root / "work" / name
    work.mkdir(parents=True)
    for link in listed:
        _fetch(link["url"], work / link["name"])
    _sync(work)
    work.rename(root / "outbox" / name)
    _sync(root / "outbox")
    _move(inputs, root / "archive" / name)


def _is_done(status: dict[str, list[dict[str, str]]]) -> bool:
    return all(job["status"] == "Done" for job in status["jobs"])


def _fetch(url: str, path: Path) -> None:
    with requests.get(url, stream=True, timeout=60) as response, path.open("wb") as file:
        for block in response.iter_content(1 << 20):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _move(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        file.rename(folder / file.name)
    _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _work_off(root: Path, base_url: str, threads: int) -> None:
    for folder in ("work", "outbox", "archive"):
        (root / folder).mkdir()
    sidecars = sorted((root / "inbox").glob("*.toml"))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda sidecar: texture(root, base_url, sidecar), sidecars))


if __name__ == "__main__":
    began_at, used_before = time.monotonic(), time.process_time()
    _work_off(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    print(time.process_time() - used_before, time.monotonic() - began_at)
