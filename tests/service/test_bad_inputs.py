"""Bad inputs: each is told in the folder, nothing is lost or paid for, and the good set beside it is not held up."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from workshop import SAMPLES, START_AT, Vendor, Workshop, glb, image, model, working

from rodin_watchd.core.layout import HIDDEN, MARK, SUBMITS_NOTE
from rodin_watchd.core.names import safe_folder_name
from rodin_watchd.model import State

PROMPTLY_SECONDS = 6.0


def deliver_the_good_one(shop: Workshop) -> None:
    """Drop a good set beside what is there, and check that it is delivered promptly."""
    dropped_at = START_AT + shop.hands.seconds
    shop.drop_set("good")
    shop.until(shop.is_in("good", State.ARCHIVED))
    assert shop.job("good").times[State.DELIVERED] - dropped_at <= PROMPTLY_SECONDS
    assert {"good/base_basic_pbr.glb", "good/preview.webp", "good/job.toml"} <= shop.found("outbox")


REFUSED: dict[str, tuple[Callable[[], dict[str, bytes]], str]] = {
    "a PNG named .glb": (lambda: {"chair.glb": image("x"), "chair.png": image("x")}, "“chair.glb” cannot be used"),
    "a model of 10,000,001 bytes": (
        lambda: {"chair.obj": model("big").ljust(10_000_001, b"\n"), "chair.png": image("x")},
        "“chair.obj” has 10,000,001 bytes; the vendor accepts models of at most 10,000,000",
    ),
    "a GLB without a mesh": (
        lambda: {"chair.glb": rewritten(glb("x"), b'"meshes"', b'"masses"'), "chair.png": image("x")},
        "“chair.glb” cannot be used: it holds no mesh with triangles",
    ),
    "a GLB whose mesh is in another file": (
        lambda: {
            "chair.glb": rewritten(glb("x"), b'"buffers":[{', b'"buffers":[{"uri":"a.bin",'),
            "chair.png": image("x"),
        },
        "“chair.glb” cannot be used: its mesh is in another file, “a.bin”",
    ),
    "an OBJ in UTF-16": (
        lambda: {"chair.obj": model("x").decode().encode("utf-16"), "chair.png": image("x")},
        "“chair.obj” cannot be used: it is saved as UTF-16 text",
    ),
    "a text named .png": (
        lambda: {"chair.obj": model("x"), "chair.png": b"hello, world"},
        "“chair.png” cannot be used",
    ),
    "a GIF named .png": (lambda: {"chair.obj": model("x"), "chair.png": b"GIF89a" + bytes(99)}, "“chair.png”"),
    "a sidecar that is not TOML": (lambda: _with_sidecar(b"seed = = 3"), "line 1"),
    "a sidecar that is not UTF-8": (lambda: _with_sidecar(b'prompt = "\xff\xfe"'), "UTF-8"),
    "an unknown key": (lambda: _with_sidecar(b"\nseeed = 3"), "did you mean seed"),
    "seed = -1": (lambda: _with_sidecar(b"seed = -1"), "seed"),
    'seed = "7"': (lambda: _with_sidecar(b'seed = "7"'), "seed"),
    "a path out of the inbox": (lambda: _with_sidecar(b'image = "../../secret.png"'), "leads out of the inbox"),
    "an absolute path": (lambda: _with_sidecar(b'image = "/etc/passwd"'), "absolute"),
    "two images for one model": (
        lambda: {"chair.obj": model("x"), "chair.png": image("x"), "chair.webp": image("y")},
        "“chair.png” and “chair.webp”",
    ),
}


def _with_sidecar(sidecar: bytes) -> dict[str, bytes]:
    return {"chair.obj": model("x"), "chair.png": image("x"), "chair.toml": sidecar}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bad_set_is_refused_in_words_and_costs_nothing(shop: Workshop, vendor: Vendor, kind: str) -> None:
    """What can never work lies in `failed/` with all that was dropped of it and the reason, and was not paid for."""
    files, reason = REFUSED[kind]
    for name, data in files().items():
        shop.drop(name, data)
    deliver_the_good_one(shop)
    shop.idle()
    assert shop.job("chair").state is State.FAILED
    report = shop.report("chair")
    assert reason in report
    assert "no credits" in report
    assert "you, who dropped the files" in report
    assert "failed/chair/REPORT.txt" in shop.status()
    assert vendor.charges == 1
    shop.assert_nothing_lost()


def rewritten(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return a GLB with another word in its JSON part."""
    length = int.from_bytes(data[12:16], "little")
    text = data[20 : 20 + length].replace(old, new, 1).rstrip()
    text += b" " * (-len(text) % 4)
    made = len(text).to_bytes(4, "little") + b"JSON" + text + data[20 + length :]
    return data[:8] + (12 + len(made)).to_bytes(4, "little") + made


def half_filled(data: bytes) -> bytes:
    """Return what a copy leaves that set the full size first and broke off: zeros in the second half."""
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)


UNFINISHED: dict[str, Callable[[], dict[str, bytes]]] = {
    "a truncated GLB": lambda: {"chair.glb": glb("x")[:-100], "chair.png": image("x")},
    "a GLB whose second half is zeros": lambda: {"chair.glb": half_filled(glb("x")), "chair.png": image("x")},
    "an STL whose second half is zeros": lambda: {
        "chair.stl": half_filled((SAMPLES / "pmndrs.stl").read_bytes()),
        "chair.png": image("x"),
    },
    "an OBJ whose vertices are missing": lambda: {
        "chair.obj": model("x").replace(b"v 1", b"#"),
        "chair.png": image("x"),
    },
    "an empty model": lambda: {"chair.glb": b"", "chair.png": image("x")},
    "an empty image": lambda: {"chair.obj": model("x"), "chair.png": b""},
    "an empty OBJ": lambda: {"chair.obj": b"", "chair.png": image("x")},
    "a PNG without its end": lambda: {"chair.obj": model("x"), "chair.png": image("x")[:-8]},
}


@pytest.mark.parametrize("kind", UNFINISHED)
def test_an_unfinished_set_waits_visibly_and_is_refused_when_nothing_more_comes(
    shop: Workshop, vendor: Vendor, kind: str
) -> None:
    """A file that proves itself unfinished gets `incomplete_seconds` for its rest, then the set is refused, unpaid."""
    for name, data in UNFINISHED[kind]().items():
        shop.drop(name, data)
    deliver_the_good_one(shop)
    shop.ticks(1, step_seconds=1)
    assert shop.states() == {"good": State.ARCHIVED}
    assert "is not complete" in shop.status()
    assert not shop.daemon.is_idle()
    shop.ticks(1, step_seconds=580)
    assert shop.states() == {"good": State.ARCHIVED}
    shop.ticks(1, step_seconds=20)
    shop.idle()
    assert "nothing more came" in shop.report("chair")
    assert vendor.charges == 1
    shop.assert_nothing_lost()


def test_an_unfinished_file_that_is_completed_is_delivered(shop: Workshop) -> None:
    """The rest of a file ends the wait, whenever it comes."""
    whole = glb("x")
    path = shop.drop("chair.glb", whole)
    path.write_bytes(whole[:-100])
    shop.drop("chair.png", image("x"))
    shop.ticks(5, step_seconds=60)
    path.write_bytes(whole)
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    shop.assert_nothing_lost()


def test_what_the_vendor_may_not_read_is_said_wherever_the_set_is(shop: Workshop) -> None:
    """A packed model is sent all the same; STATUS.txt, the receipt and `show` say what it needs."""
    packed = (SAMPLES / "suzi-draco.glb").read_bytes()
    for name, data in {"chair.glb": packed, "chair.png": image("x")}.items():
        shop.drop(name, data)
    shop.until(shop.is_in("chair", State.FAILED))  # the emulator cannot read it, either
    warning = "“chair.glb”: it needs KHR_draco_mesh_compression, which the vendor may not be able to read"
    assert warning in shop.status()
    assert warning in " ".join(shop.report("chair").split())
    assert any(note.startswith(warning) for note in shop.report_data("chair")["problem"]["notes"])
    assert "it needs KHR_draco_mesh_compression" in shop.told("show", shop.job("chair").id)


def test_nobody_is_advised_to_pay_again_for_a_file_that_is_unfit(tmp_path: Path) -> None:
    """A set that an older version sent may hold what cannot become a model: its failed task is that file's fault."""
    with working(tmp_path, "failed-job@1", "failed-job@2") as (shop, vendor):
        shop.drop_set("lamp")
        shop.drop_set("chair")
        shop.until(lambda: {"lamp", "chair"} <= {job.name for job in shop.jobs() if job.state is State.SUBMITTED})
        [sent] = (tmp_path / HIDDEN / "work" / shop.job("chair").id).rglob("chair.obj")
        sent.write_bytes(b"v 0 0 0\nv 1 0 0\nv 0 1 0\np 1 2 3\n".ljust(len(model("chair")), b"\n"))
        shop.idle()
        assert shop.states() == {"lamp": State.FAILED, "chair": State.FAILED}
        unfit, fine = shop.report("chair"), shop.report("lamp")
        assert "it holds points only" in unfit
        assert "you, who dropped the files" in unfit
        assert "Correct that file" in unfit
        assert "again = true" not in unfit
        assert "again = true" in fine
        assert vendor.charges == 2


def test_what_is_no_plain_file_is_ignored_visibly(shop: Workshop, tmp_path: Path) -> None:
    """A FIFO, a symbolic link and a folder named like a model are left alone, named in STATUS.txt, and hold nobody up."""
    secret = tmp_path / "secret.glb"
    secret.write_bytes(glb("secret"))
    inbox = tmp_path / "inbox"
    os.mkfifo(inbox / "pipe.glb")
    (inbox / "link.glb").symlink_to(secret)
    (inbox / "chair.glb").mkdir()
    for name in ("pipe", "link", "chair"):
        shop.drop(f"{name}.png", image(name))
    deliver_the_good_one(shop)
    shop.idle()
    assert shop.states() == {"good": State.ARCHIVED}
    status = shop.status()
    for name, kind in (("pipe", "special file"), ("link", "symbolic link"), ("chair", "folder")):
        reason = f"“{name}.glb” is a {kind}; only plain files are taken"
        assert f"1 x {reason}" in status
        assert f"({reason})" in status  # beside the set that lacks its model
    assert (inbox / "link.glb").is_symlink()
    assert (inbox / "pipe.glb").exists()
    assert secret.read_bytes() == glb("secret")
    shop.assert_nothing_lost()


def test_a_hard_link_waits_for_a_person_and_keeps_nobody_busy(shop: Workshop, tmp_path: Path) -> None:
    """A file with a second name elsewhere is not taken, STATUS.txt says why, and the service counts as idle."""
    elsewhere = tmp_path / "elsewhere.obj"
    elsewhere.write_bytes(model("x"))
    os.link(elsewhere, tmp_path / "inbox" / "chair.obj")
    shop.drop("chair.png", image("x"))
    deliver_the_good_one(shop)
    shop.idle()
    assert "“chair.obj” has a second name elsewhere" in shop.status()
    elsewhere.unlink()
    shop.ticks(1, step_seconds=11)
    shop.idle()
    assert shop.states()["chair"] is State.ARCHIVED


NAMES = {
    "a newline": b"cha\nir",
    "an emoji": "\N{CHAIR}\N{ZERO WIDTH JOINER}\N{ARTIST PALETTE}".encode(),
    "a leading dash": b"-rf",
    "255 bytes": b"c" * 251,
    "not UTF-8": b"st\xfchl",
    "blanks": b"  chair  ",
    "an escape sequence": b"\x1b[2Jchair",
    "a right-to-left override": "chair\u202egnp".encode(),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_all_kinds_are_delivered_in_a_form_that_windows_shows(
    shop: Workshop, vendor: Vendor, tmp_path: Path, kind: str
) -> None:
    """Whatever the filesystem can hold as a name is delivered; the receipt keeps the spelling, and no line of STATUS.txt breaks."""
    stem = NAMES[kind]
    safe = safe_folder_name(os.fsdecode(stem))
    shop.drop(stem + b".obj", model("x"))
    shop.drop(stem + b".png", image("x"))
    deliver_the_good_one(shop)
    shop.idle()
    names = {path.name for path in (tmp_path / "outbox").iterdir()} - {MARK, SUBMITS_NOTE}
    assert names == {safe, "good"}
    assert (tmp_path / "outbox" / safe / "base_basic_pbr.glb").stat().st_size > 1000
    receipt = tomllib.loads((tmp_path / "outbox" / safe / "job.toml").read_text())
    assert receipt["job"]["set"] == os.fsdecode(stem).encode("utf-8", "backslashreplace").decode()
    assert {job.state for job in shop.jobs()} == {State.ARCHIVED}
    assert all(line.isprintable() for line in shop.status().splitlines())
    assert vendor.charges == 2
    shop.assert_nothing_lost()


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_all_kinds_are_refused_with_a_report(
    shop: Workshop, vendor: Vendor, tmp_path: Path, kind: str
) -> None:
    """A bad set with an odd name gets its report like any other."""
    stem = NAMES[kind]
    shop.drop(stem + b".glb", b"no model at all" * 9)
    shop.drop(stem + b".png", image("x"))
    deliver_the_good_one(shop)
    shop.idle()
    failed = tmp_path / "failed" / safe_folder_name(os.fsdecode(stem))
    assert "cannot be used" in (failed / "REPORT.txt").read_text()
    assert (failed / f"{os.fsdecode(stem)}.glb").read_bytes() == b"no model at all" * 9
    assert vendor.charges == 1
    shop.assert_nothing_lost()


def test_two_sets_whose_names_differ_in_case_only_are_both_delivered(shop: Workshop, vendor: Vendor) -> None:
    """Equal spelling pairs first, and neither result overwrites the other."""
    for name in ("chair", "Chair"):
        shop.drop_set(name)
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED, "Chair": State.ARCHIVED}
    places = {job.place for job in shop.jobs()}
    assert len({place.casefold() for place in places}) == 2
    assert all(shop.path(f"{place}/base_basic_pbr.glb").exists() for place in places)
    assert vendor.charges == 2
    shop.assert_nothing_lost()


def test_a_set_that_changes_while_it_is_taken_is_judged_anew(shop: Workshop, vendor: Vendor, tmp_path: Path) -> None:
    """Between look and stage a new content is never taken for the old one: the set goes back into the inbox."""
    with shop.without_workers():  # no step is handed out: the set is claimed, and that is all
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.CLAIMED))
        path = tmp_path / "inbox" / "chair.obj"
        path.write_bytes(model("another"))
        shop.dropped = [image("chair"), model("another")]
    deliver_the_good_one(shop)
    shop.idle()
    assert sorted(job.state for job in shop.jobs() if job.name == "chair") == [State.ARCHIVED, State.RETURNED]
    assert (tmp_path / "archive/chair/chair.obj").read_bytes() == model("another")
    assert vendor.charges == 2
    shop.assert_nothing_lost()


def test_a_set_that_vanishes_while_it_is_taken_leaves_a_report(shop: Workshop, vendor: Vendor, tmp_path: Path) -> None:
    """Whoever takes a set back after it was claimed finds out what became of the claim."""
    with shop.without_workers():
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.CLAIMED))
        for extension in ("obj", "png"):
            (tmp_path / "inbox" / f"chair.{extension}").unlink()
        shop.dropped.clear()
    deliver_the_good_one(shop)
    shop.idle()
    assert "disappeared before it could be taken" in shop.report("chair")
    assert vendor.charges == 1


def test_a_member_that_became_a_link_is_never_followed(shop: Workshop, vendor: Vendor, tmp_path: Path) -> None:
    """A claimed file that is swapped for a link to somebody's secret is not what was claimed."""
    secret = tmp_path / "secret.obj"
    secret.write_bytes(model("secret"))
    with shop.without_workers():
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.CLAIMED))
        path = tmp_path / "inbox" / "chair.obj"
        path.unlink()
        path.symlink_to(secret)
        shop.dropped = [image("chair")]
    shop.idle()
    assert shop.states() == {"chair": State.FAILED}
    assert path.is_symlink()
    assert shop.found("failed") == {"chair/chair.png", "chair/REPORT.txt", "chair/report.toml"}
    assert vendor.charges == 0
    shop.assert_nothing_lost()


def test_a_huge_image_that_sets_share_is_never_copied(shop: Workshop, vendor: Vendor) -> None:
    """A file of 1 GB that is all hole costs no room for each set that names it; the last set takes it along."""
    shop.drop_set("good")
    for name in ("one", "two"):
        shop.drop(f"{name}-model.obj", model(name))
        shop.drop(f"{name}.toml", f'model = "{name}-model.obj"\nimage = "shared.png"\n'.encode())
    whole = image("shared")
    with (shop.root / "inbox" / "shared.png").open("wb") as file:
        file.write(whole)
        file.seek(1_000_000_000 - len(whole))
        file.write(whole)
    shop.idle()
    assert shop.states() == {"good": State.ARCHIVED, "one": State.FAILED, "two": State.FAILED}
    huge = [path for path in shop.root.rglob("shared.png") if path.stat().st_size == 1_000_000_000]
    assert [path.parent.name for path in huge] in (["one"], ["two"])
    assert huge[0].stat().st_blocks * 512 < 10_000_000
    reports = {name: shop.report(name) for name in ("one", "two")}
    assert all("1,000,000,000 bytes; images of at most" in report for report in reports.values())
    assert sum("It stays where it is" in report for report in reports.values()) == 1
    assert vendor.charges == 1


@pytest.mark.parametrize("mistake", ['promt = "oak"\n', "x = \n", 'again = "true"\n', "[plugins.unknown]\n"])
def test_a_set_is_not_bought_without_the_sidecar_that_names_it(shop: Workshop, vendor: Vendor, mistake: str) -> None:
    """It waits, free of charge, until the TOML file is mended, and is bought once, as it was meant."""
    text = 'model = "chair.obj"\nimage = "chair.png"\nprompt = "oak"\n'
    shop.drop("oak.toml", (text + mistake).encode())
    shop.drop("chair.obj", model("c"))
    shop.drop("chair.png", image("c"))
    deliver_the_good_one(shop)
    shop.idle()
    assert vendor.charges == 1
    assert "a correction of “oak.toml”" in shop.status()
    shop.drop("oak.toml", text.encode())
    shop.until(shop.is_in("oak", State.ARCHIVED))
    assert (vendor.charges, vendor.emulator.ledger()["charges"][-1]["options"]) == (2, {"prompt": "oak"})
