"""Mode and group of what is published: by the config, by the umask, by set-gid folders; also seen as another user."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from strangers import IS_ROOT, NOBODY, as_nobody, mounted, public_folder

from rodin_watchd.adapters.spool import Spool
from rodin_watchd.adapters.spool.moving import Destination
from rodin_watchd.adapters.spool.sharing import PLAIN, Sharing, sharing_of, umask
from rodin_watchd.core.layout import ARCHIVE, FAILED, OUTBOX
from rodin_watchd.errors import ConfigError
from rodin_watchd.model import Job, State

GROUP = 54_321  # of nobody but the tests
OTHER = 54_322
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root may give files to any group")


@contextmanager
def with_umask(mask: int) -> Iterator[None]:
    """Run with another umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def studio(sharing: Sharing = PLAIN, mask: int = 0o022) -> Iterator[Spool]:
    """Give folders in a place that every user can reach."""
    with public_folder() as home, with_umask(mask):
        spool = Spool(home, sharing)
        spool.prepare()
        yield spool


def publish(spool: Spool, folder: str = "", top: str = OUTBOX, narrow: str = "") -> Path:
    """Publish a set with a file in a sub-folder; return where it lies. `narrow` names a file of mode 600."""
    job = Job("0123456789ab", "chair", folder, State.PROCESSED, (), {}, created_at=0.0)
    source = spool.result(job.id)
    (source / "maps").mkdir(parents=True)
    for name in ("model.glb", "maps/normal.png"):
        (source / name).write_bytes(b"data")
    if narrow:
        (source / narrow).chmod(0o600)
    return spool.root / spool.publish(job, source, Destination(top, folder, "chair"))


def mode(path: Path) -> str:
    """Return the mode of a file or folder in octal."""
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def modes(place: Path) -> list[str]:
    """Return the modes of a published folder, its file, its sub-folder, and the file in there."""
    return [mode(path) for path in (place, place / "model.glb", place / "maps", place / "maps" / "normal.png")]


@pytest.mark.parametrize(
    ("given", "mask", "expected"),
    [
        (None, 0o022, ["755", "644", "755", "644"]),
        (None, 0o002, ["775", "664", "775", "664"]),
        (None, 0o027, ["750", "640", "750", "640"]),
        (0o664, 0o022, ["775", "664", "775", "664"]),
        (0o640, 0o022, ["750", "640", "750", "640"]),
        (0o666, 0o077, ["777", "666", "777", "666"]),
        (0o600, 0o022, ["700", "600", "700", "600"]),
    ],
)
def test_the_mode_is_the_configured_one_else_the_umask_holds(given: int | None, mask: int, expected: list[str]) -> None:
    """Files get the mode itself, folders what lets in whoever may read; the same in mirrored folders and for STATUS.txt."""
    with studio(Sharing(given), mask) as spool:
        place = publish(spool, folder="oak/dark")
        spool.write_status("all is well\n")
        assert modes(place) == expected
        assert [mode(spool.root / name) for name in ("outbox/oak", "outbox/oak/dark")] == [expected[0]] * 2
        assert mode(spool.root / "STATUS.txt") == expected[1]
        assert mode(spool.root / "outbox") == expected[0]


@pytest.mark.parametrize("top", [OUTBOX, ARCHIVE, FAILED])
def test_what_a_program_made_narrow_is_widened_in_the_outbox_alone(top: str) -> None:
    """A plugin's file of mode 600 would be of no use there; a person's input of mode 600 was meant so."""
    with studio() as spool:
        place = publish(spool, top=top, narrow="model.glb")
        assert mode(place / "model.glb") == ("644" if top == OUTBOX else "600")


def test_a_folder_that_is_there_keeps_its_mode() -> None:
    """Only what the service makes gets the mode: what an administrator has set stays."""
    with studio(Sharing(0o664)) as spool:
        (spool.root / OUTBOX).chmod(0o750)
        (spool.root / OUTBOX / "oak").mkdir(mode=0o700)
        publish(spool, folder="oak")
        spool.prepare()
        assert [mode(spool.root / name) for name in ("outbox", "outbox/oak")] == ["750", "700"]


@needs_root
def test_a_set_gid_folder_gives_its_group_to_all_that_is_published_in_it() -> None:
    """Mirrored folders, the published folder and those in it have the group and the bit; files have the group."""
    with studio() as spool:
        outbox = spool.root / OUTBOX
        os.chown(outbox, -1, GROUP)
        outbox.chmod(0o2775)
        place = publish(spool, folder="oak/dark")
        assert modes(place) == ["2755", "644", "2755", "644"]
        assert [mode(path) for path in (outbox / "oak", outbox / "oak" / "dark")] == ["2755", "2755"]
        assert {path.stat().st_gid for path in outbox.rglob("*")} == {GROUP}


@needs_root
def test_the_configured_group_wins_and_the_bit_is_kept() -> None:
    """With `output.group` all has that group, whatever the set-gid folder's; the bit is still handed down."""
    with studio(Sharing(0o660, GROUP)) as spool:
        outbox = spool.root / OUTBOX
        assert (outbox.stat().st_gid, (spool.root / "inbox").stat().st_gid) == (GROUP, 0)
        os.chown(outbox, -1, OTHER)
        outbox.chmod(0o2770)
        place = publish(spool, folder="oak")
        spool.write_status("all is well\n")
        assert modes(place) == ["2770", "660", "2770", "660"]
        assert mode(outbox / "oak") == "2770"
        assert {path.stat().st_gid for path in (*outbox.rglob("*"), spool.root / "STATUS.txt")} == {GROUP}


@needs_root
def test_a_member_of_the_group_can_use_the_results_and_a_stranger_cannot() -> None:
    """Another user of the group reads, changes and takes away what was published with 0660; others see nothing."""
    with studio(Sharing(0o660, GROUP)) as spool:
        place = publish(spool, folder="oak")

        def use() -> tuple[bytes, bool]:
            read = (place / "maps" / "normal.png").read_bytes()
            (place / "model.glb").write_bytes(b"painted over")
            (place / "maps" / "normal.png").unlink()
            place.rename(place.with_name("stool"))
            return read, (place.with_name("stool") / "model.glb").read_bytes() == b"painted over"

        def look() -> bool:
            with suppress(PermissionError):
                return bool(list((spool.root / OUTBOX).iterdir()))
            return False

        assert as_nobody(look) is False
        assert as_nobody(use, groups=[GROUP]) == (b"data", True)


@needs_root
def test_it_works_for_a_service_that_is_not_root() -> None:
    """A user who belongs to the group gives it to what it owns, set-gid bit and all; another's input stays as it is."""
    with studio(Sharing(0o664, GROUP)) as spool:
        for path in (spool.root, *spool.folders, spool.work.parent):
            os.chown(path, NOBODY, GROUP)
        (spool.root / ARCHIVE).chmod(0o2775)
        inputs = spool.result("0123456789ab")
        inputs.mkdir(parents=True)
        for path in (inputs, inputs.parent):
            os.chown(path, NOBODY, NOBODY)
        (inputs / "of-an-artist.png").write_bytes(b"image")  # root's, as it were
        (inputs / "of-an-artist.png").chmod(0o600)

        def serve() -> Path:
            return publish(spool, top=ARCHIVE)

        place = as_nobody(serve, groups=[GROUP])
        assert modes(place) == ["2775", "664", "2775", "664"]
        assert {p.stat().st_gid for p in (place, place / "model.glb")} == {GROUP}
        artists = (place / "of-an-artist.png").stat()
        assert (stat.S_IMODE(artists.st_mode), artists.st_gid) == (0o600, 0)


@needs_root
def test_across_filesystems_it_is_the_same(tmp_path: Path) -> None:
    """A copy into an outbox that is a mount of its own appears with the same modes and groups as a rename."""
    with mounted(tmp_path / OUTBOX) as outbox:
        spool = Spool(tmp_path, Sharing(0o640, GROUP))
        spool.prepare()
        outbox.chmod(0o2750)
        place = publish(spool, folder="oak")
        assert modes(place) == ["2750", "640", "2750", "640"]
        assert {path.stat().st_gid for path in outbox.rglob("*")} == {GROUP}


@needs_root
def test_a_filesystem_without_modes_costs_no_result(caplog: pytest.LogCaptureFixture) -> None:
    """A group that cannot be given is logged, and the result is delivered all the same."""
    with studio() as spool:
        for path in (spool.root, *spool.folders, spool.work.parent):
            os.chown(path, NOBODY, NOBODY)

        def serve() -> tuple[bool, list[str]]:
            strange = Spool(spool.root, Sharing(None, GROUP))  # it does not belong to that group
            place = publish(strange)
            return (place / "model.glb").is_file(), [record.getMessage() for record in caplog.records]

        delivered, told = as_nobody(serve)
        assert delivered
        assert set(told) == {"sharing: mode or group of published files cannot be set: Operation not permitted"}


def test_a_group_that_cannot_be_given_is_a_mistake_of_the_config() -> None:
    """An unknown group, and one that the service's user is not in, are refused at the start with the command that helps."""
    with pytest.raises(ConfigError, match=r"no group “no-such-group”") as unknown:
        sharing_of(None, "no-such-group")
    assert "groupadd no-such-group" in unknown.value.advice_given

    def try_it() -> str:
        try:
            sharing_of(None, str(GROUP))
        except ConfigError as error:
            return f"{error.message} {error.advice_given}"
        return ""

    told = as_nobody(try_it)
    assert "does not belong to the group “54321”" in told
    assert "usermod -aG 54321" in told
    assert as_nobody(try_it, groups=[GROUP]) == ""


def test_groups_are_known_by_name_and_number() -> None:
    """A name is looked up, digits are taken as they are; without a group none is given."""
    own = os.getegid()
    assert sharing_of(0o664, grp.getgrgid(own).gr_name) == Sharing(0o664, own)
    assert sharing_of(None, str(own)) == Sharing(None, own)
    assert sharing_of(None, None) == PLAIN


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_the_umask_is_read(mask: int) -> None:
    """It is what the process has, and asking changes nothing."""
    with with_umask(mask):
        assert [umask(), umask()] == [mask, mask]
