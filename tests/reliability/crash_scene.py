"""A service's folder with sets in it whose every byte is known, for the proofs under crashes."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import struct
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from PIL import Image

from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.emulator.texture import text_image
from rodin_watchd.errors import OldJournalError
from rodin_watchd.model import Event, Job

KEY = "emulator-key"

SETTLE_SECONDS = 0.3
"""The emulated vendor charges at once."""

CONFIG = """\
[api]
base_url = "{base_url}"
requests_per_minute = 100000
read_seconds = 10
[intake]
sidecar_wait_seconds = 0
quiet_seconds = 0.05
unproven_quiet_seconds = 0.05
{intake}[polling]
min_seconds = 0.05
max_seconds = 0.1
[budget]
settle_seconds = {settle}
"""


PLUGINS = """\
[plugins]
folders = ["plugins"]
"""

PLUGIN = """\
from pathlib import Path
from rodin_watchd.v1 import hookimpl

@hookimpl
def rodin_process(job, directory):
    (directory / "{mark}").write_text(job.id)
    return {{"marked": job.id}}

@hookimpl
def rodin_delivered(job, directory, event):
    if not (directory / "{mark}").exists():
        raise FileNotFoundError("told of what is not there")
    with Path({log!r}).open("a") as log:
        log.write(f"{{job.id}} {{event.id}}\\n")
"""
"""Marks each result, and notes each time that it is told of one."""

MARK = "marked.txt"


class End(StrEnum):
    """How a set must end, unless a person has to decide about it."""

    DELIVERED = "archived"
    REFUSED = "refused"  # failed before the vendor heard of it
    FAILS = "failed"  # the vendor took the money and failed


@dataclass(frozen=True)
class DroppedSet:
    """One set: its files (path in the inbox -> bytes), what of them is bought, how it must end."""

    name: str
    files: Mapping[str, bytes]
    model: str  # of a new model, which has none: its TOML file; no other set has this file
    image: str = ""
    end: End = End.DELIVERED
    views: tuple[str, ...] | None = None  # of a new model: its images, in the order in which they are sent
    prompt: str = ""  # of a new model without images: what it is made of

    @property
    def bought(self) -> tuple[str | None, str]:
        """What the vendor's ledger knows it by."""
        if self.views is None:
            return sha256(self.files[self.model]), sha256(self.files[self.image])
        digests = [sha256(self.files[view]) for view in self.views] or [sha256(text_image(self.prompt))]
        return None, digests[0] if len(digests) == 1 else sha256("".join(digests).encode())


def sha256(data: bytes) -> str:
    """Return the digest of these bytes, as hex."""
    return hashlib.sha256(data).hexdigest()


def stl(seed: int) -> bytes:
    """Return a small pyramid as binary STL; another one for each seed."""
    tip = (0.0, 0.0, 1.0 + seed / 1000)
    corners = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    faces = (corners, (corners[0], corners[1], tip), (corners[1], corners[2], tip), (corners[2], corners[0], tip))
    packed = (struct.pack("<12fH", 0, 0, 0, *a, *b, *c, 0) for a, b, c in faces)
    return bytes(80) + struct.pack("<I", len(faces)) + b"".join(packed)


def packed_glb(seed: int, size: int = 0) -> bytes:
    """Return a whole GLB file whose mesh is packed, which the emulator takes and then fails on; of about `size` bytes, if given."""
    packed = b"DRACO" + b"rodin-watchd" * max(size // 12, 1)
    document = {
        "asset": {"version": "2.0", "generator": f"{seed}"},
        "extensionsRequired": ["KHR_draco_mesh_compression"],
        "buffers": [{"byteLength": len(packed)}],
        "bufferViews": [{"buffer": 0, "byteLength": len(packed)}],
        "accessors": [{"componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "extensions": _PACKED}]}],
    }
    text = json.dumps(document).encode()
    text, packed = text + b" " * (-len(text) % 4), packed + bytes(-len(packed) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(packed), b"BIN\0") + packed
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


_PACKED = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}


def png(seed: int) -> bytes:
    """Return a small picture; another one for each seed."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (seed % 256, seed // 256 % 256, 7)).save(stream, "PNG")
    return stream.getvalue()


def base_name_set(seed: int) -> DroppedSet:
    """Give a model and an image of one name."""
    name = f"base{seed}"
    return DroppedSet(
        name, {f"{name}.stl": stl(seed), f"{name}.png": png(seed)}, model=f"{name}.stl", image=f"{name}.png"
    )


def sidecar_sets(seed: int) -> tuple[DroppedSet, DroppedSet]:
    """Give two sets whose sidecars name one image."""
    image = f"shared{seed}.png"

    def one(side: str, number: int) -> DroppedSet:
        name, model = f"{side}{seed}", f"model-{side}{seed}.stl"
        sidecar = f'model = "{model}"\nimage = "{image}"\n'.encode()
        files = {f"{name}.toml": sidecar, model: stl(number), image: png(seed)}
        return DroppedSet(name, files, model=model, image=image)

    return one("left", seed), one("right", seed + 1)


def folder_set(seed: int) -> DroppedSet:
    """Give a set that is dropped as a folder."""
    name = f"crate{seed}"
    files = {f"{name}/model.stl": stl(seed), f"{name}/picture.png": png(seed)}
    return DroppedSet(name, files, model=f"{name}/model.stl", image=f"{name}/picture.png")


def refused_set(seed: int) -> DroppedSet:
    """Give a set whose sidecar asks for what there is not."""
    name = f"bad{seed}"
    files = {f"{name}.stl": stl(seed), f"{name}.png": png(seed), f"{name}.toml": f"colour = {seed}\n".encode()}
    return DroppedSet(name, files, model=f"{name}.stl", image=f"{name}.png", end=End.REFUSED)


def failing_set(seed: int) -> DroppedSet:
    """Give a set whose task the vendor takes, charges and fails."""
    name = f"broken{seed}"
    files = {f"{name}.glb": packed_glb(seed), f"{name}.png": png(seed)}
    return DroppedSet(name, files, model=f"{name}.glb", image=f"{name}.png", end=End.FAILS)


def followed_set(seed: int) -> DroppedSet:
    """Give an image of which a new model is to be made, which is to be textured then. What is bought first is the image alone."""
    name = f"new{seed}"
    files = {f"{name}.png": png(seed), f"{name}.toml": b'kind = "generate"\nthen = "texture"\n'}
    return DroppedSet(name, files, model=f"{name}.toml", image=f"{name}.png", views=(f"{name}.png",))


def new_model_sets(seed: int) -> tuple[DroppedSet, ...]:
    """Give sets of new models: several images that a TOML file names, a text alone at a price of its own, one that is refused."""
    names = tuple(f"{side}{seed}.png" for side in ("front", "back", "left"))
    views = {name: png(seed + number) for number, name in enumerate(names)}
    listed = ", ".join(f'"{name}"' for name in names)
    named = {f"views{seed}.toml": f'kind = "generate"\nimages = [{listed}]\n'.encode(), **views}
    prompt = f"a red dragon {seed}"
    text = f'kind = "generate"\nprompt = "{prompt}"\nimages = []\naddons = "HighPack"\n'.encode()
    wrong = {f"odd{seed}.png": png(seed + 3), f"odd{seed}.toml": b'kind = "generate"\nresolution = "High"\n'}
    return (
        DroppedSet(f"views{seed}", named, model=f"views{seed}.toml", views=names),
        DroppedSet(f"dragon{seed}", {f"dragon{seed}.toml": text}, model=f"dragon{seed}.toml", views=(), prompt=prompt),
        DroppedSet(f"odd{seed}", wrong, model=f"odd{seed}.toml", end=End.REFUSED, views=(f"odd{seed}.png",)),
    )


def turned_set(seed: int) -> DroppedSet:
    """Give a folder that becomes a new model: two images and a TOML file."""
    name = f"turn{seed}"
    images = {f"{name}/{side}.png": png(seed + number) for number, side in enumerate(("back", "front"))}
    files = {f"{name}/what.toml": b'kind = "generate"\n', **images}
    return DroppedSet(name, files, model=f"{name}/what.toml", views=tuple(images))


def all_kinds(seed: int) -> tuple[DroppedSet, ...]:
    """Give one set of each kind; the next call needs a seed higher by ten."""
    return (
        base_name_set(seed),
        *sidecar_sets(seed + 1),
        folder_set(seed + 3),
        refused_set(seed + 4),
        failing_set(seed + 5),
    )


class Inventory:
    """Every content that was ever dropped: how often, for how many sets, and what artists took away or wrote over themselves."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}  # SHA-256 -> the path that it was dropped at last
        self._dropped: Counter[str] = Counter()
        self._sets: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self.meddled = False  # whether artists have changed what lay in the inbox

    def dropped(self, path: str, data: bytes, sets: int = 1) -> None:
        """Note that a file was dropped at a path in the inbox, which so many sets name."""
        digest = sha256(data)
        self.names[digest] = path
        self._dropped[digest] += 1
        self._sets[digest] += sets

    def named_again(self, data: bytes) -> None:
        """Note that a set was dropped once more of which this file still lay there: for what others do, it may be copied."""
        self._sets[sha256(data)] += 1

    def taken(self, data: bytes) -> None:
        """Note that an artist has removed a file of this content, or written over it: it is no longer owed to anybody."""
        self._taken[sha256(data)] += 1
        self.meddled = True

    def least(self, digest: str) -> int:
        """Return in how many places a content must be."""
        return max(self._dropped[digest] - self._taken[digest], 0)

    def most(self, digest: str) -> int:
        """Return in how many places a content may be."""
        return self._sets[digest]


class Scene:
    """A service's root, its config, and what was dropped there: every byte, for as long as the scene lasts."""

    def __init__(self, root: Path, base_url: str, *, plugin: bool = False, intake: str = "", more: str = "") -> None:
        """Make the folders and write the config: `intake` is added to its [intake], `more` at its end."""
        self.root = root
        self.told = root.parent / "told.log" if plugin else None  # where the plugin notes what it is told
        self.inbox = root / "inbox"
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.config = root / "config.toml"
        self.config.write_text(
            CONFIG.format(base_url=base_url, intake=intake, settle=SETTLE_SECONDS) + (PLUGINS if plugin else "") + more
        )
        if self.told:
            (root / "plugins").mkdir(mode=0o755)
            (root / "plugins" / "marker.py").write_text(PLUGIN.format(mark=MARK, log=str(self.told)))
        self.journal = root / ".rodin-watchd" / "journal.sqlite3"
        self.sets: list[DroppedSet] = []
        self.inventory = Inventory()
        self.others: list[Scene] = []  # roots of other services that serve the same inbox, or are copies

    def drop(self, sets: Iterable[DroppedSet]) -> None:
        """Drop these sets, as a plain copy does: file by file, in place; images last.

        (An image that is there before the second sidecar that names it may be moved for the first one.)
        """
        dropped = list(sets)
        self.sets += dropped
        files = {path: data for one in dropped for path, data in one.files.items()}
        for path, data in files.items():
            self.inventory.dropped(path, data, sets=sum(path in one.files for one in dropped))
        for path in sorted(files, key=lambda path: path.endswith(".png")):
            target = self.inbox / path
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(files[path])

    def history(self) -> dict[str, tuple[Job, list[Event]]]:
        """Return every job of the journal with its events; read from a copy, so that the scene of a crash stays as it is."""
        if not self.journal.exists():
            return {}
        with tempfile.TemporaryDirectory(prefix="crash-journal-") as folder:
            copy = Path(folder, self.journal.name)
            for part in ("", "-wal", "-journal"):
                source = Path(f"{self.journal}{part}")
                if source.exists():
                    shutil.copyfile(source, f"{copy}{part}")
            return _read(copy)


def _read(journal: Path) -> dict[str, tuple[Job, list[Event]]]:
    """Read a journal that may have been left at any moment, also before its tables were made."""
    if not journal.read_bytes():
        return {}
    _recover(journal)
    try:
        reader = JournalReader(journal)
    except OldJournalError:  # its first run did not come so far
        return {}
    with closing(reader):
        return {job.id: (job, reader.events(job.id)) for job in reader.jobs()}


def _recover(journal: Path) -> None:
    """Let SQLite take up what its logs hold, as the next start would."""
    with closing(sqlite3.connect(journal)) as db:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
