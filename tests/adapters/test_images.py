"""Images as they come: sound, broken, lying about what they are, and far too large."""

from __future__ import annotations

import functools
import io
import os
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from rodin_watchd.adapters.images import (
    BROKEN,
    MOST_BYTES,
    MOST_HEADER_BYTES,
    MOST_PARTS,
    MOST_PIXELS,
    MOST_SCANS,
    UNDECODABLE,
    why_undecodable,
)
from rodin_watchd.core.formats import Wholeness, examine

SAMPLES = Path(__file__).parents[1] / "samples"
IMAGES = sorted(path for path in SAMPLES.iterdir() if path.suffix in (".png", ".jpg", ".webp"))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file (PNG specification, 5.3)."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes) -> bytes:
    """Return a PNG image of one bit for each pixel."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(path: Path, image: Image.Image, kind: str, **options: object) -> Path:
    """Save an image under a path that may lie about its kind."""
    image.save(path, kind, **options)
    return path


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_samples_are_sound(path: Path) -> None:
    """Real PNG, JPEG and WebP files have nothing wrong."""
    assert why_undecodable(path) == ""


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_cut_images_are_refused(path: Path, share: float, tmp_path: Path) -> None:
    """A file that breaks off is refused, wherever it does."""
    data = path.read_bytes()
    (tmp_path / path.name).write_bytes(data[: int(len(data) * share)])
    assert why_undecodable(tmp_path / path.name) in (UNDECODABLE, BROKEN)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    """Text, a model, and an image of a kind the vendor does not take are refused under any name."""
    (tmp_path / "text.png").write_text("This is no image.")
    shutil.copy(SAMPLES / "suzi.glb", tmp_path / "model.png")
    picture = Image.new("RGB", (8, 8))
    for kind in ("GIF", "TIFF", "BMP", "PPM"):
        saved(tmp_path / f"{kind}.png", picture, kind)
    assert {why_undecodable(path) for path in tmp_path.iterdir()} == {UNDECODABLE}


def test_flipped_bits_are_noticed(tmp_path: Path) -> None:
    """A PNG with damaged pixels is refused: its checksums say so."""
    data = bytearray((SAMPLES / "matcap-a.png").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 100] = bytes(100)
    (tmp_path / "damaged.png").write_bytes(data)
    assert why_undecodable(tmp_path / "damaged.png") == UNDECODABLE


def noise(width: int, height: int) -> Image.Image:
    """Return a picture that no packer makes small."""
    return Image.merge("RGB", [Image.effect_noise((width, height), 60) for _ in range(3)])


def product(width: int, height: int) -> Image.Image:
    """Return a picture of a thing on white, as shops have them."""
    picture = Image.new("RGB", (width, height), "white")
    picture.paste(noise(width // 4, height // 4), (width // 3, height // 3))
    return picture


def above_white(width: int, height: int) -> Image.Image:
    """Return a picture of a thing, and of nothing below it: what "nothing" costs in a lossy WebP depends on the thing."""
    picture = Image.new("RGB", (width, height), "white")
    picture.paste(noise(width, height // 3), (0, 0))
    return picture


def packed(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as a program saves it."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@functools.cache
def photos() -> dict[str, bytes]:
    """Return one picture as different programs save it."""
    photo = noise(640, 480)
    return {
        "plain.jpg": packed(photo, "JPEG", quality=90),
        "small.jpg": packed(photo, "JPEG", quality=70, optimize=True),
        "steps.jpg": packed(photo, "JPEG", quality=85, progressive=True),
        "restarts.jpg": packed(photo, "JPEG", quality=90, restart_marker_rows=1),
        "grey.jpg": packed(photo.convert("L"), "JPEG", quality=90),
        "ink.jpg": packed(photo.convert("CMYK"), "JPEG", quality=90),
        "plain.webp": packed(photo, "WEBP", quality=85),
        "exact.webp": packed(photo.resize((900, 700)), "WEBP", lossless=True, method=0),
        "plain.png": packed(photo, "PNG"),
    }


@pytest.mark.parametrize("name", photos())
def test_a_hole_in_an_image_is_noticed(name: str, tmp_path: Path) -> None:
    """A page of zeros anywhere, or zeros from anywhere to the end: decoders make a picture of that, and say nothing."""
    data, said = photos()[name], {}
    (tmp_path / name).write_bytes(data)
    assert why_undecodable(tmp_path / name) == ""
    for share in (0.3, 0.55, 0.8):
        at = int(len(data) * share)
        for end in (at + 4096, len(data) - 2, len(data)):
            (tmp_path / name).write_bytes(data[:at] + bytes(end - at) + data[end:])
            said[at, end] = why_undecodable(tmp_path / name)
    assert set(said.values()) <= {UNDECODABLE, BROKEN}


@pytest.mark.parametrize("name", [name for name in photos() if name.endswith("jpg")])
def test_a_jpeg_that_was_cut_and_closed_is_noticed(name: str, tmp_path: Path) -> None:
    """The end mark is there, and a part of the last scan is not: libjpeg paints that part grey."""
    data = photos()[name]
    for share in (0.3, 0.95):
        (tmp_path / name).write_bytes(data[: int(len(data) * share)].rstrip(b"\xff") + b"\xff\xd9")
        assert why_undecodable(tmp_path / name) in (UNDECODABLE, BROKEN)


def test_flat_images_whose_data_is_zeros_are_sound(tmp_path: Path) -> None:
    """White is packed into pages of zeros by programs that pack well: those are no holes."""
    picture = product(2400, 1800)
    images = {
        "small.jpg": packed(picture, "JPEG", quality=75, optimize=True),
        "steps.jpg": packed(picture, "JPEG", quality=75, progressive=True),
        "exact.webp": packed(picture, "WEBP", lossless=True, method=0),
        "plain.webp": packed(picture, "WEBP", quality=75),
        "white.webp": packed(Image.new("RGB", (3000, 2000), "white"), "WEBP"),
        "below.webp": packed(above_white(768, 768), "WEBP", quality=75, method=0),
        "film.webp": packed(above_white(768, 768), "WEBP", method=0, save_all=True, append_images=[noise(768, 768)]),
    }
    assert max(images["small.jpg"].count(bytes(4096)), images["exact.webp"].count(bytes(4096))) > 0
    for name, data in images.items():
        (tmp_path / name).write_bytes(data)
        assert examine(Path(name).suffix, io.BytesIO(data), len(data)).wholeness in (
            Wholeness.WHOLE,
            Wholeness.UNDECIDED,
        )
    assert images["below.webp"].count(bytes(1024)) > 0
    assert {name: why_undecodable(tmp_path / name) for name in images} == dict.fromkeys(images, "")


def test_zeros_that_fill_up_a_jpeg_are_no_hole(tmp_path: Path) -> None:
    """Some cameras fill up the data to a fixed size before the end mark; all of the picture comes before that."""
    data = photos()["plain.jpg"]
    (tmp_path / "camera.jpg").write_bytes(data[:-2] + bytes(5000) + data[-2:])
    assert why_undecodable(tmp_path / "camera.jpg") == ""


def test_what_comes_behind_an_image_does_not_count(tmp_path: Path) -> None:
    """A phone's film, the other pictures of an MPO, what an editor has left: the picture before it is whole."""
    film, photo = b"\0\0\0\x18ftypmp42" + bytes(9000) + b"\xff\xda\xff\xd9\xff", photos()
    images = {
        "motion.jpg": photo["plain.jpg"] + film,
        "several.jpg": packed(noise(64, 64), "MPO", save_all=True, append_images=[noise(64, 64)]),
        "half.jpg": packed(noise(64, 64), "MPO", save_all=True, append_images=[noise(64, 64)])[:-900],
        "left.png": photo["plain.png"] + film,
    }
    for name, data in images.items():
        (tmp_path / name).write_bytes(data)
    assert {name: why_undecodable(tmp_path / name) for name in images} == dict.fromkeys(images, "")


def test_unusual_images_are_sound(tmp_path: Path) -> None:
    """16 bits, CMYK, a palette, one bit, animations and wrong names are no reason to refuse an image."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green")]
    paths = [
        saved(tmp_path / "deep.png", Image.new("I;16", (16, 16), 40_000), "PNG"),
        saved(tmp_path / "grey.png", Image.new("1", (16, 16)), "PNG"),
        saved(tmp_path / "alpha.png", Image.new("RGBA", (16, 16)), "PNG"),
        saved(tmp_path / "palette.png", Image.new("P", (16, 16)), "PNG", transparency=b"\0\1"),
        saved(tmp_path / "ink.jpg", Image.new("CMYK", (16, 16)), "JPEG"),
        saved(tmp_path / "named.jpg", Image.new("RGB", (16, 16)), "PNG"),
        saved(tmp_path / "several.png", frames[0], "PNG", save_all=True, append_images=frames[1:]),
        saved(tmp_path / "several.webp", frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        saved(tmp_path / "lossless.webp", Image.new("RGBA", (16, 16)), "WEBP", lossless=True),
        saved(tmp_path / "steps.jpg", Image.new("RGB", (64, 64)), "JPEG", progressive=True),
    ]
    assert {path.name: why_undecodable(path) for path in paths} == {path.name: "" for path in paths}


@pytest.mark.parametrize("side", [10_001, 20_000, 60_000])
def test_bomb_is_refused_unread(side: int, tmp_path: Path) -> None:
    """More pixels than any reference image has are refused in words, before they are decoded."""
    (tmp_path / "bomb.png").write_bytes(png(side, side, b"\0"))  # decoding would say that it is cut
    assert why_undecodable(tmp_path / "bomb.png") == f"it has more than {MOST_PIXELS:,} pixels"


def webp_of_canvas(side: int) -> bytes:
    """Return an animated WebP of 182 bytes that claims a canvas (RFC 9649, 2.7.1)."""
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("black", "red")]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    data, size = bytearray(buffer.getvalue()), (side - 1).to_bytes(3, "little")
    start = data.index(b"VP8X") + 12
    data[start : start + 6] = size + size
    return bytes(data)


@pytest.mark.parametrize("side", [6_001, 9_999, 16_384])
def test_webp_bomb_is_refused_unread(side: int, tmp_path: Path) -> None:
    """The decoder holds the whole canvas several times, however little is drawn on it."""
    (tmp_path / "bomb.webp").write_bytes(webp_of_canvas(side))
    assert "pixels" in why_undecodable(tmp_path / "bomb.webp")


def jpeg_of_scans(side: int, more: int) -> bytes:
    """Return a progressive JPEG whose last scan, of a few bytes, comes so many more times."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * more + data[-2:]


@pytest.mark.parametrize(("more", "told"), [(0, ""), (40, ""), (41, "scans"), (100_000, "scans")])
def test_jpeg_of_endless_scans_is_refused_undecoded(more: int, told: str, tmp_path: Path) -> None:
    """Each scan of a few bytes costs a pass over all pixels: a small file could keep a core busy for days."""
    (tmp_path / "scans.jpg").write_bytes(jpeg_of_scans(64, more))
    assert why_undecodable(tmp_path / "scans.jpg") == (f"it has more than {MOST_SCANS} {told}" if told else "")


@pytest.mark.parametrize("progressive", [True, False])
def test_what_a_jpeg_carries_along_is_no_scan(progressive: bool, tmp_path: Path) -> None:
    """Marks of scans in a camera's notes, and in a film behind the picture's end, do not count."""
    buffer = io.BytesIO()
    notes = b"Exif\0\0" + b"\xff\xda\0\2" * 9_000
    Image.effect_noise((300, 300), 90).save(buffer, "JPEG", progressive=progressive, exif=notes, quality=95)
    (tmp_path / "phone.jpg").write_bytes(buffer.getvalue() + b"\xff\xda\0\2" * 9_000)
    assert why_undecodable(tmp_path / "phone.jpg") == ""


def webp_of_chunks(count: int) -> bytes:
    """Return a WebP with so many empty chunks behind its picture."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "WEBP")
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (7).to_bytes(3, "little") * 2
    body = b"WEBP" + extended + picture.getvalue()[12:] + b"note\0\0\0\0" * count
    return b"RIFF" + struct.pack("<I", len(body)) + body


def crowds(count: int) -> dict[str, bytes]:
    """Return images with at least so many parts that hold nothing."""
    good, photo = png(8, 8, bytes(16)), (SAMPLES / "matcap-b.jpg").read_bytes()
    return {
        "before.png": good[:33] + chunk(b"noTe", b"") * count + good[33:],
        "after.png": good[:-12] + chunk(b"noTe", b"") * count + good[-12:],
        "data.png": good[:-12] + chunk(b"IDAT", b"") * count + good[-12:],
        "notes.jpg": photo[:2] + b"\xff\xfe\0\2" * count + photo[2:],
        "ended.jpg": photo[:2] + b"\xff\xd9" + b"\xff\xfe\0\2" * count + photo[2:],
        "filled.jpg": photo[:2] + b"\xff" * count + photo[2:],
        "endless.jpg": photo[:2] + b"\xff" * count,
        "restarted.jpg": photo[:2] + b"\xff\xd0" * count + photo[2:],
        "behind.jpg": photo[:-2] + b"\xff\xfe\0\2" * count + photo[-2:],
        "notes.webp": webp_of_chunks(count),
    }


@pytest.mark.parametrize("name", crowds(0))
def test_images_of_endless_parts_are_refused_undecoded(name: str, tmp_path: Path) -> None:
    """Each part costs the decoder time and memory, also an empty one: 200 MB of them took minutes and gigabytes."""
    (tmp_path / name).write_bytes(crowds(MOST_PARTS + 1)[name])
    assert why_undecodable(tmp_path / name) == f"it has more than {MOST_PARTS:,} parts"


def test_some_parts_are_no_reason_to_refuse_an_image(tmp_path: Path) -> None:
    """Images of a thousand notes are sound, where they are images at all."""
    said = {}
    for name, data in crowds(1000).items():
        (tmp_path / name).write_bytes(data)
        said[name] = why_undecodable(tmp_path / name)
    assert said == {name: UNDECODABLE if name in ("ended.jpg", "endless.jpg") else "" for name in said}


def test_a_jpeg_whose_head_is_endless_is_refused_undecoded(tmp_path: Path) -> None:
    """What a camera says of a picture is put together piece by piece: the time grows with the square of its size."""
    photo = (SAMPLES / "matcap-b.jpg").read_bytes()
    piece = b"\xff\xe1" + struct.pack(">H", 60_002) + b"Exif\0\0" + bytes(60_000 - 6)
    (tmp_path / "head.jpg").write_bytes(photo[:2] + piece * (MOST_HEADER_BYTES // 60_000 + 1) + photo[2:])
    assert why_undecodable(tmp_path / "head.jpg") == f"it has a head of more than {MOST_HEADER_BYTES:,} bytes"


@functools.cache
def packed_gigabyte() -> bytes:
    """Return a gigabyte of zeros, packed."""
    packer, zeros = zlib.compressobj(1), bytes(1 << 20)
    return b"".join(packer.compress(zeros) for _ in range(1024)) + packer.flush()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_words_and_profiles_of_a_png_are_not_unpacked_without_bound(kind: bytes, tmp_path: Path) -> None:
    """Some megabytes that unpack to a gigabyte are refused; in a process whose memory is bounded."""
    head = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind]
    good = png(8, 8, bytes(16))
    (tmp_path / "bomb.png").write_bytes(good[:33] + chunk(kind, head + packed_gigabyte()) + good[33:])
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from rodin_watchd.adapters.images import why_undecodable\n"
        "resource.setrlimit(resource.RLIMIT_AS, (500_000_000, 500_000_000))\n"
        "print(why_undecodable(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "bomb.png")]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == f"{UNDECODABLE}\n"


def test_large_image_within_the_limit_is_taken_without_a_word(tmp_path: Path) -> None:
    """An image that Pillow warns of, but which is within our limit, is decoded and nobody is warned."""
    (tmp_path / "large.png").write_bytes(png(9_984, 9_984, bytes(9_984 * (1 + 9_984 // 8))))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert why_undecodable(tmp_path / "large.png") == ""
    assert caught == []


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """A file beyond all reason is refused by its size."""
    with (tmp_path / "huge.webp").open("wb") as file:
        file.write((SAMPLES / "matcap-c.webp").read_bytes())
        file.truncate(MOST_BYTES + 1)
    assert why_undecodable(tmp_path / "huge.webp") == f"it has more than {MOST_BYTES:,} bytes"


def test_many_threads_leave_the_filters_of_warnings_alone(tmp_path: Path) -> None:
    """Decoding in several threads at once changes nothing for the rest of the program."""
    image = saved(tmp_path / "image.jpg", Image.new("RGB", (64, 64)), "JPEG")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(why_undecodable, [image, *IMAGES] * 30)) == {""}
    assert list(warnings.filters) == before


def test_missing_file_is_not_the_images_fault(tmp_path: Path) -> None:
    """A file that cannot be opened or read raises OSError: nothing is said of the image."""
    with pytest.raises(FileNotFoundError):
        why_undecodable(tmp_path / "missing.png")
    with pytest.raises(IsADirectoryError):
        why_undecodable(tmp_path)


PEAK = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from rodin_watchd.adapters.images import why_undecodable
def peak_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
why_undecodable(Path(sys.argv[1]))
before = peak_kib()
with ThreadPoolExecutor(8) as pool:
    assert set(pool.map(why_undecodable, [Path(sys.argv[2])] * 8)) == {""}
print(peak_kib() - before)
"""


def test_memory_is_that_of_one_image(tmp_path: Path) -> None:
    """Eight threads with an image each take the memory of one image, not of eight."""
    small = saved(tmp_path / "small.png", Image.new("RGBA", (16, 16)), "PNG")
    large = saved(tmp_path / "large.png", Image.new("RGBA", (3000, 3000)), "PNG")
    command = [sys.executable, "-c", PEAK, str(small), str(large)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}  # what is in use counts, not what the allocator keeps
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=environment)
    assert 0.5 < int(answer.stdout) * 1024 / (3000 * 3000 * 4) < 2.5


def test_photo_is_not_decoded_to_full_size(tmp_path: Path) -> None:
    """A JPEG of many pixels is decoded whole, but to a fraction of its size."""
    buffer = io.BytesIO()
    Image.new("RGB", (3000, 3000)).save(buffer, "JPEG")
    data = buffer.getvalue()
    (tmp_path / "whole.jpg").write_bytes(data)
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) * 9 // 10])
    assert why_undecodable(tmp_path / "whole.jpg") == ""
    assert why_undecodable(tmp_path / "cut.jpg") == UNDECODABLE
