"""Damaged sidecars, hostile names and hostile options: told in words, made harmless, and sent as they are."""

from __future__ import annotations

import hashlib
import os
import shutil
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path

import pytest
from effort import searching
from hypothesis import given
from hypothesis import strategies as st
from mutations import Wreck, damaged

from rodin_watchd.adapters.rodin_client.upload import Upload, UploadBody
from rodin_watchd.core.names import RESULT_NAME_BYTES, junk_reason, match_key, printable, safe_result_names
from rodin_watchd.core.sidecar import Preset, Sidecar, read_preset, read_sidecar
from rodin_watchd.core.toml_text import LIMIT_BYTES
from rodin_watchd.emulator.forms import parse_multipart
from rodin_watchd.errors import SidecarError

SIDECARS = {
    "all": b'prompt = "worn oak"\nseed = 7\nreference_scale = 1.5\ngeometry_file_format = "obj"\nmaterial = "Shaded"\n'
    b'resolution = "High"\nmodel = "a/chair.glb"\nimage = "../b.png"\nagain = true\n\n[plugins.thumbs]\nsizes = [64, 256]\n',
    "lines": b'# a note\nprompt = """\nworn\n  oak"""\nmodel = \'C:\\chair.glb\'\r\nseed=1',
    "deep lists": b"prompt = " + b"[" * 20_000 + b"]" * 20_000,
    "deep tables": b"plugins = " + b"{a=" * 8_000 + b"1" + b"}" * 8_000,
    "dotted": b"plugins." + b".".join([b"a"] * 20_000) + b" = 1",
    "headers": b"[plugins.a]\n" * 2_000,
    "numbers": b"seed = " + b"9" * 40_000 + b"\nreference_scale = 1e999999\n",
    "odd values": b"seed = 0xFFFF\nreference_scale = nan\nprompt = 1979-05-27T07:32:00Z\nagain = 1\nmaterial = -inf\n",
    "many mistakes": b"\n".join(b"key_%d = 1" % number for number in range(3_000)),
    "quotes": b"prompt = " + b'"\\"' * 10_000,
    "escapes": b'prompt = "\\u0000\\U0010FFFF\\uFEFF\\u202e"\nmodel = "\\u0000.glb"\n',
    "a mark first": b"\xef\xbb\xbfseed = 1\n",
    "utf-16": "seed = 1\n".encode("utf-16"),
    "too long": b"#" * (LIMIT_BYTES + 1),
}
EVIL = {
    "up": b"../../../etc/passwd",
    "absolute": b"/etc/cron.d/x",
    "windows": b"C:\\Windows\\System32\\con.glb",
    "device": b"COM1 .glb",
    "stream": b"model.glb:hidden",
    "dots": b"....",
    "receipt": b"JOB.TOML",
    "long": "ü".encode() * 400 + b".glb",
    "controls": b"a\0b\r\nc\x1b[31m.glb",
    "backwards": "glb.\u202egnp.exe".encode(),
    "broken": b"\xff\xfe\xed\xa0\x80.glb",
    "blank": b" \t.",
    "percent": b"%2e%2e%2f..%5cx.glb",
}


@given(damaged(SIDECARS))
@searching(150)
def test_damaged_sidecars_are_read_or_refused(wreck: Wreck) -> None:
    """Every damaged TOML is a sidecar, or refused in a page of plain lines that name the file."""
    for read, kind in ((read_sidecar, Sidecar), (read_preset, Preset)):
        try:
            assert isinstance(read(wreck.data, "chair.toml", frozenset()), kind)
        except SidecarError as error:
            check_page(error.message)


def check_page(message: str) -> None:
    """Check that a page of mistakes is one: bounded, printable, about the file."""
    lines = message.splitlines()
    assert len(lines) <= 51
    assert len(message) < 12_000
    assert all(line.isprintable() for line in lines)
    assert "chair.toml" in lines[0]


@given(st.lists(damaged(EVIL), max_size=5))
@searching(150)
def test_the_names_of_results_fit_into_a_real_folder(
    tmp_path_factory: pytest.TempPathFactory, wrecks: list[Wreck]
) -> None:
    """However the vendor calls its files, each can be made in the folder of the set, beside the receipt, and is its own."""
    folder = tmp_path_factory.getbasetemp() / "results"
    shutil.rmtree(folder, ignore_errors=True)  # what a failed example left
    folder.mkdir()
    names = safe_result_names([os.fsdecode(wreck.data) for wreck in wrecks])
    for name in (*names, "job.toml"):
        assert all(len(part.encode()) <= RESULT_NAME_BYTES for part in name.split("/"))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("xb"):
            pass
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {*names, "job.toml"}
    assert len({match_key(name) for name in (*names, "job.toml")}) == len(names) + 1
    shutil.rmtree(folder)


@given(damaged(EVIL))
@searching(150)
def test_names_of_the_inbox_are_shown_on_one_line(wreck: Wreck) -> None:
    """Whatever an artist's program calls a file, it can be judged and shown."""
    name = os.fsdecode(wreck.data)
    shown = printable(name)
    assert shown.isprintable()
    assert len(shown) <= 200
    assert junk_reason(name) is None or isinstance(junk_reason(name), str)
    assert match_key(match_key(name)) == match_key(name)


# ---- what is sent ---------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
BOUNDARIES = st.sampled_from(["--", "\r\n--", "\r\n\r\n", "\0", '"; filename="x', "--\r\n"])


@given(
    st.lists(TEXTS | BOUNDARIES, max_size=4).map("".join),
    damaged(EVIL),
    st.binary(max_size=300),
    st.binary(max_size=300),
)
@searching(150)
def test_what_is_sent_is_what_was_meant(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, name: Wreck, model: bytes, image: bytes
) -> None:
    """Two readers that are not ours find the parts as they were put in, whatever they hold and the files are called."""
    folder = tmp_path_factory.getbasetemp()
    hostile = os.fsdecode(name.data)
    uploads = [_upload(folder / role, data, role, hostile) for role, data in (("model", model), ("image", image))]
    with UploadBody(uploads, (("prompt", prompt), ("seed", "7")), lambda: None) as body:
        sent = b"".join(iter(lambda: body.read(97), b""))
        assert len(sent) == len(body)
    form = parse_multipart(sent, body.content_type)
    parts = [(part.name, part.file_name is None, part.data) for part in form.parts]
    assert parts == [
        ("prompt", True, prompt.encode()),
        ("seed", True, b"7"),
        ("model", False, model),
        ("image", False, image),
    ]
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {body.content_type}\r\n\r\n".encode() + sent)
    assert [part.get_param("name", header="content-disposition") for part in message.iter_parts()] == [
        "prompt",
        "seed",
        "model",
        "image",
    ]
    assert all(len(part.keys()) <= 2 for part in message.iter_parts())


def _upload(path: Path, data: bytes, part: str, filename: str) -> Upload:
    path.write_bytes(data)
    return Upload(path, len(data), hashlib.sha256(data).hexdigest(), part, filename, "model/gltf-binary")
