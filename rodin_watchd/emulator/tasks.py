"""The work behind a task, off the event loop, equal orders once; and the task book: what was ordered, and how its jobs stand."""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import WeakValueDictionary

from PIL import Image

from rodin_watchd.emulator.forms import EmulatedRefusal
from rodin_watchd.emulator.mesh_io import EmulatedFile, model_files, read_model
from rodin_watchd.emulator.preview import SIZE, preview_webp
from rodin_watchd.emulator.texture import project, relief, shaded, texture_image

if TYPE_CHECKING:
    from rodin_watchd.emulator.mesh_io import EmulatedFile
    from rodin_watchd.emulator.orders import Order
    from rodin_watchd.emulator.texture import TexturedMesh

MOST_PICTURES: Final = 256
"""The number of previews that are kept, of some ten kilobytes each."""

_PICTURES: dict[tuple[str | None, ...], bytes] = {}

Work: TypeAlias = "Future[tuple[EmulatedFile, ...]]"


def make(order: Order, preview_pixels: int = SIZE) -> tuple[EmulatedFile, ...]:
    """Make the files of a result: the model first, `preview.webp` last.

    Raises UnusableModelError when the model cannot be read.
    """
    image = shaded(texture_image(order.image, order.resolution), order.shade)
    mesh = relief(image) if order.model is None else read_model(order.model)
    bare = Image.new("RGB", (1, 1), "white")
    textured = [project(mesh, bare if material == "None" else image, material) for material in order.materials]
    files: dict[str, EmulatedFile] = {}
    for one in textured:
        for file in model_files(one, order.geometry_file_format):
            files.setdefault(file.name, file)
    return (*files.values(), EmulatedFile("preview.webp", _preview(order, textured[0], preview_pixels)))


def _preview(order: Order, textured: TexturedMesh, pixels: int) -> bytes:
    """Draw the picture, or give the one of an equal order: it is small, and drawing is most of the work."""
    key = (*order.recipe, str(pixels))
    picture = _PICTURES.get(key)
    if picture is None:
        picture = _PICTURES[key] = preview_webp(textured, pixels)
        if len(_PICTURES) > MOST_PICTURES:
            _PICTURES.pop(next(iter(_PICTURES)), None)  # the oldest; another thread may have taken it
    return picture


class Workshop:
    """Two worker threads and the results of equal orders for as long as a task holds them.

    `preview_pixels` is the edge of the previews.
    """

    def __init__(self, preview_pixels: int = SIZE) -> None:
        self._preview_pixels = preview_pixels
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="rodin-emulator-work")
        self._known: WeakValueDictionary[tuple[str | None, ...], Work] = WeakValueDictionary()

    def begin(self, order: Order) -> Work:
        """Start the work, or give what an equal order has already started."""
        work = self._known.get(order.recipe)
        if work is None:
            work = self._pool.submit(make, order, self._preview_pixels)
            self._known[order.recipe] = work
        return work

    def close(self) -> None:
        """End the threads; work that has not begun is dropped."""
        self._pool.shutdown(cancel_futures=True)


# ---- The task book: what was ordered, and how its jobs stand at a given moment --------------------------------------


JOB_SHARES = (0.5, 0.8, 1.0)
"""A task has a job for each entry; it needs this part of the time, so that they do not finish at the same moment."""


@dataclass(frozen=True, slots=True)
class EmulatedJob:
    """One job of a task: it waits, then it is worked on, then it has its end."""

    uuid: str
    waiting_until: float
    generating_until: float
    end: str = "Done"

    def status(self, now: float, work: Work) -> str:
        """Return its status word. It is never Done before the real work is."""
        if now < self.waiting_until:
            return "Waiting"
        if now < self.generating_until or not work.done():
            return "Generating"
        return "Failed" if work.cancelled() or work.exception() else self.end


@dataclass(frozen=True, slots=True)
class EmulatedTask:
    """One paid task and the work behind it."""

    uuid: str
    subscription_key: str
    api_key: str
    submitted_at: float
    jobs: tuple[EmulatedJob, ...]
    work: Work
    leaves_model: bool = False  # although it does not end well

    def statuses(self, now: float) -> tuple[str, ...]:
        """Give the status words of its jobs."""
        return tuple(job.status(now, self.work) for job in self.jobs)

    def outcome(self, now: float) -> str:
        """Sum the jobs up in one status word, for the ledger."""
        words = self.statuses(now)
        order = ("Failed", "Error", "Canceled", "Cancelled", "Generating", "Waiting", "Done")
        return min(words, key=order.index)

    def results(self, now: float) -> tuple[EmulatedFile, ...]:
        """Give what can be downloaded: all when Done, only the preview while some jobs still run, else nothing.

        All but the preview where it does not end well and leaves its model.
        """
        words = set(self.statuses(now))
        if words == {"Done"}:
            return self.work.result()
        if self.leaves_model and words.isdisjoint(("Waiting", "Generating")) and not self.work.exception():
            return self.work.result()[:-1]
        return self.work.result()[-1:] if words == {"Done", "Generating"} and self.work.done() else ()

    def result(self, name: str) -> EmulatedFile:
        """Give one file by its own name."""
        return next(file for file in self.work.result() if file.name == name)


class TaskBook:
    """All tasks that are still kept. Used by the event loop's thread alone."""

    def __init__(self, waiting_seconds: float, generating_seconds: float, keep_seconds: float) -> None:
        self._waiting_seconds = waiting_seconds
        self._generating_seconds = generating_seconds
        self._keep_seconds = keep_seconds
        self._tasks: dict[str, EmulatedTask] = {}
        self._by_subscription: dict[str, str] = {}

    def open(
        self, api_key: str, work: Work, now: float, end: str = "Done", *, leaves_model: bool = False
    ) -> EmulatedTask:
        """Enter a task; `end` is the status word with which its last job ends, `leaves_model` whether its model is good all the same."""
        self._forget(now)
        task_uuid = str(uuid.uuid4())
        jobs = self._jobs(now, end)
        task = EmulatedTask(task_uuid, _token(task_uuid, now), api_key, now, jobs, work, leaves_model)
        self._tasks[task.uuid] = task
        self._by_subscription[task.subscription_key] = task.uuid
        return task

    def by_subscription(self, subscription_key: str, api_key: str, now: float) -> EmulatedTask:
        """Find the task of Check Status. Raises EmulatedRefusal (`NO_SUCH_TASK`)."""
        return self.by_uuid(self._by_subscription.get(subscription_key, ""), api_key, now)

    def by_uuid(self, task_uuid: str, api_key: str, now: float) -> EmulatedTask:
        """Find the task of Download Results. Raises EmulatedRefusal (`NO_SUCH_TASK`)."""
        task = self.kept(task_uuid, now)
        if task is None or task.api_key != api_key:
            raise EmulatedRefusal(404, "NO_SUCH_TASK", "There is no such task.")
        return task

    def kept(self, task_uuid: str, now: float) -> EmulatedTask | None:
        """Give the task as long as its results are kept."""
        task = self._tasks.get(task_uuid)
        return task if task and now < task.submitted_at + self._keep_seconds else None

    def running(self, api_key: str, now: float) -> int:
        """Return how many tasks of a key have not ended."""
        mine = (task for task in self._tasks.values() if task.api_key == api_key)
        return sum(task.outcome(now) in ("Waiting", "Generating") for task in mine)

    def queue_length(self, now: float) -> int:
        """Return how many tasks wait."""
        return sum("Waiting" in task.statuses(now) for task in self._tasks.values())

    def subscription_keys(self) -> dict[str, str]:
        """Give the keys of Check Status by the tasks' ids; any thread."""
        return {task.uuid: task.subscription_key for task in tuple(self._tasks.values())}

    def _jobs(self, now: float, end: str) -> tuple[EmulatedJob, ...]:
        last = len(JOB_SHARES) - 1
        return tuple(
            EmulatedJob(
                uuid=str(uuid.uuid4()),
                waiting_until=now + self._waiting_seconds * share,
                generating_until=now + (self._waiting_seconds + self._generating_seconds) * share,
                end=end if index == last else "Done",
            )
            for index, share in enumerate(JOB_SHARES)
        )

    def _forget(self, now: float) -> None:
        gone = [task for task in self._tasks.values() if now >= task.submitted_at + self._keep_seconds]
        for task in gone:
            del self._tasks[task.uuid], self._by_subscription[task.subscription_key]


def _token(task_uuid: str, now: float) -> str:
    """Give a subscription key in the shape of a JWT (RFC 7519), as the API does; its signature is random."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"task": task_uuid, "iat": int(now)})
    texts = (json.dumps(part, separators=(",", ":")).encode() for part in parts)
    return ".".join(base64.urlsafe_b64encode(text).decode().rstrip("=") for text in (*texts, secrets.token_bytes(32)))
