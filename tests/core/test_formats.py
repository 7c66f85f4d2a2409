"""Whether files are whole, by their content."""

from __future__ import annotations

import io
import itertools
import struct
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rodin_watchd.core.file_kinds import FILE_KINDS, advice_of, sniff
from rodin_watchd.core.formats import (
    IMAGE_EXTENSIONS,
    JPEG_LIMIT_BYTES,
    MODEL_EXTENSIONS,
    READ_LIMIT_BYTES,
    REFUSED_IMAGE_EXTENSIONS,
    REFUSED_MODEL_EXTENSIONS,
    examine,
    image_extension,
    probe,
)
from rodin_watchd.core.formats.source import FileVerdict, Wholeness

if TYPE_CHECKING:
    from collections.abc import Iterable

modest = settings(max_examples=200, deadline=None)

SAMPLES = Path(__file__).parents[1] / "samples"
EXTENSIONS = sorted(MODEL_EXTENSIONS | IMAGE_EXTENSIONS)
PAGE = 4096
WHOLE, UNFINISHED, UNDECIDED, WRONG = Wholeness.WHOLE, Wholeness.UNFINISHED, Wholeness.UNDECIDED, Wholeness.WRONG
FBX_FOOTER = bytes.fromhex("f85a8c6adef5d97eece90ce3758f290b")
FBX_MAGIC = b"Kaydara FBX Binary  \0\x1a\0"


class CountingStream(io.BufferedIOBase):
    """A stream that counts what is read from another one."""

    def __init__(self, inner: io.BufferedIOBase) -> None:
        """Take the real stream."""
        self.inner = inner
        self.bytes_read = 0
        self.reads = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move."""
        return self.inner.seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read and count."""
        data = self.inner.read(size)
        self.bytes_read += len(data)
        self.reads += 1
        return data


class BrokenStream(io.BytesIO):
    """A stream on a share that went away."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Fail as the operating system does."""
        raise OSError(5, f"Input/output error after {size} bytes")


def look(extension: str, data: bytes) -> FileVerdict:
    """Probe some bytes as a file."""
    return probe(extension, io.BytesIO(data), len(data))


def limit_of(extension: str) -> int:
    """Return how much may be read: any image may be a JPEG, whose end is looked for."""
    return READ_LIMIT_BYTES + (JPEG_LIMIT_BYTES if extension in IMAGE_EXTENSIONS else 0)


def look_within_bounds(extension: str, data: bytes) -> FileVerdict:
    """Probe some bytes and check everything that holds for every file."""
    stream = CountingStream(io.BytesIO(data))
    verdict = probe(extension, stream, len(data))  # type: ignore[arg-type]  # BufferedIOBase lacks BinaryIO's extras
    assert stream.bytes_read <= limit_of(extension)
    assert stream.reads <= 2100
    assert (verdict.detail == "") == (verdict.wholeness is WHOLE)
    assert verdict.detail.isprintable()
    return verdict


def sample(name: str) -> bytes:
    """Read a sample file."""
    return (SAMPLES / name).read_bytes()


def usdz(name: str = "chair.usdc", method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    """Make a ZIP archive as a USDZ exporter does."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo(name), b"PXR-USDC" + bytes(range(256)) * 30, method)
        archive.writestr(zipfile.ZipInfo("textures/wood.png"), b"\x89PNG" + bytes(range(256)) * 20)
        archive.comment = comment
    return stream.getvalue()


def fbx(version: int = 7400, *, footer: bytes = FBX_FOOTER, body: bytes = b"\x01nodes" * 900) -> bytes:
    """Make a binary FBX with two top-level nodes, the closing empty record and a footer."""
    offset = "<Q" if version >= 7500 else "<I"
    data = FBX_MAGIC + struct.pack("<I", version)
    for _ in range(2):
        data += struct.pack(offset, len(data) + struct.calcsize(offset) + len(body)) + body
    return data + bytes(25 if version >= 7500 else 13) + b"\xfa\xbc" + bytes(120) + footer


def ascii_stl(facets: int = 200, end: str = "endsolid chair leg\n") -> bytes:
    """Make an ASCII STL of equal triangles."""
    facet = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
    return f"solid chair leg\n{facet * facets}{end}".encode()


def glb(*chunks: tuple[bytes, bytes], length: int | None = None, version: int = 2) -> bytes:
    """Make a GLB of (kind, payload) chunks."""
    body = b"".join(struct.pack("<I", len(payload)) + kind + payload for kind, payload in chunks)
    return b"glTF" + struct.pack("<II", version, 12 + len(body) if length is None else length) + body


JSON_CHUNK = (b"JSON", b'{"asset":{"version":"2.0"}}  ')
BIN_CHUNK = (b"BIN\0", bytes(range(1, 101)))

WHOLE_FILES = {
    "suzi.glb": (".glb", sample("suzi.glb")),
    "suzi-draco.glb": (".glb", sample("suzi-draco.glb")),
    "bunny.glb": (".glb", sample("bunny.glb")),
    "pmndrs.glb": (".glb", sample("pmndrs.glb")),
    "pmndrs.stl": (".stl", sample("pmndrs.stl")),
    "matcap-a.png": (".png", sample("matcap-a.png")),
    "matcap-b.jpg": (".jpg", sample("matcap-b.jpg")),
    "matcap-b.jpeg": (".jpeg", sample("matcap-b.jpg")),
    "matcap-c.webp": (".webp", sample("matcap-c.webp")),
    "react.webp": (".webp", sample("react.webp")),
    "ascii.stl": (".stl", ascii_stl()),
    "made.usdz": (".usdz", usdz()),
    "commented.usdz": (".usdz", usdz(comment=b"made by hand")),
    "narrow.fbx": (".fbx", fbx(7400)),
    "wide.fbx": (".fbx", fbx(7700)),
}
each_whole_file = pytest.mark.parametrize(("extension", "data"), WHOLE_FILES.values(), ids=WHOLE_FILES.keys())


def cuts(size: int) -> Iterable[int]:
    """Choose where to cut a file: everywhere near its ends and its pages, and evenly between."""
    if size < 20_000:
        return range(size)
    near_pages = (page + off for page in range(0, size, PAGE) for off in (-1, 0, 1))
    chosen = itertools.chain(range(400), range(size - 400, size), range(0, size, 211), near_pages)
    return sorted({cut for cut in chosen if 0 <= cut < size})


@each_whole_file
def test_a_whole_file_is_whole(extension: str, data: bytes) -> None:
    """Every real or well made file is known to be whole, and nothing is said about it."""
    assert look_within_bounds(extension, data) == FileVerdict(WHOLE, "")


@each_whole_file
def test_no_truncation_is_whole(extension: str, data: bytes) -> None:
    """A file that is cut anywhere is never taken for whole, nor for another format."""
    seen = {look_within_bounds(extension, data[:cut]).wholeness for cut in cuts(len(data))}
    assert UNFINISHED in seen
    assert seen <= {UNFINISHED, UNDECIDED}


@each_whole_file
def test_no_preallocated_copy_is_whole(extension: str, data: bytes) -> None:
    """A copy that has its full size and zeros from any page on is never taken for whole, nor for another format."""
    for cut in range(0, len(data), PAGE):
        assert look_within_bounds(extension, data[:cut] + bytes(len(data) - cut)).wholeness in {UNFINISHED, UNDECIDED}


@each_whole_file
def test_no_unaligned_preallocated_copy_is_whole(extension: str, data: bytes) -> None:
    """A preallocated copy that is not filled page by page is not taken for whole either, down to its last 64 bytes."""
    for cut in (cut for cut in cuts(len(data)) if cut <= len(data) - 64):
        assert look(extension, data[:cut] + bytes(len(data) - cut)).wholeness in {UNFINISHED, UNDECIDED}


@modest
@given(extension=st.sampled_from(EXTENSIONS), data=st.binary(max_size=600))
def test_random_bytes_are_judged_within_bounds(extension: str, data: bytes) -> None:
    """Random bytes never raise and are read within the bound."""
    assert look_within_bounds(extension, data).wholeness in set(Wholeness)


@modest
@given(name=st.sampled_from(sorted(WHOLE_FILES)), junk=st.binary(min_size=1, max_size=12), where=st.floats(0, 1))
def test_damaged_files_are_judged_within_bounds(name: str, junk: bytes, where: float) -> None:
    """A few bytes overwritten near the beginning of a real file never raise and are read within the bound."""
    extension, data = WHOLE_FILES[name]
    at = int(where * min(len(data), 200))
    assert look_within_bounds(extension, data[:at] + junk + data[at + len(junk) :]).wholeness in set(Wholeness)


@modest
@given(
    data=st.binary(max_size=300), as_extension=st.sampled_from(EXTENSIONS), name=st.sampled_from(sorted(WHOLE_FILES))
)
def test_known_beginnings_with_random_ends_are_judged_within_bounds(data: bytes, as_extension: str, name: str) -> None:
    """Any format's beginning under any extension, with random bytes behind it, never raises."""
    assert look_within_bounds(as_extension, WHOLE_FILES[name][1][:40] + data).wholeness in set(Wholeness)


HOSTILE = {
    "many empty GLB chunks": (".glb", glb(JSON_CHUNK, *[(b"none", b"")] * 9000)),
    "many JPEG segments": (".jpg", b"\xff\xd8" + b"\xff\xe0\0\2" * 200_000),
    "many JPEG fill bytes": (".jpg", b"\xff\xd8" + b"\xff" * 900_000),
    "JPEG without end": (".jpg", b"\xff\xd8\xff\xda" + b"\x55" * 900_000),
    "many JPEG scans": (".jpg", b"\xff\xd8" + (b"\xff\xda\0\2" + b"\x55" * 290) * 3000),
    "many JPEG tables far apart": (".jpg", b"\xff\xd8" + (b"\xff\xdb\0\2" + b"\x55" * 60_000) * 15),
    "many PNG chunks": (".png", sample("matcap-a.png")[:33] + (bytes(4) + b"noTe" + bytes(4)) * 30_000),
    "many FBX nodes": (
        ".fbx",
        FBX_MAGIC + struct.pack("<I", 7400) + b"".join(struct.pack("<I", 31 + 4 * i) for i in range(9000)),
    ),
    "an FBX node that points back": (".fbx", FBX_MAGIC + struct.pack("<III", 7400, 31, 27) + bytes(50)),
    "a ZIP name of 64 KiB": (".usdz", b"PK\3\4" + bytes(22) + b"\xff\xff\0\0" + b"a" * 65535 + b"PK\5\6" * 40_000),
    "an OBJ of comments": (".obj", b"# only words\n" * 40_000),
    "an OBJ of blanks": (".obj", b"\n" + b" \t" * 400_000),
    "an ASCII STL of one line": (".stl", b"solid " + b"a" * 900_000),
}


@pytest.mark.parametrize(("extension", "data"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_are_read_within_bounds(extension: str, data: bytes) -> None:
    """Files made to keep a reader busy are given up within the bound, and never whole."""
    assert look_within_bounds(extension, data).wholeness is not WHOLE


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_huge_sparse_file_is_quick(extension: str, tmp_path: Path) -> None:
    """A file of 1 GB that is all hole behind a good beginning is judged by a few reads."""
    beginning = next(
        (data[:PAGE] for kind, data in WHOLE_FILES.values() if kind == extension), sample("bunny.obj")[:PAGE]
    )
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.write(beginning)
        file.truncate(1_000_000_000)
    with path.open("rb") as file:
        stream = CountingStream(file)
        verdict = probe(extension, stream, 1_000_000_000)  # type: ignore[arg-type]  # BufferedIOBase lacks BinaryIO's extras
    assert verdict.wholeness in {UNFINISHED, UNDECIDED}
    assert stream.bytes_read <= limit_of(extension)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_empty_file_is_unfinished(extension: str) -> None:
    """A file of no bytes has only just been made."""
    assert look(extension, b"") == FileVerdict(UNFINISHED, "the file is empty")


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("size", [1, 84, PAGE, 3 * PAGE + 7])
def test_a_file_of_zeros_is_unfinished(extension: str, size: int) -> None:
    """A preallocated file that nothing was written to yet is no other format."""
    assert look(extension, bytes(size)).wholeness is UNFINISHED


@pytest.mark.parametrize("extension", sorted(set(EXTENSIONS) - {".stl", ".obj"}))
def test_a_first_page_of_zeros_is_unfinished(extension: str) -> None:
    """A copy whose later pages were written first is not taken for another format."""
    data = next(data for kind, data in WHOLE_FILES.values() if kind == extension)
    verdict = look(extension, bytes(PAGE) + data[PAGE:] + b"\x07")
    assert verdict == FileVerdict(UNFINISHED, "its first bytes are not written yet")


def test_an_extension_that_nobody_reads_is_undecided() -> None:
    """An extension without a probe does not raise."""
    assert look(".toml", b"seed = 1") == FileVerdict(UNDECIDED, ".toml files are not checked")


def test_errors_of_the_stream_pass_through() -> None:
    """A share that goes away is the caller's to judge, not the file's fault."""
    with pytest.raises(OSError, match="Input/output error"):
        probe(".glb", BrokenStream(b"glTF"), 4)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_file_that_shrinks_while_it_is_read_is_unfinished(extension: str) -> None:
    """A file that holds less than its size said is not all there."""
    data = next((data for kind, data in WHOLE_FILES.values() if kind == extension), sample("bunny.obj"))
    stream = io.BytesIO(data[:2000])
    assert probe(extension, stream, len(data)).wholeness is UNFINISHED


WRONG_FILES = [
    (".glb", sample("matcap-a.png"), "this is a PNG image, not a GLB model: rename it to .png"),
    (".glb", sample("matcap-b.jpg"), "this is a JPEG image, not a GLB model: rename it to .jpg"),
    (
        ".glb",
        b'{"asset": {"version": "2.0"}}',
        "this is a glTF text file, not a GLB model: export it as .glb, because a .gltf keeps its data in other files",
    ),
    (".glb", b"<!DOCTYPE html><title>Sign in</title>", "this is an HTML page, not a GLB model"),
    (".glb", fbx(), "this is an FBX model, not a GLB model: rename it to .fbx"),
    (".glb", usdz(), "this is a USDZ model, not a GLB model: rename it to .usdz"),
    (".glb", usdz("readme.txt"), "this is a ZIP archive, not a GLB model: unpack it"),
    (".glb", ascii_stl(), "this is an STL model, not a GLB model: rename it to .stl"),
    (".glb", b"no magic at all", "this is not a GLB model"),
    (".glb", b"glX", "this is not a GLB model"),
    (".glb", glb(JSON_CHUNK, version=1), "this is a GLB model of version 1, not 2: export it as glTF 2.0"),
    (".glb", glb((b"MESH", b"1234"), JSON_CHUNK), "this is a damaged GLB model: it does not begin with its JSON part"),
    (".png", b"\x89PNG\n\x1a\n", "this is not a PNG image"),
    (".png", b"GIF89a" + bytes(20), "this is a GIF image, not a PNG image: export it as .png or .jpg"),
    (".jpg", b"BM\x36\x10\0\0\0\0\0\0\x36\0\0\0", "this is a BMP image, not a JPEG image: export it as .png or .jpg"),
    (".jpg", b"\0\0\0\x1cftypavif\0\0\0\0", "this is an AVIF image, not a JPEG image: export it as .png or .jpg"),
    (
        ".jpeg",
        b"\0\0\0\x18ftypisom\0\0\0\0",
        "this is an MP4 video, not a JPEG image: save one of its pictures as .png",
    ),
    (".jpeg", b"%PDF-1.7\n", "this is a PDF document, not a JPEG image: export a page as .png"),
    (".webp", b"RIFF\x24\0\0\0WAVEfmt ", "this is not a WebP image"),
    (".stl", sample("suzi.glb"), "this is a GLB model, not an STL model: rename it to .glb"),
    (".stl", sample("bunny.obj"), "this is not an STL model"),
    (".stl", b"ply\nformat ascii 1.0\n", "this is a PLY model, not an STL model: export it as .glb"),
    (".obj", sample("pmndrs.stl")[80:], "this is not an OBJ model"),
    (".obj", sample("suzi.glb"), "this is a GLB model, not an OBJ model: rename it to .glb"),
    (".obj", b'<?xml version="1.0"?><COLLADA/>', "this is a Collada model, not an OBJ model: export it as .glb"),
    (".obj", b"\x4c\x01\x02\0.text\0\0\0\x08", "this is not an OBJ model"),
    (".fbx", b"{}", "this is a JSON file, not an FBX model"),
    (".fbx", sample("bunny.obj"), "this is not an FBX model"),
    (".usdz", b"PXR-USDC\0\x08", "this is a binary USD file, not a USDZ model: export it as .usdz or .glb"),
    (".usdz", usdz("a\u202eb.txt"), "this is a ZIP archive, not a USDZ model: its first file is “a\\u202eb.txt”"),
    (
        ".usdz",
        usdz(method=zipfile.ZIP_DEFLATED),
        "this is a ZIP archive, not a USDZ model: its files are compressed; export it again as .usdz or .glb",
    ),
]


@pytest.mark.parametrize(("extension", "data", "detail"), WRONG_FILES)
def test_a_wrong_file_is_named(extension: str, data: bytes, detail: str) -> None:
    """People read what their file really is."""
    assert look_within_bounds(extension, data) == FileVerdict(WRONG, detail)


SCAN = b"\xff\xda\0\2.."
FILM = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\2" * 100_000


def jpeg_of(frame: int, bits: int = 8) -> bytes:
    """Return a JPEG with a frame of this kind and one scan."""
    return b"\xff\xd8\xff" + bytes([frame]) + b"\0\x08" + bytes([bits]) + b"\0\x10\0\x10\0" + SCAN + b"\xff\xd9"


MADE_FILES = [
    (".jpg", sample("matcap-b.jpg") + FILM, UNDECIDED, "there are more bytes after its end"),
    (
        ".jpg",
        sample("matcap-b.jpg")[:-2] + b"\xff\xff\xff\xd9" + bytes(70),
        UNDECIDED,
        "there are more bytes after its end",
    ),
    (".jpg", sample("matcap-b.jpg")[:-2] + FILM[:12], UNFINISHED, "its end is missing"),
    (".jpg", sample("matcap-b.jpg")[:9000] + bytes(300_000), UNFINISHED, "its end is missing"),
    (".jpg", b"\xff\xd8\xff\xe0\0\4..stray" + SCAN + b"\xff\xd0..\xff\xdb\0\4.." + SCAN + b"\xff\xd9", WHOLE, ""),
    (".jpg", jpeg_of(0xC0), WHOLE, ""),
    (".jpg", jpeg_of(0xC2), WHOLE, ""),
    (
        ".jpg",
        jpeg_of(0xC1, 12),
        WRONG,
        "this is a JPEG image of 12 bits a channel instead of 8: export it as .png",
    ),
    *(
        (
            ".jpg",
            jpeg_of(frame),
            WRONG,
            f"this is a JPEG image of a rare kind ({rare}), which hardly any program reads: export it as .png",
        )
        for frame, rare in ((0xC3, "lossless"), (0xC9, "arithmetic-coded"), (0xC5, "hierarchical"))
    ),
    (
        ".jpg",
        b"\xff\xd8\xff\xe0\0\4.." + jpeg_of(0xF7)[2:],
        WRONG,
        "this is a JPEG-LS image, not a JPEG image: export it as .png or .jpg",
    ),
    (".png", sample("matcap-b.jpg"), WHOLE, ""),
    (".jpg", sample("matcap-c.webp"), WHOLE, ""),
    (".webp", sample("matcap-a.png"), WHOLE, ""),
    (
        ".jpg",
        sample("matcap-a.png")[:-40],
        UNFINISHED,
        f"it ends too early, at byte {len(sample('matcap-a.png')) - 40:,}",
    ),
    (".png", sample("matcap-a.png") + FILM, UNDECIDED, "there are more bytes after its end"),
    (
        ".png",
        b"\x89PNG\r\n\x1a\n\0\0\0\4CgBI" + sample("matcap-a.png")[8:],
        WRONG,
        "this is a PNG image from the inside of an iPhone app, which other programs cannot read: export it as .png again",
    ),
    (".glb", glb(JSON_CHUNK, BIN_CHUNK)[:100], UNFINISHED, "100 of 157 bytes are there"),
    (".glb", glb(JSON_CHUNK), WHOLE, ""),
    (".glb", glb(JSON_CHUNK, (b"XTRA", b"1234"), BIN_CHUNK), WHOLE, ""),
    (".glb", glb(JSON_CHUNK, BIN_CHUNK, length=0), UNFINISHED, "it ends too early, at byte 8"),
    (".glb", glb(JSON_CHUNK, version=0), UNFINISHED, "it ends too early, at byte 4"),
    (".glb", glb(JSON_CHUNK, (b"\0\0\0\0", b"")) + b"x", UNFINISHED, "it ends too early, at byte 49"),
    (".glb", glb((b"JSON", b"{}  ")) + b"tail", UNDECIDED, "there are more bytes after its end"),
    (".glb", b"glTF\2\0\0\0\x20\0\0\0\x40\0\0\0JSON" + b" " * 12, UNFINISHED, "it ends too early, at byte 32"),
    (
        ".glb",
        glb(JSON_CHUNK, (b"BIN\0", bytes(100))),
        UNDECIDED,
        "its last bytes are zeros: it may not be fully copied",
    ),
    (".glb", bytes(12) + glb(JSON_CHUNK)[12:], UNFINISHED, "its first bytes are not written yet"),
    (".glb", b"gl", UNFINISHED, "only its first 2 bytes are there"),
    (".png", sample("matcap-a.png") + bytes(512), UNDECIDED, "there are more bytes after its end"),
    (".png", sample("matcap-a.png")[:-1] + b"\x83", UNFINISHED, "its end is missing"),
    (".png", b"\x89PNG\r\n\x1a\n" + bytes(40), UNFINISHED, "it ends too early, at byte 12"),
    (".jpg", sample("matcap-b.jpg") + b"a phone's video", UNDECIDED, "there are more bytes after its end"),
    (".jpeg", sample("matcap-b.jpg")[:-2], UNFINISHED, "its end is missing"),
    (".jpg", b"\xff\xd8\xff\xe1\0\x08\xff\xd8\xff\xd9..\xff\xda", UNFINISHED, "it ends too early, at byte 14"),
    (".jpg", b"\xff\xd8\xff\xe1\0\x06\xff\xd8\xff\xd9", UNFINISHED, "its end is missing"),
    (".jpg", b"\xff\xd8\xff\xff\xd0\xff\xda\0\2..\xff\xd9", WHOLE, ""),
    (".jpg", b"\xff\xd8\xff\xd9\0\x04..\xff\xda\0\2..\xff\xd9", UNFINISHED, "it ends too early, at byte 2"),
    (".jpg", b"\xff\xd8\xff\x4f\0\x04..\xff\xda\0\2..\xff\xd9", UNFINISHED, "it ends too early, at byte 2"),
    (".png", sample("matcap-a.png")[:21] + sample("matcap-a.png")[-12:], UNFINISHED, "it ends too early, at byte 33"),
    (".webp", b"RIFF\x05\x01", UNFINISHED, "it ends too early, at byte 6"),
    (".webp", b"RIFF\0\0\0\0WEBPVP8 " + b"1" * 8, UNFINISHED, "it ends too early, at byte 4"),
    (".webp", b"RIFF\x0e\0\0\0WEBPVP8L\2\0\0\0??", WHOLE, ""),
    (
        ".webp",
        b"RIFF\x0c\x20\0\0WEBPVP8L\0\x20\0\0" + b"1" * 4096 + bytes(4096),
        UNDECIDED,
        "its last bytes are zeros: it may not be fully copied",
    ),
    (".webp", sample("react.webp") + b"x", UNDECIDED, "there are more bytes after its end"),
    (".stl", b"solid", UNFINISHED, "its last line, “endsolid”, is missing"),
    (".stl", b"sol", UNFINISHED, "only its first 3 bytes are there"),
    (".stl", b"solid nothing\nendsolid nothing\n", UNFINISHED, "it has no triangles"),
    (".stl", ascii_stl(3, "ENDSOLID\r\n \r\n"), WHOLE, ""),
    (".stl", ascii_stl(3, "endsolid chair"), UNDECIDED, "its last line may be incomplete"),
    (".stl", b"solid, yet binary".ljust(80) + struct.pack("<I", 2) + b"\x01" * 100, WHOLE, ""),
    (
        ".stl",
        b"solid, yet binary".ljust(80, b"\0") + struct.pack("<I", 3) + b"\1" * 99,
        UNFINISHED,
        "183 of 234 bytes are there",
    ),
    (".stl", b"BLENDER made this".ljust(80) + struct.pack("<I", 1) + b"\1" * 50, WHOLE, ""),
    (".stl", bytes(80) + bytes(4) + b"\1" * 50, UNFINISHED, "its triangle count has not been written yet"),
    (".stl", bytes(80) + struct.pack("<I", 1) + b"\1" * 52, UNDECIDED, "there are more bytes after its end"),
    (".usdz", usdz() + b"x", UNDECIDED, "there are more bytes after its end"),
    (".usdz", usdz()[:-22], UNFINISHED, "its directory, which comes last, is missing"),
    (
        ".usdz",
        usdz()[:-6] + b"\xff\xff\xff\xff\0\0",
        UNDECIDED,
        "it is a large ZIP archive (ZIP64), whose end is not checked",
    ),
    (".usdz", usdz()[:-2] + b"\x05\0", UNFINISHED, f"it ends too early, at byte {len(usdz()):,}"),
    (".usdz", usdz()[:-10] + b"\x01\0\0\0" + usdz()[-6:], UNFINISHED, "it ends too early, at byte 12,899"),
    (".fbx", fbx()[:9000] + bytes(2000), UNFINISHED, "it ends too early, at byte 10,835"),
    (".fbx", fbx()[:27] + bytes(90), UNFINISHED, "it ends too early, at byte 27"),
    (".fbx", fbx()[:27] + bytes(13), UNFINISHED, "it ends too early, at byte 27"),
    (".fbx", fbx()[:27] + b"\x1f\0\0\0\x1b" + bytes(90), UNFINISHED, "it ends too early, at byte 31"),
    (".fbx", fbx(footer=b""), UNDECIDED, "its closing mark is missing, which some programs do not write"),
    (".fbx", fbx(7500)[:9000], UNFINISHED, "it ends too early, at byte 9,000"),
    (
        ".fbx",
        b"; FBX 7.3.0 project file\nFBXHeaderExtension: {\n",
        UNDECIDED,
        "an ASCII FBX has no mark at its end",
    ),
    (".fbx", b"; F", UNFINISHED, "only its first 3 bytes are there"),
    (".fbx", b"; FBX 7.3.0\n" + bytes(90), UNFINISHED, "its last bytes have not been written yet"),
    (".obj", b"# a box\nv 1 2 3\nf 1 2 3\n", UNDECIDED, "an OBJ has no mark at its end"),
    (".obj", b"\xef\xbb\xbf# K\xf6rper\r\n\tv 1 2 3\r\n f 1 2 3", UNDECIDED, "an OBJ has no mark at its end"),
    (".obj", b"# a box\n", UNFINISHED, "it has no vertices (lines that begin with v)"),
    (".obj", b"# a box\nv 1 2 3\nvn 0 0 1\n", UNFINISHED, "it has no faces (lines that begin with f)"),
    (".obj", b"v 1 2 3\nf 1 2 3\n" + bytes(99), UNFINISHED, "its last bytes have not been written yet"),
]


@pytest.mark.parametrize(("extension", "data", "wholeness", "detail"), MADE_FILES)
def test_a_made_file_is_judged_as_its_format_says(
    extension: str, data: bytes, wholeness: Wholeness, detail: str
) -> None:
    """Each rule of each format, on the smallest file that shows it."""
    assert look_within_bounds(extension, data) == FileVerdict(wholeness, detail)


def test_an_obj_is_never_known_to_be_whole() -> None:
    """A real OBJ and all its truncations leave the decision to time; only an obviously short one is unfinished."""
    data = sample("bunny.obj")
    assert look_within_bounds(".obj", data).wholeness is UNDECIDED
    assert {look_within_bounds(".obj", data[:cut]).wholeness for cut in cuts(len(data))} == {UNFINISHED, UNDECIDED}


def test_a_preallocated_obj_is_unfinished() -> None:
    """A text never holds zeros, so a preallocated copy of one shows itself until its last page is there."""
    data = sample("bunny.obj")
    verdicts = {look(".obj", data[:cut] + bytes(len(data) - cut)).wholeness for cut in range(0, len(data), PAGE)}
    assert verdicts == {UNFINISHED}


@modest
@given(extra=st.binary(min_size=1, max_size=40))
@example(extra=b"\xff\xd9")
def test_a_thumbnail_does_not_end_a_jpeg(extra: bytes) -> None:
    """The end of an embedded thumbnail, before the first scan, is not the end of the picture."""
    payload = b"\xff\xd8" + extra + b"\xff\xd9"
    data = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + b"\xff\xda\0\2" + b"\x11" * 9
    assert look(".jpg", data).wholeness is UNFINISHED
    assert look(".jpg", data + b"\xff\xd9").wholeness is WHOLE


def test_every_extension_is_either_taken_or_refused() -> None:
    """No extension is both, all are lower case with a dot, and each refusal says what it is and what to do."""
    refused = {**REFUSED_MODEL_EXTENSIONS, **REFUSED_IMAGE_EXTENSIONS}
    assert len(refused) == len(REFUSED_MODEL_EXTENSIONS) + len(REFUSED_IMAGE_EXTENSIONS)
    assert len(refused) == sum(len(kind.extensions) for kind in FILE_KINDS)
    assert not MODEL_EXTENSIONS & IMAGE_EXTENSIONS
    assert not refused.keys() & (MODEL_EXTENSIONS | IMAGE_EXTENSIONS)
    assert all(e == e.lower() and e.startswith(".") for e in refused.keys() | MODEL_EXTENSIONS | IMAGE_EXTENSIONS)
    assert all(kind.advice.startswith(("export ", "rename it to .")) for kind in refused.values())
    assert all(kind.phrase.startswith(("a ", "an ")) for kind in FILE_KINDS)


BEGINNINGS = {magic: kind for kind in FILE_KINDS for magic in kind.magics}


@pytest.mark.parametrize("magic", BEGINNINGS)
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_each_known_beginning_is_named_under_every_extension(magic: bytes, extension: str) -> None:
    """Whatever a file is called, people read what it is and what to do, and do not wait for the rest of it."""
    found = sniff(magic + b"\x07" * 200)
    assert found is not None
    if magic == b"\xff\xd8\xff" or (magic, extension) in (
        (b"Kaydara FBX Binary", ".fbx"),
        (b"glTF", ".glb"),
        (b"\x89PNG\r\n\x1a\n", ".png"),
    ):
        return
    verdict = look_within_bounds(extension, magic + b"\x07" * 200)
    if image_extension(magic) and extension in IMAGE_EXTENSIONS:
        assert verdict.wholeness is UNFINISHED
        return
    advice = advice_of(found)
    assert verdict.wholeness is WRONG
    assert verdict.detail.startswith(f"this is {found}, not ")
    assert verdict.detail.endswith(f": {advice}" if advice else "")


def examined(extension: str, data: bytes) -> Wholeness:
    """Examine some bytes as a file."""
    return examine(extension, io.BytesIO(data), len(data)).wholeness


@pytest.mark.parametrize("name", ["matcap-a.png", "matcap-b.jpg"])
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_a_hole_in_an_image_is_waited_for(name: str, share: float) -> None:
    """All checksums are compared, and all of a JPEG is looked at, before its set is taken: its copy may go on."""
    data, extension = sample(name), Path(name).suffix
    at = int(len(data) * share)
    assert examined(extension, data) is WHOLE
    assert examined(extension, data[:at] + bytes(PAGE) + data[at + PAGE :]) is UNFINISHED


def test_images_of_endless_parts_are_examined_in_bounds() -> None:
    """Millions of empty parts and nearly long runs of zeros cost less than seconds."""
    zeros, scan = bytes(100), b"\xff\xd8\xff\xda\0\2" + bytes(100)
    hostile = {
        ".png": sample("matcap-a.png")[:33] + (bytes(4) + b"noTe" + bytes(4)) * 200_000 + zeros,
        ".jpg": scan
        + b"\xff\xd0" * 1_000_000
        + (b"\xff\xfe\0\2" * 300_000)
        + (bytes(63) + b"1") * 20_000
        + b"\xff\xd9",
        ".webp": b"RIFF\xff\xff\xff\0WEBP" + b"note\0\0\0\0" * 300_000 + zeros,
    }
    began = time.process_time()
    for extension, data in hostile.items():
        for other in (extension, ".png"):
            examined(other, data)
    assert time.process_time() - began < 6
