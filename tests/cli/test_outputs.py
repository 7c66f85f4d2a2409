"""What the service publishes, used by an artist of the same group: real processes of two users."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_stage import KEY, PROGRAM, SAMPLES, Stage, by_user, environment
from strangers import IS_ROOT, as_nobody, public_folder

from rodin_watchd.emulator.server import Emulator

SERVICE, GROUP = 54_320, 54_321
OUTPUT = f'[output]\nmode = "0664"\ngroup = "{GROUP}"\n'

pytestmark = [
    pytest.mark.skipif(not IS_ROOT, reason="only root may run processes of two users"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is missing"),
]


def as_the_service(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the service's user, whose umask hides all from everybody."""
    return subprocess.run(
        [*by_user(SERVICE, GROUP), *PROGRAM, *arguments],
        umask=0o077,
        env=environment(RODIN_API_KEY=KEY, HOME="/nonexistent"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def a_share(home: Path, base_url: str) -> Stage:
    """Set up a share as an administrator would: the group's, with set-gid folders."""
    stage = Stage(home / "share", base_url)
    stage.config.write_text(stage.config.read_text() + OUTPUT)
    for name in ("", "inbox", "inbox/oak", "outbox", "failed", "archive"):
        folder = stage.root / name
        folder.mkdir(exist_ok=True)
        os.chown(folder, SERVICE, GROUP)
        folder.chmod(0o2775)
    return stage


def test_an_artist_of_the_group_drops_a_set_and_uses_the_result(vendor: Emulator) -> None:
    """Whatever the umask of the service: the artist reads, replaces and removes results, reads archive, reports and STATUS."""
    with public_folder() as home:
        stage = a_share(home, vendor.base_url)

        def drop() -> None:
            os.umask(0o002)
            for name, sample in {
                "oak/chair.glb": "bunny.glb",
                "oak/chair.png": "matcap-a.png",
                "lamp.glb": "bunny.glb",
                "lamp.png": "suzi.glb",
            }.items():
                shutil.copyfile(SAMPLES / sample, stage.inbox / name)

        def use() -> list[str]:
            chair = stage.root / "outbox" / "oak" / "chair"
            assert (chair / "base_basic_pbr.glb").read_bytes()
            (chair / "base_basic_pbr.glb").write_bytes(b"painted over")
            (chair / "preview.webp").unlink()
            chair.rename(chair.with_name("throne"))
            assert (stage.root / "archive" / "oak" / "chair" / "chair.glb").read_bytes()
            told = (stage.root / "failed" / "lamp" / "REPORT.txt").read_text()
            (stage.root / "failed" / "lamp" / "lamp.png").rename(stage.inbox / "lamp.png")
            return [told.splitlines()[0], (stage.root / "STATUS.txt").read_text().splitlines()[0]]

        as_nobody(drop, groups=[GROUP])
        run = as_the_service("run", "--until-idle", "--config", str(stage.config))
        assert "delivered" in run.stderr, run.stderr
        report, status = as_nobody(use, groups=[GROUP])
        assert "lamp" in report
        assert status
        published = [p for top in ("outbox", "failed", "archive") for p in (stage.root / top).rglob("*")]
        assert {path.stat().st_gid for path in published} == {GROUP}
        assert {oct(path.stat().st_mode & 0o7777) for path in published if path.is_dir()} == {"0o2775"}


def test_a_group_that_the_service_is_not_in_is_told_at_the_start() -> None:
    """It is wrong use (2), in words, before anything is taken."""
    with public_folder() as home:
        stage = a_share(home, "http://127.0.0.1:9")
        stage.config.write_text(stage.config.read_text().replace(f'"{GROUP}"', '"54329"'))
        run = as_the_service("run", "--until-idle", "--config", str(stage.config))
        assert run.returncode == 2
        assert run.stderr.splitlines()[0] == (
            "Error: The user of the service does not belong to the group “54329” (output.group)."
        )
