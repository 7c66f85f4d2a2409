"""Damaged files of every format, small and of a gigabyte: judged without an error, within bounds of memory and reading."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from effort import searching
from hypothesis import given
from hypothesis import strategies as st
from mutations import Wreck, damaged

from rodin_watchd.adapters.images import BROKEN, UNDECODABLE, why_undecodable
from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.core.formats import (
    IMAGE_EXTENSIONS,
    JPEG_LIMIT_BYTES,
    MODEL_EXTENSIONS,
    READ_LIMIT_BYTES,
    examine,
    probe,
)
from rodin_watchd.core.formats.source import FileVerdict, Wholeness
from rodin_watchd.core.sets import Content
from rodin_watchd.model import Kind

FOLDER = Path(__file__).parents[1] / "samples"
GIGABYTE = 1_000_000_000
MEMORY_BYTES = 2_000_000
"""What one look at a file may take: a few times what it reads."""


def archive() -> bytes:
    """Return a USDZ as an exporter makes it: a ZIP archive whose members are stored."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as made:
        made.writestr(zipfile.ZipInfo("chair.usdc"), b"PXR-USDC" + bytes(range(256)) * 30)
        made.writestr(zipfile.ZipInfo("wood.png"), b"\x89PNG" + bytes(range(256)) * 20)
    return stream.getvalue()


def fbx() -> bytes:
    """Return a binary FBX of two nodes, the closing empty record and the footer."""
    data = b"Kaydara FBX Binary  \0\x1a\0" + struct.pack("<I", 7400)
    for _ in range(2):
        data += struct.pack("<I", len(data) + 4 + 900) + b"\x01" * 900
    footer = bytes.fromhex("f85a8c6adef5d97eece90ce3758f290b")
    return data + bytes(13) + b"\xfa\xbc" + bytes(120) + footer


SAMPLES = {
    **{path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix not in (".md", ".txt", "")},
    "made.usdz": archive(),
    "made.fbx": fbx(),
    "ascii.stl": b"solid chair\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nendloop\nendfacet\nendsolid chair\n",
    "same.jpeg": (FOLDER / "matcap-b.jpg").read_bytes(),
}
MODELS = {path.name: path.read_bytes() for path in sorted((FOLDER / "exporters").iterdir()) if path.suffix != ".md"}
EXTENSIONS = sorted({Path(name).suffix for name in SAMPLES})
IMAGES = {name: data for name, data in SAMPLES.items() if Path(name).suffix in IMAGE_EXTENSIONS}


class Counted(io.RawIOBase):
    """A file that counts what is read from it."""

    def __init__(self, inner: io.RawIOBase | io.BytesIO) -> None:
        self.inner = inner
        self.read_bytes = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move."""
        return self.inner.seek(offset, whence)

    def read(self, size: int = -1, /) -> bytes:
        """Read and count."""
        data = self.inner.read(size) or b""
        self.read_bytes += len(data)
        return data


def judged(extension: str, file: io.RawIOBase | io.BytesIO, size: int) -> FileVerdict:
    """Judge a file, and check that this is bounded and told in one line."""
    counted = Counted(file)
    verdict = probe(extension, counted, size)  # type: ignore[arg-type]  # RawIOBase lacks BinaryIO's extras
    assert counted.read_bytes <= READ_LIMIT_BYTES + (2 * JPEG_LIMIT_BYTES if extension in IMAGE_EXTENSIONS else 0)
    assert verdict.wholeness in Wholeness
    assert len(verdict.detail) < 200
    assert verdict.detail.isprintable()
    return verdict


def examined(extension: str, data: bytes) -> FileVerdict:
    """Examine all of a file, and check what is said of it."""
    verdict = examine(extension, io.BytesIO(data), len(data))
    assert verdict.wholeness in Wholeness
    for text in (verdict.detail, *verdict.warnings):
        assert len(text) < 200
        assert text.isprintable()
    return verdict


@given(damaged(MODELS), st.none() | st.sampled_from(sorted(MODEL_EXTENSIONS)))
@searching(300)
def test_damaged_models_are_examined(wreck: Wreck, other: str | None) -> None:
    """Whatever was done to a real file: it is judged, and what its ends alone refuse stays refused."""
    extension = other or Path(wreck.name).suffix
    verdict = examined(extension, wreck.data)
    ends = probe(extension, io.BytesIO(wreck.data), len(wreck.data))
    if ends.wholeness in {Wholeness.WRONG, Wholeness.UNFINISHED}:
        assert verdict == ends


@given(st.sampled_from(["suzi-draco.glb", "pmndrs.glb"]), st.data())
@searching(300)
def test_any_json_is_examined(name: str, drawn: st.DataObject) -> None:
    """Values of any kind in the place of any value of a real GLB."""
    data = SAMPLES[name]
    length = int.from_bytes(data[12:16], "little")
    gltf = json.loads(data[20 : 20 + length])
    place = gltf
    while drawn.draw(st.booleans()) and isinstance(place, dict | list) and place:
        key = drawn.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or drawn.draw(st.booleans()):
            place[key] = drawn.draw(JSON)
            break
        place = place[key]
    text = json.dumps(gltf).encode()
    text += b" " * (-len(text) % 4)
    made = len(text).to_bytes(4, "little") + b"JSON" + text + data[20 + length :]
    examined(".glb", data[:8] + (12 + len(made)).to_bytes(4, "little") + made)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.integers(-2, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["mesh", "uri", "byteLength"]), inner),
    max_leaves=5,
)


def test_every_format_that_is_taken_is_damaged_here() -> None:
    """No extension is forgotten."""
    assert set(EXTENSIONS) == {*MODEL_EXTENSIONS, *IMAGE_EXTENSIONS}
    verdicts = {name: judged(Path(name).suffix, io.BytesIO(data), len(data)) for name, data in SAMPLES.items()}
    odd = {name for name, verdict in verdicts.items() if verdict.wholeness is not Wholeness.WHOLE}
    assert odd == {"bunny.obj"}  # of which it cannot be known


@given(damaged(SAMPLES), st.none() | st.sampled_from(EXTENSIONS))
@searching(300)
def test_damaged_files_are_judged(wreck: Wreck, other: str | None) -> None:
    """Whatever was done to a real file, under its own extension or another, it is judged, and each time alike."""
    extension, data = other or Path(wreck.name).suffix, wreck.data
    first, second = (judged(extension, io.BytesIO(data), len(data)) for _ in range(2))
    assert first == second


@given(damaged(SAMPLES), st.none() | st.sampled_from(EXTENSIONS), st.booleans())
@searching(120)
def test_a_damaged_beginning_and_a_gigabyte_of_holes(
    tmp_path_factory: pytest.TempPathFactory, wreck: Wreck, other: str | None, ends: bool
) -> None:
    """A sparse file of 1 GB is judged in the memory and with the reads of a small one, whatever it begins and ends with."""
    name, data = wreck.name, wreck.data
    path = tmp_path_factory.getbasetemp() / "sparse"
    with path.open("wb") as file:
        file.write(data[:100_000])
        file.truncate(GIGABYTE)
        if ends:
            file.seek(GIGABYTE - len(data[-100_000:]))
            file.write(data[-100_000:])
    with path.open("rb", buffering=0) as file:
        tracemalloc.start()
        try:
            judged(other or Path(name).suffix, file, GIGABYTE)
            assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
        finally:
            tracemalloc.stop()


@given(damaged(SAMPLES))
@searching(100)
def test_damaged_files_are_judged_in_the_inbox(tmp_path_factory: pytest.TempPathFactory, wreck: Wreck) -> None:
    """The look at the inbox sees the file, and its judgement is the one of its bytes."""
    name, data = wreck.name, wreck.data
    folder = tmp_path_factory.getbasetemp() / "inbox"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    inbox = Inbox(folder)
    [entry] = inbox.look().entries
    assert (entry.path, entry.kind, entry.signature.size) == (name, Kind.FILE, len(data))
    content = inbox.probe(entry)
    assert isinstance(content, Content)
    assert content.verdict == judged(Path(name).suffix, io.BytesIO(data), len(data))
    (folder / name).unlink()


@given(damaged(IMAGES))
@searching(150)
def test_damaged_images_are_decoded_or_refused(tmp_path_factory: pytest.TempPathFactory, wreck: Wreck) -> None:
    """No damage to an image raises anything, and what is said of it is one of few sentences."""
    path = tmp_path_factory.getbasetemp() / "image"
    path.write_bytes(wreck.data)
    said = why_undecodable(path)
    assert said in ("", UNDECODABLE, BROKEN) or said.startswith("it has more than ")


def test_a_zip_bomb_is_never_unpacked() -> None:
    """A USDZ whose members unpack to gigabytes costs what its own few bytes cost: its members have to be stored."""
    stream = io.BytesIO()
    zeros = bytes(1 << 20)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        for number in range(3):
            with made.open(f"{number}.usdc", "w") as member:
                for _ in range(300):
                    member.write(zeros)
    data = stream.getvalue()
    tracemalloc.start()
    try:
        assert judged(".usdz", io.BytesIO(data), len(data)).wholeness is not Wholeness.WHOLE
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


def test_a_zip_of_a_million_members_is_not_walked() -> None:
    """A directory that claims to be endless is given up."""
    entry = b"PK\1\2" + bytes(24) + struct.pack("<HHH", 1, 0, 0) + bytes(12) + b"a"
    directory = entry * 100_000
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(directory), 4, 0)
    data = b"PK\3\4" + directory + end
    tracemalloc.start()
    try:
        judged(".usdz", io.BytesIO(data), len(data))
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


BOUNDED = """
import resource, sys
from pathlib import Path
from rodin_watchd.adapters.images import why_undecodable
resource.setrlimit(resource.RLIMIT_AS, (1_200_000_000,) * 2)
for path in sys.argv[1:]:
    print(why_undecodable(Path(path)))
"""


def test_sparse_and_hollow_images_are_decoded_in_bounded_memory(tmp_path: Path) -> None:
    """Images of 1 GB of holes, and small ones that claim the most pixels that are taken, in a process of bounded memory."""
    paths = []
    for name, data in IMAGES.items():
        paths.append(tmp_path / f"sparse-{name}")
        with paths[-1].open("wb") as file:
            file.write(data)
            file.truncate(GIGABYTE)
    rows = zlib.compress(bytes(10_000 * (1 + 10_000 // 8)), 1)
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    hollow = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    paths.append(tmp_path / "hollow.png")
    paths[-1].write_bytes(b"\x89PNG\r\n\x1a\n" + hollow)
    command = [sys.executable, "-c", BOUNDED, *map(str, paths)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert said == [*["it has more than 200,000,000 bytes"] * len(IMAGES), ""]
