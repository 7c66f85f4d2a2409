"""The sign of life: written over, read without locks, its age told by the clock that all processes share."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from strangers import as_nobody, filled_up, mounted, public_folder

from rodin_watchd.adapters.heartbeat import leave_heartbeat, read_heartbeat, sign_path
from rodin_watchd.core.health import Health


def now(**changes: object) -> Health:
    """Return vitals of this moment."""
    made = Health(time.time(), time.monotonic(), 1, 0, {}, {}, 0.0, "", ("submit",))
    return replace(made, **changes)  # type: ignore[arg-type] # whatever the test changes


def test_it_says_who_and_when(tmp_path: Path) -> None:
    """Another process learns whose it is, how old it is, and what was left in it; the newest counts."""
    path = sign_path(tmp_path / "journal.sqlite3")
    leave_heartbeat(path, now(overdue="x" * 100))
    leave_heartbeat(path, now())
    heartbeat = read_heartbeat(path)
    assert heartbeat
    assert (heartbeat.pid, heartbeat.health.paused, heartbeat.health.overdue) == (os.getpid(), ("submit",), "")
    assert 0 <= heartbeat.age_seconds < 10
    assert path.parent == tmp_path


def test_its_age_does_not_follow_the_clock(tmp_path: Path) -> None:
    """A clock that was set does not make it old, as long as the machine was not started anew; then the clock is all there is."""
    path = tmp_path / "alive.json"
    leave_heartbeat(path, now(at=time.time() - 5000, monotonic=time.monotonic() - 7))
    heartbeat = read_heartbeat(path)
    assert heartbeat
    assert 7 <= heartbeat.age_seconds < 20
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another"}))
    heartbeat = read_heartbeat(path)
    assert heartbeat
    assert 5000 <= heartbeat.age_seconds < 5020


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 4096, b"{}", b'{"pid": 1, "boot": "", "vitals": {"at": 1}}', b"[1]", b"[" * 4096]
)
def test_what_makes_no_sense_is_no_sign(content: bytes, tmp_path: Path) -> None:
    """Whatever a crash or a person has left there is as good as nothing."""
    path = tmp_path / "alive.json"
    assert read_heartbeat(path) is None
    path.write_bytes(content)
    assert read_heartbeat(path) is None


def test_a_full_disk_has_room_for_it(tmp_path: Path) -> None:
    """It is written over in place: nothing has to be found for it when the disk is full."""
    with mounted(tmp_path / "state", size="64k") as state:
        leave_heartbeat(state / "alive.json", now())
        filled_up(state / "ballast")
        leave_heartbeat(state / "alive.json", now(held=7))
        heartbeat = read_heartbeat(state / "alive.json")
        assert heartbeat
        assert heartbeat.health.held == 7


def test_who_may_not_read_it_is_told_so() -> None:
    """That is another matter than a service that does not run."""
    with public_folder() as home:
        leave_heartbeat(home / "alive.json", now())
        (home / "alive.json").chmod(0o600)

        def read() -> bool:
            with pytest.raises(PermissionError):
                read_heartbeat(home / "alive.json")
            return True

        assert as_nobody(read)
