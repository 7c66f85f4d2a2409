"""The straightforward script that people write today: a watchdog handler, a wait until the size rests, `requests`, a poll every 5 s.

It keeps nothing that survives it: after a kill it begins again with what is in the inbox. As a program:
`python -m benchmarks.straightforward ROOT BASE_URL`.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from benchmarks.processes import KEY

POLL_SECONDS = 5.0
HEADERS = {"Authorization": f"Bearer {KEY}"}


class Handler(FileSystemEventHandler):
    """Hands each new image to the pool: its model is next to it."""

    def __init__(self, root: Path, base_url: str) -> None:
        self.root, self.base_url = root, base_url
        self.pool = ThreadPoolExecutor(4)
        self.known: set[str] = set()

    def on_created(self, event: FileSystemEvent) -> None:
        """Take a set when its image comes."""
        image = Path(str(event.src_path))
        if image.suffix == ".jpg" and image.stem not in self.known:
            self.known.add(image.stem)
            self.pool.submit(self.texture, image)

    def texture(self, image: Path) -> None:
        """Buy one texture and put the result into the outbox."""
        model = image.with_suffix(".glb")
        self.wait_until_it_rests(image)
        with model.open("rb") as first, image.open("rb") as second:
            files = {"model": first, "image": second}
            task = requests.post(
                f"{self.base_url}/api/v2/rodin_texture_only", files=files, headers=HEADERS, timeout=60
            ).json()
        key = {"subscription_key": task["jobs"]["subscription_key"]}
        while not self.is_done(self.call("status", key)):
            time.sleep(POLL_SECONDS)
        out = self.root / "outbox" / image.stem
        out.mkdir(parents=True, exist_ok=True)
        for link in self.call("download", {"task_uuid": task["uuid"]})["list"]:
            (out / link["name"]).write_bytes(requests.get(link["url"], timeout=60).content)
        archive = self.root / "archive" / image.stem
        archive.mkdir(parents=True, exist_ok=True)
        for file in (model, image):
            file.rename(archive / file.name)

    def call(self, name: str, data: dict[str, str]) -> dict[str, list[dict[str, str]]]:
        """Call the API."""
        answer = requests.post(f"{self.base_url}/api/v2/{name}", json=data, headers=HEADERS, timeout=60)
        return answer.json()  # type: ignore[no-any-return] # JSON

    @staticmethod
    def is_done(status: dict[str, list[dict[str, str]]]) -> bool:
        """Return whether all jobs of a task are done."""
        return all(job["status"] == "Done" for job in status["jobs"])

    @staticmethod
    def wait_until_it_rests(file: Path) -> None:
        """Wait until the size has not changed for a second."""
        size = -1
        while size != (size := file.stat().st_size):
            time.sleep(1)


if __name__ == "__main__":
    handler, inbox = Handler(Path(sys.argv[1]), sys.argv[2]), Path(sys.argv[1]) / "inbox"
    observer = Observer()
    observer.schedule(handler, str(inbox))
    observer.start()
    for path in sorted(inbox.iterdir()):
        handler.on_created(FileSystemEvent(str(path)))
    observer.join()
