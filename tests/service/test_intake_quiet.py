"""How long a file must stay unchanged: by configuration, or by the filesystem that it is on."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from forgetful_fuse import forgetful
from workshop import Vendor, glb, image, workshop

from rodin_watchd.adapters.host import shares_in
from rodin_watchd.config import IntakeSection
from rodin_watchd.core.sets import QUIET_LOCAL_SECONDS, QUIET_SHARE_SECONDS, Quiet
from rodin_watchd.model import State
from rodin_watchd.service.intake import quiet_of

SHARES = {"": "", "nas": "nfs4", "nas/cache": "", "nas/cache/deep": "cifs"}


def test_what_is_configured_holds() -> None:
    """A number in the config is taken as it is, also 0, and on a share."""
    for given in (0, 7.5):
        quiet = quiet_of(IntakeSection(quiet_seconds=given))
        assert quiet.seconds(["chair.glb"], SHARES) == quiet.seconds(["nas/chair.glb"], SHARES) == given


@pytest.mark.parametrize(
    ("paths", "is_long"),
    [
        (["chair.glb", "chair.png"], False),
        (["a/chair.glb"], False),
        (["nas/chair.glb"], True),
        (["nas/a/b/chair.glb"], True),
        (["nas2/chair.glb"], False),
        (["nas"], True),
        (["nas/cache/chair.glb"], False),
        (["nas/cache/deep/chair.glb"], True),
        (["chair.glb", "nas/chair.png"], True),
        ([], False),
    ],
)
def test_auto_is_the_longest_that_a_file_of_the_set_needs(paths: list[str], *, is_long: bool) -> None:
    """What is mounted deepest over a file counts, and the time on a share is longer."""
    quiet = quiet_of(IntakeSection())
    assert QUIET_LOCAL_SECONDS < QUIET_SHARE_SECONDS
    assert quiet.seconds(paths, SHARES) == (QUIET_SHARE_SECONDS if is_long else QUIET_LOCAL_SECONDS)
    assert quiet.seconds(paths, {"": "nfs4"}) == (QUIET_SHARE_SECONDS if paths else QUIET_LOCAL_SECONDS)


AUTO = {"quiet_seconds": "auto", "unproven_quiet_seconds": 0}


def test_a_share_in_the_inbox_of_a_local_root(tmp_path: Path, vendor: Vendor) -> None:
    """Its sets wait as on a share, others as on the disk; `explain` says so, too. A share that comes later counts at once."""
    with workshop(tmp_path / "one", vendor.emulator.base_url, intake=AUTO) as shop, contextlib.ExitStack() as mounts:
        nas = shop.path("inbox/nas")
        mounts.enter_context(forgetful(tmp_path / "remote", nas, "fuse.sshfs"))
        assert shares_in(shop.root / "inbox") == {"": "", "nas": "fuse.sshfs"}
        shop.ticks(1)
        for folder in (nas, shop.root / "inbox"):
            (folder / "chair.glb").write_bytes(glb(folder.name))
            (folder / "chair.png").write_bytes(image(folder.name))
        shop.ticks(1, step_seconds=1.0)
        assert "for 10 seconds" in shop.told("explain", str(nas / "chair.glb"))
        assert "for 2 seconds" in shop.told("explain", str(shop.root / "inbox/chair.glb"))
        shop.ticks(5, step_seconds=1.0)
        assert [job.name for job in shop.jobs()] == ["chair"]
        assert (nas / "chair.glb").exists()
        shop.ticks(3, step_seconds=1.0)
        assert len(shop.jobs()) == 1
        shop.ticks(3, step_seconds=1.0)
        shop.idle()
        assert [job.state for job in shop.jobs()] == [State.ARCHIVED] * 2
        assert vendor.charges == 2


def test_a_set_with_one_file_on_a_share(tmp_path: Path, vendor: Vendor) -> None:
    """All its files wait as long as those on the share."""
    with workshop(tmp_path / "one", vendor.emulator.base_url, intake=AUTO) as shop:
        (tmp_path / "remote").mkdir()
        (tmp_path / "remote" / "wood.png").write_bytes(image("wood"))
        with forgetful(tmp_path / "remote", shop.path("inbox/nas"), "fuse.sshfs"):
            shop.ticks(20, step_seconds=1.0)
            shop.drop("chair.glb", glb("chair"))
            shop.drop("chair.toml", b'image = "nas/wood.png"\n')
            shop.ticks(9, step_seconds=1.0)
            assert shop.jobs() == []
            shop.ticks(4, step_seconds=1.0)
            assert [job.name for job in shop.jobs()] == ["chair"]
            shop.idle()


def test_an_inbox_that_is_a_share_in_a_local_root(tmp_path: Path, vendor: Vendor) -> None:
    """It is the inbox that counts, and not the root."""
    (tmp_path / "one").mkdir()
    with (
        forgetful(tmp_path / "remote", tmp_path / "one/inbox", "fuse.sshfs"),
        workshop(tmp_path / "one", vendor.emulator.base_url, intake=AUTO) as shop,
    ):
        shop.ticks(1)
        shop.drop("chair.glb", glb("chair"))
        shop.drop("chair.png", image("chair"))
        shop.ticks(9, step_seconds=1.0)
        assert shop.jobs() == []
        shop.idle()
        assert [job.state for job in shop.jobs()] == [State.ARCHIVED]


def test_the_times_are_those_that_the_documents_name() -> None:
    """Two seconds on a disk, ten on a share."""
    assert Quiet() == Quiet(2.0, 10.0)
